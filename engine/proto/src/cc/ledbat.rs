//! LEDBAT++ (RFC 6817, draft-irtf-iccrg-ledbat-plus-plus): uses what others leave, and leaves as soon as they come.
//!
//! Queueing delay is the distance to the smallest delay of the last minutes. Above a target the window shrinks in
//! proportion, below it grows more slowly than Reno's; regular slowdowns empty the queue so that the base delay
//! stays true. Where the path has one-way delays, a queue counts only if they and the round trips show it: the way back
//! adds to the round trip alone, and clocks that drift apart to the one-way delay alone.

use core::time::Duration;

use super::window::LossWindow;
use super::{AckSample, Controller, SendSnapshot, Start};
use crate::time::Time;

/// Largest queueing delay aimed for (draft section 4.2).
const TARGET_MAX: Duration = Duration::from_millis(60);
/// Smallest: below it the noise of two hosts would be taken for a queue.
const TARGET_MIN: Duration = Duration::from_millis(1);
/// The target is this part of the base RTT. Queues are rarely longer than one RTT, so that a flow that holds them
/// half full (CUBIC) is always seen; with the plain 60 ms a queue of 50 ms would never be noticed.
const TARGET_DIVISOR: u32 = 4;
/// Base delay: minima of so many spans are kept.
const BASE_SPANS: usize = 10;
const BASE_SPAN: Duration = Duration::from_secs(60);
/// The current delay is the smallest of so many samples.
const CURRENT_SAMPLES: usize = 4;
/// Largest divisor of Reno's growth (draft section 4.2).
const GAIN_DIVISOR_MAX: u64 = 16;
/// Slow start ends when the queue reaches this part of the target, percent.
const SLOW_START_PERCENT: u128 = 75;
/// Round trips a slowdown lasts, and between slowdowns the multiple of what the last one took.
const SLOWDOWN_RTTS: u32 = 2;
const SLOWDOWN_SPACING: u32 = 9;
/// Window after loss, percent.
const BETA: u64 = 50;
/// Pacing in percent of window / RTT.
const PACING: u64 = 200;

/// Smallest delays, by minute, and the last few samples.
#[derive(Clone, Copy, Debug)]
struct Delays {
    base: [Duration; BASE_SPANS],
    span_start: Time,
    current: [Duration; CURRENT_SAMPLES],
    next: usize,
}

impl Delays {
    fn new() -> Self {
        Delays {
            base: [Duration::MAX; BASE_SPANS],
            span_start: Time::from_nanos(0),
            current: [Duration::MAX; CURRENT_SAMPLES],
            next: 0,
        }
    }

    #[expect(clippy::indexing_slicing, reason = "`next` is counted modulo the samples' number")]
    fn add(&mut self, now: Time, delay: Duration) {
        if now.since(self.span_start) >= BASE_SPAN {
            self.base.rotate_right(1);
            self.base[0] = Duration::MAX;
            self.span_start = now;
        }
        self.base[0] = self.base[0].min(delay);
        self.current[self.next] = delay;
        self.next = (self.next + 1) % CURRENT_SAMPLES;
    }

    fn is_empty(&self) -> bool {
        self.base == [Duration::MAX; BASE_SPANS]
    }

    /// How far the smallest recent delay is above the base.
    fn queue(&self) -> Duration {
        let smallest = |delays: &[Duration]| delays.iter().copied().min().unwrap_or(Duration::MAX);
        smallest(&self.current).saturating_sub(smallest(&self.base))
    }
}

/// Queueing delay on the way to the peer.
#[derive(Clone, Copy, Debug)]
struct Queue {
    one_way: Delays,
    round_trip: Delays,
}

impl Queue {
    fn on_ack(&mut self, sample: &AckSample) {
        if let Some(delay) = sample.one_way_delay {
            self.one_way.add(sample.now, delay);
        }
        if let Some(rtt) = sample.rtt {
            self.round_trip.add(sample.now, rtt);
        }
    }

    fn delay(&self) -> Duration {
        match (self.one_way.is_empty(), self.round_trip.is_empty()) {
            (false, false) => self.one_way.queue().min(self.round_trip.queue()),
            (true, _) => self.round_trip.queue(),
            (false, true) => self.one_way.queue(),
        }
    }
}

/// Regular emptying of the queue (draft section 4.4).
#[derive(Clone, Copy, Debug)]
enum Slowdown {
    /// None before slow start is over.
    Unplanned,
    At(Time),
    /// Window at the minimum until then; when it began.
    Low {
        began: Time,
        until: Time,
    },
    /// Slow start back to the threshold.
    Back {
        began: Time,
    },
}

