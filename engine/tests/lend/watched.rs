//! A source and a sink that count who asks them for what, and a sink that takes its memory back.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use xfer_engine::sink::{Decided, Ended, MemorySink, Sink, Verdict};
use xfer_engine::source::{ChunkPlan, Encoding, Lent, Listing, MemorySource, ReadChunk, Source};
use xfer_engine::{Durability, Error};
use xfer_io::registered::Registered;
use xfer_proto::wire::{Decision, Page};

/// Chunks by what was asked of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) lent: usize,
    pub(crate) digested: usize,
    pub(crate) read: usize,
    pub(crate) accepted: usize,
    pub(crate) written: usize,
}

#[derive(Default)]
struct Counters {
    lent: AtomicUsize,
    digested: AtomicUsize,
    read: AtomicUsize,
    accepted: AtomicUsize,
    written: AtomicUsize,
}

fn count<T>(counter: &AtomicUsize, answer: Option<T>) -> Option<T> {
    counter.fetch_add(usize::from(answer.is_some()), Ordering::SeqCst);
    answer
}

impl Counters {
    fn calls(&self) -> Calls {
        let read = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        Calls {
            lent: read(&self.lent),
            digested: read(&self.digested),
            read: read(&self.read),
            accepted: read(&self.accepted),
            written: read(&self.written),
        }
    }
}

pub(crate) struct WatchedSource {
    inner: MemorySource,
    counters: Counters,
}

impl WatchedSource {
    pub(crate) fn new(inner: MemorySource) -> Self {
        WatchedSource { inner, counters: Counters::default() }
    }

    pub(crate) fn calls(&self) -> Calls {
        self.counters.calls()
    }
}

impl Source for WatchedSource {
    fn list(&self, first_object: u32) -> Result<Listing, Error> {
        self.inner.list(first_object)
    }

    fn decided(&self, first_object: u32, decisions: &[Decision]) {
        self.inner.decided(first_object, decisions);
    }

    fn read(&self, plan: &ChunkPlan, attempt: u8, buffer: &mut [u8]) -> Result<ReadChunk, Error> {
        self.counters.read.fetch_add(1, Ordering::SeqCst);
        self.inner.read(plan, attempt, buffer)
    }

    fn lend(&self, plan: &ChunkPlan) -> Option<Lent> {
        count(&self.counters.lent, self.inner.lend(plan))
    }

    fn digest(&self, plan: &ChunkPlan, attempt: u8, chunk_bytes: usize, bytes: &[u8]) -> Vec<[u8; 32]> {
        self.counters.digested.fetch_add(1, Ordering::SeqCst);
        self.inner.digest(plan, attempt, chunk_bytes, bytes)
    }

    fn open_size(&self, object: u32) -> Option<u64> {
        self.inner.open_size(object)
    }

    fn end(&self, object: u32) -> Result<Option<[u8; 32]>, Error> {
        self.inner.end(object)
    }
}

pub(crate) struct WatchedSink {
    pub(crate) inner: MemorySink,
    counters: Counters,
}

impl WatchedSink {
    pub(crate) fn new(inner: MemorySink) -> Self {
        WatchedSink { inner, counters: Counters::default() }
    }

    pub(crate) fn calls(&self) -> Calls {
        self.counters.calls()
    }
}

impl Sink for WatchedSink {
    fn decide(&self, page: &Page) -> Result<Decided, Error> {
        self.inner.decide(page)
    }

    fn write(&self, plan: &ChunkPlan, encoding: &Encoding, stored: &[u8]) -> Result<Verdict, Error> {
        self.counters.written.fetch_add(1, Ordering::SeqCst);
        self.inner.write(plan, encoding, stored)
    }

    fn memory(&self, object: u32, chunk_bytes: usize) -> Option<Registered> {
        self.inner.memory(object, chunk_bytes)
    }

    fn accept(&self, plan: &ChunkPlan) -> Option<Vec<Ended>> {
        count(&self.counters.accepted, self.inner.accept(plan))
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
        self.inner.finish()
    }

    fn abort(&self) {
        self.inner.abort();
    }
}

/// Shares the memory that it lends.
pub(crate) struct Revocable {
    inner: MemorySink,
    lent: Mutex<Option<Registered>>,
}

impl Revocable {
    pub(crate) fn new(digests: bool) -> Self {
        Revocable { inner: MemorySink::new(1 << 30, digests), lent: Mutex::new(None) }
    }

    pub(crate) fn take_back(&self) -> Vec<u8> {
        let lent = self.lent.lock().expect("not poisoned").take();
        lent.expect("an object was decided").take_back().expect("it is taken once")
    }
}

impl Sink for Revocable {
    fn decide(&self, page: &Page) -> Result<Decided, Error> {
        self.inner.decide(page)
    }

    fn write(&self, plan: &ChunkPlan, encoding: &Encoding, stored: &[u8]) -> Result<Verdict, Error> {
        self.inner.write(plan, encoding, stored)
    }

    fn memory(&self, object: u32, chunk_bytes: usize) -> Option<Registered> {
        let memory = self.inner.memory(object, chunk_bytes);
        self.lent.lock().expect("not poisoned").clone_from(&memory);
        memory
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
        self.inner.finish()
    }

    fn abort(&self) {
        self.inner.abort();
    }
}
