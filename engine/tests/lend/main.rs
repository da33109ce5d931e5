//! Content is sealed from the application's memory and opened into it: where it lies, who is asked for it, and what happens when it changes
//! or is taken back.

#[path = "../pair/mod.rs"]
mod pair;
mod watched;

use pair::{PATIENCE, connector, listener, noise, outcome, source, start_over, workers};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use watched::{Calls, Revocable, WatchedSink, WatchedSource};
use xfer_engine::codec::Compression;
use xfer_engine::sink::{MemorySink, Sink};
use xfer_engine::source::{MemoryObject, MemorySource, Source};
use xfer_engine::{Class, Error, Event, TransferConfig};
use xfer_io::file::Timestamp;

const CHUNK: usize = 1 << 16;

fn config(digests: bool) -> TransferConfig {
    TransferConfig { chunk_log2: 16, digests, ..TransferConfig::default() }
}

fn object(
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    compression: Compression,
    digests: bool,
) -> MemorySource {
    let mtime = Timestamp { seconds: 0, nanoseconds: 0 };
    let object = MemoryObject { name: b"a".to_vec(), bytes, mode: 0o644, mtime };
    MemorySource::new(vec![object], compression, digests, digests).expect("the name is good")
}

/// Sends over `paths` paths, each on a worker of its own.
fn send(paths: u8, source: Arc<dyn Source>, sink: Arc<dyn Sink>, digests: bool) {
    let count = usize::from(paths);
    let (to, from) = (listener(workers(count)), connector(workers(count)));
    let ends = start_over(paths, (&from, source), (&to, sink), 1, &config(digests));
    ends.succeed();
}

/// Receives `bytes` into memory that was registered, and returns who was asked for what.
fn in_place(bytes: Vec<u8>, compression: Compression, digests: bool, paths: u8) -> (Calls, Calls) {
    let len = bytes.len();
    let memory = vec![0xee; len + 1];
    let place = memory.as_ptr();
    let sink = Arc::new(WatchedSink::new(MemorySink::new(0, digests)));
    sink.inner.register(b"a", memory);
    let source = Arc::new(WatchedSource::new(object(Arc::new(bytes.clone()), compression, digests)));
    send(paths, source.clone(), sink.clone(), digests);
    let taken = sink.inner.take(b"a").expect("it ended");
    assert_eq!((taken.as_ptr(), taken.len()), (place, len), "other memory than was registered");
    assert!(taken == bytes, "{len} bytes arrived changed");
    (source.calls(), sink.calls())
}

fn lens() -> impl Iterator<Item = usize> {
    [CHUNK / 4 + 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 15, 150 * CHUNK + 17].into_iter()
}

#[test]
fn without_digests_nobody_is_asked_for_a_chunk() {
    for (len, paths) in lens().flat_map(|len| [(len, 1), (len, 2)]) {
        let bytes = noise(len, 1).to_vec();
        let chunks = len.div_ceil(CHUNK);
        let (source, sink) = in_place(bytes, Compression::None, false, paths);
        assert_eq!(source, Calls { lent: chunks, ..Calls::default() }, "{len}");
        assert_eq!(sink, Calls { accepted: chunks, ..Calls::default() }, "{len}");
    }
}

#[test]
fn digests_are_made_of_the_memory_itself() {
    for (len, paths) in lens().flat_map(|len| [(len, 1), (len, 2)]) {
        let bytes = noise(len, 2).to_vec();
        let chunks = len.div_ceil(CHUNK);
        let (source, sink) = in_place(bytes, Compression::None, true, paths);
        assert_eq!(source, Calls { lent: chunks, digested: chunks, ..Calls::default() }, "{len}");
        assert_eq!(sink, Calls { written: chunks, ..Calls::default() }, "{len}");
    }
}

#[test]
fn compressed_chunks_are_decoded_in_place() {
    let mut bytes = noise(20 * CHUNK + 5, 3).to_vec();
    bytes[CHUNK..9 * CHUNK].fill(b'x');
    for (compression, digests) in [(Compression::Lz4, true), (Compression::Zstd, false)] {
        let (source, sink) = in_place(bytes.clone(), compression, digests, 1);
        assert_eq!(source, Calls { read: 21, ..Calls::default() });
        let accepted = if digests { 0 } else { 13 };
        assert_eq!(sink, Calls { written: 21 - accepted, accepted, ..Calls::default() });
    }
}

