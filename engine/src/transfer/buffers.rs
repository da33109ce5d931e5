//! The memory of one transfer's chunks, as the connection sees it: content is opened into it or sealed from it.

use super::stored::Stored;
use super::table::ChunkTable;
use std::ops::Range;
use xfer_io::borrows::Slot;
use xfer_io::hold::Hold;
use xfer_proto::connection::{ChunkBytes, ChunkMemory};
use xfer_proto::wire::TransferId;

/// Buffers, or what is lent in their place, by chunk.
pub(crate) struct Buffers {
    slot: Slot,
    chunks: ChunkTable<Stored>,
    /// Other workers have clones of them.
    shared: bool,
    /// The chunk that was written last. Each borrow takes a locked instruction, which waits until all that was written before is in the
    /// cache; so where there is one writer it keeps its borrow until the turn ends.
    held: Option<(u32, Hold)>,
}

impl Buffers {
    /// No buffers; `slot` is the worker's place in their borrow tables.
    pub(crate) fn new(slot: Slot) -> Self {
        Buffers { slot, chunks: ChunkTable::new(), shared: false, held: None }
    }

    /// From now on other workers open content into them too.
    pub(crate) fn share(&mut self) {
        self.shared = true;
        self.held = None;
    }

    /// Ends a turn: nothing is borrowed until content comes again.
    pub(crate) fn release(&mut self) {
        self.held = None;
    }

    pub(crate) fn insert(&mut self, chunk: u32, buffer: Stored) {
        self.chunks.insert(chunk, buffer);
    }

    pub(crate) fn remove(&mut self, chunk: u32) -> Option<Stored> {
        self.held.take_if(|(held, _)| *held == chunk);
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
        self.held = None;
    }
}

impl Buffers {
    fn hold(&mut self, chunk: u32) -> Option<&mut Hold> {
        if self.held.as_ref().is_none_or(|(held, _)| *held != chunk) {
            // One range of a table at a time: that of the chunk before may be of the same memory.
            self.held = None;
            let hold = self.chunks.get(chunk)?.hold(self.slot)?;
            self.held = Some((chunk, hold));
        }
        self.held.as_mut().map(|(_, hold)| hold)
    }
}

fn bytes(range: Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

impl ChunkMemory for Buffers {
    #[expect(
        clippy::indexing_slicing,
        reason = "the connection saw that the range is within the chunk's capacity"
    )]
    fn write<R>(
        &mut self,
        _: TransferId,
        chunk: u32,
        range: Range<u32>,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let len = range.len();
        // A chunk that is with storage, or whose memory the application has back: nothing that arrives for it now may touch it.
        let nowhere = || vec![0; len];
        if self.shared {
            return match self.chunks.get(chunk).and_then(|stored| stored.writer(self.slot, bytes(range))) {
                Some(mut place) => fill(&mut place),
                None => fill(&mut nowhere()),
            };
        }
        match self.hold(chunk) {
            Some(hold) => fill(&mut hold[bytes(range)]),
            None => fill(&mut nowhere()),
        }
    }
}

impl ChunkBytes for Buffers {
    #[expect(
        clippy::expect_used,
        reason = "bytes stay until their chunk is accepted, and a source does not take them back"
    )]
    fn read<R>(&self, _: TransferId, chunk: u32, range: Range<u32>, read: impl FnOnce(&[u8]) -> R) -> R {
        let stored = self.chunks.get(chunk).expect("offered chunks keep their bytes until they are accepted");
        stored.read(self.slot, bytes(range), read).expect("what is sent from is never taken back")
    }
}
