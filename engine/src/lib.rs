//! Runs the xfer protocol: workers, sources, sinks, connections.
