//! What one path has sent and does not know the fate of: a log of trains.
//!
//! A train is up to 64 packets of consecutive numbers sent at one instant, so one entry with two bit masks stands for all of them
//! and an ACK range settles it with one AND.

use crate::cc::SendSnapshot;
use crate::limits;
use crate::time::Time;
use crate::wire::{Ack, PathId, TransferId};
use alloc::collections::VecDeque;
use core::ops::Range;
use core::time::Duration;

/// Content of a chunk that a train carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataRange {
    /// The transfer.
    pub transfer: TransferId,
    /// Chunk of its space.
    pub chunk: u32,
    /// Attempt of the chunk.
    pub attempt: u8,
    /// First stored byte in the chunk.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// Payload bytes of each packet but the last.
    pub step: u16,
}

/// What a control packet carried that matters when it is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlContent {
    /// Piece of the control stream: offset and length.
    pub stream: Option<(u64, u16)>,
    /// A WINDOW of this transfer.
    pub window: Option<TransferId>,
    /// A CREDIT.
    pub credit: bool,
    /// An ACK of this path that named everything below a number.
    pub ack: Option<(PathId, u64)>,
    /// The end of a path was told.
    pub abandon: Option<PathId>,
}

/// What a train is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Packets of a chunk.
    Data(DataRange),
    /// One control packet; ack-eliciting or not.
    Control(ControlContent, bool),
    /// One packet that probes the path's MTU.
    MtuProbe,
    /// A number that was left out on purpose.
    Skipped,
}

/// Packets of consecutive numbers, sent at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Train {
    /// Number of the first packet.
    pub first: u64,
    /// How many packets, 1 to 64.
    pub count: u8,
    /// When it was sent.
    pub time: Time,
    /// Datagram bytes of each packet but the last, and of the last.
    pub sizes: (u16, u16),
    /// What it carries.
    pub content: Content,
    /// State of the controller at that time.
    pub snapshot: SendSnapshot,
    acked: u64,
    lost: u64,
}

impl Train {
    /// A train that was just sent.
    pub fn new(first: u64, count: u8, time: Time, sizes: (u16, u16), content: Content) -> Self {
        assert!((1..=limits::TRAIN_PACKETS_MAX as u8).contains(&count));
        Train { first, count, time, sizes, content, snapshot: SendSnapshot::default(), acked: 0, lost: 0 }
    }

    const fn all(&self) -> u64 {
        u64::MAX >> (64 - self.count as u32)
    }

    const fn end(&self) -> u64 {
        self.first + self.count as u64
    }

    /// Whether it counts as in flight until its fate is known.
    pub(crate) const fn is_in_flight_kind(&self) -> bool {
        !matches!(self.content, Content::Skipped | Content::Control(_, false))
    }

    /// Packets whose fate is not known.
    const fn pending(&self) -> u64 {
        if self.is_in_flight_kind() { self.all() & !self.acked & !self.lost } else { 0 }
    }

    /// Datagram bytes of the packets in `mask`.
    pub fn bytes(&self, mask: u64) -> u64 {
        let last = mask >> (self.count - 1) & 1;
        let others = u64::from(mask.count_ones()) - last;
        others * u64::from(self.sizes.0) + last * u64::from(self.sizes.1)
    }

    /// The runs of stored bytes that the packets in `mask` carry.
    pub fn data_runs(&self, data: DataRange, mask: u64) -> impl Iterator<Item = Range<u32>> {
        let mut rest = mask;
        core::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let from = rest.trailing_zeros();
            let run = (rest >> from).trailing_ones();
            rest &= if from + run == 64 { 0 } else { u64::MAX << (from + run) };
            let step = u32::from(data.step);
            Some(data.start + from * step..(data.start + (from + run) * step).min(data.end))
        })
    }
}

/// News from an ACK.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acked {
    /// Datagram bytes that are acknowledged for the first time.
    pub bytes: u64,
    /// Of them: bytes that had been declared lost.
    pub spurious_bytes: u64,
    /// Send time and snapshot of the newest train of which a packet is newly acknowledged.
    pub newest: Option<(Time, SendSnapshot)>,
    /// The ACK's largest number is newly acknowledged and its packet asked for an answer: send time of it.
    pub rtt_from: Option<Time>,
}

/// An ACK named a number that was never sent (PROTOCOL.md#ack).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckUnsent;

/// What was declared lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// Datagram bytes, MTU probes left out.
    pub bytes: u64,
    /// Send time of the newest of them.
    pub newest: Time,
}

