//! Workers allocate nothing in the middle of a transfer. `ALLOC_BYTES` sets its length.

mod counting;
#[path = "../pair/mod.rs"]
mod pair;

use pair::{connector, listener, source, start, workers};
use std::sync::Arc;
use xfer_engine::TransferConfig;
use xfer_engine::codec::Compression;
use xfer_engine::sink::MemorySink;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

const LEN: usize = 4 << 30;

#[test]
fn workers_allocate_nothing_between_a_tenth_and_nine_tenths() {
    let len = std::env::var("ALLOC_BYTES").map_or(LEN, |bytes| bytes.parse().expect("a number of bytes"));
    let (to, from) = (listener(workers(1)), connector(workers(1)));
    let source = source("a", Arc::new(vec![0u8; len]), Compression::None);
    let sink = Arc::new(MemorySink::discarding(true));
    let config = TransferConfig::default();
    let ends = start((&from, Arc::new(source)), (&to, sink), 1, &config);
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
    assert_eq!(counting::taken(), 0, "allocations of workers");
}
