//! `ci`: format, lints, docs, drift, licences and counts, then the simulation over many seeds, then `test`: what `.ci/run` calls.

use std::time::Instant;

use crate::bench;
use crate::counts;
use crate::generate;
use crate::long;
use crate::sim;
use crate::step::{Failure, Outcome, Step};
use crate::test;

/// `ci`.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err(Failure::usage("usage: cargo xtask ci"));
    }
    let started = Instant::now();
    Step::cargo("format", ["fmt", "--all", "--check"]).run()?;
    Step::cargo("lints", ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])
        .run()?;
    test::lint_no_std()?;
    bench::lint_quic()?;
    Step::cargo("docs", ["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings").run()?;
    generate::run(&["--check".to_owned()])?;
    if long::has_deny() {
        long::run_deny()?;
    } else {
        eprintln!(
            "==> cargo deny: not run, it is not installed; `cargo xtask long deny` installs and runs it"
        );
    }
    counts::check()?;
    sim::seeds(0, sim::SEEDS_OF_CI)?;
    test::run(&[])?;
    eprintln!("ci: all steps passed in {:.0} min", started.elapsed().as_secs_f64() / 60.0);
    Ok(())
}
