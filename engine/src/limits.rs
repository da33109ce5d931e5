//! Every bound of the engine, by name.

use xfer_proto::limits::{CHUNK_LOG2_MAX, MESSAGE_LEN_MAX, PAGE_ENTRIES_MAX, WINDOW_CHUNKS_MAX};
use xfer_proto::wire::Page;

/// Chaining values of an object that may wait for one before them: what a window of chunks can bring out of order, twice over.
pub const DIGEST_REORDER_CHUNKS_MAX: usize = 2 * WINDOW_CHUNKS_MAX as usize;
/// Records of a tree's digest that may wait for one before them: a window of chunks that are all packed with the objects of a page.
pub const TREE_REORDER_RECORDS_MAX: usize = WINDOW_CHUNKS_MAX as usize * PAGE_ENTRIES_MAX;

/// Zstandard level of compressed chunks: the fastest of the regular ones.
pub const ZSTD_LEVEL: i32 = 1;
/// Chunks that `auto` compresses, each codec in turn, before it decides.
pub const AUTO_PROBE_CHUNKS: u32 = 16;
/// Chunks of a probe after which it ends early when none of them shrank.
pub const AUTO_HOPELESS_CHUNKS: u32 = 4;
/// Chunks from one probe of `auto` to the next.
pub const AUTO_PERIOD_CHUNKS: u32 = 256;

/// Bytes of one listing's entries, so that a page with its head fits one message.
pub const LISTING_BYTES_MAX: usize = 48 << 10;
/// Notices and errors of one listing.
pub const LISTING_REPORTS_MAX: usize = 2_000;
/// Directories that a source keeps open for the files it reads.
pub const SOURCE_DIRS_OPEN_MAX: usize = 32;
/// Files of more than one chunk that a source keeps open.
pub const SOURCE_FILES_OPEN_MAX: usize = 32;
/// Files with several names whose first name is remembered while the others are looked for; more are sent as files of their own.
pub const HARD_LINKS_MAX: usize = 1 << 20;
/// Bytes read at once where a digest is wanted of a file that is not sent.
pub const HASH_READ_BYTES: usize = 1 << 20;

const _: () = assert!(AUTO_HOPELESS_CHUNKS < AUTO_PROBE_CHUNKS && AUTO_PROBE_CHUNKS < AUTO_PERIOD_CHUNKS);
const _: () = assert!(LISTING_BYTES_MAX + Page::HEAD_LEN <= MESSAGE_LEN_MAX);
const _: () = assert!(CHUNK_LOG2_MAX < 31, "chunk bytes and chunk offsets are u32");

/// Directories of a destination that are kept open: a descriptor each, three with a partial directory.
pub const SINK_DIRECTORIES_MAX: usize = 64;
/// Finished files that wait to be made durable and named; one more and the thread that brings it does so first.
pub const SINK_PENDING_MAX: usize = 4_096;
/// As [`SINK_PENDING_MAX`], for directories that such files are in: three descriptors each.
pub const SINK_PENDING_DIRECTORIES_MAX: usize = 64;
/// As [`SINK_PENDING_MAX`], for files that stay open because they are synced one by one or locked.
pub const SINK_PENDING_OPEN_MAX: usize = 128;
/// Files or directories that are synced one by one; more are synced with their whole file system.
pub const SYNC_EACH_MAX: usize = 8;
/// Seconds after which a partial file that nobody holds is removed.
pub const PARTIAL_AGE_S_MAX: u64 = 7 * 24 * 3_600;
/// Attempts to open a partial directory or file that others create, lock and remove at the same time.
pub const PARTIAL_ATTEMPTS: usize = 100;
/// Bytes of the text in a journal that says who writes it.
pub const HOLDER_LEN_MAX: usize = 128;
/// Bytes read at once when a file that is there already is digested.
pub const DIGEST_READ_BYTES: usize = 1 << 20;
