//! Memory that several threads write at once, in disjoint ranges, without a lock and without unsafe in the caller.
//!
//! A region is page-aligned anonymous memory, zero at first and backed by pages only as they are touched. Every
//! access is a registered borrow of a range, about 15 ns; see `borrows` for why two of them never overlap unless
//! both read.

use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::Arc;
use std::{io, slice};

use crate::borrows::Borrows;
pub use crate::borrows::Slot;
use crate::error::IoError;
use crate::limits::{HUGE_PAGE_BYTES, REGION_BYTES_MAX};
use crate::pages;

/// How a region is backed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backing {
    /// Ask for transparent hugepages; an error on kernels without them, no promise on others.
    pub huge: bool,
    /// Keep the pages in memory (`mlock`), which touches them all.
    pub locked: bool,
}

/// Where some memory lies. Whoever makes one keeps that memory allocated and initialised as long as it is used.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) start: NonNull<u8>,
    pub(crate) len: usize,
}

// SAFETY: an extent is plain memory, tied to no thread; access goes through borrows.
unsafe impl Send for Extent {}
// SAFETY: a shared extent gives out only raw pointers; who follows them holds a borrow.
unsafe impl Sync for Extent {}

impl Extent {
    /// Start of a range that lies inside.
    fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset <= self.len, "offset {offset} of {} bytes", self.len);
        // SAFETY: the offset is inside the memory or one past it, as just checked.
        unsafe { self.start.add(offset) }
    }
}

/// An anonymous mapping, unmapped on drop.
pub(crate) struct Mapping(Extent);

impl Mapping {
    pub(crate) fn new(len: usize, backing: Backing) -> Result<Self, IoError> {
        let fail = |op| move |error: io::Error| IoError::new(op, format!("{len} bytes of memory"), &error);
        if len == 0 || len > REGION_BYTES_MAX {
            return Err(fail("map")(io::Error::from_raw_os_error(libc::EINVAL)));
        }
        let start = pages::take(len).map_err(fail("map"))?;
        let mapping = Mapping(Extent { start, len });
        if backing.huge {
            // SAFETY: the range is exactly this mapping.
            unsafe { pages::ask_huge(start, len) }.map_err(fail("ask hugepages for"))?;
        }
        if backing.locked {
            // SAFETY: the range is exactly this mapping.
            unsafe { pages::lock(start, len) }.map_err(fail("lock"))?;
        }
        Ok(mapping)
    }

    /// On reserved hugepages; the length is rounded up to them.
    fn huge(len: usize) -> Result<Self, IoError> {
        let len = len.next_multiple_of(HUGE_PAGE_BYTES);
        let fail = |error: io::Error| IoError::new("map", format!("{len} bytes on hugepages"), &error);
        if len == 0 || len > REGION_BYTES_MAX {
            return Err(fail(io::Error::from_raw_os_error(libc::EINVAL)));
        }
        let start = pages::take_huge(len).map_err(fail)?;
        Ok(Mapping(Extent { start, len }))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len
    }

    pub(crate) fn extent(&self) -> Extent {
        self.0
    }

    /// Gives the pages of a range back to the system; it reads as zeroes afterwards. The caller has it for itself.
    pub(crate) fn discard(&self, range: Range<usize>) -> io::Result<()> {
        let (start, len) = self.part(&range);
        // SAFETY: the range lies inside this mapping, and the caller has it for itself.
        unsafe { pages::discard(start, len) }
    }

    /// Nobody holds the range any more.
    pub(crate) fn rest(&self, range: Range<usize>) {
        self.part(&range);
        pages::rest(self.0.start, range);
    }

    /// The range has a holder again.
    pub(crate) fn lend(&self, range: Range<usize>) {
        self.part(&range);
        pages::lend(self.0.start, range);
    }

    fn part(&self, range: &Range<usize>) -> (NonNull<u8>, usize) {
        assert!(
            range.start <= range.end && range.end <= self.0.len,
            "range {range:?} of {} bytes",
            self.0.len
        );
        (self.0.at(range.start), range.end - range.start)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what was taken, and no borrow is left: each borrows the owner of this mapping.
        let returned = unsafe { pages::give_back(self.0.start, self.0.len) };
        assert!(returned.is_ok(), "a mapping of our own is not given back: {returned:?}");
    }
}

/// Memory of one owner. It is never given to another user of this process after it: the kernel may still send from
/// its pages when it is dropped.
pub(crate) struct OwnBytes(Mapping);

impl OwnBytes {
    /// Maps `len` zeroed bytes, backed by pages only as they are touched.
    pub(crate) fn new(len: usize) -> Result<Self, IoError> {
        Mapping::new(len, Backing::default()).map(OwnBytes)
    }

