//! Every bound of a node, by name.

use std::time::Duration;

/// Port of a node unless told otherwise.
pub const PORT: u16 = 7700;

/// Connections at once over which no call with the node's token came yet; for one more the oldest of them is closed.
pub const STRANGERS_MAX: usize = 256;
/// How long a connection may be such a one.
pub const STRANGER_LIFE: Duration = Duration::from_secs(30);
/// Time that a connection has after its first call without the token, so that it gets the answer.
pub const REFUSED_LIFE: Duration = Duration::from_secs(1);
/// Log lines of one kind that strangers may cause ...
pub const STRANGER_LINES_MAX: u32 = 10;
/// ... in this time.
pub const STRANGER_LINES_EVERY: Duration = Duration::from_secs(10);
/// Time that a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Control connections at once over which calls with the token came; calls over more are refused.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Backlog of the listening socket.
pub const BACKLOG: i32 = 1_024;
/// Calls at once on one connection.
pub const CALLS_PER_CONNECTION_MAX: u32 = 64;
/// Wait after the kernel could not accept (no file descriptors).
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Silence after which a connection is asked whether it lives, and time for the answer.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Time for the answer to a keep-alive.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one request.
pub const REQUEST_LEN_MAX: usize = 4 << 20;
/// Bytes of a request's headers.
pub const HEADERS_LEN_MAX: u32 = 16 << 10;
/// Threads of the runtime that answers calls.
pub const RUNTIME_THREADS: usize = 2;
/// Threads that may block on files for calls.
pub const BLOCKING_THREADS: usize = 32;

/// Entries of one batch of a listing.
pub const BATCH_ENTRIES_MAX: usize = 500;
/// Bytes of names in one batch of a listing, exceeded by one entry at most.
pub const BATCH_BYTES_MAX: usize = 256 << 10;
/// Batches that wait for a slow client.
pub const BATCHES_AHEAD: usize = 4;
/// Files of one hash call.
pub const HASH_PATHS_MAX: usize = 10_000;

/// Bytes of a remote path.
pub const PATH_LEN_MAX: usize = 4_095;
/// Sources of one transfer.
pub const SOURCES_MAX: usize = 10_000;
/// Filters of one transfer.
pub const FILTERS_MAX: usize = 1_000;
/// Paths that a download is restricted to.
pub const ONLY_MAX: usize = 100_000;
/// Content of files up to this many bytes travels in the manifest.
pub const INLINE_LEN_MAX: usize = 1_024;
/// Bytes of a request id.
pub const REQUEST_ID_LEN_MAX: usize = 64;
/// Transfers that are remembered, running ones included.
pub const TRANSFERS_MAX: usize = 1_000;
/// Log lines about files and paths of one transfer.
pub const TRANSFER_LINES_MAX: u32 = 10_000;
/// Bytes of the paths that are remembered of a transfer; at least one is.
pub const PATHS_REMEMBERED_LEN: usize = 16 << 10;
/// Bytes of all answers that are remembered for requests that come again; the oldest are forgotten.
pub const ANSWERS_REMEMBERED_LEN: usize = 16 << 20;
/// Transfers that may run or wait for their connection at once.
pub const TRANSFERS_RUNNING_MAX: usize = 256;
/// Those of them that one host may have.
pub const TRANSFERS_PER_HOST_MAX: usize = 192;
/// How long a ticket waits for its connection.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(60);
/// How often a watcher is told of progress.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long the holder of a target is watched for a sign of its peer. Peers with nothing to send ping every 2 s.
pub const HOLDER_PATIENCE: Duration = Duration::from_millis(2_500);
/// How often the holder of a target is looked at meanwhile.
pub const HOLDER_INTERVAL: Duration = Duration::from_millis(50);
/// By then counters of packets that came before are told, several times over.
pub const HOLDER_SETTLE: Duration = Duration::from_millis(250);
/// How long a transfer that was told to end may take to sync its journal.
pub const END_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of the memory that a benchmark sends, and that all of them send together.
pub const BENCH_BYTES_MAX: u64 = 1 << 30;
/// How long a benchmark sends.
pub const BENCH_TIME_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How long a call may wait for the end of a benchmark.
pub const BENCH_WAIT_MAX: Duration = Duration::from_secs(10);

/// Running transfers sync their journals within this time of a shutdown.
pub const SHUT_DOWN_PATIENCE: Duration = Duration::from_secs(5);
/// Calls in progress end within this time after that.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of the identity file.
pub const IDENTITY_LEN_MAX: u64 = 64 << 10;

const _: () = assert!(TRANSFERS_PER_HOST_MAX < TRANSFERS_RUNNING_MAX);
const _: () = assert!(TRANSFERS_RUNNING_MAX < TRANSFERS_MAX);
const _: () = assert!(ANSWERS_REMEMBERED_LEN > REQUEST_LEN_MAX);
const _: () = assert!(HANDSHAKE_TIMEOUT.as_secs() < STRANGER_LIFE.as_secs());
const _: () = assert!(BENCH_TIME_MAX.as_millis() <= u32::MAX as u128);
const _: () = assert!(SHUT_DOWN_PATIENCE.as_secs() + 2 * DRAIN_PATIENCE.as_secs() < 10);
