//! `bench`: what the engine does on this machine and over this network, from memory to memory.

mod report;
mod run;
mod serve;
mod stages;

use crate::args::{BenchArgs, BenchCommand, GlobalArgs};
use xfer_client::Error;

/// Runs a command of `bench`.
pub(crate) fn run(args: BenchArgs, global: &GlobalArgs) -> Result<u8, Error> {
    match args.command {
        BenchCommand::Serve(args) => serve::run(*args),
        BenchCommand::Run(args) => run::run(&args, global),
        BenchCommand::Stages(args) => stages::run(&args),
    }
}
