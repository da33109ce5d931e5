//! BBRv3 (draft-ietf-ccwg-bbr) with one stated change: loss counts as congestion only in rounds with CE marks or
//! a queueing delay above a quarter of the base RTT, so that random loss on a long path costs what is lost and no
//! more.
//!
//! What follows from it, in the figures of `tests/cc_link.rs`:
//! - A probe for bandwidth stays below that queueing delay (gain 1.2, over when 1.21 BDP are in flight), or a lone
//!   flow's own probes would make random loss count: 89 % instead of 98 % of the wire at 1 % loss.
//! - Where a queue stands, somebody shares it. There any loss counts, in every phase, and lowers the long-term bound
//!   as CUBIC lowers its window; probes come every 12 to 18 round trips and may exceed the bound by as much as the
//!   bandwidth; the window is 1.5 BDP. With the draft's constants a CUBIC flow is left 7 % of the wire and two flows
//!   that start two seconds apart stay at 77 to 21; so it gets 41 to 45 %, and they meet within 25 s.
//! - Start-up grows by 2.15 a round trip and is paced by the window while rate samples lag behind it: 90 % of
//!   1 Gbit/s at 50 ms within 7.8 round trips; plain doubling took up to 8.04, without that pacing about 9.
//! - Start-up ends by a queue that stands, also where the application had nothing to send now and then: a source that comes in bursts
//!   left it on for 1.2 s at 1 Gbit/s, and over 10,000 packets were lost to the queue.
//! - ProbeRTT lasts four round trips, the ends' own delays counted, and no longer than the draft's 200 ms, which cost a local network
//!   of 3 Gbit/s and 75 us 3 % of the wire. Eight left 92 % of the tenth of a second that they fall into at 1 ms.
//! - A queue counts when even the luckiest packet of a round waited in it. What only some packets waited for is a late thread, a full
//!   processor or what start-up left: beside random loss that held the rate at 77 % until the next probe. Where senders stall for
//!   up to 25 ms it leaves 93.6 % at 2 % loss, and CUBIC 39 %.
//!
//! This file: phases, window and pacing rate. `model.rs`: what is known about the path. `probe.rs`: how more is
//! learnt. Names of the draft's procedures stand at their counterparts.

mod model;
mod probe;

use core::time::Duration;

use self::model::Model;
use self::probe::Cycle;
use super::rate::{RateSample, Sampler, bytes_in, per_second, percent};
use super::{AckSample, Controller, DATAGRAM_MAX, DATAGRAM_MIN, SendSnapshot, Start, WINDOW_MAX};
use crate::time::Time;

/// Pacing gains of the phases, percent.
const STARTUP_PACING: u64 = 277;
const DRAIN_PACING: u64 = 50;
const DOWN_PACING: u64 = 90;
const UP_PACING: u64 = 120;
/// Window gains, percent of the bandwidth-delay product.
const STARTUP_WINDOW_GAIN: u64 = 200;
/// While the draft's 2.0 would have one flow fill a queue of one BDP by itself, this leaves the upper half of the
/// queue to whoever fills queues: CUBIC then gets its half of the wire.
const WINDOW_GAIN: u64 = 150;
const UP_WINDOW_GAIN: u64 = 225;
/// How far a probe may go beyond the long-term bound, percent: as far as it exceeds the bandwidth. A bound that
/// could not be probed would hold a small flow small beside a large one.
const UP_BOUND: u64 = 120;
/// Growth of the window in start-up, percent of what is acknowledged. A little more than doubling makes up for
/// what the first round of a paced initial window and random loss take away.
const STARTUP_GROWTH: u64 = 115;
/// Part of the estimated bandwidth that is used (BBRPacingMarginPercent is 1): keeps queues empty.
const PACING_MARGIN: u64 = 99;
/// Smallest window in packets (BBRMinPipeCwnd).
const WINDOW_PACKETS_MIN: u64 = 4;
/// Growth in percent that makes a round one of growing bandwidth, and rounds without that make a full pipe.
const FULL_GROWTH: u64 = 125;
const FULL_ROUNDS: u8 = 3;
/// Lost packets in a round that end the start-up, when they are congestion (BBRStartupFullLossCnt).
const STARTUP_LOSSES: u64 = 6;
/// A round that lost more than so many times what it delivered met an outage, not a full queue: start-up sends at most 2.77 times what
/// the path takes.
const OUTAGE_LOSS: u64 = 3;
/// Send quantum: 100 us of the rate, within bounds (the pacer's train).
const QUANTUM: Duration = Duration::from_micros(100);
const QUANTUM_MAX: u64 = 65_507;
/// Quanta that a window must have room for.
const QUANTA: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Startup,
    Drain,
    Down,
    Cruise,
    Refill,
    Up,
    ProbeRtt,
}

