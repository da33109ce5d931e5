//! Options of `bench`.

use super::copy::{DigestArg, NetworkArgs};
use super::serve::{ListenArgs, WorkerArgs};
pub(crate) use super::stages::BenchStagesArgs;
use crate::units;
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::time::Duration;

/// Measure.
#[derive(Clone, Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

/// What to measure.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Serve memory to `bench run` and no files: prints a link
    #[command(after_help = super::exit_codes_help())]
    Serve(Box<ListenArgs>),
    /// Measure how fast content moves from memory to memory, to or from a node that `bench serve` runs
    #[command(after_help = super::exit_codes_help())]
    Run(Box<BenchRunArgs>),
    /// Measure what each stage of a transfer costs on this machine, alone on one core, and how fast all of them allow transfers to be
    #[command(after_help = super::exit_codes_help())]
    Stages(BenchStagesArgs),
}

/// Measure a node.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchRunArgs {
    /// The link that `bench serve` printed, or NODE:
    #[arg(value_name = "LINK")]
    pub(crate) node: OsString,
    /// How long content is sent, in seconds or as 1m30s; chunks that were begun by then are waited for
    #[arg(long, value_name = "N", value_parser = units::seconds, default_value = "10")]
    pub(crate) seconds: Duration,
    /// Let the node send
    #[arg(long, conflicts_with = "bidir")]
    pub(crate) reverse: bool,
    /// Let both ends send at the same time
    #[arg(long)]
    pub(crate) bidir: bool,
    /// Send messages of 1 KiB, each when the one before was accepted, and tell how long they took
    #[arg(long, conflicts_with_all = ["reverse", "bidir"])]
    pub(crate) latency: bool,
    /// Size of the memory that is sent again and again; the default one stays in the processor's cache
    #[arg(long, value_name = "SIZE", value_parser = units::size, default_value = "256KiB")]
    pub(crate) source: u64,
    /// How often to tell what came in between
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "1s")]
    pub(crate) interval: Duration,
    /// Print JSON lines; the last one is of type `summary`
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten, next_help_heading = "Network")]
    pub(crate) network: NetworkArgs,
    #[command(flatten, next_help_heading = "Content")]
    pub(crate) content: BenchContentArgs,
    #[command(flatten, next_help_heading = "Machine")]
    pub(crate) workers: WorkerArgs,
}

/// What becomes of content.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchContentArgs {
    /// How content is verified
    #[arg(long, value_name = "ALGORITHM", default_value = "none")]
    pub(crate) digest: DigestArg,
    /// Size of a chunk, a power of two from 64KiB to 64MiB; one of at most --source is sent from where it is
    #[arg(long, value_name = "SIZE", value_parser = units::chunk_log2, default_value = "256KiB")]
    pub(crate) chunk: u8,
}
