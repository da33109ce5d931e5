//! Every bound of the crate: bursts, buffers, tables. Relations between them are asserted when compiling.

/// Bytes of one transmit or receive frame; a whole train fits.
pub const FRAME_BYTES: usize = 65_536;
/// Longest train or single datagram: the UDP payload of a 65,535-byte IPv4 packet.
pub const TRAIN_BYTES_MAX: usize = 65_507;
/// Most segments in one train: `UDP_MAX_SEGMENTS` of the oldest kernel with `UDP_SEGMENT`.
pub const TRAIN_SEGMENTS_MAX: usize = 64;
/// Frames of one transmit burst.
pub const SEND_FRAMES: usize = 16;
/// Frames of one transmit side: those of a burst, and as many again three times that the kernel may still send from.
pub const SEND_FRAMES_HELD: usize = 4 * SEND_FRAMES;
/// Messages handed to one `sendmmsg`; more than the frames because a train may have to go as singles.
pub const SEND_MESSAGES: usize = 64;
/// Buffers of one receive burst when trains may arrive (GRO), each of [`FRAME_BYTES`].
pub const RECEIVE_TRAINS: usize = 16;
/// Buffers of one receive burst when only single datagrams arrive.
pub const RECEIVE_SINGLES: usize = 64;
/// Longest single datagram that is received without GRO; jumbo frames fit, longer ones are dropped and counted.
pub const SINGLE_BYTES_MAX: usize = 16_384;
/// Shortest message that is sent without copying: below, pinning pages and being told of it cost more than the copy.
pub const ZERO_COPY_BYTES_MIN: usize = 16_384;
/// Messages of which the kernel has not yet told that it is done with them.
pub const ZERO_COPY_PENDING_MAX: usize = SEND_FRAMES_HELD * (FRAME_BYTES / ZERO_COPY_BYTES_MIN);
/// Messages by which a way proves that the kernel does not copy there, and of which at most half may be copied.
pub const ZERO_COPY_TRIALS: u32 = 32;
/// Messages that are copied on a way that failed its trial, before it gets another: about 64 GiB.
pub const ZERO_COPY_RETRY: u32 = 1 << 20;
/// Ways, each a pair of local and remote address, that are judged; frames on others are copied.
pub const ZERO_COPY_WAYS_MAX: usize = 32;
/// Completions read at one time.
pub const COMPLETION_READS: usize = 64;
/// Microseconds that a receive call polls the device for a worker that never sleeps.
pub const BUSY_POLL_US: u32 = 50;
/// Bytes for the control messages of one datagram, either direction.
pub const CONTROL_BYTES: usize = 192;
/// Calls repeated after an error of an earlier datagram was reported by a receive call.
pub const RECEIVE_RETRIES: usize = 4;
/// Notes kept in the capabilities of one queue.
pub const CAPABILITY_NOTES_MAX: usize = 16;
/// Sockets that one steering program can tell apart: worker numbers have 6 bits.
pub const STEERED_WORKERS_MAX: usize = 64;

/// Ranges of one shared region that can be borrowed at one time.
pub const BORROW_SLOTS: usize = 16;
/// Longest range of one borrow.
pub const BORROW_BYTES_MAX: usize = (1 << 27) - 1;
/// Largest shared region.
pub const REGION_BYTES_MAX: usize = 1 << 36;
/// Bytes of a hugepage.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Smallest and largest chunk of a pool.
pub const CHUNK_BYTES_MIN: usize = 64 << 10;
/// Largest chunk of a pool.
pub const CHUNK_BYTES_MAX: usize = 64 << 20;
/// Chunks of one pool; indices have 32 bits and one value means none.
pub const POOL_CHUNKS_MAX: usize = (u32::MAX - 1) as usize;

