//! The atomics of this crate. `tools/loom` puts modelled ones in their place and tries every order of what several workers do.

pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
