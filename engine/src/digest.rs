//! Stages 2 and 8, hash and verify: BLAKE3 of chunks, objects and trees.
//!
//! In: plain bytes of chunks, in any order. Out: chaining values and roots as PROTOCOL.md#chunk-entries has them, an object's root
//! merged from its chunks (BLAKE3 section 2.4; what `b3sum` prints), the digest of a tree (PRODUCT.md, "Copying, exactly").

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

use crate::limits;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use std::collections::BTreeMap;

/// A BLAKE3 chaining value or root.
pub type Digest = [u8; 32];

/// BLAKE3 root of a whole object, a packed object's piece, or a symlink's target.
pub fn root(bytes: &[u8]) -> Digest {
    *blake3::hash(bytes).as_bytes()
}

/// Chaining value (not root) of `bytes` as the subtree at `object_offset` of an object that is longer than they are.
/// The offset is a multiple of the chunk size, and `bytes` a full chunk or the object's last.
pub fn chunk_value(bytes: &[u8], object_offset: u64) -> Digest {
    debug_assert!(!bytes.is_empty());
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(object_offset).update(bytes);
    hasher.finalize_non_root()
}

/// Zeros to hash where a hole is: small enough to stay in cache.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Feeds `len` zeros to a hasher without reading memory that holds them.
#[expect(clippy::indexing_slicing, reason = "a part is no longer than the zeros")]
pub fn update_zeros(hasher: &mut blake3::Hasher, mut len: u64) {
    while len > 0 {
        let part = len.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..part as usize]);
        len -= part;
    }
}

/// [`root`] of an object of `len` zeros.
pub fn zeros_root(len: u64) -> Digest {
    let mut hasher = blake3::Hasher::new();
    update_zeros(&mut hasher, len);
    *hasher.finalize().as_bytes()
}

/// [`chunk_value`] of `len` zeros.
pub fn zeros_chunk_value(len: u64, object_offset: u64) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(object_offset);
    update_zeros(&mut hasher, len);
    hasher.finalize_non_root()
}

/// More values came before the one they wait for than may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many digests out of order")]
pub struct ReorderFull;

/// Merges the chaining values of an object's chunks, given in order, into its root. Holds one value per level: O(log n).
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Roots of complete subtrees, biggest first; `merged` has a bit set for each.
    stack: Vec<Digest>,
    /// Chunks in `stack`.
    merged: u64,
    /// The newest value: it joins the stack when another follows, because the last merge makes the root.
    last: Option<Digest>,
}

impl Tree {
    /// A tree without chunks.
    pub fn new() -> Self {
        Tree::default()
    }

    /// Chunks pushed so far.
    pub fn chunks(&self) -> u64 {
        self.merged + u64::from(self.last.is_some())
    }

    /// Adds the next chunk's chaining value. All chunks but the last have the same size, a power of two of 1 KiB at least.
    #[expect(clippy::expect_used, reason = "a subtree lies on the stack for each bit of its count")]
    pub fn push(&mut self, value: Digest) {
        let Some(mut subtree) = self.last.replace(value) else { return };
        let mut below = self.merged;
        while below & 1 == 1 {
            let left = self.stack.pop().expect("the stack has a subtree for each bit of its count");
            subtree = merge_subtrees_non_root(&left, &subtree, Mode::Hash);
            below >>= 1;
        }
        self.stack.push(subtree);
        self.merged += 1;
    }

    /// The root of all that was pushed. `None` below two chunks: the root of an object within one chunk is no merge
    /// of anything, [`root`] has it.
    pub fn root(&self) -> Option<Digest> {
        let (top, rest) = self.stack.split_first()?;
        Some(*merge_subtrees_root(top, &self.fold(rest)?, Mode::Hash).as_bytes())
    }

    /// The chaining value of all that was pushed as one subtree of something bigger: it starts at a multiple of its own size, rounded
    /// up to a power of two. `None` without chunks.
    pub fn subtree(&self) -> Option<Digest> {
        self.fold(&self.stack)
    }

    /// The newest value with the subtrees before it, nearest first.
    fn fold(&self, before: &[Digest]) -> Option<Digest> {
        let join = |right: Digest, left: &Digest| merge_subtrees_non_root(left, &right, Mode::Hash);
        Some(before.iter().rev().fold(self.last?, join))
    }
}

