//! The atomics of shared memory. `tools/loom` puts modelled ones in their place and tries every order of what several threads do.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use std::thread::yield_now;

/// Between two sequentially consistent operations whose order all threads agree on. Nothing: the operations see to it. The model knows
/// no such operations, only such fences, and has one here.
pub(crate) const fn in_one_order() {}
