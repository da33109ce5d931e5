/* XDP: packets of known connections go to the AF_XDP socket of the queue that they came by, floods end here.
 *
 * Looks at UDP to ports of ours only; all else passes untouched. Malformed packets and those of unknown connections are dropped,
 * handshakes pass to the kernel's socket as fast as each source may send them. Without a sign of life from user space all passes.
 * Every packet to our ports is counted once, by what became of it.
 */
#include "kernel.h"
#include "limits.h"
#include "path.h"
#include "ports.h"
#include "wire.h"

/* As `Fate` in src/layout.rs. */
enum fate {
    REDIRECTED,
    PASSED_HANDSHAKE,
    PASSED_MISPLACED,
    PASSED_SOCKETLESS,
    PASSED_STALE,
    PASSED_SPLIT,
    PASSED_TRAIN,
    PASSED_TAGGED,
    DROPPED_SHORT,
    DROPPED_KIND,
    DROPPED_LENGTH,
    DROPPED_UNKNOWN,
    DROPPED_HANDSHAKE,
    UNTRACKED,
    FATES,
};

struct counts {
    u64 of[FATES];
};

/* As `Settings` in src/layout.rs. */
struct settings {
    /* When user space gave a sign of life, by the monotonic clock; 0: never. */
    u64 beat_ns;
    /* Whether there are figures of paths. */
    u64 metrics;
    /* Whether AF_XDP sockets are used at all; else known packets pass, and only the filter is left. */
    u64 sockets;
    /* Whether sockets want to know when a packet came, and where its payload begins. */
    u64 stamps;
};

/* As `Meta` in src/layout.rs; ends where the frame begins. */
struct meta {
    u64 received_ns;
    u32 payload_at;
    u32 magic;
};

struct bucket {
    /* When the bucket is full again. */
    u64 full_ns;
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
} fates SEC(".maps");

/* Connection id to the queue whose worker it names. */
struct {
    UINT(type, MAP_HASH);
    UINT(max_entries, CONNECTIONS_MAX);
    TYPE(key, u32);
    TYPE(value, u32);
} connections SEC(".maps");

struct {
    UINT(type, MAP_LRU_HASH);
    UINT(max_entries, SOURCES_MAX);
    TYPE(key, struct source);
    TYPE(value, struct bucket);
} sources SEC(".maps");

struct {
    UINT(type, MAP_XSKMAP);
    UINT(max_entries, QUEUES_MAX);
    TYPE(key, u32);
    TYPE(value, u32);
} sockets SEC(".maps");

#define COUNTED(action, fate) ({ counts->of[fate] += 1; action; })

/* Takes a token of the source; whether there was one. */
ALWAYS_INLINE int may_shake(struct source *source, u64 now)
{
    struct bucket *bucket = map_lookup(&sources, source);

    if (!bucket) {
        struct bucket fresh = {.full_ns = now + HANDSHAKE_NS};

        map_update(&sources, source, &fresh, UPDATE_ANY);
        return 1;
    }
    if (bucket->full_ns < now)
        bucket->full_ns = now;
    if (bucket->full_ns - now > (u64)(HANDSHAKE_BURST - 1) * HANDSHAKE_NS)
        return 0;
    bucket->full_ns += HANDSHAKE_NS;
    return 1;
}

ALWAYS_INLINE int handshake(void *data, void *end, struct place *place, struct counts *counts, u64 now)
{
    struct source source = {};

    if (place->six) {
        struct ipv6 *ip = data + place->network;

        if ((void *)(ip + 1) > end)
            return XDP_PASS;
        __builtin_memcpy(&source.high, ip->from, sizeof source.high);
    } else {
        struct ipv4 *ip = data + place->network;

        if ((void *)(ip + 1) > end)
            return XDP_PASS;
        __builtin_memcpy(&source.low, ip->from, sizeof ip->from);
        source.high = 0xffff;
    }
    if (!may_shake(&source, now))
        return COUNTED(XDP_DROP, DROPPED_HANDSHAKE);
    return COUNTED(XDP_PASS, PASSED_HANDSHAKE);
}

/* Puts time and place of the payload before the frame; a driver without room for it hands the frame over as it is. */
ALWAYS_INLINE void put_meta(struct xdp_context *ctx, u32 payload_at)
{
    struct meta *meta;

    if (xdp_adjust_meta(ctx, -(int)sizeof *meta))
        return;
    meta = (void *)(long)ctx->data_meta;
    if ((void *)(meta + 1) > (void *)(long)ctx->data)
        return;
    meta->received_ns = ktime_get_ns();
    meta->payload_at = payload_at;
    meta->magic = META_MAGIC;
}

/* Bytes of the datagram that a packet is by its header; in a train, of each but the last. */
ALWAYS_INLINE u32 named_len(struct packet *packet, u32 kind, u32 payload)
{
    u32 plain = HEADER_LEN + packet->length;

    return kind == KIND_DATA && payload == plain ? plain : plain + TAG_LEN;
}

