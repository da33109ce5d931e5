//! Content for benchmarks: a piece of memory, sent again and again until a time is over.

use super::encode::Encoder;
use super::open::lock;
use super::{ChunkPlan, Lent, Listing, ReadChunk, Source};
use crate::codec::Compression;
use crate::digest::Digest;
use crate::error::Error;
use crate::meter::Meter;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use xfer_proto::wire::{Decision, Entry, EntryKind};

/// The name of what is sent.
const NAME: &[u8] = b"memory";

/// One open object whose bytes are those of a memory, over and over. It ends with the last chunk that was asked for before the time was
/// over, which begins with the first one.
pub struct EndlessSource {
    memory: Arc<Vec<u8>>,
    time: Duration,
    encoder: Encoder,
    until: OnceLock<Instant>,
    /// Behind the last byte that was read.
    read: Mutex<u64>,
    size: OnceLock<u64>,
    meter: Arc<Meter>,
}

impl EndlessSource {
    /// Sends a memory of `bytes` (at least 1) for `time`, with digests or without. `meter` is told of the first read, and of the end.
    pub fn new(bytes: usize, time: Duration, digests: bool, meter: Arc<Meter>) -> Self {
        EndlessSource {
            memory: Arc::new(noise(bytes.max(1))),
            time,
            encoder: Encoder::new(Compression::None, digests),
            until: OnceLock::new(),
            read: Mutex::new(0),
            size: OnceLock::new(),
            meter,
        }
    }

    /// Whether there is content at `start .. end`; the first that is asked for when the time is over ends it. An object of one chunk has
    /// another digest than the first of several, so there are always two.
    fn reaches(&self, start: u64, end: u64, chunk: u64) -> bool {
        let until = *self.until.get_or_init(|| Instant::now() + self.time);
        let mut read = lock(&self.read);
        if self.size.get().is_none() && start >= *read {
            if *read >= 2 * chunk && Instant::now() >= until {
                self.size.get_or_init(|| *read);
            } else {
                *read = end;
            }
        }
        self.size.get().is_none_or(|size| start < *size)
    }

    fn fill(&self, offset: u64, mut out: &mut [u8]) {
        let mut from = (offset % self.memory.len() as u64) as usize;
        while !out.is_empty() {
            let count = out.len().min(self.memory.len() - from);
            let (now, rest) = out.split_at_mut(count);
            now.copy_from_slice(&self.memory[from..from + count]);
            (out, from) = (rest, 0);
        }
    }
}

/// Bytes that no codec makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    // Marsaglia, "Xorshift RNGs", 2003.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut memory = Vec::with_capacity(bytes.next_multiple_of(8));
    while memory.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memory.extend_from_slice(&state.to_le_bytes());
    }
    memory.truncate(bytes);
    memory
}

/// A file of no particular time.
pub(super) fn entry(name: &[u8]) -> Entry {
    Entry {
        kind: EntryKind::File,
        mode: 0o644,
        mtime_s: 0,
        mtime_ns: 0,
        size: 0,
        open: false,
        name: name.to_vec(),
        target: Vec::new(),
        attributes: Vec::new(),
        inline: None,
    }
}

impl Source for EndlessSource {
    fn list(&self, _: u32) -> Result<Listing, Error> {
        let entries = vec![Entry { open: true, ..entry(NAME) }];
        Ok(Listing { entries, last: true, notices: Vec::new(), errors: Vec::new() })
    }

    fn decided(&self, _: u32, _: &[Decision]) {}

    fn read(&self, plan: &ChunkPlan, attempt: u8, buffer: &mut [u8]) -> Result<ReadChunk, Error> {
        self.meter.begin();
        let start = plan.pieces.first().map_or(0, |piece| piece.object_offset);
        let len = plan.plain_len as usize;
        let plan = match self.reaches(start, start + u64::from(plan.plain_len), buffer.len() as u64) {
            true => plan,
            false => &ChunkPlan { chunk: plan.chunk, plain_len: 0, pieces: Vec::new() },
        };
        if plan.plain_len > 0 {
            self.fill(start, &mut buffer[..len]);
        }
        Ok(ReadChunk { encoding: self.encoder.encode(plan, None, attempt, buffer), withdrawn: Vec::new() })
    }

    /// Chunks over the memory's end are read.
    fn lend(&self, plan: &ChunkPlan) -> Option<Lent> {
        let [piece] = plan.pieces[..] else { return None };
        let start = (piece.object_offset % self.memory.len() as u64) as usize;
        if start + piece.len as usize > self.memory.len() {
            return None;
        }
        self.meter.begin();
        let len = u64::from(piece.len);
        self.reaches(piece.object_offset, piece.object_offset + len, len).then(|| Lent {
            memory: self.memory.clone(),
            start,
            digests: self.encoder.digests(),
        })
    }

