/* What is on the wire: Ethernet, IP and UDP as far as a packet of ours has them, and the header of PROTOCOL.md#header. */
#ifndef XFER_WIRE_H
#define XFER_WIRE_H

#include "kernel.h"
#include "limits.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8
#define PROTOCOL_UDP 17
/* More fragments, and the offset of this one. */
#define IPV4_FRAGMENT 0x3fff

struct ethernet {
    u8 to[6];
    u8 from[6];
    u16 type;
};

struct vlan {
    u16 tag;
    u16 type;
};

struct ipv4 {
    u8 version_length;
    u8 service;
    u16 length;
    u16 id;
    u16 fragment;
    u8 hops;
    u8 protocol;
    u16 checksum;
    u8 from[4];
    u8 to[4];
};

struct ipv6 {
    u32 version_class_flow;
    u16 length;
    u8 next;
    u8 hops;
    u8 from[16];
    u8 to[16];
};

struct udp {
    u16 from;
    u16 to;
    u16 length;
    u16 checksum;
};

/* Little-endian, as the programs are compiled. */
struct packet {
    u8 first;
    u8 flags;
    u16 path;
    u32 connection;
    u64 number;
    u32 transfer;
    u32 stamp;
    u32 offset_low;
    u16 offset_high;
    u16 length;
};

_Static_assert(sizeof(struct packet) == HEADER_LEN, "PROTOCOL.md#header");
_Static_assert(__builtin_offsetof(struct packet, connection) == 4, "PROTOCOL.md#header");
_Static_assert(__builtin_offsetof(struct packet, number) == 8, "PROTOCOL.md#header");
_Static_assert(__builtin_offsetof(struct packet, length) == 30, "PROTOCOL.md#header");

enum kind { KIND_DATA, KIND_CONTROL, KIND_HELLO, KIND_REPLY, KIND_COOKIE, KIND_VERSIONS, KINDS };

/* Where a packet's source address stands, as 16 bytes: IPv4 is mapped, and of IPv6 the network of 64 bits stands for all of its
 * hosts, since whoever has one address has them all. */
struct source {
    u64 high;
    u64 low;
};

/* Where the headers of a datagram begin, in bytes from the frame's start; worked out, because programs without CAP_PERFMON may not
 * subtract pointers. */
struct place {
    u32 network;
    u32 udp;
    u32 payload;
    int six;
};

ALWAYS_INLINE u16 be16(u16 value)
{
    return __builtin_bswap16(value);
}

/* The UDP header behind plain IP headers, below at most one VLAN tag; null when this is anything else: fragments, IPv4 options and
 * IPv6 extensions are left to the kernel. */
ALWAYS_INLINE struct udp *find_udp(void *data, void *end, struct place *place)
{
    struct ethernet *ethernet = data;
    u32 at = sizeof *ethernet;
    u16 type;

    if ((void *)(ethernet + 1) > end)
        return 0;
    type = ethernet->type;
    if (type == be16(ETHERTYPE_VLAN) || type == be16(ETHERTYPE_QINQ)) {
        struct vlan *vlan = data + at;

        if ((void *)(vlan + 1) > end)
            return 0;
        type = vlan->type;
        at += sizeof *vlan;
    }
    place->network = at;
    if (type == be16(ETHERTYPE_IPV4)) {
        struct ipv4 *ip = data + at;

        if ((void *)(ip + 1) > end || ip->version_length != 0x45 || ip->protocol != PROTOCOL_UDP)
            return 0;
        if (ip->fragment & be16(IPV4_FRAGMENT))
            return 0;
        at += sizeof *ip;
        place->six = 0;
    } else if (type == be16(ETHERTYPE_IPV6)) {
        struct ipv6 *ip = data + at;

        if ((void *)(ip + 1) > end || ip->next != PROTOCOL_UDP)
            return 0;
        at += sizeof *ip;
        place->six = 1;
    } else {
        return 0;
    }
    if (data + at + sizeof(struct udp) > end)
        return 0;
    place->udp = at;
    place->payload = at + sizeof(struct udp);
    return data + at;
}

#endif
