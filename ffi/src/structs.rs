//! The structs of the header: what the application fills in, and what it is told. Plain values of fixed width.

use std::ffi::{c_char, c_void};

/// An engine: its threads, sockets and completion queue. A handle is no address; never look behind it.
pub struct EngineHandle(());

/// A connection and the objects that go over it, in one direction.
pub struct ConnectionHandle(());

/// Memory that was registered with an engine.
pub struct MemoryHandle(());

/// A client of one node.
pub struct ClientHandle(());

/// How an engine is set up. Set `size` to `sizeof(xfer_engine_options)` and leave at 0 what is not to be chosen.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct EngineOptions {
    /// Bytes of this struct, as the application was compiled.
    pub size: u32,
    /// Worker threads, at most 8; 0: one a core of the affinity mask.
    pub workers: u32,
    /// Addresses to receive on, as text: `192.0.2.1:4433`, `[::]:0`. None for an engine that only connects.
    pub listen: *const *const c_char,
    /// How many.
    pub listen_count: u32,
    /// XFER_ENGINE_ flags.
    pub flags: u32,
    /// Memory for chunk buffers of each connection, in bytes; 0: 64 MiB.
    pub memory_max: u64,
    /// Where xfer_engine_open() writes why it failed, as text that ends in NUL; may be null.
    pub error: *mut c_char,
    /// Bytes there.
    pub error_size: u32,
    /// 0.
    pub reserved: u32,
}

/// Workers spin while a connection lives, instead of sleeping.
pub const XFER_ENGINE_BUSY: u32 = 1;
/// Send with plain system calls only: without segmentation offloads and zero copies. For tests.
pub const XFER_ENGINE_PLAIN_SOCKETS: u32 = 2;

/// A pair of addresses that a path uses.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PathPair {
    /// Address of this end, without a port; null: what the kernel's routes say.
    pub local: *const c_char,
    /// Address and port of the other end.
    pub remote: *const c_char,
}

/// A connection that is to be admitted or made. Both ends name the same secret, suite, direction, digests and chunk size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConnectionOptions {
    /// Bytes of this struct, as the application was compiled.
    pub size: u32,
    /// One of XFER_SUITE_; 0: XFER_SUITE_AES_128_GCM.
    pub suite: u32,
    /// One of XFER_DIRECTION_.
    pub direction: u32,
    /// XFER_CONNECTION_ flags.
    pub flags: u32,
    /// 32 random bytes that only the two ends know. They admit one connection.
    pub secret: *const u8,
    /// Comes back in the completions of the connection itself.
    pub user: u64,
    /// To connect: pairs of addresses, the first one first. To admit: not used.
    pub paths: *const PathPair,
    /// How many.
    pub path_count: u32,
    /// log2 of the chunk size, 16 to 26; 0: 20, which is 1 MiB.
    pub chunk_log2: u32,
    /// To connect: how long no path may answer before connecting fails; 0: 10 s. To admit: how long the secret waits for its connection,
    /// at most 60 s; 0: 60 s.
    pub timeout_ms: u32,
    /// Operations that may be outstanding at once; 0: 4,096; at most 65,536.
    pub depth: u32,
    /// Cap of the whole connection in bits a second; 0: none.
    pub rate_max: u64,
    /// One of XFER_CONGESTION_; 0: BBR.
    pub congestion: u32,
    /// 0.
    pub reserved: u32,
}

/// AES-128-GCM.
pub const XFER_SUITE_AES_128_GCM: u32 = 1;
/// ChaCha20-Poly1305, for processors without AES instructions.
pub const XFER_SUITE_CHACHA20_POLY1305: u32 = 2;
/// Control is sealed, content goes in the clear: private fabrics only.
pub const XFER_SUITE_PLAIN: u32 = 3;

/// The end that connects sends objects.
pub const XFER_DIRECTION_OPENER_SENDS: u32 = 1;
/// The end that admitted the secret sends objects.
pub const XFER_DIRECTION_OPENER_RECEIVES: u32 = 2;

/// Content carries no BLAKE3 digests: it is not verified, and what changes while it is sent is not found out.
pub const XFER_CONNECTION_NO_DIGESTS: u32 = 1;
/// Chunks are compressed where that is faster than sending them as they are. Memory is copied then before it is sent.
pub const XFER_CONNECTION_COMPRESS: u32 = 2;

