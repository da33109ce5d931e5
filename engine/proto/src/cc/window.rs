//! A window that slow start raises and losses and marks lower, once a round trip: what CUBIC and LEDBAT++ have in common.
//!
//! Bytes and their fates in; window, threshold and rate samples out. How the window grows beyond the threshold and by how
//! much congestion lowers it is each algorithm's own.

use core::time::Duration;

use super::rate::{RateSample, Sampler, per_second, percent};
use super::{AckSample, DATAGRAM_MAX, DATAGRAM_MIN, SendSnapshot, Start, WINDOW_MAX};
use crate::rtt::Rtt;
use crate::time::Time;

/// Smallest window in packets.
const PACKETS_MIN: u64 = 2;

#[derive(Clone, Copy, Debug)]
pub(super) struct LossWindow {
    pub(super) sampler: Sampler,
    pub(super) rtt: Rtt,
    pub(super) bytes: u64,
    /// Slow start ends here (ssthresh); `u64::MAX` until it ended once.
    pub(super) threshold: u64,
    /// Losses of packets sent until then belong to the last congestion event.
    pub(super) recovery_start: Option<Time>,
    pub(super) max_datagram: u64,
}

impl LossWindow {
    pub(super) fn new(start: Start) -> Self {
        LossWindow {
            sampler: Sampler::default(),
            rtt: Rtt::new(start.rtt),
            bytes: start.window,
            threshold: u64::MAX,
            recovery_start: None,
            max_datagram: start.max_datagram,
        }
    }

    pub(super) fn min(&self) -> u64 {
        self.max_datagram * PACKETS_MIN
    }

    pub(super) fn in_recovery(&self, sent: Time) -> bool {
        self.recovery_start.is_some_and(|start| sent <= start)
    }

    pub(super) fn in_slow_start(&self) -> bool {
        self.bytes < self.threshold
    }

    pub(super) fn on_sent(&mut self, now: Time, bytes: u64, in_flight_before: u64) -> SendSnapshot {
        self.sampler.on_sent(now, bytes, in_flight_before)
    }

    /// Counts an ACK and its round trip.
    pub(super) fn on_ack(&mut self, sample: &AckSample) -> RateSample {
        if let Some(rtt) = sample.rtt {
            self.rtt.sample(sample.now, rtt, Duration::ZERO);
        }
        self.sampler.on_ack(sample, Duration::ZERO)
    }

    /// Whether this ACK's mark is the first of a congestion event.
    pub(super) fn is_newly_marked(&self, sample: &AckSample) -> bool {
        sample.ce_marked && !self.in_recovery(sample.newest_sent_time)
    }

    /// Congestion leaves `percent` of the window, and slow start is over. What is lost of the smallest window, most often a probe of a
    /// path that is silent, says nothing of how much the path holds.
    pub(super) fn lower(&mut self, now: Time, left_percent: u64) {
        self.recovery_start = Some(now);
        if self.bytes <= self.min() {
            return;
        }
        self.threshold = percent(self.bytes, left_percent).max(self.min());
        self.bytes = self.threshold;
    }

    /// All that was sent over several probe timeouts was lost: from the smallest window by slow start to `percent` of what it was.
    /// A window that had not come back to its threshold since it was last here has learnt nothing that would lower it: the path was
    /// silent, not full.
    pub(super) fn start_over(&mut self, now: Time, lost_bytes: u64, left_percent: u64) {
        self.sampler.on_loss(lost_bytes);
        if !self.in_slow_start() {
            self.threshold = percent(self.bytes, left_percent).max(self.min());
        }
        self.bytes = self.min();
        self.recovery_start = Some(now);
    }

    pub(super) fn bound(&mut self) {
        self.bytes = self.bytes.clamp(self.min(), WINDOW_MAX);
    }

    pub(super) fn on_mtu(&mut self, max_datagram: u64) {
        self.max_datagram = max_datagram.clamp(DATAGRAM_MIN, DATAGRAM_MAX);
        self.bytes = self.bytes.max(self.min());
    }

    /// `gain_percent` of the window each round trip; the bare window before any was measured.
    pub(super) fn pacing_rate(&self, gain_percent: u64) -> Option<u64> {
        let gain = if self.rtt.has_sample() { gain_percent } else { 100 };
        per_second(percent(self.bytes, gain), self.rtt.smoothed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u64 = 1_000;

    fn window() -> LossWindow {
        LossWindow::new(Start { window: 32 * MTU, max_datagram: MTU, rtt: Duration::from_millis(50) })
    }

    #[test]
    fn silence_before_the_threshold_was_reached_lowers_nothing() {
        let mut window = window();
        window.start_over(Time::from_nanos(0), MTU, 50);
        assert_eq!((window.bytes, window.threshold), (2 * MTU, u64::MAX));
        (window.bytes, window.threshold) = (100 * MTU, 100 * MTU);
        window.start_over(Time::from_nanos(0), MTU, 50);
        assert_eq!((window.bytes, window.threshold), (2 * MTU, 50 * MTU));
        window.bytes = 49 * MTU;
        window.start_over(Time::from_nanos(0), MTU, 50);
        assert_eq!((window.bytes, window.threshold), (2 * MTU, 50 * MTU));
        window.bytes = 50 * MTU;
        window.start_over(Time::from_nanos(0), MTU, 50);
        assert_eq!(window.threshold, 25 * MTU);
    }

    #[test]
    fn nothing_lowers_it_below_two_packets() {
        let mut window = window();
        for i in 0..9 {
            window.lower(Time::from_nanos(i), 50);
        }
        assert_eq!((window.bytes, window.threshold), (2 * MTU, 2 * MTU));
        assert!(window.in_recovery(Time::from_nanos(8)) && !window.in_recovery(Time::from_nanos(9)));
        window.on_mtu(9_000);
        assert_eq!(window.bytes, 18_000);
    }
}
