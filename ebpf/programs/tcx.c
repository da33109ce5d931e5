/* tcx: figures of the paths of a node on kernel UDP, in both directions. Changes nothing and drops nothing.
 *
 * Sees trains before they are cut and after they were joined, so segmentation stays as it is, and one look serves up to 64
 * packets. Counts DATA and CONTROL to our ports coming in, and from them going out.
 */
#include "kernel.h"
#include "limits.h"
#include "path.h"
#include "ports.h"
#include "wire.h"

/* TCX_NEXT, and TC_ACT_UNSPEC where the program hangs on a qdisc: whoever comes next decides. */
#define NEXT -1

/* As `Seen` in src/layout.rs. */
enum seen { TRACKED, FOREIGN, UNTRACKED, SEEN };

struct counts {
    u64 of[SEEN];
};

/* As `TcxSettings` in src/layout.rs. */
struct settings {
    u64 metrics;
};

struct {
    UINT(type, MAP_ARRAY);
    UINT(max_entries, 1);
    TYPE(key, u32);
    TYPE(value, struct settings);
} settings SEC(".maps");

struct {
    UINT(type, MAP_PERCPU_ARRAY);
    UINT(max_entries, 1);
    TYPE(key, u32);
    TYPE(value, struct counts);
} seen SEC(".maps");

/* Counts a datagram or train whose payload begins at `at`; what became of it. */
ALWAYS_INLINE enum seen count(struct skb_context *ctx, u32 at, u16 point)
{
    u64 now = ktime_get_coarse_ns();
    u32 payload = ctx->len - at, segment = ctx->gso_size, packets = 1;
    struct packet head;
    struct path_key key;
    struct order *order;
    u64 last;

    if (skb_load_bytes(ctx, at, &head, sizeof head))
        return FOREIGN;
    if (head.first != (0x80 | KIND_DATA << 3 | VERSION) && head.first != (0x80 | KIND_CONTROL << 3 | VERSION))
        return FOREIGN;
    if (head.path >= PATH_IDS)
        return FOREIGN;
    last = head.number;
    if (segment && payload > segment) {
        packets = (payload + segment - 1) / segment;
        if (skb_load_bytes(ctx, at + (packets - 1) * segment + __builtin_offsetof(struct packet, number), &last, sizeof last))
            return FOREIGN;
    }
    key = (struct path_key){.connection = head.connection, .path = head.path, .point = point};
    order = map_lookup(&orders, &key);
    if (!order)
        order = begin_path(&key, 0, head.number, now);
    if (!order)
        return UNTRACKED;
    count_path(order, head.number, last, packets, payload, now);
    return TRACKED;
}

ALWAYS_INLINE int look(struct skb_context *ctx, u16 point)
{
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    u32 zero = 0;
    struct place place = {};
    struct udp *udp = find_udp(data, end, &place);
    struct settings *set;
    struct counts *counts;
    enum seen what;

    if (!udp || !is_ours(be16(point == POINT_EGRESS ? udp->from : udp->to)))
        return NEXT;
    set = map_lookup(&settings, &zero);
    counts = map_lookup(&seen, &zero);
    if (!set || !counts || !set->metrics)
        return NEXT;
    what = count(ctx, place.payload, point);
    if (what < SEEN)
        counts->of[what] += 1;
    return NEXT;
}

SEC("classifier")
int xfer_ingress(struct skb_context *ctx)
{
    return look(ctx, POINT_INGRESS);
}

SEC("classifier")
int xfer_egress(struct skb_context *ctx)
{
    return look(ctx, POINT_EGRESS);
}

/* The interface of a helper that may be used under any licence is all that is called. */
char licence[] SEC("license") = "Apache-2.0";
