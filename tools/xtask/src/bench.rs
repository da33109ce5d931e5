//! `bench`: what the engine's parts cost. In: which bench. Out: times by criterion, or instructions against the committed counts.

use crate::counts;
use crate::step::{Failure, Outcome, Step};

const USAGE: &str = "usage: cargo xtask bench micro [FILTER] | counts [--bless]";

/// `bench WHAT [ARGS...]`.
///
/// # Errors
/// A wrong command line, or what the bench reports.
pub(crate) fn run(args: &[String]) -> Outcome {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
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
