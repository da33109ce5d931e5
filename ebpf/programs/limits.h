/* Every bound of the programs, and what user space has to agree on: src/limits.rs and src/layout.rs, compared by a test. */
#ifndef XFER_LIMITS_H
#define XFER_LIMITS_H

/* PROTOCOL.md#header */
#define HEADER_LEN 32
#define TAG_LEN 16
#define VERSION 1
#define PATH_IDS 4096
#define NUMBER_BITS 62
/* PROTOCOL.md#hello: bytes of its datagram. */
#define HELLO_LEN_MIN 1200
#define HELLO_LEN_MAX 1452

/* Words of 64 ports each. */
#define PORT_WORDS 1024
/* Receive queues of an interface that may have a socket. */
#define QUEUES_MAX 64
/* Connection ids that are known at one time. */
#define CONNECTIONS_MAX 16384
/* Paths, counted apart for each direction, of which there are figures. */
#define PATHS_MAX 1024
/* Sources whose handshakes are counted; the one unheard for longest makes room. */
#define SOURCES_MAX 16384

/* User space that did not beat for so long is gone: 2 s. */
#define BEAT_NS_MAX 2000000000
/* Handshake packets of one source: one each 5 ms, and a burst. */
#define HANDSHAKE_NS 5000000
#define HANDSHAKE_BURST 256

/* Buckets of the time between two packets: below 128 ns, then one for each doubling. */
#define GAP_BUCKETS 24
#define GAP_SHIFT 7

/* Of so many arrivals, a power of two, one time to the next is measured: reading the clock costs as much as all else. */
#define TIMED_EVERY 8

/* Before the frame that an AF_XDP socket receives. */
#define META_MAGIC 0x52464658

#endif
