//! The memory of one transfer's chunks, as the connection sees it: content is opened into it or sealed from it.

use super::stored::Stored;
use super::table::ChunkTable;
use std::ops::Range;
use xfer_io::borrows::Slot;
use xfer_proto::connection::{ChunkBytes, ChunkMemory};
use xfer_proto::wire::TransferId;

/// Buffers, or what is lent in their place, by chunk.
pub(crate) struct Buffers {
    slot: Slot,
    chunks: ChunkTable<Stored>,
}

impl Buffers {
    /// No buffers; `slot` is the worker's place in their borrow tables.
    pub(crate) fn new(slot: Slot) -> Self {
        Buffers { slot, chunks: ChunkTable::new() }
    }

    pub(crate) fn insert(&mut self, chunk: u32, buffer: Stored) {
        self.chunks.insert(chunk, buffer);
    }

    pub(crate) fn remove(&mut self, chunk: u32) -> Option<Stored> {
        self.chunks.remove(chunk)
    }

    pub(crate) fn get(&self, chunk: u32) -> Option<&Stored> {
        self.chunks.get(chunk)
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }

    pub(crate) fn set_slot(&mut self, slot: Slot) {
        self.slot = slot;
    }
}

fn bytes(range: Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

impl ChunkMemory for Buffers {
    fn write<R>(
        &mut self,
        _: TransferId,
        chunk: u32,
        range: Range<u32>,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let len = range.len();
        // A chunk that is with storage, or whose memory the application has back: nothing that arrives for it now may touch it.
        match self.chunks.get(chunk).and_then(|stored| stored.writer(self.slot, bytes(range))) {
            Some(mut place) => fill(&mut place),
            None => fill(&mut vec![0; len]),
        }
    }
}

impl ChunkBytes for Buffers {
    fn read<R>(&self, _: TransferId, chunk: u32, range: Range<u32>, read: impl FnOnce(&[u8]) -> R) -> R {
        let stored = self.chunks.get(chunk).expect("offered chunks keep their bytes until they are accepted");
        stored.read(self.slot, bytes(range), read).expect("what is sent from is never taken back")
    }
}
