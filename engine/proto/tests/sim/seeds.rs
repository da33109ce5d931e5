//! Seeds: each one run, and what a failing one comes down to.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use xfer_proto::crypto::Crypto;

use crate::clock::MS;
use crate::plan::Plan;
use crate::real::AwsCrypto;
use crate::support::stand_in::StandIn;
use crate::watch::Watched;
use crate::world::World;

/// Every so many seeds one runs with the real ciphers.
const REAL_EVERY: u64 = 50;
/// Failing seeds of a run whose smallest fault list is looked for.
const SHRUNK_MAX: usize = 3;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// Places in a seed's fault list, as `SIM_FAULTS` names them: `2,7`, or nothing for none.
fn places(list: &str) -> BTreeSet<usize> {
    list.split(',').filter(|word| !word.is_empty()).map(|word| word.parse().expect("a number")).collect()
}

fn live<C: Crypto + Clone + 'static>(plan: &Plan, crypto: &C, trace: bool) -> Result<(), String> {
    let mut world = World::new(plan, &Watched::new(crypto.clone()));
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

/// One run. `Err` says what is wrong.
fn try_plan(plan: &Plan, trace: bool) -> Result<(), String> {
    if trace {
        println!("{plan:#?}");
    }
    let run = || {
        if plan.seed.is_multiple_of(REAL_EVERY) {
            live(plan, &AwsCrypto, trace)
        } else {
            live(plan, &StandIn, trace)
        }
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).into())).unwrap_or_default())
    })
}

/// The smallest of `kept` that `fails` still, as far as leaving out parts and single ones leads to it. `kept` itself fails.
fn smallest(mut kept: Vec<usize>, mut fails: impl FnMut(&[usize]) -> bool) -> Vec<usize> {
    let mut part = kept.len();
    while part > 0 {
        let before = kept.len();
        let mut at = 0;
        while at < kept.len() {
            let mut less = kept.clone();
            less.drain(at..(at + part).min(kept.len()));
            if fails(&less) {
                kept = less;
            } else {
                at += part;
            }
        }
        // Single ones are tried until none can go: one that was needed may not be any more.
        part = if part == 1 && kept.len() < before { 1 } else { part / 2 };
    }
    kept
}

/// What a failing seed comes down to, with the command that runs just that.
fn reduced(seed: u64) -> String {
    let all: Vec<usize> = Plan::random(seed, |_| true).troubles.iter().map(|(place, _)| *place).collect();
    let count = all.len();
    let only = |kept: &[usize]| {
        let kept: BTreeSet<usize> = kept.iter().copied().collect();
        Plan::random(seed, |place| kept.contains(&place))
    };
    let kept = smallest(all, |kept| try_plan(&only(kept), false).is_err());
    let plan = only(&kept);
    let what = try_plan(&plan, false).expect_err("what fails once fails again");
    let places = kept.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let list: String =
        plan.troubles.iter().map(|(place, trouble)| format!("\n    {place}: {trouble:?}")).collect();
    format!(
        "  smallest fault list, {} of {count}:{list}\n  with it: {what}\n  {}",
        kept.len(),
        command(seed, &format!("SIM_FAULTS={places} "))
    )
}

fn command(seed: u64, faults: &str) -> String {
    format!("SIM_SEED={seed} {faults}cargo test -p xfer-proto --test sim every_seed -- --nocapture")
}

#[test]
fn every_seed_is_safe_and_live() {
    if std::env::var_os("SIM_SEED").is_some() {
        let kept = std::env::var("SIM_FAULTS").ok().map(|list| places(&list));
        let kept = |place| kept.as_ref().is_none_or(|kept| kept.contains(&place));
        return try_plan(&Plan::random(number("SIM_SEED", 0), kept), true).unwrap();
    }
    let first_only = std::env::var_os("SIM_FIRST").is_some();
    let failed = run_all(number("SIM_BASE", 1), number("SIM_SEEDS", 200), first_only);
    let Some((first, _)) = failed.first() else { return };
    for (seed, what) in &failed {
        println!("seed {seed}: {what}\n  {}", command(*seed, ""));
    }
    println!("first seed that fails: {first}");
    if !first_only {
        failed.iter().take(SHRUNK_MAX).for_each(|(seed, _)| println!("seed {seed}:\n{}", reduced(*seed)));
    }
    panic!("{} seeds failed: {:?}", failed.len(), failed.iter().map(|(seed, _)| seed).collect::<Vec<_>>());
}

/// The seeds that fail, and how; with `first_only` none behind the first that does.
fn run_all(base: u64, count: u64, first_only: bool) -> Vec<(u64, String)> {
    let next = AtomicU64::new(base);
    let end = AtomicU64::new(base + count);
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.load(Ordering::Relaxed) {
                break;
            }
            if let Err(what) = try_plan(&Plan::random(seed, |_| true), false) {
                failed.lock().expect("no panic while it is held").push((seed, what));
                if first_only {
                    end.fetch_min(seed, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut failed = failed.into_inner().expect("all threads ended");
    failed.sort();
    failed
}

#[test]
fn what_a_failure_needs_is_kept_and_nothing_else() {
    for needed in [vec![], vec![0], vec![9], vec![0, 9], vec![3, 4, 7], (0..10).collect()] {
        let fails = |kept: &[usize]| needed.iter().all(|n| kept.contains(n));
        assert_eq!(smallest((0..10).collect(), fails), needed);
    }
    // Either of two does.
    assert_eq!(smallest((0..10).collect(), |kept| kept.contains(&2) || kept.contains(&5)).len(), 1);
    assert_eq!(smallest(Vec::new(), |_| true), []);
}

#[test]
fn a_fault_left_out_leaves_the_others_as_they_are() {
    for seed in 0..50 {
        let all = Plan::random(seed, |_| true).troubles;
        let Some(gone) = all.len().checked_sub(1).map(|last| seed as usize % (last + 1)) else { continue };
        let rest = Plan::random(seed, |place| place != gone).troubles;
        let expected: Vec<_> = all.into_iter().filter(|(place, _)| *place != gone).collect();
        assert_eq!(format!("{rest:?}"), format!("{expected:?}"));
    }
    assert_eq!(places("2,7").into_iter().collect::<Vec<_>>(), [2, 7]);
    assert!(places("").is_empty());
}
