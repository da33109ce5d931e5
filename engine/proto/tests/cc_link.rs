//! Congestion control over one bottleneck in virtual time: goodput, start-up, fairness.
//!
//! The figures are what the crate promises for 1 Gbit/s; ARCHITECTURE and the network simulation build on them.
//! `CC_SEED=N cargo test --test cc_link -- --nocapture` prints them for another seed.

#[path = "cc_link/link.rs"]
mod link;

use std::time::Duration;

use link::{FlowPlan, Link, Wire};
use xfer_proto::cc::Algorithm::{self, Bbr, Cubic, Fixed, Ledbat};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// 1 Gbit/s with a queue of one bandwidth-delay product.
fn wire(rtt_ms: u64, loss_ppm: u64) -> Wire {
    let seed = std::env::var("CC_SEED").map_or(1, |seed| seed.parse().expect("CC_SEED is a number"));
    Wire {
        bits_per_second: 1_000_000_000,
        rtt: millis(rtt_ms),
        queue_percent: 100,
        loss_ppm,
        poll_late: Duration::ZERO,
        stall: Duration::ZERO,
        seed,
    }
}

fn flow(algorithm: Algorithm, start: Duration) -> FlowPlan {
    FlowPlan { algorithm, start }
}

fn alone(wire: Wire, algorithm: Algorithm, until: Duration) -> Link {
    let mut link = Link::new(wire, &[flow(algorithm, Duration::ZERO)]);
    link.run(until);
    link
}

/// Percent of the wire that each of two flows gets between two times; the second starts two seconds late.
fn shares(wire: Wire, first: Algorithm, second: Algorithm, from: u64, until: u64) -> (f64, f64) {
    let mut link = Link::new(wire, &[flow(first, Duration::ZERO), flow(second, seconds(2))]);
    link.run(seconds(until));
    let share = |flow| link.goodput(flow, seconds(from), seconds(until));
    let (first_share, second_share) = (share(0), share(1));
    println!("{first:?} {first_share:.1} %, {second:?} {second_share:.1} %");
    (first_share, second_share)
}

#[test]
fn bbr_keeps_the_wire_through_random_loss() {
    let cases =
        [(50, 0, 97.0), (50, 1_000, 96.0), (50, 10_000, 95.0), (50, 20_000, 93.0), (200, 10_000, 88.0)];
    for (rtt_ms, loss_ppm, target) in cases {
        let link = alone(wire(rtt_ms, loss_ppm), Bbr, seconds(15));
        let goodput = link.goodput(0, seconds(5), seconds(15));
        println!("{rtt_ms} ms, {loss_ppm} ppm: {goodput:.2} %, lost {:.2} %", link.lost(0));
        assert!(goodput >= target, "{rtt_ms} ms, {loss_ppm} ppm: {goodput:.2} %");
        assert!(link.lost(0) <= loss_ppm as f64 / 1e4 + 1.0, "{rtt_ms} ms: lost {:.2} %", link.lost(0));
    }
}

#[test]
fn bbr_starts_within_eight_round_trips() {
    for loss_ppm in [0, 1_000, 10_000, 20_000] {
        let link = alone(wire(50, loss_ppm), Bbr, seconds(1));
        let reached = (0..1_000).find(|ms| link.goodput(0, millis(*ms), millis(ms + 10)) >= 90.0);
        let round_trips = reached.expect("never reached 90 %") as f64 / 50.0;
        println!("{loss_ppm} ppm: 90 % after {round_trips:.2} RTT");
        assert!(round_trips <= 8.0, "{loss_ppm} ppm: {round_trips:.2}");
    }
}

#[test]
fn bbr_loses_nothing_to_a_late_worker() {
    for loss_ppm in [0, 10_000] {
        let link = alone(Wire { poll_late: millis(4), ..wire(50, loss_ppm) }, Bbr, seconds(8));
        let goodput = link.goodput(0, seconds(4), seconds(8));
        assert!(goodput >= 95.0, "{loss_ppm} ppm: {goodput:.2} %");
    }
}

