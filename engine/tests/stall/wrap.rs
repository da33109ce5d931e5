//! A source and a sink that sleep in chosen calls, as storage does that stalls.

use std::sync::Arc;
use std::time::Duration;
use xfer_engine::sink::{Decided, Ended, MemorySink, Sink, Verdict};
use xfer_engine::source::{ChunkPlan, Encoding, Listing, MemorySource, ReadChunk, Source};
use xfer_engine::{Durability, Error};
use xfer_proto::wire::{Decision, Page};

/// How long the call for a chunk takes more than it would.
pub(crate) type Delay = Arc<dyn Fn(u32) -> Duration + Send + Sync>;

/// Reads late.
pub(crate) struct LateSource(pub(crate) MemorySource, pub(crate) Delay);

/// Writes late.
pub(crate) struct LateSink(pub(crate) MemorySink, pub(crate) Delay);

impl Source for LateSource {
    fn list(&self, first_object: u32) -> Result<Listing, Error> {
        self.0.list(first_object)
    }

    fn decided(&self, first_object: u32, decisions: &[Decision]) {
        self.0.decided(first_object, decisions);
    }

    fn read(&self, plan: &ChunkPlan, attempt: u8, buffer: &mut [u8]) -> Result<ReadChunk, Error> {
        std::thread::sleep(self.1(plan.chunk));
        self.0.read(plan, attempt, buffer)
    }

    fn rate(&self, bytes_per_second: u64) {
        self.0.rate(bytes_per_second);
    }

    fn hashing(&self) -> Duration {
        self.0.hashing()
    }

    fn open_size(&self, object: u32) -> Option<u64> {
        self.0.open_size(object)
    }

    fn end(&self, object: u32) -> Result<Option<[u8; 32]>, Error> {
        self.0.end(object)
    }
}

impl Sink for LateSink {
    fn decide(&self, page: &Page) -> Result<Decided, Error> {
        self.0.decide(page)
    }

    fn write(&self, plan: &ChunkPlan, encoding: &Encoding, stored: &[u8]) -> Result<Verdict, Error> {
        std::thread::sleep(self.1(plan.chunk));
        self.0.write(plan, encoding, stored)
    }

    fn withdraw(&self, object: u32, error: Error) -> Vec<Ended> {
        self.0.withdraw(object, error)
    }

    fn end_open(&self, object: u32, size: u64) -> Vec<Ended> {
        self.0.end_open(object, size)
    }

    fn sync(&self) -> Result<Vec<Ended>, Error> {
        self.0.sync()
    }

    fn finish(&self) -> Result<(Vec<Ended>, Durability), Error> {
        self.0.finish()
    }

    fn abort(&self) {
        self.0.abort();
    }
}
