//! CUBIC (RFC 9438) with HyStart++ (RFC 9406): losses and marks halve less than Reno's, growth follows a cubic
//! of the time since the last one.
//!
//! Windows in bytes, times in milliseconds where the cubic is computed; all integer. Absent on purpose:
//! proportional rate reduction, since the pacer spreads what the window permits.

use core::time::Duration;

use super::rate::{RateSample, percent};
use super::window::LossWindow;
use super::{AckSample, Controller, SendSnapshot, Start, WINDOW_MAX};
use crate::time::Time;

/// Window after a congestion event, percent (beta_cubic).
const BETA: u64 = 70;
/// Window that a flow remembers which lost again before it was back where it had been (fast convergence).
const CONVERGENCE: u64 = 85;
/// Reno-friendly growth in thousandths of a packet a round: 3 (1 - beta) / (1 + beta).
const RENO_ALPHA: u64 = 529;
/// Pacing in percent of window / RTT: in slow start and after.
const PACING_SLOW_START: u64 = 200;
const PACING: u64 = 120;
/// The cubic is not followed beyond: its cube must fit.
const EPOCH_MS_MAX: u64 = 1_000_000;

/// HyStart++ (RFC 9406 section 4.2).
const RTT_THRESHOLD_MIN: Duration = Duration::from_millis(4);
const RTT_THRESHOLD_MAX: Duration = Duration::from_millis(16);
const RTT_DIVISOR: u32 = 8;
const RTT_SAMPLES: u32 = 8;
const CONSERVATIVE_DIVISOR: u64 = 4;
const CONSERVATIVE_ROUNDS: u32 = 5;

/// Detector of a growing queue in slow start.
#[derive(Clone, Copy, Debug)]
struct HyStart {
    /// Rounds left of conservative slow start, and the RTT that started it.
    conservative: Option<(u32, Duration)>,
    round_end: u64,
    samples: u32,
    current_min: Duration,
    last_min: Duration,
}

/// What slow start does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlowStart {
    Fast,
    Conservative,
    Over,
}

impl HyStart {
    fn new() -> Self {
        HyStart {
            conservative: None,
            round_end: 0,
            samples: 0,
            current_min: Duration::MAX,
            last_min: Duration::MAX,
        }
    }

    fn on_ack(&mut self, rtt: Option<Duration>, sample: &RateSample, delivered: u64) -> SlowStart {
        if sample.prior_delivered >= self.round_end {
            self.round_end = delivered;
            (self.last_min, self.current_min, self.samples) = (self.current_min, Duration::MAX, 0);
            if let Some((rounds, _)) = &mut self.conservative {
                *rounds -= 1;
                if *rounds == 0 {
                    self.conservative = None;
                    return SlowStart::Over;
                }
            }
        }
        if let Some(rtt) = rtt {
            self.current_min = self.current_min.min(rtt);
            self.samples = self.samples.saturating_add(1);
            self.judge();
        }
        if self.conservative.is_some() { SlowStart::Conservative } else { SlowStart::Fast }
    }

    fn judge(&mut self) {
        if self.samples < RTT_SAMPLES || self.last_min == Duration::MAX {
            return;
        }
        if let Some((_, baseline)) = self.conservative {
            if self.current_min < baseline {
                self.conservative = None;
            }
            return;
        }
        let threshold = (self.last_min / RTT_DIVISOR).clamp(RTT_THRESHOLD_MIN, RTT_THRESHOLD_MAX);
        if self.current_min >= self.last_min.saturating_add(threshold) {
            self.conservative = Some((CONSERVATIVE_ROUNDS, self.current_min));
        }
    }
}

/// The curve since the last congestion event, and what is kept to take that event back.
#[derive(Clone, Copy, Debug, Default)]
struct Epoch {
    /// When congestion avoidance began; `None` until the first ACK after the event.
    start: Option<Time>,
    /// Window at the plateau (W_max), and before the event (cwnd_prior).
    w_max: u64,
    prior_window: u64,
    /// Milliseconds from start to plateau (K).
    plateau_ms: u64,
    /// What Reno would have (W_est).
    reno: u64,
}

