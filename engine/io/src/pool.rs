//! Chunk buffers: a fixed number of equal regions in one mapping, taken and given back without lock or allocation.
//!
//! The last given back is the first taken, so that memory in use stays hot and resident memory follows use. A full
//! pool is back-pressure: [`ChunkPool::take`] says `None`.

use std::ops::Range;
use std::sync::Arc;

use crate::borrows::Borrows;
use crate::error::IoError;
use crate::limits::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, POOL_CHUNKS_MAX};
use crate::memory::{Backing, Mapping, RangeMut, RangeRef, Region, Slot};
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

const NONE: u32 = u32::MAX;

struct Chunk {
    borrows: Borrows,
    /// Handles that hold the chunk; 0 while it is free.
    holders: AtomicU32,
    /// Next free chunk below this one.
    below: AtomicU32,
}

struct Inner {
    mapping: Mapping,
    chunk_bytes: usize,
    chunks: Box<[Chunk]>,
    /// Stack of free chunks: index of the topmost, and in the high half a count of changes, so that a stack
    /// which was changed and changed back is told from one that was not.
    top: AtomicU64,
    free: AtomicUsize,
}

impl Inner {
    /// Where a buffer lies.
    fn bytes(&self, index: u32) -> Range<usize> {
        let start = index as usize * self.chunk_bytes;
        start..start + self.chunk_bytes
    }

