//! Which ranges of a shared region are lent out: a small table that makes concurrent disjoint writers safe.
//!
//! A range is entered into the borrower's own slot before the other slots are looked at, both by sequentially
//! consistent operations. So of two borrowers whose ranges conflict at least one sees the other and gives up; both
//! may, never neither (Dekker). Leaving is a release store of zero, so that the next borrower sees all that was
//! written.

use std::ops::Range;

use crate::limits::{BORROW_BYTES_MAX, BORROW_SLOTS, REGION_BYTES_MAX};
use crate::sync::{AtomicU64, Ordering, in_one_order};

const WRITER_BIT: u64 = 1 << 63;
const LEN_SHIFT: u32 = 36;
const START_MASK: u64 = (1 << LEN_SHIFT) - 1;
const LEN_MASK: u64 = (1 << 27) - 1;

const _: () = assert!(REGION_BYTES_MAX as u64 - 1 == START_MASK && BORROW_BYTES_MAX as u64 == LEN_MASK);

/// The place of one borrower in the tables of all regions; each holds one range of a region at a time. Give every
/// thread that touches a region a slot of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(u8);

impl Slot {
    /// Slot `index`, below [`BORROW_SLOTS`].
    pub fn new(index: usize) -> Option<Self> {
        (index < BORROW_SLOTS).then_some(Slot(index as u8))
    }
}

/// The table of one region. Two cache lines.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Borrows {
    slots: [AtomicU64; BORROW_SLOTS],
}

impl Borrows {
    /// Enters a non-empty range. False when the slot is taken or another slot conflicts.
    pub(crate) fn enter(&self, slot: Slot, range: &Range<usize>, writer: bool) -> bool {
        let own = usize::from(slot.0);
        let entry = pack(range, writer);
        let took = self.slots[own].compare_exchange(0, entry, Ordering::SeqCst, Ordering::Relaxed);
        if took.is_err() {
            return false;
        }
        in_one_order();
        for (index, other) in self.slots.iter().enumerate() {
            let other = other.load(Ordering::SeqCst);
            // Most slots are empty: that is looked at first.
            if other != 0 && index != own && conflict(entry, other) {
                self.leave(slot);
                return false;
            }
        }
        true
    }

    /// Empties a slot that [`Self::enter`] filled.
    pub(crate) fn leave(&self, slot: Slot) {
        self.slots[usize::from(slot.0)].store(0, Ordering::Release);
    }

    /// No range is lent out. Only meaningful where nobody can enter any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| slot.load(Ordering::SeqCst) == 0)
    }
}

fn pack(range: &Range<usize>, writer: bool) -> u64 {
    let len = range.end - range.start;
    assert!((1..=BORROW_BYTES_MAX).contains(&len) && range.end <= REGION_BYTES_MAX, "range {range:?}");
    let flag = if writer { WRITER_BIT } else { 0 };
    flag | (len as u64) << LEN_SHIFT | range.start as u64
}

fn conflict(a: u64, b: u64) -> bool {
    let one_writes = (a | b) & WRITER_BIT != 0;
    let (a_start, b_start) = (a & START_MASK, b & START_MASK);
    let (a_len, b_len) = (a >> LEN_SHIFT & LEN_MASK, b >> LEN_SHIFT & LEN_MASK);
    one_writes && a_start < b_start + b_len && b_start < a_start + a_len
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(index: usize) -> Slot {
        Slot::new(index).unwrap()
    }

    #[test]
    fn slots_end_at_the_limit() {
        assert!(Slot::new(BORROW_SLOTS - 1).is_some());
        assert!(Slot::new(BORROW_SLOTS).is_none());
    }

    #[test]
    fn touching_ranges_are_apart_and_one_byte_is_enough_to_clash() {
        let table = Borrows::default();
        assert!(table.enter(slot(0), &(16..32), true));
        assert!(table.enter(slot(1), &(0..16), true));
        assert!(table.enter(slot(2), &(32..33), true));
        for clash in [15..17, 31..32, 0..64, 16..32] {
            assert!(!table.enter(slot(3), &clash, true), "{clash:?}");
            assert!(!table.enter(slot(3), &clash, false), "{clash:?}");
        }
        table.leave(slot(0));
        assert!(table.enter(slot(3), &(16..32), true));
    }

    #[test]
    fn readers_share_and_keep_writers_out() {
        let table = Borrows::default();
        assert!(table.enter(slot(0), &(0..100), false));
        assert!(table.enter(slot(1), &(50..150), false));
        assert!(!table.enter(slot(2), &(99..100), true));
        assert!(!table.is_empty());
    }

    #[test]
    fn a_slot_holds_one_range() {
        let table = Borrows::default();
        assert!(table.enter(slot(0), &(0..1), false));
        assert!(!table.enter(slot(0), &(5..6), false));
        table.leave(slot(0));
        assert!(table.enter(slot(0), &(5..6), false));
    }

    #[test]
    fn the_largest_range_and_the_last_byte_fit() {
        let table = Borrows::default();
        assert!(table.enter(slot(0), &(REGION_BYTES_MAX - 1..REGION_BYTES_MAX), true));
        assert!(table.enter(slot(1), &(0..BORROW_BYTES_MAX), true));
        assert!(!table.enter(slot(2), &(BORROW_BYTES_MAX - 1..BORROW_BYTES_MAX + 1), true));
    }

    proptest::proptest! {
        /// Against a list of what is held: a range is lent exactly when its slot is free and nothing held conflicts.
        #[test]
        fn agrees_with_a_plain_list(
            steps in proptest::collection::vec((0..BORROW_SLOTS, 0..40usize, 1..12usize, proptest::bool::ANY), 0..200),
        ) {
            let table = Borrows::default();
            let mut held: [Option<(Range<usize>, bool)>; BORROW_SLOTS] = Default::default();
            for (index, start, len, writer) in steps {
                let range = start..start + len;
                if held[index].take().is_some() {
                    table.leave(slot(index));
                    continue;
                }
                let clash = held.iter().flatten().any(|(other, writes)| {
                    (writer || *writes) && other.start < range.end && range.start < other.end
                });
                proptest::prop_assert_eq!(table.enter(slot(index), &range, writer), !clash);
                held[index] = (!clash).then_some((range, writer));
            }
        }
    }
}
