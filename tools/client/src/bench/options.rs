//! What a user asks of a benchmark, and what they are told while it runs: values only.

use crate::copy::CopyOptions;
use crate::limits::{BENCH_BYTES_MAX, BENCH_TIME_MAX};
use crate::location::Remote;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use xfer_engine::{Class, Error, PathPair, Progress};

/// Who sends what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// This machine sends.
    #[default]
    Send,
    /// The node sends.
    Receive,
    /// Both do, at the same time, each on a connection of its own.
    Both,
    /// This machine sends small messages, each when the one before was accepted.
    Messages,
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Who sends what.
    pub mode: Mode,
    /// How long content is sent; what was sent by then is waited for.
    pub time: Duration,
    /// Bytes of the memory that is sent again and again, 1 to 1 GiB.
    pub source: u64,
    /// How often to tell what came in between ([`BenchEvent::Interval`]).
    pub interval: Duration,
    /// Network, machine, digests and chunks, as for a copy; what concerns files is not looked at.
    pub how: CopyOptions,
}

impl Default for BenchOptions {
    fn default() -> Self {
        BenchOptions {
            mode: Mode::Send,
            time: Duration::from_secs(10),
            source: 256 << 10,
            interval: Duration::from_secs(1),
            // A chunk that is all of the memory, or a part of it, is lent.
            how: CopyOptions { digests: false, chunk_log2: Some(18), ..CopyOptions::default() },
        }
    }
}

impl BenchOptions {
    /// # Errors
    /// `Usage` for what contradicts itself or is beyond the bounds.
    pub(super) fn check(&self) -> Result<(), Error> {
        let usage = |why: &str| Err(Error::new(Class::Usage, why));
        if !(1..=BENCH_BYTES_MAX).contains(&self.source) {
            return usage("--source is 1 byte to 1 GiB");
        }
        if self.time < Duration::from_millis(1) || self.time > BENCH_TIME_MAX {
            return usage("--seconds is 0.001 to 86400, a day");
        }
        if self.interval.is_zero() {
            return usage("--interval is above 0");
        }
        self.how.check()
    }
}

/// A benchmark to be run.
#[derive(Clone, Debug)]
pub struct BenchRequest {
    /// The node; its path says nothing.
    pub node: Remote,
    /// How.
    pub options: BenchOptions,
    /// Set by a signal: the benchmark ends soon.
    pub cancel: Arc<AtomicBool>,
}

/// What came in a time between two looks.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Since the engines were connected: where it begins and ends.
    pub from: Duration,
    /// Its end.
    pub to: Duration,
    /// Content bytes that the node accepted in it; `None` where this machine does not send.
    pub sent: Option<u64>,
    /// Content bytes that came here in it; `None` where the node does not send.
    pub received: Option<u64>,
    /// Totals by now, of both directions together.
    pub progress: Progress,
}

/// What a benchmark tells while it runs.
#[derive(Clone, Debug)]
pub enum BenchEvent {
    /// A decision, for `-v`.
    Decision(String),
    /// A path carries.
    PathUp(PathPair),
    /// A path is gone, and why.
    PathDown(PathPair, String),
    /// An interval is over.
    Interval(Box<Interval>),
    /// Something is degraded or not known.
    Warning(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_bounds() {
        let class = |edit: &dyn Fn(&mut BenchOptions)| {
            let mut options = BenchOptions::default();
            edit(&mut options);
            options.check().err().map(|error| error.class)
        };
        assert_eq!(class(&|_| ()), None);
        for (bytes, wrong) in [(0, true), (1, false), (1 << 30, false), ((1 << 30) + 1, true)] {
            assert_eq!(class(&|o| o.source = bytes).is_some(), wrong, "{bytes}");
        }
        let day = 24 * 3_600_000;
        for (ms, wrong) in [(0, true), (1, false), (day, false), (day + 1, true)] {
            assert_eq!(class(&|o| o.time = Duration::from_millis(ms)).is_some(), wrong, "{ms}");
        }
        assert_eq!(class(&|o| o.interval = Duration::ZERO), Some(Class::Usage));
        assert_eq!(class(&|o| o.how.rate = Some(0)), Some(Class::Usage), "what a copy refuses");
    }
}
