//! What each stage costs on this machine, measured alone: what a prediction and a limit are made of.
//!
//! In: a packet size, a cipher, a directory, and how long to measure each stage. Out: processor seconds per byte of content, of one
//! core that does nothing else. Every stage is done as the engine does it: a chunk at a time by storage, a packet at a time by the
//! worker, trains by its own queue. No protocol, no waiting: time in which a thread does not run does not count.

mod cipher;
mod limit;
mod stopwatch;
mod storage;
mod wire;

use crate::api::Suite;
use crate::digest;
use crate::error::{Class, Error};
pub use limit::{Case, Costs};
use std::fmt::Display;
use std::hint::black_box;
use std::time::Duration;
pub use stopwatch::Cost;
use stopwatch::Stopwatch;
pub use storage::Scratch;
pub use wire::{Wire, wire};
use xfer_io::borrows::Slot;
use xfer_io::memory::Backing;
use xfer_io::pool::{ChunkBuf, ChunkPool};
use xfer_proto::wire::{HEADER_LEN, TAG_LEN};

/// Bytes of a chunk.
const CHUNK: usize = 1 << 20;
/// Chunk buffers that are used in turn, as many as a receiver grants at first: they do not stay in a core's own cache.
const CHUNKS: usize = crate::limits::GRANTS_INITIAL;
/// Bytes of content that stay in a core's own cache.
const HOT: usize = 256 << 10;
/// Bytes of content that stay in no cache.
const COLD: usize = 256 << 20;

/// Where the bytes that are sealed come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// 256 KiB again and again.
    Cache,
    /// Chunk buffers in turn.
    Chunks,
    /// 256 MB of memory.
    Memory,
}

/// One stage of the way of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A file into chunk buffers, a chunk at a time.
    Read,
    /// The digest of a chunk that was just read or has just arrived.
    Hash,
    /// Content into the frames of trains, packet by packet.
    Seal(Origin),
    /// Trains to the kernel, from frames that were just written.
    Send,
    /// Trains from the kernel.
    Receive,
    /// Packets of received trains into chunk buffers.
    Open,
    /// The same where content is plain.
    Copy,
    /// Chunk buffers into a new file, a chunk at a time.
    Write,
}

impl Step {
    /// All of them, in the order of the way.
    pub const ALL: [Step; 10] = [
        Step::Read,
        Step::Hash,
        Step::Seal(Origin::Cache),
        Step::Seal(Origin::Chunks),
        Step::Seal(Origin::Memory),
        Step::Send,
        Step::Receive,
        Step::Open,
        Step::Copy,
        Step::Write,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Step::Read => "read",
            Step::Hash => "hash",
            Step::Seal(_) => "seal",
            Step::Send => "send",
            Step::Receive => "receive",
            Step::Open => "open",
            Step::Copy => "copy",
            Step::Write => "write",
        }
    }

    /// Where its bytes come from and go to, for people.
    pub const fn what(self) -> &'static str {
        match self {
            Step::Read => "file to chunk buffers",
            Step::Hash => "a chunk that is in the cache",
            Step::Seal(Origin::Cache) => "256 KiB to frames",
            Step::Seal(Origin::Chunks) => "chunk buffers to frames",
            Step::Seal(Origin::Memory) => "256 MB to frames",
            Step::Send => "frames that are in the cache to the kernel",
            Step::Receive => "kernel to frames",
            Step::Open | Step::Copy => "frames to chunk buffers",
            Step::Write => "chunk buffers to a new file",
        }
    }

    fn index(self) -> usize {
        Step::ALL.iter().position(|step| *step == self).unwrap_or_default()
    }
}

/// Measures stages that need no file and no wire.
pub struct Bench {
    time: Duration,
    /// Bytes of content in a packet.
    payload: usize,
    suite: Suite,
    chunks: Vec<ChunkBuf>,
}

impl Bench {
    /// Measures each stage for `time`, with packets of `payload` bytes of content.
    ///
    /// # Errors
    /// `Usage` for packets that no train holds; `Fatal` when there is no memory for chunk buffers.
    pub fn new(suite: Suite, payload: usize, time: Duration) -> Result<Bench, Error> {
        let longest = xfer_io::limits::TRAIN_BYTES_MAX - HEADER_LEN - TAG_LEN;
        if !(1..=longest).contains(&payload) {
            return Err(Error::new(Class::Usage, format!("a packet holds 1 to {longest} bytes of content")));
        }
        let pool =
            ChunkPool::new(CHUNK, CHUNKS, Backing::default()).map_err(failed("reserve chunk buffers"))?;
        let chunks: Vec<ChunkBuf> = std::iter::from_fn(|| pool.take()).collect();
        for (chunk, value) in chunks.iter().zip(1..) {
            writer(chunk).fill(value);
        }
        Ok(Bench { time, payload, suite, chunks })
    }

