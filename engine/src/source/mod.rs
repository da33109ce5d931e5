//! Stages 1 and 2, read and hash: where content comes from.
//!
//! In: the user's list of sources, then the receiver's decisions and the chunks that it granted. Out: manifest pages and stored chunk
//! bytes with their digests. Everything here may block and runs on I/O threads; nothing here knows packets.

mod attributes;
mod encode;
mod endless;
mod failure;
mod files;
mod filter;
mod lent;
mod live;
mod memory;
mod merge;
mod messages;
mod object;
mod open;
mod piece;
mod place;
mod spec;
mod stream;
mod walk;

pub use endless::EndlessSource;
pub use files::FileSource;
pub use filter::{Filter, Rule};
pub use lent::Lent;
pub use live::{LiveContent, LiveObject, LiveSource};
pub use memory::{MemoryObject, MemorySource};
pub use messages::MessageSource;
pub use spec::{DigestCache, Identity, Location, Preserve, SourceItem, SourceSpec};

use crate::error::Error;
use std::time::Duration;
use xfer_proto::space::Piece;
use xfer_proto::wire::{Codec, Decision, Entry};

/// What a chunk holds: the values that storage needs to read or write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkPlan {
    /// Chunk of the transfer's address space.
    pub chunk: u32,
    /// Bytes of its data, gaps between packed objects included.
    pub plain_len: u32,
    /// The objects' parts in it, in order.
    pub pieces: Vec<Piece>,
}

impl ChunkPlan {
    /// Whether it is part of an object that has more than one chunk, so that its digest is a chaining value.
    pub fn is_subtree(&self) -> bool {
        matches!(self.pieces[..], [only] if u64::from(only.len) < only.object_size)
    }
}

/// How a chunk's stored bytes were made, and the digests of its plain bytes (PROTOCOL.md#chunk-entries).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Form of the stored bytes.
    pub codec: Codec,
    /// How many stored bytes there are.
    pub stored_len: u32,
    /// One chaining value, or a root for each piece; empty without digests.
    pub digests: Vec<[u8; 32]>,
}

/// A chunk that was read. Objects that could no longer be read as listed are zeros in it and are withdrawn.
#[derive(Clone, Debug)]
pub struct ReadChunk {
    /// How the bytes in the buffer were made.
    pub encoding: Encoding,
    /// All objects whose bytes it lacks, with the reason, also those that an earlier chunk named: another thread's chunk may overtake that,
    /// and must not pass for content.
    pub withdrawn: Vec<(u32, Error)>,
}

impl ReadChunk {
    /// A chunk whose `len` plain bytes are sent as they are.
    pub(crate) fn plain(len: u32, digests: Vec<[u8; 32]>) -> Self {
        let encoding = Encoding { codec: Codec::Plain, stored_len: len, digests };
        ReadChunk { encoding, withdrawn: Vec::new() }
    }
}

/// Something that is not sent and not an error: a FIFO, a socket, a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its name relative to the destination.
    pub name: Vec<u8>,
    /// What was left out and why.
    pub text: String,
}

/// A run of objects to be listed.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The objects, in manifest order.
    pub entries: Vec<Entry>,
    /// Nothing follows.
    pub last: bool,
    /// What was left out.
    pub notices: Vec<Notice>,
    /// Named sources or tree members that could not be listed: each counts as a failed file.
    pub errors: Vec<Error>,
}

/// What a source says to the worker, which cannot wait for it.
pub enum Now<T> {
    /// An I/O thread is to ask, and may have to wait.
    Ask,
    /// There is nothing now. Who has something later wakes the worker, by [`crate::Transfer::nudge`].
    Later,
    /// This.
    Ready(T),
}

/// Where a transfer's content comes from. Called from I/O threads only, except where it says otherwise.
pub trait Source: Send + Sync {
    /// Lists the next objects, at most `PAGE_ENTRIES_MAX` entries whose `encoded_len_max` sum to at most 48 KiB. `first_object` is the
    /// number of the first of them. Called by one thread at a time; not again after a listing that was the last.
    ///
    /// # Errors
    /// Ends the transfer.
    fn list(&self, first_object: u32) -> Result<Listing, Error>;

    /// As [`Source::list`] without waiting, where objects come while the transfer runs. The worker calls this.
    fn list_now(&self, _first_object: u32) -> Now<Result<Listing, Error>> {
        Now::Ask
    }

    /// Whether [`Source::decided`] and [`Source::end`] never wait, so that the worker calls them itself.
    fn is_live(&self) -> bool {
        false
    }

    /// Tells what the receiver wants of objects `first_object ..`, in order, before any of their chunks is read.
    fn decided(&self, first_object: u32, decisions: &[Decision]);

    /// Reads a chunk, digests its plain bytes and leaves its stored bytes at the start of `buffer`, which has the size of a chunk.
    /// Chunks are mostly asked for in order, by several threads at once; `attempt` above 0 reads one again.
    ///
    /// Chunks of an open object wait for those before them and can be read once only. The one that holds the object's end is as long as
    /// the bytes that were left, those behind it are empty (plain, without digest); [`Source::open_size`] tells the end at once.
    ///
    /// # Errors
    /// Ends the transfer; an object's own failure is in [`ReadChunk::withdrawn`].
    fn read(&self, plan: &ChunkPlan, attempt: u8, buffer: &mut [u8]) -> Result<ReadChunk, Error>;

    /// Lends the chunk's plain bytes, which are sent from where they are; `None`: it is to be read. The worker calls this, for each attempt;
    /// it must not wait.
    fn lend(&self, _plan: &ChunkPlan) -> Option<Lent> {
        None
    }

    /// Digests a chunk that was lent; `chunk_bytes` is the size of a full one. As [`Source::read`] does it.
    fn digest(&self, _plan: &ChunkPlan, _attempt: u8, _chunk_bytes: usize, _bytes: &[u8]) -> Vec<[u8; 32]> {
        Vec::new()
    }

    /// Whether what is read depends on when it is asked for, so that chunks are to be asked for shortly before they are sent.
    fn is_timed(&self) -> bool {
        false
    }

    /// Takes what the connection could carry now, in bytes a second: what compressing has to be faster than. The worker calls this, a
    /// few times a second; it must not wait.
    fn rate(&self, _bytes_per_second: u64) {}

    /// The time that reads took so far for digests, of all threads together.
    fn hashing(&self) -> Duration {
        Duration::ZERO
    }

    /// The size of the open object, once its end was read.
    fn open_size(&self, object: u32) -> Option<u64>;

    /// All chunks of the object were accepted, or it was withdrawn, skipped or failed: it will not be read again. Returns its
    /// BLAKE3 root when it is known and wanted. An object that changed while it was read is an error that fails the object.
    ///
    /// # Errors
    /// The object changed since it was listed.
    fn end(&self, object: u32) -> Result<Option<[u8; 32]>, Error>;
}
