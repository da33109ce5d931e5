//! Deterministic simulation: two ends over modelled wires in virtual time, with faults, from one seed each.
//!
//! `SIM_SEEDS` says how many seeds a run tries, `SIM_BASE` the first; `SIM_SEED=n` replays one and prints what happens.

mod clock;
mod content;
mod end;
mod faults;
mod plan;
mod receiver;
mod sender;
#[path = "../support/mod.rs"]
mod support;
mod world;

use clock::MS;
use plan::{Plan, wire};
use support::stand_in::StandIn;
use world::World;

#[test]
fn a_transfer_without_faults_completes() {
    let plan = Plan::plain(1, vec![wire(100, 10 * MS, 100)], &[3_000_000, 5, 70_000, 0]);
    let mut world = World::new(&plan, &StandIn);
    world.trace(std::env::var_os("SIM_TRACE").is_some());
    world.run();
    println!("{} ms", world.now / MS);
    world.verdict().unwrap();
}
