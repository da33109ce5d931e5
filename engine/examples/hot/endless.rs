//! One object of any size whose content is one memory, again and again, lent chunk by chunk.

use std::sync::Arc;
use xfer_engine::Error;
use xfer_engine::digest;
use xfer_engine::source::{ChunkPlan, Lent, Listing, ReadChunk, Source};
use xfer_proto::wire::{Decision, Entry, EntryKind};

pub(crate) struct Endless {
    memory: Arc<Vec<u8>>,
    size: u64,
    digests: bool,
}

impl Endless {
    /// `memory` is a multiple of the chunk size.
    pub(crate) fn new(memory: usize, size: u64, digests: bool) -> Self {
        Endless { memory: Arc::new(content(memory)), size, digests }
    }
}

/// Bytes without a pattern.
pub(crate) fn content(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

impl Source for Endless {
    fn list(&self, _: u32) -> Result<Listing, Error> {
        let entry = Entry {
            kind: EntryKind::File,
            mode: 0o644,
            mtime_s: 0,
            mtime_ns: 0,
            size: self.size,
            open: false,
            name: b"memory".to_vec(),
            target: Vec::new(),
            attributes: Vec::new(),
            inline: None,
        };
        Ok(Listing { entries: vec![entry], last: true, notices: Vec::new(), errors: Vec::new() })
    }

    fn decided(&self, _: u32, _: &[Decision]) {}

    fn read(&self, _: &ChunkPlan, _: u8, _: &mut [u8]) -> Result<ReadChunk, Error> {
        unreachable!("every chunk is lent")
    }

    fn lend(&self, plan: &ChunkPlan) -> Option<Lent> {
        let start = (plan.pieces[0].object_offset % self.memory.len() as u64) as usize;
        Some(Lent { memory: self.memory.clone(), start, digests: self.digests })
    }

    fn digest(&self, plan: &ChunkPlan, _: u8, _: usize, bytes: &[u8]) -> Vec<[u8; 32]> {
        vec![digest::chunk_value(bytes, plan.pieces[0].object_offset)]
    }

    fn open_size(&self, _: u32) -> Option<u64> {
        None
    }

    fn end(&self, _: u32) -> Result<Option<[u8; 32]>, Error> {
        Ok(None)
    }
}
