//! What one end of a measurement took: time and processor time, from its first content to its last.
//!
//! In: the moments at which the end of a benchmark begins and ends, told by [`crate::source::EndlessSource`] and
//! [`crate::sink::DiscardSink`]. Out: [`Measured`]. Bytes are counted by the transfer itself.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use xfer_io::clock;

/// What an end took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// From the first content to the last that was accepted.
    pub time: Duration,
    /// Processor time of the whole process meanwhile.
    pub cpu: Duration,
}

#[derive(Clone, Copy)]
struct Moment {
    at: Instant,
    cpu: Duration,
}

impl Moment {
    fn now() -> Self {
        Moment { at: Instant::now(), cpu: clock::process_cpu() }
    }
}

/// Takes the time of one end.
#[derive(Default)]
pub struct Meter {
    moments: Mutex<(Option<Moment>, Option<Moment>)>,
}

impl Meter {
    /// Content moves from now on; only the first call counts.
    pub fn begin(&self) {
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        moments.0.get_or_insert_with(Moment::now);
    }

    /// All content was accepted; only the first call counts, and none before content moved.
    pub fn end(&self) {
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        if moments.0.is_some() {
            moments.1.get_or_insert_with(Moment::now);
        }
    }

    /// What it took until its end, or until now; nothing before it began.
    pub fn measured(&self) -> Measured {
        let (first, last) = *self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = first else { return Measured::default() };
        let last = last.unwrap_or_else(Moment::now);
        Measured { time: last.at.duration_since(first.at), cpu: last.cpu.saturating_sub(first.cpu) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_measured_before_the_beginning() {
        let meter = Meter::default();
        meter.end();
        assert_eq!(meter.measured(), Measured::default());
        meter.begin();
        assert!(meter.measured().time > Duration::ZERO);
    }

    #[test]
    fn the_first_beginning_and_the_first_end_count() {
        let meter = Meter::default();
        meter.begin();
        let early = Instant::now();
        meter.end();
        let first = meter.measured();
        meter.begin();
        meter.end();
        assert_eq!(meter.measured(), first);
        assert!(first.time < early.elapsed() + first.time);
    }
}
