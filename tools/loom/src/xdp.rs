//! The rings of AF_XDP, beside each other as in the engine.

#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../../../engine/io/src/xdp/heap.rs"]
pub(crate) mod heap;
#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../../../engine/io/src/xdp/ring.rs"]
pub(crate) mod ring;
