//! What wires do to packets: delay, rate, loss, order, damage, trains. As root, in namespaces of its own.

mod support;

use std::collections::HashSet;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use support::{connect, lab, pair, passes, receive, round_trip, socket, wires};
use xfer_lab::{Config, Lab, Queue, WireShape};

const MS: u64 = 1_000_000;

fn delayed(delay_ms: u64) -> WireShape {
    WireShape { delay_ns: delay_ms * MS, ..WireShape::default() }
}

/// Sends `count` numbered datagrams of `len` bytes, at most `window` beyond what has arrived or been given
/// up; gives the numbers that arrived, in their order.
fn number_run(ours: &UdpSocket, theirs: &UdpSocket, count: u32, window: u32, len: usize) -> Vec<u32> {
    theirs.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (mut arrived, mut buffer) = (Vec::new(), vec![0u8; 2048]);
    let mut datagram = vec![0u8; len];
    let mut sent = 0;
    loop {
        let burst = (sent + window).min(count);
        for number in sent..burst {
            datagram[..4].copy_from_slice(&number.to_le_bytes());
            ours.send(&datagram).unwrap();
        }
        sent = burst;
        while arrived.last().is_none_or(|last| *last + 1 < sent) {
            let Ok(len_got) = receive(theirs, &mut buffer) else { break };
            assert_eq!(len_got, len);
            arrived.push(u32::from_le_bytes(buffer[..4].try_into().unwrap()));
        }
        if sent == count {
            return arrived;
        }
    }
}

fn direction(lab: &Lab, from: &str) -> xfer_lab::Direction {
    let emulator = lab.info().unwrap().emulator.expect("an emulated wire");
    emulator.directions.into_iter().find(|one| one.from == from).unwrap()
}

#[test]
fn the_rtt_is_twice_the_delay_on_every_wire() {
    let lab = lab("rtt", wires(2, delayed(10)));
    for wire in [1, 2] {
        let (ours, theirs) = pair(&lab, wire);
        round_trip((&ours, &theirs));
        let best = (0..10).map(|_| round_trip((&ours, &theirs))).min().unwrap();
        assert!(best >= Duration::from_millis(20), "{best:?}");
        assert!(best < Duration::from_millis(23), "{best:?}");
    }
}

#[test]
fn ipv6_works_on_bare_and_emulated_wires() {
    let config = Config { wires: vec![WireShape::default(), delayed(5)], ..Config::default() };
    let lab = lab("v6", config);
    for wire in [1, 2] {
        let (a, b) = (lab.host("a"), lab.host("b"));
        let (ours, theirs) = (socket(&a, a.ipv6(wire)), socket(&b, b.ipv6(wire)));
        connect(&ours, &theirs);
        let took = round_trip((&ours, &theirs));
        assert_eq!(took >= Duration::from_millis(10), wire == 2, "{took:?}");
    }
}

#[test]
fn the_rate_is_what_was_asked_for() {
    let shape =
        WireShape { rate_bps: Some(100_000_000), queue: Queue::Bytes(4 << 20), ..WireShape::default() };
    let lab = lab("rate", wires(1, shape));
    let (ours, theirs) = pair(&lab, 1);
    // 1,000 datagrams of 1,462 + 66 bytes of headers and gaps are 122 ms at 100 Mbit/s.
    let arrivals = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let mut buffer = [0; 2048];
            (0..1000)
                .map(|_| {
                    receive(&theirs, &mut buffer).unwrap();
                    Instant::now()
                })
                .collect::<Vec<_>>()
        });
        for _ in 0..1000 {
            ours.send(&[0; 1462]).unwrap();
        }
        receiver.join().unwrap()
    });
    let took = arrivals[999] - arrivals[0];
    let expected = Duration::from_nanos(999 * (1462 + 66) * 80);
    assert!(took > expected * 95 / 100 && took < expected * 150 / 100, "{took:?} for {expected:?}");
}

#[test]
fn loss_meets_its_share() {
    let lab = lab("loss", Config { seed: 7, ..wires(1, WireShape { loss: 0.05, ..WireShape::default() }) });
    let (ours, theirs) = pair(&lab, 1);
    let arrived: HashSet<u32> = number_run(&ours, &theirs, 4000, 50, 100).into_iter().collect();
    let lost = 4000 - arrived.len();
    assert!((140..=260).contains(&lost), "{lost} of 4000 lost at 5 %");
    assert!(direction(&lab, "a").dropped_random >= lost as u64);
}

