//! The protocol's clock reading: a value that the caller passes in, never read here.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A point in time, nanoseconds since an origin that the caller chose and keeps for the whole process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// Later than every time that a caller can pass.
    pub const NEVER: Time = Time(u64::MAX);

    /// The time `ns` nanoseconds after the origin.
    pub const fn from_nanos(ns: u64) -> Self {
        Time(ns)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Microseconds since the origin, cut to 32 bits: the header's send timestamp (PROTOCOL.md#header).
    pub const fn as_stamp(self) -> u32 {
        (self.0 / 1_000) as u32
    }

    /// The span from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    /// Saturates at [`Time::NEVER`].
    fn add(self, span: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    /// Saturates at the origin.
    fn sub(self, span: Duration) -> Time {
        Time(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Time::NEVER + Duration::from_nanos(1), Time::NEVER);
        assert_eq!(Time::from_nanos(5) - Duration::from_nanos(6), Time::from_nanos(0));
        assert_eq!(Time::from_nanos(5).since(Time::from_nanos(6)), Duration::ZERO);
    }

    #[test]
    fn stamp_wraps_after_32_bits_of_microseconds() {
        assert_eq!(Time::from_nanos((u64::from(u32::MAX) + 1) * 1_000 + 999).as_stamp(), 0);
    }
}