#[test]
fn bbr_fills_other_wires_too() {
    let cases = [
        ("LAN", 10_000, 200, 100, 0),
        ("LAN with late threads' loss", 10_000, 200, 400, 1_000),
        ("metro", 10_000, 1_000, 100, 10_000),
        ("DSL", 10, 20_000, 100, 0),
        ("short queue", 1_000, 50_000, 10, 1_000),
        ("long queue", 1_000, 50_000, 400, 1_000),
    ];
    for (name, mbit, rtt_us, queue_percent, loss_ppm) in cases {
        let until = if mbit > 1_000 { 1 } else { 6 };
        let wire = Wire {
            bits_per_second: mbit * 1_000_000,
            rtt: Duration::from_micros(rtt_us),
            queue_percent,
            ..wire(0, loss_ppm)
        };
        let link = alone(wire, Bbr, seconds(until));
        let goodput = link.goodput(0, seconds(until) / 2, seconds(until));
        println!("{name}: {goodput:.2} %, lost {:.2} %", link.lost(0));
        assert!(goodput >= 95.0, "{name}: {goodput:.2} %");
    }
}

#[test]
fn bbr_and_cubic_share_whoever_comes_first() {
    for (first, second) in [(Bbr, Cubic), (Cubic, Bbr)] {
        let (one, two) = shares(wire(50, 0), first, second, 15, 40);
        let share = one / (one + two);
        assert!((0.35..=0.65).contains(&share), "{first:?} {one:.1} % before {second:?} {two:.1} %");
    }
}

/// Threads that stand still now and then, as on a machine whose processors are full: their delays are no queue.
#[test]
fn bbr_is_neither_slow_nor_greedy_where_senders_stall() {
    let stalling = |loss_ppm| Wire { stall: millis(25), ..wire(50, loss_ppm) };
    let lossy = alone(stalling(20_000), Bbr, seconds(15)).goodput(0, seconds(5), seconds(15));
    println!("alone at 2 %: {lossy:.1} %");
    let (cubic, bbr) = shares(stalling(0), Cubic, Bbr, 20, 45);
    let share = bbr * 100.0 / (bbr + cubic);
    assert!((35.0..=62.0).contains(&share), "{share:.1} % against CUBIC");
    assert!(lossy >= 93.0, "{lossy:.1} % at 2 %");
}

#[test]
fn two_bbr_flows_converge() {
    let cases = [(50, 0, 25, 40, 95.0), (10, 0, 10, 20, 95.0), (200, 0, 40, 60, 90.0)];
    for (rtt_ms, loss_ppm, from, until, sum_min) in cases {
        let (one, two) = shares(wire(rtt_ms, loss_ppm), Bbr, Bbr, from, until);
        let jain = (one + two).powi(2) / (2.0 * (one.powi(2) + two.powi(2)));
        assert!(jain >= 0.95, "{rtt_ms} ms, {loss_ppm} ppm: {jain:.3}, {one:.1} % and {two:.1} %");
        assert!(one + two >= sum_min, "{rtt_ms} ms, {loss_ppm} ppm: {one:.1} % and {two:.1} %");
    }
}

#[test]
fn ledbat_yields_and_cubic_does_not_notice() {
    for (first, second) in [(Ledbat, Cubic), (Cubic, Ledbat)] {
        let (one, two) = shares(wire(50, 0), first, second, 5, 20);
        let (ledbat, cubic) = if first == Ledbat { (one, two) } else { (two, one) };
        assert!(ledbat <= 10.0, "{ledbat:.1} %");
        assert!(cubic >= 90.0, "{cubic:.1} %");
    }
    let alone = alone(wire(50, 0), Ledbat, seconds(20)).goodput(0, seconds(5), seconds(20));
    assert!(alone >= 80.0, "{alone:.1} %");
}

#[test]
fn cubic_fills_a_lossless_wire() {
    let goodput = alone(wire(50, 0), Cubic, seconds(10)).goodput(0, seconds(1), seconds(10));
    assert!(goodput >= 98.0, "{goodput:.2} %");
}

#[test]
fn fixed_keeps_its_rate_whatever_is_lost() {
    let link = alone(wire(50, 100_000), Fixed { bytes_per_second: 62_500_000 }, seconds(4));
    let goodput = link.goodput(0, seconds(1), seconds(4));
    let expected = 50.0 * 0.9 * link::WIRE as f64 / link::PAYLOAD as f64;
    assert!((goodput - expected).abs() < 1.0, "{goodput:.2} %, not {expected:.2} %");
}
