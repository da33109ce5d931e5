//! How much of its time a worker was occupied: at work, or ready to work and without a processor.

use crate::limits::STARVED_PERCENT;
use std::time::Duration;
use xfer_io::clock::thread_cpu;
use xfer_io::thread::RunDelay;

/// The account of one worker, kept by its own thread.
pub(super) struct Occupied {
    delay: Option<RunDelay>,
    last: Look,
    /// Time of all turns that had something to do; what happened in them besides counts too.
    busy: Duration,
    /// Time that was spent looking for something to do.
    spun: Duration,
    total: Duration,
}

/// What was found at one time.
#[derive(Clone, Copy, Default)]
struct Look {
    busy: Duration,
    spun: Duration,
    /// Processor time.
    ran: Duration,
    /// Time without a processor.
    delayed: Duration,
}

impl Look {
    /// Time in which the worker had something to do, of what passed since `last`. Whoever waits for a processor before each of its
    /// turns is starved, if it makes use of what it gets; whoever has little to do is late at most.
    fn since(self, last: Look) -> Duration {
        let busy = self.busy - last.busy;
        let ran = self.ran.saturating_sub(last.ran).saturating_sub(self.spun - last.spun);
        let ready = ran + self.delayed.saturating_sub(last.delayed);
        if ran * 100 >= ready * STARVED_PERCENT { busy.max(ready) } else { busy }
    }
}

impl Occupied {
    pub(super) fn new() -> Self {
        let zero = Duration::ZERO;
        Occupied { delay: None, last: Look::default(), busy: zero, spun: zero, total: zero }
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
    pub(super) fn total(&self) -> Duration {
        self.total
    }

    /// Brings the total up to date. Two system calls.
    pub(super) fn update(&mut self) {
        let look = self.look();
        self.total += look.since(self.last);
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

    fn look(busy: u64, spun: u64, ran: u64, delayed: u64) -> Look {
        let ms = Duration::from_millis;
        Look { busy: ms(busy), spun: ms(spun), ran: ms(ran), delayed: ms(delayed) }
    }

    #[test]
    fn a_worker_that_gets_its_processor_was_occupied_by_its_turns() {
        let last = look(1_000, 500, 2_000, 100);
        assert_eq!(look(1_030, 510, 2_040, 100).since(last), Duration::from_millis(30));
        assert_eq!(
            look(1_030, 500, 2_000, 100).since(look(1_000, 500, 2_000, 100)),
            Duration::from_millis(30)
        );
    }

    #[test]
    fn a_worker_that_waits_for_its_processor_was_occupied_meanwhile() {
        let last = look(1_000, 500, 2_000, 100);
        // 10 ms of work, 5 of looking for some, 30 without a processor.
        assert_eq!(look(1_010, 505, 2_015, 130).since(last), Duration::from_millis(40));
        // Preempted in the middle of turns: both tell of the same time.
        assert_eq!(look(1_045, 500, 2_015, 130).since(last), Duration::from_millis(45));
    }

    #[test]
    fn a_worker_with_little_to_do_is_late_and_not_occupied() {
        let last = look(0, 0, 0, 0);
        assert_eq!(look(1, 0, 1, 150).since(last), Duration::from_millis(1));
        let least = STARVED_PERCENT.into();
        assert_eq!(
            look(0, 0, least, 100 - u64::from(STARVED_PERCENT)).since(last),
            Duration::from_millis(100)
        );
        assert_eq!(look(0, 0, u64::from(STARVED_PERCENT) - 1, 100).since(last), Duration::ZERO);
    }
}
