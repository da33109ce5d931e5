//! BBR's probing: the cycle of ProbeBW phases, the long-term bound it learns, and ProbeRTT
//! (draft-ietf-ccwg-bbr sections 5.3.3, 5.3.4).

use core::time::Duration;

use super::super::rate::{RateSample, percent};
use super::super::{AckSample, WINDOW_MAX};
use super::model::{BETA_PERCENT, HOST_DELAY};
use super::{Bbr, Phase};
use crate::time::Time;

/// Between two probes for bandwidth lie so many round trips, within bounds, and up to half as many again at random:
/// more often than in the draft (2 to 3 s), because two flows come closer to each other by a few percent a probe.
const PROBE_WAIT_RTTS: u32 = 12;
const PROBE_WAIT_MIN: Duration = Duration::from_millis(600);
const PROBE_WAIT_MAX: Duration = Duration::from_secs(2);
/// A probe ends when so much of the bandwidth-delay product is in flight, percent. One round of probing puts 119 there
/// (gain less margin) and goes on where that was delivered; what lies above is queue, and it must stay clear of the
/// queueing delay at which loss counts.
const UP_INFLIGHT_PERCENT: u64 = 121;
/// And at the latest after so many rounds, or as many as a Reno flow would need to grow by one packet a round.
const PROBE_ROUNDS_MAX: u64 = 63;
/// What is left free below the long-term bound while cruising, in percent (BBRHeadroom).
const HEADROOM_PERCENT: u64 = 15;
/// How long ProbeRTT lasts at the low window, in round trips with the ends' own delays, and at most (ProbeRTTDuration). In a local network
/// the draft's 200 ms are thousands of round trips, for a queue that empties in a few.
const PROBE_RTT_RTTS: u32 = 4;
const PROBE_RTT_SPAN_MAX: Duration = Duration::from_millis(200);
/// Window in ProbeRTT, percent of the bandwidth-delay product.
const PROBE_RTT_PERCENT: u64 = 50;

/// Which ACKs tell about which probe (ack_phase of the draft).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckPhase {
    Init,
    ProbeStopping,
    Refilling,
    ProbeStarting,
    ProbeFeedback,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Cycle {
    pub(super) ack_phase: AckPhase,
    /// When the phase began.
    stamp: Time,
    wait: Duration,
    rounds_since_probe: u64,
    /// Whether samples of a probe may still lower the long-term bound.
    samples: bool,
    probe_rtt_until: Option<Time>,
    probe_rtt_round_done: bool,
}

impl Cycle {
    pub(super) fn new() -> Self {
        Cycle {
            ack_phase: AckPhase::Init,
            stamp: Time::from_nanos(0),
            wait: PROBE_WAIT_MAX,
            rounds_since_probe: 0,
            samples: false,
            probe_rtt_until: None,
            probe_rtt_round_done: false,
        }
    }
}

impl Bbr {
    /// BBRUpdateProbeBWCyclePhase.
    pub(super) fn advance_cycle(&mut self, ack: &AckSample, sample: &RateSample) {
        if !self.full.reached {
            return;
        }
        self.adapt_upper_bounds(ack, sample);
        match self.phase {
            Phase::Down => self.cruise_if_drained(ack),
            Phase::Cruise => {
                self.probe_if_time(ack.now);
            }
            Phase::Refill if self.model.round_start => {
                self.cycle.samples = true;
                self.start_up(ack.now, sample);
            }
            Phase::Up => self.go_down_if_over(ack, sample),
            _ => {}
        }
    }

    fn cruise_if_drained(&mut self, ack: &AckSample) {
        if !self.probe_if_time(ack.now) && self.drained(ack.in_flight) {
            self.enter(Phase::Cruise);
        }
    }

    fn go_down_if_over(&mut self, ack: &AckSample, sample: &RateSample) {
        if self.up_is_over(ack, sample) {
            self.start_down(ack.now);
        }
    }

    fn drained(&self, in_flight: u64) -> bool {
        in_flight <= self.inflight_with_headroom() && in_flight <= self.drained_flight()
    }

    /// BBRAdaptLongTermModel.
    fn adapt_upper_bounds(&mut self, ack: &AckSample, sample: &RateSample) {
        if self.model.round_start {
            match self.cycle.ack_phase {
                AckPhase::ProbeStarting => self.cycle.ack_phase = AckPhase::ProbeFeedback,
                AckPhase::ProbeStopping => {
                    self.cycle.samples = false;
                    self.cycle.ack_phase = AckPhase::Init;
                    if self.phase.probes_bandwidth() && !sample.app_limited {
                        self.model.next_bw_cycle();
                    }
                }
                _ => {}
            }
        }
        if self.model.congested(sample) {
            if self.cycle.samples || self.model.loss_round_start {
                self.on_inflight_too_high(ack.now, sample);
            }
            return;
        }
        if self.model.inflight_hi == u64::MAX {
            return;
        }
        self.model.inflight_hi = self.model.inflight_hi.max(sample.sent_in_flight).min(WINDOW_MAX);
    }

    /// BBRHandleInflightTooHigh.
    pub(super) fn on_inflight_too_high(&mut self, now: Time, sample: &RateSample) {
        self.cycle.samples = false;
        if !sample.app_limited {
            let floor = percent(self.target_inflight(), BETA_PERCENT);
            self.model.inflight_hi = percent(sample.sent_in_flight, BETA_PERCENT).max(floor).min(WINDOW_MAX);
        }
        if self.phase == Phase::Up {
            self.start_down(now);
        }
    }