/// BBR version 3 with tolerance for random loss.
pub const XFER_CONGESTION_BBR: u32 = 1;
/// CUBIC (RFC 9438).
pub const XFER_CONGESTION_CUBIC: u32 = 2;
/// Yields to all others (RFC 6817).
pub const XFER_CONGESTION_LEDBAT: u32 = 3;
/// The rate that `rate_max` says, whatever is lost.
pub const XFER_CONGESTION_FIXED: u32 = 4;

/// One operation for xfer_submit(). What `kind` does not use is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Operation {
    /// Bytes of this struct, as the application was compiled; the same in all of a batch.
    pub size: u32,
    /// One of XFER_OP_.
    pub kind: u32,
    /// Comes back in the completion.
    pub user: u64,
    /// The connection.
    pub connection: *mut ConnectionHandle,
    /// XFER_OP_ACCEPT, XFER_OP_ACCEPT_FILE, XFER_OP_REFUSE: the number of the object that was offered.
    pub object: u64,
    /// XFER_OP_SEND and its kin: the object's name, relative, components parted by '/'; null: "object". XFER_OP_REFUSE, XFER_OP_CANCEL: why, as
    /// text. XFER_OP_CLIENT_: the path on the node. No NUL at its end.
    pub name: *const c_char,
    /// Bytes there, at most 4,095.
    pub name_len: u32,
    /// XFER_OP_FLAG_ flags.
    pub flags: u32,
    /// Memory to send from or receive into; null where `memory` is given.
    pub data: *mut c_void,
    /// Bytes there; of a file how many to send.
    pub len: u64,
    /// Registered memory to send from or receive into.
    pub memory: *mut MemoryHandle,
    /// Where to begin: in registered memory, or in a file, here or on the node.
    pub offset: u64,
    /// A file descriptor. It is duplicated: the application may close its own once xfer_submit() has returned.
    pub fd: i32,
    /// 0.
    pub reserved: u32,
    /// XFER_OP_CLIENT_: the client.
    pub client: *mut ClientHandle,
}

/// Sends `len` bytes of memory as an object. Up to XFER_SMALL_MAX bytes are copied at once; more stay the engine's until the completion, and are
/// not to be changed: if they are, the object fails with XFER_ERR_DIGEST and is not delivered.
pub const XFER_OP_SEND: u32 = 1;
/// Sends `len` bytes of the regular file `fd` from `offset` on.
pub const XFER_OP_SEND_FILE: u32 = 2;
/// Sends what comes from `fd` (a pipe, a socket) until its end. Nothing can follow: it finishes the connection.
pub const XFER_OP_SEND_STREAM: u32 = 3;
/// Receives the offered `object` into memory of at least its size, which is the engine's until the completion.
pub const XFER_OP_ACCEPT: u32 = 4;
/// Receives the offered `object` into `fd`: into a regular file from `offset` on, in any order; into a pipe or socket in order.
pub const XFER_OP_ACCEPT_FILE: u32 = 5;
/// Refuses the offered `object`: it fails at the sender with XFER_ERR_REFUSED.
pub const XFER_OP_REFUSE: u32 = 6;
/// Says that no object follows. The connection ends when all of them have. Has no completion of its own.
pub const XFER_OP_FINISH: u32 = 7;
/// Ends the connection: what is outstanding fails with XFER_ERR_INTERRUPTED. Has no completion of its own.
pub const XFER_OP_CANCEL: u32 = 8;
/// Lists the directory `name`: an XFER_EVENT_ENTRY each, then XFER_EVENT_DONE. With XFER_OP_FLAG_RECURSIVE also what is beneath it.
pub const XFER_OP_CLIENT_LIST: u32 = 16;
/// Describes `name`: one XFER_EVENT_ENTRY, then XFER_EVENT_DONE.
pub const XFER_OP_CLIENT_STAT: u32 = 17;
/// Copies `name` from the node to the local path in `data`, of `len` bytes, which is copied at once.
pub const XFER_OP_CLIENT_GET: u32 = 18;
/// Copies the local path in `data`, of `len` bytes, which is copied at once, to `name` on the node.
pub const XFER_OP_CLIENT_PUT: u32 = 19;

/// Ends what was submitted to the client so far, with XFER_ERR_INTERRUPTED. Has no completion of its own.
pub const XFER_OP_CLIENT_CANCEL: u32 = 20;

