//! Every bound of the tool, by name.

use std::time::Duration;

/// Bytes of a configuration file.
pub(crate) const CONFIG_LEN_MAX: u64 = 1 << 20;
/// Bytes of a link that is read from a file or from stdin.
pub(crate) const LINK_LEN_MAX: u64 = 64 << 10;
/// Bytes of a list of paths (`--files-from`).
pub(crate) const FILES_FROM_LEN_MAX: u64 = 64 << 20;

/// log2 of the smallest and of the largest chunk.
pub(crate) const CHUNK_LOG2_MIN: u32 = 16;
/// See [`CHUNK_LOG2_MIN`].
pub(crate) const CHUNK_LOG2_MAX: u32 = 26;
/// Numbers that a list of cores may name.
pub(crate) const CORES_MAX: usize = 1_024;
/// Workers that may be asked for.
pub(crate) const WORKERS_MAX: u64 = 1_024;

/// Lines of a node's log that wait to be written.
pub(crate) const LOG_LINES_WAITING_MAX: usize = 1_024;

/// Control connections that a node may be allowed.
pub(crate) const CONNECTIONS_MAX: i64 = 65_536;
/// Transfers that it may be allowed: the engine has room for no more.
pub(crate) const TRANSFERS_MAX: i64 = 256;
/// Calls in a second that a client may be allowed.
pub(crate) const CALLS_PER_S_MAX: i64 = 1_000_000;

/// How often bars are drawn.
pub(crate) const BAR_INTERVAL: Duration = Duration::from_millis(200);
/// How often a plain line tells of progress where there is no terminal.
pub(crate) const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// How often progress is told as JSON.
pub(crate) const JSON_INTERVAL: Duration = Duration::from_secs(1);
/// Time over which the rate that is shown is averaged.
pub(crate) const RATE_WINDOW: Duration = Duration::from_secs(5);
/// Samples that such an average is made of.
pub(crate) const RATE_SAMPLES_MAX: usize = 64;

/// Retries without progress where nobody watches a terminal.
pub(crate) const RETRIES_UNATTENDED: u32 = 10;

/// Paths of one call that asks a node for digests.
pub(crate) const HASH_PATHS_PER_CALL: usize = 1_000;

/// Bytes of a node's metrics that are read.
pub(crate) const SCRAPE_LEN_MAX: u64 = 8 << 20;
/// Samples of them.
pub(crate) const SCRAPE_SAMPLES_MAX: usize = 65_536;
/// Time that a node has to tell them.
pub(crate) const SCRAPE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes that `cat` asks for at once: what comes in one round trip.
pub(crate) const CAT_PIECE_LEN: u64 = xfer_client::limits::RANGE_CALL_LEN_MAX;
/// Pieces of a file that `cat` has asked for and not written yet.
pub(crate) const CAT_PIECES_AHEAD: usize = 4;

const _: () = assert!(CHUNK_LOG2_MIN < CHUNK_LOG2_MAX && CHUNK_LOG2_MAX < u64::BITS);
const _: () = assert!(RATE_SAMPLES_MAX as u128 > RATE_WINDOW.as_millis() / BAR_INTERVAL.as_millis());
