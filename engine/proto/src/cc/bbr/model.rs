//! BBR's model of the path: what it can deliver, how long it is, and what congestion has taught since.
//!
//! Rate samples, RTT samples and losses in; bandwidth, minimum RTT, short-term bounds and round boundaries out
//! (draft-ietf-ccwg-bbr section 5.5). Bytes, bytes per second.

use core::time::Duration;

use super::super::AckSample;
use super::super::rate::{RateSample, bytes_in, percent};
use crate::time::Time;

/// Part of the base RTT, in percent, that a queueing delay must exceed before loss counts as congestion.
const QUEUE_PERCENT: u64 = 25;
/// Delay that schedulers, interrupt moderation and ACK timers cause on idle paths too.
const HOST_NOISE: Duration = Duration::from_millis(1);
/// What busy ends add to a round trip without any queue on the path: an ACK that waits for more packets, a thread that waits for a processor.
pub(super) const HOST_DELAY: Duration = Duration::from_millis(2);
/// Such delay is little to a path of more than this many times its length.
const HOST_DELAY_PART: u32 = 8;
/// And fast paths have queues too short for more than this: an ACK's worth of packets and as much again.
const HOST_BYTES_MAX: u64 = 128 << 10;
/// Loss rate, in percent, that is tolerated beside a queue that may be such noise (BBRLossThresh).
const LOSS_PERCENT: u64 = 2;
/// What remains of a bound after a congested round, in percent (BBRBeta).
pub(super) const BETA_PERCENT: u64 = 70;
/// How long a minimum RTT is believed (MinRTTFilterLen).
const MIN_RTT_SPAN: Duration = Duration::from_secs(10);
/// After so long without an empty queue, one is made (ProbeRTTInterval).
const PROBE_RTT_INTERVAL: Duration = Duration::from_secs(5);
/// A sample within this part of the minimum shows an empty queue: measuring again would tell nothing.
const MIN_RTT_SLACK: u32 = 32;
/// Rounds that each half of the ACK aggregation filter covers (ExtraAckedFilterLen is 10).
const EXTRA_ACKED_HALF_ROUNDS: u64 = 5;

/// What happened since the current loss round began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundSignals {
    pub(super) lost: bool,
    pub(super) marked: bool,
    /// Largest queueing delay.
    queue: Duration,
    /// Least queueing delay, once there was a sample.
    least_queue: Option<Duration>,
}

/// Bounds as they were before a loss, to come back to when it was none.
#[derive(Clone, Copy, Debug)]
struct Undo {
    bw_lo: u64,
    inflight_lo: u64,
    inflight_hi: u64,
}

/// Degree of ACK aggregation: bytes acknowledged beyond what the bandwidth explains.
#[derive(Clone, Copy, Debug, Default)]
struct Aggregation {
    since: Time,
    acked: u64,
    halves: [u64; 2],
    half_round: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    /// Highest delivery rate of the current and of the last probe cycle.
    bw_cycles: [u64; 2],
    pub(super) bw_latest: u64,
    pub(super) inflight_latest: u64,
    /// Short-term bounds from congestion since the last probe; `u64::MAX` is none.
    pub(super) bw_lo: u64,
    pub(super) inflight_lo: u64,
    /// Long-term bound: the most that was in flight without too much loss; `u64::MAX` is none.
    pub(super) inflight_hi: u64,
    pub(super) min_rtt: Duration,
    min_rtt_stamp: Time,
    probe_rtt_min: Duration,
    probe_rtt_stamp: Time,
    pub(super) probe_rtt_due: bool,
    pub(super) rounds: u64,
    pub(super) round_start: bool,
    next_round: u64,
    pub(super) loss_round_start: bool,
    next_loss_round: u64,
    signals: RoundSignals,
    /// Least queueing delay of the loss round before this one.
    stood: Duration,
    aggregation: Aggregation,
    undo: Undo,
    pub(super) has_rtt: bool,
}

impl Model {
    pub(super) fn new(rtt: Duration) -> Self {
        let origin = Time::from_nanos(0);
        Model {
            bw_cycles: [0; 2],
            bw_latest: 0,
            inflight_latest: 0,
            bw_lo: u64::MAX,
            inflight_lo: u64::MAX,
            inflight_hi: u64::MAX,
            min_rtt: rtt,
            min_rtt_stamp: origin,
            probe_rtt_min: rtt,
            probe_rtt_stamp: origin,
            probe_rtt_due: false,
            rounds: 0,
            round_start: false,
            next_round: 0,
            loss_round_start: false,
            next_loss_round: 0,
            signals: RoundSignals::default(),
            stood: Duration::ZERO,
            aggregation: Aggregation::default(),
            undo: Undo { bw_lo: u64::MAX, inflight_lo: u64::MAX, inflight_hi: 0 },
            has_rtt: false,
        }
    }

