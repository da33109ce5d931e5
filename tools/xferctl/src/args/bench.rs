//! Options of `bench`.

pub(crate) use super::stages::BenchStagesArgs;
use clap::{Args, Subcommand};

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
    /// Measure what each stage of a transfer costs on this machine, alone on one core, and how fast all of them allow transfers to be
    #[command(after_help = super::exit_codes_help())]
    Stages(BenchStagesArgs),
}
