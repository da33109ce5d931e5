//! Delivery-rate samples (draft-cheng-iccrg-delivery-rate-estimation), shared by all algorithms: trains sent and
//! ACKs in, one rate sample per ACK out.
//!
//! Also the integer arithmetic of rates: bytes, bytes per second and spans, saturating.

use core::time::Duration;

use super::{AckSample, SendSnapshot};
use crate::time::Time;

/// Counters of one path that snapshots are taken from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampler {
    delivered: u64,
    delivered_time: Time,
    first_sent_time: Time,
    lost: u64,
    /// While non-zero: rates are limited by the application until so many bytes are delivered.
    app_limited_until: u64,
}

/// What one ACK says about the delivery rate.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateSample {
    /// Bytes per second; `None` where the ACK permits no estimate.
    pub rate: Option<u64>,
    /// Bytes delivered between the sending of the newest acknowledged train and now.
    pub delivered: u64,
    /// Bytes lost in that time.
    pub lost: u64,
    /// Whether the application limited the rate.
    pub app_limited: bool,
    /// Bytes delivered on the path when that train was sent: tells rounds apart.
    pub prior_delivered: u64,
    /// Bytes that were in flight with that train.
    pub sent_in_flight: u64,
}

impl Sampler {
    /// Counts a train and takes its snapshot.
    pub fn on_sent(&mut self, now: Time, bytes: u64, in_flight_before: u64) -> SendSnapshot {
        if in_flight_before == 0 {
            self.first_sent_time = now;
            self.delivered_time = now;
        }
        SendSnapshot {
            delivered: self.delivered,
            delivered_time: self.delivered_time,
            first_sent_time: self.first_sent_time,
            app_limited: self.app_limited_until != 0,
            in_flight: in_flight_before.saturating_add(bytes),
            lost: self.lost,
        }
    }

    /// Counts lost bytes.
    pub fn on_loss(&mut self, bytes: u64) {
        self.lost = self.lost.saturating_add(bytes);
    }

    /// Takes back what was counted as lost and had only been late.
    pub fn on_spurious_loss(&mut self, bytes: u64) {
        self.lost = self.lost.saturating_sub(bytes);
    }

    /// Marks what is sent from now on as limited by the application, until `in_flight` bytes are delivered.
    pub fn app_limited(&mut self, in_flight: u64) {
        self.app_limited_until = self.delivered.saturating_add(in_flight).max(1);
    }

    /// Counts an ACK and estimates the rate. Samples over less than `span_min` (the minimum RTT) say more about
    /// the receiver's ACKs than about the path and give no rate.
    pub fn on_ack(&mut self, ack: &AckSample, span_min: Duration) -> RateSample {
        let snapshot = &ack.snapshot;
        self.delivered = self.delivered.saturating_add(ack.acked_bytes);
        if self.app_limited_until != 0 && self.delivered > self.app_limited_until {
            self.app_limited_until = 0;
        }
        let mut sample = RateSample {
            rate: None,
            delivered: self.delivered.saturating_sub(snapshot.delivered),
            lost: self.lost.saturating_sub(snapshot.lost),
            app_limited: snapshot.app_limited,
            prior_delivered: snapshot.delivered,
            sent_in_flight: snapshot.in_flight,
        };
        if ack.acked_bytes == 0 {
            return sample;
        }
        self.delivered_time = ack.now;
        // An ACK of late packets alone must not make the next spans longer than they are.
        self.first_sent_time = self.first_sent_time.max(ack.newest_sent_time);
        let send_span = ack.newest_sent_time.since(snapshot.first_sent_time);
        let ack_span = ack.now.since(snapshot.delivered_time);
        let span = send_span.max(ack_span);
        if span >= span_min {
            sample.rate = per_second(sample.delivered, span);
        }
        sample
    }

    /// Bytes delivered so far.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }
}

/// `bytes` over `span` in bytes per second, at least 1; `None` for an empty span.
pub(super) fn per_second(bytes: u64, span: Duration) -> Option<u64> {
    let rate = (u128::from(bytes) * 1_000_000_000).checked_div(span.as_nanos())?;
    Some(u64::try_from(rate).unwrap_or(u64::MAX).max(1))
}

