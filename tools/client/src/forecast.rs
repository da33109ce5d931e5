//! How fast a copy can be at most, and which stage will be the limit: the least of what each stage allows.
//!
//! In: what is known of stages and paths before anything moved. Out: a rate, a stage, a time. A stage that nothing is known of is left
//! out, so a forecast is a bound: it gets tighter as more bounds are put in.

use crate::limits::START_ROUND_TRIPS;
use std::time::Duration;
use xfer_engine::limits::VERDICT_MIN;
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

/// Bytes a second that one core of this end does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CoreRates {
    /// Sealing or opening; `None` where content is plain.
    pub seal: Option<f64>,
    /// Hashing; `None` without digests.
    pub hash: Option<f64>,
}

impl CoreRates {
    /// What the processors of this end, which `sends`, allow: one worker seals, the I/O threads hash, and all share the cores.
    pub fn bounds(&self, size: EngineSize, sends: bool) -> Vec<Bound> {
        let (cpu, hashing) =
            if sends { (Stage::SenderCpu, Stage::Hash) } else { (Stage::ReceiverCpu, Stage::Sink) };
        let (sealing, seals) = if sends { ("sealing", "seals") } else { ("opening", "opens") };
        let mut bounds = Vec::new();
        let mut add = |stage, what: String, bytes: f64| bounds.push(Bound { stage, what, rate: bytes * 8.0 });
        if let Some(rate) = self.seal {
            add(cpu, format!("{sealing}, one worker"), rate);
        }
        if let Some(rate) = self.hash {
            let threads = size.io_threads.min(size.cores).max(1);
            add(hashing, format!("hashing, {threads} threads"), rate * threads as f64);
        }
        if let (Some(seal), Some(hash)) = (self.seal, self.hash) {
            let stage = if hash < seal { hashing } else { cpu };
            let rate = size.cores.max(1) as f64 / (1.0 / seal + 1.0 / hash);
            add(stage, format!("{} cores, of which one {seals}", size.cores), rate);
        }
        bounds
    }
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

impl Wire {
    /// Bytes of content in the largest packet.
    pub fn payload(&self) -> u32 {
        let datagram = self.mtu.saturating_sub(if self.ipv6 { 40 } else { 20 });
        datagram.min(u32::from(xfer_engine::limits::DATAGRAM_MAX) + 8).saturating_sub(PACKET_BYTES).max(1)
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

    #[test]
    fn processors_are_shared() {
        let both = CoreRates { seal: Some(10e9), hash: Some(5e9) };
        let rates = |cores, sends| -> Vec<(Stage, f64)> {
            both.bounds(size(cores), sends).into_iter().map(|b| (b.stage, (b.rate / 8e9).round())).collect()
        };
        // 0.1 and 0.2 s a GB: one core does 3.3 GB/s of both.
        assert_eq!(rates(1, true), [(Stage::SenderCpu, 10.0), (Stage::Hash, 5.0), (Stage::Hash, 3.0)]);
        assert_eq!(rates(2, false), [(Stage::ReceiverCpu, 10.0), (Stage::Sink, 10.0), (Stage::Sink, 7.0)]);
        assert_eq!(rates(4, true)[2], (Stage::Hash, 13.0));
        let plain = CoreRates { seal: None, hash: Some(5e9) };
        assert_eq!(plain.bounds(size(1), true).len(), 1);
        assert!(CoreRates { seal: None, hash: None }.bounds(size(1), true).is_empty());
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
        assert_eq!((payload(1_500, false), payload(1_500, true)), (1_424, 1_404));
        assert_eq!((payload(65_536, false), payload(0, false)), (8_972 + 8 - 56, 1));
    }
}
