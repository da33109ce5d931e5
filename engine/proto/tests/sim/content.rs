//! The bytes that move: made from the seed on both sides, so that every one can be compared; and the bounded memory they lie in.

use std::collections::HashMap;
use std::ops::Range;

use xfer_proto::connection::{ChunkBytes, ChunkMemory};
use xfer_proto::wire::TransferId;

pub(crate) const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

/// The stored bytes of one attempt of a chunk; every attempt differs.
pub(crate) fn stored(seed: u64, transfer: TransferId, chunk: u32, attempt: u8, len: u32) -> Vec<u8> {
    let key = mix(seed ^ mix(u64::from(transfer.0) << 40 | u64::from(chunk) << 8 | u64::from(attempt)));
    let words = len.div_ceil(8);
    let mut bytes: Vec<u8> = (0..u64::from(words))
        .flat_map(|i| (key ^ i.wrapping_mul(0x2545_f491_4f6c_dd1d)).to_le_bytes())
        .collect();
    bytes.truncate(len as usize);
    bytes
}

/// What the sim takes for a digest of bytes: as long as one, and any change of a bit changes it.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut state = bytes.len() as u64;
    for word in bytes.chunks(8) {
        let mut eight = [0; 8];
        eight[..word.len()].copy_from_slice(word);
        state = (state ^ u64::from_le_bytes(eight)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    let mut digest = [0; 32];
    for (i, word) in digest.chunks_mut(8).enumerate() {
        word.copy_from_slice(&mix(state ^ i as u64).to_le_bytes());
    }
    digest
}

/// Attempts of a chunk that storage may lie about.
const LIES_MAX: u8 = 2;

/// The bit that is wrong where `source` lies about an attempt of a chunk, so often in a million.
pub(crate) fn lie(seed: u64, source: u64, chunk: u32, attempt: u8, ppm: u32) -> Option<u64> {
    let random = mix(mix(seed ^ source) ^ u64::from(chunk) << 8 ^ u64::from(attempt));
    (attempt < LIES_MAX && random % 1_000_000 < u64::from(ppm)).then_some(random >> 20)
}

/// The bytes of an object that travels in its page.
pub(crate) fn inlined(seed: u64, transfer: TransferId, object: u32, len: u32) -> Vec<u8> {
    stored(seed, transfer, u32::MAX - object, 0, len)
}

/// What a sender holds: the stored bytes of chunks that were offered and are not accepted.
#[derive(Default)]
pub(crate) struct Source {
    pub(crate) held: HashMap<(TransferId, u32), Vec<u8>>,
}

impl ChunkBytes for Source {
    fn read<R>(
        &self,
        transfer: TransferId,
        chunk: u32,
        range: Range<u32>,
        read: impl FnOnce(&[u8]) -> R,
    ) -> R {
        let bytes = self.held.get(&(transfer, chunk));
        let bytes = bytes.unwrap_or_else(|| panic!("chunk {chunk} is read but not held"));
        read(&bytes[range.start as usize..range.end as usize])
    }
}

/// What a receiver holds: a buffer for each granted chunk that is not accepted.
#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) buffers: HashMap<(TransferId, u32), Vec<u8>>,
    pub(crate) written: u64,
}

impl ChunkMemory for Sink {
    fn write<R>(
        &mut self,
        transfer: TransferId,
        chunk: u32,
        range: Range<u32>,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let bytes = self.buffers.get_mut(&(transfer, chunk));
        let bytes = bytes.unwrap_or_else(|| panic!("chunk {chunk} is written but has no buffer"));
        self.written += u64::from(range.end - range.start);
        fill(&mut bytes[range.start as usize..range.end as usize])
    }
}
