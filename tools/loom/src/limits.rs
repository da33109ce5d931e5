//! The engine's limits, but for tables that would only make the models longer.

#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../../../engine/io/src/limits.rs"]
mod io;

pub(crate) use io::{
    BORROW_BYTES_MAX, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, HUGE_PAGE_BYTES, POLL_EVENTS, POLL_TOKENS_MAX,
    POOL_CHUNKS_MAX, REGION_BYTES_MAX,
};

/// A slot for each thread of a model.
pub(crate) const BORROW_SLOTS: usize = 3;
/// `xfer_proto::limits::GRID`.
pub(crate) const GRID: usize = 16;
