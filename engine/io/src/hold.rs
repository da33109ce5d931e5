//! A borrow that keeps what it borrows from: held from packet to packet, so that each need not enter the table.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

use crate::borrows::Slot;
use crate::memory::RangeMut;
use crate::pool::ChunkBuf;
use crate::registered::Part;

enum Owner {
    Chunk(ChunkBuf),
    Part(Part),
}

/// The whole of a chunk's memory, which its holder alone may touch. Given back on drop.
pub struct Hold {
    /// Keeps memory and table. Its handle may move: neither does.
    owner: Owner,
    slot: Slot,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the bytes are plain memory and the entry may be left from any thread.
unsafe impl Send for Hold {}

impl Hold {
    /// Holds a chunk buffer; `None` as [`ChunkBuf::writer`].
    pub fn chunk(buffer: &ChunkBuf, slot: Slot) -> Option<Self> {
        let range = buffer.writer(slot, 0..buffer.len())?;
        Some(Self::keep(range, slot, Owner::Chunk(buffer.clone())))
    }

    /// Holds a part of registered memory that is not empty; `None` as [`Part::writer`].
    pub fn part(part: &Part, slot: Slot) -> Option<Self> {
        let range = part.writer(slot, 0..part.len()).filter(|range| !range.is_empty())?;
        Some(Self::keep(range, slot, Owner::Part(part.clone())))
    }

    fn keep(mut range: RangeMut<'_>, slot: Slot, owner: Owner) -> Self {
        let (start, len) = (NonNull::from(&mut range[..]).cast(), range.len());
        // The entry stays in the table until the drop of what is made here.
        std::mem::forget(range);
        Hold { owner, slot, start, len }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        match &self.owner {
            Owner::Chunk(buffer) => buffer.leave(self.slot),
            Owner::Part(part) => part.leave(self.slot),
        }
    }
}

impl Deref for Hold {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `owner` keeps the memory, always initialised, and the entry that `keep` left in its table keeps all others out.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Hold {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: `owner` keeps the memory, always initialised, and the entry that `keep` left in its table keeps all others out.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CHUNK_BYTES_MIN;
    use crate::memory::Backing;
    use crate::pool::ChunkPool;
    use crate::registered::Registered;

    fn slot(index: usize) -> Slot {
        Slot::new(index).unwrap()
    }

    #[test]
    fn a_held_chunk_is_its_holders_until_the_end() {
        let pool = ChunkPool::new(CHUNK_BYTES_MIN, 1, Backing::default()).unwrap();
        let chunk = pool.take().unwrap();
        let mut hold = Hold::chunk(&chunk, slot(0)).unwrap();
        hold[5] = 7;
        assert!(chunk.reader(slot(1), 0..1).is_none() && Hold::chunk(&chunk, slot(1)).is_none());
        drop(hold);
        assert_eq!(chunk.reader(slot(1), 4..7).unwrap()[..], [0, 7, 0]);
    }

    #[test]
    fn a_hold_keeps_the_buffer_and_gives_it_back() {
        let pool = ChunkPool::new(CHUNK_BYTES_MIN, 1, Backing::default()).unwrap();
        let hold = Hold::chunk(&pool.take().unwrap(), slot(0)).unwrap();
        assert!(pool.take().is_none());
        drop(hold);
        assert!(pool.take().is_some());
    }

    #[test]
    fn registered_memory_waits_for_its_holder() {
        let memory = Registered::new(vec![0; 16]).unwrap();
        let part = memory.part(4..8).unwrap();
        let mut hold = Hold::part(&part, slot(0)).unwrap();
        assert!(Hold::part(&memory.part(8..8).unwrap(), slot(1)).is_none());
        let taker = std::thread::spawn(move || memory.take_back().unwrap());
        while !part.is_revoked() {
            std::thread::yield_now();
        }
        hold.copy_from_slice(&[1, 2, 3, 4]);
        drop(hold);
        assert_eq!(taker.join().unwrap()[3..9], [0, 1, 2, 3, 4, 0]);
        assert!(Hold::part(&part, slot(0)).is_none());
    }
}
