//! Which stage holds a transfer up: the time between two looks counts for the stage that was found waiting, or busy, at the first.

use crate::api::Stage;
use crate::limits;
use crate::worker::Occupation;
use std::time::Duration;
use xfer_proto::time::Time;
use xfer_proto::wire::{Message, TransferId};

const STAGES: usize = Stage::None as usize + 1;

/// The account of one end.
pub(crate) struct Account {
    since: Time,
    stage: Stage,
    /// Of the present window, of the last few, and of all.
    window: [Duration; STAGES],
    recent: [Duration; STAGES],
    total: [Duration; STAGES],
    /// How the worker had been occupied when the window began.
    occupation: Occupation,
    /// What it is called when the worker itself is the limit.
    cpu: Stage,
}

impl Account {
    pub(crate) fn new(now: Time, sends: bool) -> Self {
        let zero = [Duration::ZERO; STAGES];
        let cpu = if sends { Stage::SenderCpu } else { Stage::ReceiverCpu };
        Account {
            since: now,
            stage: Stage::None,
            window: zero,
            recent: zero,
            total: zero,
            occupation: Occupation::default(),
            cpu,
        }
    }

    /// From now on the transfer waits for `stage`; [`Stage::None`] is not active.
    #[expect(clippy::indexing_slicing, reason = "there is a place for each stage")]
    pub(crate) fn note(&mut self, now: Time, stage: Stage) {
        self.window[self.stage as usize] += now.since(self.since);
        self.since = now;
        self.stage = stage;
    }

    /// What the present window waited for most.
    pub(crate) fn of_window(&self) -> Stage {
        most(&self.window, 0)
    }

    /// Ends a window; `occupation` is the worker's so far, `rtt` the least round trip of the paths. A worker that hardly rested in it was the
    /// limit, whatever the transfer seemed to wait for. One that waited long for its processor, and longer each time than the path takes,
    /// was the limit while it was occupied, where the path seemed to be: in such a time nothing is on its way any more.
    #[expect(clippy::indexing_slicing, reason = "there is a place for each stage")]
    pub(crate) fn end_window(&mut self, occupation: Occupation, rtt: Duration) {
        let Occupation { busy, waited, waits } = occupation.since(self.occupation);
        self.occupation = occupation;
        let mut window = std::mem::take(&mut self.window);
        let active = window[..Stage::None as usize].iter().sum::<Duration>();
        let path = window[Stage::Path as usize];
        if busy * 100 >= active * limits::BUSY_PERCENT && active > Duration::ZERO {
            let idle = window[Stage::None as usize];
            window = [Duration::ZERO; STAGES];
            window[Stage::None as usize] = idle;
            window[self.cpu as usize] = active;
        } else if waited * 100 >= active * limits::WAITED_PERCENT
            && waited.as_nanos() >= rtt.as_nanos() * u128::from(waits)
        {
            window[Stage::Path as usize] = path.saturating_sub(busy);
            window[self.cpu as usize] += path.min(busy);
        }
        for (i, spent) in window.into_iter().enumerate() {
            self.recent[i] = self.recent[i] * 7 / 8 + spent;
            self.total[i] += spent;
        }
    }

    /// What this end sees.
    pub(crate) fn limits(&self) -> Limits {
        Limits { now: self.recent(), all: self.total() }
    }

    /// The stage that held the transfer up for at least half of the last windows' active time.
    fn recent(&self) -> Stage {
        most(&self.recent, 50)
    }

    /// The same for all of its time; [`Stage::None`] when it was active for less than 100 ms.
    #[expect(clippy::indexing_slicing, reason = "there is a place for each stage")]
    fn total(&self) -> Stage {
        let active = self.total[..Stage::None as usize].iter().sum::<Duration>();
        if active < limits::VERDICT_MIN { Stage::None } else { most(&self.total, 50) }
    }
}

/// What an end tells the other one: the stages that it sees holding the transfer up, lately and in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) now: Stage,
    pub(crate) all: Stage,
}

impl Limits {
    pub(crate) fn message(self, transfer: TransferId) -> Message {
        Message::Limit { transfer, now: self.now.number(), all: self.all.number() }
    }

    /// Of the numbers of a message.
    pub(crate) fn told(now: u8, all: u8) -> Self {
        Limits { now: Stage::from_number(now), all: Stage::from_number(all) }
    }

    /// The verdict of both ends, of which this one `sends`.
    pub(crate) fn with(self, peer: Limits, sends: bool) -> Self {
        let (sender, receiver) = if sends { (self, peer) } else { (peer, self) };
        Limits {
            now: Stage::of_both(sender.now, receiver.now),
            all: Stage::of_both(sender.all, receiver.all),
        }
    }
}

