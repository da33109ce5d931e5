//! T11: two flows on one wire with 50 ms and a queue of one bandwidth-delay product.
//!
//! At 1 Gbit/s four ends and the emulator want more than two processors, and then the flow wins that waits less for one: our share against
//! CUBIC came out between 23 and 88 %. The same on a slower wire, where they have room, tells what the flows do to each other.

use std::time::{Duration, Instant};

use crate::flight::Flight;
use crate::peer::Flow;
use crate::stage::Stage;
use crate::{GBIT, MB, at_least, at_most, wires};

/// Two flows find their shares within this time; then they are watched until the end.
const SETTLED: u64 = 20;
const END: u64 = 45;
/// So slow that everybody fits on this machine's processors.
const WITH_ROOM: u64 = 200 * MB;
/// The later flow starts so much later.
const LATER: Duration = Duration::from_secs(2);

/// A wire, and a file that a flow alone would not have moved by the end.
fn stage(rate_bps: u64) -> Stage {
    Stage::up(wires(1, rate_bps, 50, 0.0), rate_bps / 8 * END)
}

/// Bytes a second of `flight` while both settled.
fn watched(flight: &Flight, since: Instant) -> f64 {
    let from_start =
        |second: u64| (since + Duration::from_secs(second)).saturating_duration_since(flight.started);
    flight.rate(from_start(SETTLED), from_start(END))
}

/// Our percent of what both carry, against a CUBIC flow that starts before or after ours.
fn share_against_cubic(rate_bps: u64, options: &[&str], cubic_first: bool) -> f64 {
    let stage = stage(rate_bps);
    let started = Instant::now();
    let length = Duration::from_secs(END);
    let (mut ours, flow) = if cubic_first {
        let flow = Flow::start(&stage.lab, "cubic", length);
        std::thread::sleep(LATER);
        (stage.copy(options), flow)
    } else {
        let mut ours = stage.copy(options);
        ours.until(started + LATER);
        (ours, Flow::start(&stage.lab, "cubic", length - LATER))
    };
    ours.until(started + length + Duration::from_millis(200));
    assert!(ours.runs(), "the copy is long enough");
    let theirs_from = if cubic_first { 0 } else { LATER.as_secs() };
    let theirs = flow.rate((SETTLED - theirs_from) as usize, (END - theirs_from) as usize);
    let ours = watched(&ours, started);
    println!("ours {:.0} Mbit/s, CUBIC {:.0} Mbit/s", ours * 8e-6, theirs * 8e-6);
    ours * 100.0 / (ours + theirs)
}

fn fair(rate_bps: u64, cubic_first: bool) {
    let share = share_against_cubic(rate_bps, &[], cubic_first);
    let order = if cubic_first { "that was first" } else { "that came later" };
    let what = format!("T11: {} Mbit/s, our share against one CUBIC flow {order}, percent", rate_bps / MB);
    at_least(&what, share, 35.0);
    at_most(&what, share, 65.0);
}

fn ledbat_yields(rate_bps: u64) {
    let share = share_against_cubic(rate_bps, &["--cc", "ledbat"], false);
    let what = format!("T11: {} Mbit/s, share of LEDBAT against one CUBIC flow, percent", rate_bps / MB);
    at_most(&what, share, 10.0);
}

fn two_of_ours_meet(rate_bps: u64) {
    let stage = stage(rate_bps);
    let started = Instant::now();
    let mut first = stage.copy(&[]);
    first.until(started + LATER);
    let mut second = stage.copy(&["--compare", "size"]);
    second.until(started + Duration::from_secs(END) + Duration::from_millis(200));
    assert!(first.runs() && second.runs(), "the copies are long enough");
    let (one, two) = (watched(&first, started), watched(&second, started));
    println!("{:.0} and {:.0} Mbit/s", one * 8e-6, two * 8e-6);
    let jain = (one + two).powi(2) / (2.0 * (one.powi(2) + two.powi(2)));
    let what = format!("T11: {} Mbit/s, two of ours, Jain's index in percent", rate_bps / MB);
    at_least(&what, jain * 100.0, 95.0);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t11_against_a_cubic_flow_that_was_first() {
    fair(GBIT, true);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t11_against_a_cubic_flow_that_came_later() {
    fair(GBIT, false);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t11_ledbat_yields() {
    ledbat_yields(GBIT);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t11_two_of_ours_meet() {
    two_of_ours_meet(GBIT);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t11_with_room_against_a_cubic_flow_that_was_first() {
    fair(WITH_ROOM, true);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t11_with_room_against_a_cubic_flow_that_came_later() {
    fair(WITH_ROOM, false);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t11_with_room_ledbat_yields() {
    ledbat_yields(WITH_ROOM);
}

#[test]
#[ignore = "long: cargo xtask long wan"]
fn t11_with_room_two_of_ours_meet() {
    two_of_ours_meet(WITH_ROOM);
}
