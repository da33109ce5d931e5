//! Objects in progress: what of them has arrived, and their digest as it grows.

use super::attributes::Kept;
use super::journal::{Held, Subject};
use super::partial::{Claim, Partials};
use crate::digest::{self, Digest, Tree};
use crate::sink::{Action, Ended};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use xfer_io::file::File;

/// A regular file whose content is awaited. Dropped when it ends.
#[derive(Debug)]
pub(super) struct Object {
    /// Its number in the manifest.
    pub number: u32,
    /// Its name in the manifest.
    pub name: Vec<u8>,
    /// Where it goes, relative to the base.
    pub place: Vec<u8>,
    /// Mode, times and the like.
    pub kept: Kept,
    /// Its version and how it is cut. The size of an open object is in [`State::size`].
    pub subject: Subject,
    /// What changes.
    pub state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// It was withdrawn, has failed or is whole: what arrives late is dropped.
    pub ended: bool,
    /// Its bytes; `None` while an open object's end is not known.
    pub size: Option<u64>,
    /// Bytes that are still to be written, holes left out.
    pub owed: u64,
    /// What has arrived of an object that has more than one chunk, from the first chunk on.
    pub parts: Option<Parts>,
}

/// What has arrived of an object of several chunks.
#[derive(Debug)]
pub(super) struct Parts {
    /// Its partial file.
    pub claim: Arc<Claim>,
    /// Written and not yet journaled.
    pub unsynced: Vec<Held>,
    /// Bytes that an earlier run had written.
    pub reused: u64,
    chunks: u64,
    tree: Tree,
    /// Chaining values that wait for one before them: at most what a window brings, and what a resumed file has behind its first gap.
    waiting: BTreeMap<u64, Digest>,
    /// Root of the first chunk alone: an open object may turn out to have no second.
    first_root: Option<Digest>,
}

/// A file that is whole and waits for its name.
#[derive(Debug)]
pub(super) struct Finished {
    pub object: Arc<Object>,
    pub body: Body,
    pub size: u64,
    pub reused: u64,
    pub digest: Option<Digest>,
}

/// Where a whole file lies.
#[derive(Debug)]
pub(super) enum Body {
    /// In one piece: its name in the partial directory; open while few wait.
    Small { partials: Arc<Partials>, name: Vec<u8>, file: Option<File> },
    /// In chunks.
    Large(Arc<Claim>),
}

impl Parts {
    /// Starts with what the claim holds.
    pub(super) fn new(claim: Claim, subject: &Subject) -> Self {
        let chunk = 1_u64 << subject.chunk_log2;
        let mut parts = Parts {
            unsynced: Vec::new(),
            reused: 0,
            chunks: 0,
            tree: Tree::new(),
            waiting: BTreeMap::new(),
            first_root: None,
            claim: Arc::new(claim),
        };
        let claim = Arc::clone(&parts.claim);
        if subject.chunks() == 1 {
            parts.first_root = claim.held.first().map(|(_, root)| *root);
        }
        for (index, value) in &claim.held {
            let start = u64::from(*index) * chunk;
            parts.reused += chunk.min(subject.size - start);
            parts.take(*index, *value);
        }
        parts
    }

    /// Takes a chunk that was written. `alone` is its root, known for the first chunk of an open object.
    pub(super) fn arrived(&mut self, held: Held, alone: Option<Digest>) {
        self.first_root = self.first_root.or(alone);
        self.take(held.0, held.1);
        self.unsynced.push(held);
    }

    fn take(&mut self, index: u32, value: Digest) {
        self.chunks += 1;
        self.waiting.insert(u64::from(index), value);
        while let Some(next) = self.waiting.remove(&self.tree.chunks()) {
            self.tree.push(next);
        }
    }

    /// Whether all chunks of an object of `size` bytes are here.
    pub(super) fn is_complete(&self, size: u64, chunk_log2: u8) -> bool {
        self.chunks == size.div_ceil(1 << chunk_log2)
    }

    /// The root of the complete object.
    pub(super) fn root(&self) -> Option<Digest> {
        match self.chunks {
            0 => Some(digest::root(b"")),
            1 => self.first_root,
            _ => self.tree.root(),
        }
    }
}

impl Object {
    /// The object has ended.
    pub(super) fn ended(&self, action: Action) -> Ended {
        Ended {
            object: self.number,
            name: self.name.clone(),
            is_directory: false,
            action,
            bytes: 0,
            reused: 0,
            skipped: 0,
            digest: None,
            error: None,
        }
    }

    /// The object has failed.
    pub(super) fn failed(&self, error: crate::error::Error) -> Ended {
        Ended { error: Some(error), ..self.ended(Action::Failed) }
    }
}

impl Finished {
    /// The file has its name.
    pub(super) fn ended(&self) -> Ended {
        let action = if self.reused > 0 { Action::Resumed } else { Action::Copied };
        Ended {
            bytes: self.size - self.reused,
            reused: self.reused,
            digest: self.digest,
            ..self.object.ended(action)
        }
    }

    pub(super) fn partials(&self) -> &Arc<Partials> {
        match &self.body {
            Body::Small { partials, .. } => partials,
            Body::Large(claim) => &claim.partials,
        }
    }

    /// Its open file, if it was kept open.
    pub(super) fn file(&self) -> Option<&File> {
        match &self.body {
            Body::Small { file, .. } => file.as_ref(),
            Body::Large(claim) => Some(&claim.file),
        }
    }
}
