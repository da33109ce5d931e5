//! Options of `bench`.

use super::copy::{CcArg, DigestArg, path_choice};
use super::serve::{ServeArgs, WorkerArgs};
pub(crate) use super::stages::BenchStagesArgs;
use crate::units;
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use xfer_client::paths::PathChoice;

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
    Serve(BenchServeArgs),
    /// Measure how fast content moves from memory to memory, to or from a node that `bench serve` runs
    #[command(after_help = super::exit_codes_help())]
    Run(Box<BenchRunArgs>),
    /// Measure what each stage of a transfer costs on this machine, alone on one core, and how fast all of them allow transfers to be
    #[command(after_help = super::exit_codes_help())]
    Stages(BenchStagesArgs),
}

/// Serve memory.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchServeArgs {
    /// TCP address for control [default: port 7700 of every address]
    #[arg(long, value_name = "IP:PORT", value_delimiter = ',')]
    pub(crate) listen: Vec<String>,
    /// UDP address for data [default: as --listen]
    #[arg(long, value_name = "IP[:PORT]", value_delimiter = ',')]
    pub(crate) data: Vec<String>,
    /// Let clients ask for unencrypted content
    #[arg(long)]
    pub(crate) allow_plain: bool,
    /// Where identity and token are kept [default: $XDG_STATE_HOME/xfer]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) workers: WorkerArgs,
    /// Print JSON lines; the first one is of type `ready` and holds the link
    #[arg(long)]
    pub(crate) json: bool,
}

impl BenchServeArgs {
    /// As options of `serve`: nothing is written, and whether content is verified is the client's choice.
    pub(crate) fn into_serve(self) -> ServeArgs {
        ServeArgs {
            root: Vec::new(),
            listen: self.listen,
            data: self.data,
            read_only: true,
            allow_plain: self.allow_plain,
            allow_unverified: true,
            state: self.state,
            workers: self.workers,
            json: self.json,
        }
    }
}

/// Measure a node.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchRunArgs {
    /// The link that `bench serve` printed, or NODE:
    #[arg(value_name = "LINK")]
    pub(crate) node: OsString,
    /// How long content is sent, in seconds or as 1m30s; what is on its way then is waited for
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
    pub(crate) network: BenchNetworkArgs,
    #[command(flatten, next_help_heading = "Content")]
    pub(crate) content: BenchContentArgs,
    #[command(flatten, next_help_heading = "Machine")]
    pub(crate) workers: WorkerArgs,
}

/// How packets go.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchNetworkArgs {
    /// Send from this address (to this one); repeat it for several paths [default: one path for each NIC]
    #[arg(long, value_name = "LOCAL_IP[=REMOTE_IP]", value_delimiter = ',', value_parser = path_choice)]
    pub(crate) path: Vec<PathChoice>,
    /// How paths find their rate; `fixed` needs --rate
    #[arg(long, value_name = "ALGORITHM", default_value = "bbr")]
    pub(crate) cc: CcArg,
    /// Cap of each direction, as 1Gbit or 50MiB a second; with --cc fixed the rate of each path
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) rate: Option<u64>,
    /// Send content unencrypted, where the node allows it
    #[arg(long)]
    pub(crate) no_encrypt: bool,
    /// How long to try to connect
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "10s")]
    pub(crate) connect_timeout: Duration,
}

/// What becomes of content.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchContentArgs {
    /// How content is verified
    #[arg(long, value_name = "ALGORITHM", default_value = "none")]
    pub(crate) digest: DigestArg,
    /// Size of a chunk, a power of two from 64KiB to 64MiB [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::chunk_log2)]
    pub(crate) chunk: Option<u8>,
}
