//! Kernel UDP over loopback: both families, trains and singles, marks, steering, loss, refusals.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use xfer_io::clock::monotonic_ns;
use xfer_io::limits::{SEND_FRAMES, TRAIN_BYTES_MAX};
use xfer_io::queue::{Ecn, Flushed, Meta, Queue, Transmit, ZeroCopy};
use xfer_io::udp::{UdpConfig, UdpQueue, steer};
use xfer_io::wake::{Interest, Poller};

const PATIENCE_NS: u64 = 10_000_000_000;

fn open(local: &str) -> UdpQueue {
    open_with(local, |_| {})
}

fn open_with(local: &str, change: impl FnOnce(&mut UdpConfig)) -> UdpQueue {
    let mut config = UdpConfig::new(local.parse().unwrap());
    change(&mut config);
    UdpQueue::open(&config).unwrap()
}

/// Datagram `number`, of `len` bytes that tell its number and their place.
fn pattern(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number * 31 + at * 7) as u8).collect()
}

fn to(destination: SocketAddr, len: usize, segment: usize) -> Transmit {
    Transmit { destination, source: None, len, segment, ecn: None }
}

/// Commits one train of datagrams `first..first + count`.
fn commit_train(queue: &mut UdpQueue, destination: SocketAddr, first: usize, count: usize, segment: usize) {
    let bytes: Vec<u8> = (first..first + count).flat_map(|number| pattern(number, segment)).collect();
    queue.reserve().unwrap()[..bytes.len()].copy_from_slice(&bytes);
    queue.commit(to(destination, bytes.len(), segment));
}

fn send_one(queue: &mut UdpQueue, transmit: Transmit) -> Flushed {
    queue.reserve().unwrap()[..transmit.len].copy_from_slice(&pattern(0, transmit.len));
    queue.commit(transmit);
    queue.flush().unwrap()
}

/// Receives until `count` datagrams have arrived; frames as they came.
fn collect_frames(queue: &mut UdpQueue, count: usize) -> Vec<(Meta, Vec<u8>)> {
    let mut poller = Poller::new().unwrap();
    poller.add(&*queue, 0, Interest::Read).unwrap();
    let (mut frames, mut datagrams) = (Vec::new(), 0);
    let deadline = monotonic_ns() + PATIENCE_NS;
    while datagrams < count {
        let held = queue.receive().unwrap();
        for index in 0..held {
            let (meta, bytes) = queue.received(index);
            datagrams += bytes.len().div_ceil(meta.segment);
            frames.push((meta, bytes.to_vec()));
        }
        assert!(held > 0 || monotonic_ns() < deadline, "{datagrams} of {count} arrived");
        if held == 0 {
            poller.wait(Some(deadline)).unwrap();
        }
    }
    assert_eq!(datagrams, count);
    frames
}

/// The same, trains taken apart.
fn collect(queue: &mut UdpQueue, count: usize) -> Vec<(Meta, Vec<u8>)> {
    let mut datagrams = Vec::new();
    for (meta, bytes) in collect_frames(queue, count) {
        datagrams.extend(bytes.chunks(meta.segment).map(|bytes| (meta, bytes.to_vec())));
    }
    datagrams
}

fn trains_arrive_whole(local: &str, change: impl Fn(&mut UdpConfig) + Copy) {
    let (mut a, mut b) = (open_with(local, change), open_with(local, change));
    let (count, segment) = (40, 1_400);
    commit_train(&mut a, b.local_addr(), 0, count, segment);
    commit_train(&mut a, b.local_addr(), count, 1, 900);
    let flushed = a.flush().unwrap();
    assert_eq!(flushed, Flushed { datagrams: 41, bytes: count * segment + 900, ..Flushed::default() });
    let frames = collect_frames(&mut b, count + 1);
    match (a.capabilities().gso_segments_max > 1, b.capabilities().gro) {
        (true, true) => assert_eq!(frames.len(), 2),
        (_, false) => assert_eq!(frames.len(), count + 1),
        (false, true) => assert!(frames.len() <= count + 1),
    }
    let datagrams =
        frames.iter().flat_map(|(meta, bytes)| bytes.chunks(meta.segment).map(move |bytes| (meta, bytes)));
    for (number, (meta, bytes)) in datagrams.enumerate() {
        let len = if number < count { segment } else { 900 };
        assert_eq!(bytes, pattern(number, len), "datagram {number}");
        assert_eq!((meta.source, meta.destination), (a.local_addr(), Some(b.local_addr().ip())));
        assert!(meta.interface > 0);
    }
}

#[test]
fn trains_over_ipv4() {
    trains_arrive_whole("127.0.0.1:0", |_| {});
}

#[test]
fn trains_over_ipv6() {
    trains_arrive_whole("[::1]:0", |_| {});
}

#[test]
fn trains_with_neither_offload() {
    trains_arrive_whole("127.0.0.1:0", |config| (config.gso, config.gro) = (false, false));
}

#[test]
fn trains_without_gso() {
    trains_arrive_whole("[::1]:0", |config| config.gso = false);
}

