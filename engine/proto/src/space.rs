//! The virtual address space of a transfer: where each object's bytes lie, and what each chunk holds
//! (PROTOCOL.md#address-space). Both ends compute it from the same pages and decisions.
//!
//! Chunks that were accepted are retired, so the table holds what is in progress and what is decided ahead, never
//! the whole manifest.

use crate::limits;
use crate::wire::{Decision, Entry, Malformed};
use alloc::collections::VecDeque;
use core::ops::Range;

/// An object's place in the space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its number in the manifest.
    pub object: u32,
    /// Virtual offset of its first byte.
    pub start: u64,
    /// Its bytes; for an object of open length the end of the space until END was seen.
    pub size: u64,
    /// Its length is not known yet.
    pub open: bool,
}

impl Placed {
    const fn end(&self) -> u64 {
        self.start + self.size
    }
}

/// Part of an object that lies in one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The object's number in the manifest.
    pub object: u32,
    /// Where in the object it starts.
    pub object_offset: u64,
    /// Where in the chunk it starts.
    pub chunk_offset: u32,
    /// Its bytes.
    pub len: u32,
    /// The object's whole size.
    pub object_size: u64,
}

/// The laid-out, not yet retired part of a transfer's address space.
#[derive(Clone, Debug)]
pub struct Space {
    chunk_log2: u8,
    cursor: u64,
    placed: VecDeque<Placed>,
}

impl Space {
    /// An empty space of chunks of `1 << chunk_log2` bytes.
    pub fn new(chunk_log2: u8) -> Self {
        assert!((limits::CHUNK_LOG2_MIN..=limits::CHUNK_LOG2_MAX).contains(&chunk_log2));
        Space { chunk_log2, cursor: 0, placed: VecDeque::new() }
    }

    /// Bytes of a full chunk.
    pub const fn chunk_bytes(&self) -> u64 {
        1 << self.chunk_log2
    }

    /// Chunks laid out so far: the next page starts with this one.
    pub const fn chunks(&self) -> u32 {
        (self.cursor >> self.chunk_log2) as u32
    }

    /// Lays out one object if its decision gives it space.
    ///
    /// # Errors
    /// [`Malformed`] when the space is full.
    pub fn place(
        &mut self,
        object: u32,
        entry: &Entry,
        decision: &Decision,
    ) -> Result<Option<Placed>, Malformed> {
        let needed = matches!(decision, Decision::Need | Decision::Resume(_));
        if !needed || !entry.has_content() {
            return Ok(None);
        }
        let chunk = self.chunk_bytes();
        let large = entry.open || entry.size > chunk / 4;
        let start = if large { self.chunk_aligned() } else { self.packed_start(entry.size) };
        let size = if entry.open { self.end_max().saturating_sub(start) } else { entry.size };
        let end = start.checked_add(size).ok_or(Malformed::new("space"))?;
        if end > self.end_max() {
            return Err(Malformed::new("space"));
        }
        self.cursor = if large { end.next_multiple_of(chunk) } else { end };
        let placed = Placed { object, start, size, open: entry.open };
        self.placed.push_back(placed);
        Ok(Some(placed))
    }

    /// Closes the page's last packed chunk.
    pub fn end_page(&mut self) {
        self.cursor = self.chunk_aligned();
    }

    /// Fixes the length of the open object, which is the last.
    ///
    /// # Errors
    /// [`Malformed`] when the last object is not `object`, is not open, or does not fit.
    pub fn end_open(&mut self, object: u32, size: u64) -> Result<(), Malformed> {
        let chunk = self.chunk_bytes();
        match self.placed.back_mut() {
            Some(last) if last.object == object && last.open && size <= last.size => {
                last.size = size;
                last.open = false;
                self.cursor = last.end().next_multiple_of(chunk);
                Ok(())
            }
            _ => Err(Malformed::new("end of an object that is not open")),
        }
    }

