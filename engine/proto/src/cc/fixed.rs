//! A rate that the operator asserts, for links that are known and not shared.
//!
//! No reaction to loss, marks or delay. The window only bounds memory: several round trips of the rate.

use core::time::Duration;

use super::rate::{Sampler, bytes_in};
use super::{AckSample, Controller, DATAGRAM_MAX, DATAGRAM_MIN, SendSnapshot, Start, WINDOW_MAX};
use crate::rtt::Rtt;
use crate::time::Time;

/// Window in round trips of the rate: losses that wait for their detection must not stop the flow.
const WINDOW_RTTS: u64 = 4;
/// Round trip that the window counts with at least: a late worker or ACK must not stop the flow.
const RTT_FLOOR: Duration = Duration::from_millis(20);
/// Window in packets at least.
const WINDOW_PACKETS_MIN: u64 = 64;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    sampler: Sampler,
    rtt: Rtt,
    rate: u64,
    max_datagram: u64,
}

impl Fixed {
    pub(super) fn new(start: Start, bytes_per_second: u64) -> Self {
        Fixed {
            sampler: Sampler::default(),
            rtt: Rtt::new(start.rtt),
            rate: bytes_per_second.max(1),
            max_datagram: start.max_datagram,
        }
    }
}

impl Controller for Fixed {
    fn on_sent(&mut self, now: Time, bytes: u64, in_flight_before: u64) -> SendSnapshot {
        self.sampler.on_sent(now, bytes, in_flight_before)
    }

    fn on_ack(&mut self, sample: &AckSample) {
        self.sampler.on_ack(sample, Duration::ZERO);
        if let Some(rtt) = sample.rtt {
            self.rtt.sample(sample.now, rtt, Duration::ZERO);
        }
    }

    fn on_loss(&mut self, _now: Time, lost_bytes: u64, _in_flight: u64, _newest_lost_sent: Time) {
        self.sampler.on_loss(lost_bytes);
    }

    fn on_spurious_loss(&mut self, _now: Time, _bytes: u64) {}

    fn on_persistent_congestion(&mut self, _now: Time, _lost_bytes: u64) {}

    fn app_limited(&mut self, in_flight: u64) {
        self.sampler.app_limited(in_flight);
    }

    fn window(&self) -> u64 {
        let flight = bytes_in(self.rate, self.rtt.smoothed().max(RTT_FLOOR));
        let floor = self.max_datagram * WINDOW_PACKETS_MIN;
        flight.saturating_mul(WINDOW_RTTS).max(floor).min(WINDOW_MAX)
    }

    fn pacing_rate(&self) -> Option<u64> {
        Some(self.rate)
    }

    fn in_startup(&self) -> bool {
        false
    }

    fn on_mtu(&mut self, max_datagram: u64) {
        self.max_datagram = max_datagram.clamp(DATAGRAM_MIN, DATAGRAM_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Start {
        Start { window: 38_400, max_datagram: 1200, rtt: Duration::from_millis(50) }
    }

    #[test]
    fn nothing_moves_the_rate() {
        let mut fixed = Fixed::new(start(), 125_000_000);
        assert_eq!(fixed.window(), 125_000_000 / 20 * 4);
        let now = Time::from_nanos(1);
        fixed.on_loss(now, 1 << 30, 0, now);
        fixed.on_persistent_congestion(now, 1);
        assert_eq!((fixed.pacing_rate(), fixed.window()), (Some(125_000_000), 25_000_000));
    }

    #[test]
    fn window_has_bounds_on_both_sides() {
        assert_eq!(Fixed::new(start(), 0).window(), 64 * 1200);
        assert_eq!(Fixed::new(start(), 0).pacing_rate(), Some(1));
        assert_eq!(Fixed::new(start(), u64::MAX).window(), WINDOW_MAX);
    }
}
