//! A node: serves roots over gRPC control and engine data.
//!
//! In: calls over TLS with the link's token. Out: listings, digests, small ranges of files, and tickets whose content moves through the
//! engine.

#![forbid(unsafe_code)]
// No peer makes an end panic: what may is refused by name, and each exception says why it cannot.
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod address;
mod audit;
mod bench;
mod calls;
mod clients;
mod files;
mod follow;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod gate;
mod identity;
pub mod json;
pub mod limits;
mod listen;
mod metrics;
mod node;
mod policy;
mod ranges;
mod registry;
mod roots;
mod spawn;
mod status;
mod tickets;
mod transfer;
mod tree;

pub use audit::AuditTo;
pub use clients::Caps;
pub use node::{Node, NodeConfig};
pub use roots::Roots;

/// Messages and stubs of the services in `proto/`.
#[allow(missing_docs, clippy::all, reason = "generated; the protobuf files are the documentation")]
pub mod pb {
    tonic::include_proto!("xfer.v1");
}