/// State before a congestion event.
#[derive(Clone, Copy, Debug)]
struct Undo {
    window: u64,
    threshold: u64,
    epoch: Epoch,
    lost: u64,
}

/// CUBIC for one path.
#[derive(Clone, Copy, Debug)]
pub struct Cubic {
    window: LossWindow,
    hystart: HyStart,
    epoch: Epoch,
    undo: Option<Undo>,
}

impl Cubic {
    pub(super) fn new(start: Start) -> Self {
        Cubic { window: LossWindow::new(start), hystart: HyStart::new(), epoch: Epoch::default(), undo: None }
    }

    /// RFC 9438 sections 4.6 and 4.7, once per window.
    fn on_congestion(&mut self, now: Time, lost: u64) {
        let LossWindow { bytes: window, threshold, .. } = self.window;
        self.undo = Some(Undo { window, threshold, epoch: self.epoch, lost });
        let converging = window < self.epoch.w_max;
        self.epoch = Epoch {
            start: None,
            w_max: if converging { percent(window, CONVERGENCE) } else { window },
            prior_window: window,
            ..Default::default()
        };
        self.window.lower(now, BETA);
    }

    fn slow_start(&mut self, sample: &AckSample, rate: &RateSample) {
        let delivered = self.window.sampler.delivered();
        let window = &mut self.window;
        match self.hystart.on_ack(sample.rtt, rate, delivered) {
            SlowStart::Fast => window.bytes = window.bytes.saturating_add(sample.acked_bytes),
            SlowStart::Conservative => {
                window.bytes = window.bytes.saturating_add(sample.acked_bytes / CONSERVATIVE_DIVISOR);
            }
            SlowStart::Over => window.threshold = window.bytes,
        }
        window.bytes = window.bytes.min(window.threshold.max(window.min()));
    }

    fn begin_epoch(&mut self, now: Time) {
        let epoch = &mut self.epoch;
        epoch.start = Some(now);
        epoch.reno = self.window.bytes;
        epoch.w_max = epoch.w_max.max(self.window.bytes);
        // K = cbrt((W_max - cwnd) / C) with C = 0.4 packets per cubed second, in milliseconds.
        let missing = u128::from(epoch.w_max - self.window.bytes) * 2_500_000_000
            / u128::from(self.window.max_datagram);
        epoch.plateau_ms = cube_root(missing);
    }

    /// W_cubic at `elapsed_ms` since the start of the epoch, in bytes.
    fn curve(&self, elapsed_ms: u64) -> u64 {
        let offset =
            i128::from(elapsed_ms.min(EPOCH_MS_MAX)) - i128::from(self.epoch.plateau_ms.min(EPOCH_MS_MAX));
        let grown = offset * offset * offset * 4 * i128::from(self.window.max_datagram) / 10_000_000_000;
        u64::try_from((i128::from(self.epoch.w_max) + grown).max(0)).unwrap_or(u64::MAX)
    }

    /// RFC 9438 sections 4.2 to 4.5.
    fn avoid_congestion(&mut self, now: Time, acked: u64) {
        if self.epoch.start.is_none() {
            self.begin_epoch(now);
        }
        let start = self.epoch.start.unwrap_or(now);
        let window = self.window.bytes;
        let ahead = now.since(start) + self.window.rtt.smoothed();
        let elapsed_ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
        let target = self.curve(elapsed_ms).clamp(window, window.saturating_mul(3) / 2);
        let alpha = if self.epoch.reno < self.epoch.prior_window { RENO_ALPHA } else { 1000 };
        let share = |growth: u64| {
            u64::try_from(u128::from(growth) * u128::from(acked) / u128::from(window)).unwrap_or(u64::MAX)
        };
        let reno = self.epoch.reno.saturating_add(share(alpha * self.window.max_datagram) / 1000);
        let cubic = window.saturating_add(share(target - window));
        self.epoch.reno = reno.min(WINDOW_MAX);
        self.window.bytes = cubic.max(reno);
    }
}

/// Largest integer whose cube is at most `value`.
fn cube_root(value: u128) -> u64 {
    let (mut low, mut high) = (0_u64, 1 << 40);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if u128::from(middle).pow(3) <= value { low = middle } else { high = middle - 1 }
    }
    low
}

