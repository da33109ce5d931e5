//! Rate and remaining time from totals: averages over the last seconds. A value with the clock as argument.

use crate::limits::{RATE_SAMPLES_MAX, RATE_WINDOW};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use xfer_client::{PathReport, Progress};

/// What is known at one moment.
pub(super) struct State {
    pub(super) totals: Progress,
    /// Bytes that need not move any more: moved, taken over or there already.
    pub(super) done: u64,
    /// Bits a second over the last seconds.
    pub(super) rate: f64,
    /// The time that is left at this rate; a lower bound while the tree is scanned.
    pub(super) eta: Option<Duration>,
    /// Each path and its bits a second.
    pub(super) paths: Vec<(PathReport, f64)>,
}

/// Bytes in all and on each path at one moment.
struct Sample {
    at: Instant,
    bytes: u64,
    paths: Vec<u64>,
}

/// Averages totals.
pub(super) struct Meter {
    samples: VecDeque<Sample>,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Meter { samples: VecDeque::from([Sample { at: now, bytes: 0, paths: Vec::new() }]) }
    }

    /// Takes totals; those that follow the last ones too closely are left out.
    pub(super) fn add(&mut self, now: Instant, totals: &Progress) {
        let spacing = RATE_WINDOW / RATE_SAMPLES_MAX as u32;
        if self.samples.back().is_some_and(|last| now.duration_since(last.at) < spacing) {
            return;
        }
        let paths = totals.paths.iter().map(|path| path.bytes).collect();
        self.samples.push_back(Sample { at: now, bytes: totals.bytes, paths });
        while self.samples.len() > 2 && now.duration_since(self.samples[1].at) >= RATE_WINDOW {
            self.samples.pop_front();
        }
    }

    /// What to show with these totals.
    pub(super) fn state(&self, totals: Progress) -> State {
        let done = totals.bytes + totals.reused_bytes + totals.skipped_bytes;
        let rate = self.rate(|sample| sample.bytes);
        let left = totals.total_bytes.saturating_sub(done);
        let eta = (rate > 0.0 && totals.total_bytes > 0)
            .then(|| Duration::try_from_secs_f64(left as f64 * 8.0 / rate).ok())
            .flatten();
        let path_rate = |at: usize| self.rate(|sample| sample.paths.get(at).copied().unwrap_or(0));
        let paths =
            totals.paths.iter().cloned().enumerate().map(|(at, path)| (path, path_rate(at))).collect();
        State { done, rate, eta, paths, totals }
    }

    /// Bits a second from the oldest sample to the newest one.
    fn rate(&self, bytes: impl Fn(&Sample) -> u64) -> f64 {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else { return 0.0 };
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        // A new attempt counts its paths from 0.
        let moved = bytes(last).saturating_sub(bytes(first));
        if seconds > 0.0 { moved as f64 * 8.0 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(bytes: u64, skipped: u64, total: u64) -> Progress {
        Progress { bytes, skipped_bytes: skipped, total_bytes: total, ..Progress::default() }
    }

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        assert_eq!(meter.state(totals(0, 0, 100)).rate, 0.0);
        for second in 1..=10 {
            // 1000 bytes a second, 3000 from the fifth second on.
            let bytes = if second <= 5 { second * 1_000 } else { 5_000 + (second - 5) * 3_000 };
            meter.add(start + Duration::from_secs(second), &totals(bytes, 0, 0));
        }
        let state = meter.state(totals(20_000, 5_000, 55_000));
        assert_eq!((state.rate, state.done), (24_000.0, 25_000));
        assert_eq!(state.eta, Some(Duration::from_secs(10)));
        assert!(meter.samples.len() <= RATE_SAMPLES_MAX);
    }

    #[test]
    fn nothing_known_gives_no_time() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        meter.add(start + Duration::from_secs(1), &totals(0, 0, 10));
        assert_eq!(meter.state(totals(0, 0, 10)).eta, None);
        meter.add(start + Duration::from_secs(2), &totals(10, 0, 10));
        assert_eq!(meter.state(totals(10, 0, 10)).eta, Some(Duration::ZERO));
    }
}
