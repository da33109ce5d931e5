//! Deterministic simulation: two ends over modelled wires in virtual time, with faults, from one seed each.
//!
//! `SIM_SEEDS` says how many seeds a run tries, `SIM_BASE` the first; `SIM_FIRST` stops at the first that fails. A failing seed is cut down
//! to its smallest fault list. `SIM_SEED=n` replays one and prints what happens, `SIM_FAULTS=2,7` with these faults of its list only.
//! `SIM_TIMES` prints for each seed how long it took after its last fault, and how long it may have taken.

mod attack;
mod clock;
mod content;
mod end;
mod faults;
mod layout;
mod lies;
mod plan;
mod receiver;
mod scenarios;
mod seeds;
mod sender;
#[path = "../support/mod.rs"]
mod support;
mod watch;
mod world;

use clock::MS;
use plan::{Plan, wire};
use support::stand_in::StandIn;
use watch::Watched;
use world::World;

#[path = "../../../src/crypto.rs"]
#[allow(unreachable_pub, reason = "it is the engine's own file")]
mod real;

#[test]
fn a_transfer_without_faults_completes() {
    let plan = Plan::plain(1, vec![wire(100, 10 * MS, 100)], &[3_000_000, 5, 70_000, 0]);
    let mut world = World::new(&plan, &Watched::new(StandIn));
    world.trace(std::env::var_os("SIM_TRACE").is_some());
    world.run();
    println!("{} ms", world.now / MS);
    world.verdict().unwrap();
}