/// LEDBAT++ for one path.
#[derive(Clone, Copy, Debug)]
pub struct Ledbat {
    window: LossWindow,
    queue: Queue,
    slowdown: Slowdown,
    started: bool,
    /// Where the round ends in which the window may shrink once.
    round_end: u64,
    /// Fractions of growth that are not a byte yet.
    remainder: u64,
}

impl Ledbat {
    pub(super) fn new(start: Start) -> Self {
        Ledbat {
            window: LossWindow::new(start),
            queue: Queue { one_way: Delays::new(), round_trip: Delays::new() },
            slowdown: Slowdown::Unplanned,
            started: false,
            round_end: 0,
            remainder: 0,
        }
    }

    fn target(&self) -> Duration {
        (self.window.rtt.min() / TARGET_DIVISOR).clamp(TARGET_MIN, TARGET_MAX)
    }

    /// 1 / GAIN: long paths grow like Reno, short ones more slowly.
    fn gain_divisor(&self) -> u64 {
        let target = self.target().as_nanos() * 2;
        let divisor = target.div_ceil(self.window.rtt.min().as_nanos().max(1));
        u64::try_from(divisor).unwrap_or(GAIN_DIVISOR_MAX).clamp(1, GAIN_DIVISOR_MAX)
    }

    fn leave_slow_start(&mut self, now: Time) {
        self.window.threshold = self.window.bytes;
        self.started = true;
        if matches!(self.slowdown, Slowdown::Unplanned) {
            self.slowdown = Slowdown::At(now + self.window.rtt.smoothed() * SLOWDOWN_RTTS);
        }
    }

    /// Plans, begins and ends slowdowns; true while the window stays at the minimum.
    fn slow_down(&mut self, now: Time) -> bool {
        match self.slowdown {
            Slowdown::At(time) if now >= time => {
                self.window.threshold = self.window.bytes;
                self.window.bytes = self.window.min();
                let until = now + self.window.rtt.smoothed() * SLOWDOWN_RTTS;
                self.slowdown = Slowdown::Low { began: now, until };
                true
            }
            Slowdown::Low { until, .. } if now < until => true,
            Slowdown::Low { began, .. } => {
                self.slowdown = Slowdown::Back { began };
                false
            }
            Slowdown::Back { began } if !self.window.in_slow_start() => {
                self.slowdown = Slowdown::At(now + now.since(began).saturating_mul(SLOWDOWN_SPACING));
                false
            }
            _ => false,
        }
    }

    fn grow_or_shrink(&mut self, sample: &AckSample) {
        let (queue, target) = (self.queue.delay(), self.target());
        let divisor = self.gain_divisor();
        if self.window.in_slow_start() {
            let full = queue.as_nanos() * 100 > target.as_nanos() * SLOW_START_PERCENT;
            if full {
                self.leave_slow_start(sample.now);
            } else {
                let grown = self.window.bytes.saturating_add(sample.acked_bytes / divisor);
                self.window.bytes = grown.min(self.window.threshold);
            }
            return;
        }
        if queue <= target {
            self.grow(sample.acked_bytes, divisor);
        } else if sample.snapshot.delivered >= self.round_end {
            self.round_end = self.window.sampler.delivered();
            self.shrink(queue, target);
        }
    }

    /// Reno's packet a round, divided by the gain.
    fn grow(&mut self, acked: u64, divisor: u64) {
        let grown = u128::from(acked) * u128::from(self.window.max_datagram) + u128::from(self.remainder);
        let per_byte = u128::from(self.window.bytes) * u128::from(divisor);
        self.remainder = u64::try_from(grown % per_byte).unwrap_or(0);
        let grown = u64::try_from(grown / per_byte).unwrap_or(u64::MAX);
        self.window.bytes = self.window.bytes.saturating_add(grown);
    }

    /// Once a round: by how far the delay is above the target, at most by half.
    fn shrink(&mut self, queue: Duration, target: Duration) {
        let excess = (queue - target).as_nanos().min(target.as_nanos());
        let cut = u128::from(self.window.bytes) * excess / target.as_nanos().max(1);
        self.window.bytes -= u64::try_from(cut).unwrap_or(u64::MAX).min(self.window.bytes / 2);
    }

    fn on_congestion(&mut self, now: Time) {
        self.window.lower(now, BETA);
        self.leave_slow_start(now);
    }
}

impl Controller for Ledbat {
    fn on_sent(&mut self, now: Time, bytes: u64, in_flight_before: u64) -> SendSnapshot {
        self.window.on_sent(now, bytes, in_flight_before)
    }

    fn on_ack(&mut self, sample: &AckSample) {
        let rate = self.window.on_ack(sample);
        self.queue.on_ack(sample);
        if self.window.is_newly_marked(sample) {
            self.on_congestion(sample.now);
        }
        let held = self.slow_down(sample.now) || self.window.in_recovery(sample.newest_sent_time);
        if held || sample.acked_bytes == 0 {
            return;
        }
        if !sample.app_limited_now && !rate.app_limited {
            self.grow_or_shrink(sample);
        }
        self.window.bound();
    }

