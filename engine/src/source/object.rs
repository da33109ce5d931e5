//! What a source remembers of an object between its listing and its end.

use super::ChunkPlan;
use super::open::lock;
use super::place::{Dir, join};
use super::spec::Identity;
use super::stream::Stream;
use crate::digest::{Digest, OrderedTree};
use crate::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use xfer_proto::space::Piece;

/// Where an object's content is.
pub(super) enum Content {
    /// A regular file, as it was listed. `sparse`: it takes fewer blocks than its size.
    File { identity: Identity, sparse: bool },
    /// A symlink, or a file that travels in the manifest: its root is known.
    Known(Digest),
    /// The open object.
    Stream(Arc<Stream>),
}

/// A file's place: its directory, its name there, and how the name is resolved.
pub(super) struct Named {
    pub(super) dir: Arc<Dir>,
    pub(super) name: Box<[u8]>,
    /// Symlinks to it are followed, inside its root.
    pub(super) followed: bool,
    /// How the user wrote it, when they named this very file.
    pub(super) alias: Option<Box<[u8]>>,
}

impl Named {
    /// As the user knows it.
    pub(super) fn shown(&self) -> Vec<u8> {
        self.alias.as_ref().map_or_else(|| join(&self.dir.shown, &self.name), |alias| alias.to_vec())
    }
}

/// An object from its listing to its end.
pub(super) struct Object {
    pub(super) named: Named,
    pub(super) content: Content,
    pub(super) roots: Roots,
    was_read: AtomicBool,
    withdrawn: OnceLock<Error>,
}

impl Object {
    pub(super) fn new(named: Named, content: Content) -> Self {
        Object {
            named,
            content,
            roots: Roots::default(),
            was_read: AtomicBool::new(false),
            withdrawn: OnceLock::new(),
        }
    }

    /// Notes that it is withdrawn, and why; the first reason stays, and is returned.
    pub(super) fn withdraw(&self, error: Error) -> Error {
        self.withdrawn.get_or_init(|| error).clone()
    }

    /// Why it was withdrawn, if it was.
    pub(super) fn withdrawn(&self) -> Option<&Error> {
        self.withdrawn.get()
    }

    pub(super) fn mark_read(&self) {
        self.was_read.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_read(&self) -> bool {
        self.was_read.load(Ordering::Relaxed)
    }
}

/// An object's root as far as its chunks tell it.
#[derive(Default)]
pub(super) struct Roots(Mutex<Merge>);

#[derive(Default)]
enum Merge {
    /// No chunk was read yet.
    #[default]
    Nothing,
    /// Within one chunk.
    Whole(Digest),
    /// Chaining values so far, and how many bytes make a full chunk.
    Chunks(Box<OrderedTree>),
    /// Some chunks are not read, or were read twice: the root is not what was merged.
    Lost,
}

impl Roots {
    /// Takes the digests of a chunk for its pieces' objects.
    pub(super) fn note<'a>(
        plan: &ChunkPlan,
        attempt: u8,
        digests: &[Digest],
        chunk_bytes: u64,
        mut roots_of: impl FnMut(usize) -> Option<&'a Roots>,
    ) {
        for (i, (piece, digest)) in plan.pieces.iter().zip(digests).enumerate() {
            let Some(roots) = roots_of(i) else { continue };
            if attempt > 0 {
                roots.lose();
            } else if plan.is_subtree() {
                roots.chunk(piece, *digest, chunk_bytes);
            } else {
                *lock(&roots.0) = Merge::Whole(*digest);
            }
        }
    }

    /// The root cannot be merged: the object is resumed.
    pub(super) fn lose(&self) {
        *lock(&self.0) = Merge::Lost;
    }

    /// The root of an object of `size` bytes in chunks of `chunk_bytes`, if all of its chunks were noted.
    pub(super) fn root(&self, size: u64, chunk_bytes: u64) -> Option<Digest> {
        match &*lock(&self.0) {
            Merge::Whole(root) => Some(*root),
            Merge::Chunks(tree) => tree.root(size.div_ceil(chunk_bytes)),
            Merge::Nothing | Merge::Lost => None,
        }
    }

    fn chunk(&self, piece: &Piece, value: Digest, chunk_bytes: u64) {
        let mut merge = lock(&self.0);
        let is_last = piece.object_offset + u64::from(piece.len) == piece.object_size;
        if !is_last && u64::from(piece.len) != chunk_bytes {
            // The caller's buffer is no chunk: places of chunks in the object are not known from it.
            *merge = Merge::Lost;
        } else if matches!(*merge, Merge::Nothing) {
            *merge = Merge::Chunks(Box::default());
        }
        if let Merge::Chunks(tree) = &mut *merge
            && tree.push(piece.object_offset / chunk_bytes, value).is_err()
        {
            *merge = Merge::Lost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{chunk_value, root};

    const CHUNK: u64 = 1 << 16;

    fn note(roots: &Roots, content: &[u8], index: usize, attempt: u8, chunk_bytes: u64) {
        let part = content.chunks(CHUNK as usize).nth(index).expect("a chunk");
        let object_offset = index as u64 * CHUNK;
        let piece = Piece {
            object: 0,
            object_offset,
            chunk_offset: 0,
            len: part.len() as u32,
            object_size: content.len() as u64,
        };
        let plan = ChunkPlan { chunk: index as u32, plain_len: piece.len, pieces: vec![piece] };
        let digest = if plan.is_subtree() { chunk_value(part, object_offset) } else { root(part) };
        Roots::note(&plan, attempt, &[digest], chunk_bytes, |_| Some(roots));
    }

    #[test]
    fn chunks_in_any_order_tell_the_root() {
        let content = vec![3; 2 * CHUNK as usize + 1];
        let roots = Roots::default();
        for index in [2, 0, 1] {
            assert_eq!(roots.root(content.len() as u64, CHUNK), None);
            note(&roots, &content, index, 0, CHUNK);
        }
        assert_eq!(roots.root(content.len() as u64, CHUNK), Some(root(&content)));
    }

    #[test]
    fn what_was_read_twice_or_not_at_all_tells_none() {
        let content = vec![3; 2 * CHUNK as usize];
        let size = content.len() as u64;
        let again = Roots::default();
        note(&again, &content, 0, 0, CHUNK);
        note(&again, &content, 0, 1, CHUNK);
        note(&again, &content, 1, 0, CHUNK);
        assert_eq!(again.root(size, CHUNK), None);
        let part = Roots::default();
        note(&part, &content, 1, 0, CHUNK);
        assert_eq!(part.root(size, CHUNK), None);
    }

    #[test]
    fn a_buffer_that_is_no_chunk_tells_none() {
        let content = vec![3; 4 * CHUNK as usize];
        let roots = Roots::default();
        for index in 0..4 {
            note(&roots, &content, index, 0, 2 * CHUNK);
        }
        assert_eq!(roots.root(content.len() as u64, 2 * CHUNK), None);
    }
}