/// The log, oldest first.
#[derive(Debug)]
pub struct SentLog {
    trains: VecDeque<Train>,
    /// Trains at the front with nothing in flight: kept for late ACKs, passed over otherwise.
    settled: usize,
    /// Numbers in the log that were left out, the newest of them.
    skipped: VecDeque<u64>,
    next: u64,
    in_flight: u64,
    /// Largest acknowledged number plus one, and the send time of the newest acknowledged packet.
    acked_end: u64,
    acked_time: Time,
    /// The numbers that were left out last to change keys.
    leapt: Range<u64>,
}

impl Default for SentLog {
    /// An empty log that never takes more memory than now.
    fn default() -> Self {
        SentLog {
            trains: VecDeque::with_capacity(limits::SENT_TRAINS_MAX + 1),
            settled: 0,
            skipped: VecDeque::with_capacity(limits::SKIPPED_MAX),
            next: 0,
            in_flight: 0,
            acked_end: 0,
            acked_time: Time::default(),
            leapt: 0..0,
        }
    }
}

impl SentLog {
    /// The number that the next packet gets.
    pub const fn next_number(&self) -> u64 {
        self.next
    }

    /// One more than the largest acknowledged number.
    pub const fn acked_end(&self) -> u64 {
        self.acked_end
    }

    /// Leaves out all numbers before `to`.
    pub fn leap(&mut self, to: u64) {
        assert!(to >= self.next, "numbers only rise");
        self.leapt = self.next..to;
        self.next = to;
    }

    /// Datagram bytes in flight.
    pub const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Whether another train may be logged.
    pub fn has_room(&self) -> bool {
        self.trains.len() + 1 < limits::SENT_TRAINS_MAX
    }

    /// Logs a train; its first number must be the next.
    pub fn push(&mut self, train: Train) {
        assert_eq!(train.first, self.next, "numbers are given in order");
        self.next = train.end();
        self.in_flight += train.bytes(train.pending());
        if matches!(train.content, Content::Skipped) {
            if self.skipped.len() == limits::SKIPPED_MAX {
                self.skipped.pop_front();
            }
            self.skipped.push_back(train.first);
        }
        self.trains.push_back(train);
        self.drop_settled();
    }

    /// Takes an ACK's ranges; `visit` sees each train with the packets of it that are newly acknowledged.
    ///
    /// # Errors
    /// [`AckUnsent`], with nothing changed.
    #[expect(clippy::indexing_slicing, reason = "`at` counts down from a place among the trains")]
    pub fn acknowledge(
        &mut self,
        ack: &Ack<'_>,
        mut visit: impl FnMut(&Train, u64),
    ) -> Result<Acked, AckUnsent> {
        if ack.largest >= self.next || self.names_skipped(ack) {
            return Err(AckUnsent);
        }
        let mut news = Acked::default();
        for range in ack.ranges() {
            let mut at = self.trains.partition_point(|t| t.first <= *range.end());
            while at > 0 && self.trains[at - 1].end() > *range.start() {
                at -= 1;
                self.acknowledge_train(at, &range, ack.largest, &mut news, &mut visit);
            }
            if at == 0 {
                break;
            }
        }
        self.acked_end = self.acked_end.max(ack.largest + 1);
        self.drop_settled();
        Ok(news)
    }

    fn names_skipped(&self, ack: &Ack<'_>) -> bool {
        if ack
            .ranges()
            .any(|r| *r.start() < self.leapt.end && *r.end() >= self.leapt.start && !self.leapt.is_empty())
        {
            return true;
        }
        let mut ranges = ack.ranges();
        let mut range = ranges.next();
        for number in self.skipped.iter().rev() {
            while range.as_ref().is_some_and(|r| r.start() > number) {
                range = ranges.next();
            }
            if range.as_ref().is_some_and(|r| r.contains(number)) {
                return true;
            }
        }
        false
    }

    #[expect(clippy::indexing_slicing, reason = "`acknowledge` names a train that is there")]
    fn acknowledge_train(
        &mut self,
        at: usize,
        range: &core::ops::RangeInclusive<u64>,
        largest: u64,
        news: &mut Acked,
        visit: &mut impl FnMut(&Train, u64),
    ) {
        let train = &mut self.trains[at];
        let low = range.start().saturating_sub(train.first);
        let high = (range.end() - train.first).min(u64::from(train.count) - 1);
        let mask = (u64::MAX << low) & (u64::MAX >> (63 - high));
        let newly = mask & !train.acked;
        if newly == 0 {
            return;
        }
        let pending = newly & train.pending();
        train.acked |= newly;
        if !train.is_in_flight_kind() {
            visit(train, newly);
            return;
        }
        news.bytes += train.bytes(newly);
        news.spurious_bytes += train.bytes(newly & train.lost);
        self.in_flight -= train.bytes(pending);
        if news.newest.is_none_or(|(time, _)| train.time > time) {
            news.newest = Some((train.time, train.snapshot));
        }
        if range.contains(&largest) && train.end() > largest && newly >> (largest - train.first) & 1 != 0 {
            news.rtt_from = Some(train.time);
        }
        self.acked_time = self.acked_time.max(train.time);
        visit(train, newly);
    }

