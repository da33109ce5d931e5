//! T7: several wires together against the sum of what each gives alone.

use std::time::Duration;

use xfer_lab::{Config, WireShape};

use crate::stage::Stage;
use crate::{MB, at_least};

const WATCHED_FROM: Duration = Duration::from_secs(2);
const WATCHED_UNTIL: Duration = Duration::from_secs(7);
/// One way of a wire of one building.
const DELAY_NS: u64 = 500_000;

/// Bytes a second over these wires.
fn rate(stage: &Stage, paths: &[String]) -> f64 {
    let options: Vec<&str> = paths.iter().flat_map(|path| ["--path", path]).collect();
    let mut flight = stage.copy(&options);
    flight.until(flight.started + WATCHED_UNTIL + Duration::from_millis(100));
    flight.rate(WATCHED_FROM, WATCHED_UNTIL)
}

/// All wires together, in percent of the sum of each alone.
fn together(megabits: &[u64], wanted: f64) {
    let shape =
        |rate: &u64| WireShape { rate_bps: Some(rate * MB), delay_ns: DELAY_NS, ..WireShape::default() };
    let config = Config { wires: megabits.iter().map(shape).collect(), ..Config::default() };
    let bytes = megabits.iter().sum::<u64>() * MB / 8 * (WATCHED_UNTIL.as_secs() + 1);
    let stage = Stage::up(config, bytes);
    let (a, b) = (stage.lab.host("a"), stage.lab.host("b"));
    let paths: Vec<String> =
        (1..=megabits.len()).map(|wire| format!("{}={}", a.ipv4(wire), b.ipv4(wire))).collect();
    let alone: Vec<f64> = paths.iter().map(|path| rate(&stage, std::slice::from_ref(path))).collect();
    let all = rate(&stage, &paths);
    let sum: f64 = alone.iter().sum();
    let emulator = stage.lab.info().unwrap().emulator.expect("the wires are emulated");
    println!(
        "alone {:.0?}, together {:.0} Mbit/s; the emulator's deliveries are late by {:.0} us at the median, {:.0} at the 99th percentile",
        alone.iter().map(|rate| rate * 8e-6).collect::<Vec<_>>(),
        all * 8e-6,
        emulator.late_us_p50,
        emulator.late_us_p99
    );
    at_least(&format!("T7: {megabits:?} Mbit/s, percent of the sum"), all * 100.0 / sum, wanted);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t7_two_and_two() {
    together(&[2_000, 2_000], 99.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t7_three_and_one() {
    together(&[3_000, 1_000], 99.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t7_four_of_one() {
    together(&[1_000; 4], 98.0);
}
