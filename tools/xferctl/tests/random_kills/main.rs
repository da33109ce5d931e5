//! Copies whose client or node is killed at a random instant of its life, and what a rerun makes of it (PRODUCT.md, "Copying, exactly").
//!
//! A kill is drawn from a seed, which is printed: which end dies, in which phase of the copy, how far into it. `KILLS_SEED=S` draws the
//! same ones again; what they meet still depends on the machine. After each one a rerun has to end well, with the right digest, and
//! must not have moved more of the content again than the journal may be behind, and what was granted.

#[path = "../support/mod.rs"]
mod support;
#[path = "../watched/mod.rs"]
mod watched;

mod case;
mod draw;
mod written;

use case::{Case, Met, Scale, Shape};
use draw::{Draw, Phase, Victim};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Kills of each of the four copies in every test run: both ends in each phase.
const KILLS_EACH: u64 = 10;
/// Kills of the long run, unless `KILLS` says how many.
const KILLS: u64 = 1_000;

/// What a run of kills met.
#[derive(Debug, Default)]
struct Counts {
    phases: [u64; Phase::ALL.len()],
    /// The copy had ended.
    late: u64,
    /// Most that a kill cost, in bytes.
    worst: u64,
    took_over: u64,
}

impl Counts {
    fn add(&mut self, met: Met) {
        match met.phase {
            Some(phase) => self.phases[phase as usize] += 1,
            None => self.late += 1,
        }
        self.worst = self.worst.max(met.moved_again);
        self.took_over += u64::from(met.took_over);
    }
}

fn seed() -> u64 {
    let named = std::env::var("KILLS_SEED").ok();
    named.map_or_else(draw::any_seed, |text| text.parse().expect("KILLS_SEED is a number"))
}

/// The kills of one copy of a small size.
fn some_kills(shape: Shape, up: bool) {
    let seed = seed();
    println!("KILLS_SEED={seed}");
    let mut case = Case::new(shape, up, Scale::Light);
    let mut counts = Counts::default();
    for number in 0..KILLS_EACH {
        let draw = Draw::of(seed, number);
        println!("kill {number}: {draw:?}");
        counts.add(case.kill_and_rerun(&draw));
    }
    println!("{counts:?}");
}

#[test]
fn an_upload_of_a_tree() {
    some_kills(Shape::Tree, true);
}

#[test]
fn an_upload_of_one_file() {
    some_kills(Shape::File, true);
}

#[test]
fn a_download_of_a_tree() {
    some_kills(Shape::Tree, false);
}

#[test]
fn a_download_of_one_file() {
    some_kills(Shape::File, false);
}

/// All four copies in turn, in full size: 10,000 files, or one. A kill that fails does not end the run.
#[test]
#[ignore = "long: cargo xtask long kills"]
fn many() {
    let kills = std::env::var("KILLS").map_or(KILLS, |text| text.parse().expect("KILLS is a number"));
    let (seed, started) = (seed(), Instant::now());
    println!("KILLS_SEED={seed} KILLS={kills}");
    let copies = [(Shape::Tree, true), (Shape::File, true), (Shape::Tree, false), (Shape::File, false)];
    let new = |at: usize| Case::new(copies[at].0, copies[at].1, Scale::Full);
    let mut cases: Vec<Case> = (0..copies.len()).map(new).collect();
    let (mut counts, mut failed) = (Counts::default(), Vec::new());
    for number in 0..kills {
        let at = number as usize % copies.len();
        let draw = Draw::of(seed, number / copies.len() as u64);
        match catch_unwind(AssertUnwindSafe(|| cases[at].kill_and_rerun(&draw))) {
            Ok(met) => counts.add(met),
            Err(_) => {
                println!("kill {number} failed: {:?} {draw:?}", copies[at]);
                failed.push(number);
                cases[at] = new(at);
            }
        }
        if (number + 1) % 50 == 0 {
            println!("{} kills in {:.0?}: {counts:?}, failed {failed:?}", number + 1, started.elapsed());
        }
    }
    assert!(failed.is_empty(), "KILLS_SEED={seed}: {} of {kills} failed: {failed:?}", failed.len());
    println!("{kills} of {kills} kills with seed {seed} ended with the right digests: {counts:?}");
}

/// Both ends die in each phase, whatever the seed.
#[test]
fn draws_reach_every_phase_and_end() {
    for victim in [Victim::Client, Victim::Node] {
        for phase in Phase::ALL {
            let found = |number| Draw::of(7, number).victim == victim && Draw::of(7, number).phase == phase;
            assert!((0..KILLS_EACH).any(found), "{victim:?} {phase:?}");
        }
    }
}
