//! A sink for benchmarks: verifies content where that is asked for, forgets it, and takes the time.

use super::{Decided, Ended, MemorySink, Sink, Verdict};
use crate::error::Error;
use crate::meter::Meter;
use crate::source::{ChunkPlan, Encoding};
use std::sync::Arc;
use xfer_proto::wire::{Durability, Page};

/// Drops all bytes once they are verified.
pub struct DiscardSink {
    inner: MemorySink,
    meter: Arc<Meter>,
}

impl DiscardSink {
    /// A sink for one transfer with or without digests. `meter` is told of the first page, and of the end.
    pub fn new(digests: bool, meter: Arc<Meter>) -> Self {
        DiscardSink { inner: MemorySink::discarding(digests), meter }
    }
}

impl Sink for DiscardSink {
    fn decide(&self, page: &Page) -> Result<Decided, Error> {
        self.meter.begin();
        self.inner.decide(page)
    }

    fn write(&self, plan: &ChunkPlan, encoding: &Encoding, stored: &[u8]) -> Result<Verdict, Error> {
        self.inner.write(plan, encoding, stored)
    }

    fn accept(&self, plan: &ChunkPlan) -> Option<Vec<Ended>> {
        self.inner.accept(plan)
    }

    fn withdraw(&self, object: u32, error: Error) -> Vec<Ended> {
        self.inner.withdraw(object, error)
    }

    fn end_open(&self, object: u32, size: u64) -> Vec<Ended> {
        self.inner.end_open(object, size)
    }

    fn sync(&self) -> Result<Vec<Ended>, Error> {
        self.inner.sync()
    }

    fn finish(&self) -> Result<(Vec<Ended>, Durability), Error> {
        self.meter.end();
        self.inner.finish()
    }

    fn abort(&self) {
        self.meter.end();
        self.inner.abort();
    }
}
