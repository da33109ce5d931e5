//! How much of an object came, and the digest of it as far as it is known: for sinks whose chunks come in any order.

use crate::digest::{self, Digest, Tree};
use std::collections::BTreeMap;

/// Bytes and digests of one object that arrives.
pub(super) struct Arrived {
    /// `None` until the end of an open object is known.
    size: Option<u64>,
    bytes: u64,
    tree: Tree,
    /// Chaining values by offset, with the bytes they stand for, that wait for those before them.
    waiting: BTreeMap<u64, (u64, Digest)>,
    in_order: u64,
    first_root: Option<Digest>,
}

impl Arrived {
    /// Nothing of an object yet.
    pub(super) fn new(size: Option<u64>) -> Self {
        let (tree, waiting) = (Tree::new(), BTreeMap::new());
        Arrived { size, bytes: 0, tree, waiting, in_order: 0, first_root: None }
    }

    /// The object's bytes, once they are known.
    pub(super) const fn size(&self) -> Option<u64> {
        self.size
    }

    /// The open object has `size` bytes.
    pub(super) fn end(&mut self, size: u64) {
        self.size = Some(size);
    }

    /// Content came whose digest is not wanted. Whether it was the last.
    pub(super) fn add(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        self.is_whole()
    }

    /// Whether all is here.
    pub(super) fn is_whole(&self) -> bool {
        self.size == Some(self.bytes)
    }

    /// Takes the digest of what came at `at`: its chaining value, and its root in case that it is all.
    pub(super) fn digested(&mut self, at: u64, len: u64, value: Digest, alone: Option<Digest>) {
        self.first_root = self.first_root.or(alone);
        self.waiting.insert(at, (len, value));
        while let Some((len, next)) = self.waiting.remove(&self.in_order) {
            self.tree.push(next);
            self.in_order += len;
        }
    }

    /// The root of what came, when all of it was digested.
    pub(super) fn root(&self) -> Option<Digest> {
        match self.tree.chunks() {
            0 => Some(digest::root(b"")),
            1 => self.first_root,
            _ => self.tree.root(),
        }
    }
}