/* The queue of a connection; negative when it is not known. Counts the packet, or the train that it leads, for its path. */
ALWAYS_INLINE s64 find_queue(struct packet *packet, u32 packets, u32 payload, int metrics, struct counts *counts, u64 now)
{
    struct path_key key = {.connection = packet->connection, .path = packet->path, .point = POINT_XDP};
    struct order *order = metrics ? map_lookup(&orders, &key) : 0;
    u64 first = packet->number, last = first + packets - 1;
    u32 *queue;

    if (LIKELY(order)) {
        count_path(order, first, last, packets, payload, now);
        return order->queue;
    }
    queue = map_lookup(&connections, &key.connection);
    if (!queue)
        return -1;
    if (metrics) {
        order = begin_path(&key, *queue, first, now);
        if (order)
            count_path(order, first, last, packets, payload, now);
        else
            counts->of[UNTRACKED] += 1;
    }
    return *queue;
}

SEC("xdp.frags")
int xfer_xdp(struct xdp_context *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    u32 kind, payload, named, packets = 1, zero = 0, arrived = ctx->rx_queue_index;
    struct place place = {};
    struct udp *udp = find_udp(data, end, &place);
    struct packet *packet;
    struct settings *set;
    struct counts *counts;
    u64 now;
    s64 queue;

    if (!udp || !is_ours(be16(udp->to)))
        return XDP_PASS;
    set = map_lookup(&settings, &zero);
    counts = map_lookup(&fates, &zero);
    if (!set || !counts)
        return XDP_PASS;
    now = ktime_get_coarse_ns();
    if (UNLIKELY((s64)(now - set->beat_ns) > BEAT_NS_MAX))
        return COUNTED(XDP_PASS, PASSED_STALE);

    packet = (void *)(udp + 1);
    payload = be16(udp->length);
    if (payload < sizeof *udp + HEADER_LEN)
        return COUNTED(XDP_DROP, DROPPED_SHORT);
    payload -= sizeof *udp;
    if (UNLIKELY((void *)packet + payload > end)) {
        if (xdp_get_buff_len(ctx) < place.payload + payload)
            return COUNTED(XDP_DROP, DROPPED_SHORT);
    }
    if (UNLIKELY((void *)(packet + 1) > end))
        return COUNTED(XDP_PASS, PASSED_SPLIT);

    kind = packet->first >> 3 & 7;
    if ((packet->first & 0xc0) != 0x80 || kind >= KINDS)
        return COUNTED(XDP_DROP, DROPPED_KIND);
    if (kind == KIND_HELLO && (payload < HELLO_LEN_MIN || payload > HELLO_LEN_MAX))
        return COUNTED(XDP_DROP, DROPPED_LENGTH);
    if (kind == KIND_HELLO || kind == KIND_COOKIE || kind == KIND_VERSIONS) {
        if (packet->connection != 0)
            return COUNTED(XDP_DROP, DROPPED_UNKNOWN);
        return handshake(data, end, &place, counts, now);
    }
    if ((packet->first & 7) != VERSION)
        return COUNTED(XDP_DROP, DROPPED_KIND);
    if (kind == KIND_REPLY) {
        u32 connection = packet->connection;
        u32 *known = map_lookup(&connections, &connection);

        queue = known ? (s64)*known : -1;
    } else {
        if (packet->path >= PATH_IDS || packet->number >> NUMBER_BITS)
            return COUNTED(XDP_DROP, DROPPED_KIND);
        named = named_len(packet, kind, payload);
        if (packet->length == 0 || payload < named)
            return COUNTED(XDP_DROP, DROPPED_LENGTH);
        if (UNLIKELY(payload > named))
            packets = (payload + named - 1) / named;
        queue = find_queue(packet, packets, payload, set->metrics != 0, counts, now);
    }
    if (queue < 0)
        return COUNTED(XDP_DROP, DROPPED_UNKNOWN);
    if (UNLIKELY(packets > 1))
        return COUNTED(XDP_PASS, PASSED_TRAIN);
    if (!set->sockets)
        return COUNTED(XDP_PASS, PASSED_SOCKETLESS);
    if (place.network != sizeof(struct ethernet))
        return COUNTED(XDP_PASS, PASSED_TAGGED);
    if (queue != arrived)
        return COUNTED(XDP_PASS, PASSED_MISPLACED);
    if (set->stamps)
        put_meta(ctx, place.payload);
    if (redirect_map(&sockets, arrived, XDP_PASS) != XDP_REDIRECT)
        return COUNTED(XDP_PASS, PASSED_SOCKETLESS);
    return COUNTED(XDP_REDIRECT, REDIRECTED);
}

/* The interface of a helper that may be used under any licence is all that is called. */
char licence[] SEC("license") = "Apache-2.0";
