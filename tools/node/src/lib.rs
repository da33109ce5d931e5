//! A node: serves roots over gRPC control and engine data.

#![forbid(unsafe_code)]

/// Messages and stubs of the services in `proto/`.
#[allow(missing_docs, clippy::all, reason = "generated; the protobuf files are the documentation")]
pub mod pb {
    tonic::include_proto!("xfer.v1");
}