#[test]
fn order_holds_unless_asked_otherwise() {
    let lab = lab("order", wires(1, WireShape { jitter_ns: 2 * MS, ..delayed(3) }));
    let (ours, theirs) = pair(&lab, 1);
    let in_order = number_run(&ours, &theirs, 2000, 100, 200);
    assert_eq!(in_order, (0..2000).collect::<Vec<_>>());
    lab.set(1, Some("a"), &WireShape { reorder: 0.05, ..delayed(1) }).unwrap();
    let mut mixed = number_run(&ours, &theirs, 1000, 100, 200);
    assert!(!mixed.is_sorted());
    mixed.sort_unstable();
    assert!(direction(&lab, "a").reordered > 0 && direction(&lab, "b").reordered == 0);
}

#[test]
fn duplicates_arrive_twice_and_damage_never_reaches_a_socket() {
    let lab = lab("faults", wires(1, WireShape { duplicate: 1.0, ..WireShape::default() }));
    let (ours, theirs) = pair(&lab, 1);
    ours.send(b"twice").unwrap();
    let mut buffer = [0; 8];
    assert_eq!((receive(&theirs, &mut buffer).unwrap(), receive(&theirs, &mut buffer).unwrap()), (5, 5));
    lab.set(1, None, &WireShape { corrupt: 1.0, ..WireShape::default() }).unwrap();
    assert!(!passes(&ours, &theirs, Duration::from_millis(100)));
    // The kernel's own multicast reports ride along.
    assert!(direction(&lab, "a").corrupted >= 1);
}

#[test]
fn packets_above_the_path_mtu_vanish() {
    let lab = lab(
        "mtu",
        Config { mtu: 9000, ..wires(1, WireShape { path_mtu: Some(1400), ..WireShape::default() }) },
    );
    let (ours, theirs) = pair(&lab, 1);
    let mut buffer = [0; 9000];
    for (len, arrives) in [(1371, true), (1372, true), (1373, false), (8972, false)] {
        ours.send(&vec![0; len]).unwrap();
        if arrives {
            assert_eq!(receive(&theirs, &mut buffer).unwrap(), len);
        }
    }
    assert_eq!(direction(&lab, "a").dropped_mtu, 2);
}

/// A payload of `count` datagrams of `len` bytes that no shift or swap leaves the same.
fn pattern(count: usize, len: usize) -> Vec<u8> {
    (0..count * len).map(|at| (at / len * 131 + at % len * 7 + at / 256) as u8).collect()
}

/// Sends trains from a plain socket and checks every datagram of them on arrival.
fn train_crosses(lab: &Lab, len: usize, count: usize, v6: bool) {
    let (a, b) = (lab.host("a"), lab.host("b"));
    let (ours, theirs) = if v6 {
        (socket(&a, a.ipv6(1)), socket(&b, b.ipv6(1)))
    } else {
        (socket(&a, a.ipv4(1)), socket(&b, b.ipv4(1)))
    };
    connect(&ours, &theirs);
    setsockopt(&ours.as_fd(), sockopt::UdpGsoSegment, &i32::try_from(len).unwrap()).unwrap();
    let sent = pattern(count, len);
    // The last datagram is short.
    let sent = &sent[..sent.len() - 3];
    for _ in 0..3 {
        assert_eq!(ours.send(sent).unwrap(), sent.len());
        let mut buffer = vec![0; 10_000];
        for expected in sent.chunks(len) {
            let got = receive(&theirs, &mut buffer).expect("every datagram of the train arrives");
            assert_eq!(&buffer[..got], expected);
        }
    }
}

#[test]
fn a_train_arrives_as_its_datagrams_whole_and_in_order() {
    for (name, trains) in [("gso", true), ("gso1", false)] {
        let lab = lab(name, Config { trains, ..wires(1, delayed(1)) });
        for v6 in [false, true] {
            train_crosses(&lab, 1400, 40, v6);
            train_crosses(&lab, 100, 2, v6);
        }
        let (sent, received) = (direction(&lab, "a"), direction(&lab, "b"));
        assert!(sent.offered >= 2 * 3 * 42, "trains are counted by their packets: {}", sent.offered);
        assert_eq!(received.delivered_writes < received.delivered, trains);
    }
}

#[test]
fn a_train_on_a_jumbo_wire_and_many_queues() {
    let config = Config { mtu: 9000, queues: 4, ..wires(1, delayed(1)) };
    let lab = lab("jumbo", config);
    train_crosses(&lab, 8900, 7, false);
    train_crosses(&lab, 8900, 7, true);
}
