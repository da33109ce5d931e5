//! How fast a copy can be at most, and which stage will be the limit: the least of what each stage allows.
//!
//! In: what is known of stages and paths before anything moved. Out: a rate, a stage, a time. A stage that nothing is known of is left
//! out, so a forecast is a bound: it gets tighter as more bounds are put in.

use crate::limits::START_ROUND_TRIPS;
use std::time::Duration;
use xfer_engine::limits::VERDICT_MIN;
use xfer_engine::stages::{Case, Costs, Origin, Step};
use xfer_engine::{EngineSize, Stage};

/// What one stage allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The stage that would be the limit.
    pub stage: Stage,
    /// What was looked at, for people.
    pub what: String,
    /// Content in bits a second.
    pub rate: f64,
}

/// What is expected of a copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// What is known, in the order of the stages.
    pub bounds: Vec<Bound>,
    /// Round trip to the node.
    pub rtt: Duration,
}

impl Forecast {
    /// The least bound; `None` when nothing is known.
    pub fn limit(&self) -> Option<&Bound> {
        self.bounds.iter().min_by(|a, b| a.rate.total_cmp(&b.rate))
    }

    /// The stage that will be the limit of `bytes`, as a verdict names it: none for what is over at once.
    pub fn limited_by(&self, bytes: Option<u64>) -> Stage {
        let at_once =
            bytes.and_then(|bytes| self.seconds(bytes)).is_some_and(|s| s < VERDICT_MIN.as_secs_f64());
        self.limit().filter(|_| !at_once).map_or(Stage::None, |bound| bound.stage)
    }

    /// Seconds that `bytes` of content take at least; `None` when nothing is known.
    pub fn seconds(&self, bytes: u64) -> Option<f64> {
        let rate = self.limit()?.rate;
        Some(bytes as f64 * 8.0 / rate + self.rtt.as_secs_f64() * START_ROUND_TRIPS)
    }
}

/// What the processors of this host have to do for a copy.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// What each stage costs here; those that were not measured are left out.
    pub costs: &'a Costs,
    /// Content is sealed.
    pub encrypted: bool,
    /// Content is hashed by both ends.
    pub verified: bool,
    /// This end sends.
    pub sends: bool,
    /// The other end runs on this host too.
    pub both: bool,
    /// Paths of the copy.
    pub paths: usize,
}

/// Some stages that threads of one kind do.
struct Work {
    /// What they are called when they are the limit.
    stage: Stage,
    name: &'static str,
    /// Seconds per 10^9 bytes.
    cost: f64,
    by_worker: bool,
}

impl Load<'_> {
    /// What the processors allow: workers seal and send, I/O threads read and hash, and all share the cores.
    pub fn bounds(&self, size: EngineSize) -> Vec<Bound> {
        let own = self.work(self.sends);
        let mut bounds = Vec::new();
        let carrying = self.paths.clamp(1, size.workers.div_ceil(2));
        let threads = size.io_threads.min(size.cores).max(1);
        for (by_worker, count, of) in [(true, carrying, "worker"), (false, threads, "I/O thread")] {
            let part = own.iter().filter(|work| work.by_worker == by_worker);
            let who = if count == 1 { format!("one {of}") } else { format!("{count} {of}s") };
            bounds.extend(bound(part, count, &who));
        }
        let cores = size.cores.max(1);
        let who = if cores == 1 { "one core for all".to_owned() } else { format!("{cores} cores for all") };
        if self.both {
            let other = self.work(!self.sends);
            bounds.extend(bound(own.iter().chain(&other), cores, &format!("{who}, of both ends")));
        } else {
            bounds.extend(bound(own.iter(), cores, &who));
        }
        bounds
    }

    /// What an end does with each byte, as far as that is known.
    fn work(&self, sends: bool) -> Vec<Work> {
        let case = Case { from: Origin::Chunks, encrypted: self.encrypted, verified: self.verified };
        let mut steps = if sends { case.sender() } else { case.receiver() };
        // Plain content is copied where sealed content is sealed or opened.
        steps.extend((!self.encrypted).then_some(Step::Copy));
        steps.into_iter().filter_map(|step| self.work_of(step, sends)).collect()
    }

    fn work_of(&self, step: Step, sends: bool) -> Option<Work> {
        let cost = self.costs.get(step)?.seconds_per_gb();
        let (stage, name, by_worker) = match step {
            Step::Read => (Stage::Source, "reading", false),
            Step::Hash if sends => (Stage::Hash, "hashing", false),
            Step::Hash => (Stage::Sink, "hashing", false),
            Step::Write => (Stage::Sink, "writing", false),
            Step::Seal(_) => (Stage::SenderCpu, "sealing", true),
            Step::Send => (Stage::SenderCpu, "sending", true),
            Step::Copy if sends => (Stage::SenderCpu, "copying", true),
            Step::Copy => (Stage::ReceiverCpu, "copying", true),
            Step::Receive => (Stage::ReceiverCpu, "receiving", true),
            Step::Open => (Stage::ReceiverCpu, "opening", true),
        };
        Some(Work { stage, name, cost, by_worker })
    }
}

