//! The monotonic clock, which is the programs' too.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Now, in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    now.as_nanos() as u64
}

/// The instant `idle` ago; 0 when that is before the clock began.
pub(crate) fn idle_since(idle: Duration) -> u64 {
    now_ns().saturating_sub(u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX))
}
