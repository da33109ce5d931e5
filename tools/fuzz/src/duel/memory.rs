//! Chunk buffers of both roles, made of a rule that both sides know, so that every byte can be compared.

use std::collections::BTreeMap;
use std::ops::Range;
use xfer_proto::connection::{ChunkBytes, ChunkMemory};
use xfer_proto::wire::TransferId;

/// The stored bytes of a chunk's attempt, as DATA can tell it: modulo 8.
pub(super) fn stored(chunk: u32, attempt: u8, range: Range<u32>) -> Vec<u8> {
    let key = chunk.wrapping_mul(0x9e37_79b9) ^ u32::from(attempt & 7).wrapping_mul(0x85eb_ca6b);
    range.map(|at| ((at ^ key).wrapping_mul(0x2c1b_3c6d) >> 24) as u8).collect()
}

/// A granted chunk's buffer.
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    /// What it held when it was told full; from then on nothing may change.
    pub(super) frozen: Option<Vec<u8>>,
}

/// All buffers of the end.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) granted: BTreeMap<u32, Buffer>,
    pub(super) offered: BTreeMap<u32, Vec<u8>>,
}

impl ChunkMemory for Memory {
    fn write<R>(
        &mut self,
        _: TransferId,
        chunk: u32,
        range: Range<u32>,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let buffer = self.granted.get_mut(&chunk);
        let buffer = buffer.unwrap_or_else(|| panic!("chunk {chunk} is written but has no buffer"));
        assert!(buffer.frozen.is_none(), "chunk {chunk} is written after it was told full");
        fill(&mut buffer.bytes[range.start as usize..range.end as usize])
    }
}

impl ChunkBytes for Memory {
    fn read<R>(&self, _: TransferId, chunk: u32, range: Range<u32>, read: impl FnOnce(&[u8]) -> R) -> R {
        let bytes = self.offered.get(&chunk);
        let bytes = bytes.unwrap_or_else(|| panic!("chunk {chunk} is read but not held"));
        read(&bytes[range.start as usize..range.end as usize])
    }
}
