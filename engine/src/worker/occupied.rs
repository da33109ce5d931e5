//! How much of its time a worker was occupied: at work, or ready to work and without a processor.

use crate::limits::STARVED_PERCENT;
use std::time::Duration;
use xfer_io::clock::thread_cpu;
use xfer_io::thread::{RunDelay, Waits};

/// How much of its time a worker was occupied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Occupation {
    /// At work, or ready to work and without a processor.
    pub(crate) busy: Duration,
    /// Of that, ready and without a processor, and how often it got one.
    pub(crate) waited: Duration,
    pub(crate) waits: u64,
}

impl Occupation {
    /// What came since `before`.
    pub(crate) fn since(self, before: Occupation) -> Occupation {
        Occupation {
            busy: self.busy - before.busy,
            waited: self.waited - before.waited,
            waits: self.waits - before.waits,
        }
    }
}

/// The account of one worker, kept by its own thread.
pub(super) struct Occupied {
    delay: Option<RunDelay>,
    last: Look,
    /// Time of all turns that had something to do; what happened in them besides counts too.
    busy: Duration,
    /// Time that was spent looking for something to do.
    spun: Duration,
    total: Occupation,
}

/// What was found at one time.
#[derive(Clone, Copy, Default)]
struct Look {
    busy: Duration,
    spun: Duration,
    /// Processor time.
    ran: Duration,
    /// Time without a processor.
    delayed: Waits,
}

impl Look {
    /// How it was occupied since `last`. Whoever waits for a processor before each of its turns is starved, if it makes use of what it
    /// gets; whoever has little to do is late at most.
    fn since(self, last: Look) -> Occupation {
        let busy = self.busy - last.busy;
        let ran = self.ran.saturating_sub(last.ran).saturating_sub(self.spun - last.spun);
        let waited = self.delayed.time.saturating_sub(last.delayed.time);
        let waits = self.delayed.count.saturating_sub(last.delayed.count);
        let ready = ran + waited;
        if ran * 100 >= ready * STARVED_PERCENT {
            Occupation { busy: busy.max(ready), waited, waits }
        } else {
            Occupation { busy, ..Occupation::default() }
        }
    }
}

impl Occupied {
    pub(super) fn new() -> Self {
        let zero = Duration::ZERO;
        Occupied { delay: None, last: Look::default(), busy: zero, spun: zero, total: Occupation::default() }
    }

    /// To be called by the worker's thread when it begins.
    pub(super) fn begin(&mut self) {
        self.delay = RunDelay::of_this_thread();
        self.last = self.look();
    }

    /// A turn had something to do for so long.
    pub(super) fn worked(&mut self, time: Duration) {
        self.busy += time;
    }

    /// There was nothing to do for so long, and the worker did not sleep.
    pub(super) fn spun(&mut self, time: Duration) {
        self.spun += time;
    }

    /// All of it so far.
    pub(super) fn total(&self) -> Occupation {
        self.total
    }

    /// Brings the total up to date. Two system calls.
    pub(super) fn update(&mut self) {
        let look = self.look();
        let new = look.since(self.last);
        self.total.busy += new.busy;
        self.total.waited += new.waited;
        self.total.waits += new.waits;
        self.last = look;
    }

    fn look(&self) -> Look {
        let Occupied { busy, spun, .. } = *self;
        let delayed = self.delay.as_ref().and_then(RunDelay::read);
        Look {
            busy,
            spun,
            ran: delayed.map_or(Duration::ZERO, |_| thread_cpu()),
            delayed: delayed.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(busy: u64, spun: u64, ran: u64, delayed: u64, count: u64) -> Look {
        let ms = Duration::from_millis;
        Look { busy: ms(busy), spun: ms(spun), ran: ms(ran), delayed: Waits { time: ms(delayed), count } }
    }

    fn occupied(busy: u64, waited: u64, waits: u64) -> Occupation {
        Occupation { busy: Duration::from_millis(busy), waited: Duration::from_millis(waited), waits }
    }

    #[test]
    fn a_worker_that_gets_its_processor_was_occupied_by_its_turns() {
        let last = look(1_000, 500, 2_000, 100, 7);
        assert_eq!(look(1_030, 510, 2_040, 100, 9).since(last), occupied(30, 0, 2));
        assert_eq!(look(1_030, 500, 2_000, 100, 7).since(last), occupied(30, 0, 0));
    }

    #[test]
    fn a_worker_that_waits_for_its_processor_was_occupied_meanwhile() {
        let last = look(1_000, 500, 2_000, 100, 7);
        // 10 ms of work, 5 of looking for some, 30 without a processor.
        assert_eq!(look(1_010, 505, 2_015, 130, 10).since(last), occupied(40, 30, 3));
        // Preempted in the middle of turns: both tell of the same time.
        assert_eq!(look(1_045, 500, 2_015, 130, 10).since(last), occupied(45, 30, 3));
    }

    #[test]
    fn a_worker_with_little_to_do_is_late_and_not_occupied() {
        let last = Look::default();
        assert_eq!(look(1, 0, 1, 150, 20).since(last), occupied(1, 0, 0));
        let least = u64::from(STARVED_PERCENT);
        assert_eq!(look(0, 0, least, 100 - least, 3).since(last), occupied(100, 100 - least, 3));
        assert_eq!(look(0, 0, least - 1, 100, 3).since(last), occupied(0, 0, 0));
    }
}
