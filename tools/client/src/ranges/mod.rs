//! Ranges of files of a node, into memory.
//!
//! In: file, offset and length. Out: content that was verified by its digest, and what the file was when it was read. A range of up to
//! [`RANGE_CALL_LEN_MAX`](crate::limits::RANGE_CALL_LEN_MAX) bytes comes with the answer of a control call: one round trip. A longer one
//! is a download through an engine: more round trips, and all paths.

mod access;
pub(crate) mod call;
mod fetch;
mod queue;

pub use access::Access;
pub use queue::{Done, RangeQueue};

use crate::pb;

/// A range of one file of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRange {
    /// The file; symlinks that stay inside the node's root are followed.
    pub path: Vec<u8>,
    /// Its first byte.
    pub offset: u64,
    /// Bytes of it at most; the file's end cuts it.
    pub len: u64,
}

impl FileRange {
    /// Bytes of it that a file of `size` bytes has.
    fn len_within(&self, size: u64) -> u64 {
        self.len.min(size.saturating_sub(self.offset))
    }

    fn to_message(&self) -> pb::FileRange {
        pb::FileRange { path: self.path.clone(), offset: self.offset, length: self.len }
    }
}

/// A range that was read and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRange {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Their BLAKE3.
    pub digest: [u8; 32],
    /// Bytes of the whole file when it was read.
    pub file_size: u64,
    /// When the file had been modified: nanoseconds since 1970.
    pub mtime_ns: i64,
}