    /// A model of the same path length that knows nothing else.
    pub(super) fn anew(&self) -> Self {
        Model {
            min_rtt_stamp: self.min_rtt_stamp,
            probe_rtt_min: self.probe_rtt_min,
            probe_rtt_stamp: self.probe_rtt_stamp,
            has_rtt: self.has_rtt,
            next_round: self.next_round,
            next_loss_round: self.next_loss_round,
            ..Model::new(self.min_rtt)
        }
    }

    pub(super) fn max_bw(&self) -> u64 {
        self.bw_cycles[0].max(self.bw_cycles[1])
    }

    /// The bandwidth to send at: the measured one within the short-term bound.
    pub(super) fn bw(&self) -> u64 {
        self.max_bw().min(self.bw_lo)
    }

    /// What a flight holds for the ends' own delays, bytes. On a short path most of the round trip are those, which the minimum RTT does not
    /// show: a flight of the bare product would make the sender wait for them, and every wait would lower the bandwidth that is measured.
    fn host_bytes(&self, bw: u64) -> u64 {
        let delay = HOST_DELAY.saturating_sub(self.min_rtt / HOST_DELAY_PART);
        bytes_in(bw, delay).min(HOST_BYTES_MAX)
    }

    /// `gain` percent of the bandwidth-delay product.
    pub(super) fn bdp(&self, gain: u64) -> u64 {
        let bw = self.bw();
        percent(bytes_in(bw, self.min_rtt).saturating_add(self.host_bytes(bw)), gain)
    }

    /// The same without the ends' delays: what the path alone holds.
    pub(super) fn bdp_bare(&self, gain: u64) -> u64 {
        percent(bytes_in(self.bw(), self.min_rtt), gain)
    }

    /// The same of the path alone, without the short-term bound: what probes and draining aim at.
    pub(super) fn bdp_max(&self, gain: u64) -> u64 {
        percent(bytes_in(self.max_bw(), self.min_rtt), gain)
    }

    pub(super) fn extra_acked(&self) -> u64 {
        self.aggregation.halves[0].max(self.aggregation.halves[1])
    }

    /// BBRUpdateLatestDeliverySignals, BBRUpdateRound, BBRUpdateMaxBw.
    pub(super) fn on_rate(&mut self, sample: &RateSample, delivered: u64) {
        self.round_start = sample.prior_delivered >= self.next_round;
        if self.round_start {
            self.rounds += 1;
            self.next_round = delivered;
        }
        self.loss_round_start = sample.prior_delivered >= self.next_loss_round;
        if self.loss_round_start {
            self.next_loss_round = delivered;
        }
        let rate = sample.rate.unwrap_or(0);
        self.bw_latest = self.bw_latest.max(rate);
        self.inflight_latest = self.inflight_latest.max(sample.delivered);
        if rate >= self.max_bw() || !sample.app_limited {
            self.bw_cycles[1] = self.bw_cycles[1].max(rate);
        }
    }

    /// BBRAdvanceLatestDeliverySignals.
    pub(super) fn end_ack(&mut self, sample: &RateSample) {
        if self.loss_round_start {
            self.stood = self.signals.least_queue.unwrap_or(self.stood);
            self.signals = RoundSignals::default();
            self.bw_latest = sample.rate.unwrap_or(0);
            self.inflight_latest = sample.delivered;
        }
    }

    /// BBRStartRound: the next round begins when what is sent from now on is acknowledged.
    pub(super) fn start_round(&mut self, delivered: u64) {
        self.next_round = delivered;
    }

    /// BBRResetCongestionSignals.
    pub(super) fn reset_congestion(&mut self) {
        self.signals = RoundSignals::default();
        (self.bw_latest, self.inflight_latest) = (0, 0);
    }

    /// BBRAdvanceMaxBwFilter: the next probe cycle begins.
    pub(super) fn next_bw_cycle(&mut self) {
        if self.bw_cycles[1] != 0 {
            self.bw_cycles = [self.bw_cycles[1], 0];
        }
    }

    pub(super) fn on_loss(&mut self, delivered: u64) {
        if !self.signals.lost {
            self.next_loss_round = delivered;
            let (bw_lo, inflight_lo, inflight_hi) = (self.bw_lo, self.inflight_lo, self.inflight_hi);
            self.undo = Undo { bw_lo, inflight_lo, inflight_hi };
        }
        self.signals.lost = true;
    }

    /// Marks and queueing delay of this ACK, and BBRUpdateMinRTT.
    pub(super) fn on_signals(&mut self, ack: &AckSample) {
        self.signals.marked |= ack.ce_marked;
        let Some(rtt) = ack.rtt else { return };
        let rtt = rtt.clamp(Duration::from_micros(1), Duration::from_secs(60));
        self.update_min_rtt(ack.now, rtt);
        let queue = rtt.saturating_sub(self.min_rtt);
        self.signals.queue = self.signals.queue.max(queue);
        self.signals.least_queue = Some(self.signals.least_queue.map_or(queue, |least| least.min(queue)));
    }

