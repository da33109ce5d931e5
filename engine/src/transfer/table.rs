//! What is kept of each open chunk: a table of fixed size, since open chunks lie within one window of each other.

use xfer_proto::limits::WINDOW_CHUNKS_MAX;

/// Values by chunk. Chunks that are in it at the same time are less than [`WINDOW_CHUNKS_MAX`] apart.
pub(super) struct ChunkTable<T> {
    slots: Box<[Option<(u32, T)>]>,
    len: usize,
}

impl<T> ChunkTable<T> {
    pub(super) fn new() -> Self {
        ChunkTable { slots: (0..WINDOW_CHUNKS_MAX).map(|_| None).collect(), len: 0 }
    }

    const fn place(chunk: u32) -> usize {
        (chunk % WINDOW_CHUNKS_MAX) as usize
    }

    /// Puts `value` in, in place of what was kept of the chunk.
    #[expect(clippy::indexing_slicing, reason = "a remainder is below the length")]
    pub(super) fn insert(&mut self, chunk: u32, value: T) {
        let slot = &mut self.slots[Self::place(chunk)];
        let before = slot.replace((chunk, value));
        assert!(before.as_ref().is_none_or(|(held, _)| *held == chunk), "open chunks lie within one window");
        self.len += usize::from(before.is_none());
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder is below the length")]
    pub(super) fn get(&self, chunk: u32) -> Option<&T> {
        self.slots[Self::place(chunk)].as_ref().filter(|(held, _)| *held == chunk).map(|(_, value)| value)
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder is below the length")]
    pub(super) fn remove(&mut self, chunk: u32) -> Option<T> {
        let removed = self.slots[Self::place(chunk)].take_if(|(held, _)| *held == chunk)?;
        self.len -= 1;
        Some(removed.1)
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_chunks_fits_wherever_it_starts() {
        let mut table = ChunkTable::new();
        for start in [0, 1, WINDOW_CHUNKS_MAX - 1, u32::MAX - WINDOW_CHUNKS_MAX + 1] {
            let chunks = || (0..WINDOW_CHUNKS_MAX).map(move |i| start + i);
            chunks().for_each(|chunk| table.insert(chunk, chunk));
            assert_eq!(table.len(), WINDOW_CHUNKS_MAX as usize);
            assert!(chunks().all(|chunk| table.get(chunk) == Some(&chunk)));
            assert_eq!(table.get(start.wrapping_add(WINDOW_CHUNKS_MAX)), None);
            assert_eq!(table.remove(start ^ 1 << 20), None);
            assert!(chunks().all(|chunk| table.remove(chunk) == Some(chunk)));
            assert_eq!(table.remove(start), None);
            assert_eq!(table.len(), 0);
        }
        table.insert(7, 1);
        table.insert(7, 2);
        assert_eq!((table.len(), table.get(7)), (1, Some(&2)));
    }

    #[test]
    #[should_panic(expected = "within one window")]
    fn more_than_a_window_is_a_bug() {
        let mut table = ChunkTable::new();
        table.insert(0, ());
        table.insert(WINDOW_CHUNKS_MAX, ());
    }
}
