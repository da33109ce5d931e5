//! What a benchmark came to.

use crate::copy::side_of;
use std::time::Duration;
use xfer_engine::meter::Measured;
use xfer_engine::{Error, PathReport, Progress, Quantiles, Side, Stage};

/// An end of a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This machine.
    Client,
    /// The node.
    Node,
}

impl End {
    /// As lines of a program name it.
    pub const fn name(self) -> &'static str {
        match self {
            End::Client => "client",
            End::Node => "node",
        }
    }
}

/// What went one way.
#[derive(Clone, Debug)]
pub struct Direction {
    /// Who sent.
    pub sender: End,
    /// Content bytes that were accepted.
    pub bytes: u64,
    /// From the first content byte to the last that was accepted, by the sender's clock where that is known.
    pub seconds: f64,
    /// `bytes` x 8 / 1e9 / `seconds`.
    pub gbps: f64,
    /// The stage that held it up.
    pub limited_by: Stage,
    /// The end that this stage is on.
    pub limited_side: Option<Side>,
    /// Each path, as this machine saw it.
    pub paths: Vec<PathReport>,
}

/// How a benchmark ended.
#[derive(Clone, Debug, Default)]
pub struct BenchSummary {
    /// One or two.
    pub directions: Vec<Direction>,
    /// Of all directions together.
    pub gbps: f64,
    /// Of the direction that took longest.
    pub seconds: f64,
    /// Processor seconds of this machine's and the node's process, from the first content to the last.
    pub cpu_client: Option<f64>,
    /// See `cpu_client`.
    pub cpu_node: Option<f64>,
    /// Bytes of all datagrams.
    pub wire_bytes: u64,
    /// Content bytes sent again.
    pub retransmitted_bytes: u64,
    /// How long messages took, and their round trips, where messages were sent.
    pub latency: Option<MessageLatency>,
    /// Whether all content was verified.
    pub verified: bool,
    /// Why it failed.
    pub error: Option<Error>,
}

/// How long messages took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageLatency {
    /// From when a message was ready until its sender heard that it was accepted.
    pub accepted: Quantiles,
    /// Round trips of packets meanwhile.
    pub rtt: Quantiles,
}

/// One direction as its ends tell it.
pub(super) struct Leg {
    pub(super) sender: End,
    pub(super) progress: Progress,
    pub(super) here: Measured,
    /// What the node told of its end, if it did.
    pub(super) there: Option<Measured>,
}

impl BenchSummary {
    /// Of one that moved nothing.
    pub(super) fn of_nothing(error: Error) -> Self {
        BenchSummary { error: Some(error), ..BenchSummary::default() }
    }

    pub(super) fn new(legs: &[Leg]) -> Self {
        let directions: Vec<Direction> = legs.iter().map(Leg::direction).collect();
        // Both legs are measured by the same two processes at the same time.
        let cpu = |of: &dyn Fn(&Leg) -> Option<Measured>| {
            legs.iter().filter_map(of).map(|measured| measured.cpu.as_secs_f64()).reduce(f64::max)
        };
        BenchSummary {
            gbps: directions.iter().map(|direction| direction.gbps).sum(),
            seconds: directions.iter().map(|direction| direction.seconds).fold(0.0, f64::max),
            cpu_client: cpu(&|leg| Some(leg.here)),
            cpu_node: cpu(&|leg| leg.there),
            wire_bytes: legs.iter().map(|leg| leg.progress.wire_bytes).sum(),
            retransmitted_bytes: legs.iter().map(|leg| leg.progress.retransmitted_bytes).sum(),
            directions,
            ..BenchSummary::default()
        }
    }

    /// Processor seconds that the sending end spent on 10^9 bytes of content; `None` when it is not known. Where both ends sent, that is
    /// this machine, and the bytes are those of both directions together.
    pub fn cpu_s_per_gb_send(&self) -> Option<f64> {
        self.per_gb(true)
    }