    fn update_min_rtt(&mut self, now: Time, rtt: Duration) {
        if !self.has_rtt {
            self.has_rtt = true;
            (self.min_rtt, self.probe_rtt_min) = (rtt, rtt);
            (self.min_rtt_stamp, self.probe_rtt_stamp) = (now, now);
        }
        self.probe_rtt_due = now.since(self.probe_rtt_stamp) > PROBE_RTT_INTERVAL;
        if rtt <= self.probe_rtt_min + self.probe_rtt_min / MIN_RTT_SLACK {
            self.probe_rtt_stamp = now;
        }
        if rtt < self.probe_rtt_min || self.probe_rtt_due {
            self.probe_rtt_min = rtt;
            self.probe_rtt_stamp = now;
        }
        let stale = now.since(self.min_rtt_stamp) > MIN_RTT_SPAN;
        if self.probe_rtt_min < self.min_rtt || stale {
            self.min_rtt = self.probe_rtt_min;
            self.min_rtt_stamp = self.probe_rtt_stamp;
        }
    }

    pub(super) fn queue_was_emptied(&mut self, now: Time) {
        self.probe_rtt_stamp = now;
    }

    /// Whether the flight of this sample met congestion (BBRIsInflightTooHigh), with the stated change to BBRv3:
    /// without marks or a queue that stood for a whole round no loss counts.
    pub(super) fn congested(&self, sample: &RateSample) -> bool {
        self.met_congestion(sample, self.standing_queue())
    }

    /// The same while start-up fills the queue by more in a round trip than would have stood there before.
    pub(super) fn congested_at_start(&self, sample: &RateSample) -> bool {
        self.met_congestion(sample, self.signals.queue)
    }

    /// Beside a queue that no host makes by itself any loss counts; beside one that may be a late thread's, loss above the threshold.
    fn met_congestion(&self, sample: &RateSample, queue: Duration) -> bool {
        let tolerated = if queue > HOST_NOISE { 0 } else { percent(sample.sent_in_flight, LOSS_PERCENT) };
        self.signals.marked || (self.is_queue(queue) && sample.lost > tolerated)
    }

    /// What even the luckiest packet of a whole loss round waited for: the round that ends now, or else the one before and what there
    /// is of this one. A thread that was late for some packets is not in it.
    fn standing_queue(&self) -> Duration {
        let least = self.signals.least_queue.unwrap_or_default();
        if self.loss_round_start { least } else { least.min(self.stood) }
    }

    /// Whether a queue was there at some time of this loss round that the ends' own delays cannot explain.
    pub(super) fn is_full(&self) -> bool {
        self.is_queue(self.signals.queue) && self.signals.queue > HOST_DELAY
    }

    fn is_queue(&self, delay: Duration) -> bool {
        let limit = self.min_rtt.as_nanos() * u128::from(QUEUE_PERCENT);
        delay.as_nanos() * 100 > limit
    }

    /// BBRAdaptLowerBoundsFromCongestion, at the end of a loss round outside of probes.
    pub(super) fn adapt_lower_bounds(&mut self, window: u64) {
        if self.bw_lo == u64::MAX {
            self.bw_lo = self.max_bw();
        }
        if self.inflight_lo == u64::MAX {
            self.inflight_lo = window;
        }
        self.bw_lo = self.bw_latest.max(percent(self.bw_lo, BETA_PERCENT));
        self.inflight_lo = self.inflight_latest.max(percent(self.inflight_lo, BETA_PERCENT));
    }

    pub(super) fn reset_lower_bounds(&mut self) {
        (self.bw_lo, self.inflight_lo) = (u64::MAX, u64::MAX);
    }

    pub(super) fn undo_loss(&mut self) {
        self.signals.lost = false;
        self.bw_lo = self.bw_lo.max(self.undo.bw_lo);
        self.inflight_lo = self.inflight_lo.max(self.undo.inflight_lo);
        self.inflight_hi = self.inflight_hi.max(self.undo.inflight_hi);
    }

    /// BBRUpdateACKAggregation.
    pub(super) fn on_acked(&mut self, now: Time, bytes: u64, window: u64) {
        let expected = bytes_in(self.bw(), now.since(self.aggregation.since));
        if self.aggregation.acked <= expected {
            self.aggregation.acked = 0;
            self.aggregation.since = now;
        }
        let expected = bytes_in(self.bw(), now.since(self.aggregation.since));
        self.aggregation.acked = self.aggregation.acked.saturating_add(bytes);
        let extra = self.aggregation.acked.saturating_sub(expected).min(window);
        if self.rounds.saturating_sub(self.aggregation.half_round) >= EXTRA_ACKED_HALF_ROUNDS {
            self.aggregation.half_round = self.rounds;
            self.aggregation.halves = [self.aggregation.halves[1], 0];
        }
        self.aggregation.halves[1] = self.aggregation.halves[1].max(extra);
    }
}