/// Reads up to `len` bytes of the file `name` on the node, from `offset` on, into the memory in `data`, which is the engine's until the completion. The file's end
/// cuts the range; one that begins behind it has 0 bytes. The XFER_EVENT_DONE has in `bytes` how many came, in `object` the bytes of the whole file and in
/// `mtime_ns` when it had been modified, by which ranges of one state of a file are told. A file that changes meanwhile is XFER_ERR_DIGEST. These are
/// read many at once, and end in any order, whatever else the client does; up to 8 MiB each in one round trip.
pub const XFER_OP_CLIENT_READ: u32 = 21;

/// Directories with all that is in them.
pub const XFER_OP_FLAG_RECURSIVE: u32 = 1;

/// The next object may be named with this one. That is faster for many objects of a few KiB; the receiver answers for both then before content
/// of either moves.
pub const XFER_OP_FLAG_MORE: u32 = 2;

/// Content of up to so many bytes travels with its object's name: it is copied when it is submitted, and delivered with the offer.
pub const XFER_SMALL_MAX: u64 = 1024;

/// What happened. 128 bytes, for ever; what is not used is 0. Pointers are valid until the next xfer_poll() on the engine, and only that long.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Completion {
    /// The operation's value; for what concerns the connection as a whole and its offers: the connection's.
    pub user: u64,
    /// The connection.
    pub connection: *mut ConnectionHandle,
    /// One of XFER_EVENT_.
    pub kind: u32,
    /// XFER_OK, or what it failed by.
    pub status: i32,
    /// The object's number on the connection, from 0 on. XFER_OP_CLIENT_READ: bytes of the whole file.
    pub object: u64,
    /// Content bytes: of an object that ended, those that moved; of one that is offered, its size, or XFER_SIZE_OPEN.
    pub bytes: u64,
    /// XFER_COMPLETION_ flags.
    pub flags: u32,
    /// Bytes of `name`.
    pub name_len: u32,
    /// XFER_EVENT_OFFERED, XFER_EVENT_ENTRY: the object's name, without a NUL.
    pub name: *const c_char,
    /// XFER_COMPLETION_WHOLE: the object's content.
    pub data: *const c_void,
    /// Why it failed, or what is warned of: text that ends in NUL; null for none.
    pub text: *const c_char,
    /// XFER_COMPLETION_DIGEST: BLAKE3 of the object.
    pub digest: [u8; 32],
    /// XFER_EVENT_ENTRY, XFER_OP_CLIENT_READ: modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// XFER_EVENT_ENTRY: permissions, 12 bits.
    pub mode: u32,
    /// The error number of the operating system; 0 for none.
    pub os_error: i32,
    /// 0.
    pub reserved: u64,
}

/// An object that was submitted has ended: it is with the other application, or failed. Its memory is the application's again.
pub const XFER_EVENT_SENT: u32 = 1;
/// An object that was accepted has ended: all of it is in its place and verified, or it failed. Its memory is the application's again.
pub const XFER_EVENT_RECEIVED: u32 = 2;
/// An object arrives. With XFER_COMPLETION_WHOLE it is here already, and nothing is to be answered; else it waits for XFER_OP_ACCEPT,
/// XFER_OP_ACCEPT_FILE or XFER_OP_REFUSE, and so do those behind it.
pub const XFER_EVENT_OFFERED: u32 = 3;
/// The other end is there.
pub const XFER_EVENT_CONNECTED: u32 = 4;
/// A path became usable; xfer_connection_paths() has all.
pub const XFER_EVENT_PATH_UP: u32 = 5;
/// A path stopped answering, or lost its link.
pub const XFER_EVENT_PATH_DOWN: u32 = 6;
/// Something is degraded: see `text`.
pub const XFER_EVENT_WARNING: u32 = 7;
/// The connection has ended, well or not. It is its last completion: close the handle.
pub const XFER_EVENT_FINISHED: u32 = 8;
/// An object on a node.
pub const XFER_EVENT_ENTRY: u32 = 16;
/// An operation of a client has ended.
pub const XFER_EVENT_DONE: u32 = 17;

/// `data` holds all of the content.
pub const XFER_COMPLETION_WHOLE: u32 = 1;
/// `digest` is there.
pub const XFER_COMPLETION_DIGEST: u32 = 2;
/// XFER_EVENT_ENTRY: it is a directory.
pub const XFER_COMPLETION_DIRECTORY: u32 = 4;
/// XFER_EVENT_ENTRY: it is a symlink.
pub const XFER_COMPLETION_SYMLINK: u32 = 8;

