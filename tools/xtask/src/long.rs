//! `long WHAT`: checks that take too long for every change. Each ends with a line for `benches/RESULTS.md`.

use std::process::Command;
use std::time::Instant;

use crate::bench;
use crate::coverage;
use crate::dist;
use crate::faults;
use crate::fuzz;
use crate::loom;
use crate::mutants;
use crate::sanitize;
use crate::setup;
use crate::sim;
use crate::step::{Failure, Outcome, Step, output};
use crate::test;
use crate::workspace;

/// Seeds of the long simulation.
const SIM_SEEDS: &str = "200000";
/// The version that `long deny` installs.
const DENY_VERSION: &str = "0.18";

/// A long check; a new one is a line in `JOBS`.
struct Job {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Outcome,
}

const JOBS: &[Job] = &[
    Job {
        name: "sim",
        about: "the simulation over 200,000 seeds, or as `sim [--seeds N] [--base B] [--minutes M]`",
        run: many_seeds,
    },
    Job {
        name: "mutants",
        about: "planted bugs, and the test that finds each; or as `mutants NAME...` those whose names hold a NAME",
        run: mutants::run,
    },
    Job {
        name: "crashes",
        about: "a machine that loses power after each call of a receiver, in many ways, and while it goes on from there",
        run: crashes,
    },
    Job {
        name: "fuzz",
        about: "each fuzz target for half an hour, or as `fuzz [TARGET...] [--minutes M] [--keep]`",
        run: fuzz::run,
    },
    Job {
        name: "deny",
        about: "licences, banned crates and sources, by cargo-deny (installed if missing)",
        run: deny,
    },
    Job {
        name: "loom",
        about: "the lock-free parts in every order of events; or as `loom NAME...` the models whose names hold a NAME",
        run: loom::run,
    },
    Job {
        name: "asan",
        about: "shared memory, pools, frames and what lends them, on the heap under AddressSanitizer",
        run: sanitize::asan,
    },
    Job { name: "valgrind", about: "the same without sockets, under valgrind", run: sanitize::valgrind },
    Job {
        name: "coverage",
        about: "lines of the protocol and of io that no test runs, against the reasons in coverage.toml",
        run: coverage::run,
    },
    Job { name: "copies", about: "whole files over a long, lossy wire in the lab, five seeds", run: copies },
    Job {
        name: "verdicts",
        about: "`limited_by` where a processor is the limit, on a machine that is otherwise free",
        run: verdicts,
    },
    Job {
        name: "kills",
        about: "either end killed at 1,000 random instants, or as `kills [--count N] [--seed S]`",
        run: faults::kills,
    },
    Job {
        name: "rough",
        about: "10 GiB over two unequal, lossy wires, a cut, two kills, or as `rough [--mib N]`",
        run: faults::rough,
    },
    Job {
        name: "soak",
        about: "an hour of copies amid random faults: neither end grows; or as `soak [--minutes M] [--seed S]`",
        run: faults::soak,
    },
    Job {
        name: "wan",
        about: "targets of long and of several wires in the lab, or as `wan CASE...` those whose names hold a CASE",
        run: wan,
    },
    Job {
        name: "dist",
        about: "packages as users get them: made, then each installed, tried and removed; or as `dist --root DIR` upon the system there",
        run: packages,
    },
    Job {
        name: "floods",
        about: "a transfer beside forged packets and a node under a handshake flood, or as `floods CASE...`",
        run: floods,
    },
];

/// `long [WHAT [ARGS...]]`.
///
/// # Errors
/// There is no such job, or it failed; the line for the records is printed all the same.
pub(crate) fn run(args: &[String]) -> Outcome {
    let Some((name, rest)) = args.split_first() else {
        println!("cargo xtask long WHAT:");
        JOBS.iter().for_each(|job| println!("  {:<8} {}", job.name, job.about));
        return Ok(());
    };
    let job = JOBS.iter().find(|job| job.name == name);
    let job =
        job.ok_or_else(|| Failure::usage(format!("no long job `{name}`; `cargo xtask long` lists them")))?;
    let commit = workspace::commit()?;
    let day = output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let started = Instant::now();
    let outcome = (job.run)(rest);
    let result = if outcome.is_ok() { "passed" } else { "failed" };
    println!("\n| date | commit | command | wall time | result |\n|---|---|---|---|---|");
    println!("{}", record(&day, &commit, args, started.elapsed().as_secs(), result));
    outcome
}