    /// The same on reserved hugepages, `len` rounded up to them. Fails when too few are reserved.
    pub(crate) fn huge(len: usize) -> Result<Self, IoError> {
        Mapping::huge(len).map(OwnBytes)
    }

    /// Where it begins.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.0.0.start
    }

    /// A part of it alone: what lies beside may be somebody else's meanwhile.
    pub(crate) fn part(&mut self, range: Range<usize>) -> &mut [u8] {
        let (start, len) = self.0.part(&range);
        // SAFETY: the range lies in a live mapping, always initialised; `&mut self` keeps all others in this process out.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    /// Nobody reaches the range until it is lent again.
    pub(crate) fn rest(&self, range: Range<usize>) {
        self.0.rest(range);
    }

    /// The range has a holder again.
    pub(crate) fn lend(&self, range: Range<usize>) {
        self.0.lend(range);
    }
}

impl Deref for OwnBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the whole of a live mapping, always initialised; writers go through `&mut self`.
        unsafe { slice::from_raw_parts(self.0.0.start.as_ptr(), self.0.0.len) }
    }
}

impl DerefMut for OwnBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: the whole of a live mapping, always initialised; `&mut self` keeps all others out.
        unsafe { slice::from_raw_parts_mut(self.0.0.start.as_ptr(), self.0.0.len) }
    }
}

/// Part of some memory with its table: what ranges are borrowed from. The table's owner keeps the memory.
#[derive(Clone, Copy)]
pub(crate) struct Region<'a> {
    pub(crate) memory: Extent,
    pub(crate) borrows: &'a Borrows,
    /// Where the region begins in the memory.
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl<'a> Region<'a> {
    fn enter(self, slot: Slot, range: &Range<usize>, writer: bool) -> Option<Held<'a>> {
        assert!(range.start <= range.end && range.end <= self.len, "range {range:?} of {} bytes", self.len);
        let start = self.memory.at(self.start + range.start);
        let len = range.end - range.start;
        if len > 0 && !self.borrows.enter(slot, range, writer) {
            return None;
        }
        Some(Held { borrows: self.borrows, slot, start, len })
    }

    pub(crate) fn writer(self, slot: Slot, range: Range<usize>) -> Option<RangeMut<'a>> {
        self.enter(slot, &range, true).map(RangeMut)
    }

    pub(crate) fn reader(self, slot: Slot, range: Range<usize>) -> Option<RangeRef<'a>> {
        self.enter(slot, &range, false).map(RangeRef)
    }
}

/// One entry of a table, left on drop; empty ranges have none.
struct Held<'a> {
    borrows: &'a Borrows,
    slot: Slot,
    start: NonNull<u8>,
    len: usize,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.len > 0 {
            self.borrows.leave(self.slot);
        }
    }
}

/// A range that this holder alone may touch. Given back on drop.
pub struct RangeMut<'a>(Held<'a>);

/// A range that nobody writes. Given back on drop.
pub struct RangeRef<'a>(Held<'a>);

// SAFETY: the bytes are plain memory and the entry may be left from any thread.
unsafe impl Send for RangeMut<'_> {}
// SAFETY: sharing the holder gives shared access to bytes that nobody else writes.
unsafe impl Sync for RangeMut<'_> {}
// SAFETY: the bytes are plain memory and the entry may be left from any thread.
unsafe impl Send for RangeRef<'_> {}
// SAFETY: sharing the holder gives shared access to bytes that nobody writes.
unsafe impl Sync for RangeRef<'_> {}

impl Deref for RangeMut<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the range lies in live memory, always initialised, and the table keeps all others out.
        unsafe { slice::from_raw_parts(self.0.start.as_ptr(), self.0.len) }
    }
}

impl DerefMut for RangeMut<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: the range lies in live memory, always initialised, and the table keeps all others out.
        unsafe { slice::from_raw_parts_mut(self.0.start.as_ptr(), self.0.len) }
    }
}

impl Deref for RangeRef<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the range lies in live memory, always initialised, and the table keeps writers out.
        unsafe { slice::from_raw_parts(self.0.start.as_ptr(), self.0.len) }
    }
}

struct Shared {
    mapping: Mapping,
    borrows: Borrows,
}

/// A region of memory shared by its clones.
#[derive(Clone)]
pub struct SharedBytes {
    shared: Arc<Shared>,
}

impl SharedBytes {
    /// Maps `len` zeroed bytes, 1 to [`REGION_BYTES_MAX`]. Locking may be refused by the limits of the process.
    pub fn new(len: usize, backing: Backing) -> Result<Self, IoError> {
        let mapping = Mapping::new(len, backing)?;
        Ok(SharedBytes { shared: Arc::new(Shared { mapping, borrows: Borrows::default() }) })
    }

