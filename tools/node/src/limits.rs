//! Every bound of a node, by name.

use std::time::Duration;

/// Paths that an audit line names.
pub const AUDIT_NAMES_MAX: usize = 16;
/// Wires that an audit line names are those of a connection: see `xfer_proto::limits::PATHS_MAX`. Bytes of a line, for the one that is
/// read again at the start.
pub const AUDIT_LINE_LEN_MAX: u64 = 256 << 10;
/// Bytes of names that wait until the digest of a transfer can take them, in order; with more there is none.
pub const AUDIT_DIGEST_BYTES_MAX: usize = 16 << 20;
/// Refused requests for transfers that are written one by one ...
pub const AUDIT_REFUSALS_MAX: u32 = 1_000;
/// ... in this time; more are counted.
pub const AUDIT_REFUSALS_EVERY: Duration = Duration::from_secs(10);
/// Time that audit lines of transfers which end with the node have.
pub const AUDIT_PATIENCE: Duration = Duration::from_secs(1);

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
/// Control connections at once over which calls with the token came, unless the operator says otherwise; calls over more are refused.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Backlog of the listening socket.
pub const BACKLOG: i32 = 1_024;
/// Those of them that one client may have, unless the operator says otherwise.
pub const CONNECTIONS_PER_CLIENT_MAX: usize = 256;
/// Calls at once on one connection.
pub const CALLS_PER_CONNECTION_MAX: u32 = 64;
/// Calls at once over all connections: each may hold [`BATCHES_AHEAD`] batches of its answer besides what HTTP/2 buffers.
pub const CALLS_MAX: usize = 512;
/// Those of them that one client may have.
pub const CALLS_PER_CLIENT_MAX: usize = 64;
/// Calls of one client in a second, on average, unless the operator says otherwise ...
pub const CALLS_PER_CLIENT_PER_S: u32 = 200;
/// ... of which those of this time may come at once.
pub const CALLS_BURST: Duration = Duration::from_secs(5);
/// Clients whose calls are counted at once.
pub const CLIENTS_REMEMBERED: usize = 4_096;
/// Bytes of requests that are held at once, over all connections ...
pub const REQUESTS_LEN_MAX: usize = 64 << 20;
/// ... of one client ...
pub const REQUESTS_PER_CLIENT_LEN_MAX: usize = 16 << 20;
/// ... and of one call, with what frames its messages.
pub const REQUEST_CHARGE_MAX: usize = REQUEST_LEN_MAX + 1_024;
/// Time in which a request has to be there.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Time that a client may leave a batch of its answer unread: somebody may read a listing page by page.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
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
pub const BLOCKING_THREADS: usize = 128;

/// Entries of one batch of a listing.
pub const BATCH_ENTRIES_MAX: usize = 500;
/// Bytes of names in one batch of a listing, exceeded by one entry at most.
pub const BATCH_BYTES_MAX: usize = 256 << 10;
/// Batches that wait for a slow client.
pub const BATCHES_AHEAD: usize = 4;
/// Files of one hash call.
pub const HASH_PATHS_MAX: usize = 10_000;
/// Ranges of one call.
pub const READ_RANGES_MAX: usize = 1_024;
/// Content bytes of all ranges that one call reads.
pub const READ_CALL_LEN_MAX: u64 = 8 << 20;
/// Bytes that are read and sent at once of a range.
pub const READ_PART_LEN: usize = 256 << 10;

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
/// Those of them that one client may have, unless the operator says otherwise: four clients fill a node, one leaves three quarters.
pub const TRANSFERS_PER_CLIENT_MAX: usize = 64;
/// How long a transfer may go without any content moving, whatever else its peer says, unless the operator says otherwise.
pub const TRANSFER_STALL_MAX: Duration = Duration::from_secs(3_600);
/// How often that is looked at: four times in such a time, within these bounds.
pub const TRANSFER_STALL_LOOK_MIN: Duration = Duration::from_millis(100);
/// See [`TRANSFER_STALL_LOOK_MIN`].
pub const TRANSFER_STALL_LOOK_MAX: Duration = Duration::from_secs(30);
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

const _: () = assert!(4 * TRANSFERS_PER_CLIENT_MAX <= TRANSFERS_RUNNING_MAX);
const _: () = assert!(TRANSFERS_RUNNING_MAX <= xfer_engine::limits::TRANSFERS_MAX);
const _: () = assert!(CONNECTIONS_PER_CLIENT_MAX < CONNECTIONS_MAX && CALLS_PER_CLIENT_MAX < CALLS_MAX);
// What waits of a range counts like a batch of a listing.
const _: () = assert!(READ_PART_LEN <= BATCH_BYTES_MAX && READ_PART_LEN as u64 <= READ_CALL_LEN_MAX);
// The content of a small download comes in one part.
const _: () = assert!(INLINE_LEN_MAX <= READ_PART_LEN);
// One client that reads no answers does not take all threads.
const _: () = assert!(2 * CALLS_PER_CLIENT_MAX <= BLOCKING_THREADS);
const _: () = assert!(REQUEST_CHARGE_MAX < REQUESTS_PER_CLIENT_LEN_MAX);
const _: () = assert!(REQUESTS_PER_CLIENT_LEN_MAX < REQUESTS_LEN_MAX);
const _: () = assert!(TRANSFERS_RUNNING_MAX < TRANSFERS_MAX);
const _: () = assert!(ANSWERS_REMEMBERED_LEN > REQUEST_LEN_MAX);
const _: () = assert!(HANDSHAKE_TIMEOUT.as_secs() < STRANGER_LIFE.as_secs());
const _: () = assert!(BENCH_TIME_MAX.as_millis() <= u32::MAX as u128);
const _: () = assert!(SHUT_DOWN_PATIENCE.as_secs() + 2 * DRAIN_PATIENCE.as_secs() < 10);

/// Scrapes of the metrics at once; one more is closed unheard.
pub const METRICS_CONNECTIONS_MAX: usize = 8;
/// Bytes of a scrape's request.
pub const METRICS_REQUEST_LEN_MAX: usize = 8 << 10;
/// Time that a scrape may take.
pub const METRICS_TIMEOUT: Duration = Duration::from_secs(10);
/// How often paths that went silent are forgotten ...
pub const NETWORK_SWEEP: Duration = Duration::from_secs(10);
/// ... after this long.
pub const NETWORK_IDLE: Duration = Duration::from_secs(60);