    fn on_loss(&mut self, now: Time, lost_bytes: u64, _in_flight: u64, newest_lost_sent: Time) {
        self.window.sampler.on_loss(lost_bytes);
        if lost_bytes > 0 && !self.window.in_recovery(newest_lost_sent) {
            self.on_congestion(now);
        }
    }

    fn on_spurious_loss(&mut self, _now: Time, _bytes: u64) {}

    fn on_persistent_congestion(&mut self, now: Time, lost_bytes: u64) {
        self.window.start_over(now, lost_bytes, BETA);
    }

    fn app_limited(&mut self, in_flight: u64) {
        self.window.sampler.app_limited(in_flight);
    }

    fn window(&self) -> u64 {
        self.window.bytes
    }

    fn pacing_rate(&self) -> Option<u64> {
        self.window.pacing_rate(PACING)
    }

    fn in_startup(&self) -> bool {
        !self.started
    }

    fn on_mtu(&mut self, max_datagram: u64) {
        self.window.on_mtu(max_datagram);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u64 = 1000;

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    fn ledbat() -> Ledbat {
        Ledbat::new(Start { window: 32 * MTU, max_datagram: MTU, rtt: Duration::from_millis(40) })
    }

    /// One round trip that ends at `ms` and had `queue_ms` of queueing over a base of 40 ms.
    fn round(control: &mut Ledbat, ms: u64, queue_ms: u64, one_way: Option<u64>) {
        let window = control.window();
        let sent = at(ms - 40 - queue_ms);
        let snapshot = control.on_sent(sent, window, 0);
        for part in 0..8 {
            control.on_ack(&AckSample {
                now: at(ms),
                acked_bytes: window / 8,
                lost_bytes: 0,
                in_flight: window / 8 * (7 - part),
                rtt: Some(Duration::from_millis(40 + queue_ms)),
                one_way_delay: one_way.map(Duration::from_millis),
                ce_marked: false,
                newest_sent_time: sent,
                snapshot,
                app_limited_now: false,
            });
        }
    }

    #[test]
    fn slow_start_ends_below_the_target() {
        let mut control = ledbat();
        round(&mut control, 100, 0, None);
        assert_eq!(control.window(), 64 * MTU);
        round(&mut control, 200, 7, None);
        assert!(control.in_startup());
        round(&mut control, 300, 8, None);
        assert!(!control.in_startup());
    }

    #[test]
    fn a_standing_queue_of_others_drives_the_window_down() {
        let mut control = ledbat();
        for i in 1..40 {
            round(&mut control, i * 100, if i < 5 { 0 } else { 20 }, None);
        }
        assert!(control.window() <= 3 * MTU, "{}", control.window());
    }

    #[test]
    fn one_way_delay_is_preferred_whatever_its_origin() {
        let mut control = ledbat();
        for i in 1..40 {
            round(&mut control, i * 100, 30, Some(5_000));
        }
        assert!(control.window() > 64 * MTU, "the queue is on the way back: {}", control.window());
    }

    #[test]
    fn slowdowns_come_after_the_start_and_then_every_tenth_of_the_time() {
        let mut control = ledbat();
        let (mut low, mut rounds) = (0, 0);
        for i in 1..400 {
            round(&mut control, i * 100, if i == 5 { 9 } else { 0 }, None);
            rounds += 1;
            low += u64::from(control.window() == 2 * MTU);
        }
        assert!(low >= 3 && low * 4 < rounds, "{low} of {rounds}");
    }

    #[test]
    fn loss_halves_once_a_round() {
        let mut control = ledbat();
        control.on_loss(at(50), MTU, 0, at(10));
        control.on_loss(at(50), MTU, 0, at(49));
        assert_eq!(control.window(), 16 * MTU);
        control.on_loss(at(91), MTU, 0, at(51));
        assert_eq!(control.window(), 8 * MTU);
    }

    #[test]
    fn clocks_that_drift_apart_are_no_queue() {
        let mut control = ledbat();
        for i in 1..40 {
            round(&mut control, i * 100, 0, Some(i));
        }
        assert!(control.window() > 64 * MTU, "{}", control.window());
    }

    #[test]
    fn base_delay_forgets_after_ten_spans() {
        let mut control = ledbat();
        round(&mut control, 100, 0, Some(10));
        for i in 1..=10 {
            round(&mut control, 100 + i * 60_000, 5, Some(15));
            assert_eq!(control.queue.delay(), Duration::from_millis(if i < 10 { 5 } else { 0 }), "{i}");
        }
    }
}
