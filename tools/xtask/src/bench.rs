//! `bench`: measurements that compare. In: which, and its options. Out: what the comparison prints and writes.

use crate::setup;
use crate::step::{Failure, Outcome, Step};
use crate::workspace;

const USAGE: &str = "usage: cargo xtask bench compare [--quick] [--only WORKLOAD] [--peers LIST] [--list]";

/// `bench compare OPTIONS...`: builds the product, the lab and the comparison, and runs it as root.
///
/// # Errors
/// Something is missing, does not build, or the comparison failed.
pub(crate) fn run(args: &[String]) -> Outcome {
    let Some(("compare", options)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) else {
        return Err(Failure::usage(USAGE));
    };
    setup::ensure(setup::LAB)?;
    setup::check_namespaces()?;
    let programs = workspace::build_release(&["xferctl", "xfer-lab"])?;
    let words = ["build", "--release", "--bins", "-p", "xfer-compare"];
    Step::cargo("build the comparison", words).run()?;
    let compare = programs.lab.with_file_name("compare");
    setup::as_root(&compare.display().to_string())?.named("bench compare").args(options).run()
}
