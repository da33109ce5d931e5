//! Stage 2: plain bytes of a chunk to digests and stored bytes.

use super::open::lock;
use super::{ChunkPlan, Encoding, Lent};
use crate::codec::{Auto, Compression, Compressor, Extent, Sample, encode_extents};
use crate::digest::{self, Digest};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use xfer_proto::space::Piece;
use xfer_proto::wire::Codec;

/// Digests and encodes chunks as a source's user wants it. Used by several threads at once.
pub(super) struct Encoder {
    compression: Compression,
    digests: bool,
    /// What the connection could carry, in bytes a second; 0 while not known.
    rate: AtomicU64,
    hashing_ns: AtomicU64,
    auto: Mutex<Auto>,
    /// Compressors that no thread uses just now; as many in all as threads ever compressed at once.
    idle: Mutex<Vec<Compressor>>,
}

impl Encoder {
    pub(super) fn new(compression: Compression, digests: bool) -> Self {
        Encoder {
            compression,
            digests,
            rate: AtomicU64::new(0),
            hashing_ns: AtomicU64::new(0),
            auto: Mutex::new(Auto::new()),
            idle: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn set_rate(&self, bytes_per_second: u64) {
        self.rate.store(bytes_per_second, Ordering::Relaxed);
    }

    pub(super) fn hashing(&self) -> Duration {
        Duration::from_nanos(self.hashing_ns.load(Ordering::Relaxed))
    }

    /// Turns the chunk's plain bytes at the start of `buffer` into its stored bytes there. `data` says where they are no holes, if they
    /// have some. A chunk that is read again is not compressed again: whatever went wrong with it, that was not it.
    pub(super) fn encode(
        &self,
        plan: &ChunkPlan,
        data: Option<&[Extent]>,
        attempt: u8,
        buffer: &mut [u8],
    ) -> Encoding {
        let plain = &mut buffer[..plan.plain_len as usize];
        let digests = self.digest(plan, plain);
        if let Some(data) = data {
            let mut stored = Vec::new();
            if encode_extents(plain, data, &mut stored) {
                plain[..stored.len()].copy_from_slice(&stored);
                return Encoding { codec: Codec::Extents, stored_len: stored.len() as u32, digests };
            }
        }
        let (codec, stored_len) = match self.choose() {
            Some(codec) if attempt == 0 => self.compress(codec, plain),
            _ => (Codec::Plain, plan.plain_len),
        };
        Encoding { codec, stored_len, digests }
    }

    /// The digests of the chunk's plain bytes, where they are wanted.
    pub(super) fn digest(&self, plan: &ChunkPlan, plain: &[u8]) -> Vec<Digest> {
        let start = Instant::now();
        let digests = self.digests_of(plan, plain);
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.hashing_ns.fetch_add(took, Ordering::Relaxed);
        digests
    }

    /// Whether chunks carry digests.
    pub(super) const fn digests(&self) -> bool {
        self.digests
    }

    /// Lends the chunk of `plan` out of `memory`, where it is one piece of it and its stored bytes are the plain bytes.
    pub(super) fn lend(&self, plan: &ChunkPlan, memory: &Arc<dyn AsRef<[u8]> + Send + Sync>) -> Option<Lent> {
        let [piece] = plan.pieces[..] else { return None };
        let is_whole = piece.chunk_offset == 0 && piece.len == plan.plain_len;
        (is_whole && self.compression == Compression::None).then(|| Lent {
            memory: memory.clone(),
            start: piece.object_offset as usize,
            digests: self.digests,
        })
    }

    /// The encoding of a chunk that is one hole; nothing is stored.
    pub(super) fn hole(&self, plan: &ChunkPlan) -> Encoding {
        let digest = |piece: &Piece| {
            let len = u64::from(piece.len);
            if plan.is_subtree() {
                digest::zeros_chunk_value(len, piece.object_offset)
            } else {
                digest::zeros_root(len)
            }
        };
        let digests = if self.digests { plan.pieces.iter().map(digest).collect() } else { Vec::new() };
        Encoding { codec: Codec::Extents, stored_len: 0, digests }
    }

    fn digests_of(&self, plan: &ChunkPlan, plain: &[u8]) -> Vec<Digest> {
        if !self.digests {
            return Vec::new();
        }
        if plan.is_subtree() {
            return vec![digest::chunk_value(plain, plan.pieces[0].object_offset)];
        }
        let bytes = |start: u32, len: u32| &plain[start as usize..][..len as usize];
        plan.pieces.iter().map(|piece| digest::root(bytes(piece.chunk_offset, piece.len))).collect()
    }

    fn choose(&self) -> Option<Codec> {
        match self.compression {
            Compression::None => None,
            Compression::Lz4 => Some(Codec::Lz4),
            Compression::Zstd => Some(Codec::Zstd),
            Compression::Auto => lock(&self.auto).choose(self.rate.load(Ordering::Relaxed)),
        }
    }

    fn compress(&self, codec: Codec, plain: &mut [u8]) -> (Codec, u32) {
        let mut compressor = lock(&self.idle).pop().unwrap_or_default();
        let start = Instant::now();
        let shrunk = compressor.compress(codec, plain);
        let took = start.elapsed();
        let (codec_used, stored) = match shrunk {
            Some(stored) => {
                plain[..stored.len()].copy_from_slice(stored);
                (codec, stored.len() as u32)
            }
            None => (Codec::Plain, plain.len() as u32),
        };
        if self.compression == Compression::Auto {
            lock(&self.auto).record(Sample { codec, plain: plain.len() as u32, stored, took });
        }
        lock(&self.idle).push(compressor);
        (codec_used, stored)
    }
}