    fn digest(&self, plan: &ChunkPlan, _: u8, _: usize, bytes: &[u8]) -> Vec<Digest> {
        self.encoder.digest(plan, bytes)
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn hashing(&self) -> Duration {
        self.encoder.hashing()
    }

    fn open_size(&self, _: u32) -> Option<u64> {
        self.size.get().copied()
    }

    fn end(&self, _: u32) -> Result<Option<Digest>, Error> {
        self.meter.end();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest;
    use xfer_proto::space::Piece;

    const CHUNK: usize = 65_536;

    fn plan(chunk: u32) -> ChunkPlan {
        let object_offset = u64::from(chunk) * CHUNK as u64;
        let len = CHUNK as u32;
        let piece = Piece { object: 0, object_offset, chunk_offset: 0, len, object_size: 1 << 40 };
        ChunkPlan { chunk, plain_len: len, pieces: vec![piece] }
    }

    fn source(bytes: usize, time: Duration, digests: bool) -> EndlessSource {
        EndlessSource::new(bytes, time, digests, Arc::default())
    }

    fn read(source: &EndlessSource, chunk: u32) -> (u32, Vec<[u8; 32]>, Vec<u8>) {
        let mut buffer = vec![0; CHUNK];
        let read = source.read(&plan(chunk), 0, &mut buffer).unwrap();
        (read.encoding.stored_len, read.encoding.digests, buffer)
    }

    #[test]
    fn the_memory_comes_again_and_again() {
        for bytes in [1, 1_000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let source = source(bytes, Duration::from_secs(3_600), true);
            let memory = noise(bytes);
            for chunk in [0, 1, 2, 5] {
                let (stored, digests, buffer) = read(&source, chunk);
                let offset = chunk as usize * CHUNK;
                assert!((0..CHUNK).all(|i| buffer[i] == memory[(offset + i) % bytes]), "{bytes} {chunk}");
                assert_eq!(stored as usize, CHUNK);
                assert_eq!(digests, [digest::chunk_value(&buffer, offset as u64)]);
            }
        }
    }

    #[test]
    fn chunks_within_the_memory_are_lent() {
        let source = source(3 * CHUNK - 1, Duration::ZERO, true);
        let memory = noise(3 * CHUNK - 1);
        let lent = |chunk: u32| source.lend(&plan(chunk)).map(|lent| (lent.start, lent.digests));
        assert_eq!(lent(0), Some((0, true)));
        assert_eq!(lent(1), Some((CHUNK, true)));
        assert_eq!(lent(2), None, "it lies over the end, and is read");
        let digests = source.digest(&plan(1), 0, CHUNK, &memory[CHUNK..2 * CHUNK]);
        assert_eq!(digests, [digest::chunk_value(&memory[CHUNK..2 * CHUNK], CHUNK as u64)]);
        assert_eq!((source.open_size(0), lent(4)), (None, None), "the time is over");
        assert_eq!(source.open_size(0), Some(2 * CHUNK as u64));
    }

    #[test]
    fn it_ends_with_what_was_asked_for_in_time() {
        let source = source(1_000, Duration::ZERO, false);
        assert_eq!(read(&source, 0).0 as usize, CHUNK);
        assert_eq!(source.open_size(0), None);
        assert_eq!(read(&source, 1).0 as usize, CHUNK, "there are always two");
        assert_eq!(source.open_size(0), None);
        assert_eq!(read(&source, 2).0, 0);
        assert_eq!(source.open_size(0), Some(2 * CHUNK as u64));
        assert_eq!((read(&source, 1).0 as usize, read(&source, 3).0), (CHUNK, 0), "rejected ones come again");
    }

    #[test]
    fn threads_that_come_out_of_order_agree_on_the_end() {
        let source = source(1_000, Duration::ZERO, false);
        assert_eq!(read(&source, 3).0 as usize, CHUNK);
        assert_eq!(read(&source, 5).0, 0);
        assert_eq!(source.open_size(0), Some(4 * CHUNK as u64));
        assert_eq!((read(&source, 2).0 as usize, read(&source, 4).0), (CHUNK, 0));
    }

    #[test]
    fn noise_has_the_length_that_was_asked_for() {
        for bytes in [1, 7, 8, 9, 4_096] {
            assert_eq!(noise(bytes).len(), bytes);
        }
    }
}