/// What `count` threads or cores allow that do all of `work`; the stage with the largest share is the limit.
fn bound<'a>(work: impl Iterator<Item = &'a Work>, count: usize, who: &str) -> Option<Bound> {
    let (mut cost, mut names, mut shares) = (0.0, Vec::new(), Vec::<(Stage, f64)>::new());
    for one in work {
        cost += one.cost;
        names.push(one.name);
        match shares.iter_mut().find(|(stage, _)| *stage == one.stage) {
            Some((_, share)) => *share += one.cost,
            None => shares.push((one.stage, one.cost)),
        }
    }
    let (stage, _) = shares.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(Bound { stage, what: format!("{}: {who}", names.join(", ")), rate: 8e9 * count as f64 / cost })
}

/// A wire that a path leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// The interface that it is on.
    pub interface: u32,
    /// Bits a second.
    pub speed: Option<u64>,
    /// Largest packet, IP header included.
    pub mtu: u32,
    /// The way is one of IPv6.
    pub ipv6: bool,
}

/// Bytes of an Ethernet frame around a packet: preamble, header, check, gap.
const ETHERNET_BYTES: u32 = 38;
/// Bytes of UDP, of the protocol's header and of its tag around content.
const PACKET_BYTES: u32 = 8 + 32 + 16;
/// Content in packets is a multiple of so many bytes.
const GRID: u32 = 16;

impl Wire {
    /// Bytes of content in the largest packet.
    pub fn payload(&self) -> u32 {
        let datagram = self.mtu.saturating_sub(if self.ipv6 { 40 } else { 20 });
        let room =
            datagram.min(u32::from(xfer_engine::limits::DATAGRAM_MAX) + 8).saturating_sub(PACKET_BYTES);
        (room & !(GRID - 1)).max(1)
    }

