//! What a client of xfer nodes does.
//!
//! In: locations as users write them, and nodes' answers. Out: listings, digests, and copies run by an engine of its own. Synchronous
//! outside; the control connection runs on a small runtime inside.

#![forbid(unsafe_code)]

mod backend;
pub mod bench;
pub mod book;
mod cache;
mod client;
mod connect;
pub mod copy;
pub mod doctor;
pub mod forecast;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod hash;
pub mod limits;
pub mod link;
pub mod location;
mod offer;
pub mod paths;
pub mod ranges;
pub mod retry;
mod status;
mod tls;
mod transfer;
mod values;

pub use backend::{BackendChoice, Chosen, Wanted};
pub use bench::{BenchEvent, BenchOptions, BenchRequest, BenchSummary, bench};
pub use book::Book;
pub use client::{Client, Entry, Hashed, Kind, Listed};
pub use copy::{CopyEvent, CopyOptions, CopyRequest, Summary, copy};
pub use link::{HostPort, Link};
pub use location::{Location, Remote};
pub use ranges::{Access, FileRange, RangeQueue, ReadRange};
pub use values::*;

/// Messages and stubs of the services in `tools/node/proto`.
#[allow(missing_docs, clippy::all, reason = "generated; the protobuf files are the documentation")]
pub mod pb {
    tonic::include_proto!("xfer.v1");
}
