//! A node: serves roots over gRPC control and engine data.
