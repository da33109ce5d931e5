//! `cp`: from the command line to a request, and from what happens to what is shown.

mod explain;
mod report;
mod request;
mod summary;

pub(crate) use request::moving;
pub(crate) use summary::PathLine;

use crate::args::{CopyArgs, GlobalArgs};
use crate::complain;
use crate::output;
use crate::signals;
use clap::ArgMatches;
use report::Reporter;
use std::time::Instant;
use xfer_client::{Class, Error, Summary, copy};

/// Copies, and tells how it went.
pub(crate) fn run(
    args: &CopyArgs,
    global: &GlobalArgs,
    matches: &ArgMatches,
    started: Instant,
) -> Result<u8, Error> {
    let mut reporter = Reporter::new(args, global)?;
    let summary = match copied(args, matches, started, &mut reporter) {
        Ok(summary) => summary,
        Err(error) if error.class == Class::Usage => return Err(error),
        Err(error) => failed(error, started),
    };
    reporter.end(&summary)?;
    if let Some(error) = &summary.error {
        complain::complain(error);
    }
    Ok(summary.exit_code())
}

fn copied(
    args: &CopyArgs,
    matches: &ArgMatches,
    started: Instant,
    reporter: &mut Reporter,
) -> Result<Summary, Error> {
    let mut request = request::of(args, matches, started)?;
    let first = || output::tell("xferctl: ending, what arrived is kept (once more: end at once)");
    let asked = signals::watch(Class::Interrupted.exit_code(), first, output::abandon_lines)?;
    request.cancel = asked.cancel;
    copy(&request, &mut |event| reporter.take(event))
}

/// The summary of a copy that did not begin.
fn failed(error: Error, started: Instant) -> Summary {
    Summary { seconds: started.elapsed().as_secs_f64(), error: Some(error), ..Summary::default() }
}