impl Controller for Cubic {
    fn on_sent(&mut self, now: Time, bytes: u64, in_flight_before: u64) -> SendSnapshot {
        self.window.on_sent(now, bytes, in_flight_before)
    }

    fn on_ack(&mut self, sample: &AckSample) {
        let rate = self.window.on_ack(sample);
        if self.window.is_newly_marked(sample) {
            self.on_congestion(sample.now, 0);
        }
        if self.window.in_recovery(sample.newest_sent_time) || sample.acked_bytes == 0 {
            return;
        }
        if sample.app_limited_now || rate.app_limited {
            // A window that is not used proves nothing (RFC 9438 section 5.8): the curve starts over.
            self.epoch.start = None;
            return;
        }
        if self.window.in_slow_start() {
            self.slow_start(sample, &rate);
        } else {
            self.avoid_congestion(sample.now, sample.acked_bytes);
        }
        self.window.bound();
    }

    fn on_loss(&mut self, now: Time, lost_bytes: u64, _in_flight: u64, newest_lost_sent: Time) {
        if lost_bytes == 0 {
            return;
        }
        self.window.sampler.on_loss(lost_bytes);
        if !self.window.in_recovery(newest_lost_sent) {
            self.on_congestion(now, lost_bytes);
        } else if let Some(undo) = &mut self.undo {
            undo.lost = undo.lost.saturating_add(lost_bytes);
        }
    }

    fn on_spurious_loss(&mut self, _now: Time, bytes: u64) {
        let Some(undo) = &mut self.undo else { return };
        if undo.lost == 0 {
            return;
        }
        undo.lost = undo.lost.saturating_sub(bytes);
        if undo.lost == 0 {
            self.window.bytes = self.window.bytes.max(undo.window);
            self.window.threshold = self.window.threshold.max(undo.threshold);
            self.epoch = undo.epoch;
            self.window.recovery_start = None;
            self.undo = None;
        }
    }

    fn on_persistent_congestion(&mut self, now: Time, lost_bytes: u64) {
        self.window.start_over(now, lost_bytes, BETA);
        self.epoch.start = None;
        self.undo = None;
        self.hystart = HyStart::new();
    }

    fn app_limited(&mut self, in_flight: u64) {
        self.window.sampler.app_limited(in_flight);
    }

    fn window(&self) -> u64 {
        self.window.bytes
    }

    fn pacing_rate(&self) -> Option<u64> {
        self.window.pacing_rate(if self.window.in_slow_start() { PACING_SLOW_START } else { PACING })
    }

