//! A small sorted set of disjoint ranges in one vector: lost bytes of a lease, acknowledged bytes of the control stream.
//!
//! Sets stay tiny, are walked from the front, and must not allocate once they have grown to their bound: that is why this
//! is not a tree.

use alloc::vec::Vec;
use core::ops::Range;

/// Disjoint, non-adjacent, ascending ranges; at most as many as the caller allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<Range<u64>>,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        RangeSet { ranges: Vec::new() }
    }

    /// The empty set, with room for `ranges` ranges.
    pub fn with_capacity(ranges: usize) -> Self {
        RangeSet { ranges: Vec::with_capacity(ranges) }
    }

    /// Adds `range`, merging what it touches. Refuses (false) when that would leave more than `max` ranges.
    #[expect(clippy::indexing_slicing, reason = "`first` is below `end`, which is at most the length")]
    pub fn insert(&mut self, range: Range<u64>, max: usize) -> bool {
        if range.is_empty() {
            return true;
        }
        let first = self.ranges.partition_point(|r| r.end < range.start);
        let end = self.ranges.partition_point(|r| r.start <= range.end);
        if first == end {
            if self.ranges.len() >= max {
                return false;
            }
            self.ranges.insert(first, range);
            return true;
        }
        self.ranges[first].start = self.ranges[first].start.min(range.start);
        self.ranges[first].end = self.ranges[end - 1].end.max(range.end);
        self.ranges.drain(first + 1..end);
        true
    }

    /// Adds `range`; when that would leave more than `max` ranges, also adds the gap to its nearest neighbour.
    #[expect(
        clippy::indexing_slicing,
        reason = "there are ranges, else `insert` had taken it; `after` is a place among them where there is a gap after it"
    )]
    pub fn insert_widening(&mut self, range: Range<u64>, max: usize) {
        if self.insert(range.clone(), max) {
            return;
        }
        let after = self.ranges.partition_point(|r| r.end < range.start);
        let gap_after = self.ranges.get(after).map(|r| r.start - range.end);
        let gap_before = after.checked_sub(1).map(|i| range.start - self.ranges[i].end);
        match (gap_before, gap_after) {
            (Some(before), Some(next)) if next < before => self.ranges[after].start = range.start,
            (Some(_), _) => self.ranges[after - 1].end = range.end,
            (None, Some(_)) => self.ranges[after].start = range.start,
            (None, None) => {}
        }
    }

    /// Takes at most `len` from the front of the first range.
    pub fn take_first(&mut self, len: u64) -> Option<Range<u64>> {
        let first = self.ranges.first_mut()?;
        let taken = first.start..first.end.min(first.start + len);
        first.start = taken.end;
        if first.is_empty() {
            self.ranges.remove(0);
        }
        Some(taken)
    }

    /// Removes all below `end`.
    pub fn remove_below(&mut self, end: u64) {
        let whole = self.ranges.partition_point(|r| r.end <= end);
        self.ranges.drain(..whole);
        if let Some(first) = self.ranges.first_mut() {
            first.start = first.start.max(end);
        }
    }

    /// Removes `range`; a range that it splits may leave one more range than before.
    #[expect(clippy::indexing_slicing, reason = "`first` is below `end`, which is at most the length")]
    pub fn remove(&mut self, range: Range<u64>) {
        let first = self.ranges.partition_point(|r| r.end <= range.start);
        let end = self.ranges.partition_point(|r| r.start < range.end);
        if first >= end || range.is_empty() {
            return;
        }
        let left = self.ranges[first].start..range.start;
        let right = range.end..self.ranges[end - 1].end;
        self.ranges.drain(first..end);
        for kept in [right, left] {
            if !kept.is_empty() {
                self.ranges.insert(first, kept);
            }
        }
    }

    /// The first range.
    pub fn first(&self) -> Option<Range<u64>> {
        self.ranges.first().cloned()
    }

    /// Whether `range` is wholly in the set.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        let at = self.ranges.partition_point(|r| r.end < range.end);
        range.is_empty() || self.ranges.get(at).is_some_and(|r| r.start <= range.start)
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().cloned()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(u64, u64)]) -> RangeSet {
        let mut set = RangeSet::new();
        for (start, end) in ranges {
            assert!(set.insert(*start..*end, 8));
        }
        set
    }

    #[test]
    fn touching_ranges_merge() {
        assert_eq!(set(&[(0, 2), (4, 6), (2, 4)]), set(&[(0, 6)]));
        assert_eq!(set(&[(0, 2), (4, 6), (8, 9), (1, 8)]), set(&[(0, 9)]));
        assert_eq!(set(&[(4, 6), (0, 2)]).iter().count(), 2);
    }

    #[test]
    fn a_full_set_refuses_or_widens() {
        let mut full = set(&[(0, 1), (10, 11)]);
        assert!(!full.insert(5..6, 2));
        assert!(full.insert(1..2, 2));
        full.insert_widening(8..9, 2);
        assert_eq!(full, set(&[(0, 2), (8, 11)]));
        full.insert_widening(20..21, 2);
        assert_eq!(full, set(&[(0, 2), (8, 21)]));
    }

    #[test]
    fn removing_splits_and_trims() {
        let mut s = set(&[(0, 10), (20, 30)]);
        s.remove(4..6);
        assert_eq!(s, set(&[(0, 4), (6, 10), (20, 30)]));
        s.remove(0..4);
        s.remove(9..25);
        assert_eq!(s, set(&[(6, 9), (25, 30)]));
        s.remove(9..9);
        s.remove_below(7);
        assert_eq!(s.take_first(1), Some(7..8));
        assert_eq!(s.take_first(9), Some(8..9));
        assert!(s.covers(&(25..30)));
        assert!(!s.covers(&(24..26)));
        assert!(!s.covers(&(29..31)));
    }
}
