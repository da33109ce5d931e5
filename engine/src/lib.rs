//! Runs the xfer protocol: workers, sources, sinks, connections.

#![forbid(unsafe_code)]

pub mod api;
pub mod codec;
pub mod crypto;
mod datapath;
pub mod digest;
pub mod engine;
pub mod error;
pub mod limits;
pub mod meter;
mod quantiles;
mod queues;
mod report;
pub mod sink;
pub mod source;
mod sparing;
pub mod stages;
mod storage;
mod transfer;
mod whole;
mod worker;

pub use xfer_io as io;
pub use xfer_proto::limits::INLINE_LEN_MAX;
pub use xfer_proto::wire::{Durability, EntryKind};

pub use api::*;
pub use engine::{Engine, Transfer};
pub use error::{Class, Error, Side};
pub use sparing::Sparing;
pub use whole::CopyDigest;