    fn in_startup(&self) -> bool {
        self.window.threshold == u64::MAX
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

    fn cubic() -> Cubic {
        Cubic::new(Start { window: 32 * MTU, max_datagram: MTU, rtt: Duration::from_millis(50) })
    }

    /// One round trip of 50 ms that ends at `ms`: the whole window is sent and acknowledged in eight parts.
    fn round(control: &mut Cubic, ms: u64, rtt: u64) {
        let window = control.window();
        let snapshot = control.on_sent(at(ms - rtt), window, 0);
        for part in 0..8 {
            control.on_ack(&AckSample {
                now: at(ms),
                acked_bytes: window / 8,
                lost_bytes: 0,
                in_flight: window / 8 * (7 - part),
                rtt: Some(Duration::from_millis(rtt)),
                one_way_delay: None,
                ce_marked: false,
                newest_sent_time: at(ms - rtt),
                snapshot,
                app_limited_now: false,
            });
        }
    }

    #[test]
    fn slow_start_doubles_and_loss_takes_three_tenths() {
        let mut control = cubic();
        round(&mut control, 100, 50);
        assert_eq!(control.window(), 64 * MTU);
        control.on_loss(at(101), MTU, 0, at(100));
        assert_eq!(control.window(), 64 * MTU * 7 / 10);
        control.on_loss(at(102), MTU, 0, at(101));
        assert_eq!(control.window(), 64 * MTU * 7 / 10, "same congestion event");
        control.on_loss(at(200), MTU, 0, at(102));
        assert_eq!(control.window(), 64 * MTU * 49 / 100);
        assert!(!control.in_startup());
    }

    #[test]
    fn window_returns_to_its_plateau_after_k() {
        let mut control = cubic();
        for i in 1..=5 {
            round(&mut control, i * 50, 50);
        }
        let before = control.window();
        assert_eq!(before, 1024 * MTU);
        control.on_loss(at(251), MTU, 0, at(250));
        // K = cbrt(1024 * 0.3 / 0.4) = 9.16 s.
        let mut ms = 350;
        while ms < 301 + 9_160 {
            round(&mut control, ms, 50);
            ms += 50;
        }
        assert_eq!(control.epoch.plateau_ms, 9_157);
        let window = control.window();
        assert!(window > before * 98 / 100 && window < before * 102 / 100, "{window}");
    }

    #[test]
    fn small_windows_grow_as_reno_does() {
        let mut control = cubic();
        control.on_loss(at(1), MTU, 0, at(1));
        (control.window.bytes, control.window.threshold) = (4 * MTU, 4 * MTU);
        (control.epoch.w_max, control.epoch.prior_window) = (4 * MTU, 100 * MTU);
        let mut ms = 60;
        round(&mut control, ms, 50);
        let before = control.window();
        for _ in 0..10 {
            ms += 50;
            round(&mut control, ms, 50);
        }
        let gained = control.window() - before;
        assert!((4_500..=6_500).contains(&gained), "{gained}");
    }

    #[test]
    fn hystart_leaves_slow_start_when_the_rtt_grows() {
        let mut control = cubic();
        let mut ms = 100;
        for rtt in [50, 50, 57, 57, 57, 57, 57, 57, 57, 57] {
            round(&mut control, ms, rtt);
            ms += 60;
        }
        assert!(!control.in_startup());
        assert!(control.window() < 1_000 * MTU, "{}", control.window());
    }

    #[test]
    fn hystart_returns_when_the_rtt_falls_again() {
        let mut control = cubic();
        let mut ms = 100;
        for rtt in [50, 50, 60, 50, 50, 50] {
            round(&mut control, ms, rtt);
            ms += 60;
        }
        assert!(control.in_startup());
        assert!(control.window() > 32 * MTU * 16, "{}", control.window());
    }

    #[test]
    fn spurious_loss_is_taken_back_when_all_of_it_was() {
        let mut control = cubic();
        round(&mut control, 100, 50);
        control.on_loss(at(101), 2 * MTU, 0, at(100));
        control.on_spurious_loss(at(102), MTU);
        assert!(control.window() < 64 * MTU);
        control.on_spurious_loss(at(102), MTU);
        assert_eq!((control.window(), control.in_startup()), (64 * MTU, true));
        control.on_spurious_loss(at(103), MTU);
        assert_eq!(control.window(), 64 * MTU);
    }

    #[test]
    fn marks_count_as_one_event_a_window() {
        let mut control = cubic();
        let snapshot = control.on_sent(at(0), MTU, 0);
        for sent in [0, 1, 50] {
            control.on_ack(&AckSample {
                now: at(50),
                acked_bytes: 1,
                lost_bytes: 0,
                in_flight: 1,
                rtt: None,
                one_way_delay: None,
                ce_marked: true,
                newest_sent_time: at(sent),
                snapshot,
                app_limited_now: false,
            });
            assert_eq!(control.window(), 32 * MTU * 7 / 10);
        }
    }

    #[test]
    fn unused_windows_do_not_grow() {
        let mut control = cubic();
        control.app_limited(0);
        round(&mut control, 100, 50);
        assert_eq!(control.window(), 32 * MTU);
    }

    #[test]
    fn persistent_congestion_starts_over_at_the_minimum() {
        let mut control = cubic();
        control.on_persistent_congestion(at(0), MTU);
        assert_eq!(control.window(), 2 * MTU);
        for i in 1..=4 {
            round(&mut control, i * 50 + 1, 50);
        }
        assert!(control.window() >= 22 * MTU, "back to the threshold by slow start");
    }

    #[test]
    fn cube_roots() {
        for (value, root) in [(0, 0), (1, 1), (7, 1), (8, 2), (26, 2), (27, 3), (u128::MAX, 1 << 40)] {
            assert_eq!(cube_root(value), root);
        }
    }
}