/// The stage with the most time, if that is at least `percent` of the active time and any at all.
#[expect(clippy::indexing_slicing, reason = "there is a place for each stage")]
fn most(spent: &[Duration; STAGES], percent: u32) -> Stage {
    let active = Stage::ACTIVE.map(|stage| spent[stage as usize]);
    let all = active.iter().sum::<Duration>();
    let most = Stage::ACTIVE.into_iter().max_by_key(|stage| spent[*stage as usize]).unwrap_or_default();
    let share = spent[most as usize];
    if share > Duration::ZERO && share * 100 >= all * percent { most } else { Stage::None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(1);

    fn ms(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    fn busy(ms: u64) -> Occupation {
        waited(ms, 0, 0)
    }

    fn waited(busy: u64, waited: u64, waits: u64) -> Occupation {
        Occupation { busy: Duration::from_millis(busy), waited: Duration::from_millis(waited), waits }
    }

    #[test]
    fn time_counts_for_what_was_found_before_it() {
        let mut account = Account::new(ms(0), true);
        account.note(ms(0), Stage::Path);
        account.note(ms(60), Stage::Source);
        account.note(ms(100), Stage::Source);
        assert_eq!(account.of_window(), Stage::Path);
        account.end_window(busy(0), RTT);
        assert_eq!((account.recent(), account.total()), (Stage::Path, Stage::Path));
        account.note(ms(120), Stage::None);
        account.note(ms(500), Stage::None);
        account.end_window(busy(0), RTT);
        assert_eq!(account.total(), Stage::Path, "60 of 120 ms; what is not active does not count");
    }

    #[test]
    fn less_than_half_and_less_than_100_ms_are_nothing() {
        let mut account = Account::new(ms(0), true);
        account.note(ms(0), Stage::Sink);
        account.note(ms(99), Stage::None);
        account.end_window(busy(0), RTT);
        assert_eq!((account.recent(), account.total()), (Stage::Sink, Stage::None));
        for (at, stage) in [(100, Stage::Path), (140, Stage::Source), (180, Stage::None)] {
            account.note(ms(at), stage);
        }
        account.end_window(busy(0), RTT);
        assert_eq!(account.total(), Stage::Sink, "99 of 179 ms");
        account.note(ms(180), Stage::Hash);
        account.note(ms(200), Stage::None);
        account.end_window(busy(0), RTT);
        assert_eq!(account.total(), Stage::None, "99 of 199 ms");
    }

    #[test]
    fn stages_have_the_numbers_of_the_wire() {
        let numbers = Stage::ACTIVE.map(Stage::number);
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(numbers.map(Stage::from_number), Stage::ACTIVE);
        assert_eq!(
            (Stage::None.number(), Stage::from_number(0), Stage::from_number(8)),
            (0, Stage::None, Stage::None)
        );
        let limits = Limits { now: Stage::Sink, all: Stage::Path };
        let Message::Limit { now, all, .. } = limits.message(TransferId(1)) else { panic!() };
        assert_eq!(Limits::told(now, all), limits);
    }

    #[test]
    fn each_end_comes_to_the_same_verdict() {
        let sender = Limits { now: Stage::Path, all: Stage::Source };
        let receiver = Limits { now: Stage::Sink, all: Stage::Path };
        let both = Limits { now: Stage::Sink, all: Stage::Source };
        assert_eq!((sender.with(receiver, true), receiver.with(sender, false)), (both, both));
        assert_eq!(receiver.with(Limits::default(), false), receiver, "nothing was told yet");
    }

    #[test]
    fn a_worker_that_never_rests_is_the_limit() {
        for (sends, cpu) in [(true, Stage::SenderCpu), (false, Stage::ReceiverCpu)] {
            let mut account = Account::new(ms(0), sends);
            account.note(ms(0), Stage::Path);
            account.note(ms(200), Stage::Path);
            account.end_window(busy(190), RTT);
            assert_eq!(account.total(), cpu);
            account.note(ms(400), Stage::Path);
            account.end_window(busy(190 + 170), RTT);
            assert_eq!(account.recent(), Stage::Path);
        }
    }

    #[test]
    fn a_worker_that_waits_long_for_its_processor_is_the_limit_and_not_the_path() {
        let least = u64::from(limits::WAITED_PERCENT) * 2;
        for (stage, occupation, named) in [
            (Stage::Path, waited(110, least, 1), Stage::SenderCpu),
            (Stage::Path, waited(110, least - 1, 1), Stage::Path),
            (Stage::Path, waited(90, least, 1), Stage::Path),
            (Stage::Source, waited(110, least, 1), Stage::Source),
            // A path that takes longer than each wait.
            (Stage::Path, waited(110, least, least), Stage::SenderCpu),
            (Stage::Path, waited(110, least, least + 1), Stage::Path),
        ] {
            let mut account = Account::new(ms(0), true);
            account.note(ms(0), stage);
            account.note(ms(200), Stage::None);
            account.end_window(occupation, RTT);
            assert_eq!(account.total(), named, "{stage:?} {occupation:?}");
        }
    }
}
