//! `lab`: builds the lab and becomes it, as root.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::setup;
use crate::step::{Failure, Outcome};
use crate::workspace;

/// `lab ARGS...`: what the arguments mean is the lab's own affair.
///
/// # Errors
/// The lab cannot be built or started; otherwise this does not return, and the lab's exit code is the verb's.
pub(crate) fn run(args: &[String]) -> Outcome {
    setup::ensure(setup::LAB)?;
    let lab = workspace::build_release(&["xfer-lab"])?.lab;
    let mut words = setup::root_prefix()?;
    words.push(lab.display().to_string());
    let cause = Command::new(&words[0]).args(&words[1..]).args(args).exec();
    Err(Failure::new(format!("start {}: {cause}", lab.display())))
}
