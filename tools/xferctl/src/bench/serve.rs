//! `bench serve`: a node that serves memory and no files.

use crate::args::BenchServeArgs;
use crate::serve;
use xfer_client::Error;
use xfer_node::Roots;

/// Serves until SIGINT or SIGTERM.
pub(crate) fn run(args: BenchServeArgs) -> Result<u8, Error> {
    serve::run_node(&args.into_serve(), Roots::Bench)
}
