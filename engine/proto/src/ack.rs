//! What one path's receiver remembers of packet numbers, and when it owes an ACK (PROTOCOL.md#ack).
//!
//! A bitmap over the newest numbers tells exactly which were accepted, so that no packet is ever taken twice; the ranges
//! of an ACK are read off it.

use crate::limits;
use crate::time::Time;
use crate::wire::{Ack, PathId, Writer, encode_ack_ranges};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;

const WORDS: usize = limits::NUMBERS_REMEMBERED as usize / 64;

/// The receiving half of a path's packet numbers.
#[derive(Debug)]
pub struct AckRecorder {
    /// Bit per number, as a ring over the newest [`limits::NUMBERS_REMEMBERED`].
    seen: Vec<u64>,
    /// One more than the largest accepted number; 0 before the first.
    next: u64,
    /// Lowest number that an ACK still has to name: below it the peer knows.
    floor: u64,
    eliciting: u32,
    first_eliciting: Option<Time>,
    at_once: bool,
    largest_arrival: Time,
    largest_stamp: u32,
    ce_count: u32,
    last_ack: Option<Time>,
}

impl Default for AckRecorder {
    fn default() -> Self {
        Self::new()
    }
}

impl AckRecorder {
    /// Nothing was received.
    pub fn new() -> Self {
        AckRecorder {
            seen: vec![0; WORDS],
            next: 0,
            floor: 0,
            eliciting: 0,
            first_eliciting: None,
            at_once: false,
            largest_arrival: Time::default(),
            largest_stamp: 0,
            ce_count: 0,
            last_ack: None,
        }
    }

    /// Whether `number` may still be accepted: neither accepted already nor too far back.
    pub fn is_new(&self, number: u64) -> bool {
        if number >= self.next {
            return true;
        }
        self.next - number <= limits::NUMBERS_REMEMBERED && !self.bit(number)
    }

    /// Whether `number` is above all accepted ones.
    pub const fn is_highest(&self, number: u64) -> bool {
        number >= self.next
    }

    /// Records an accepted packet.
    #[expect(clippy::indexing_slicing, reason = "`place` names a word of the ring")]
    pub fn accept(&mut self, now: Time, number: u64, stamp: u32, eliciting: bool, ask: bool, ce: bool) {
        if number >= self.next {
            let skipped = number - self.next;
            if skipped > 0 && self.next > 0 {
                self.at_once = true;
            }
            self.clear(self.next, number);
            self.next = number + 1;
            self.floor = self.floor.max(self.next.saturating_sub(limits::NUMBERS_REMEMBERED));
            self.largest_arrival = now;
            self.largest_stamp = stamp;
        }
        let (word, mask) = Self::place(number);
        self.seen[word] |= mask;
        if ce {
            self.ce_count = self.ce_count.wrapping_add(1);
        }
        if eliciting {
            self.eliciting += 1;
            self.first_eliciting.get_or_insert(now);
            self.at_once |= ask;
        }
    }

    /// When an ACK is due; `None` when none is owed.
    pub fn due(&self, smoothed_rtt: Duration) -> Option<Time> {
        let first = self.first_eliciting?;
        let spaced = self.last_ack.map_or(first, |last| last + limits::ACK_SPACING);
        if self.at_once || self.eliciting >= limits::ACK_PACKETS {
            return Some(spaced);
        }
        Some((first + Self::delay_max(smoothed_rtt)).max(spaced))
    }

    /// The longest that an ACK waits for more packets.
    pub fn delay_max(smoothed_rtt: Duration) -> Duration {
        (smoothed_rtt / 4).clamp(limits::ACK_DELAY_MIN, limits::ACK_DELAY_MAX)
    }

    /// Writes an ACK frame if at least its smallest form fits; the ranges that fit are named, newest first. Returns whether these
    /// are all that the peer does not know; `None` when nothing was written.
    pub fn write(&self, now: Time, path: PathId, w: &mut Writer<'_>) -> Option<bool> {
        if self.next == 0 || w.space() < Ack::encoded_len(1) {
            return None;
        }
        let count = (1 + (w.space() - Ack::encoded_len(1)) / 8).min(limits::ACK_RANGES_MAX);
        let delay = now.since(self.largest_arrival).as_micros();
        let delay = u32::try_from(delay).unwrap_or(u32::MAX);
        let arrival = self.largest_arrival.as_stamp();
        let head = Ack::head(path, delay, self.largest_stamp, arrival, self.ce_count);
        crate::wire::Frame::encode_ack_head(w, &head);
        encode_ack_ranges(w, self.ranges().take(count));
        Some(self.ranges().nth(count).is_none())
    }

    /// Notes that an ACK was sent.
    pub fn on_sent(&mut self, now: Time) {
        self.eliciting = 0;
        self.first_eliciting = None;
        self.at_once = false;
        self.last_ack = Some(now);
    }

    /// The peer has seen an ACK that named everything below `number`; older ranges need not be repeated.
    pub fn forget_below(&mut self, number: u64) {
        self.floor = self.floor.max(number.min(self.next.saturating_sub(1)));
    }

    /// One more than the largest accepted number.
    pub const fn next(&self) -> u64 {
        self.next
    }

    fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u64>> + Clone + '_ {
        let mut end = self.next;
        core::iter::from_fn(move || {
            end = self.last_in(self.floor, end, true)? + 1;
            let start = self.last_in(self.floor, end, false).map_or(self.floor, |gap| gap + 1);
            let range = start..=end - 1;
            end = start;
            Some(range)
        })
    }

    /// The highest number in `from..end` whose bit is `value`.
    #[expect(clippy::indexing_slicing, reason = "`place` names a word of the ring")]
    fn last_in(&self, from: u64, mut end: u64, value: bool) -> Option<u64> {
        while end > from {
            let top = (end - 1) % 64;
            let (word, _) = Self::place(end - 1);
            let bits = if value { self.seen[word] } else { !self.seen[word] };
            let below = bits & (u64::MAX >> (63 - top));
            let base = end - 1 - top;
            if below != 0 {
                let found = base + u64::from(63 - below.leading_zeros());
                return (found >= from).then_some(found);
            }
            end = base;
        }
        None
    }

    #[expect(clippy::indexing_slicing, reason = "`place` names a word of the ring")]
    fn bit(&self, number: u64) -> bool {
        let (word, mask) = Self::place(number);
        self.seen[word] & mask != 0
    }

    const fn place(number: u64) -> (usize, u64) {
        ((number / 64) as usize % WORDS, 1 << (number % 64))
    }

    /// Clears the bits of numbers `from..=to`, which enter the ring now.
    #[expect(clippy::indexing_slicing, reason = "`place` names a word of the ring")]
    fn clear(&mut self, from: u64, to: u64) {
        if to - from >= limits::NUMBERS_REMEMBERED {
            self.seen.fill(0);
            return;
        }
        let mut number = from;
        while number <= to {
            let (word, mask) = Self::place(number);
            if number.is_multiple_of(64) && to - number >= 63 {
                self.seen[word] = 0;
                number += 64;
            } else {
                self.seen[word] &= !mask;
                number += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Frame, Frames};

    const RTT: Duration = Duration::from_millis(8);

    fn at(us: u64) -> Time {
        Time::from_nanos(us * 1_000)
    }

    fn ranges(recorder: &AckRecorder) -> Vec<RangeInclusive<u64>> {
        let mut bytes = [0; Ack::encoded_len(limits::ACK_RANGES_MAX)];
        let mut w = Writer::new(&mut bytes);
        if recorder.write(at(0), PathId(0), &mut w).is_none() {
            return Vec::new();
        }
        let len = w.written();
        match Frames::new(&bytes[..len]).next() {
            Some(Ok(Frame::Ack(ack))) => ack.ranges().collect(),
            other => panic!("{other:?}"),
        }
    }

    fn accept(recorder: &mut AckRecorder, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            assert!(recorder.is_new(number));
            recorder.accept(at(0), number, 0, true, false, false);
        }
    }

    #[test]
    fn ranges_name_what_was_accepted() {
        let mut recorder = AckRecorder::new();
        assert_eq!(ranges(&recorder), []);
        accept(&mut recorder, [0]);
        assert_eq!(ranges(&recorder), [0..=0]);
        accept(&mut recorder, (2..=200).chain([202]));
        assert_eq!(ranges(&recorder), [202..=202, 2..=200, 0..=0]);
        accept(&mut recorder, [201]);
        assert_eq!(ranges(&recorder), [2..=202, 0..=0]);
        recorder.forget_below(50);
        assert_eq!(ranges(&recorder), [50..=202]);
    }

    #[test]
    fn a_number_is_accepted_once_and_not_when_too_old() {
        let mut recorder = AckRecorder::new();
        let far = 3 * limits::NUMBERS_REMEMBERED + 17;
        accept(&mut recorder, [5, far]);
        assert!(!recorder.is_new(far));
        assert!(!recorder.is_new(5));
        assert!(!recorder.is_new(far - limits::NUMBERS_REMEMBERED));
        assert!(recorder.is_new(far - limits::NUMBERS_REMEMBERED + 1));
        assert_eq!(ranges(&recorder), [far..=far]);
    }

    #[test]
    fn only_the_newest_ranges_are_named() {
        let mut recorder = AckRecorder::new();
        accept(&mut recorder, (0..500).map(|i| i * 2));
        let named = ranges(&recorder);
        assert_eq!(named.len(), limits::ACK_RANGES_MAX);
        assert_eq!(named[0], 998..=998);
    }

    #[test]
    fn an_ack_is_due_by_count_by_time_at_a_gap_and_when_asked() {
        let mut recorder = AckRecorder::new();
        assert_eq!(recorder.due(RTT), None);
        accept(&mut recorder, [0]);
        assert_eq!(recorder.due(RTT), Some(at(2_000)));
        accept(&mut recorder, 1..u64::from(limits::ACK_PACKETS));
        assert_eq!(recorder.due(RTT), Some(at(0)));
        recorder.on_sent(at(10));
        assert_eq!(recorder.due(RTT), None);
        accept(&mut recorder, [70]);
        assert_eq!(recorder.due(RTT), Some(at(110)));
        recorder.on_sent(at(200));
        recorder.accept(at(300), 71, 0, true, true, false);
        assert_eq!(recorder.due(RTT), Some(at(300)));
        recorder.on_sent(at(300));
        recorder.accept(at(400), 72, 0, false, false, false);
        assert_eq!(recorder.due(RTT), None);
    }
}
