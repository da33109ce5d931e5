//! Which bytes of a chunk are here: one bit for 16 bytes, claimed before a packet is opened into them and filled after its
//! tag was good. Several workers may claim at once; no byte is ever given to two of them.
//!
//! Two bits a unit: free, claimed, filled (claimed stays set). Claims are taken word by word and given back when one word refuses.

use crate::limits::GRID;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use alloc::vec::Vec;
use core::ops::Range;

/// Answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Every unit was free and is now the caller's, until it fills or releases them.
    Taken,
    /// Some units are not free; the caller owns nothing.
    Contended,
    /// Every unit is filled already.
    Filled,
}

/// The claim table of one chunk buffer. Reused for chunk after chunk by [`ClaimMap::reset`].
#[derive(Debug)]
pub struct ClaimMap {
    claimed: Vec<AtomicU64>,
    filled: Vec<AtomicU64>,
    filled_units: AtomicU32,
}

const WORD: u32 = u64::BITS;

/// The words that `units` touches, each with the mask of its bits in it.
fn words(units: Range<u32>) -> impl Iterator<Item = (usize, u64)> + Clone {
    let first = units.start / WORD;
    let end = if units.is_empty() { first } else { units.end.div_ceil(WORD) };
    (first..end).map(move |word| {
        let low = units.start.saturating_sub(word * WORD).min(WORD - 1);
        let high = (units.end - word * WORD).min(WORD);
        let mask = (u64::MAX >> (WORD - (high - low))) << low;
        (word as usize, mask)
    })
}

impl ClaimMap {
    /// All free, for a chunk of at most `bytes` bytes.
    pub fn new(bytes: u32) -> Self {
        let words = units_of(bytes).div_ceil(WORD);
        ClaimMap {
            claimed: (0..words).map(|_| AtomicU64::new(0)).collect(),
            filled: (0..words).map(|_| AtomicU64::new(0)).collect(),
            filled_units: AtomicU32::new(0),
        }
    }

    /// All free again. The caller makes sure that nobody holds a claim.
    pub fn reset(&mut self) {
        for word in self.claimed.iter_mut().chain(&mut self.filled) {
            *word = AtomicU64::new(0);
        }
        self.filled_units = AtomicU32::new(0);
    }

    /// The map as its only user sees it, or one of several.
    pub const fn by(&self, users: Users) -> Claimant<'_> {
        Claimant { map: self, users }
    }

    /// Whether `len` bytes from the chunk's start are all filled. The count alone does not tell: before a chunk's length is known, a peer
    /// can have units filled that lie behind it.
    pub fn is_complete(&self, len: u32) -> bool {
        let units = units_of(len);
        if self.filled_units.load(Ordering::Acquire) < units {
            return false;
        }
        let whole = self.filled.iter().take((units / WORD) as usize);
        whole.fold(u64::MAX, |all, word| all & word.load(Ordering::Acquire)) == u64::MAX
            && self.is_filled(units / WORD * WORD..units)
    }

    /// Takes all that is free from byte `from` on, a multiple of the grid, so that nobody claims there any more. False while somebody
    /// holds a claim there: ask again once it was filled or released.
    #[expect(clippy::indexing_slicing, reason = "the units end with the map")]
    pub fn close(&self, from: u32) -> bool {
        let mut quiet = true;
        for (word, mask) in words(from / GRID as u32..self.claimed.len() as u32 * WORD) {
            let free = mask & !self.claimed[word].fetch_or(mask, Ordering::AcqRel);
            quiet &= (self.filled[word].fetch_or(free, Ordering::AcqRel) | free) & mask == mask;
        }
        quiet
    }

    #[expect(clippy::indexing_slicing, reason = "whoever claims has checked that the bytes are the chunk's")]
    fn is_filled(&self, units: Range<u32>) -> bool {
        words(units).all(|(word, mask)| self.filled[word].load(Ordering::Acquire) & mask == mask)
    }
}

/// Who uses a claim map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// One thread. A locked instruction after each packet would wait until all of its bytes are in the cache; none is needed then.
    One,
    /// Several workers at once.
    Several,
}

impl Users {
    fn set(self, word: &AtomicU64, mask: u64) -> u64 {
        match self {
            Users::Several => word.fetch_or(mask, Ordering::AcqRel),
            Users::One => {
                let before = word.load(Ordering::Relaxed);
                word.store(before | mask, Ordering::Relaxed);
                before
            }
        }
    }

