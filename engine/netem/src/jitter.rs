//! A delay that wanders without letting packets overtake each other.
//!
//! The offset moves in straight slopes between random points within the amplitude; a slope lasts
//! [`JITTER_SLOPE`] amplitudes, so it never falls faster than time passes.

use crate::Rng;
use crate::limits::JITTER_SLOPE;

#[derive(Clone, Debug)]
pub(crate) struct Jitter {
    rng: Rng,
    amplitude_ns: u64,
    start_ns: u64,
    from_ns: i64,
    to_ns: i64,
}

impl Jitter {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { rng, amplitude_ns: 0, start_ns: 0, from_ns: 0, to_ns: 0 }
    }

    /// Starts anew at `now_ns` from no offset; an unchanged amplitude goes on as it was.
    pub(crate) fn set_amplitude(&mut self, now_ns: u64, amplitude_ns: u64) {
        if amplitude_ns == self.amplitude_ns {
            return;
        }
        self.amplitude_ns = amplitude_ns;
        self.start_ns = now_ns;
        self.from_ns = 0;
        self.to_ns = self.point();
    }

    /// Offset at `at_ns`, ns, which must not go back in time by more than the present slope.
    pub(crate) fn offset_ns(&mut self, at_ns: u64) -> i64 {
        if self.amplitude_ns == 0 {
            return 0;
        }
        let slope_ns = self.amplitude_ns * JITTER_SLOPE;
        let mut into = at_ns.saturating_sub(self.start_ns);
        if into >= slope_ns {
            // A quiet time of many slopes counts as one: only its last point is ever seen.
            self.from_ns = if into < 2 * slope_ns { self.to_ns } else { self.point() };
            self.to_ns = self.point();
            into %= slope_ns;
            self.start_ns = at_ns - into;
        }
        let span = i128::from(self.to_ns) - i128::from(self.from_ns);
        self.from_ns + (span * i128::from(into) / i128::from(slope_ns)) as i64
    }

    fn point(&mut self) -> i64 {
        self.rng.below(2 * self.amplitude_ns + 1) as i64 - self.amplitude_ns as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_and_never_overtakes() {
        let mut jitter = Jitter::new(Rng::new(4));
        jitter.set_amplitude(0, 1000);
        let (mut last, mut low, mut high) = (0, i64::MAX, i64::MIN);
        for at in (0..4_000_000).step_by(7) {
            let offset = jitter.offset_ns(at);
            let arrival = at as i64 + offset;
            assert!(offset.abs() <= 1000 && arrival >= last, "at {at}: {offset}");
            (last, low, high) = (arrival, low.min(offset), high.max(offset));
        }
        assert!(low < -900 && high > 900, "{low} {high}");
    }

    #[test]
    fn a_long_pause_is_one_step() {
        let mut jitter = Jitter::new(Rng::new(4));
        jitter.set_amplitude(0, 10);
        for at in [0, 39, 40, 41, 79, 80, u64::MAX / 2, u64::MAX] {
            assert!(jitter.offset_ns(at).abs() <= 10);
        }
    }

    #[test]
    fn no_amplitude_no_offset() {
        let mut jitter = Jitter::new(Rng::new(4));
        assert_eq!(jitter.offset_ns(12), 0);
        jitter.set_amplitude(12, 1);
        jitter.set_amplitude(13, 0);
        assert_eq!(jitter.offset_ns(14), 0);
    }
}
