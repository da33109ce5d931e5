//! The sending half of a transfer: what the receiver granted and accepted, and the chunks that wait for a path.

use crate::limits;
use crate::ranges::RangeSet;
use crate::sent::DataRange;
use crate::wire::{TransferId, Window};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A chunk that a path is to send. It moves by value: from the ready list to a path, back when the path dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The transfer.
    pub transfer: TransferId,
    /// Chunk of its space.
    pub chunk: u32,
    /// Attempt of the chunk.
    pub attempt: u8,
    /// Stored bytes.
    pub len: u32,
    /// First byte that was never sent.
    pub next: u32,
    /// Bytes that were sent and lost.
    pub lost: RangeSet,
    /// Another path took over its tail, or this is that tail.
    pub doubled: bool,
}

impl Lease {
    /// Whether there is something to send.
    pub fn has_something(&self) -> bool {
        self.next < self.len || !self.lost.is_empty()
    }

    /// Takes the next bytes, at most `max` of them, a multiple of the grid unless they end the chunk.
    pub fn take(&mut self, max: u32) -> Option<core::ops::Range<u32>> {
        if let Some(range) = self.lost.take_first(u64::from(max)) {
            return Some(range.start as u32..range.end as u32);
        }
        let range = self.next..self.len.min(self.next.saturating_add(max));
        self.next = range.end;
        (!range.is_empty()).then_some(range)
    }

    /// Whether `data` is of this chunk and attempt.
    pub fn is_of(&self, data: &DataRange) -> bool {
        self.transfer == data.transfer && self.chunk == data.chunk && self.attempt == data.attempt
    }

    /// Notes that the receiver has `range` after all.
    pub fn have(&mut self, range: core::ops::Range<u32>) {
        self.lost.remove(u64::from(range.start)..u64::from(range.end));
    }

    /// Notes that `range` has to go again.
    pub fn lose(&mut self, range: core::ops::Range<u32>) {
        self.lost.insert_widening(u64::from(range.start)..u64::from(range.end), limits::LEASE_RANGES_MAX);
    }
}

/// The sending half of one transfer.
#[derive(Debug)]
pub struct Outgoing {
    id: TransferId,
    chunk_log2: u8,
    base: u32,
    limit: u32,
    pages: u32,
    /// Bit per chunk from `base` on.
    accepted: [u64; limits::WINDOW_WORDS_MAX],
    ready: VecDeque<Lease>,
    returned: Vec<Lease>,
    /// Chunks that were offered and are not accepted: only these can be news.
    live: Vec<u32>,
    /// Range sets of leases that ended.
    spare: SpareRanges,
    /// Chunks that were offered again: what paths hold of their earlier attempts is void.
    replaced: Vec<u32>,
}

impl Outgoing {
    /// No chunk is granted yet, and the first pages may go; chunks have `1 << chunk_log2` bytes.
    pub fn new(id: TransferId, chunk_log2: u8) -> Self {
        Outgoing {
            id,
            chunk_log2,
            base: 0,
            limit: 0,
            pages: limits::PAGES_FIRST,
            accepted: [0; limits::WINDOW_WORDS_MAX],
            ready: VecDeque::new(),
            returned: Vec::new(),
            live: Vec::new(),
            spare: SpareRanges::default(),
            replaced: Vec::new(),
        }
    }

    /// Makes room for `chunks` offered ones, so that sending them takes no memory later.
    pub fn reserve(&mut self, chunks: usize) {
        self.ready.reserve(chunks);
        self.live.reserve(chunks);
        self.spare.0.resize_with(chunks, || RangeSet::with_capacity(limits::LEASE_RANGES_MAX + 1));
    }

    /// The range sets that are not in use, for whoever ends leases; they come back by [`Outgoing::return_spare`].
    pub(crate) fn take_spare(&mut self) -> SpareRanges {
        core::mem::take(&mut self.spare)
    }

    pub(crate) fn return_spare(&mut self, spare: SpareRanges) {
        self.spare = spare;
    }

    /// The transfer.
    pub const fn id(&self) -> TransferId {
        self.id
    }

    /// log2 of the chunk size.
    pub const fn chunk_log2(&self) -> u8 {
        self.chunk_log2
    }

    /// Chunks below this are granted.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Chunks below this are all accepted.
    pub const fn base(&self) -> u32 {
        self.base
    }

    /// Pages below this may be sent.
    pub const fn pages(&self) -> u32 {
        self.pages
    }

