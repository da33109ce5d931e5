//! Options of the commands that look and of those that keep the tool's own records.

use crate::units;
use clap::{Args, Subcommand};
use std::ffi::OsString;

/// List a directory of a node.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Show kind, mode, size and time
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Descend into directories
    #[arg(short, long, visible_short_alias = 'R')]
    pub(crate) recursive: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// What to list: NODE:PATH or LINK/PATH
    #[arg(required = true, value_name = "LOCATION")]
    pub(crate) locations: Vec<OsString>,
}

/// Describe files of a node.
#[derive(Clone, Debug, Args)]
pub(crate) struct StatArgs {
    /// Also digest a regular file, by reading it there
    #[arg(long)]
    pub(crate) digest: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// What to describe: NODE:PATH or LINK/PATH
    #[arg(required = true, value_name = "LOCATION")]
    pub(crate) locations: Vec<OsString>,
}

/// Write content of a node's files to standard output.
#[derive(Clone, Debug, Args)]
pub(crate) struct CatArgs {
    /// Begin at this byte of each file
    #[arg(long, value_name = "SIZE", value_parser = units::size, default_value = "0")]
    pub(crate) offset: u64,
    /// At most this much of each file [default: all]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) length: Option<u64>,
    /// What to write: NODE:PATH or LINK/PATH
    #[arg(required = true, value_name = "LOCATION")]
    pub(crate) locations: Vec<OsString>,
}

/// Print digests.
#[derive(Clone, Debug, Args)]
pub(crate) struct HashArgs {
    /// Files, here or on nodes; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<OsString>,
}

/// Names of links.
#[derive(Clone, Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    pub(crate) command: NodeCommand,
}

/// What to do with names.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Name a link
    Add {
        /// The name: letters, digits, `.`, `_` and `-`
        name: String,
        /// The link; @FILE or `-` (standard input) keep it out of the list of processes
        #[arg(value_name = "LINK|@FILE|-")]
        link: OsString,
    },
    /// List names and addresses; tokens are not shown
    #[command(visible_alias = "list")]
    Ls {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Forget names
    Rm {
        /// The names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

/// Tell what this host can do.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// A node to reach: NODE: or a link
    #[arg(value_name = "LINK")]
    pub(crate) node: Option<OsString>,
}

/// Settings.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// What to do with settings.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show the settings that commands would run with
    Show(ShowArgs),
}

/// Which settings to show.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowArgs {
    /// Say where each one comes from
    #[arg(long)]
    pub(crate) origin: bool,
    /// Only those of this command
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
}
