//! Messages that the kernel sends without copying, until it tells that it is done with them.
//!
//! The kernel numbers them from 0, modulo 2^32, in the order they were handed over, and tells of ranges of numbers in any
//! order (Documentation/networking/msg_zerocopy.rst of Linux). A message that was refused may have used up a number; the
//! kernel tells of that one before the refusal returns, so reading completions after each refusal keeps both in step.

use std::collections::VecDeque;

use crate::limits::ZERO_COPY_PENDING_MAX;

/// The kernel is done with the messages `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Completion {
    pub(super) first: u32,
    pub(super) last: u32,
    /// It copied them after all.
    pub(super) copied: bool,
}

/// What a message was of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lent {
    pub(super) frame: u8,
    /// The way it went, see `ways`.
    pub(super) way: u8,
}

/// Messages in the kernel, in order of their numbers.
pub(super) struct Pending {
    /// `None` for those that the kernel is done with, or that were refused.
    messages: VecDeque<Option<Lent>>,
    /// Number of the first of them.
    first: u32,
}

impl Pending {
    pub(super) fn new() -> Self {
        Pending { messages: VecDeque::with_capacity(ZERO_COPY_PENDING_MAX), first: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many the kernel has.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.messages.iter().flatten().count()
    }

    /// How many more may be handed over.
    pub(super) fn room(&self) -> usize {
        ZERO_COPY_PENDING_MAX.saturating_sub(self.messages.len())
    }

    /// Notes a message that the kernel took. Panics without room.
    pub(super) fn push(&mut self, lent: Lent) {
        assert!(self.room() > 0, "too many messages without completion");
        self.messages.push_back(Some(lent));
    }

    /// Takes the messages of a range out, each once. Numbers told before are passed over; those that were never given to a
    /// message that was sent belong to refused ones.
    pub(super) fn complete(&mut self, completion: Completion, mut done: impl FnMut(Lent)) {
        let count = completion.last.wrapping_sub(completion.first).saturating_add(1);
        let count = (count as usize).min(ZERO_COPY_PENDING_MAX) as u32;
        for back in (0..count).rev() {
            let index = completion.last.wrapping_sub(back).wrapping_sub(self.first) as usize;
            if index >= ZERO_COPY_PENDING_MAX {
                continue;
            }
            if index >= self.messages.len() {
                self.messages.resize(index + 1, None);
            }
            if let Some(lent) = self.messages[index].take() {
                done(lent);
            }
        }
        while let Some(None) = self.messages.front() {
            self.messages.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, last: u32) -> Completion {
        Completion { first, last, copied: false }
    }

    fn lend(pending: &mut Pending, frames: std::ops::Range<u8>) {
        frames.for_each(|frame| pending.push(Lent { frame, way: 0 }));
    }

    fn frames_of(pending: &mut Pending, completion: Completion) -> Vec<u8> {
        let mut frames = Vec::new();
        pending.complete(completion, |lent| frames.push(lent.frame));
        frames
    }

    #[test]
    fn ranges_in_any_order_complete_each_message_once() {
        let mut pending = Pending::new();
        lend(&mut pending, 0..6);
        assert_eq!(frames_of(&mut pending, range(2, 3)), [2, 3]);
        assert_eq!(frames_of(&mut pending, range(2, 3)), []);
        assert_eq!(frames_of(&mut pending, range(0, 0)), [0]);
        assert_eq!(frames_of(&mut pending, range(0, 4)), [1, 4]);
        assert_eq!(frames_of(&mut pending, range(5, 5)), [5]);
        assert!(pending.is_empty());
        assert_eq!(frames_of(&mut pending, range(0, 5)), []);
        assert!(pending.is_empty());
    }

    #[test]
    fn numbers_wrap() {
        let mut pending = Pending::new();
        pending.first = u32::MAX - 1;
        lend(&mut pending, 0..4);
        assert_eq!(frames_of(&mut pending, range(0, 1)), [2, 3]);
        assert_eq!(frames_of(&mut pending, range(u32::MAX - 1, u32::MAX)), [0, 1]);
        assert_eq!(pending.first, 2);
    }

    #[test]
    fn a_refused_message_may_have_used_up_a_number() {
        let mut pending = Pending::new();
        lend(&mut pending, 0..2);
        assert_eq!(frames_of(&mut pending, range(2, 2)), []);
        lend(&mut pending, 3..4);
        assert_eq!(frames_of(&mut pending, range(0, 2)), [0, 1]);
        assert_eq!(frames_of(&mut pending, range(3, 3)), [3]);
        assert!(pending.is_empty());
    }

    #[test]
    fn the_bound_is_kept() {
        let mut pending = Pending::new();
        for n in 0..ZERO_COPY_PENDING_MAX {
            assert_eq!(pending.room(), ZERO_COPY_PENDING_MAX - n);
            lend(&mut pending, 7..8);
        }
        assert_eq!(pending.room(), 0);
        assert_eq!(frames_of(&mut pending, range(0, u32::MAX - 1)), [], "far beyond what is out");
        let last = ZERO_COPY_PENDING_MAX as u32 - 1;
        assert_eq!(frames_of(&mut pending, range(0, last)).len(), ZERO_COPY_PENDING_MAX);
        assert!(pending.is_empty());
    }
}
