//! Memory of the application that content is received into: lent to the engine's threads in ranges, and taken back.
//!
//! The application gives the memory away by value and gets the same memory back, by [`Registered::take_back`], or promises it as it lies
//! ([`Registered::lend`]) until [`Registered::revoke`]; in between only borrowed ranges are reached, as in [`crate::memory`]. Taking back waits for the borrows that are held
//! and ends all later ones, so that whoever has the memory again has it alone, whatever handles of the engine are left.

use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::borrows::{Borrows, Slot};
use crate::error::IoError;
use crate::limits::REGION_BYTES_MAX;
use crate::memory::{Extent, RangeMut, RangeRef, Region};
use crate::sync::{AtomicBool, Ordering, in_one_order, yield_now};

/// A vector without its owner, or memory that was lent.
struct Parts {
    memory: Extent,
    /// The vector's; `None` for memory that is somebody else's to free.
    capacity: Option<usize>,
}

impl Parts {
    fn of(vector: Vec<u8>) -> Self {
        let mut vector = ManuallyDrop::new(vector);
        let start = NonNull::new(vector.as_mut_ptr()).expect("a vector's pointer is never null");
        Parts { memory: Extent { start, len: vector.len() }, capacity: Some(vector.capacity()) }
    }
}

struct Shared {
    parts: Parts,
    borrows: Borrows,
    /// Nobody borrows any more.
    revoked: AtomicBool,
    /// The vector was given back.
    taken: AtomicBool,
}

impl Shared {
    /// The vector, the first time, if there is one. The caller makes sure that nothing is borrowed and nothing can be.
    fn take(&self) -> Option<Vec<u8>> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        let Parts { memory, capacity: Some(capacity) } = &self.parts else { return None };
        // SAFETY: these are the parts of the vector that `Parts::of` took apart, put together once: `taken` was false. Nobody reaches the
        // memory by its parts any more: `revoked` is set and the table was seen empty after it, or this is the last handle.
        Some(unsafe { Vec::from_raw_parts(memory.start.as_ptr(), memory.len, *capacity) })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// Memory that was given to the engine. Its clones are for the threads of one engine, each with a slot of its own.
#[derive(Clone)]
pub struct Registered {
    shared: Arc<Shared>,
}

impl Registered {
    /// Takes the whole length of a vector.
    ///
    /// # Errors
    /// When it is longer than [`REGION_BYTES_MAX`].
    pub fn new(vector: Vec<u8>) -> Result<Self, IoError> {
        if vector.len() > REGION_BYTES_MAX {
            return Err(too_long(vector.len()));
        }
        Ok(Registered::of(Parts::of(vector)))
    }

    /// Takes `len` bytes at `start` as they lie, which stay their owner's.
    ///
    /// # Errors
    /// As [`Registered::new`].
    ///
    /// # Safety
    /// The memory can be read and written, and nothing else reads or writes it, until [`Registered::revoke`] has returned or every handle
    /// is gone.
    pub unsafe fn lend(start: NonNull<u8>, len: usize) -> Result<Self, IoError> {
        if len > REGION_BYTES_MAX {
            return Err(too_long(len));
        }
        Ok(Registered::of(Parts { memory: Extent { start, len }, capacity: None }))
    }

    fn of(parts: Parts) -> Self {
        let (revoked, taken) = (AtomicBool::new(false), AtomicBool::new(false));
        Registered { shared: Arc::new(Shared { parts, borrows: Borrows::default(), revoked, taken }) }
    }

    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.shared.parts.memory.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Part of it; `None` when `range` is not inside.
    pub fn part(&self, range: Range<usize>) -> Option<Part> {
        (range.start <= range.end && range.end <= self.len()).then(|| Part {
            memory: self.clone(),
            start: range.start,
            len: range.end - range.start,
        })
    }

    /// Whether it was taken back.
    pub fn is_revoked(&self) -> bool {
        self.shared.revoked.load(Ordering::SeqCst)
    }

    /// Ends all borrowing and waits for those that hold a range, which no thread does for longer than a worker's turn or until it has hashed
    /// a chunk.
    pub fn revoke(&self) {
        self.shared.revoked.store(true, Ordering::SeqCst);
        // A borrower enters the table and then looks at `revoked`, here it is the other way round, all in one order: of a borrower and
        // this at least one sees the other.
        in_one_order();
        while !self.shared.borrows.is_empty() {
            yield_now();
        }
    }

    /// As [`Registered::revoke`], and returns the vector; `None` when it was taken back before, or lent.
    pub fn take_back(&self) -> Option<Vec<u8>> {
        self.revoke();
        self.shared.take()
    }

    fn region(&self) -> Region<'_> {
        let Shared { parts, borrows, .. } = &*self.shared;
        Region { memory: parts.memory, borrows, start: 0, len: parts.memory.len }
    }
}

