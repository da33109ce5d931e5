//! Stages 8 and 9, verify and write: where content goes.
//!
//! In: manifest pages, then full chunks with their digests. Out: decisions, accepted or rejected chunks, ended objects.
//! Everything here may block and runs on I/O threads; nothing here knows packets.

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod arrived;
mod attributes;
mod decide;
mod directory;
mod discard;
mod fault;
mod file;
mod finish;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod journal;
mod live;
mod memory;
mod naming;
mod object;
mod partial;
mod places;
mod regrid;
mod stream;
mod target;
mod verify;
mod write;

pub use discard::DiscardSink;
pub use file::{Compare, FileSink, Overwrite, SinkSpec};
pub use live::{LiveSink, Place};
pub use memory::MemorySink;
pub use partial::PARTIAL_DIRECTORY;
pub use stream::StreamSink;
pub use target::{Ground, SourceInfo, Target};

use crate::api::Offer;
use crate::error::Error;
use crate::source::{ChunkPlan, Encoding};
use xfer_io::registered::Registered;
use xfer_proto::wire::{Decision, Durability, Page};

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// All of its content came now.
    Copied,
    /// Part of its content was there from an earlier run.
    Resumed,
    /// It was there already.
    Skipped,
    /// It is not there.
    Failed,
}

impl Action {
    /// As `file` lines and logs name it.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Copied => "copied",
            Action::Resumed => "resumed",
            Action::Skipped => "skipped",
            Action::Failed => "failed",
        }
    }
}

/// How an object ended, at either end. Ends come in any order of the objects' numbers.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its number in the manifest.
    pub object: u32,
    /// Its name in the manifest.
    pub name: Vec<u8>,
    /// Regular files and symlinks count as files; directories do not.
    pub is_directory: bool,
    /// What became of it.
    pub action: Action,
    /// Content bytes that this run wrote.
    pub bytes: u64,
    /// Content bytes taken over from an earlier run.
    pub reused: u64,
    /// Content bytes that were there already.
    pub skipped: u64,
    /// Its BLAKE3 root (of a symlink: of its target), when it is known.
    pub digest: Option<[u8; 32]>,
    /// Why it failed.
    pub error: Option<Error>,
}

/// Answer to a page.
#[derive(Clone, Debug)]
pub struct Decided {
    /// One decision for each entry, in order.
    pub decisions: Vec<Decision>,
    /// Objects that ended by being decided: skipped, failed, directories, symlinks, empty and inline files.
    pub ended: Vec<Ended>,
}

/// Answer to a full chunk.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Its bytes are right and with the kernel; its buffer is free. Objects that ended by it follow.
    Accepted(Vec<Ended>),
    /// A digest was wrong or the stored bytes do not decode: fetch it again.
    Rejected,
}

/// Where a transfer's content goes. Called from I/O threads only.
pub trait Sink: Send + Sync {
    /// Decides about a page's objects; creates directories, symlinks, empty and inline files. Pages come in order, one at a time.
    ///
    /// # Errors
    /// Ends the transfer; an object's own failure is a decision.
    fn decide(&self, page: &Page) -> Result<Decided, Error>;

    /// What the application is to decide about a page, which gets [`Self::answer`] asked until it has; `None`: [`Self::decide`] does it all.
    /// Objects that ended well by it get no other event.
    /// The worker calls this; it must not wait.
    ///
    /// # Errors
    /// Ends the transfer.
    fn offer(&self, _page: &Page) -> Option<Result<Vec<Offer>, Error>> {
        None
    }

    /// The decisions about the page that was offered last, once the application made them all. Who makes one later wakes the worker, by
    /// [`crate::Transfer::nudge`]. The worker calls this; it must not wait.
    fn answer(&self, _page: &Page) -> Option<Decided> {
        None
    }

    /// Verifies a chunk's stored bytes against its digests and writes its plain bytes. Several threads at once, each with another chunk.
    ///
    /// # Errors
    /// Ends the transfer (no space, I/O error); an object's own failure is an [`Ended`].
    fn write(&self, plan: &ChunkPlan, encoding: &Encoding, stored: &[u8]) -> Result<Verdict, Error>;

    /// The memory that object `object`, which was decided just now, is to be received into at its offsets; `None`: its chunks come in
    /// buffers. Only for an object of known size that starts with a chunk of `chunk_bytes` (PROTOCOL.md#address-space): one of more than a
    /// quarter of them. The bytes that [`Sink::write`] sees are in that memory then, decoded; they may change until it said that they are
    /// accepted, and do not after. Asked once an object, after [`Sink::decide`].
    fn memory(&self, _object: u32, _chunk_bytes: usize) -> Option<Registered> {
        None
    }

    /// Accepts a chunk whose plain bytes came as they are and need no verifying; `None`: it is for [`Sink::write`]. The worker calls this; it
    /// must not wait.
    fn accept(&self, _plan: &ChunkPlan) -> Option<Vec<Ended>> {
        None
    }

    /// The sender cannot send the object as listed: nothing of it is kept under its name.
    fn withdraw(&self, object: u32, error: Error) -> Vec<Ended>;

    /// The open object has `size` bytes.
    fn end_open(&self, object: u32, size: u64) -> Vec<Ended>;

    /// Makes what was written durable, journals it, and names finished small files. Called about every journal interval, by one thread.
    ///
    /// # Errors
    /// Ends the transfer.
    fn sync(&self) -> Result<Vec<Ended>, Error>;

    /// Every object was decided and every chunk accepted or withdrawn: makes the rest durable, sets directories' modes and times.
    ///
    /// # Errors
    /// Ends the transfer.
    fn finish(&self) -> Result<(Vec<Ended>, Durability), Error>;

    /// The transfer ends early: syncs journals, keeps partial files for a later run, unlocks them.
    fn abort(&self);
}

#[cfg(test)]
mod tests;