    fn clear(self, word: &AtomicU64, mask: u64) {
        match self {
            Users::Several => drop(word.fetch_and(!mask, Ordering::AcqRel)),
            Users::One => word.store(word.load(Ordering::Relaxed) & !mask, Ordering::Relaxed),
        }
    }

    fn add(self, count: &AtomicU32, more: u32) {
        match self {
            Users::Several => drop(count.fetch_add(more, Ordering::AcqRel)),
            Users::One => count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed),
        }
    }
}

/// A user of a claim map.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    map: &'a ClaimMap,
    users: Users,
}

impl Claimant<'_> {
    /// Claims the units of `bytes`, which starts on the grid. Its end may be off the grid only at the end of the chunk's data.
    #[expect(clippy::indexing_slicing, reason = "whoever claims has checked that the bytes are the chunk's")]
    pub fn claim(&self, bytes: Range<u32>) -> Claim {
        let units = unit_range(bytes);
        let mut taken_until = units.start;
        for (word, mask) in words(units.clone()) {
            let before = self.users.set(&self.map.claimed[word], mask);
            if before & mask != 0 {
                self.users.clear(&self.map.claimed[word], mask & !before);
                self.unclaim(units.start..taken_until);
                return if self.map.is_filled(units) { Claim::Filled } else { Claim::Contended };
            }
            taken_until = (word as u32 + 1) * WORD;
        }
        Claim::Taken
    }

    /// Claims each free run within `bytes` and calls `take` with it, in bytes from the chunk's start; `take` copies it. Returns whether
    /// every unit of `bytes` is filled afterwards: false when a foreign claim is still open on some.
    #[expect(clippy::indexing_slicing, reason = "whoever claims has checked that the bytes are the chunk's")]
    pub fn fill_gaps(&self, bytes: Range<u32>, mut take: impl FnMut(Range<u32>)) -> bool {
        let units = unit_range(bytes.clone());
        let mut run: Option<Range<u32>> = None;
        for unit in units.clone() {
            let mask = 1 << (unit % WORD);
            let free = self.users.set(&self.map.claimed[(unit / WORD) as usize], mask) & mask == 0;
            match (&mut run, free) {
                (Some(run), true) => run.end = unit + 1,
                (None, true) => run = Some(unit..unit + 1),
                (_, false) => self.take_run(run.take(), bytes.end, &mut take),
            }
        }
        self.take_run(run, bytes.end, &mut take);
        self.map.is_filled(units)
    }

    fn take_run(&self, run: Option<Range<u32>>, bytes_end: u32, take: &mut impl FnMut(Range<u32>)) {
        let Some(run) = run else { return };
        let bytes = run.start * GRID as u32..(run.end * GRID as u32).min(bytes_end);
        take(bytes.clone());
        self.fill(bytes);
    }

    /// Marks claimed bytes as filled.
    #[expect(clippy::indexing_slicing, reason = "only what was claimed is filled")]
    pub fn fill(&self, bytes: Range<u32>) {
        let units = unit_range(bytes);
        let count = units.end - units.start;
        for (word, mask) in words(units) {
            self.users.set(&self.map.filled[word], mask);
        }
        self.users.add(&self.map.filled_units, count);
    }

    /// Gives claimed bytes back.
    pub fn release(&self, bytes: Range<u32>) {
        self.unclaim(unit_range(bytes));
    }

    #[expect(clippy::indexing_slicing, reason = "only what was claimed is given back")]
    fn unclaim(&self, units: Range<u32>) {
        for (word, mask) in words(units) {
            self.users.clear(&self.map.claimed[word], mask);
        }
    }
}

const fn units_of(bytes: u32) -> u32 {
    bytes.div_ceil(GRID as u32)
}

