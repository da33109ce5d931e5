//! When to try a copy again: after 5 s, 15 s, 30 s, 1 m, 2 m and then every 5 m; only after failures of the network.
//!
//! A value with the clock as argument: what happened goes in, what to do comes out.

use crate::limits::RETRY_WAITS;
use std::time::Duration;
use xfer_engine::{Class, Error};

/// When a copy gives up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// Retries without progress in between; `None`: any number.
    pub retries: Option<u32>,
    /// Time from the start of the copy; `None`: any.
    pub duration_max: Option<Duration>,
}

/// What to do after a failure.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Try again after this long.
    Wait(Duration),
    /// Give up with this error.
    GiveUp(Error),
}

/// The schedule of one copy.
#[derive(Clone, Debug)]
pub struct Schedule {
    patience: Patience,
    failures: u32,
}

impl Schedule {
    /// A schedule in which nothing failed yet.
    pub fn new(patience: Patience) -> Self {
        Schedule { patience, failures: 0 }
    }

    /// Failures since the last progress.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Content moved: the schedule starts over.
    pub fn progressed(&mut self) {
        self.failures = 0;
    }

    /// The time that is left, `elapsed` after the copy started; `None`: any.
    pub fn left(&self, elapsed: Duration) -> Option<Duration> {
        self.patience.duration_max.map(|max| max.saturating_sub(elapsed))
    }

    /// An attempt failed with `error`, `elapsed` after the copy started.
    pub fn failed(&mut self, error: Error, elapsed: Duration) -> Next {
        if error.class != Class::Temporary {
            return Next::GiveUp(error);
        }
        if self.patience.retries.is_some_and(|max| self.failures >= max) {
            let tried = self.failures;
            return Next::GiveUp(if tried == 0 {
                error
            } else {
                error.because(format!("gave up after {tried} retries"))
            });
        }
        let wait = RETRY_WAITS[(self.failures as usize).min(RETRY_WAITS.len() - 1)];
        if let Some(left) = self.left(elapsed)
            && left <= wait
        {
            return Next::GiveUp(duration_exceeded().because(error));
        }
        self.failures += 1;
        Next::Wait(wait)
    }
}

/// The error of a copy whose time is over.
pub(crate) fn duration_exceeded() -> Error {
    Error::new(Class::DurationLimit, "the copy took longer than --max-duration")
        .because("what arrived is kept; run the same command to go on")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Error {
        Error::new(Class::Temporary, "lost")
    }

    fn waits(schedule: &mut Schedule, count: usize) -> Vec<u64> {
        (0..count)
            .map(|_| match schedule.failed(lost(), Duration::ZERO) {
                Next::Wait(wait) => wait.as_secs(),
                Next::GiveUp(error) => panic!("{error}"),
            })
            .collect()
    }

    #[test]
    fn waits_grow_and_progress_resets_them() {
        let mut schedule = Schedule::new(Patience::default());
        assert_eq!(waits(&mut schedule, 8), [5, 15, 30, 60, 120, 300, 300, 300]);
        schedule.progressed();
        assert_eq!(waits(&mut schedule, 2), [5, 15]);
    }

    #[test]
    fn retries_are_counted_without_progress() {
        let mut schedule = Schedule::new(Patience { retries: Some(2), duration_max: None });
        waits(&mut schedule, 2);
        let Next::GiveUp(error) = schedule.failed(lost(), Duration::ZERO) else { panic!() };
        assert_eq!(error.class, Class::Temporary);
        schedule.progressed();
        waits(&mut schedule, 2);
        let mut none = Schedule::new(Patience { retries: Some(0), duration_max: None });
        assert_eq!(none.failed(lost(), Duration::ZERO), Next::GiveUp(lost()));
    }

    #[test]
    fn time_ends_before_a_wait_that_it_does_not_hold() {
        let patience = Patience { retries: None, duration_max: Some(Duration::from_secs(10)) };
        let mut schedule = Schedule::new(patience);
        let early = Duration::from_millis(4_999);
        assert_eq!(schedule.clone().failed(lost(), early), Next::Wait(Duration::from_secs(5)));
        let Next::GiveUp(error) = schedule.failed(lost(), Duration::from_secs(5)) else { panic!() };
        assert_eq!(error.class, Class::DurationLimit);
        assert_eq!(schedule.left(Duration::from_secs(11)), Some(Duration::ZERO));
    }

    #[test]
    fn only_the_network_is_tried_again() {
        for class in
            [Class::Refused, Class::Denied, Class::Fatal, Class::Interrupted, Class::Digest, Class::Partial]
        {
            let error = Error::new(class, "x");
            let mut schedule = Schedule::new(Patience::default());
            assert_eq!(schedule.failed(error.clone(), Duration::ZERO), Next::GiveUp(error));
        }
    }
}
