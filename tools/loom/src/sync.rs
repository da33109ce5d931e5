//! What the engine's parts find in place of their atomics.

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use loom::thread::yield_now;

/// Loom takes sequentially consistent operations for acquiring and releasing ones; it knows the order by fences alone.
pub(crate) fn in_one_order() {
    fence(Ordering::SeqCst);
}