/// Bytes that `rate` bytes per second make in `span`.
pub(super) fn bytes_in(rate: u64, span: Duration) -> u64 {
    let ns = span.as_nanos().min(u128::from(u64::MAX));
    u64::try_from(u128::from(rate) * ns / 1_000_000_000).unwrap_or(u64::MAX)
}

/// `percent` hundredths of `value`.
pub(super) fn percent(value: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(value) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    fn ack(now: u64, bytes: u64, sent: u64, snapshot: SendSnapshot) -> AckSample {
        AckSample {
            now: at(now),
            acked_bytes: bytes,
            lost_bytes: 0,
            in_flight: 0,
            rtt: None,
            one_way_delay: None,
            ce_marked: false,
            newest_sent_time: at(sent),
            snapshot,
            app_limited_now: false,
        }
    }

    #[test]
    fn rate_is_bytes_over_the_longer_of_send_and_ack_span() {
        let mut sampler = Sampler::default();
        let first = sampler.on_sent(at(100), 1000, 0);
        let second = sampler.on_sent(at(120), 1000, 1000);
        let sample = sampler.on_ack(&ack(150, 1000, 100, first), Duration::from_millis(50));
        assert_eq!((sample.rate, sample.sent_in_flight), (Some(20_000), 1000));
        let sample = sampler.on_ack(&ack(151, 1000, 120, second), Duration::from_millis(50));
        assert_eq!(sample.rate, Some(2000 * 1000 / 51));
        let third = sampler.on_sent(at(152), 1000, 1);
        assert_eq!(third.delivered, 2000);
        let sample = sampler.on_ack(&ack(202, 1000, 152, third), Duration::from_millis(50));
        assert_eq!(sample.rate, Some(1_000_000 / 51));
    }

    #[test]
    fn an_ack_of_late_packets_alone_makes_no_span_longer() {
        let mut sampler = Sampler::default();
        let late = sampler.on_sent(at(100), 1000, 0);
        let newer = sampler.on_sent(at(110), 1000, 1000);
        sampler.on_ack(&ack(160, 1000, 110, newer), Duration::from_millis(50));
        sampler.on_ack(&ack(161, 1000, 100, late), Duration::from_millis(50));
        assert_eq!(sampler.on_sent(at(162), 1000, 1).first_sent_time, at(110));
    }

    #[test]
    fn what_was_only_late_is_not_lost() {
        let mut sampler = Sampler::default();
        let snapshot = sampler.on_sent(at(100), 3000, 0);
        sampler.on_loss(2000);
        sampler.on_spurious_loss(1500);
        assert_eq!(sampler.on_ack(&ack(150, 1000, 100, snapshot), Duration::from_millis(50)).lost, 500);
    }

    #[test]
    fn short_spans_and_empty_acks_give_no_rate() {
        let mut sampler = Sampler::default();
        let sent = sampler.on_sent(at(0), 1000, 0);
        assert_eq!(sampler.on_ack(&ack(49, 1000, 0, sent), Duration::from_millis(50)).rate, None);
        assert_eq!(sampler.on_ack(&ack(50, 0, 0, sent), Duration::ZERO).rate, None);
        let sent = sampler.on_sent(at(60), 1000, 0);
        assert_eq!(sampler.on_ack(&ack(60, 1000, 60, sent), Duration::ZERO).rate, None);
    }

    #[test]
    fn app_limited_lasts_until_what_was_in_flight_is_delivered() {
        let mut sampler = Sampler::default();
        let before = sampler.on_sent(at(0), 1000, 0);
        sampler.app_limited(1000);
        let after = sampler.on_sent(at(1), 1000, 1000);
        assert!(!before.app_limited && after.app_limited);
        sampler.on_ack(&ack(50, 1000, 0, before), Duration::ZERO);
        assert!(sampler.on_sent(at(51), 1, 1000).app_limited);
        assert!(sampler.on_ack(&ack(52, 1000, 1, after), Duration::ZERO).app_limited);
        assert!(!sampler.on_sent(at(53), 1, 1).app_limited);
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(per_second(u64::MAX, Duration::from_nanos(1)), Some(u64::MAX));
        assert_eq!(per_second(0, Duration::MAX), Some(1));
        assert_eq!(per_second(1, Duration::ZERO), None);
        assert_eq!(bytes_in(u64::MAX, Duration::MAX), u64::MAX);
        assert_eq!(percent(u64::MAX, 101), u64::MAX);
        assert_eq!(percent(99, 277), 274);
    }
}
