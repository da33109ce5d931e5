//! Round-trip time of one path: RTT samples in, smoothed, variation, minimum and probe timeout out.
//!
//! Follows RFC 9002 section 5 (and RFC 6298 for the first sample). Absent on purpose: which packets give a
//! sample (the path decides) and back-off of repeated probe timeouts.

use core::time::Duration;

use crate::time::Time;

/// Half the span over which [`Rtt::min`] looks back; the minimum covers 5 to 10 s.
const MIN_HALF_WINDOW: Duration = Duration::from_secs(5);
/// Timer granularity, RFC 9002 section 6.1.2.
const GRANULARITY: Duration = Duration::from_millis(1);
/// A probe timeout is never shorter (DESIGN section 6): a late worker must not look like a dead path.
const PROBE_TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// No smaller round trip is believed, so that a minimum can be divided by.
const SAMPLE_MIN: Duration = Duration::from_micros(1);
/// No larger round trip is believed: sums of a few of them stay far from overflow.
const SAMPLE_MAX: Duration = Duration::from_secs(60);

/// Estimator of one path's round-trip time.
#[derive(Clone, Copy, Debug)]
pub struct Rtt {
    smoothed: Duration,
    variation: Duration,
    latest: Duration,
    sampled: bool,
    /// Minimum of the current half window, and of the one before.
    halves: [Duration; 2],
    half_start: Time,
}

impl Rtt {
    /// An estimator that assumes `initial` until the first sample.
    pub fn new(initial: Duration) -> Self {
        let initial = initial.clamp(SAMPLE_MIN, SAMPLE_MAX);
        Rtt {
            smoothed: initial,
            variation: initial / 2,
            latest: initial,
            sampled: false,
            halves: [initial; 2],
            half_start: Time::from_nanos(0),
        }
    }

    /// Takes a sample: `latest` as measured, `ack_delay` as the peer reported it, cut by the caller to what
    /// the peer announced as its maximum. The delay is ignored where it would push the sample below the
    /// minimum (RFC 9002 section 5.3).
    pub fn sample(&mut self, now: Time, latest: Duration, ack_delay: Duration) {
        let latest = latest.clamp(SAMPLE_MIN, SAMPLE_MAX);
        self.latest = latest;
        if !self.sampled {
            self.sampled = true;
            self.smoothed = latest;
            self.variation = latest / 2;
            self.halves = [latest; 2];
            self.half_start = now;
            return;
        }
        self.lower_minimum(now, latest);
        let adjusted =
            if latest >= self.min().saturating_add(ack_delay) { latest - ack_delay } else { latest };
        self.variation = (self.variation * 3 + self.smoothed.abs_diff(adjusted)) / 4;
        self.smoothed = (self.smoothed * 7 + adjusted) / 8;
    }

    fn lower_minimum(&mut self, now: Time, latest: Duration) {
        let age = now.since(self.half_start);
        if age >= MIN_HALF_WINDOW {
            let previous = if age >= MIN_HALF_WINDOW * 2 { latest } else { self.halves[0] };
            self.halves = [latest, previous];
            self.half_start = now;
        }
        self.halves[0] = self.halves[0].min(latest);
    }

    /// Smoothed round trip, the initial value before the first sample.
    pub fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// Mean deviation of the round trip.
    pub fn variation(&self) -> Duration {
        self.variation
    }

    /// The last sample, ACK delay included.
    pub fn latest(&self) -> Duration {
        self.latest
    }

    /// Smallest sample of the last 5 to 10 s, ACK delay included; never zero.
    pub fn min(&self) -> Duration {
        self.halves[0].min(self.halves[1])
    }

    /// Whether anything was measured yet.
    pub fn has_sample(&self) -> bool {
        self.sampled
    }

    /// Time without an ACK after which the path is probed (RFC 9002 section 6.2.1), at least 10 ms.
    pub fn probe_timeout(&self, ack_delay_max: Duration) -> Duration {
        let spread = (self.variation * 4).max(GRANULARITY);
        (self.smoothed + spread).saturating_add(ack_delay_max).max(PROBE_TIMEOUT_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn first_sample_replaces_the_guess() {
        let mut rtt = Rtt::new(MS * 333);
        assert!(!rtt.has_sample());
        rtt.sample(at(5_000_000), MS * 50, MS * 20);
        assert!(rtt.has_sample());
        assert_eq!((rtt.smoothed(), rtt.variation()), (MS * 50, MS * 25));
        assert_eq!((rtt.latest(), rtt.min()), (MS * 50, MS * 50));
    }

    #[test]
    fn ack_delay_never_pushes_a_sample_below_the_minimum() {
        let mut rtt = Rtt::new(MS);
        rtt.sample(at(0), MS * 80, Duration::ZERO);
        rtt.sample(at(1), MS * 88, MS * 8);
        assert_eq!(rtt.smoothed(), MS * 80);
        rtt.sample(at(2), MS * 88, MS * 9);
        assert_eq!(rtt.smoothed(), MS * 81);
        rtt.sample(at(3), MS * 88, Duration::MAX);
        assert_eq!(rtt.min(), MS * 80);
    }

    #[test]
    fn minimum_forgets_after_two_half_windows() {
        let mut rtt = Rtt::new(MS);
        rtt.sample(at(0), MS * 10, Duration::ZERO);
        rtt.sample(at(4_999), MS * 30, Duration::ZERO);
        assert_eq!(rtt.min(), MS * 10);
        rtt.sample(at(5_000), MS * 30, Duration::ZERO);
        assert_eq!(rtt.min(), MS * 10);
        rtt.sample(at(10_000), MS * 40, Duration::ZERO);
        assert_eq!(rtt.min(), MS * 30);
        rtt.sample(at(60_000), MS * 70, Duration::ZERO);
        assert_eq!(rtt.min(), MS * 70);
    }

    #[test]
    fn extremes_are_clamped() {
        let mut rtt = Rtt::new(Duration::ZERO);
        assert!(rtt.min() > Duration::ZERO);
        rtt.sample(at(0), Duration::MAX, Duration::MAX);
        rtt.sample(at(1), Duration::ZERO, Duration::MAX);
        assert!(rtt.min() > Duration::ZERO);
        assert_eq!(rtt.probe_timeout(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn smoothing_weighs_as_in_the_standard() {
        let mut rtt = Rtt::new(MS);
        rtt.sample(at(0), MS * 80, Duration::ZERO);
        rtt.sample(at(1), MS * 96, Duration::ZERO);
        assert_eq!((rtt.smoothed(), rtt.variation()), (MS * 82, MS * 34));
    }

    #[test]
    fn probe_timeout_has_a_floor_and_grows_with_variation() {
        let mut rtt = Rtt::new(MS);
        for i in 0..100 {
            rtt.sample(at(i), MS / 10, Duration::ZERO);
        }
        assert_eq!(rtt.probe_timeout(Duration::ZERO), MS * 10);
        let mut far = Rtt::new(MS * 100);
        far.sample(at(0), MS * 100, Duration::ZERO);
        assert_eq!(far.probe_timeout(MS * 25), MS * 325);
    }
}
