//! `bench serve`: a node that serves memory and no files.

use crate::args::{ListenArgs, ServeArgs};
use crate::serve;
use xfer_client::Error;
use xfer_node::Roots;

/// Serves until SIGINT or SIGTERM. Nothing is written, and whether content is verified is the client's choice.
pub(crate) fn run(node: ListenArgs) -> Result<u8, Error> {
    let args = ServeArgs { root: Vec::new(), read_only: true, allow_unverified: true, node };
    serve::run_node(&args, Roots::Bench)
}
