//! Targets of long and of several wires, measured on the lab: goodput, start-up, fairness, waste, shares, cuts.
//!
//! One case a function; each prints its figure beside what is wanted and fails below it. Both ends, the emulator and the peers share
//! this machine's processors, so nothing else may run: `cargo xtask long wan [CASE]`. As root, in namespaces of its own. Source and
//! copy lie on /dev/shm.
//!
//! 100 % is wire goodput: the wire's rate times DATA payload over bytes on the wire, for the headers of the one who sends.

mod cuts;
mod flight;
mod long_wire;
mod many_wires;
mod meter;
#[path = "../support/node.rs"]
mod node;
#[path = "../support/noise.rs"]
mod noise;
mod peer;
mod sharing;
mod stage;

use xfer_lab::{Config, WireShape};

const MB: u64 = 1_000_000;
const GBIT: u64 = 1_000_000_000;

/// Payload of a full DATA packet, bytes: 1,500 less the headers of IPv4, UDP and DATA and the tag, a multiple of 16.
const PAYLOAD: f64 = 1_424.0;
/// The datagram that holds it.
const DATAGRAM: f64 = 1_472.0;
/// Its frame as an interface counts it.
const FRAME: f64 = 1_514.0;
/// What it takes of the wire: preamble, checksum and gap too.
const ON_WIRE: f64 = 1_538.0;
/// Payload of a full TCP segment with time stamps.
const TCP_PAYLOAD: f64 = 1_448.0;

/// Wire goodput in bytes a second.
fn wire_goodput(rate_bps: u64) -> f64 {
    rate_bps as f64 / 8.0 * PAYLOAD / ON_WIRE
}

/// Wires of this rate and round trip, in percent lost at random, each with a queue of one bandwidth-delay product.
fn wires(count: usize, rate_bps: u64, rtt_ms: u64, loss_percent: f64) -> Config {
    let shape = WireShape {
        rate_bps: Some(rate_bps),
        delay_ns: rtt_ms * 500_000,
        loss: loss_percent / 100.0,
        ..WireShape::default()
    };
    Config::with_wires(count, shape)
}

/// Prints a figure and what is wanted of it.
fn at_least(what: &str, figure: f64, wanted: f64) {
    println!("{what}: {figure:.1}, wanted at least {wanted:.1}");
    assert!(figure >= wanted, "{what}: {figure:.2} is below {wanted}");
}

/// The same, downwards.
fn at_most(what: &str, figure: f64, wanted: f64) {
    println!("{what}: {figure:.1}, wanted at most {wanted:.1}");
    assert!(figure <= wanted, "{what}: {figure:.2} is above {wanted}");
}
