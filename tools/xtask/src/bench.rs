//! `bench`: what the engine's parts cost, and how the whole compares. In: which bench, and its options. Out: times by criterion,
//! instructions against the committed counts, or what the comparison prints and writes.

use crate::counts;
use crate::setup;
use crate::step::{Failure, Outcome, Step};
use crate::workspace;

const USAGE: &str = "usage: cargo xtask bench compare [--quick] [--only WORKLOAD] [--peers LIST] [--list] | micro [FILTER] | counts [--bless]";

/// `bench WHAT [ARGS...]`.
///
/// # Errors
/// A wrong command line, or what the bench reports.
pub(crate) fn run(args: &[String]) -> Outcome {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["compare", ..] => compare(&args[1..]),
        ["micro"] => micro(None),
        ["micro", filter] if !filter.starts_with('-') => micro(Some(filter)),
        ["counts"] => counts::check(),
        ["counts", "--bless"] => counts::bless(),
        _ => Err(Failure::usage(USAGE)),
    }
}

/// Times of the cases whose name holds `filter`.
fn micro(filter: Option<&str>) -> Outcome {
    Step::cargo("micro benches", ["bench", "--locked", "-p", "xfer-benches", "--bench", "micro", "--"])
        .args(filter)
        .run()
}

/// Builds the product, the lab and the comparison, and runs it as root.
fn compare(options: &[String]) -> Outcome {
    setup::ensure(setup::LAB)?;
    setup::check_namespaces()?;
    let programs = workspace::build_release(&["xferctl", "xfer-lab"])?;
    let words = ["build", "--release", "--bins", "-p", "xfer-compare"];
    Step::cargo("build the comparison", words).run()?;
    let compare = programs.lab.with_file_name("compare");
    setup::as_root(&compare.display().to_string())?.named("bench compare").args(options).run()
}
