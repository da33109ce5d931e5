//! What is compared: one file a kind of workload, each a list of cases.

mod cold;
mod file;
mod memory;
mod tree;
mod wan;
mod wires;

use std::path::Path;
use std::time::{Duration, Instant};

use xfer_lab::{Config, WireShape};

use crate::failure::Outcome;
use crate::limits::ROUNDS_MIN;
use crate::peers::Peer;
use crate::record::Record;

/// What a workload is given.
pub(crate) struct Setting<'a> {
    /// The scratch directory.
    pub(crate) dir: &'a Path,
    /// The tools that were asked for.
    pub(crate) peers: Vec<&'a dyn Peer>,
    /// Words of which a flow's name must hold one; all without any.
    pub(crate) names: &'a [String],
    pub(crate) scale: Scale,
    /// Rounds that were asked for.
    pub(crate) rounds: Option<usize>,
    /// Bytes of a big file that were asked for.
    pub(crate) size: Option<u64>,
}

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scale {
    /// Minutes: everything small, three rounds.
    Quick,
    /// What is recorded: all workloads within 35 minutes.
    Record,
    /// Everything, every time, hours.
    Full,
}

impl Setting<'_> {
    /// The one of three that belongs to the scale.
    fn pick<T>(&self, quick: T, record: T, full: T) -> T {
        match self.scale {
            Scale::Quick => quick,
            Scale::Record => record,
            Scale::Full => full,
        }
    }

    /// Rounds of a case: as asked for, else three of a quick run, or these.
    fn rounds(&self, full: usize) -> usize {
        self.rounds.unwrap_or(self.pick(3, full, full))
    }

    /// What the rounds of a case may take: `seconds` of a recorded run, so that all of it ends in time; else as long as they do.
    fn budget(&self, seconds: u64) -> Option<Duration> {
        (self.scale == Scale::Record).then_some(Duration::from_secs(seconds))
    }

    /// The tools that were asked for and are among `names`.
    fn among(&self, names: &[&str]) -> Vec<&dyn Peer> {
        self.peers.iter().copied().filter(|peer| names.contains(&peer.name())).collect()
    }

    /// Whether a tool of this name was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        is_wanted(self.names, name)
    }
}

/// Whether `names` ask for the tool `name`: they are words of it, or there are none.
pub(crate) fn is_wanted(names: &[String], name: &str) -> bool {
    let name = name.to_lowercase();
    names.is_empty() || names.iter().any(|wanted| name.contains(&wanted.to_lowercase()))
}

/// Counts the rounds of a case, and ends them early where another would go beyond its budget; there are two at least.
pub(crate) struct Rounds {
    left: usize,
    done: u32,
    started: Instant,
    budget: Option<Duration>,
}

impl Rounds {
    pub(crate) fn new(rounds: usize, budget: Option<Duration>) -> Self {
        Self { left: rounds, done: 0, started: Instant::now(), budget }
    }
}

impl Iterator for Rounds {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let mean = self.started.elapsed() / self.done.max(1);
        let is_over = self.budget.is_some_and(|budget| mean * (self.done + 1) > budget);
        if self.left == 0 || (is_over && self.done >= ROUNDS_MIN) {
            return None;
        }
        (self.left, self.done) = (self.left - 1, self.done + 1);
        Some(self.done as usize - 1)
    }
}

/// One workload.
pub(crate) struct Workload {
    /// What `--only` calls it.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Setting<'_>) -> Outcome<Vec<Record>>,
}

/// All, in the order of the report.
pub(crate) const ALL: &[Workload] = &[
    Workload { name: "big", about: "one big file, MTU 1500, a bare wire", run: file::standard },
    Workload { name: "jumbo", about: "one big file, MTU 9000, a bare wire", run: file::jumbo },
    Workload { name: "memory", about: "from memory to memory, a bare wire", run: memory::run },
    Workload { name: "small", about: "10,000 files, 121 MB, a bare wire", run: tree::small },
    Workload {
        name: "linear",
        about: "xferctl with 10,000 and 100,000 files, a bare wire",
        run: tree::linear,
    },
    Workload { name: "cold", about: "a cold file of 1 KiB, until it is in place", run: cold::run },
    Workload { name: "far-small", about: "1,000 files of 10 KB, 1 Gbit/s, 50 ms RTT", run: tree::far },
    Workload { name: "wires", about: "several wires at once", run: wires::run },
    Workload {
        name: "wan",
        about: "1 Gbit/s, 50 and 200 ms RTT, with loss: the steady rate",
        run: wan::steady,
    },
    Workload {
        name: "wan-file",
        about: "500 MB over 1 Gbit/s, 50 and 200 ms RTT, start included",
        run: wan::file,
    },
];

/// A wire of `gbit` Gbit/s and `rtt_ms` ms RTT that loses `loss` of its packets in each direction; its queue holds one BDP.
fn wire(gbit: u64, rtt_ms: u64, loss: f64) -> WireShape {
    let delay_ns = rtt_ms * 1_000_000 / 2;
    WireShape { rate_bps: Some(gbit * 1_000_000_000), delay_ns, loss, ..WireShape::default() }
}

/// One wire that does nothing.
fn bare(mtu: u32) -> Config {
    Config { mtu, ..Config::with_wires(1, WireShape::default()) }
}

/// How long a copy of `bytes` may take: a floor, and a slow tool's time for them.
fn patience(bytes: u64) -> Duration {
    const SLOW_BYTES_A_SECOND: u64 = 60_000_000;
    Duration::from_secs(20 + bytes / SLOW_BYTES_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_end_with_their_budget() {
        assert_eq!(Rounds::new(3, None).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(Rounds::new(4, Some(Duration::ZERO)).count(), ROUNDS_MIN as usize);
        assert_eq!(Rounds::new(4, Some(Duration::from_secs(3_600))).count(), 4);
        assert_eq!(Rounds::new(0, None).count(), 0);
        assert_eq!(Rounds::new(1, Some(Duration::ZERO)).count(), 1);
    }

    #[test]
    fn tools_are_asked_for_by_a_word_of_their_name() {
        let names = ["scp".to_owned(), "NC".to_owned()];
        assert!(is_wanted(&names, "scp") && is_wanted(&names, "tar | nc") && !is_wanted(&names, "curl"));
        assert!(is_wanted(&[], "curl"));
    }
}