#[test]
fn trains_without_gro() {
    trains_arrive_whole("127.0.0.1:0", |config| config.gro = false);
}

#[test]
fn this_kernel_has_trains() {
    let queue = open("127.0.0.1:0");
    let can = queue.capabilities();
    assert!(can.gso_segments_max == 64 && can.gro && can.ecn && can.arrival, "{can:?}");
    assert_eq!((can.backend, can.zero_copy, can.busy_poll_us), ("udp", ZeroCopy::Untried, 0));
}

#[test]
fn sizes_at_the_edges() {
    let (mut a, mut b) = (open("127.0.0.1:0"), open("127.0.0.1:0"));
    for len in [1, 2, 1_199, 1_200, TRAIN_BYTES_MAX - 1, TRAIN_BYTES_MAX] {
        let flushed = send_one(&mut a, to(b.local_addr(), len, 0));
        assert_eq!((flushed.datagrams, flushed.bytes), (1, len));
        let got = collect(&mut b, 1);
        assert_eq!(got[0].1, pattern(0, len));
        assert_eq!(got[0].0.segment, len);
    }
}

#[test]
fn a_train_may_be_longer_than_the_kernel_takes_and_end_short() {
    let (mut a, mut b) = (open("127.0.0.1:0"), open("127.0.0.1:0"));
    let bytes = pattern(0, 129 * 16 + 3);
    a.reserve().unwrap()[..bytes.len()].copy_from_slice(&bytes);
    a.commit(to(b.local_addr(), bytes.len(), 16));
    assert_eq!(a.flush().unwrap().datagrams, 130);
    let got: Vec<u8> = collect(&mut b, 130).into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(got, bytes);
}

#[test]
fn a_full_burst_leaves_in_order() {
    let (mut a, mut b) = (open("[::1]:0"), open("[::1]:0"));
    for round in 0..3 {
        for number in 0..SEND_FRAMES {
            commit_train(&mut a, b.local_addr(), round * SEND_FRAMES + number, 1, 100);
        }
        assert!(a.reserve().is_none());
        assert_eq!(a.flush().unwrap().datagrams, SEND_FRAMES);
        let got = collect(&mut b, SEND_FRAMES);
        for (number, (_, bytes)) in got.iter().enumerate() {
            assert_eq!(*bytes, pattern(round * SEND_FRAMES + number, 100));
        }
    }
}

#[test]
fn marks_are_set_and_read() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let (mut a, mut b) = (open(local), open(local));
        for ecn in [None, Some(Ecn::Ect0), Some(Ecn::Ect1), Some(Ecn::Ce)] {
            send_one(&mut a, Transmit { ecn, ..to(b.local_addr(), 64, 0) });
            assert_eq!(collect(&mut b, 1)[0].0.ecn, ecn, "{local}");
        }
    }
}

#[test]
fn a_wildcard_takes_both_families_and_answers_from_the_address_asked() {
    let mut wild = open("[::]:0");
    let port = wild.local_addr().port();
    for (local, far) in [("127.0.0.1:0", "127.0.0.7"), ("[::1]:0", "::1")] {
        let far: IpAddr = far.parse().unwrap();
        let mut near = open(local);
        send_one(&mut near, to(SocketAddr::new(far, port), 100, 0));
        let (meta, _) = collect(&mut wild, 1)[0];
        assert_eq!((meta.source, meta.destination), (near.local_addr(), Some(far)));
        let answer = Transmit { source: meta.destination, ecn: Some(Ecn::Ect0), ..to(meta.source, 120, 0) };
        assert_eq!(send_one(&mut wild, answer).datagrams, 1);
        let (meta, _) = collect(&mut near, 1)[0];
        assert_eq!((meta.source, meta.ecn), (SocketAddr::new(far, port), Some(Ecn::Ect0)));
    }
}

#[test]
fn an_interface_can_be_pinned() {
    let loopback = xfer_io::route::interfaces().unwrap().into_iter().find(|i| i.name == "lo").unwrap();
    let mut a = open_with("127.0.0.1:0", |config| config.interface = Some(loopback.index));
    assert_eq!(a.capabilities().bound_interface, Some(loopback.index));
    let mut b = open("127.0.0.1:0");
    send_one(&mut a, to(b.local_addr(), 10, 0));
    assert_eq!(collect(&mut b, 1)[0].0.interface, loopback.index);
}

#[test]
fn a_full_receive_buffer_loses_and_counts() {
    let mut a = open("127.0.0.1:0");
    let mut b = open_with("127.0.0.1:0", |config| config.receive_buffer = 4_096);
    assert!(b.capabilities().receive_buffer < 16_384);
    for number in 0..200 {
        commit_train(&mut a, b.local_addr(), number, 1, 1_000);
        a.flush().unwrap();
    }
    // The count comes with the next datagram that finds room, and tells of all before it.
    let (mut arrived, mut marks, mut first_mark) = (0, 0, None);
    let deadline = monotonic_ns() + PATIENCE_NS;
    while first_mark.is_none() && monotonic_ns() < deadline {
        for index in 0..b.receive().unwrap() {
            match b.received(index).1.len() {
                1_000 => arrived += 1,
                mark => first_mark = first_mark.or(Some(mark)),
            }
        }
        marks = (marks + 1).min(900);
        send_one(&mut a, to(b.local_addr(), marks, 0));
    }
    let lost_marks = first_mark.unwrap() - 1;
    assert!(arrived > 0 && arrived < 200, "{arrived}");
    assert!(b.counters().overflows >= (200 - arrived + lost_marks) as u64);
}

