//! `top`: what a node does, live, from its metrics.

mod scrape;
mod view;

use crate::args::TopArgs;
use crate::output::{self, Stdout};
use crate::signals;
use scrape::Scrape;
use std::io::IsTerminal as _;
use std::sync::mpsc::RecvTimeoutError;
use xfer_client::{Class, Error};

/// Shows a picture each interval: on a terminal in place of the one before, else on stdout, one after the other.
pub(crate) fn run(args: &TopArgs) -> Result<u8, Error> {
    let asked = signals::watch(Class::Interrupted.exit_code(), || {}, output::abandon_lines)?;
    let drawn = args.count.is_none() && std::io::stderr().is_terminal();
    let mut stdout = Stdout::new();
    let mut before = Scrape::take(args.node)?;
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        match asked.told.recv_timeout(args.interval) {
            Err(RecvTimeoutError::Timeout) => {}
            // Whoever watches has seen enough: that is how it ends.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
        }
        let now = match Scrape::take(args.node) {
            Ok(now) => now,
            Err(error) => {
                output::end_lines();
                return Err(error);
            }
        };
        let lines = view::lines(&before, &now);
        if drawn {
            output::show_lines(|_| lines);
        } else {
            stdout.write(lines.join("\n").as_bytes())?;
            stdout.write(b"\n\n")?;
            stdout.flush()?;
        }
        before = now;
        left -= 1;
    }
    output::end_lines();
    Ok(0)
}
