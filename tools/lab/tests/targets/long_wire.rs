//! T9, T10, T12: one flow on one wire of 1 Gbit/s.

use std::time::{Duration, Instant};

use xfer_lab::Config;

use crate::meter::{Meter, Sample, spans};
use crate::peer::{Flow, tcp_goodput};
use crate::stage::Stage;
use crate::{DATAGRAM, FRAME, GBIT, MB, ON_WIRE, PAYLOAD, at_least, at_most, wire_goodput, wires};

const RTT_MS: u64 = 50;
/// When a flow counts as steady, and how long it is watched.
const STEADY_FROM: Duration = Duration::from_secs(5);
const STEADY_UNTIL: Duration = Duration::from_secs(15);
/// Enough for [`STEADY_UNTIL`].
const STEADY_BYTES: u64 = 1_800 * MB;
/// Such a flow of the kernel's, the same seconds of it.
const KERNEL_LENGTH: Duration = Duration::from_secs(15);

/// Percent of wire goodput while steady.
fn steady(stage: &Stage) -> f64 {
    let mut flight = stage.copy(&[]);
    flight.until(flight.started + STEADY_UNTIL + Duration::from_millis(100));
    flight.rate(STEADY_FROM, STEADY_UNTIL) * 100.0 / wire_goodput(GBIT)
}

fn steady_beside_bbr(rtt_ms: u64, loss: f64, wanted: f64) {
    let stage = Stage::up(wires(1, GBIT, rtt_ms, loss), STEADY_BYTES);
    let ours = steady(&stage);
    let kernel = Flow::start(&stage.lab, "bbr", KERNEL_LENGTH).rate(5, 15) * 100.0 / tcp_goodput(GBIT);
    println!("ours {ours:.1}, one kernel BBR flow {kernel:.1} percent, each of its own wire goodput");
    at_least(&format!("T9: {rtt_ms} ms, {loss} % lost, steady, percent of wire goodput"), ours, wanted);
    at_least("    and one kernel BBR flow of its own", ours, kernel);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t9_steady_without_loss() {
    steady_beside_bbr(RTT_MS, 0.0, 97.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t9_steady_at_a_thousandth() {
    steady_beside_bbr(RTT_MS, 0.1, 96.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t9_steady_at_one_percent() {
    steady_beside_bbr(RTT_MS, 1.0, 95.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t9_steady_at_two_percent() {
    steady_beside_bbr(RTT_MS, 2.0, 93.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t9_steady_at_200_ms() {
    steady_beside_bbr(200, 1.0, 88.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t9_reordering_costs_little() {
    let config = wires(1, GBIT, RTT_MS, 0.0);
    let ordered = steady(&Stage::up(config.clone(), STEADY_BYTES));
    let mut wires = config.wires.clone();
    (wires[0].reorder, wires[0].reorder_ns) = (0.3, 5_000_000);
    let reordered = steady(&Stage::up(Config { wires, ..config }, STEADY_BYTES));
    at_least("T9: 30 % held back by 5 ms, percent of no reordering", reordered * 100.0 / ordered, 90.0);
}

/// Percent of wire goodput of 500 MB, from the start of the process to its end: the median of three.
fn whole_file(loss: f64) {
    let stage = Stage::up(wires(1, GBIT, RTT_MS, loss), 500 * MB);
    let share = |_| {
        let (took, _) = stage.copy(&[]).finish();
        stage.size as f64 / took.as_secs_f64() * 100.0 / wire_goodput(GBIT)
    };
    let mut shares: Vec<f64> = (0..3).map(share).collect();
    shares.sort_by(f64::total_cmp);
    println!("{shares:.1?}");
    at_least(&format!("T9: 500 MB, {loss} % lost, start included, percent of wire goodput"), shares[1], 85.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t9_a_whole_file_without_loss() {
    whole_file(0.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t9_a_whole_file_at_one_percent() {
    whole_file(1.0);
}

/// When the first DATA packet arrived, or up to 5 ms before: what comes until then are a few packets a round trip, while 20 ms of the
/// initial window are 15 kB.
fn first_data(samples: &[Sample]) -> Instant {
    const INITIAL_BYTES: u64 = 12_000;
    let span = Duration::from_millis(20);
    let grows = |(index, from): &(usize, &Sample)| {
        let within = samples[*index..].iter().take_while(|sample| sample.at < from.at + span);
        within.last().is_some_and(|last| last.bytes[0] >= from.bytes[0] + INITIAL_BYTES)
    };
    let (index, before) = samples.iter().enumerate().find(grows).expect("content arrives");
    let arrived = samples[index..].iter().find(|sample| sample.bytes[0] > before.bytes[0]);
    arrived.expect("it grows").at
}

/// Round trips from the first DATA packet's arrival until the wire was full for 10 ms: the median of three.
fn start_up(loss: f64) {
    let stage = Stage::up(wires(1, GBIT, RTT_MS, loss), 150 * MB);
    let full = GBIT as f64 / 8.0 * DATAGRAM / ON_WIRE;
    let round_trips = |_| {
        let meter = Meter::start(&stage.lab, 1, Duration::from_micros(500));
        stage.copy(&[]).finish();
        let samples = meter.stop();
        let rates = spans(&samples, 1, Duration::from_millis(10));
        let reached = rates.iter().find(|span| span.2 >= full * 0.9).expect("the wire is filled").1;
        let started = first_data(&samples);
        reached.duration_since(started).as_secs_f64() * 1e3 / RTT_MS as f64
    };
    let mut all: Vec<f64> = (0..3).map(round_trips).collect();
    all.sort_by(f64::total_cmp);
    println!("{all:.2?}");
    at_most(&format!("T10: round trips until 90 % of wire goodput, {loss} % lost"), all[1], 8.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t10_start_up_without_loss() {
    start_up(0.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t10_start_up_at_one_percent() {
    start_up(1.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t12_little_is_sent_twice() {
    let stage = Stage::up(wires(1, GBIT, RTT_MS, 1.0), 1_000 * MB);
    let before = stage.offered(1);
    stage.copy(&[]).finish();
    let payload = (stage.offered(1) - before) as f64 * PAYLOAD / FRAME;
    let beyond = (payload / stage.size as f64 - 1.0) * 100.0;
    at_most("T12: payload beyond the content at 1 % lost, percent", beyond, 2.0);
}