#[test]
fn small_objects_come_in_buffers_all_the_same() {
    for len in [1, CHUNK / 4 - 1, CHUNK / 4] {
        let (_, sink) = in_place(noise(len, 4).to_vec(), Compression::None, true, 1);
        assert_eq!(sink, Calls { written: 1, ..Calls::default() }, "{len}");
    }
}

#[test]
fn memory_that_is_too_small_is_refused() {
    let sink = Arc::new(MemorySink::new(1 << 30, false));
    sink.register(b"a", vec![0; CHUNK - 1]);
    let (to, from) = (listener(workers(1)), connector(workers(1)));
    let source = object(Arc::new(vec![1; CHUNK]), Compression::None, false);
    let ends = start_over(1, (&from, Arc::new(source)), (&to, sink.clone()), 1, &config(false));
    let error = outcome(&ends.receiver).error.expect("it does not fit");
    assert_eq!(error.class, Class::Fatal);
    assert!(error.to_string().contains("65536 bytes in 65535 that are registered"), "{error}");
    assert_eq!(sink.take(b"a"), None);
}

/// Memory whose owner changes it: another look, other bytes.
struct Changing {
    looks: AtomicUsize,
    /// Looks from which on it is as it will stay; before that every look sees something else.
    settled: usize,
    versions: [Arc<[u8]>; 2],
}

impl AsRef<[u8]> for Changing {
    fn as_ref(&self) -> &[u8] {
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        &self.versions[if look < self.settled { look % 2 } else { 0 }]
    }
}

/// The failed objects that each end tells of when `changing` is sent.
fn send_changing(settled: usize) -> (Vec<Error>, Vec<Error>, Option<Vec<u8>>) {
    let versions = [noise(CHUNK, 5), noise(CHUNK, 6)];
    let bytes = Arc::new(Changing { looks: AtomicUsize::new(0), settled, versions });
    let sink = Arc::new(MemorySink::new(1 << 30, true));
    let source = Arc::new(object(bytes, Compression::None, true));
    let (to, from) = (listener(workers(1)), connector(workers(1)));
    let ends = start_over(1, (&from, source), (&to, sink.clone()), 1, &config(true));
    let failures = |transfer: &xfer_engine::Transfer| {
        let mut failed = Vec::new();
        loop {
            match transfer.events().recv_timeout(PATIENCE).expect("the transfer ends") {
                Event::File(end) => failed.extend(end.error),
                Event::Finished(outcome) => {
                    assert!(outcome.error.is_none(), "{:?}", outcome.error);
                    return failed;
                }
                _ => {}
            }
        }
    };
    (failures(&ends.sender), failures(&ends.receiver), sink.take(b"a"))
}

#[test]
fn memory_that_changes_all_the_time_fails_its_digest() {
    let (sender, receiver, content) = send_changing(usize::MAX);
    assert_eq!(content, None, "a mixed object is there");
    for end in [sender, receiver] {
        assert_eq!(end.len(), 1);
        assert_eq!(end[0].class, Class::Digest);
        assert!(end[0].to_string().contains("source changed while sending"), "{}", end[0]);
    }
}

#[test]
fn memory_that_changed_once_is_sent_as_it_is_then() {
    // Two looks to list it, one to digest it, then packets.
    let (sender, receiver, content) = send_changing(6);
    assert!(sender.is_empty() && receiver.is_empty(), "{sender:?} {receiver:?}");
    assert!(content.expect("it ended")[..] == noise(CHUNK, 5)[..], "a mixed object is there");
}

#[test]
fn memory_that_is_taken_back_ends_the_transfer() {
    for digests in [false, true] {
        let sink = Arc::new(Revocable::new(digests));
        let bytes: Arc<[u8]> = noise(200 * CHUNK, 7);
        let source = Arc::new(source("a", Arc::new(bytes.clone()), Compression::None));
        let (to, from) = (listener(workers(1)), connector(workers(1)));
        let slow = TransferConfig { rate_max: Some(200_000_000), ..config(digests) };
        let ends = start_over(1, (&from, source), (&to, sink.clone()), 1, &slow);
        while ends.receiver.progress().bytes < 4 * CHUNK as u64 {
            std::thread::yield_now();
        }
        let memory = sink.take_back();
        let seen = memory.clone();
        let error = outcome(&ends.receiver).error.expect("its memory is gone");
        assert!(error.to_string().contains("taken back"), "{error}");
        assert!(outcome(&ends.sender).error.is_some());
        assert!(memory == seen, "somebody wrote into memory that was taken back");
        assert!(memory[..CHUNK] == bytes[..CHUNK] || memory != bytes[..]);
    }
}