    /// What chunk `chunk` holds, in order; nothing when it was retired or is not laid out.
    pub fn pieces(&self, chunk: u32) -> impl Iterator<Item = Piece> + '_ {
        let range = self.chunk_range(chunk);
        let first = self.placed.partition_point(|p| p.end() <= range.start);
        self.placed
            .range(first..)
            .take_while({
                let end = range.end;
                move |p| p.start < end
            })
            .map(move |p| {
                let start = p.start.max(range.start);
                let end = p.end().min(range.end);
                Piece {
                    object: p.object,
                    object_offset: start - p.start,
                    chunk_offset: (start - range.start) as u32,
                    len: (end - start) as u32,
                    object_size: p.size,
                }
            })
    }

    /// Bytes of the chunk's data: the end of its last piece; 0 when it holds nothing.
    pub fn plain_len(&self, chunk: u32) -> u32 {
        self.pieces(chunk).last().map_or(0, |piece| piece.chunk_offset + piece.len)
    }

    /// Where `object` lies; `None` when no chunk has bytes of it or it was retired.
    pub fn find(&self, object: u32) -> Option<&Placed> {
        let at = self.placed.binary_search_by_key(&object, |placed| placed.object).ok()?;
        self.placed.get(at)
    }

    /// The chunks that hold bytes of `placed`.
    pub const fn chunks_of(&self, placed: &Placed) -> Range<u32> {
        let first = placed.start >> self.chunk_log2;
        let end = placed.end().div_ceil(1 << self.chunk_log2);
        first as u32..end as u32
    }

    /// Forgets the objects that lie wholly below chunk `below`.
    pub fn retire(&mut self, below: u32) {
        let end = u64::from(below) << self.chunk_log2;
        while self.placed.front().is_some_and(|p| p.end() <= end) {
            self.placed.pop_front();
        }
    }

    fn chunk_range(&self, chunk: u32) -> Range<u64> {
        let start = u64::from(chunk) << self.chunk_log2;
        start..start + self.chunk_bytes()
    }

    /// Where the space ends: chunk numbers have 32 bits, and the highest is none.
    fn end_max(&self) -> u64 {
        limits::SPACE_MAX.min(u64::from(limits::CHUNKS_END) << self.chunk_log2)
    }

    const fn chunk_aligned(&self) -> u64 {
        self.cursor.next_multiple_of(self.chunk_bytes())
    }

    fn packed_start(&self, size: u64) -> u64 {
        let start = self.cursor.next_multiple_of(limits::GRID);
        let room = self.chunk_bytes() - start % self.chunk_bytes();
        if size > room { self.chunk_aligned() } else { start }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::EntryKind;
    use alloc::vec::Vec;

    const CHUNK: u64 = 1 << 16;

    fn file(size: u64) -> Entry {
        Entry {
            kind: EntryKind::File,
            mode: 0o644,
            mtime_s: 0,
            mtime_ns: 0,
            size,
            open: false,
            name: b"f".to_vec(),
            target: Vec::new(),
            attributes: Vec::new(),
            inline: None,
        }
    }

    fn starts(sizes: &[u64]) -> Vec<u64> {
        let mut space = Space::new(16);
        let mut placed = |(i, size): (usize, &u64)| {
            space.place(i as u32, &file(*size), &Decision::Need).ok().flatten().map(|p| p.start)
        };
        sizes.iter().enumerate().filter_map(&mut placed).collect()
    }

    #[test]
    fn a_quarter_of_a_chunk_is_the_last_small_size() {
        assert_eq!(starts(&[1, CHUNK / 4, 1]), [0, 16, 16 + CHUNK / 4]);
        assert_eq!(starts(&[1, CHUNK / 4 + 1, 1]), [0, CHUNK, 2 * CHUNK]);
    }

    #[test]
    fn small_objects_never_cross_a_chunk() {
        let quarter = CHUNK / 4;
        assert_eq!(starts(&[quarter; 5]), [0, quarter, 2 * quarter, 3 * quarter, CHUNK]);
        assert_eq!(
            starts(&[quarter - 1, quarter, quarter, quarter, 1]),
            [0, quarter, 2 * quarter, 3 * quarter, CHUNK]
        );
    }

    #[test]
    fn empty_skipped_and_inline_objects_take_no_space() {
        let mut space = Space::new(16);
        assert_eq!(space.place(0, &file(0), &Decision::Need), Ok(None));
        assert_eq!(space.place(1, &file(9), &Decision::Skip), Ok(None));
        assert_eq!(space.chunks(), 0);
        space.end_page();
        assert_eq!(space.chunks(), 0);
    }

    #[test]
    fn pieces_cover_each_object_once() {
        let mut space = Space::new(16);
        let sizes = [3, 2 * CHUNK + 5, 7, 100];
        for (i, size) in sizes.iter().enumerate() {
            space.place(i as u32, &file(*size), &Decision::Need).expect("fits");
        }
        space.end_page();
        assert_eq!(space.chunks(), 5);
        let mut seen = [0; 4];
        for chunk in 0..5 {
            for piece in space.pieces(chunk) {
                assert_eq!(piece.object_offset, seen[piece.object as usize]);
                seen[piece.object as usize] += u64::from(piece.len);
            }
        }
        assert_eq!(seen, sizes);
        assert_eq!(space.plain_len(3), 5);
        assert_eq!(space.plain_len(4), 16 + 100);
        space.retire(4);
        assert_eq!(space.pieces(3).count(), 0);
        assert_eq!(space.pieces(4).count(), 2);
    }

    #[test]
    fn an_open_object_ends_where_it_is_told_to() {
        let mut space = Space::new(16);
        let open = Entry { open: true, size: 0, ..file(0) };
        let placed = space.place(4, &open, &Decision::Need).expect("fits").expect("takes space");
        assert_eq!(space.pieces(9).next().map(|p| p.len), Some(CHUNK as u32));
        assert!(space.end_open(5, 1).is_err());
        assert_eq!(space.end_open(4, CHUNK + 1), Ok(()));
        assert_eq!(space.plain_len(1), 1);
        assert_eq!(space.pieces(2).count(), 0);
        assert_eq!(placed.start, 0);
        assert!(space.end_open(4, 1).is_err());
    }

    #[test]
    fn a_full_space_refuses() {
        let mut space = Space::new(16);
        let most = u64::from(u32::MAX) * CHUNK;
        assert!(space.place(0, &file(most + 1), &Decision::Need).is_err());
        let placed = space.place(0, &file(most), &Decision::Need).expect("fits").expect("takes space");
        assert_eq!((space.chunks_of(&placed), space.chunks()), (0..u32::MAX, u32::MAX));
        assert!(space.place(1, &file(1), &Decision::Need).is_err());
        let open = Entry { open: true, ..file(0) };
        let placed = Space::new(16).place(0, &open, &Decision::Need).expect("fits").expect("takes space");
        assert_eq!(placed.size, most);
        let mut large = Space::new(26);
        assert!(large.place(0, &file(limits::SPACE_MAX), &Decision::Need).is_ok());
        assert!(large.place(1, &file(1), &Decision::Need).is_err());
    }
}
