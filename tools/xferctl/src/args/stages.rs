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
    /// Where to make the files that are read and written, which need 512 MiB [default: the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Print JSON lines; the last one is of type `summary`
    #[arg(long)]
    pub(crate) json: bool,
}
