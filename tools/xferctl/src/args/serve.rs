//! Options of nodes, and what either end tells its engine.

use crate::limits::WORKERS_MAX;
use crate::units;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Serve directories.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// A directory to serve, or several with a name each; a directory with `=` in its name is written ./a=b
    #[arg(long, value_name = "DIR|NAME=DIR")]
    pub(crate) root: Vec<OsString>,
    /// Write nothing beneath the roots
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Let clients ask for transfers without digests
    #[arg(long)]
    pub(crate) allow_unverified: bool,
    #[command(flatten)]
    pub(crate) node: ListenArgs,
}

/// What a node needs, whatever it serves.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListenArgs {
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

/// How the engine uses this machine.
#[derive(Clone, Debug, Args)]
pub(crate) struct WorkerArgs {
    /// Cores to pin workers to, of those that this process may use, as 0,2-4 [default: all]
    #[arg(long, value_name = "LIST", value_parser = units::cores)]
    pub(crate) cores: Option<Cores>,
    /// Worker threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=WORKERS_MAX))]
    pub(crate) workers: Option<u64>,
    /// How workers wait
    #[arg(long, value_name = "HOW", default_value = "adaptive")]
    pub(crate) poll: PollArg,
}

/// One value of the command line that is a list.
pub(crate) type Cores = std::vec::Vec<usize>;

/// How workers wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PollArg {
    /// Spin while a transfer runs, and let the kernel poll the device where it may
    Busy,
    /// Spin a short time, then sleep
    Adaptive,
}
