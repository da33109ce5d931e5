//! Options of `cp`.

use super::serve::WorkerArgs;
use crate::units;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use xfer_client::CongestionControl;
use xfer_client::paths::PathChoice;

/// Copy files and directories.
#[derive(Clone, Debug, Args)]
pub(crate) struct CopyArgs {
    /// Copy directories with what is in them
    #[arg(short, long, visible_short_alias = 'R')]
    pub(crate) recursive: bool,
    /// What to copy, then where to; one side is local, the other NODE:PATH or LINK/PATH; `-` is stdin or stdout
    #[arg(required = true, num_args = 2.., value_names = ["SRC", "DST"])]
    pub(crate) locations: Vec<OsString>,
    /// Show what would be copied to where, and copy nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Tell which paths and settings were chosen and how fast that can be; with --dry-run without copying
    #[arg(long)]
    pub(crate) explain: bool,
    /// Print JSON lines; the last one is of type `summary`
    #[arg(long)]
    pub(crate) json: bool,
    /// How to tell progress
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: ProgressArg,
    #[command(flatten, next_help_heading = "Which files")]
    pub(crate) selection: SelectionArgs,
    #[command(flatten, next_help_heading = "Network")]
    pub(crate) network: NetworkArgs,
    #[command(flatten, next_help_heading = "Content")]
    pub(crate) content: ContentArgs,
    #[command(flatten, next_help_heading = "Limits")]
    pub(crate) limits: LimitArgs,
    #[command(flatten, next_help_heading = "Machine")]
    pub(crate) workers: WorkerArgs,
}

/// Which files.
#[derive(Clone, Debug, Args)]
pub(crate) struct SelectionArgs {
    /// When a file that is there counts as the same and is skipped
    #[arg(long, value_name = "BY", default_value = "mtime")]
    pub(crate) compare: CompareArg,
    /// Replace only what is older than the source
    #[arg(short, long)]
    pub(crate) update: bool,
    /// Replace nothing
    #[arg(long, conflicts_with = "update")]
    pub(crate) no_clobber: bool,
    /// Take what matches the glob (as in gitignore, relative to the source); the first of all --include and --exclude that matches decides
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    /// Leave out what matches the glob
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Take only the paths listed in this file, one a line, relative to the only source, directories with what is in them; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) files_from: Option<PathBuf>,
}

/// How packets go, for whatever moves content.
#[derive(Clone, Debug, Args)]
pub(crate) struct NetworkArgs {
    /// Send from this address (to this one); repeat it for several paths [default: one path for each NIC]
    #[arg(long, value_name = "LOCAL_IP[=REMOTE_IP]", value_delimiter = ',', value_parser = path_choice)]
    pub(crate) path: Vec<PathChoice>,
    /// How paths find their rate; `fixed` needs --rate
    #[arg(long, value_name = "ALGORITHM", default_value = "bbr")]
    pub(crate) cc: CcArg,
    /// Cap over all paths, as 1Gbit or 50MiB a second; with --cc fixed the rate of each path
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) rate: Option<u64>,
    /// Send content unencrypted, where the node allows it
    #[arg(long)]
    pub(crate) no_encrypt: bool,
    /// How long to try to connect
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "10s")]
    pub(crate) connect_timeout: Duration,
}

fn path_choice(text: &str) -> Result<PathChoice, String> {
    PathChoice::parse(text).map_err(|error| error.to_string())
}

/// What becomes of content.
#[derive(Clone, Debug, Args)]
pub(crate) struct ContentArgs {
    /// How content is verified; `none` where the node allows it
    #[arg(long, value_name = "ALGORITHM", default_value = "blake3")]
    pub(crate) digest: DigestArg,
    /// How chunks are compressed
    #[arg(long, value_name = "ALGORITHM", default_value = "none")]
    pub(crate) compress: CompressArg,
    /// Size of a chunk, a power of two from 64KiB to 64MiB; what an interrupted copy left in bigger ones is read again [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::chunk_log2)]
    pub(crate) chunk: Option<u8>,
    /// What to keep besides mode and modification time; without a value: all
    #[arg(long, value_name = "WHAT", value_delimiter = ',', num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "all")]
    pub(crate) preserve: Vec<PreserveArg>,
    /// When content is made durable
    #[arg(long, value_name = "WHEN", default_value = "batch")]
    pub(crate) durability: DurabilityArg,
}

/// When to end.
#[derive(Clone, Debug, Args)]
pub(crate) struct LimitArgs {
    /// Retries without progress in between [default: unlimited on a terminal, else 10]
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
    /// End after this time, as 1h30m
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) max_duration: Option<Duration>,
    /// End once this much is copied, as 10MiB or 1G
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_transfer: Option<u64>,
    /// Exit with 9 when there was nothing to copy
    #[arg(long)]
    pub(crate) error_on_no_transfer: bool,
}

/// How to tell progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressArg {
    /// Bars on a terminal, else lines
    Auto,
    /// Bars
    Bar,
    /// A line every few seconds
    Line,
    /// JSON lines on stderr
    Json,
    /// Not
    None,
}

/// When a file that is there counts as the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompareArg {
    /// Always
    Exists,
    /// When the size is equal
    Size,
    /// When size and modification time are equal
    Mtime,
    /// When the digest is equal: both ends read it
    Digest,
}

/// How paths find their rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CcArg {
    /// BBR version 3, with tolerance for random loss
    Bbr,
    /// CUBIC
    Cubic,
    /// Yields to all other traffic
    Ledbat,
    /// The rate given by --rate
    Fixed,
}

impl From<CcArg> for CongestionControl {
    fn from(cc: CcArg) -> Self {
        match cc {
            CcArg::Bbr => CongestionControl::Bbr,
            CcArg::Cubic => CongestionControl::Cubic,
            CcArg::Ledbat => CongestionControl::Ledbat,
            CcArg::Fixed => CongestionControl::Fixed,
        }
    }
}

/// How content is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DigestArg {
    /// BLAKE3
    Blake3,
    /// Not
    None,
}

/// How chunks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressArg {
    /// While it is faster than sending what it saves
    Auto,
    /// Zstandard
    Zstd,
    /// LZ4
    Lz4,
    /// Not
    None,
}

/// What to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PreserveArg {
    /// User and group
    Owner,
    /// Extended attributes
    Xattr,
    /// Access control lists
    Acl,
    /// Hard links among what is copied
    Links,
    /// All of these
    All,
}

/// When content is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityArg {
    /// When the kernel likes
    None,
    /// With each entry of the journal, at least every second
    Batch,
    /// After each file
    File,
}