    /// What all paths over these wires carry together; `None` when the speed of one is not known. Paths that share an interface share
    /// its wire.
    pub fn bound(wires: &[Wire]) -> Option<Bound> {
        let mut rate = 0.0;
        let mut seen: Vec<u32> = Vec::new();
        for wire in wires {
            if !seen.contains(&wire.interface) {
                seen.push(wire.interface);
                rate += wire.speed? as f64 * f64::from(wire.payload()) / f64::from(wire.mtu + ETHERNET_BYTES);
            }
        }
        let what = format!("{} {}", seen.len(), if seen.len() == 1 { "wire" } else { "wires" });
        (rate > 0.0).then_some(Bound { stage: Stage::Path, what, rate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_engine::stages::Cost;

    fn size(cores: usize) -> EngineSize {
        EngineSize { cores, workers: cores, io_threads: cores.max(2) }
    }

    #[test]
    fn the_least_bound_is_the_limit() {
        let bound = |stage, rate| Bound { stage, what: String::new(), rate };
        let mut forecast = Forecast { bounds: Vec::new(), rtt: Duration::from_millis(50) };
        assert_eq!((forecast.limit(), forecast.seconds(1)), (None, None));
        forecast.bounds = vec![bound(Stage::Hash, 8e9), bound(Stage::Path, 8e8), bound(Stage::Sink, 9e9)];
        assert_eq!(forecast.limit().map(|b| b.stage), Some(Stage::Path));
        let start = 0.05 * START_ROUND_TRIPS;
        assert_eq!(forecast.seconds(0), Some(start));
        assert_eq!(forecast.seconds(100_000_000), Some(1.0 + start));
        assert_eq!((forecast.limited_by(None), forecast.limited_by(Some(0))), (Stage::Path, Stage::Path));
        forecast.rtt = Duration::ZERO;
        assert_eq!(forecast.limited_by(Some(9_999_999)), Stage::None, "under 100 ms");
        assert_eq!(forecast.limited_by(Some(10_000_001)), Stage::Path);
    }

    fn costs(all: &[(Step, f64)]) -> Costs {
        let mut costs = Costs::default();
        all.iter().for_each(|(step, seconds)| costs.set(*step, Cost::of_seconds_per_gb(*seconds)));
        costs
    }

    /// Stage and GB a second, rounded.
    fn shown(bounds: &[Bound]) -> Vec<(Stage, f64)> {
        bounds.iter().map(|b| (b.stage, (b.rate / 8e8).round() / 10.0)).collect()
    }

    #[test]
    fn processors_are_shared() {
        let seal = Step::Seal(Origin::Chunks);
        let all = costs(&[
            (Step::Read, 0.1),
            (Step::Hash, 0.2),
            (seal, 0.1),
            (Step::Send, 0.15),
            (Step::Receive, 0.1),
            (Step::Open, 0.1),
            (Step::Write, 0.3),
        ]);
        let load = Load { costs: &all, encrypted: true, verified: true, sends: true, both: false, paths: 1 };
        let up = load.bounds(size(1));
        assert_eq!(shown(&up), [(Stage::SenderCpu, 4.0), (Stage::Hash, 3.3), (Stage::SenderCpu, 1.8)]);
        let what: Vec<&str> = up.iter().map(|bound| bound.what.as_str()).collect();
        assert_eq!(
            what,
            [
                "sealing, sending: one worker",
                "reading, hashing: one I/O thread",
                "reading, hashing, sealing, sending: one core for all"
            ]
        );
        let down = Load { sends: false, paths: 4, ..load }.bounds(size(4));
        assert_eq!(shown(&down), [(Stage::ReceiverCpu, 10.0), (Stage::Sink, 8.0), (Stage::Sink, 5.7)]);
        assert!(down[0].what.ends_with("2 workers"), "{down:?}: half of them carry one connection");
        let both = Load { both: true, ..load }.bounds(size(2));
        assert_eq!(shown(&both)[2], (Stage::Sink, 1.6), "2 cores for 0.55 and 0.7 s a GB");
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        let load =
            |costs, encrypted| Load { costs, encrypted, verified: false, sends: true, both: false, paths: 1 };
        let none = Costs::default();
        assert!(load(&none, true).bounds(size(1)).is_empty());
        let copy = costs(&[(Step::Copy, 0.1), (Step::Hash, 0.1)]);
        assert_eq!(shown(&load(&copy, false).bounds(size(1))), [(Stage::SenderCpu, 10.0); 2]);
        assert!(load(&copy, true).bounds(size(1)).is_empty());
    }

    #[test]
    fn wires_add_up_unless_they_are_one() {
        let wire = |interface, speed| Wire { interface, speed, mtu: 1_500, ipv6: false };
        assert_eq!(Wire::bound(&[]), None);
        assert_eq!(Wire::bound(&[wire(1, Some(10)), wire(2, None)]), None);
        let one = Wire::bound(&[wire(1, Some(1_000_000_000))]).unwrap();
        assert!((0.925e9..0.927e9).contains(&one.rate) && one.what == "1 wire", "{one:?}");
        let same = Wire::bound(&[wire(1, Some(1_000_000_000)), wire(1, Some(1_000_000_000))]).unwrap();
        assert_eq!(same, one);
        let two = Wire::bound(&[wire(1, Some(1_000_000_000)), wire(2, Some(1_000_000_000))]).unwrap();
        assert_eq!((two.rate, two.what.as_str()), (one.rate * 2.0, "2 wires"));
    }

    #[test]
    fn packets_hold_what_their_headers_leave() {
        let payload = |mtu, ipv6| Wire { interface: 1, speed: None, mtu, ipv6 }.payload();
        assert_eq!((payload(1_500, false), payload(1_500, true)), (1_424, 1_392));
        assert_eq!((payload(65_536, false), payload(0, false)), (8_912, 1));
    }
}
