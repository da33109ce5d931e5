//! Every bound of the client, by name.

use std::time::Duration;

/// Addresses of one link.
pub const LINK_ADDRESSES_MAX: usize = 64;
/// Bytes of a host name (RFC 1035 section 2.3.4).
pub const LINK_HOST_LEN_MAX: usize = 253;
/// Bytes of a node's name in the book.
pub const NODE_NAME_LEN_MAX: usize = 64;
/// Bytes of the node book.
pub const BOOK_LEN_MAX: u64 = 4 << 20;

/// Head start of one address over the next when connecting (RFC 8305 section 8).
pub const CONNECT_STAGGER: Duration = Duration::from_millis(100);
/// Time to connect unless told otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time in which a path must answer once control works.
pub const DATA_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that one short call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Time in which a ticket that was not used is given back.
pub const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of one message of a node.
pub const MESSAGE_LEN_MAX: usize = 4 << 20;

/// A range of up to so many bytes is read by a control call: longer ones gain more by all paths than they lose by round trips.
pub const RANGE_CALL_LEN_MAX: u64 = 8 << 20;
/// Bytes of all ranges of one call: as many as a node answers a call with.
pub const RANGES_CALL_LEN_MAX: u64 = 8 << 20;
/// Ranges of one call.
pub const RANGES_PER_CALL_MAX: usize = 1_024;
/// Calls for ranges that are under way at once; what comes meanwhile shares the next one.
pub const RANGE_CALLS_MAX: usize = 8;
/// Ranges that are downloaded at once.
pub const RANGE_FETCHES_MAX: usize = 2;
/// Ranges that wait for a call.
pub const RANGES_WAITING_MAX: usize = 4_096;
/// How often a call for ranges is made again because the connection was lost: a node closes one over which nothing comes.
pub const RANGE_RETRIES_MAX: u32 = 1;
/// The first wait before a call that the node had no place for is made again; each is twice the one before.
pub const RANGE_CROWDED_WAIT: Duration = Duration::from_millis(20);
/// Bytes of an answer that a node may send before it hears that they were read, of one call ...
pub const STREAM_WINDOW: u32 = 16 << 20;
/// ... and of all calls of a connection.
pub const CONNECTION_WINDOW: u32 = 64 << 20;

/// Content of files up to this many bytes travels in the manifest.
pub const INLINE_LEN_MAX: usize = 1_024;
/// Paths of one transfer.
pub const PATHS_MAX: usize = 16;
/// Pairs kept on standby.
pub const STANDBY_MAX: usize = 64;
/// How often a running copy looks at signals, limits and progress.
pub const TICK: Duration = Duration::from_millis(100);
/// Waits between retries; the last one repeats.
pub const RETRY_WAITS: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(300),
];
/// How long an ended transfer may take to say so after it was cancelled.
pub const CANCEL_PATIENCE: Duration = Duration::from_secs(8);
/// Time that one stage is measured for a forecast.
pub const MEASURE_TIME: Duration = Duration::from_millis(10);
/// Bytes of the file that is read and written for it.
pub const MEASURE_BYTES: u64 = 8 << 20;
/// Round trips of a copy that move nothing: connect, TLS, ticket, handshake, manifest, completion.
pub const START_ROUND_TRIPS: f64 = 6.0;
/// How long a copy that ended waits for its engine to say good-bye.
pub const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes copied at once to standard output.
pub const STDOUT_BYTES: usize = 1 << 20;

/// Pairs of addresses that are tried at once, to learn which ones answer.
pub const PROBES_AT_ONCE: usize = 8;
/// How long messages are sent over a pair that is tried: the first one that is heard of ends it.
pub const TRIAL_TIME: Duration = Duration::from_millis(1);

/// Bytes read at once for a digest of what is on this machine.
pub const HASH_BUFFER_LEN: usize = 256 << 10;
/// Digests that are remembered; with more the file starts anew.
pub const CACHE_RECORDS_MAX: usize = 1 << 18;
/// How long a file must be as it is before its digest is remembered.
pub const CACHE_SETTLED: Duration = Duration::from_secs(2);
/// How long the engine of an ended copy may take to send its last packets.
pub const ENGINE_STOP: Duration = Duration::from_millis(250);

/// Bytes of the memory that a benchmark sends.
pub const BENCH_BYTES_MAX: u64 = 1 << 30;
/// How long a benchmark sends.
pub const BENCH_TIME_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How long it takes, where chunks fit the rate, until what was sent in a benchmark's time has arrived.
pub const BENCH_DRAIN_USUAL: Duration = Duration::from_secs(3);
/// How long a benchmark waits for what was sent in its time.
pub const BENCH_DRAIN_MAX: Duration = Duration::from_secs(300);
/// How long the node may take to end its part of a benchmark that has ended here.
pub const BENCH_WAIT: Duration = Duration::from_secs(5);
/// Bytes of a message whose way is timed: what a manifest's entry holds.
pub const BENCH_MESSAGE_BYTES: usize = 1_024;

const _: () = assert!(RANGE_CALL_LEN_MAX <= RANGES_CALL_LEN_MAX);
// No call waits for room in the window.
const _: () = assert!(RANGES_CALL_LEN_MAX < STREAM_WINDOW as u64);
const _: () = assert!(RANGES_CALL_LEN_MAX * RANGE_CALLS_MAX as u64 <= CONNECTION_WINDOW as u64);
const _: () = assert!(BENCH_TIME_MAX.as_millis() <= u32::MAX as u128);
