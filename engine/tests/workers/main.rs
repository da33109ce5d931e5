//! Several workers in one process: packets arrive at the worker that their connection belongs to, or are handed over to it; and
//! applications that let go of their transfers.

#[path = "../pair/mod.rs"]
mod pair;

use pair::{Ends, connector, listener, noise, source, start, workers};
use std::sync::Arc;
use std::time::{Duration, Instant};
use xfer_engine::codec::Compression;
use xfer_engine::sink::MemorySink;
use xfer_engine::{Engine, EngineConfig, HandedOver, TransferConfig};

fn begin(from: &Engine, to: &Engine, secret: u8, len: usize) -> Ends {
    let source = source("a", Arc::new(noise(len, u64::from(secret))), Compression::None);
    let sink = Arc::new(MemorySink::discarding(true));
    start((from, Arc::new(source)), (to, sink), secret, &TransferConfig::default())
}

/// Six transfers at once from two workers to two; what the listening side handed over.
fn six(steering: bool) -> HandedOver {
    let (to, from) = (listener(EngineConfig { steering, ..workers(2) }), connector(workers(2)));
    let all: Vec<Ends> = (1..=6).map(|secret| begin(&from, &to, secret, 4 << 20)).collect();
    for ends in &all {
        let (sender, receiver) = ends.succeed();
        assert_eq!((sender.progress.bytes, receiver.progress.bytes), (4 << 20, 4 << 20));
    }
    let sum = |of: fn(&HandedOver) -> u64| to.handed_over().iter().map(of).sum();
    HandedOver { datagrams: sum(|h| h.datagrams), dropped: sum(|h| h.dropped) }
}

#[test]
fn the_kernel_gives_packets_to_the_worker_of_their_connection() {
    assert_eq!(six(true), HandedOver::default());
}

#[test]
fn without_steering_workers_hand_packets_over() {
    assert!(six(false).datagrams > 0);
}

#[test]
fn transfers_that_nobody_looks_at_hold_nothing_up() {
    let (to, from) = (listener(workers(1)), connector(workers(1)));
    for secret in 1..=4 {
        drop(begin(&from, &to, secret, 16 << 20));
    }
    begin(&from, &to, 9, 1 << 20).succeed();
    let began = Instant::now();
    drop((from, to));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
