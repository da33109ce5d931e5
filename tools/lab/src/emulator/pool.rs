//! Spare packet buffers, so that the emulator does not allocate for each packet.

use crate::limits::SPARES_MAX;

#[derive(Default)]
pub(crate) struct Pool {
    spares: Vec<Vec<u8>>,
}

impl Pool {
    /// An empty buffer.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_else(|| Vec::with_capacity(2048))
    }

    /// Takes a buffer back; what exceeds the limit is freed.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        if self.spares.len() < SPARES_MAX {
            buffer.clear();
            self.spares.push(buffer);
        }
    }
}
