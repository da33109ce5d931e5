//! The xfer tool: copies, serves, lists, diagnoses.
//!
//! In: a command line and settings. Out: data on stdout, everything else on stderr, an exit code. What happens is in `xfer-client` and
//! `xfer-node`; here it is asked for and shown.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod cat;
mod complain;
mod copy;
mod doctor;
mod ebpf;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod hash;
mod json;
mod limits;
mod logfmt;
mod logging;
mod look;
mod manual;
mod names;
mod nodes;
mod output;
mod progress;
mod serve;
mod settings;
mod signals;
mod top;
mod units;

use args::{Command, ConfigCommand, NodeCommand};
use clap::{CommandFactory as _, FromArgMatches as _};
use std::process::ExitCode;
use std::time::Instant;
use xfer_client::{Class, Error};

/// Runs the command line of this process to its exit code.
pub fn main() -> ExitCode {
    let started = Instant::now();
    let words: Vec<_> = std::env::args_os().collect();
    let resolved = match settings::resolve(args::Cli::command(), &words) {
        Ok(resolved) => resolved,
        Err(settings::Unreadable::Usage(error)) => return refuse(&error),
        Err(settings::Unreadable::Settings(error)) => return ended(Err(error)),
    };
    match args::Cli::from_arg_matches(&resolved.matches) {
        Ok(cli) => ended(run(cli, &resolved, started)),
        Err(error) => refuse(&error.format(&mut args::Cli::command())),
    }
}

/// Prints help, the version, or what is wrong with the command line.
fn refuse(error: &clap::Error) -> ExitCode {
    // Without a place to print to there is still the exit code.
    error.print().unwrap_or_default();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Class::Other.exit_code()))
}

/// Runs a command to its exit code.
fn run(cli: args::Cli, resolved: &settings::Resolved, started: Instant) -> Result<u8, Error> {
    let _log = logging::start(&cli.global, cli.command.is_node())?;
    // Files that wait for their names, transfers and connections all hold some.
    let descriptors = xfer_client::raise_descriptor_limit();
    tracing::debug!(descriptors, "this process may have so many files and sockets open");
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Cp(args) => copy::run(&args, &cli.global, resolved.command_matches(), started),
        Command::Ls(args) => look::list(&args),
        Command::Stat(args) => look::stat(&args),
        Command::Cat(args) => cat::run(&args),
        Command::Hash(args) => hash::run(&args),
        Command::Node(args) => match args.command {
            NodeCommand::Add { name, link } => nodes::add(&name, &link),
            NodeCommand::Ls { json } => nodes::list(json),
            NodeCommand::Rm { names } => nodes::remove(&names),
        },
        Command::Bench(args) => bench::run(args, &cli.global),
        Command::Doctor(args) => doctor::run(&args),
        Command::Ebpf(args) => ebpf::run(&args.command),
        Command::Top(args) => top::run(&args),
        Command::Config(args) => match args.command {
            ConfigCommand::Show(args) => settings::show::run(&args, args::Cli::command()),
        },
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { directory } => manual::pages(&directory),
    }
}

/// The exit code of a command, its error told.
fn ended(result: Result<u8, Error>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain::complain(&error);
            ExitCode::from(error.class.exit_code())
        }
    }
}
