//! Options of the commands about eBPF programs and what they and nodes count.

use super::backend::XdpModeArg;
use crate::units;
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::time::Duration;

/// eBPF programs on this host's interfaces.
#[derive(Clone, Debug, Args)]
pub(crate) struct EbpfArgs {
    #[command(subcommand)]
    pub(crate) command: EbpfCommand,
}

/// What to do with them.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum EbpfCommand {
    /// Show which XDP and tcx programs run on which interface, ours and others'
    Status(EbpfLookArgs),
    /// Show what our programs count: what became of packets, and the figures of each path
    Stats(EbpfLookArgs),
    /// Attach the XDP program to an interface and pin it, for a node that may not load programs itself
    Attach(EbpfAttachArgs),
    /// Take pinned programs off, also what a node left that crashed
    Detach(EbpfDetachArgs),
}

/// Where to look.
#[derive(Clone, Debug, Args)]
pub(crate) struct EbpfLookArgs {
    /// Only this interface
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to attach.
#[derive(Clone, Debug, Args)]
pub(crate) struct EbpfAttachArgs {
    /// The interface
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: String,
    /// Where the program runs
    #[arg(long, value_name = "MODE", default_value = "native")]
    pub(crate) xdp_mode: XdpModeArg,
    /// The user, by name or number, whose node may take it over; makes /sys/fs/bpf searchable for everybody
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
}

/// What to take off.
#[derive(Clone, Debug, Args)]
pub(crate) struct EbpfDetachArgs {
    /// Only from this interface
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a node does, live.
#[derive(Clone, Debug, Args)]
pub(crate) struct TopArgs {
    /// Time between two pictures
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub(crate) interval: Duration,
    /// Print so many pictures, one after the other, and end
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Where the node tells its metrics: what it was given by --metrics
    #[arg(value_name = "IP:PORT")]
    pub(crate) node: SocketAddr,
}