/// `bytes` of an object whose length only its end will tell.
pub const XFER_SIZE_OPEN: u64 = u64::MAX;

/// Memory to be registered.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MemoryOptions {
    /// Bytes of this struct, as the application was compiled.
    pub size: u32,
    /// 0.
    pub flags: u32,
    /// Where it begins.
    pub data: *mut c_void,
    /// Its bytes, at least 1.
    pub len: u64,
}

/// Counters of an engine. Set `size` before the call; as much as both sides know is filled in.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct EngineStatistics {
    /// Bytes of this struct, as the application was compiled.
    pub size: u32,
    /// Worker threads.
    pub workers: u32,
    /// Connections, clients and registered memory that are open.
    pub children: u32,
    /// Addresses that it receives on.
    pub addresses: u32,
    /// Packets and trains that were sent.
    pub trains: u64,
    /// Datagrams that came.
    pub datagrams: u64,
    /// Those of them that were given to another worker.
    pub handed_over: u64,
    /// Those of them that were lost, since too many waited there.
    pub dropped: u64,
    /// Received bytes that were opened where the application wanted them: no copy after decryption.
    pub bytes_in_place: u64,
    /// Received bytes that were copied or written there.
    pub bytes_copied: u64,
}

/// Counters of a connection. Set `size` before the call; as much as both sides know is filled in.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConnectionStatistics {
    /// Bytes of this struct, as the application was compiled.
    pub size: u32,
    /// What holds it up just now: one of XFER_STAGE_.
    pub limited_by: u32,
    /// Content bytes that moved.
    pub bytes: u64,
    /// Content bytes of all objects that were named.
    pub bytes_named: u64,
    /// Objects that arrived.
    pub objects: u64,
    /// Objects that failed.
    pub failed: u64,
    /// Bytes of all datagrams, both ways.
    pub wire_bytes: u64,
    /// Content bytes that were sent again.
    pub retransmitted_bytes: u64,
    /// Operations that have no completion yet.
    pub outstanding: u32,
    /// Paths.
    pub paths: u32,
}

/// Nothing holds it up, or it is not known yet.
pub const XFER_STAGE_NONE: u32 = 0;
/// Content is read too slowly.
pub const XFER_STAGE_SOURCE: u32 = 1;
/// Digests are made too slowly.
pub const XFER_STAGE_HASH: u32 = 2;
/// The sender's processor.
pub const XFER_STAGE_SENDER_CPU: u32 = 3;
/// The network.
pub const XFER_STAGE_PATH: u32 = 4;
/// The receiver's processor.
pub const XFER_STAGE_RECEIVER_CPU: u32 = 5;
/// Content is written too slowly.
pub const XFER_STAGE_SINK: u32 = 6;
/// `rate_max`.
pub const XFER_STAGE_RATE_LIMIT: u32 = 7;

/// One path of a connection.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PathReport {
    /// Address of this end, as text that ends in NUL.
    pub local: [c_char; 64],
    /// Address and port of the other end, as text that ends in NUL.
    pub remote: [c_char; 64],
    /// 1 while it carries.
    pub up: u32,
    /// Largest datagram, in bytes.
    pub mtu: u32,
    /// Content bytes that arrived on it.
    pub bytes: u64,
    /// Smoothed round trip.
    pub rtt_ns: u64,
    /// Congestion window, in bytes.
    pub window: u64,
    /// Packets that were sent.
    pub packets_sent: u64,
    /// Packets that came.
    pub packets_received: u64,
    /// Of a million packets so many were lost.
    pub loss_ppm: u32,
    /// 0.
    pub reserved: u32,
}

/// Which node a client connects to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ClientOptions {
    /// Bytes of this struct, as the application was compiled.
    pub size: u32,
    /// How long no address of the link may answer; 0: 10 s.
    pub timeout_ms: u32,
    /// The node's link: "xfer://...", as text that ends in NUL.
    pub link: *const c_char,
    /// 0.
    pub reserved: u64,
}

const _: () = assert!(size_of::<Completion>() == 128);
const _: () = assert!(XFER_SMALL_MAX == xfer_engine::INLINE_LEN_MAX as u64);