    /// Declares lost what was sent before the newest acknowledged packet and at least `delay` ago (RFC 8985 section 6.2). `visit` sees each
    /// train with the packets of it that are newly lost. Returns what was lost and when to look again.
    pub fn detect(
        &mut self,
        now: Time,
        delay: Duration,
        mut visit: impl FnMut(&Train, u64),
    ) -> (Lost, Option<Time>) {
        let mut lost = Lost::default();
        let mut again = None;
        for train in self.trains.range_mut(self.settled..) {
            if train.first >= self.acked_end || train.time > self.acked_time {
                break;
            }
            let below = self.acked_end - train.first;
            let mask = if below >= 64 { u64::MAX } else { (1 << below) - 1 };
            let pending = train.pending() & mask;
            if pending == 0 {
                continue;
            }
            if train.time + delay > now {
                again = Some(train.time + delay);
                break;
            }
            Self::lose(train, pending, &mut self.in_flight, &mut lost);
            visit(train, pending);
        }
        self.drop_settled();
        (lost, again)
    }

    /// Declares all that is in flight lost: the path is dead or starts anew.
    pub fn forsake(&mut self, mut visit: impl FnMut(&Train, u64)) -> Lost {
        let mut lost = Lost::default();
        for train in self.trains.range_mut(self.settled..) {
            let pending = train.pending();
            if pending != 0 {
                Self::lose(train, pending, &mut self.in_flight, &mut lost);
                visit(train, pending);
            }
        }
        self.drop_settled();
        lost
    }

    fn lose(train: &mut Train, mask: u64, in_flight: &mut u64, lost: &mut Lost) {
        train.lost |= mask;
        let bytes = train.bytes(mask);
        *in_flight -= bytes;
        if train.content != Content::MtuProbe {
            lost.bytes += bytes;
            lost.newest = lost.newest.max(train.time);
        }
    }

    /// The oldest train with packets in flight, and those packets.
    pub fn oldest_pending(&self) -> Option<(&Train, u64)> {
        self.pending().next()
    }

    /// Every train with packets in flight, oldest first, and those packets.
    pub fn pending(&self) -> impl Iterator<Item = (&Train, u64)> {
        self.trains.range(self.settled..).map(|t| (t, t.pending())).filter(|(_, pending)| *pending != 0)
    }