    fn target_inflight(&self) -> u64 {
        self.model.bdp(100).min(self.window)
    }

    /// BBRIsTimeToProbeBW, and the start of the probe.
    fn probe_if_time(&mut self, now: Time) -> bool {
        if self.model.round_start {
            self.cycle.rounds_since_probe += 1;
        }
        let reno_rounds = (self.target_inflight() / self.max_datagram).min(PROBE_ROUNDS_MAX);
        let due =
            now.since(self.cycle.stamp) > self.cycle.wait || self.cycle.rounds_since_probe >= reno_rounds;
        if due {
            self.model.reset_lower_bounds();
            self.cycle.ack_phase = AckPhase::Refilling;
            self.model.start_round(self.sampler.delivered());
            self.enter(Phase::Refill);
        }
        due
    }

    fn start_up(&mut self, now: Time, sample: &RateSample) {
        self.cycle.ack_phase = AckPhase::ProbeStarting;
        self.model.start_round(self.sampler.delivered());
        self.full.reset();
        self.full.base = sample.rate.unwrap_or(0);
        self.cycle.stamp = now;
        self.enter(Phase::Up);
    }

    /// BBRIsTimeToGoDown: the queue grows, or the bandwidth grows no more and it is not the bound that holds it.
    fn up_is_over(&mut self, ack: &AckSample, sample: &RateSample) -> bool {
        let round_trip_passed = ack.now.since(self.cycle.stamp) > self.model.min_rtt;
        let most = self.model.bdp_max(UP_INFLIGHT_PERCENT);
        if round_trip_passed && ack.in_flight > most {
            return true;
        }
        if self.window_limited && self.window >= self.model.inflight_hi {
            self.full.reset();
            self.full.base = sample.rate.unwrap_or(0);
            return false;
        }
        self.full.now
    }

    fn probe_wait(&mut self) -> Duration {
        let wait = (self.model.min_rtt * PROBE_WAIT_RTTS).clamp(PROBE_WAIT_MIN, PROBE_WAIT_MAX);
        wait + wait / 2 * (self.random() % 256) as u32 / 256
    }

    /// BBRStartProbeBW_DOWN.
    pub(super) fn start_down(&mut self, now: Time) {
        self.model.reset_congestion();
        self.cycle.rounds_since_probe = self.random() & 1;
        self.cycle.wait = self.probe_wait();
        self.cycle.stamp = now;
        self.cycle.ack_phase = AckPhase::ProbeStopping;
        self.model.start_round(self.sampler.delivered());
        self.enter(Phase::Down);
    }

    /// The long-term bound less what is left to others.
    pub(super) fn inflight_with_headroom(&self) -> u64 {
        if self.model.inflight_hi == u64::MAX {
            return u64::MAX;
        }
        let headroom = percent(self.model.inflight_hi, HEADROOM_PERCENT).max(self.max_datagram);
        self.model.inflight_hi.saturating_sub(headroom).max(self.window_min())
    }

    pub(super) fn probe_rtt_window(&self) -> u64 {
        self.model.bdp_bare(PROBE_RTT_PERCENT).max(self.window_min())
    }

    pub(super) fn probe_rtt_span(&self) -> Duration {
        ((self.model.min_rtt + HOST_DELAY) * PROBE_RTT_RTTS).min(PROBE_RTT_SPAN_MAX)
    }

    /// BBRCheckProbeRTT.
    pub(super) fn check_probe_rtt(&mut self, ack: &AckSample) {
        if self.phase != Phase::ProbeRtt && self.model.probe_rtt_due && !self.idle_restart {
            self.saved_window = self.window;
            self.cycle.probe_rtt_until = None;
            self.cycle.ack_phase = AckPhase::ProbeStopping;
            self.model.start_round(self.sampler.delivered());
            self.enter(Phase::ProbeRtt);
        }
        if self.phase == Phase::ProbeRtt {
            self.hold_probe_rtt(ack);
        }
        self.idle_restart &= ack.acked_bytes == 0;
    }

    fn hold_probe_rtt(&mut self, ack: &AckSample) {
        self.sampler.app_limited(ack.in_flight);
        let Some(until) = self.cycle.probe_rtt_until else {
            if ack.in_flight <= self.probe_rtt_window() {
                self.cycle.probe_rtt_until = Some(ack.now + self.probe_rtt_span());
                self.cycle.probe_rtt_round_done = false;
                self.model.start_round(self.sampler.delivered());
            }
            return;
        };
        self.cycle.probe_rtt_round_done |= self.model.round_start;
        if self.cycle.probe_rtt_round_done && ack.now >= until {
            self.leave_probe_rtt(ack.now);
        }
    }

    /// BBRExitProbeRTT.
    pub(super) fn leave_probe_rtt(&mut self, now: Time) {
        self.model.queue_was_emptied(now);
        self.window = self.window.max(self.saved_window);
        self.model.reset_lower_bounds();
        if self.full.reached {
            self.start_down(now);
            self.enter(Phase::Cruise);
        } else {
            self.enter(Phase::Startup);
        }
    }

    /// Whether an idle connection has waited out its ProbeRTT.
    pub(super) fn probe_rtt_over(&self, now: Time) -> bool {
        self.phase == Phase::ProbeRtt && self.cycle.probe_rtt_until.is_some_and(|until| now >= until)
    }
}