impl Phase {
    fn pacing_gain(self) -> u64 {
        match self {
            Phase::Startup => STARTUP_PACING,
            Phase::Drain => DRAIN_PACING,
            Phase::Down => DOWN_PACING,
            Phase::Up => UP_PACING,
            Phase::Cruise | Phase::Refill | Phase::ProbeRtt => 100,
        }
    }

    /// Whether this is a phase of ProbeBW.
    fn probes_bandwidth(self) -> bool {
        matches!(self, Phase::Down | Phase::Cruise | Phase::Refill | Phase::Up)
    }

    /// Whether more than the known bandwidth is being tried (BBRIsProbingBW): losses say nothing new then.
    fn tries_more(self) -> bool {
        matches!(self, Phase::Startup | Phase::Refill | Phase::Up)
    }
}

/// Detector of a bandwidth that grows no more.
#[derive(Clone, Copy, Debug, Default)]
struct FullPipe {
    base: u64,
    rounds: u8,
    now: bool,
    reached: bool,
}

impl FullPipe {
    fn reset(&mut self) {
        *self = FullPipe { reached: self.reached, ..Default::default() };
    }

    /// BBRCheckFullBWReached, at the start of a round. Where a queue stood it was not the application that limited the flight, even if it
    /// had nothing to send for a moment: a start-up whose source comes in bursts would fill the queue for seconds.
    fn on_round(&mut self, sample: &RateSample, queued: bool) {
        let is_limit = queued || !sample.app_limited;
        let Some(rate) = sample.rate.filter(|_| !self.now && is_limit) else { return };
        if rate >= percent(self.base, FULL_GROWTH) {
            self.reset();
            self.base = rate;
            return;
        }
        self.rounds += 1;
        self.now = self.rounds >= FULL_ROUNDS;
        self.reached |= self.now;
    }
}

/// BBRv3 for one path.
#[derive(Clone, Copy, Debug)]
pub struct Bbr {
    sampler: Sampler,
    model: Model,
    cycle: Cycle,
    full: FullPipe,
    phase: Phase,
    window: u64,
    /// Window before ProbeRTT.
    saved_window: u64,
    pacing_rate: u64,
    /// Whether the window, not the pacer or the application, held the last flight.
    window_limited: bool,
    idle_restart: bool,
    /// Bytes lost in the current round of start-up.
    round_lost: u64,
    initial_window: u64,
    max_datagram: u64,
    random: u64,
}

impl Bbr {
    pub(super) fn new(start: Start, seed: u64) -> Self {
        Bbr {
            sampler: Sampler::default(),
            model: Model::new(start.rtt),
            cycle: Cycle::new(),
            full: FullPipe::default(),
            phase: Phase::Startup,
            window: start.window,
            saved_window: start.window,
            pacing_rate: per_second(start.window, start.rtt).unwrap_or(1),
            window_limited: false,
            idle_restart: false,
            round_lost: 0,
            initial_window: start.window,
            max_datagram: start.max_datagram,
            random: spread(seed) | 1,
        }
    }