    /// Passes over what is settled at the front, and forgets it; but what was lost is kept for a while so that a late ACK is known as
    /// spurious.
    #[expect(clippy::indexing_slicing, reason = "there are as many trains as settled ones at least")]
    fn drop_settled(&mut self) {
        while self.trains.get(self.settled).is_some_and(|train| train.pending() == 0) {
            self.settled += 1;
        }
        while self.settled > 0 {
            let front = &self.trains[0];
            let late = front.lost & !front.acked != 0 && self.next - front.end() < limits::LATE_ACK_NUMBERS;
            if late && self.trains.len() < limits::SENT_TRAINS_MAX {
                break;
            }
            if self.skipped.front() == Some(&front.first) {
                self.skipped.pop_front();
            }
            self.trains.pop_front();
            self.settled -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Frame, Frames, Writer, encode_ack_ranges};
    use alloc::vec::Vec;
    use core::ops::RangeInclusive;

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    fn data(start: u32, end: u32) -> Content {
        let transfer = TransferId(1);
        Content::Data(DataRange { transfer, chunk: 0, attempt: 0, start, end, step: 1_424 })
    }

    fn log(trains: &[(u8, u64, Content)]) -> SentLog {
        let mut log = SentLog::default();
        for (count, ms, content) in trains {
            log.push(Train::new(log.next_number(), *count, at(*ms), (1_472, 100), *content));
        }
        log
    }

    fn acknowledge(
        log: &mut SentLog,
        ranges: &[RangeInclusive<u64>],
    ) -> Result<(Acked, Vec<u64>), AckUnsent> {
        let mut bytes = [0; 600];
        let mut w = Writer::new(&mut bytes);
        Frame::encode_ack_head(&mut w, &Ack::head(PathId(0), 0, 0, 0, 0));
        encode_ack_ranges(&mut w, ranges.iter().cloned());
        let len = w.written();
        let Some(Ok(Frame::Ack(ack))) = Frames::new(&bytes[..len]).next() else { panic!("not an ACK") };
        let mut masks = Vec::new();
        let news = log.acknowledge(&ack, |_, mask| masks.push(mask))?;
        Ok((news, masks))
    }

    #[test]
    fn one_range_settles_whole_trains() {
        let mut log = log(&[(64, 0, data(0, 90_000)), (2, 1, data(90_000, 91_524))]);
        assert_eq!(log.in_flight(), 63 * 1_472 + 100 + 1_472 + 100);
        let (news, masks) = acknowledge(&mut log, &[0..=64]).expect("sent");
        assert_eq!(masks, [1, u64::MAX]);
        assert_eq!(news.bytes, 63 * 1_472 + 100 + 1_472);
        assert_eq!(news.rtt_from, Some(at(1)));
        assert_eq!(log.in_flight(), 100);
        let (news, masks) = acknowledge(&mut log, &[0..=65]).expect("sent");
        assert_eq!((news.bytes, masks), (100, Vec::from([2])));
        assert_eq!(log.in_flight(), 0);
    }

    #[test]
    fn unsent_and_left_out_numbers_are_refused() {
        let mut log = log(&[(3, 0, data(0, 4_000)), (1, 0, Content::Skipped), (1, 0, data(4_000, 4_100))]);
        assert_eq!(acknowledge(&mut log, &[5..=5]).err(), Some(AckUnsent));
        assert_eq!(acknowledge(&mut log, &[1..=4]).err(), Some(AckUnsent));
        assert!(acknowledge(&mut log, &[4..=4, 0..=2]).is_ok());
        assert_eq!(log.in_flight(), 0);
    }

    #[test]
    fn numbers_that_were_leapt_over_are_refused() {
        let mut log = log(&[(3, 0, data(0, 4_000))]);
        log.leap(100);
        log.push(Train::new(100, 1, at(1), (1_472, 1_472), data(4_000, 5_424)));
        for named in [99..=100, 3..=3, 2..=100] {
            assert_eq!(acknowledge(&mut log, &[named]).err(), Some(AckUnsent));
        }
        assert!(acknowledge(&mut log, &[100..=100, 0..=2]).is_ok());
        assert_eq!((log.in_flight(), log.acked_end()), (0, 101));
    }

    #[test]
    fn loss_is_by_time_and_only_before_what_was_acknowledged() {
        let mut log = log(&[(4, 0, data(0, 5_000)), (1, 5, data(5_000, 5_100)), (1, 6, data(5_100, 5_200))]);
        acknowledge(&mut log, &[4..=4, 2..=2]).expect("sent");
        let delay = Duration::from_millis(10);
        let (lost, again) = log.detect(at(9), delay, |_, _| panic!("too early"));
        assert_eq!((lost.bytes, again), (0, Some(at(10))));
        let mut runs = Vec::new();
        let (lost, again) = log.detect(at(10), delay, |train, mask| {
            if let Content::Data(data) = train.content {
                runs.extend(train.data_runs(data, mask));
            }
        });
        assert_eq!(lost.bytes, 2 * 1_472 + 100);
        assert_eq!(runs, [0..2_848, 4_272..5_000]);
        assert_eq!(again, None);
        assert_eq!(log.in_flight(), 100);
        let (news, _) = acknowledge(&mut log, &[0..=5]).expect("sent");
        assert_eq!(news.spurious_bytes, 2 * 1_472 + 100);
    }

    #[test]
    fn the_oldest_pending_train_is_behind_all_that_is_settled() {
        let mut log = log(&[(2, 0, data(0, 2_000)), (1, 1, data(2_000, 2_100)), (1, 5, data(2_100, 2_200))]);
        let oldest = |log: &SentLog| log.oldest_pending().map(|(train, pending)| (train.first, pending));
        assert_eq!(oldest(&log), Some((0, 3)));
        acknowledge(&mut log, &[2..=2, 0..=0]).expect("sent");
        assert_eq!(oldest(&log), Some((0, 2)));
        log.detect(at(5), Duration::from_millis(1), |_, _| ());
        assert_eq!(oldest(&log), Some((3, 1)), "behind one that was lost and one that arrived");
        assert_eq!(log.pending().count(), 1);
        acknowledge(&mut log, &[3..=3]).expect("sent");
        assert_eq!(oldest(&log), None);
        log.push(Train::new(4, 1, at(6), (100, 100), data(2_200, 2_300)));
        assert_eq!(oldest(&log), Some((4, 1)));
        acknowledge(&mut log, &[0..=4]).expect("sent");
        assert_eq!((oldest(&log), log.in_flight()), (None, 0));
    }

    #[test]
    fn forsaking_loses_all_in_flight_once() {
        let mut log = log(&[(2, 0, data(0, 2_000)), (1, 0, Content::MtuProbe)]);
        assert_eq!(log.forsake(|_, _| ()).bytes, 1_572);
        assert_eq!(log.in_flight(), 0);
        assert_eq!(log.forsake(|_, _| panic!("twice")).bytes, 0);
    }
}