/// Frames that wait to be received into, of one AF_XDP socket: what arrives in the 4 ms in which another thread may have the core.
pub const XDP_RECEIVE_FRAMES: u32 = 4_096;
/// Frames that packets are sent from, of one AF_XDP socket: two bursts of trains and what the kernel still has of those before.
pub const XDP_SEND_FRAMES: u32 = 2_048;
/// Packets of one received burst.
pub const XDP_BURST: usize = 64;
/// Frames that are long enough for an ordinary Ethernet packet, the kernel's headroom included, and for what else fits in a page.
pub const XDP_FRAME_BYTES: [usize; 2] = [2_048, 4_096];
/// Bytes that the kernel keeps free before each received packet (`XDP_PACKET_HEADROOM`).
pub const XDP_HEADROOM: usize = 256;
/// Bytes of one packet in several frames, headers included; longer ones go by the kernel's socket.
pub const XDP_PACKET_BYTES_MAX: usize = SINGLE_BYTES_MAX;
/// Packets that one call may send (`XDP_MAX_TX_SKB_BUDGET`), where the kernel lets us say so.
pub const XDP_SEND_BUDGET: i32 = 256;
/// Calls for sending that one flush makes while each gets on.
pub const XDP_SEND_CALLS: usize = 128;
/// Bursts from the rings between two looks at the kernel's socket.
pub const XDP_BURSTS_A_LOOK: u32 = 8;
/// Nanoseconds without progress after which a queue with packets on their way counts as stalled.
pub const XDP_STALL_NS: u64 = 1_000_000_000;
/// Sockets of one queue, each on an interface of its own.
pub const XDP_INTERFACES_MAX: usize = 16;
/// Destinations whose next hop is remembered.
pub const HOPS_MAX: usize = 64;
/// Nanoseconds that a next hop is trusted before it is asked for again.
pub const HOP_TRUST_NS: u64 = 10_000_000_000;
/// Nanoseconds until a next hop that nobody knew is asked for again.
pub const HOP_RETRY_NS: u64 = 5_000_000;
/// Nanoseconds between two looks for news of links, routes and neighbours.
pub const HOP_NEWS_NS: u64 = 50_000_000;

/// Bytes of directory entries fetched by one call.
pub const DIRENT_BYTES: usize = 32 << 10;
/// Longest name handed to one system call, terminator excluded (`PATH_MAX` of Linux counts it).
pub const NAME_BYTES_MAX: usize = 4_095;
/// Longest name of one directory entry.
pub const COMPONENT_BYTES_MAX: usize = 255;
/// Largest value of an extended attribute and of the list of their names (`XATTR_SIZE_MAX`).
pub const XATTR_BYTES_MAX: usize = 65_536;

/// File descriptors reported by one wait.
pub const POLL_EVENTS: usize = 64;
/// Tokens of a poller; the largest is kept for its waker.
pub const POLL_TOKENS_MAX: u64 = u64::MAX - 1;
/// Bytes of one netlink answer; the kernel fills at most 32 KiB a message burst.
pub const NETLINK_BYTES: usize = 64 << 10;
/// Netlink datagrams read for one dump before it is given up.
pub const NETLINK_DUMP_READS: usize = 4_096;
/// Seconds that the kernel may take for a netlink answer.
pub const NETLINK_TIMEOUT_S: u64 = 5;
/// Processors that an affinity mask can name.
pub const CORES_MAX: usize = libc::CPU_SETSIZE as usize;

const _: () = {
    assert!(TRAIN_BYTES_MAX <= FRAME_BYTES);
    assert!(SEND_MESSAGES >= SEND_FRAMES);
    // Their numbers are bytes.
    assert!(SEND_FRAMES_HELD <= 1 << 8);
    assert!(ZERO_COPY_WAYS_MAX <= 1 << 8);
    // A frame is held once by the queue and once by each of its messages.
    assert!(FRAME_BYTES / ZERO_COPY_BYTES_MIN < u8::MAX as usize);
    assert!(SEND_MESSAGES <= libc::UIO_MAXIOV as usize);
    assert!(RECEIVE_SINGLES * SINGLE_BYTES_MAX == RECEIVE_TRAINS * FRAME_BYTES);
    // A whole train fits into the frames of one socket several times.
    assert!(XDP_SEND_FRAMES as usize >= 8 * 2 * TRAIN_SEGMENTS_MAX);
    assert!(XDP_RECEIVE_FRAMES.is_power_of_two() && XDP_SEND_FRAMES.is_power_of_two());
    assert!(CHUNK_BYTES_MIN.is_power_of_two() && CHUNK_BYTES_MAX.is_power_of_two());
    assert!(CHUNK_BYTES_MAX <= BORROW_BYTES_MAX && BORROW_BYTES_MAX < REGION_BYTES_MAX);
    assert!(COMPONENT_BYTES_MAX < NAME_BYTES_MAX);
};