fn too_long(len: usize) -> IoError {
    let error = std::io::Error::from_raw_os_error(libc::EINVAL);
    IoError::new("register", format!("{len} bytes of memory"), &error)
}

/// Part of registered memory, where one chunk belongs. It keeps the memory allocated unless that is taken back.
#[derive(Clone)]
pub struct Part {
    memory: Registered,
    start: usize,
    len: usize,
}

impl Part {
    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the memory was taken back.
    pub fn is_revoked(&self) -> bool {
        self.memory.is_revoked()
    }

    /// Leaves the table's entry that a forgotten borrow of this slot left.
    pub(crate) fn leave(&self, slot: Slot) {
        self.memory.shared.borrows.leave(slot);
    }

    fn within(&self, range: Range<usize>) -> Range<usize> {
        assert!(range.start <= range.end && range.end <= self.len, "range {range:?} of {} bytes", self.len);
        self.start + range.start..self.start + range.end
    }

    /// As [`crate::memory::SharedBytes::writer`]; `None` also when the memory was taken back.
    pub fn writer(&self, slot: Slot, range: Range<usize>) -> Option<RangeMut<'_>> {
        let held = self.memory.region().writer(slot, self.within(range))?;
        (!self.is_revoked()).then_some(held)
    }

    /// As [`crate::memory::SharedBytes::reader`]; `None` also when the memory was taken back.
    pub fn reader(&self, slot: Slot, range: Range<usize>) -> Option<RangeRef<'_>> {
        let held = self.memory.region().reader(slot, self.within(range))?;
        (!self.is_revoked()).then_some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(index: usize) -> Slot {
        Slot::new(index).unwrap()
    }

    #[test]
    fn the_same_memory_comes_back_with_what_was_written() {
        for len in [0, 1, 4_095, 4_096, 4_097] {
            let vector = vec![1; len];
            let at = vector.as_ptr();
            let memory = Registered::new(vector).unwrap();
            let part = memory.part(0..len).unwrap();
            part.writer(slot(0), 0..len).unwrap().fill(7);
            let back = memory.take_back().unwrap();
            assert_eq!((back.as_ptr(), back.len()), (at, len));
            assert!(back.iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn what_was_taken_back_is_out_of_reach_and_comes_once() {
        let memory = Registered::new(vec![0; 16]).unwrap();
        let part = memory.part(4..8).unwrap();
        assert!(part.writer(slot(0), 0..4).is_some() && !part.is_revoked());
        assert!(memory.take_back().is_some());
        assert!(part.writer(slot(0), 0..4).is_none() && part.reader(slot(0), 0..4).is_none());
        assert!(part.is_revoked() && memory.take_back().is_none());
    }

    #[test]
    fn lent_memory_stays_its_owners() {
        let mut bytes = vec![1u8; 16];
        let start = NonNull::new(bytes.as_mut_ptr()).unwrap();
        // SAFETY: the vector is not touched before it was revoked.
        let memory = unsafe { Registered::lend(start, 16) }.unwrap();
        memory.part(4..8).unwrap().writer(slot(0), 0..4).unwrap().fill(7);
        memory.revoke();
        assert!(memory.part(4..8).unwrap().writer(slot(0), 0..4).is_none() && memory.take_back().is_none());
        drop(memory);
        assert_eq!(bytes[3..9], [1, 7, 7, 7, 7, 1]);
    }

    #[test]
    fn parts_lie_where_they_were_cut_and_inside() {
        let memory = Registered::new((0..16).collect()).unwrap();
        let part = memory.part(4..8).unwrap();
        assert_eq!(part.len(), 4);
        assert_eq!(part.reader(slot(0), 1..4).unwrap()[..], [5, 6, 7]);
        assert!(memory.part(16..16).unwrap().is_empty());
        assert!(memory.part(16..17).is_none());
    }

    #[test]
    #[should_panic(expected = "range 0..5 of 4 bytes")]
    fn a_part_ends_where_it_ends() {
        Registered::new(vec![0; 16]).unwrap().part(4..8).unwrap().reader(slot(0), 0..5);
    }

    /// Threads write as long as they may; once the memory is back nobody changes it.
    #[test]
    fn nobody_writes_into_memory_that_was_taken_back() {
        for _ in 0..200 {
            let memory = Registered::new(vec![0; 256]).unwrap();
            let threads: Vec<_> = (0..4)
                .map(|id| {
                    let part = memory.part(id * 64..(id + 1) * 64).unwrap();
                    std::thread::spawn(move || {
                        let mut mark = 0u8;
                        while let Some(mut mine) = part.writer(slot(id), 0..64) {
                            mark = mark.wrapping_add(1);
                            mine.fill(mark);
                        }
                    })
                })
                .collect();
            let back = memory.take_back().unwrap();
            for cell in back.chunks(64) {
                assert!(cell.iter().all(|byte| *byte == cell[0]), "taken back in the middle of a write");
            }
            let seen = back.clone();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(back, seen);
        }
    }
}
