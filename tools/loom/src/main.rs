//! Models of the engine's lock-free parts. In: names of models, or nothing for all. Out: how many orders of events each was tried in.
//!
//! The parts are compiled from the engine's own files, with loom's atomics for theirs (`sync.rs`); loom then runs each model in every
//! order that the memory model allows, with a bound on how often a thread is interrupted. What a part guards stands in the models as a
//! cell whose accesses loom checks: two at once, or one that does not follow from the other, end the program.
//!
//! Not here: the queues between threads, which are crossbeam's (`channel`, `ArrayQueue`) and are tested there.

extern crate alloc;

#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../../../engine/io/src/borrows.rs"]
mod borrows;
#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../../../engine/proto/src/claim.rs"]
mod claim;
#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../../../engine/io/src/clock.rs"]
mod clock;
#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../../../engine/io/src/error.rs"]
mod error;
mod limits;
#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../../../engine/io/src/memory.rs"]
mod memory;
mod models;
#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../../../engine/io/src/pages.rs"]
mod pages;
#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../../../engine/io/src/pool.rs"]
mod pool;
#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../../../engine/io/src/registered.rs"]
mod registered;
mod sync;
#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../../../engine/io/src/wake.rs"]
mod wake;
mod xdp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often a thread may be interrupted where it could go on.
const PREEMPTIONS: usize = 3;

fn main() {
    let picked: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| picked.is_empty() || picked.iter().any(|part| name.contains(part.as_str()));
    let mut tried = 0;
    for (name, model) in models::MODELS.iter().filter(|(name, _)| wanted(name)) {
        let orders = Arc::new(AtomicU64::new(0));
        let count = orders.clone();
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(PREEMPTIONS);
        builder.check(move || {
            count.fetch_add(1, Ordering::Relaxed);
            model();
        });
        println!("{name}: {} orders", orders.load(Ordering::Relaxed));
        tried += 1;
    }
    assert!(tried > 0, "no model is named so");
}