const fn unit_range(bytes: Range<u32>) -> Range<u32> {
    bytes.start / GRID as u32..units_of(bytes.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u32 = 4_096 + 5;

    #[test]
    fn a_range_is_taken_once() {
        for users in [Users::One, Users::Several] {
            let map = ClaimMap::new(LEN);
            assert_eq!(map.by(users).claim(0..1_424), Claim::Taken);
            assert_eq!(map.by(users).claim(0..1_424), Claim::Contended);
            assert_eq!(map.by(users).claim(1_408..1_424), Claim::Contended);
            assert_eq!(map.by(users).claim(1_424..2_848), Claim::Taken);
            map.by(users).fill(0..1_424);
            assert_eq!(map.by(users).claim(0..1_424), Claim::Filled);
            assert_eq!(map.by(users).claim(16..32), Claim::Filled);
        }
    }

    #[test]
    fn a_refused_claim_leaves_nothing_behind() {
        for users in [Users::One, Users::Several] {
            let map = ClaimMap::new(LEN);
            assert_eq!(map.by(users).claim(2_048..2_064), Claim::Taken);
            assert_eq!(map.by(users).claim(0..4_096), Claim::Contended);
            assert_eq!(map.by(users).claim(0..2_048), Claim::Taken);
            assert_eq!(map.by(users).claim(2_064..LEN), Claim::Taken);
            map.by(users).release(0..2_048);
            assert_eq!(map.by(users).claim(0..2_048), Claim::Taken);
        }
    }

    #[test]
    fn complete_is_when_the_last_unit_is_filled() {
        for users in [Users::One, Users::Several] {
            let map = ClaimMap::new(LEN);
            assert_eq!(map.by(users).claim(0..4_096), Claim::Taken);
            map.by(users).fill(0..4_096);
            assert!(!map.is_complete(LEN));
            assert!(map.is_complete(4_096));
            assert_eq!(map.by(users).claim(4_096..LEN), Claim::Taken);
            map.by(users).fill(4_096..LEN);
            assert!(map.is_complete(LEN));
        }
    }

    #[test]
    fn units_behind_the_end_do_not_count() {
        let map = ClaimMap::new(LEN);
        assert_eq!(map.by(Users::One).claim(16..48), Claim::Taken);
        map.by(Users::One).fill(16..48);
        assert!(!map.is_complete(1) && !map.is_complete(32));
        assert_eq!(map.by(Users::One).claim(0..1), Claim::Taken);
        map.by(Users::One).fill(0..1);
        assert!(map.is_complete(1) && map.is_complete(32) && map.is_complete(48) && !map.is_complete(49));
    }

    #[test]
    fn gaps_are_filled_and_open_claims_are_told() {
        for users in [Users::One, Users::Several] {
            let mut map = ClaimMap::new(LEN);
            for range in [16..32, 64..1_040] {
                assert_eq!(map.by(users).claim(range.clone()), Claim::Taken);
                map.by(users).fill(range);
            }
            let mut seen = Vec::new();
            assert!(map.by(users).fill_gaps(0..LEN, |range| seen.push(range)));
            assert_eq!(seen, [0..16, 32..64, 1_040..LEN]);
            assert!(map.is_complete(LEN));
            map.reset();
            assert_eq!(map.by(users).claim(0..16), Claim::Taken);
            assert!(!map.by(users).fill_gaps(0..LEN, |_| ()));
            map.by(users).fill(0..16);
            assert!(map.by(users).fill_gaps(0..LEN, |_| ()));
        }
    }

    #[test]
    fn what_was_closed_is_nobodys() {
        for users in [Users::One, Users::Several] {
            let map = ClaimMap::new(LEN);
            assert_eq!(map.by(users).claim(0..1_600), Claim::Taken);
            map.by(users).fill(0..1_600);
            assert_eq!(map.by(users).claim(3_200..3_216), Claim::Taken);
            assert!(!map.close(1_600));
            assert_eq!(map.by(users).claim(1_600..1_616), Claim::Filled);
            assert_eq!(map.by(users).claim(3_200..3_216), Claim::Contended);
            map.by(users).fill(3_200..3_216);
            assert!(map.close(1_600));
            assert!(map.is_complete(1_616) && !map.is_complete(1_617));
            let map = ClaimMap::new(LEN);
            assert_eq!(map.by(users).claim(0..16), Claim::Taken);
            assert!(!map.close(0));
            map.by(users).release(0..16);
            assert!(map.close(0));
        }
    }

    #[test]
    fn words_cover_each_unit_once() {
        for (start, end) in [(0, 1), (0, 64), (63, 65), (64, 128), (1, 200), (127, 128)] {
            let bits: u32 = words(start..end).map(|(_, mask)| mask.count_ones()).sum();
            assert_eq!(bits, end - start, "{start}..{end}");
        }
    }
}
