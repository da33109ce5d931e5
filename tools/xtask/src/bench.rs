//! `bench`: what the engine's parts cost, and how the whole compares. In: which bench, and its options. Out: times by criterion,
//! instructions against the committed counts, or what the comparison prints and writes.

use crate::counts;
use crate::setup;
use crate::step::{Failure, Outcome, Step};
use crate::workspace;

const USAGE: &str = "usage: cargo xtask bench compare [--quick | --record | --report] [--only WORKLOAD] [--peers LIST] [--list] | micro [FILTER] | counts [--bless]";

/// Memory to memory over QUIC libraries, a package of its own.
pub(crate) const QUIC: &str = "benches/compare/quic";

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
    quic("tests of the QUIC programs", &["test", "--release"])?.run()?;
    quic("build the QUIC programs", &["build", "--release"])?.run()?;
    let compare = programs.lab.with_file_name("compare");
    setup::as_root(&compare.display().to_string())?.named("bench compare").args(options).run()
}

/// Format and lints of the QUIC programs, which are not members of the workspace: no build but that of the comparison needs them.
///
/// # Errors
/// They have findings.
pub(crate) fn lint_quic() -> Outcome {
    let dir = workspace::root().join(QUIC);
    Step::cargo("format of the QUIC programs", ["fmt", "--check"]).dir(&dir).run()?;
    quic("lints of the QUIC programs", &["clippy", "--all-targets"])?.args(["--", "-D", "warnings"]).run()
}

/// A cargo command on the QUIC programs. They share the target folder, so that their program lies beside the others and what both
/// use is built once.
fn quic(name: &str, words: &[&str]) -> Outcome<Step> {
    let step = Step::cargo(name, words.iter().copied()).args(["--locked", "--target-dir"]);
    Ok(step.args([&workspace::target_dir()?]).dir(&workspace::root().join(QUIC)))
}