    /// Whether the receiver accepted `chunk`.
    pub fn is_accepted(&self, chunk: u32) -> bool {
        match chunk.checked_sub(self.base) {
            None => true,
            Some(i) => self.accepted.get((i / 64) as usize).is_some_and(|word| word >> (i % 64) & 1 != 0),
        }
    }

    /// A chunk's stored bytes are ready to be sent. It must be granted.
    pub fn offer(&mut self, chunk: u32, attempt: u8, len: u32) {
        assert!(chunk < self.limit, "chunk {chunk} is not granted");
        if self.is_accepted(chunk) {
            return;
        }
        self.revoke(chunk);
        if self.live.contains(&chunk) {
            self.replaced.push(chunk);
        } else {
            self.live.push(chunk);
        }
        // Its entry says all: there is nothing to send, but that it was accepted is still to be heard.
        if len == 0 {
            return;
        }
        let transfer = self.id;
        self.ready.push_back(Lease {
            transfer,
            chunk,
            attempt,
            len,
            next: 0,
            lost: self.spare.0.pop().unwrap_or_default(),
            doubled: false,
        });
    }

    /// The next chunk for a path: first what dead paths gave back.
    pub fn lease(&mut self) -> Option<Lease> {
        self.returned.pop().or_else(|| self.ready.pop_front())
    }

    /// Takes a lease back from a path.
    pub fn give_back(&mut self, mut lease: Lease) {
        if lease.has_something() && !self.is_accepted(lease.chunk) {
            self.returned.push(Lease { doubled: false, ..lease });
        } else {
            self.spare.keep(&mut lease);
        }
    }

    /// Whether a path would get a lease.
    pub fn has_something(&self) -> bool {
        !self.ready.is_empty() || !self.returned.is_empty()
    }

    /// Chunks that no path has taken yet, or that one gave back.
    pub fn waiting(&self) -> usize {
        self.ready.len() + self.returned.len()
    }

    /// The chunks that were offered again since this was asked last: every lease of them that a path holds is void.
    pub fn take_replaced(&mut self) -> Vec<u32> {
        core::mem::take(&mut self.replaced)
    }

    /// Forgets leases of `chunk` that no path holds.
    pub fn revoke(&mut self, chunk: u32) {
        let Outgoing { spare, ready, returned, .. } = self;
        ready.retain_mut(|lease| lease.chunk != chunk || spare.keep(lease));
        spare.void(returned, |lease| lease.chunk == chunk);
    }

    /// Takes a WINDOW; `accepted` sees each offered chunk that is newly accepted. Returns whether anything was new.
    pub fn on_window(&mut self, window: &Window<'_>, mut accepted: impl FnMut(u32)) -> bool {
        let mut news = window.limit > self.limit || window.pages > self.pages;
        self.limit = self.limit.max(window.limit);
        self.pages = self.pages.max(window.pages);
        if window.base > self.base {
            news = true;
            self.advance(window.base, &mut accepted);
        }
        for i in 0..window.accepted.len() {
            let mut word = window.accepted.word(i);
            while word != 0 {
                let chunk = u64::from(window.base) + i as u64 * 64 + u64::from(word.trailing_zeros());
                word &= word - 1;
                news |= u32::try_from(chunk).is_ok_and(|chunk| self.accept(chunk, &mut accepted));
            }
        }
        news
    }

    #[expect(clippy::indexing_slicing, reason = "chunks beyond the window were passed over")]
    fn accept(&mut self, chunk: u32, accepted: &mut impl FnMut(u32)) -> bool {
        if chunk >= self.limit || self.is_accepted(chunk) || chunk - self.base >= limits::WINDOW_CHUNKS_MAX {
            return false;
        }
        let i = chunk - self.base;
        self.accepted[(i / 64) as usize] |= 1 << (i % 64);
        self.settle(|live| live == chunk, accepted);
        true
    }

    #[expect(clippy::indexing_slicing, reason = "all bits are below the window's number")]
    fn advance(&mut self, base: u32, accepted: &mut impl FnMut(u32)) {
        self.settle(|live| live < base, accepted);
        let shift = base - self.base;
        let old = core::mem::take(&mut self.accepted);
        for i in shift..limits::WINDOW_CHUNKS_MAX {
            let bit = old[(i / 64) as usize] >> (i % 64) & 1;
            let to = i - shift;
            self.accepted[(to / 64) as usize] |= bit << (to % 64);
        }
        self.base = base;
    }

