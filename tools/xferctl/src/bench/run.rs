//! `bench run`: measures a node and tells how that went.

use crate::args::{BenchRunArgs, GlobalArgs};
use std::time::Instant;
use xfer_client::{Class, Error};

/// Measures.
pub(crate) fn run(args: &BenchRunArgs, _global: &GlobalArgs, _started: Instant) -> Result<u8, Error> {
    Err(Error::new(Class::Refused, "nothing can be measured yet:").object(args.node.as_encoded_bytes()))
}
