/* The UDP ports whose packets are looked at, a bit each. */
#ifndef XFER_PORTS_H
#define XFER_PORTS_H

#include "kernel.h"
#include "limits.h"

struct {
    UINT(type, MAP_ARRAY);
    UINT(max_entries, PORT_WORDS);
    TYPE(key, u32);
    TYPE(value, u64);
} ports SEC(".maps");

ALWAYS_INLINE int is_ours(u16 port)
{
    u32 word = port >> 6;
    u64 *bits = map_lookup(&ports, &word);

    return bits && *bits >> (port & 63) & 1;
}

#endif