    /// Ends the offered chunks that `is_accepted` names.
    fn settle(&mut self, is_accepted: impl Fn(u32) -> bool, accepted: &mut impl FnMut(u32)) {
        let mut i = 0;
        while let Some(chunk) = self.live.get(i).copied() {
            if is_accepted(chunk) {
                self.live.swap_remove(i);
                self.revoke(chunk);
                accepted(chunk);
            } else {
                i += 1;
            }
        }
    }
}

/// Range sets of leases that ended, for leases to come.
#[derive(Debug, Default)]
pub(crate) struct SpareRanges(Vec<RangeSet>);

impl SpareRanges {
    /// Takes the leases that are `void` out of `leases`.
    pub(crate) fn void(&mut self, leases: &mut Vec<Lease>, void: impl Fn(&Lease) -> bool) {
        leases.retain_mut(|lease| !void(lease) || self.keep(lease));
    }

    /// Keeps the ranges of a lease that ends. False, for whoever retains leases.
    fn keep(&mut self, lease: &mut Lease) -> bool {
        if self.0.len() < limits::WINDOW_CHUNKS_MAX as usize {
            lease.lost.clear();
            self.0.push(core::mem::take(&mut lease.lost));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::WindowWords;

    fn window(base: u32, limit: u32, words: &[u64]) -> Window<'_> {
        Window { transfer: TransferId(1), pages: 2, base, limit, accepted: WindowWords::Memory(words) }
    }

    fn take(outgoing: &mut Outgoing, base: u32, limit: u32, words: &[u64]) -> Vec<u32> {
        let mut accepted = Vec::new();
        outgoing.on_window(&window(base, limit, words), |chunk| accepted.push(chunk));
        accepted
    }

    #[test]
    fn each_chunk_is_accepted_once_whatever_the_order() {
        let mut outgoing = Outgoing::new(TransferId(1), 20);
        assert_eq!(take(&mut outgoing, 0, 8, &[]), []);
        (0..8).for_each(|chunk| outgoing.offer(chunk, 0, 100));
        assert_eq!(take(&mut outgoing, 0, 8, &[0b1010]), [1, 3]);
        assert_eq!(take(&mut outgoing, 2, 10, &[0b110]), [0, 4]);
        assert_eq!(take(&mut outgoing, 0, 8, &[0b1111]), [2]);
        assert!(outgoing.is_accepted(4) && !outgoing.is_accepted(5));
        assert_eq!(outgoing.limit(), 10);
        let mut rest = take(&mut outgoing, 10, 1_034, &[]);
        rest.sort_unstable();
        assert_eq!(rest, [5, 6, 7]);
    }

    #[test]
    fn a_chunk_without_bytes_is_accepted_like_any_other() {
        let mut outgoing = Outgoing::new(TransferId(1), 20);
        take(&mut outgoing, 0, 2, &[]);
        outgoing.offer(0, 0, 0);
        assert!(!outgoing.has_something());
        assert_eq!(take(&mut outgoing, 1, 2, &[]), [0]);
    }

    #[test]
    fn a_peer_cannot_make_up_news() {
        let mut outgoing = Outgoing::new(TransferId(1), 20);
        take(&mut outgoing, 0, 2, &[]);
        outgoing.offer(1, 0, 100);
        assert_eq!(take(&mut outgoing, 0, 2, &[u64::MAX]), [1]);
        assert_eq!(take(&mut outgoing, u32::MAX, u32::MAX, &[1]), []);
    }

    #[test]
    fn leases_go_out_once_and_come_back_first() {
        let mut outgoing = Outgoing::new(TransferId(1), 20);
        take(&mut outgoing, 0, 4, &[]);
        outgoing.offer(0, 0, 100);
        outgoing.offer(1, 0, 100);
        assert_eq!(outgoing.waiting(), 2);
        let mut first = outgoing.lease().expect("offered");
        assert_eq!(outgoing.waiting(), 1);
        assert_eq!(first.take(64), Some(0..64));
        first.lose(16..32);
        outgoing.give_back(first);
        assert_eq!(outgoing.waiting(), 2);
        let mut again = outgoing.lease().expect("given back");
        assert_eq!((again.take(64), again.take(64), again.take(64)), (Some(16..32), Some(64..100), None));
        assert_eq!(take(&mut outgoing, 0, 4, &[0b10]), [1]);
        assert_eq!(outgoing.lease(), None);
    }
}