    /// xorshift64: spreads probes, nothing depends on its quality.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    fn window_min(&self) -> u64 {
        self.max_datagram * WINDOW_PACKETS_MIN
    }

    /// BBRUpdateModelAndState.
    fn update(&mut self, ack: &AckSample) -> RateSample {
        let sample = self.sampler.on_ack(ack, self.model.min_rtt);
        self.model.on_rate(&sample, self.sampler.delivered());
        self.model.on_signals(ack);
        if self.model.loss_round_start && self.model.congested(&sample) && !self.phase.tries_more() {
            self.model.adapt_lower_bounds(self.window);
        }
        self.model.on_acked(ack.now, ack.acked_bytes, self.window);
        self.check_full(ack, &sample);
        self.check_drained(ack);
        self.advance_cycle(ack, &sample);
        self.check_probe_rtt(ack);
        self.model.end_ack(&sample);
        sample
    }

    /// BBRCheckFullBWReached, BBRCheckStartupHighLoss, BBRCheckStartupDone. Loss ends the start-up only once the
    /// bandwidth has stopped growing: before that it is the queue of a flow that was there first.
    fn check_full(&mut self, ack: &AckSample, sample: &RateSample) {
        let silent = self.was_silent(sample);
        if self.model.round_start && !silent {
            self.full.on_round(sample, self.model.is_full());
        }
        let lossy = self.round_lost >= STARTUP_LOSSES * self.max_datagram;
        if !self.full.reached && self.model.loss_round_start {
            if lossy && !silent && self.full.rounds > 0 && self.model.congested_at_start(sample) {
                self.full.reached = true;
                self.model.inflight_hi = self.model.bdp_max(100).max(self.model.inflight_latest);
            }
            self.round_lost = 0;
        }
        if self.phase == Phase::Startup && self.full.reached {
            self.enter(Phase::Drain);
            self.check_drained(ack);
        }
    }

    /// Whether the flight of this sample met an outage, so that it tells nothing of the bandwidth.
    fn was_silent(&self, sample: &RateSample) -> bool {
        sample.lost > sample.delivered.saturating_mul(OUTAGE_LOSS)
    }

    /// BBRCheckDrainDone.
    fn check_drained(&mut self, ack: &AckSample) {
        if self.phase == Phase::Drain && ack.in_flight <= self.drained_flight() {
            self.start_down(ack.now);
        }
    }

    fn quantum(&self) -> u64 {
        bytes_in(self.pacing_rate, QUANTUM).clamp(self.max_datagram, QUANTUM_MAX)
    }

    /// BBRQuantizationBudget.
    fn quantize(&self, inflight: u64) -> u64 {
        let probe = if self.phase == Phase::Up { 2 * self.max_datagram } else { 0 };
        inflight.max(self.quantum() * QUANTA).max(self.window_min()) + probe
    }

    /// In flight when the queue is empty: the train that just left is no queue.
    fn drained_flight(&self) -> u64 {
        self.quantize(self.model.bdp_max(100)).saturating_add(self.quantum())
    }

    /// BBRSetPacingRate.
    fn set_pacing_rate(&mut self) {
        let rate = percent(percent(self.model.bw(), self.phase.pacing_gain()), PACING_MARGIN);
        if self.full.reached {
            self.pacing_rate = rate.max(1);
        } else {
            self.pacing_rate = self.pacing_rate.max(rate).max(self.slow_start_rate());
        }
    }

    /// What the startup gain amounts to once bandwidth samples have caught up with a doubling window. In the first
    /// rounds they lag behind it by one, and the flow would lose most of a doubling by waiting for them.
    fn slow_start_rate(&self) -> u64 {
        let rate = per_second(percent(self.window, STARTUP_PACING / 2), self.model.min_rtt);
        rate.filter(|_| self.model.has_rtt).unwrap_or(0)
    }

    /// BBRSetCwnd.
    fn set_window(&mut self, acked: u64) {
        let gain = match self.phase {
            Phase::Startup | Phase::Drain => STARTUP_WINDOW_GAIN,
            Phase::Up => UP_WINDOW_GAIN,
            _ => WINDOW_GAIN,
        };
        let aim =
            self.quantize(self.model.bdp(gain).saturating_add(self.model.extra_acked()).min(WINDOW_MAX));
        let grown = self.window.saturating_add(acked);
        if self.full.reached {
            self.window = grown.min(aim);
        } else if self.window < aim || self.sampler.delivered() < self.initial_window {
            self.window = self.window.saturating_add(percent(acked, STARTUP_GROWTH));
        }
        if self.phase == Phase::ProbeRtt {
            self.window = self.window.min(self.probe_rtt_window());
        }
        self.window = self.window.min(self.model_bound()).clamp(self.window_min(), WINDOW_MAX);
    }

    /// BBRBoundCwndForModel.
    fn model_bound(&self) -> u64 {
        let bound = match self.phase {
            Phase::Cruise | Phase::ProbeRtt => self.inflight_with_headroom(),
            Phase::Down | Phase::Refill => self.model.inflight_hi,
            Phase::Up => percent(self.model.inflight_hi, UP_BOUND),
            Phase::Startup | Phase::Drain => u64::MAX,
        };
        bound.min(self.model.inflight_lo)
    }
}

