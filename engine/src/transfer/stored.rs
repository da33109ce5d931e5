//! Where the stored bytes of a chunk are: a buffer of the engine, or memory of the application.

use crate::source::Lent;
use std::ops::Range;
use xfer_io::borrows::Slot;
use xfer_io::hold::Hold;
use xfer_io::memory::RangeMut;
use xfer_io::pool::ChunkBuf;
use xfer_io::registered::Part;

/// The memory of one chunk. Its clones are for other threads.
#[derive(Clone)]
pub(crate) enum Stored {
    /// A buffer of the transfer's pool.
    Buffer(ChunkBuf),
    /// A source's memory, to seal from.
    Lent(Lent),
    /// A sink's memory, to open into.
    Part(Part),
}

impl Stored {
    /// Borrows a range for writing. `None`: the memory is out of reach, because it was taken back.
    ///
    /// # Panics
    /// When another thread has part of the range.
    #[expect(clippy::unreachable, reason = "a receiver's chunks have buffers or parts of the sink's memory")]
    pub(crate) fn writer(&self, slot: Slot, range: Range<usize>) -> Option<RangeMut<'_>> {
        let writer = match self {
            Stored::Buffer(buffer) => buffer.writer(slot, range),
            Stored::Part(part) => part.writer(slot, range),
            Stored::Lent(_) => unreachable!("nobody opens into memory to send from"),
        };
        assert!(writer.is_some() || self.is_revoked(), "a claimed range is its claimant's alone");
        writer
    }

    /// Holds all of it for writing. `None`: as for [`Stored::writer`].
    ///
    /// # Panics
    /// When another thread has part of it.
    #[expect(clippy::unreachable, reason = "a receiver's chunks have buffers or parts of the sink's memory")]
    pub(crate) fn hold(&self, slot: Slot) -> Option<Hold> {
        let hold = match self {
            Stored::Buffer(buffer) => Hold::chunk(buffer, slot),
            Stored::Part(part) => Hold::part(part, slot),
            Stored::Lent(_) => unreachable!("nobody opens into memory to send from"),
        };
        assert!(hold.is_some() || self.is_revoked(), "a chunk that is open is one worker's alone");
        hold
    }

    /// Lets `read` see a range. `None`: the memory is out of reach, because it was taken back.
    ///
    /// # Panics
    /// When another thread writes part of the range.
    pub(crate) fn read<R>(
        &self,
        slot: Slot,
        range: Range<usize>,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        let bytes = match self {
            Stored::Buffer(buffer) => buffer.reader(slot, range),
            Stored::Part(part) => part.reader(slot, range),
            Stored::Lent(lent) => return Some(lent.read(range, read)),
        };
        assert!(bytes.is_some() || self.is_revoked(), "nobody writes an offered or a full chunk");
        bytes.map(|bytes| read(&bytes))
    }

    /// Whether the application has the memory back.
    pub(crate) fn is_revoked(&self) -> bool {
        matches!(self, Stored::Part(part) if part.is_revoked())
    }
}
