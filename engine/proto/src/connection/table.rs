//! The paths of a connection, by index: the one place where an index is trusted.
//!
//! An index comes from [`Connection::path_index`](super::Connection) or from counting the paths, and is used up before a path is removed:
//! `take_abandon`, `give_up_challenges` and a new path's first packet remove one, each as the last thing that is done with a packet or a timer.

use crate::crypto::Crypto;
use crate::path::Path;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};
use core::slice;

/// The paths, at most [`crate::limits::PATHS_MAX`]; the order is that in which they were opened.
#[derive(Debug)]
pub(super) struct Paths<C: Crypto>(Vec<Path<C>>);

impl<C: Crypto> Paths<C> {
    pub(super) const fn new() -> Self {
        Paths(Vec::new())
    }

    /// Adds a path; its index comes back.
    pub(super) fn push(&mut self, path: Path<C>) -> usize {
        let index = self.0.len();
        self.0.push(path);
        index
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> slice::Iter<'_, Path<C>> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> slice::IterMut<'_, Path<C>> {
        self.0.iter_mut()
    }

    /// Those before `i`, and those from it on.
    pub(super) fn split_at_mut(&mut self, i: usize) -> (&mut [Path<C>], &mut [Path<C>]) {
        self.0.split_at_mut(i)
    }

    /// Forgets path `i`; those behind it move up.
    pub(super) fn remove(&mut self, i: usize) {
        self.0.remove(i);
    }

    /// Forgets the paths that `stays` says no to.
    pub(super) fn retain_mut(&mut self, stays: impl FnMut(&mut Path<C>) -> bool) {
        self.0.retain_mut(stays);
    }
}

impl<C: Crypto> Index<usize> for Paths<C> {
    type Output = Path<C>;

    #[expect(
        clippy::indexing_slicing,
        reason = "an index is used up before a path is removed, as the head of this file says"
    )]
    fn index(&self, i: usize) -> &Path<C> {
        &self.0[i]
    }
}

impl<C: Crypto> IndexMut<usize> for Paths<C> {
    #[expect(
        clippy::indexing_slicing,
        reason = "an index is used up before a path is removed, as the head of this file says"
    )]
    fn index_mut(&mut self, i: usize) -> &mut Path<C> {
        &mut self.0[i]
    }
}
