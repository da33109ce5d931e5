//! Every bound of the engine, by name.

use xfer_proto::limits::{CHUNK_LOG2_MAX, PAGE_ENTRIES_MAX, WINDOW_CHUNKS_MAX};

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

const _: () = assert!(AUTO_HOPELESS_CHUNKS < AUTO_PROBE_CHUNKS && AUTO_PROBE_CHUNKS < AUTO_PERIOD_CHUNKS);
const _: () = assert!(CHUNK_LOG2_MAX < 31, "chunk bytes and chunk offsets are u32");
