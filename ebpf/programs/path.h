/* What a path looks like from here: packets, bytes, gaps and order of its numbers, time between packets.
 *
 * A path has one entry in `orders`, shared by all processors: its packets come through one queue, thus one after the other, and
 * only what comes in that order tells gaps. What adds up is in `rows`, one for each processor. Free rows wait in `spare_rows`;
 * user space puts them there, and takes back those of paths that went silent.
 */
#ifndef XFER_PATH_H
#define XFER_PATH_H

#include "kernel.h"
#include "limits.h"

/* Where packets are seen. */
enum point { POINT_XDP, POINT_INGRESS, POINT_EGRESS };

struct path_key {
    u32 connection;
    u16 path;
    u16 point;
};

/* As `Order` in src/layout.rs. */
struct order {
    u32 queue;
    u32 row;
    u64 expected;
    /* When the last packet came, as coarse as the kernel's tick. */
    u64 last_ns;
    /* When the last arrival came whose distance to the next is measured. */
    u64 timed_ns;
    u64 arrivals;
};

/* As `Row` in src/layout.rs. */
struct row {
    u64 packets;
    u64 bytes;
    /* Packets seen at once: a train is one. */
    u64 arrivals;
    /* The measured times between two of these. */
    u64 waited_ns;
    /* Times that numbers were missing, and how many. */
    u64 gaps;
    u64 missing;
    /* Packets whose number is below one seen before, and the largest distance. */
    u64 late;
    u64 late_max;
    u64 between[GAP_BUCKETS];
};

struct {
    UINT(type, MAP_HASH);
    UINT(max_entries, PATHS_MAX);
    TYPE(key, struct path_key);
    TYPE(value, struct order);
} orders SEC(".maps");

struct {
    UINT(type, MAP_PERCPU_ARRAY);
    UINT(max_entries, PATHS_MAX);
    TYPE(key, u32);
    TYPE(value, struct row);
} rows SEC(".maps");

struct {
    UINT(type, MAP_QUEUE);
    UINT(max_entries, PATHS_MAX);
    TYPE(value, u32);
} spare_rows SEC(".maps");

/* The entry of a path that is seen for the first time; null when there is room for no more. */
ALWAYS_INLINE struct order *begin_path(struct path_key *key, u32 queue, u64 number, u64 now)
{
    struct order fresh = {.queue = queue, .expected = number, .last_ns = now};

    if (map_pop(&spare_rows, &fresh.row))
        return 0;
    if (map_update(&orders, key, &fresh, UPDATE_NOEXIST))
        map_push(&spare_rows, &fresh.row, UPDATE_ANY);
    return map_lookup(&orders, key);
}

/* floor(log2(value)) + 1; 0 for 0. */
ALWAYS_INLINE u32 bits(u32 value)
{
    u32 n = 0;

    if (value >> 16) { n += 16; value >>= 16; }
    if (value >> 8) { n += 8; value >>= 8; }
    if (value >> 4) { n += 4; value >>= 4; }
    if (value >> 2) { n += 2; value >>= 2; }
    if (value >> 1) { n += 1; value >>= 1; }
    return n + value;
}

ALWAYS_INLINE u32 bucket(u64 ns)
{
    u64 units = ns >> GAP_SHIFT;
    u32 n = units >> 32 ? GAP_BUCKETS - 1 : bits(units);

    return n < GAP_BUCKETS ? n : GAP_BUCKETS - 1;
}

/* Measures the time between two arrivals, now and then. */
ALWAYS_INLINE void time_path(struct order *order, struct row *row)
{
    u64 turn = order->arrivals++ & (TIMED_EVERY - 1), waited;
    u32 n;

    if (LIKELY(turn > 1))
        return;
    if (turn == 0) {
        order->timed_ns = ktime_get_ns();
        return;
    }
    waited = ktime_get_ns() - order->timed_ns;
    row->waited_ns += waited;
    n = bucket(waited);
    if (n < GAP_BUCKETS)
        row->between[n] += 1;
}

/* Counts `packets` of `bytes` in all, whose numbers go from `first` to `last`, seen at once. */
ALWAYS_INLINE void count_path(struct order *order, u64 first, u64 last, u64 packets, u64 bytes, u64 now)
{
    u32 at = order->row;
    struct row *row = map_lookup(&rows, &at);
    u64 span = last - first + 1;

    if (!row)
        return;
    row->packets += packets;
    row->bytes += bytes;
    row->arrivals += 1;
    order->last_ns = now;
    time_path(order, row);
    if (LIKELY(first == order->expected && span == packets)) {
        order->expected = last + 1;
        return;
    }
    if (first < order->expected) {
        u64 distance = order->expected - first;

        row->late += packets;
        if (distance > row->late_max)
            row->late_max = distance;
    } else if (first > order->expected) {
        row->gaps += 1;
        row->missing += first - order->expected;
    }
    if (last >= first && span > packets) {
        row->gaps += 1;
        row->missing += span - packets;
    }
    if (last >= order->expected)
        order->expected = last + 1;
}

#endif
