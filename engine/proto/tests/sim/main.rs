//! Deterministic simulation: two ends over modelled wires in virtual time, with faults, from one seed each.
//!
//! `SIM_SEEDS` says how many seeds a run tries, `SIM_BASE` the first; `SIM_SEED=n` replays one and prints what happens. `SIM_TIMES`
//! prints for each seed how long it took after its last fault, and how long it may have taken.

mod clock;
mod content;
mod end;
mod faults;
mod plan;
mod receiver;
mod scenarios;
mod sender;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clock::MS;
use plan::{Plan, wire};
use real::AwsCrypto;
use support::stand_in::StandIn;
use world::World;
use xfer_proto::crypto::Crypto;

#[test]
fn a_transfer_without_faults_completes() {
    let plan = Plan::plain(1, vec![wire(100, 10 * MS, 100)], &[3_000_000, 5, 70_000, 0]);
    let mut world = World::new(&plan, &StandIn);
    world.trace(std::env::var_os("SIM_TRACE").is_some());
    world.run();
    println!("{} ms", world.now / MS);
    world.verdict().unwrap();
}

#[path = "../../../src/crypto.rs"]
#[allow(unreachable_pub, reason = "it is the engine's own file")]
mod real;

/// Every so many seeds one runs with the real ciphers.
const REAL_EVERY: u64 = 50;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn live<C: Crypto + Clone>(plan: &Plan, crypto: &C, trace: bool) -> Result<(), String> {
    let mut world = World::new(plan, crypto);
    world.trace(trace);
    world.run();
    world.verdict()?;
    let Some((late, enough)) = world.lateness() else { return Ok(()) };
    if std::env::var_os("SIM_TIMES").is_some() {
        let share = late as f64 / enough as f64;
        println!("TIME {share:.3} {} {} {:?} {}", late / MS, enough / MS, plan.algorithm, plan.seed);
    }
    if late > enough {
        return Err(format!("all there {} ms after the last fault, {} were enough", late / MS, enough / MS));
    }
    Ok(())
}

/// One seed. `Err` says what is wrong.
fn try_seed(seed: u64, trace: bool) -> Result<(), String> {
    let plan = Plan::random(seed);
    if trace {
        println!("{plan:#?}");
    }
    let run = || {
        if seed.is_multiple_of(REAL_EVERY) {
            live(&plan, &AwsCrypto, trace)
        } else {
            live(&plan, &StandIn, trace)
        }
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).into())).unwrap_or_default())
    })
}

#[test]
fn every_seed_is_safe_and_live() {
    if std::env::var_os("SIM_SEED").is_some() {
        return try_seed(number("SIM_SEED", 0), true).unwrap();
    }
    let (base, count) = (number("SIM_BASE", 1), number("SIM_SEEDS", 200));
    let next = AtomicU64::new(base);
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= base + count {
                        break;
                    }
                    if let Err(what) = try_seed(seed, false) {
                        println!(
                            "seed {seed}: {what}\n  SIM_SEED={seed} cargo test -p xfer-proto --test sim"
                        );
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {count} seeds failed: {failed:?}", failed.len());
}