/// A [`Tree`] that takes chunks in any order, as far as one overtakes the others by
/// [`limits::DIGEST_REORDER_CHUNKS_MAX`] at most.
#[derive(Clone, Debug, Default)]
pub struct OrderedTree {
    tree: Tree,
    waiting: BTreeMap<u64, Digest>,
}

impl OrderedTree {
    /// A tree without chunks.
    pub fn new() -> Self {
        OrderedTree::default()
    }

    /// Adds the chaining value of chunk `index` of the object. One that was added already is ignored.
    ///
    /// # Errors
    /// [`ReorderFull`]; the value was not taken.
    pub fn push(&mut self, index: u64, value: Digest) -> Result<(), ReorderFull> {
        if index > self.tree.chunks() {
            if self.waiting.len() >= limits::DIGEST_REORDER_CHUNKS_MAX {
                return Err(ReorderFull);
            }
            self.waiting.insert(index, value);
        } else if index == self.tree.chunks() {
            self.tree.push(value);
            while let Some(next) = self.waiting.remove(&self.tree.chunks()) {
                self.tree.push(next);
            }
        }
        Ok(())
    }

    /// Chunks added without a gap from the first on.
    pub fn chunks(&self) -> u64 {
        self.tree.chunks()
    }

    /// The root, if exactly the first `chunks` chunks were added and they are two at least.
    pub fn root(&self, chunks: u64) -> Option<Digest> {
        if self.tree.chunks() == chunks && self.waiting.is_empty() { self.tree.root() } else { None }
    }
}

/// Digest of a tree: BLAKE3 over `64 hex digits, two spaces, path relative to the destination, NUL` of each regular file and symlink
/// in object order. Objects are told in any order, each once.
#[derive(Clone, Debug)]
pub struct TreeDigest {
    hasher: blake3::Hasher,
    next: u32,
    waiting: BTreeMap<u32, Option<Box<[u8]>>>,
    waiting_bytes: usize,
    bytes_max: usize,
}

impl Default for TreeDigest {
    fn default() -> Self {
        TreeDigest::within(usize::MAX)
    }
}

impl TreeDigest {
    /// A tree without records.
    pub fn new() -> Self {
        TreeDigest::default()
    }

    /// A tree without records, of which at most `bytes` may wait for one before them.
    pub fn within(bytes: usize) -> Self {
        TreeDigest {
            hasher: blake3::Hasher::new(),
            next: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            bytes_max: bytes,
        }
    }

    /// Tells an object that is part of the digest: a file's root or the root of a symlink's target.
    ///
    /// # Errors
    /// [`ReorderFull`]; the digest of the tree cannot be known any more.
    pub fn push(&mut self, object: u32, path: &[u8], digest: &Digest) -> Result<(), ReorderFull> {
        self.insert(object, Some(record(path, digest)))
    }

    /// Tells an object that is not: a directory, a file that failed.
    ///
    /// # Errors
    /// As [`TreeDigest::push`].
    pub fn skip(&mut self, object: u32) -> Result<(), ReorderFull> {
        self.insert(object, None)
    }

    /// The digest, if objects `0 .. objects` were all told.
    pub fn finish(&self, objects: u32) -> Option<Digest> {
        (self.next == objects && self.waiting.is_empty()).then(|| *self.hasher.finalize().as_bytes())
    }

    fn insert(&mut self, object: u32, record: Option<Box<[u8]>>) -> Result<(), ReorderFull> {
        if object > self.next {
            let bytes = self.waiting_bytes + len(&record);
            if self.waiting.len() >= limits::TREE_REORDER_RECORDS_MAX || bytes > self.bytes_max {
                return Err(ReorderFull);
            }
            self.waiting_bytes = bytes;
            self.waiting.insert(object, record);
        } else if object == self.next {
            self.take(record);
            while let Some(next) = self.waiting.remove(&self.next) {
                self.waiting_bytes -= len(&next);
                self.take(next);
            }
        }
        Ok(())
    }

    fn take(&mut self, record: Option<Box<[u8]>>) {
        if let Some(bytes) = record {
            self.hasher.update(&bytes);
        }
        self.next += 1;
    }
}

/// Bytes of a record that waits, its text left out.
pub(crate) const WAITING_ROOM: usize = size_of::<(u32, Option<Box<[u8]>>)>();

/// Bytes that a record takes while it waits.
fn len(record: &Option<Box<[u8]>>) -> usize {
    WAITING_ROOM + record.as_deref().map_or(0, <[u8]>::len)
}