    /// [`Step::Hash`].
    pub fn hash(&self) -> Cost {
        let bytes = reader(&self.chunks[0]);
        let mut watch = Stopwatch::start(self.time);
        while watch.goes_on() {
            watch.time(CHUNK, || black_box(digest::chunk_value(black_box(&bytes), 0)));
        }
        watch.cost()
    }

    /// [`Step::Seal`]; `None` where content is sent plain.
    pub fn seal(&self, from: Origin) -> Option<Cost> {
        let sealer = cipher::Sealer::new(self.suite, self.payload)?;
        Some(match from {
            Origin::Cache => sealer.cost(self.time, &vec![0x5a; HOT], HOT),
            Origin::Memory => sealer.cost(self.time, &vec![0x5a; COLD], CHUNK),
            Origin::Chunks => {
                let all: Vec<_> = self.chunks.iter().map(reader).collect();
                sealer.cost_in_turn(self.time, all.iter().map(|chunk| &chunk[..]))
            }
        })
    }

    /// [`Step::Open`], or [`Step::Copy`] where content is sent plain.
    pub fn open(&mut self) -> Cost {
        cipher::opening(self.suite, self.payload, self.time, &self.chunks)
    }

    /// [`Step::Read`].
    ///
    /// # Errors
    /// What the file system says.
    pub fn read(&self, scratch: &mut Scratch) -> Result<Cost, Error> {
        scratch.read(self.time, &self.chunks)
    }

    /// [`Step::Write`].
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, scratch: &mut Scratch) -> Result<Cost, Error> {
        scratch.write(self.time, &self.chunks)
    }

    /// [`Step::Send`] and [`Step::Receive`], on `cores`.
    ///
    /// # Errors
    /// When there is no loopback, or no thread.
    pub fn wire(&self, cores: &[usize]) -> Result<Wire, Error> {
        wire(self.payload, self.suite != Suite::Plain, self.time, cores)
    }
}

/// The place of the only thread that borrows from chunk buffers.
fn slot() -> Slot {
    Slot::new(0).expect("there is a first place")
}

fn reader(chunk: &ChunkBuf) -> xfer_io::memory::RangeRef<'_> {
    chunk.reader(slot(), 0..chunk.len()).expect("nobody else has the buffer")
}

fn writer(chunk: &ChunkBuf) -> xfer_io::memory::RangeMut<'_> {
    chunk.writer(slot(), 0..chunk.len()).expect("nobody else has the buffer")
}

fn failed<E: Display>(what: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::new(Class::Fatal, what).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = xfer_io::limits::TRAIN_BYTES_MAX - HEADER_LEN - TAG_LEN;

    #[test]
    fn packets_of_every_size_cost() {
        for payload in [1, 1_424, 8_912, LONGEST] {
            let mut bench = Bench::new(Suite::Aes128Gcm, payload, Duration::ZERO).unwrap();
            assert!(bench.seal(Origin::Chunks).unwrap().bytes_per_second() > 0.0);
            assert!(bench.open().bytes_per_second() > 0.0);
        }
        for payload in [0, LONGEST + 1] {
            assert_eq!(Bench::new(Suite::Plain, payload, Duration::ZERO).err().unwrap().class, Class::Usage);
        }
    }

    #[test]
    fn every_suite_but_the_plain_one_seals() {
        let bench = |suite| Bench::new(suite, 1_424, Duration::ZERO).unwrap();
        assert!(bench(Suite::ChaCha20Poly1305).seal(Origin::Cache).unwrap().bytes_per_second() > 0.0);
        assert!(bench(Suite::Plain).seal(Origin::Cache).is_none());
        assert!(bench(Suite::Plain).open().bytes_per_second() > 0.0);
        assert!(bench(Suite::Plain).hash().bytes_per_second() > 0.0);
    }

    #[test]
    fn files_and_the_wire_cost() {
        let place = tempfile::tempdir().unwrap();
        let bench = Bench::new(Suite::Aes128Gcm, 1_424, Duration::from_millis(1)).unwrap();
        let mut scratch = Scratch::new(place.path(), 2 * CHUNK as u64).unwrap();
        assert!(bench.read(&mut scratch).unwrap().bytes_per_second() > 0.0);
        assert!(bench.write(&mut scratch).unwrap().bytes_per_second() > 0.0);
        drop(scratch);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "nothing is left behind");
        let cores = xfer_io::thread::affinity().unwrap();
        for cores in [&cores[..1], &cores[..]] {
            let wire = bench.wire(cores).unwrap();
            assert!(wire.send.bytes_per_second() > 0.0 && wire.receive.bytes_per_second() > 0.0);
        }
    }
}