    fn pop(&self) -> Option<u32> {
        let mut top = self.top.load(Ordering::Acquire);
        loop {
            let index = top as u32;
            let chunk = self.chunks.get(index as usize)?;
            let next = change(top, chunk.below.load(Ordering::Relaxed));
            match self.top.compare_exchange_weak(top, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.free.fetch_sub(1, Ordering::Relaxed);
                    self.mapping.lend(self.bytes(index));
                    return Some(index);
                }
                Err(now) => top = now,
            }
        }
    }

    fn push(&self, index: u32) {
        self.mapping.rest(self.bytes(index));
        self.free.fetch_add(1, Ordering::Relaxed);
        let mut top = self.top.load(Ordering::Acquire);
        loop {
            self.chunks[index as usize].below.store(top as u32, Ordering::Relaxed);
            let next = change(top, index);
            match self.top.compare_exchange_weak(top, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }
}

fn change(top: u64, index: u32) -> u64 {
    ((top >> 32).wrapping_add(1) << 32) | u64::from(index)
}

/// A pool of chunk buffers, shared by its clones.
#[derive(Clone)]
pub struct ChunkPool {
    inner: Arc<Inner>,
}

impl ChunkPool {
    /// Reserves room for `chunks` buffers of `chunk_bytes`, a power of two from 64 KiB to 64 MiB. Pages are taken
    /// from the system when first touched, unless `backing` locks them.
    pub fn new(chunk_bytes: usize, chunks: usize, backing: Backing) -> Result<Self, IoError> {
        let fits = chunk_bytes.is_power_of_two()
            && (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk_bytes)
            && (1..=POOL_CHUNKS_MAX).contains(&chunks);
        let total = chunk_bytes.checked_mul(chunks).filter(|_| fits).unwrap_or(0);
        let mapping = Mapping::new(total, backing)?;
        let chunk = |_| Chunk {
            borrows: Borrows::default(),
            holders: AtomicU32::new(0),
            below: AtomicU32::new(NONE),
        };
        let inner = Inner {
            mapping,
            chunk_bytes,
            chunks: (0..chunks).map(chunk).collect(),
            top: AtomicU64::new(u64::from(NONE)),
            free: AtomicUsize::new(0),
        };
        (0..chunks as u32).rev().for_each(|index| inner.push(index));
        Ok(ChunkPool { inner: Arc::new(inner) })
    }

    /// A buffer with whatever it held last, or `None` when all are out.
    pub fn take(&self) -> Option<ChunkBuf> {
        let index = self.inner.pop()?;
        self.inner.chunks[index as usize].holders.store(1, Ordering::Relaxed);
        Some(ChunkBuf { inner: self.inner.clone(), index })
    }

    /// Bytes of one buffer.
    pub fn chunk_bytes(&self) -> usize {
        self.inner.chunk_bytes
    }

    /// Buffers in all.
    pub fn chunks(&self) -> usize {
        self.inner.chunks.len()
    }

    /// Buffers that can be taken, at some moment during the call.
    pub fn free(&self) -> usize {
        self.inner.free.load(Ordering::Relaxed)
    }

    /// Gives the pages of free buffers back to the system, all but those of the `keep` used last. While it runs a
    /// [`Self::take`] may find none: call it when the pool is idle. Returns how many buffers were emptied.
    pub fn trim(&self, keep: usize) -> Result<usize, IoError> {
        let idle: Vec<u32> = std::iter::from_fn(|| self.inner.pop()).take(self.chunks()).collect();
        let mut result = Ok(());
        let mut emptied = 0;
        for index in idle.iter().skip(keep) {
            result = self.inner.mapping.discard(self.inner.bytes(*index));
            if result.is_err() {
                break;
            }
            emptied += 1;
        }
        idle.iter().rev().for_each(|index| self.inner.push(*index));
        result.map_err(|error| IoError::new("trim", "chunk pool", &error)).map(|()| emptied)
    }
}

/// A chunk buffer, shared by its clones; the last one dropped gives it back. Content is reached by borrowed ranges,
/// from several threads at once.
pub struct ChunkBuf {
    inner: Arc<Inner>,
    index: u32,
}

impl ChunkBuf {
    fn chunk(&self) -> &Chunk {
        &self.inner.chunks[self.index as usize]
    }

    fn region(&self) -> Region<'_> {
        let len = self.inner.chunk_bytes;
        let start = self.index as usize * len;
        Region { memory: self.inner.mapping.extent(), borrows: &self.chunk().borrows, start, len }
    }

    /// Bytes of the buffer.
    #[expect(clippy::len_without_is_empty, reason = "a chunk is never empty")]
    pub fn len(&self) -> usize {
        self.inner.chunk_bytes
    }

    /// Which buffer of the pool this is; stays the same while it is held.
    pub fn index(&self) -> usize {
        self.index as usize
    }

    /// Leaves the table's entry that a forgotten borrow of this slot left.
    pub(crate) fn leave(&self, slot: Slot) {
        self.chunk().borrows.leave(slot);
    }

    /// As [`crate::memory::SharedBytes::writer`].
    pub fn writer(&self, slot: Slot, range: Range<usize>) -> Option<RangeMut<'_>> {
        self.region().writer(slot, range)
    }

    /// As [`crate::memory::SharedBytes::reader`].
    pub fn reader(&self, slot: Slot, range: Range<usize>) -> Option<RangeRef<'_>> {
        self.region().reader(slot, range)
    }
}

impl Clone for ChunkBuf {
    fn clone(&self) -> Self {
        self.chunk().holders.fetch_add(1, Ordering::Relaxed);
        ChunkBuf { inner: self.inner.clone(), index: self.index }
    }
}

