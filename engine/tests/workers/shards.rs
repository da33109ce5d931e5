//! One connection whose paths several workers carry.

use super::pair::{PATIENCE, connector, listener, noise, outcome, source, workers};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use xfer_engine::codec::Compression;
use xfer_engine::sink::MemorySink;
use xfer_engine::{
    Admission, Connect, Direction, Engine, EngineConfig, Outcome, PathPair, Role, Suite, Ticket,
    TransferConfig, WorkerReport,
};

/// Moves `len` bytes over `paths` pairs of loopback addresses, at `rate_max` bits a second if there is one. How both ends ended.
fn copy(
    (from, to): (&Engine, &Engine),
    paths: u8,
    suite: Suite,
    len: usize,
    rate_max: Option<u64>,
) -> (Outcome, Outcome) {
    let pair = |last| {
        let local = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        PathPair { local, remote: to.addresses()[0] }
    };
    let ticket = Ticket { secret: [7; 32], suite, direction: Direction::OpenerSends };
    let config = TransferConfig { rate_max, ..TransferConfig::default() };
    let role = Role::Receive(Arc::new(MemorySink::discarding(true)));
    let admission = Admission { ticket: ticket.clone(), lifetime: PATIENCE, role, config: config.clone() };
    let receiver = to.admit(admission).expect("admits");
    let role = Role::Send(Arc::new(source("a", Arc::new(noise(len, 3)), Compression::None)));
    let paths = (1..=paths).map(pair).collect();
    let connect = Connect { ticket, paths, standby: Vec::new(), role, config, timeout: PATIENCE };
    let sender = from.connect(connect).expect("connects");
    (outcome(&sender), outcome(&receiver))
}

/// Content of each path, by the receiver's count.
fn shares(outcome: &Outcome) -> Vec<u64> {
    outcome.progress.paths.iter().map(|path| path.bytes).collect()
}

#[test]
fn each_worker_carries_the_paths_that_name_it() {
    const LEN: usize = 256 << 20;
    for suite in [Suite::Aes128Gcm, Suite::Plain] {
        let (to, from) = (listener(workers(2)), connector(workers(2)));
        let (sent, received) = copy((&from, &to), 2, suite, LEN, None);
        assert!(sent.error.is_none() && received.error.is_none(), "{:?} {:?}", sent.error, received.error);
        assert_eq!((received.progress.bytes, received.verified), (LEN as u64, true));
        let shares = shares(&received);
        assert_eq!(shares.len(), 2);
        assert!(shares.iter().all(|share| *share > LEN as u64 / 10), "{shares:?}");
        let least = |of: fn(&WorkerReport) -> u64, engine: &Engine| engine.workers().iter().map(of).min();
        // A train holds 64 KiB at most, and a tenth of the content went each way.
        assert!(least(|w| w.trains, &from) > Some(LEN as u64 / 10 / 65_536), "{:?}", from.workers());
        assert!(least(|w| w.datagrams, &to) > Some(LEN as u64 / 10 / 9_000), "{:?}", to.workers());
        let handed_over: u64 = to.workers().iter().chain(&from.workers()).map(|w| w.handed_over).sum();
        assert_eq!(handed_over, 0);
    }
}

#[test]
fn either_end_may_have_one_worker_only() {
    for (ours, theirs) in [(1, 2), (2, 1), (3, 2)] {
        let (to, from) = (listener(workers(theirs)), connector(workers(ours)));
        // Slow enough for all paths to be up in time.
        let ends = (&from, &to);
        let (sent, received) = copy(ends, 4, Suite::Aes128Gcm, 16 << 20, Some(400_000_000));
        assert!(sent.error.is_none() && received.verified, "{ours} {theirs}: {:?}", sent.error);
        assert_eq!(shares(&received).len(), 4, "{ours} {theirs}");
    }
}

#[test]
fn a_worker_that_carries_takes_what_another_queue_got() {
    let to = listener(EngineConfig { steering: false, ..workers(2) });
    let from = connector(workers(1));
    let (sent, received) = copy((&from, &to), 2, Suite::Aes128Gcm, 16 << 20, Some(400_000_000));
    assert!(sent.error.is_none() && received.verified, "{:?}", sent.error);
    assert!(to.workers().iter().map(|w| w.handed_over).sum::<u64>() > 0);
}
