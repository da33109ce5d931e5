//! T7: several wires together against the sum of what each gives alone.
//!
//! The emulator cannot carry them: it takes half a processor for 1 Gbit/s. So the wires are bare veth pairs whose sending end is held to
//! its rate by the kernel (tbf), which costs next to nothing; they have no delay.

use std::time::Duration;

use xfer_lab::{Config, WireShape};

use crate::stage::Stage;
use crate::{MB, at_least};

const WATCHED_FROM: Duration = Duration::from_secs(2);
const WATCHED_UNTIL: Duration = Duration::from_secs(7);
/// What tbf lets out at once, bytes: two trains. And what may wait there.
const BURST: &str = "131072";
const QUEUE: &str = "1048576";

/// Holds what host b sends over wire `wire` to a rate.
fn hold(stage: &Stage, wire: usize, megabits: u64) {
    let mut tc = stage.lab.host("b").command("tc");
    tc.args(["qdisc", "add", "dev", &format!("x{wire}"), "root", "tbf", "rate", &format!("{megabits}mbit")]);
    let held = tc.args(["burst", BURST, "limit", QUEUE]).status().unwrap();
    assert!(held.success(), "tc holds wire {wire}");
}

/// Bytes a second over these wires.
fn rate(stage: &Stage, paths: &[String]) -> f64 {
    let options: Vec<&str> = paths.iter().flat_map(|path| ["--path", path]).collect();
    let mut flight = stage.copy(&options);
    flight.until(flight.started + WATCHED_UNTIL + Duration::from_millis(100));
    flight.rate(WATCHED_FROM, WATCHED_UNTIL)
}

/// All wires together, in percent of the sum of each alone.
fn together(megabits: &[u64], wanted: f64) {
    let bytes = megabits.iter().sum::<u64>() * MB / 8 * (WATCHED_UNTIL.as_secs() + 1);
    let stage = Stage::up(Config::with_wires(megabits.len(), WireShape::default()), bytes);
    megabits.iter().enumerate().for_each(|(index, rate)| hold(&stage, index + 1, *rate));
    let (a, b) = (stage.lab.host("a"), stage.lab.host("b"));
    let paths: Vec<String> =
        (1..=megabits.len()).map(|wire| format!("{}={}", a.ipv4(wire), b.ipv4(wire))).collect();
    let alone: Vec<f64> = paths.iter().map(|path| rate(&stage, std::slice::from_ref(path))).collect();
    let all = rate(&stage, &paths);
    let sum: f64 = alone.iter().sum();
    let alone: Vec<f64> = alone.iter().map(|rate| rate * 8e-6).collect();
    println!("alone {alone:.0?}, together {:.0} Mbit/s", all * 8e-6);
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