#[test]
fn a_frame_longer_than_a_single_buffer_is_dropped_and_counted() {
    let mut a = open("127.0.0.1:0");
    let mut b = open_with("127.0.0.1:0", |config| config.gro = false);
    send_one(&mut a, to(b.local_addr(), 16_384, 0));
    assert_eq!(collect(&mut b, 1)[0].1.len(), 16_384);
    send_one(&mut a, to(b.local_addr(), 16_385, 0));
    send_one(&mut a, to(b.local_addr(), 1, 0));
    assert_eq!(collect(&mut b, 1)[0].1.len(), 1);
    assert_eq!(b.counters().truncated, 1);
}

#[test]
fn what_the_wire_refuses_is_told_and_the_rest_goes_on() {
    let (mut a, mut b) = (open("127.0.0.1:0"), open("127.0.0.1:0"));
    let foreign: SocketAddr = "[2001:db8::1]:9".parse().unwrap();
    commit_train(&mut a, b.local_addr(), 0, 1, 50);
    commit_train(&mut a, foreign, 1, 1, 50);
    let from_elsewhere = Transmit { source: "10.255.255.1".parse().ok(), ..to(b.local_addr(), 60, 0) };
    a.reserve().unwrap();
    a.commit(from_elsewhere);
    commit_train(&mut a, b.local_addr(), 2, 1, 50);
    let flushed = a.flush().unwrap();
    assert_eq!((flushed.datagrams, flushed.failures), (2, 2), "{:?}", a.failures());
    assert_eq!((a.failures()[0].destination, a.failures()[0].size), (foreign, 50));
    assert_eq!((a.failures()[1].destination, a.failures()[1].size), (b.local_addr(), 60));
    let got = collect(&mut b, 2);
    assert_eq!((got[0].1.clone(), got[1].1.clone()), (pattern(0, 50), pattern(2, 50)));
    assert_eq!(a.flush().unwrap(), Flushed::default());
    assert!(a.failures().is_empty());
}

#[test]
fn a_closed_port_is_nobodys_error() {
    let mut a = open("127.0.0.1:0");
    let gone = open("127.0.0.1:0").local_addr();
    for _ in 0..3 {
        assert_eq!(send_one(&mut a, to(gone, 50, 0)).datagrams, 1);
        assert_eq!(a.receive().unwrap(), 0);
    }
}

#[test]
fn a_busy_port_is_an_error_that_names_it() {
    let first = open("127.0.0.1:0");
    let error = UdpQueue::open(&UdpConfig::new(first.local_addr())).err().unwrap();
    assert_eq!(error.to_string(), format!("bind {}: Address already in use", first.local_addr()));
}

#[test]
fn packets_go_to_the_worker_named_in_the_connection_id() {
    let shared = |config: &mut UdpConfig| config.reuse_port = true;
    let first = open_with("127.0.0.1:0", shared);
    let address = first.local_addr();
    let mut workers = vec![first];
    (1..3).for_each(|_| workers.push(open_with(&address.to_string(), shared)));
    steer::by_worker(&workers[0]).unwrap();
    let mut sender = open("127.0.0.1:0");
    for (worker, queue) in workers.iter_mut().enumerate() {
        for high_bits in [0u32, 0xffff_ffc0, 0x40] {
            let frame = sender.reserve().unwrap();
            frame[..32].fill(0xee);
            frame[4..8].copy_from_slice(&(high_bits | worker as u32).to_le_bytes());
            sender.commit(to(address, 32, 0));
        }
        sender.flush().unwrap();
        let got = collect(queue, 3);
        assert!(got.iter().all(|(_, bytes)| usize::from(bytes[4] & 63) == worker));
    }
    // A worker that is not there, and a packet without an id, still arrive somewhere.
    for len in [3usize, 32] {
        let frame = sender.reserve().unwrap();
        frame[..32].fill(63);
        sender.commit(to(address, len, 0));
    }
    sender.flush().unwrap();
    let mut arrived = BTreeSet::new();
    let deadline = monotonic_ns() + PATIENCE_NS;
    while arrived.len() < 2 && monotonic_ns() < deadline {
        for queue in &mut workers {
            for index in 0..queue.receive().unwrap() {
                arrived.insert(queue.received(index).1.len());
            }
        }
    }
    assert_eq!(arrived, BTreeSet::from([3, 32]));
}

#[test]
fn steering_without_a_shared_port_is_refused() {
    let alone = open("127.0.0.1:0");
    assert!(steer::by_worker(&alone).is_err());
}
