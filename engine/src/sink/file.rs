//! The sink that writes files: what it is told, what it keeps, and the way of a chunk into a file.
//!
//! The parts: `decide` answers pages, `write` takes chunks, `naming` makes finished files durable and gives them their names,
//! `finish` ends a transfer. A file is under its name whole or not at all.

use super::attributes::Kept;
use super::directory::{Directories, lock};
use super::fault::{Fault, has_ended};
use super::naming::{Pending, pending_directories_max};
use super::object::{Object, Parts, State};
use super::places::Places;
use super::verify::Scratch;
use super::{Decided, Ended, Sink, Target, Verdict};
use crate::error::{Class, Error, Side};
use crate::limits::{SINK_KEPT_BYTES, SINK_KEPT_BYTES_MAX};
use crate::source::{ChunkPlan, DigestCache, Encoding, Preserve};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use xfer_proto::wire::{Durability, Page};

/// When a file that is there already counts as the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// Always.
    Exists,
    /// When the size is equal.
    Size,
    /// When size and modification time are equal.
    #[default]
    Mtime,
    /// When the size is equal and the digest the one that the sender listed.
    Digest,
}

/// What happens to files that are there and differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// They are replaced.
    #[default]
    Always,
    /// They are replaced if they are older than the source (`-u`); equal times count at the coarser side's resolution.
    Older,
    /// They stay (`--no-clobber`).
    Never,
}

/// How a transfer's files are written.
#[derive(Clone)]
pub struct SinkSpec {
    /// Where names go.
    pub target: Target,
    /// log2 of the transfer's chunk size.
    pub chunk_log2: u8,
    /// Whether the transfer has digests.
    pub digests: bool,
    /// When a file that is there already counts as the same.
    pub compare: Compare,
    /// What happens to files that differ.
    pub overwrite: Overwrite,
    /// What is promised about files that have their name.
    pub durability: Durability,
    /// What is kept besides mode and modification time.
    pub preserve: Preserve,
    /// Whether skipped files too end with their digest, for which they are read; all others end with it anyway.
    pub want_digests: bool,
    /// Digests that are known; paths are [`Target::shown`].
    pub digest_cache: Option<Arc<dyn DigestCache>>,
    /// Who is writing, for those who find the target busy: process and peer.
    pub holder: String,
}

impl SinkSpec {
    /// The defaults of a copy: verified, durable in batches, compared by size and time, digests told.
    pub fn new(target: Target, chunk_log2: u8) -> Self {
        SinkSpec {
            target,
            chunk_log2,
            digests: true,
            compare: Compare::default(),
            overwrite: Overwrite::default(),
            durability: Durability::Batch,
            preserve: Preserve::default(),
            want_digests: true,
            digest_cache: None,
            holder: format!("pid {}", std::process::id()),
        }
    }
}

/// Writes files. Holds state for objects in progress and, until the end, for directories (their places, modes and times: about 150 bytes
/// and the name each) and, with [`Preserve::links`], the places of all files.
pub struct FileSink {
    pub(super) spec: SinkSpec,
    pub(super) directories: Directories,
    pub(super) objects: Mutex<HashMap<u32, Arc<Object>>>,
    pub(super) pending: Mutex<Pending>,
    pub(super) last: Mutex<Last>,
    /// Bytes of decided objects that were not written yet, holes left out.
    pub(super) promised: AtomicU64,
    /// Directories that may have files waiting for their names.
    pub(super) pending_directories_max: usize,
    /// Large files in progress.
    pub(super) places: Arc<Places>,
    pub(super) scratch: Scratch,
    /// The transfer ended early.
    pub(super) closed: AtomicBool,
    /// Shared by whoever writes a chunk, so that the end can wait for them.
    pub(super) writing: RwLock<()>,
    /// Content could not be made durable once.
    pub(super) unsound: AtomicBool,
}

/// What is left for the end of the transfer.
#[derive(Debug, Default)]
pub(super) struct Last {
    pub directories: Vec<LastDirectory>,
    /// Object, name, place, and the object that it is another name of.
    pub links: Vec<(u32, Vec<u8>, Vec<u8>, u32)>,
    /// Places of files that may get more names.
    pub places: HashMap<u32, Vec<u8>>,
    /// What all of it takes.
    bytes: u64,
}

impl Last {
    /// Makes room for one more thing with names of `bytes` bytes in all.
    ///
    /// # Errors
    /// Ends the transfer: its peer may list for ever.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Fault> {
        self.bytes += SINK_KEPT_BYTES + bytes as u64;
        if self.bytes <= SINK_KEPT_BYTES_MAX {
            return Ok(());
        }
        let error = Error::new(Class::Refused, "too many directories and hard links for one transfer");
        let why = format!("their names take more than {SINK_KEPT_BYTES_MAX} bytes");
        Err(Fault::Transfer(error.on(Side::Destination).because(why)))
    }
}

/// A directory whose mode and times are set at the end, because what is made in it changes them and may need more rights.
#[derive(Debug)]
pub(super) struct LastDirectory {
    pub object: u32,
    pub name: Vec<u8>,
    pub place: Vec<u8>,
    pub kept: Kept,
    pub existed: bool,
}

impl FileSink {
    /// A sink for one transfer. Creates nothing yet.
    pub fn new(spec: SinkSpec) -> Self {
        FileSink {
            directories: Directories::new(spec.target.base().clone()),
            objects: Mutex::default(),
            pending: Mutex::default(),
            last: Mutex::default(),
            promised: AtomicU64::new(0),
            pending_directories_max: pending_directories_max(xfer_io::descriptors::limit()),
            places: Places::new(xfer_io::descriptors::limit()),
            scratch: Scratch::default(),
            closed: AtomicBool::new(false),
            writing: RwLock::default(),
            unsound: AtomicBool::new(false),
            spec,
        }
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(has_ended());
        }
        Ok(())
    }

    /// Bytes of an object were written.
    pub(super) fn fulfil(&self, state: &mut State, bytes: u64) {
        let bytes = bytes.min(state.owed);
        state.owed -= bytes;
        self.promised.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Ends an object in progress; what it had is returned to be completed or given up. `None` when it has ended before.
    pub(super) fn end(&self, object: &Object) -> Option<Option<Parts>> {
        let parts = {
            let mut state = lock(&object.state);
            if std::mem::replace(&mut state.ended, true) {
                return None;
            }
            self.fulfil(&mut state, u64::MAX);
            state.parts.take()
        };
        lock(&self.objects).remove(&object.number);
        Some(parts)
    }
}

impl Sink for FileSink {
    fn decide(&self, page: &Page) -> Result<Decided, Error> {
        self.check_open()?;
        self.decide_page(page)
    }

    fn write(&self, plan: &ChunkPlan, encoding: &Encoding, stored: &[u8]) -> Result<Verdict, Error> {
        let _writing = self.writing.read().unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        self.write_chunk(plan, encoding, stored)
    }

    fn withdraw(&self, object: u32, error: Error) -> Vec<Ended> {
        self.give_up(object, error)
    }

    fn end_open(&self, object: u32, size: u64) -> Vec<Ended> {
        self.end_open_object(object, size)
    }

    fn sync(&self) -> Result<Vec<Ended>, Error> {
        self.check_open()?;
        self.sync_all()
    }

    fn finish(&self) -> Result<(Vec<Ended>, Durability), Error> {
        self.check_open()?;
        self.finish_all()
    }

    fn abort(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            // What is being written would leave something behind that nobody looks after any more.
            drop(self.writing.write().unwrap_or_else(PoisonError::into_inner));
            self.abort_all();
        }
    }
}
