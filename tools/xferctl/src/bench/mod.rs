//! `bench`: what this machine and the engine on it can do.

mod stages;

use crate::args::{BenchArgs, BenchCommand};
use xfer_client::Error;

/// Runs a command of `bench`.
pub(crate) fn run(args: &BenchArgs) -> Result<u8, Error> {
    match &args.command {
        BenchCommand::Stages(args) => stages::run(args),
    }
}
