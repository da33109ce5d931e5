//! Runs the xfer protocol: workers, sources, sinks, connections.

#![forbid(unsafe_code)]

pub mod error;
pub mod sink;
pub mod source;

pub use error::{Class, Error, Side};