    /// The same of the receiving end; where both ends sent, of the node.
    pub fn cpu_s_per_gb_recv(&self) -> Option<f64> {
        self.per_gb(false)
    }

    /// Of the end that sent, or of the other one; an end that both sends and receives cannot tell what each took.
    fn per_gb(&self, sent: bool) -> Option<f64> {
        let client_sent = self.directions.iter().any(|direction| direction.sender == End::Client);
        let cpu = if client_sent == sent { self.cpu_client } else { self.cpu_node };
        let bytes: u64 = self.directions.iter().map(|direction| direction.bytes).sum();
        cpu.filter(|_| bytes > 0).map(|seconds| seconds * 1e9 / bytes as f64)
    }

    /// The exit code of the tool.
    pub fn exit_code(&self) -> u8 {
        self.error.as_ref().map_or(0, |error| error.class.exit_code())
    }
}

impl Leg {
    /// The time by the sender's clock.
    fn time(&self) -> Duration {
        match (self.sender, self.there) {
            (End::Node, Some(there)) => there.time,
            _ => self.here.time,
        }
    }

    fn direction(&self) -> Direction {
        let (bytes, seconds) = (self.progress.bytes, self.time().as_secs_f64());
        Direction {
            sender: self.sender,
            bytes,
            seconds,
            gbps: if seconds > 0.0 { bytes as f64 * 8.0 / 1e9 / seconds } else { 0.0 },
            limited_by: self.progress.limited_by,
            limited_side: side_of(self.progress.limited_by),
            paths: self.progress.paths.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(time_s: u64, cpu_s: u64) -> Measured {
        Measured { time: Duration::from_secs(time_s), cpu: Duration::from_secs(cpu_s) }
    }

    fn leg(sender: End, bytes: u64, there: Option<Measured>) -> Leg {
        let progress = Progress { bytes, wire_bytes: 2 * bytes, ..Progress::default() };
        Leg { sender, progress, here: measured(4, 2), there }
    }

    #[test]
    fn the_sender_takes_the_time() {
        let there = Some(measured(2, 6));
        let of = |sender| BenchSummary::new(&[leg(sender, 1_000_000_000, there)]);
        let sent = of(End::Client);
        assert_eq!((sent.seconds, sent.gbps), (4.0, 2.0));
        assert_eq!((sent.cpu_s_per_gb_send(), sent.cpu_s_per_gb_recv()), (Some(2.0), Some(6.0)));
        let received = of(End::Node);
        assert_eq!((received.seconds, received.gbps), (2.0, 4.0));
        assert_eq!((received.cpu_s_per_gb_send(), received.cpu_s_per_gb_recv()), (Some(6.0), Some(2.0)));
    }

    #[test]
    fn what_the_node_did_not_tell_is_not_known() {
        let summary = BenchSummary::new(&[leg(End::Node, 500_000_000, None)]);
        assert_eq!((summary.seconds, summary.gbps), (4.0, 1.0));
        assert_eq!((summary.cpu_s_per_gb_send(), summary.cpu_s_per_gb_recv()), (None, Some(4.0)));
        let nothing = BenchSummary::new(&[leg(End::Client, 0, None)]);
        assert_eq!((nothing.gbps, nothing.cpu_s_per_gb_send()), (0.0, None));
    }

    #[test]
    fn two_directions_add_up() {
        let there = Some(measured(2, 6));
        let both = [leg(End::Client, 1_000_000_000, there), leg(End::Node, 1_000_000_000, there)];
        let summary = BenchSummary::new(&both);
        assert_eq!((summary.gbps, summary.seconds, summary.wire_bytes), (6.0, 4.0, 4_000_000_000));
        assert_eq!((summary.cpu_client, summary.cpu_node), (Some(2.0), Some(6.0)));
        assert_eq!((summary.cpu_s_per_gb_send(), summary.cpu_s_per_gb_recv()), (Some(1.0), Some(3.0)));
    }
}
