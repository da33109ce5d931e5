//! Options of nodes, and what either end tells its engine.

use super::backend::BackendArgs;
use crate::limits::{CALLS_PER_S_MAX, CONNECTIONS_MAX, TRANSFERS_MAX, WORKERS_MAX};
use crate::units;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Write the link to this file, readable by its owner alone, and not to standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) link_file: Option<PathBuf>,
    /// Write a JSON line for each transfer that ended or was refused to the end of this file; - is standard output
    #[arg(long, value_name = "FILE|-")]
    pub(crate) audit: Option<PathBuf>,
    /// TCP address that tells metrics to Prometheus, at /metrics, without a token
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Count packets, gaps and order of each path by eBPF programs on the interfaces of data; needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON
    #[arg(long)]
    pub(crate) watch_network: bool,
    #[command(flatten)]
    pub(crate) caps: CapArgs,
    #[command(flatten)]
    pub(crate) workers: WorkerArgs,
    /// Print JSON lines; the first one is of type `ready` and holds the link
    #[arg(long)]
    pub(crate) json: bool,
}

/// What clients may have of a node. A client is a host: all that comes from one address.
#[derive(Clone, Debug, Args)]
pub(crate) struct CapArgs {
    /// Control connections at once
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=CONNECTIONS_MAX))]
    pub(crate) max_connections: u32,
    /// Control connections of one client at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=CONNECTIONS_MAX))]
    pub(crate) max_connections_per_client: u32,
    /// Transfers at once, those that wait for their connection included
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=TRANSFERS_MAX))]
    pub(crate) max_transfers: u32,
    /// Transfers of one client at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=TRANSFERS_MAX))]
    pub(crate) max_transfers_per_client: u32,
    /// Calls of one client in a second on average; those of five seconds may come at once
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=CALLS_PER_S_MAX))]
    pub(crate) max_calls_per_client: u32,
    /// How long a transfer may go without anything of it moving before it is ended
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = units::duration)]
    pub(crate) max_stall: Duration,
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
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
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