impl Drop for ChunkBuf {
    fn drop(&mut self) {
        if self.chunk().holders.fetch_sub(1, Ordering::Release) > 1 {
            return;
        }
        fence(Ordering::Acquire);
        // A forgotten borrow (mem::forget) would lock its range for all later users; such a chunk is not reused.
        if self.chunk().borrows.is_empty() {
            self.inner.push(self.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = CHUNK_BYTES_MIN;

    fn pool(chunks: usize) -> ChunkPool {
        ChunkPool::new(CHUNK, chunks, Backing::default()).unwrap()
    }

    fn slot(index: usize) -> Slot {
        Slot::new(index).unwrap()
    }

    #[test]
    fn sizes_out_of_bounds_are_refused() {
        for (bytes, chunks) in [(CHUNK / 2, 1), (CHUNK + 1, 1), (CHUNK_BYTES_MAX * 2, 1), (CHUNK, 0)] {
            assert!(ChunkPool::new(bytes, chunks, Backing::default()).is_err(), "{bytes} {chunks}");
        }
        assert!(ChunkPool::new(CHUNK_BYTES_MAX, usize::MAX, Backing::default()).is_err());
        assert_eq!(
            ChunkPool::new(CHUNK_BYTES_MAX, 1, Backing::default()).unwrap().take().unwrap().len(),
            CHUNK_BYTES_MAX
        );
    }

    #[test]
    fn is_empty_after_the_last_and_full_after_all_came_back() {
        let pool = pool(3);
        let taken: Vec<_> = (0..3).map(|_| pool.take().unwrap()).collect();
        assert!(pool.take().is_none());
        assert_eq!(pool.free(), 0);
        drop(taken);
        assert_eq!(pool.free(), 3);
    }

    #[test]
    fn the_last_given_back_is_the_first_taken() {
        let pool = pool(3);
        let (first, second) = (pool.take().unwrap(), pool.take().unwrap());
        let index = first.index();
        drop(second);
        drop(first);
        assert_eq!(pool.take().unwrap().index(), index);
    }

    #[test]
    fn clones_hold_the_buffer() {
        let pool = pool(1);
        let one = pool.take().unwrap();
        let two = one.clone();
        drop(one);
        assert!(pool.take().is_none());
        drop(two);
        assert!(pool.take().is_some());
    }

    #[test]
    fn buffers_do_not_share_bytes() {
        let pool = pool(2);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        a.writer(slot(0), 0..CHUNK).unwrap().fill(1);
        b.writer(slot(0), 0..CHUNK).unwrap().fill(2);
        assert!(a.reader(slot(0), 0..CHUNK).unwrap().iter().all(|byte| *byte == 1));
    }

    #[test]
    fn a_forgotten_borrow_retires_its_buffer() {
        let pool = pool(1);
        let chunk = pool.take().unwrap();
        std::mem::forget(chunk.writer(slot(0), 0..1));
        drop(chunk);
        assert!(pool.take().is_none());
    }

    #[test]
    fn trim_empties_what_is_idle_and_keeps_the_hottest() {
        let pool = pool(3);
        let all: Vec<_> = (0..3).map(|_| pool.take().unwrap()).collect();
        all.iter().for_each(|chunk| chunk.writer(slot(0), 0..CHUNK).unwrap().fill(9));
        let hottest = all[2].index();
        all.into_iter().for_each(drop);
        assert_eq!(pool.trim(1).unwrap(), 2);
        let again: Vec<_> = (0..3).map(|_| pool.take().unwrap()).collect();
        for chunk in &again {
            let expected = if chunk.index() == hottest { 9 } else { 0 };
            assert!(chunk.reader(slot(0), 0..CHUNK).unwrap().iter().all(|byte| *byte == expected));
        }
    }

    #[test]
    fn a_stack_that_was_changed_back_is_told_from_one_that_was_not() {
        let pool = pool(2);
        let before = pool.inner.top.load(Ordering::Relaxed);
        drop(pool.take().unwrap());
        let after = pool.inner.top.load(Ordering::Relaxed);
        assert_eq!(before as u32, after as u32);
        assert_ne!(before, after);
    }

    #[test]
    fn threads_never_hold_one_buffer_twice() {
        let pool = pool(4);
        let threads: Vec<_> = (0..8u8)
            .map(|id| {
                let pool = pool.clone();
                std::thread::spawn(move || {
                    for _ in 0..20_000 {
                        let Some(chunk) = pool.take() else { continue };
                        let mut mine = chunk.writer(slot(0), 0..8).expect("held by another thread");
                        mine.fill(id);
                        assert!(mine.iter().all(|byte| *byte == id));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(pool.free(), 4);
    }
}
