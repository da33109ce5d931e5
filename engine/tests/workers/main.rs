//! Several workers in one process: packets arrive at the worker that their connection belongs to, or are handed over to it; and
//! applications that let go of their transfers.

#[path = "../pair/mod.rs"]
mod pair;
mod shards;

use pair::{Ends, LOOPBACK, PATIENCE, connector, listener, noise, source, start, workers};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use xfer_engine::codec::Compression;
use xfer_engine::sink::MemorySink;
use xfer_engine::{
    Admission, Class, Connect, Direction, Engine, EngineConfig, Event, PathPair, Role, Suite, Ticket,
    TransferConfig, WorkerReport,
};
use xfer_proto::wire::{Header, Kind};

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

#[test]
fn a_ticket_that_waits_can_be_taken_back() {
    let to = listener(workers(2));
    let ticket = Ticket { secret: [1; 32], suite: Suite::Aes128Gcm, direction: Direction::OpenerSends };
    let role = Role::Receive(Arc::new(MemorySink::discarding(true)));
    let admission = Admission { ticket, lifetime: PATIENCE, role, config: TransferConfig::default() };
    let receiver = to.admit(admission).expect("admits");
    receiver.cancel("not wanted any more");
    // Expiring would be temporary.
    assert_eq!(pair::outcome(&receiver).error.map(|e| e.class), Some(Class::Interrupted));
}

/// Forwards datagrams between whoever sends to it and `to`, until it is dropped.
struct Relay {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    fn to(to: SocketAddr) -> Relay {
        let [near, far] = [(); 2].map(|()| Arc::new(UdpSocket::bind((LOOPBACK, 0)).expect("binds")));
        far.connect(to).expect("connects");
        let (address, ends) = (near.local_addr().expect("bound"), Arc::<AtomicBool>::default());
        let sender = Arc::new(Mutex::new(None));
        let learn = sender.clone();
        let out = forward(near.clone(), ends.clone(), {
            let far = far.clone();
            move |datagram, from| {
                *learn.lock().unwrap() = Some(from);
                far.send(datagram)
            }
        });
        let back = forward(far, ends.clone(), move |datagram, _| match *sender.lock().unwrap() {
            Some(sender) => near.send_to(datagram, sender),
            None => Ok(0),
        });
        Relay { address, ends, threads: vec![out, back] }
    }
}

fn forward(
    socket: Arc<UdpSocket>,
    ends: Arc<AtomicBool>,
    mut on: impl FnMut(&[u8], SocketAddr) -> std::io::Result<usize> + Send + 'static,
) -> JoinHandle<()> {
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("takes a timeout");
    std::thread::spawn(move || {
        let mut datagram = [0; 65_536];
        while !ends.load(Ordering::Relaxed) {
            if let Ok((len, from)) = socket.recv_from(&mut datagram) {
                // What is lost is sent again.
                on(&datagram[..len], from).unwrap_or_default();
            }
        }
    })
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().expect("no panic"));
    }
}

/// The second path dies, and the pair on standby carries in its place. (One that was never answered takes 16 s to be given up: that is
/// shown in virtual time.)
#[test]
fn a_pair_on_standby_takes_the_place_of_a_path_that_dies() {
    let (to, from) = (listener(workers(1)), connector(workers(1)));
    let relay = Relay::to(to.addresses()[0]);
    let local = |last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let pair = |last| PathPair { local: local(last), remote: to.addresses()[0] };
    let mortal = PathPair { local: local(3), remote: relay.address };
    let ticket = Ticket { secret: [1; 32], suite: Suite::Aes128Gcm, direction: Direction::OpenerSends };
    let config = TransferConfig { rate_max: Some(16_000_000), ..TransferConfig::default() };
    let role = Role::Receive(Arc::new(MemorySink::discarding(true)));
    let admission = Admission { ticket: ticket.clone(), lifetime: PATIENCE, role, config: config.clone() };
    let receiver = to.admit(admission).expect("admits");
    let source = source("a", Arc::new(noise(64 << 20, 1)), Compression::None);
    let connect = Connect {
        ticket,
        paths: vec![pair(1), mortal],
        standby: vec![pair(2)],
        role: Role::Send(Arc::new(source)),
        config,
        timeout: Duration::from_secs(5),
    };
    let sender = from.connect(connect).expect("connects");
    let (mut relay, mut seen) = (Some(relay), Vec::new());
    while seen.last() != Some(&(true, pair(2))) {
        match sender.events().recv_timeout(PATIENCE).expect("goes on") {
            Event::PathUp(up) => seen.push((true, up)),
            Event::PathDown(down, _) => seen.push((false, down)),
            Event::Finished(outcome) => panic!("{:?} before the pair on standby was up", outcome.error),
            _ => {}
        }
        if seen.last() == Some(&(true, mortal)) {
            relay.take();
        }
    }
    assert_eq!(seen, [(true, pair(1)), (true, mortal), (false, mortal), (true, pair(2))]);
    sender.cancel("seen enough");
    assert!(pair::outcome(&receiver).error.is_some());
}

/// VERSIONS names no connection, so it arrives at the first worker of a port that several share; the last one connects.
#[test]
fn an_answer_that_names_no_connection_reaches_the_worker_that_waits() {
    let fake = UdpSocket::bind((LOOPBACK, 0)).expect("binds");
    let remote = fake.local_addr().expect("bound");
    fake.set_read_timeout(Some(PATIENCE)).expect("a time");
    let from = connector(workers(2));
    let pair = |last| PathPair { local: IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), remote };
    let connect = Connect {
        ticket: Ticket { secret: [5; 32], suite: Suite::Aes128Gcm, direction: Direction::OpenerSends },
        paths: vec![pair(1), pair(2)],
        standby: Vec::new(),
        role: Role::Send(Arc::new(source("a", Arc::new(noise(10, 1)), Compression::None))),
        config: TransferConfig::default(),
        timeout: Duration::from_millis(500),
    };
    let transfer = from.connect(connect).expect("begins");
    let mut hello = [0; 2_048];
    let (_, client) = fake.recv_from(&mut hello).expect("a HELLO");
    let mut versions = Header::new(Kind::Versions).encode().to_vec();
    versions.extend([1, 2]);
    fake.send_to(&versions, client).expect("sends");
    let error = pair::outcome(&transfer).error.expect("fails");
    assert_eq!(error.class, Class::Refused, "{error}");
    assert!(error.to_string().contains("versions [2]"), "{error}");
}
