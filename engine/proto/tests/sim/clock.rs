//! Clocks of the ends: virtual nanoseconds in, each end's own skewed reading out, and back.

use xfer_proto::time::Time;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// The clock of one end: an origin of its own, and a rate that is off by some parts in a million.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    pub(crate) origin_ns: u64,
    pub(crate) skew_ppm: i64,
}

impl Clock {
    /// What the end reads at virtual time `at`.
    pub(crate) fn read(&self, at: u64) -> Time {
        let skew = i128::from(at) * i128::from(self.skew_ppm) / 1_000_000;
        Time::from_nanos((i128::from(self.origin_ns) + i128::from(at) + skew) as u64)
    }

    /// The first virtual time at which the end reads `time` or later; `None` when it never does.
    pub(crate) fn when(&self, time: Time) -> Option<u64> {
        if time == Time::NEVER {
            return None;
        }
        let ahead = i128::from(time.as_nanos().saturating_sub(self.origin_ns));
        let mut at = (ahead * 1_000_000 / i128::from(1_000_000 + self.skew_ppm)) as u64;
        while self.read(at) < time {
            at += 1;
        }
        Some(at)
    }
}