fn record(path: &[u8], digest: &Digest) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(64 + 2 + path.len() + 1);
    bytes.extend_from_slice(blake3::Hash::from(*digest).to_hex().as_bytes());
    bytes.extend_from_slice(b"  ");
    bytes.extend_from_slice(path);
    bytes.push(0);
    bytes.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHUNK: usize = 1 << 16;

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i % 251) as u8 ^ (i / CHUNK) as u8).collect()
    }

    fn values(bytes: &[u8]) -> Vec<Digest> {
        bytes.chunks(CHUNK).enumerate().map(|(i, c)| chunk_value(c, (i * CHUNK) as u64)).collect()
    }

    #[test]
    fn chunks_merge_to_the_standard_root_around_every_boundary() {
        for chunks in [1, 2, 3, 4, 5, 7, 8, 9, 16, 17] {
            for extra in [-1_isize, 0, 1, 1_023, 1_024, 1_025] {
                let len = (chunks * CHUNK).saturating_add_signed(extra);
                let bytes = content(len);
                let mut tree = Tree::new();
                values(&bytes).into_iter().for_each(|value| tree.push(value));
                let merged = (len > CHUNK).then(|| root(&bytes));
                assert_eq!(tree.root(), merged, "{len} bytes");
            }
        }
    }

    #[test]
    fn no_chunk_and_one_chunk_have_no_merged_root() {
        let mut tree = Tree::new();
        assert_eq!(tree.root(), None);
        tree.push([7; 32]);
        assert_eq!((tree.root(), tree.chunks()), (None, 1));
    }

    #[test]
    fn a_root_is_what_b3sum_prints() {
        let empty = blake3::Hash::from(root(b"")).to_hex();
        assert_eq!(empty.as_str(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    }

    #[test]
    fn holes_hash_as_zeros() {
        for len in [1, ZEROS.len(), ZEROS.len() + 1, 3 * ZEROS.len()] {
            assert_eq!(zeros_root(len as u64), root(&vec![0; len]));
            let offset = 4 * CHUNK as u64;
            assert_eq!(zeros_chunk_value(len as u64, offset), chunk_value(&vec![0; len], offset));
        }
        assert_eq!(zeros_root(0), root(b""));
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        let bytes = content(9 * CHUNK + 1);
        let values = values(&bytes);
        let mut tree = OrderedTree::new();
        for i in [9, 0, 3, 2, 2, 1, 0, 8, 7, 6, 4, 5, 9] {
            assert_eq!(tree.push(i as u64, values[i]), Ok(()));
            assert!(tree.chunks() == 10 || tree.root(10).is_none());
        }
        assert_eq!(tree.root(10), Some(root(&bytes)));
        assert_eq!(tree.root(9), None);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut tree = OrderedTree::new();
        for i in 0..limits::DIGEST_REORDER_CHUNKS_MAX as u64 {
            assert_eq!(tree.push(i + 1, [0; 32]), Ok(()));
        }
        assert_eq!(tree.push(u64::MAX, [0; 32]), Err(ReorderFull));
        assert_eq!(tree.push(0, [0; 32]), Ok(()));
        assert_eq!(tree.chunks(), 1 + limits::DIGEST_REORDER_CHUNKS_MAX as u64);
    }

    #[test]
    fn a_tree_digest_is_over_its_records_in_order() {
        let mut tree = TreeDigest::new();
        assert_eq!(tree.finish(0), Some(root(b"")));
        assert_eq!(tree.push(3, b"d/\xff\n", &root(b"x")), Ok(()));
        assert_eq!(tree.skip(1), Ok(()));
        assert_eq!(tree.finish(4), None);
        assert_eq!(tree.push(0, b"a", &root(b"")), Ok(()));
        assert_eq!(tree.skip(2), Ok(()));
        let mut expected = format!("{}  a\0", blake3::hash(b"").to_hex()).into_bytes();
        expected.extend_from_slice(format!("{}  d/", blake3::hash(b"x").to_hex()).as_bytes());
        expected.extend_from_slice(b"\xff\n\0");
        assert_eq!(tree.finish(4), Some(root(&expected)));
        assert_eq!(tree.finish(5), None);
    }

    proptest! {
        #[test]
        fn any_order_gives_the_same_root(order in Just((0..13_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let bytes = content(12 * CHUNK + 77);
            let values = values(&bytes);
            let mut tree = OrderedTree::new();
            for i in order {
                tree.push(i as u64, values[i]).expect("few");
            }
            prop_assert_eq!(tree.root(13), Some(root(&bytes)));
        }
    }
}
