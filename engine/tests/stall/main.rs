//! Slow stages: who is named as the one that holds a transfer up, and that a stall of storage does not hold up answers.

#[path = "../pair/mod.rs"]
mod pair;
mod wrap;

use pair::{connector, listener, noise, source, start, workers};
use std::sync::Arc;
use std::time::Duration;
use wrap::{Delay, LateSink, LateSource};
use xfer_engine::codec::Compression;
use xfer_engine::sink::MemorySink;
use xfer_engine::{Outcome, Stage, TransferConfig};

fn never() -> Delay {
    Arc::new(|_| Duration::ZERO)
}

fn each(ms: u64) -> Delay {
    Arc::new(move |_| Duration::from_millis(ms))
}

/// Moves `len` bytes with storage that is late by these delays.
fn run(len: usize, reads: Delay, writes: Delay, config: &TransferConfig) -> (Outcome, Outcome) {
    let (to, from) = (listener(workers(1)), connector(workers(1)));
    let source = LateSource(source("a", Arc::new(noise(len, 1)), Compression::None), reads);
    let sink = LateSink(MemorySink::discarding(true), writes);
    start((&from, Arc::new(source)), (&to, Arc::new(sink)), 1, config).succeed()
}

#[test]
fn a_slow_source_is_named() {
    let (sender, receiver) = run(32 << 20, each(20), never(), &TransferConfig::default());
    assert_eq!(sender.progress.limited_by, Stage::Source);
    assert_eq!(Stage::of_both(sender.progress.limited_by, receiver.progress.limited_by), Stage::Source);
}

#[test]
fn a_slow_sink_is_named_by_both_ends() {
    let (sender, receiver) = run(64 << 20, never(), each(20), &TransferConfig::default());
    assert_eq!(receiver.progress.limited_by, Stage::Sink);
    assert_eq!(Stage::of_both(sender.progress.limited_by, receiver.progress.limited_by), Stage::Sink);
}

#[test]
fn a_cap_is_named() {
    let config = TransferConfig { rate_max: Some(200_000_000), ..TransferConfig::default() };
    let (sender, receiver) = run(16 << 20, never(), never(), &config);
    assert_eq!(sender.progress.limited_by, Stage::RateLimit);
    assert_eq!(Stage::of_both(sender.progress.limited_by, receiver.progress.limited_by), Stage::RateLimit);
}

#[test]
fn nothing_is_named_under_100_ms() {
    let (sender, receiver) = run(1_000, never(), never(), &TransferConfig::default());
    assert_eq!((sender.progress.limited_by, receiver.progress.limited_by), (Stage::None, Stage::None));
}

/// Text that shrinks well; compressing it takes longer than sending it over loopback, and far less than sending it at a low rate.
#[test]
fn chunks_are_compressed_where_that_is_faster_than_sending_what_it_saves() {
    let text: Arc<[u8]> =
        (0..48 << 20).map(|i: u32| b"the quick brown fox "[i as usize % 20] ^ (i >> 14) as u8).collect();
    let config = TransferConfig { rate_max: Some(100_000_000), chunk_log2: 18, ..TransferConfig::default() };
    let (to, from) = (listener(workers(1)), connector(workers(1)));
    let source = Arc::new(source("a", Arc::new(text), Compression::Auto));
    let (sender, _) =
        start((&from, source), (&to, Arc::new(MemorySink::discarding(true))), 1, &config).succeed();
    assert_eq!(sender.progress.bytes, 48 << 20);
    assert!(sender.progress.wire_bytes < 24 << 20, "{} bytes on the wire", sender.progress.wire_bytes);
}
