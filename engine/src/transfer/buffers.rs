//! The chunk buffers of one transfer, as the connection sees them: content is opened into them or sealed from them.

use super::table::ChunkTable;
use std::ops::Range;
use xfer_io::borrows::Slot;
use xfer_io::pool::ChunkBuf;
use xfer_proto::connection::{ChunkBytes, ChunkMemory};
use xfer_proto::wire::TransferId;

/// Buffers by chunk.
pub(crate) struct Buffers {
    slot: Slot,
    chunks: ChunkTable<ChunkBuf>,
}

impl Buffers {
    /// No buffers; `slot` is the worker's place in their borrow tables.
    pub(crate) fn new(slot: Slot) -> Self {
        Buffers { slot, chunks: ChunkTable::new() }
    }

    pub(crate) fn insert(&mut self, chunk: u32, buffer: ChunkBuf) {
        self.chunks.insert(chunk, buffer);
    }

    pub(crate) fn remove(&mut self, chunk: u32) -> Option<ChunkBuf> {
        self.chunks.remove(chunk)
    }

    pub(crate) fn get(&self, chunk: u32) -> Option<&ChunkBuf> {
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
        let Some(buffer) = self.chunks.get(chunk) else {
            // The chunk is with storage: nothing that arrives for it now may touch it.
            return fill(&mut vec![0; range.len()]);
        };
        let mut place =
            buffer.writer(self.slot, bytes(range)).expect("claimed ranges are one packet's alone");
        fill(&mut place)
    }
}

impl ChunkBytes for Buffers {
    fn read<R>(&self, _: TransferId, chunk: u32, range: Range<u32>, read: impl FnOnce(&[u8]) -> R) -> R {
        let buffer =
            self.chunks.get(chunk).expect("offered chunks keep their buffers until they are accepted");
        let stored = buffer.reader(self.slot, bytes(range)).expect("nobody writes an offered chunk");
        read(&stored)
    }
}
