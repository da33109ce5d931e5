//! Processor time of a thread, per byte of what it works on.

use crate::limits::{SAMPLE_BYTES, SAMPLES_MAX};
use std::time::{Duration, Instant};
use xfer_io::clock::thread_cpu;

/// What a stage costs: processor seconds per byte of content.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Cost(f64);

impl Cost {
    /// Of work on `bytes` that took `cpu`.
    fn of(bytes: usize, cpu: Duration) -> Cost {
        // No clock sees less than a nanosecond.
        Cost(cpu.as_secs_f64().max(1e-9) / bytes.max(1) as f64)
    }

    /// Of so many seconds for 10^9 bytes, above 0.
    pub fn of_seconds_per_gb(seconds: f64) -> Cost {
        Cost(seconds / 1e9)
    }

    /// Processor seconds for 10^9 bytes.
    pub fn seconds_per_gb(self) -> f64 {
        self.0 * 1e9
    }

    /// What one core does that does nothing else.
    pub fn bytes_per_second(self) -> f64 {
        1.0 / self.0
    }
}

/// Times pieces of work until its time is over, the first of them as a warm-up.
pub(super) struct Stopwatch {
    time: Duration,
    since: Option<Instant>,
    bytes: usize,
    cpu: Duration,
    samples: Vec<Cost>,
}

impl Stopwatch {
    pub(super) fn start(time: Duration) -> Stopwatch {
        Stopwatch {
            time,
            since: None,
            bytes: 0,
            cpu: Duration::ZERO,
            samples: Vec::with_capacity(SAMPLES_MAX),
        }
    }

    /// Whether there is time for more: for two pieces always.
    pub(super) fn goes_on(&self) -> bool {
        let over = || self.since.is_some_and(|since| since.elapsed() >= self.time);
        (self.samples.is_empty() && self.bytes == 0) || !(self.samples.len() == SAMPLES_MAX || over())
    }

    /// Does `work` on `bytes`.
    pub(super) fn time<R>(&mut self, bytes: usize, work: impl FnOnce() -> R) -> R {
        let (result, cpu) = timed(work);
        self.add(bytes, cpu);
        result
    }

    /// Counts work on `bytes` that took `cpu`.
    pub(super) fn add(&mut self, bytes: usize, cpu: Duration) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
            return;
        }
        self.bytes += bytes;
        self.cpu += cpu;
        if self.bytes >= SAMPLE_BYTES && self.samples.len() < SAMPLES_MAX {
            self.samples.push(Cost::of(self.bytes, self.cpu));
            (self.bytes, self.cpu) = (0, Duration::ZERO);
        }
    }

    /// The median.
    pub(super) fn cost(mut self) -> Cost {
        if self.samples.is_empty() {
            return Cost::of(self.bytes, self.cpu);
        }
        let middle = self.samples.len() / 2;
        *self.samples.select_nth_unstable_by(middle, |a, b| a.0.total_cmp(&b.0)).1
    }
}

/// Does `work`; the processor time that this thread took for it.
pub(super) fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let before = thread_cpu();
    let result = work();
    (result, thread_cpu().saturating_sub(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_to_warm_up_and_once_at_least() {
        let mut watch = Stopwatch::start(Duration::ZERO);
        let mut times = 0;
        while watch.goes_on() {
            watch.time(1, || times += 1);
        }
        assert_eq!(times, 2);
        assert!(watch.cost().bytes_per_second() > 0.0);
    }

    #[test]
    fn the_median_of_the_samples_counts_and_the_first_does_not() {
        let mut watch = Stopwatch::start(Duration::MAX);
        let ms = Duration::from_millis;
        for cpu in [900, 1, 3, 2, 500, 4] {
            assert!(watch.goes_on());
            watch.add(SAMPLE_BYTES, ms(cpu));
        }
        watch.add(SAMPLE_BYTES - 1, ms(700));
        assert_eq!(watch.cost(), Cost::of(SAMPLE_BYTES, ms(3)));
    }

    #[test]
    fn samples_are_bounded() {
        let mut watch = Stopwatch::start(Duration::MAX);
        for _ in 0..=SAMPLES_MAX {
            assert!(watch.goes_on());
            watch.add(SAMPLE_BYTES, Duration::from_millis(1));
        }
        assert!(!watch.goes_on());
        watch.add(SAMPLE_BYTES, Duration::from_millis(1));
        assert_eq!(watch.samples.len(), SAMPLES_MAX);
    }

    #[test]
    fn waiting_costs_nothing() {
        let ((), slept) = timed(|| std::thread::sleep(Duration::from_millis(20)));
        assert!(slept < Duration::from_millis(20), "{slept:?}");
        let ((), worked) = timed(|| {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(2) {}
        });
        assert!(worked > Duration::ZERO);
    }

    #[test]
    fn costs_are_shown_both_ways() {
        let cost = Cost::of(1_000_000, Duration::from_micros(200));
        assert!((cost.seconds_per_gb() - 0.2).abs() < 1e-9);
        assert!((cost.bytes_per_second() - 5e9).abs() < 1.0);
        assert_eq!(Cost::of_seconds_per_gb(0.2).bytes_per_second(), 5e9);
    }
}
