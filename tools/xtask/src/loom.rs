//! `long loom`: the models of the lock-free parts in `tools/loom`, in every order of events.

use crate::step::{Outcome, Step};
use crate::workspace;

/// The models, a workspace of their own.
pub(crate) const LOOM: &str = "tools/loom";

/// `long loom [NAME...]`: all models, or those whose names hold a NAME.
///
/// # Errors
/// Format or lints of the models, or an order of events in which a guarantee does not hold.
pub(crate) fn run(args: &[String]) -> Outcome {
    Step::cargo("format of the models", ["fmt", "--check"]).dir(&workspace::root().join(LOOM)).run()?;
    // What the parts expect of their lints holds in their own crates.
    let lints = ["--", "-D", "warnings", "-A", "unfulfilled-lint-expectations"];
    cargo("lints of the models", &["clippy"])?.args(lints).run()?;
    cargo("models", &["run"])?.args(["--"]).args(args).run()
}

/// A cargo command on the models, in the common target folder.
fn cargo(name: &str, words: &[&str]) -> Outcome<Step> {
    let step = Step::cargo(name, words.iter().copied()).args(["--locked", "--target-dir"]);
    Ok(step.args([&workspace::target_dir()?]).dir(&workspace::root().join(LOOM)))
}
