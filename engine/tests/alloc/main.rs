//! Workers allocate nothing in the middle of a transfer. `ALLOC_BYTES` sets its length.

mod counting;
#[path = "../pair/mod.rs"]
mod pair;

use pair::{connector, listener, start_over, workers};
use std::sync::Arc;
use xfer_engine::TransferConfig;
use xfer_engine::codec::Compression;
use xfer_engine::sink::MemorySink;
use xfer_engine::source::{MemoryObject, MemorySource};
use xfer_io::file::Timestamp;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

const LEN: usize = 4 << 30;

/// Allocations of workers from a tenth to nine tenths of a transfer of `len` bytes.
fn taken(len: usize, count: usize, paths: u8, digests: bool) -> u64 {
    let (to, from) = (listener(workers(count)), connector(workers(count)));
    let mtime = Timestamp { seconds: 0, nanoseconds: 0 };
    let object = MemoryObject { name: b"a".to_vec(), bytes: Arc::new(vec![0u8; len]), mode: 0o644, mtime };
    let source =
        MemorySource::new(vec![object], Compression::None, digests, digests).expect("the name is good");
    let sink = Arc::new(MemorySink::discarding(digests));
    let config = TransferConfig { digests, ..TransferConfig::default() };
    let ends = start_over(paths, (&from, Arc::new(source)), (&to, sink), 1, &config);
    let moved = || ends.receiver.progress().bytes as usize;
    while moved() < len / 10 {
        std::thread::yield_now();
    }
    counting::count(true);
    while moved() < len / 10 * 9 {
        std::thread::yield_now();
    }
    counting::count(false);
    let (sender, _) = ends.succeed();
    assert_eq!(sender.progress.bytes as usize, len);
    counting::taken()
}

#[test]
fn workers_allocate_nothing_between_a_tenth_and_nine_tenths() {
    let len = std::env::var("ALLOC_BYTES").map_or(LEN, |bytes| bytes.parse().expect("a number of bytes"));
    assert_eq!(taken(len, 1, 1, true), 0, "one worker");
    assert_eq!(taken(len, 1, 1, false), 0, "one worker that decides by itself");
    // Four workers on few cores lose packets and find paths late, and each such event may take some memory; half a million packets do not.
    let events = taken(len, 2, 2, true);
    assert!(events < 200, "{events} by two workers that carry a path each");
}
