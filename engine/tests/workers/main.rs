//! Several workers in one process: packets arrive at the worker that their connection belongs to, or are handed over to it; and
//! applications that let go of their transfers.

#[path = "../pair/mod.rs"]
mod pair;
mod shards;

use pair::{Ends, LOOPBACK, PATIENCE, connector, listener, noise, source, start, workers};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use xfer_engine::codec::Compression;
use xfer_engine::sink::MemorySink;
use xfer_engine::{
    Admission, Connect, Direction, Engine, EngineConfig, Event, PathPair, Role, Suite, Ticket,
    TransferConfig, WorkerReport,
};

fn begin(from: &Engine, to: &Engine, secret: u8, len: usize) -> Ends {
    let source = source("a", Arc::new(noise(len, u64::from(secret))), Compression::None);
    let sink = Arc::new(MemorySink::discarding(true));
    start((from, Arc::new(source)), (to, sink), secret, &TransferConfig::default())
}

/// Six transfers at once from two workers to two; how many datagrams the listening side handed over, and how many it lost so.
fn six(steering: bool) -> (u64, u64) {
    let (to, from) = (listener(EngineConfig { steering, ..workers(2) }), connector(workers(2)));
    let all: Vec<Ends> = (1..=6).map(|secret| begin(&from, &to, secret, 4 << 20)).collect();
    for ends in &all {
        let (sender, receiver) = ends.succeed();
        assert_eq!((sender.progress.bytes, receiver.progress.bytes), (4 << 20, 4 << 20));
    }
    let sum = |of: fn(&WorkerReport) -> u64| to.workers().iter().map(of).sum();
    (sum(|w| w.handed_over), sum(|w| w.dropped))
}

#[test]
fn the_kernel_gives_packets_to_the_worker_of_their_connection() {
    assert_eq!(six(true), (0, 0));
}

#[test]
fn without_steering_workers_hand_packets_over() {
    assert!(six(false).0 > 0);
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

/// The second path leads to nobody, so it is given up, and the pair on standby carries.
#[test]
fn a_pair_on_standby_takes_the_place_of_a_path_that_dies() {
    let (to, from) = (listener(workers(1)), connector(workers(1)));
    let silent = std::net::UdpSocket::bind((LOOPBACK, 0)).expect("binds");
    let local = |last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let pair = |last| PathPair { local: local(last), remote: to.addresses()[0] };
    let dead = PathPair { local: local(3), remote: silent.local_addr().expect("bound") };
    let ticket = Ticket { secret: [1; 32], suite: Suite::Aes128Gcm, direction: Direction::OpenerSends };
    let config = TransferConfig { rate_max: Some(16_000_000), ..TransferConfig::default() };
    let role = Role::Receive(Arc::new(MemorySink::discarding(true)));
    let admission = Admission { ticket: ticket.clone(), lifetime: PATIENCE, role, config: config.clone() };
    let receiver = to.admit(admission).expect("admits");
    let source = source("a", Arc::new(noise(64 << 20, 1)), Compression::None);
    let connect = Connect {
        ticket,
        paths: vec![pair(1), dead],
        standby: vec![pair(2)],
        role: Role::Send(Arc::new(source)),
        config,
        timeout: Duration::from_secs(5),
    };
    let sender = from.connect(connect).expect("connects");
    let mut seen = Vec::new();
    while seen.last() != Some(&(true, pair(2))) {
        match sender.events().recv_timeout(PATIENCE).expect("goes on") {
            Event::PathUp(up) => seen.push((true, up)),
            Event::PathDown(down, _) => seen.push((false, down)),
            Event::Finished(outcome) => panic!("{:?} before the pair on standby was up", outcome.error),
            _ => {}
        }
    }
    assert_eq!(seen, [(true, pair(1)), (false, dead), (true, pair(2))]);
    sender.cancel("seen enough");
    assert!(pair::outcome(&receiver).error.is_some());
}
