//! Options of `bench stages`.

use super::DigestArg;
use crate::units;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Measure stages.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchStagesArgs {
    /// MTU whose packets content is sent in, in bytes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1_280..=65_535), default_value = "1500")]
    pub(crate) mtu: u32,
    /// How long each stage is measured
    #[arg(long, value_name = "S", value_parser = units::seconds, default_value = "0.5")]
    pub(crate) seconds: Duration,
    /// Leave out encryption
    #[arg(long)]
    pub(crate) no_encrypt: bool,
    /// How content is verified
    #[arg(long, value_name = "ALGORITHM", default_value = "blake3")]
    pub(crate) digest: DigestArg,
    /// Size of the file that is read, and of the one that is written
    ///
    /// They are read and written whole, once at least. Memory for the pages of a large new file can cost far more than for those of a
    /// small one that are used again: take the size of the copy in question.
    #[arg(long, value_name = "SIZE", value_parser = units::size, default_value = "256MiB")]
    pub(crate) size: u64,
    /// Where to make these two files [default: the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Print JSON lines; the last one is of type `summary`
    #[arg(long)]
    pub(crate) json: bool,
}