/// The finalizer of splitmix64: neighbouring seeds become unrelated.
fn spread(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Controller for Bbr {
    fn on_sent(&mut self, now: Time, bytes: u64, in_flight_before: u64) -> SendSnapshot {
        if in_flight_before == 0 && self.sampler.delivered() > 0 {
            self.idle_restart = true;
            if self.probe_rtt_over(now) {
                self.leave_probe_rtt(now);
            }
        }
        let snapshot = self.sampler.on_sent(now, bytes, in_flight_before);
        self.window_limited = snapshot.in_flight.saturating_add(self.max_datagram) > self.window;
        snapshot
    }

    fn on_ack(&mut self, sample: &AckSample) {
        self.update(sample);
        self.set_pacing_rate();
        self.set_window(sample.acked_bytes);
    }

    fn on_loss(&mut self, _now: Time, lost_bytes: u64, _in_flight: u64, _newest_lost_sent: Time) {
        if lost_bytes > 0 {
            self.sampler.on_loss(lost_bytes);
            self.round_lost = self.round_lost.saturating_add(lost_bytes);
            self.model.on_loss(self.sampler.delivered());
        }
    }

    fn on_spurious_loss(&mut self, _now: Time, bytes: u64) {
        self.round_lost = self.round_lost.saturating_sub(bytes);
        self.model.undo_loss();
    }

    /// What the path could carry before it fell silent may not hold any more, and what little it carried meanwhile says nothing: the
    /// search starts over, from the smallest window.
    fn on_persistent_congestion(&mut self, _now: Time, lost_bytes: u64) {
        self.sampler.on_loss(lost_bytes);
        self.model = self.model.anew();
        (self.cycle, self.full, self.phase) = (Cycle::new(), FullPipe::default(), Phase::Startup);
        self.window = self.window_min();
        (self.saved_window, self.round_lost) = (self.window, 0);
        self.initial_window = self.sampler.delivered().saturating_add(self.window);
        self.pacing_rate =
            per_second(percent(self.window, STARTUP_PACING / 2), self.model.min_rtt).unwrap_or(1);
    }

    fn app_limited(&mut self, in_flight: u64) {
        self.sampler.app_limited(in_flight);
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self) -> Option<u64> {
        Some(self.pacing_rate)
    }

    fn in_startup(&self) -> bool {
        self.phase == Phase::Startup
    }

    fn on_mtu(&mut self, max_datagram: u64) {
        self.max_datagram = max_datagram.clamp(DATAGRAM_MIN, DATAGRAM_MAX);
        self.window = self.window.max(self.window_min());
    }
}

#[cfg(test)]
mod tests;