    /// Bytes of the region.
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub fn len(&self) -> usize {
        self.shared.mapping.len()
    }

    fn region(&self) -> Region<'_> {
        let Shared { mapping, borrows } = &*self.shared;
        Region { memory: mapping.extent(), borrows, start: 0, len: mapping.len() }
    }

    /// Borrows a range for writing, at most [`crate::limits::BORROW_BYTES_MAX`]. `None` when the slot holds a range
    /// already or another slot holds one that overlaps, which may also be a borrower that is about to give up.
    /// Panics when the range is not inside the region.
    pub fn writer(&self, slot: Slot, range: Range<usize>) -> Option<RangeMut<'_>> {
        self.region().writer(slot, range)
    }

    /// Borrows a range for reading, at most [`crate::limits::BORROW_BYTES_MAX`]; readers may overlap. Otherwise as
    /// [`Self::writer`].
    pub fn reader(&self, slot: Slot, range: Range<usize>) -> Option<RangeRef<'_>> {
        self.region().reader(slot, range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BORROW_SLOTS;

    fn slot(index: usize) -> Slot {
        Slot::new(index).unwrap()
    }

    fn region(len: usize) -> SharedBytes {
        SharedBytes::new(len, Backing::default()).unwrap()
    }

    #[test]
    fn is_zero_at_first_and_keeps_what_is_written() {
        let bytes = region(4_097);
        assert!(bytes.reader(slot(0), 0..4_097).unwrap().iter().all(|byte| *byte == 0));
        bytes.writer(slot(0), 4_096..4_097).unwrap()[0] = 7;
        assert_eq!(bytes.reader(slot(1), 4_095..4_097).unwrap()[..], [0, 7]);
    }

    #[test]
    fn sizes_out_of_bounds_are_refused() {
        for len in [0, REGION_BYTES_MAX + 1] {
            assert!(SharedBytes::new(len, Backing::default()).is_err(), "{len}");
        }
        assert!(SharedBytes::new(1, Backing { huge: true, locked: true }).is_ok());
    }

    #[test]
    fn empty_ranges_conflict_with_nothing() {
        let bytes = region(16);
        let _all = bytes.writer(slot(0), 0..16).unwrap();
        assert!(bytes.writer(slot(0), 16..16).unwrap().is_empty());
        assert!(bytes.reader(slot(1), 5..5).unwrap().is_empty());
    }

    #[test]
    #[should_panic(expected = "range 15..17 of 16 bytes")]
    fn a_range_outside_is_a_bug() {
        region(16).writer(slot(0), 15..17);
    }

    #[test]
    fn a_dropped_borrow_is_free_again() {
        let bytes = region(16);
        drop(bytes.writer(slot(0), 0..16).unwrap());
        drop(bytes.reader(slot(0), 0..16).unwrap());
        assert!(bytes.writer(slot(1), 0..16).is_some());
    }

    /// Every thread fills random ranges with its own mark and finds them unchanged; readers see one mark only.
    #[test]
    fn threads_never_meet_in_one_range() {
        const CELL: usize = 64;
        const CELLS: usize = 32;
        let bytes = region(CELL * CELLS);
        let threads: Vec<_> = (0..8usize)
            .map(|id| {
                let bytes = bytes.clone();
                std::thread::spawn(move || (id, hammer(&bytes, id, CELL, CELLS)))
            })
            .collect();
        for thread in threads {
            let (id, got) = thread.join().unwrap();
            assert!(got > 0, "thread {id} never got a range");
        }
    }

    fn hammer(bytes: &SharedBytes, id: usize, cell: usize, cells: usize) -> usize {
        let (mut seed, mut got) = (id as u64 + 1, 0);
        for _ in 0..60_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let first = (seed >> 33) as usize % cells;
            let count = 1 + (seed >> 50) as usize % 3;
            let range = first * cell..(first + count).min(cells) * cell;
            if seed >> 63 == 0 {
                let Some(mut mine) = bytes.writer(slot(id), range) else { continue };
                mine.fill(id as u8 + 1);
                std::hint::spin_loop();
                assert!(mine.iter().all(|byte| *byte == id as u8 + 1), "two writers in one range");
            } else {
                let Some(seen) = bytes.reader(slot(id), range) else { continue };
                let before: Vec<u8> = seen.to_vec();
                std::hint::spin_loop();
                assert_eq!(before, seen[..], "a writer under a reader");
            }
            got += 1;
        }
        got
    }

    #[test]
    fn every_slot_can_hold_a_range_at_once() {
        let bytes = region(BORROW_SLOTS);
        let held: Vec<_> = (0..BORROW_SLOTS).map(|n| bytes.writer(slot(n), n..n + 1).unwrap()).collect();
        assert_eq!(held.len(), BORROW_SLOTS);
    }
}