/// One row of the table of long runs.
fn record(day: &str, commit: &str, args: &[String], seconds: u64, result: &str) -> String {
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!(
        "| {day} | {commit} | `cargo xtask long {}` | {minutes} min {seconds} s | {result} |",
        args.join(" ")
    )
}

fn many_seeds(args: &[String]) -> Outcome {
    let mut all = args.to_vec();
    if !args.iter().any(|arg| arg == "--seeds" || arg == "--minutes") {
        all.extend(["--seeds".to_owned(), SIM_SEEDS.to_owned()]);
    }
    sim::run(&all)
}

fn crashes(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err(Failure::usage("long crashes takes no arguments"));
    }
    let words =
        ["test", "-p", "xfer-engine", "--lib", "sink::tests::power", "--", "--ignored", "--nocapture"];
    Step::cargo("crashes", words).run()
}

fn copies(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err(Failure::usage("long copies takes no arguments"));
    }
    test::in_lab(&["--release", "--test", "copy_wires"], &["--ignored"])
}

fn verdicts(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err(Failure::usage("long verdicts takes no arguments"));
    }
    test::in_lab(&["--release", "--test", "limited"], &["--ignored"])
}

fn wan(args: &[String]) -> Outcome {
    setup::ensure(setup::LAB)?;
    setup::ensure(setup::PEERS)?;
    let mut options = vec!["--ignored", "--nocapture"];
    options.extend(args.iter().map(String::as_str));
    test::in_lab(&["--release", "--test", "targets"], &options)
}

fn floods(args: &[String]) -> Outcome {
    setup::ensure(setup::LAB)?;
    let mut options = vec!["--ignored", "--nocapture"];
    options.extend(args.iter().map(String::as_str));
    test::in_lab(&["--release", "--test", "hostile"], &options)
}

fn packages(args: &[String]) -> Outcome {
    let mut all = vec!["--check".to_owned()];
    all.extend_from_slice(args);
    dist::run(&all)
}

fn deny(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err(Failure::usage("long deny takes no arguments"));
    }
    if !has_deny() {
        Step::cargo("install cargo-deny", ["install", "--locked", "cargo-deny", "--version", DENY_VERSION])
            .run()?;
    }
    run_deny()
}

/// Whether cargo-deny is installed.
pub(crate) fn has_deny() -> bool {
    let installed = workspace::cargo_home().is_some_and(|home| home.join("bin/cargo-deny").exists());
    installed || setup::find_program("cargo-deny").is_some()
}

/// Checks licences, banned crates and sources. Advisories need the network and are not part of it.
///
/// # Errors
/// A crate breaks a rule of deny.toml.
pub(crate) fn run_deny() -> Outcome {
    let rules = ["check", "--config", "deny.toml", "licenses", "bans", "sources"];
    for folder in ["", bench::QUIC, loom::LOOM] {
        let manifest = workspace::root().join(folder).join("Cargo.toml").display().to_string();
        let words = ["deny", "--locked", "--manifest-path", &manifest].into_iter().chain(rules);
        Step::cargo("cargo deny", words).run()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_row() {
        let args = ["sim".to_owned(), "--seeds".to_owned(), "5".to_owned()];
        assert_eq!(
            record("2026-01-31", "abc123+", &args, 61, "passed"),
            "| 2026-01-31 | abc123+ | `cargo xtask long sim --seeds 5` | 1 min 1 s | passed |"
        );
    }

    #[test]
    fn an_unknown_job_is_a_usage_error() {
        assert_eq!(run(&["nothing".to_owned()]).unwrap_err().code(), 2);
    }
}
