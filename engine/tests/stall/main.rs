//! Slow stages: who is named as the one that holds a transfer up, and that a stall of storage does not hold up answers.

#[path = "../pair/mod.rs"]
mod pair;
mod wrap;

use pair::{connector, listener, noise, source, start, workers};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use wrap::{Delay, LateSink, LateSource};
use xfer_engine::codec::Compression;
use xfer_engine::sink::MemorySink;
use xfer_engine::{EngineConfig, Outcome, Stage, TransferConfig};
use xfer_io::thread::affinity;

fn never() -> Delay {
    Arc::new(|_| Duration::ZERO)
}

fn each(ms: u64) -> Delay {
    Arc::new(move |_| Duration::from_millis(ms))
}

/// Moves `len` bytes with storage that is late by these delays. Each end's worker has a core of its own: on one core each would wait
/// while the other runs.
fn run(len: usize, reads: Delay, writes: Delay, config: &TransferConfig) -> (Outcome, Outcome) {
    let cores = affinity().unwrap();
    let on = |core: Option<&usize>| EngineConfig { cores: core.copied().into_iter().collect(), ..workers(1) };
    let (to, from) = (listener(on(cores.first())), connector(on(cores.last())));
    let source = LateSource(source("a", Arc::new(noise(len, 1)), Compression::None), reads);
    let sink = LateSink(MemorySink::discarding(true), writes);
    start((&from, Arc::new(source)), (&to, Arc::new(sink)), 1, config).succeed()
}

static ALONE: Mutex<()> = Mutex::new(());

/// Tests of this program run one at a time: what one does to the processors would show in what another measures.
fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[test]
fn a_slow_source_is_named_by_both_ends() {
    let _alone = alone();
    let (sender, receiver) = run(32 << 20, each(20), never(), &TransferConfig::default());
    assert_eq!((sender.progress.limited_by, receiver.progress.limited_by), (Stage::Source, Stage::Source));
}

#[test]
fn a_slow_sink_is_named_by_both_ends() {
    let _alone = alone();
    let (sender, receiver) = run(64 << 20, never(), each(20), &TransferConfig::default());
    assert_eq!((sender.progress.limited_by, receiver.progress.limited_by), (Stage::Sink, Stage::Sink));
}

#[test]
fn a_cap_is_named_by_both_ends() {
    let _alone = alone();
    let config = TransferConfig { rate_max: Some(200_000_000), ..TransferConfig::default() };
    let (sender, receiver) = run(16 << 20, never(), never(), &config);
    assert_eq!(
        (sender.progress.limited_by, receiver.progress.limited_by),
        (Stage::RateLimit, Stage::RateLimit)
    );
}

#[test]
fn nothing_is_named_under_100_ms() {
    let (sender, receiver) = run(1_000, never(), never(), &TransferConfig::default());
    assert_eq!((sender.progress.limited_by, receiver.progress.limited_by), (Stage::None, Stage::None));
}

/// Text that shrinks well; compressing it takes longer than sending it over loopback, and far less than sending it at a low rate.
#[test]
fn chunks_are_compressed_where_that_is_faster_than_sending_what_it_saves() {
    let _alone = alone();
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

/// The 99.9th percentiles of how late the sender's and the receiver's answers are, the least of three runs: a scheduler that
/// takes the core away makes answers late too.
fn lateness(reads: &Delay, writes: &Delay) -> [Duration; 2] {
    let config = TransferConfig { rate_max: Some(400_000_000), ..TransferConfig::default() };
    let runs = [(); 3].map(|()| run(32 << 20, reads.clone(), writes.clone(), &config));
    assert!(runs.iter().all(|(_, receiver)| receiver.latency.ack_delay.count > 100));
    let least = |of: fn(&(Outcome, Outcome)) -> Duration| runs.iter().map(of).min().unwrap_or_default();
    [least(|ends| ends.0.latency.ack_delay.p999), least(|ends| ends.1.latency.ack_delay.p999)]
}

/// What others that want the processors make answers late by; a stall would make them late by half a second.
const OTHERS: Duration = Duration::from_millis(200);

#[test]
fn a_stall_of_storage_holds_no_answers_up() {
    let _alone = alone();
    let once: Delay = Arc::new(|chunk| Duration::from_millis(if chunk == 12 { 500 } else { 0 }));
    let without = lateness(&never(), &never());
    for (reads, writes) in [(once.clone(), never()), (never(), once)] {
        let with = lateness(&reads, &writes);
        println!("answers are late by {without:?}, with a stall by {with:?}");
        for (with, without) in with.iter().zip(&without) {
            let most = (*without).max(OTHERS) + Duration::from_millis(5);
            assert!(*with <= most, "{without:?} rose to {with:?}");
        }
    }
}
