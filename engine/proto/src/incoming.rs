//! The receiving half of a transfer: granted chunk buffers, what of them arrived, and the WINDOW that tells the sender.

use crate::claim::{ClaimMap, Users};
use crate::limits;
use crate::wire::{TransferId, Window, WindowWords};
use alloc::collections::VecDeque;
use alloc::sync::Arc;

/// One granted chunk that is not accepted yet.
#[derive(Debug)]
pub struct Slot {
    /// Which bytes of it arrived. Shards of the connection hold it too.
    pub claims: Arc<ClaimMap>,
    /// The attempt that they belong to.
    pub attempt: u8,
    /// Most stored bytes that it can have: its plain length.
    pub capacity: u32,
    /// Stored bytes, once its entry arrived.
    pub stored_len: Option<u32>,
    /// It was handed to storage.
    told_full: bool,
    /// `claims` is of an earlier attempt, closed, and some shard may still hold a claim of it.
    stale: bool,
}

/// What a shard needs to know of a granted chunk.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Chunk of the transfer's space.
    pub chunk: u32,
    /// As in [`Slot`].
    pub claims: Arc<ClaimMap>,
    /// As in [`Slot`].
    pub attempt: u8,
    /// As in [`Slot`].
    pub capacity: u32,
    /// As in [`Slot`].
    pub stored_len: Option<u32>,
}

impl Slot {
    /// Whether it was handed to storage: nothing may change it until that has judged it.
    pub const fn is_told_full(&self) -> bool {
        self.told_full
    }

    /// Whether all stored bytes are here and nobody can write the buffer any more.
    fn is_full(&self) -> bool {
        let complete = |len: u32| {
            self.claims.is_complete(len) && self.claims.close(len.next_multiple_of(limits::GRID as u32))
        };
        !self.stale && self.stored_len.is_some_and(complete)
    }
}

#[derive(Debug)]
enum Chunk {
    Open(Slot),
    Accepted,
}

/// Why data cannot be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSlot {
    /// It was accepted: the sender may forget it.
    Accepted,
    /// It was never granted.
    NotGranted,
}

/// The receiving half of one transfer.
#[derive(Debug)]
pub struct Incoming {
    id: TransferId,
    chunk_log2: u8,
    base: u32,
    /// Chunks from `base` up to the limit.
    chunks: VecDeque<Chunk>,
    pages: u32,
    /// The sender must be told of the window.
    dirty: bool,
    spare: Spare,
    full: VecDeque<u32>,
    /// Bit per chunk, modulo the window: shards are to be told of it. Nothing is noted while there are none.
    news: Option<[u64; limits::WINDOW_WORDS_MAX]>,
}

/// Claim maps that are not in use, or are soon.
#[derive(Debug)]
struct Spare {
    chunk_log2: u8,
    maps: VecDeque<Arc<ClaimMap>>,
}

impl Spare {
    /// A map that is all free and nobody else's.
    fn take(&mut self) -> Arc<ClaimMap> {
        for _ in 0..self.maps.len() {
            let Some(mut map) = self.maps.pop_front() else { break };
            if let Some(own) = Arc::get_mut(&mut map) {
                own.reset();
                return map;
            }
            self.keep(map);
        }
        Arc::new(ClaimMap::new(1 << self.chunk_log2))
    }

    fn keep(&mut self, map: Arc<ClaimMap>) {
        if self.maps.len() < limits::SPARE_CLAIM_MAPS {
            self.maps.push_back(map);
        }
    }
}

impl Incoming {
    /// Nothing is granted.
    pub fn new(id: TransferId, chunk_log2: u8) -> Self {
        let (chunks, full) = (VecDeque::new(), VecDeque::new());
        let spare = Spare { chunk_log2, maps: VecDeque::new() };
        Incoming { id, chunk_log2, base: 0, chunks, pages: 0, dirty: false, spare, full, news: None }
    }

    /// Makes room for `chunks` open ones, so that granting them takes no memory later.
    pub fn reserve(&mut self, chunks: usize) {
        let chunks = chunks.min(limits::SPARE_CLAIM_MAPS);
        self.chunks.reserve(limits::WINDOW_CHUNKS_MAX as usize);
        self.full.reserve(chunks);
        self.spare.maps.resize_with(chunks, || Arc::new(ClaimMap::new(1 << self.chunk_log2)));
    }

    /// The transfer.
    pub const fn id(&self) -> TransferId {
        self.id
    }

    /// log2 of the chunk size.
    pub const fn chunk_log2(&self) -> u8 {
        self.chunk_log2
    }

    /// All chunks below are accepted.
    pub const fn base(&self) -> u32 {
        self.base
    }

    /// The next chunk to be granted.
    pub fn limit(&self) -> u32 {
        self.base + self.chunks.len() as u32
    }

    /// Whether the window's span allows one more grant.
    pub fn can_grant(&self) -> bool {
        self.chunks.len() < limits::WINDOW_CHUNKS_MAX as usize
    }

    /// Grants the next chunk, for which a buffer of at least `capacity` bytes is reserved.
    pub fn grant(&mut self, capacity: u32) {
        assert!(self.can_grant() && capacity > 0 && capacity <= 1 << self.chunk_log2);
        let claims = self.spare.take();
        let slot = Slot { claims, attempt: 0, capacity, stored_len: None, told_full: false, stale: false };
        self.note_news(self.limit());
        self.chunks.push_back(Chunk::Open(slot));
        self.dirty = true;
    }

    /// Passes over the chunks that are not granted yet and lie below `end`: they are here already, or their object was withdrawn. Goes as
    /// far as the window's span allows, which is all the way when no chunk is open.
    pub fn skip_to(&mut self, end: u32) {
        while self.limit() < end && self.can_grant() {
            if self.chunks.is_empty() {
                self.base = end;
            } else {
                self.chunks.push_back(Chunk::Accepted);
            }
            self.dirty = true;
        }
    }

    /// Lets the sender send pages below `pages`.
    pub fn allow_pages(&mut self, pages: u32) {
        if pages > self.pages {
            self.pages = pages;
            self.dirty = true;
        }
    }

    /// The open slot of `chunk`.
    ///
    /// # Errors
    /// Says why there is none.
    pub fn slot(&mut self, chunk: u32) -> Result<&mut Slot, NoSlot> {
        let Some(i) = chunk.checked_sub(self.base) else { return Err(NoSlot::Accepted) };
        match self.chunks.get_mut(i as usize) {
            Some(Chunk::Open(slot)) => Ok(slot),
            Some(Chunk::Accepted) => Err(NoSlot::Accepted),
            None => Err(NoSlot::NotGranted),
        }
    }

    /// Bytes of `attempt` come for `chunk`, which is open: what arrived of an earlier attempt is forgotten. False while a shard still
    /// holds a claim of that.
    pub fn begin(&mut self, chunk: u32, attempt: u8) -> bool {
        let Some(Chunk::Open(slot)) = self.chunks.get_mut((chunk - self.base) as usize) else { return false };
        let mut news = slot.attempt != attempt;
        if news {
            slot.restart(attempt);
        }
        if slot.stale && slot.claims.close(0) {
            let old = core::mem::replace(&mut slot.claims, self.spare.take());
            self.spare.keep(old);
            slot.stale = false;
            news = true;
        }
        let ready = !slot.stale;
        if news {
            self.note_news(chunk);
        }
        ready
    }

    /// Shards of the connection take content too: notes what they are to be told from now on, and all that is open already.
    pub fn share(&mut self) {
        self.news = Some([0; limits::WINDOW_WORDS_MAX]);
        (self.base..self.limit()).for_each(|chunk| self.note_news(chunk));
    }

    /// Who uses the claim maps of its chunks.
    pub(crate) const fn users(&self) -> Users {
        if self.news.is_some() { Users::Several } else { Users::One }
    }

    #[expect(clippy::indexing_slicing, reason = "a bit for each chunk of the window")]
    fn note_news(&mut self, chunk: u32) {
        if let Some(news) = &mut self.news {
            let bit = chunk % limits::WINDOW_CHUNKS_MAX;
            news[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }

    /// A chunk whose slot changed since shards were told of it: its grant, or `None` when neither it nor the one before it in its place,
    /// modulo the window, takes content from shards.
    #[expect(clippy::indexing_slicing, reason = "`position` found the word")]
    pub fn next_news(&mut self) -> Option<(u32, Option<Grant>)> {
        let news = self.news.as_mut()?;
        let word = news.iter().position(|word| *word != 0)?;
        let bit = news[word].trailing_zeros();
        news[word] &= news[word] - 1;
        let place = word as u32 * 64 + bit;
        let first = self.base - self.base % limits::WINDOW_CHUNKS_MAX + place;
        let chunk = if first < self.base { first.wrapping_add(limits::WINDOW_CHUNKS_MAX) } else { first };
        // A stale map is closed: what came for its chunk would count as there.
        let grant = self.slot(chunk).ok().filter(|slot| !slot.stale).map(|slot| Grant {
            chunk,
            claims: slot.claims.clone(),
            attempt: slot.attempt,
            capacity: slot.capacity,
            stored_len: slot.stored_len,
        });
        Some((chunk, grant))
    }

    /// The chunk's entry arrived. False when it cannot be: stored bytes beyond the plain length, or no such chunk.
    pub fn on_entry(&mut self, chunk: u32, attempt: u8, stored_len: u32) -> bool {
        let slot = match self.slot(chunk) {
            Ok(slot) => slot,
            Err(NoSlot::Accepted) => return true,
            Err(NoSlot::NotGranted) => return false,
        };
        if stored_len > slot.capacity {
            return false;
        }
        let older = attempt.wrapping_sub(slot.attempt) > u8::MAX / 2;
        if older || slot.told_full {
            return true;
        }
        if attempt != slot.attempt {
            slot.restart(attempt);
        }
        slot.stored_len = Some(stored_len);
        self.note_news(chunk);
        self.note_full(chunk);
        true
    }

    /// Looks whether `chunk` is full by now; each full chunk is reported once by [`Incoming::next_full`].
    pub fn note_full(&mut self, chunk: u32) {
        if let Ok(slot) = self.slot(chunk)
            && !slot.told_full
            && slot.is_full()
        {
            slot.told_full = true;
            self.full.push_back(chunk);
        }
    }

    /// The next chunk whose stored bytes are all here.
    pub fn next_full(&mut self) -> Option<u32> {
        self.full.pop_front()
    }

    /// Storage has the chunk, or does not want it any more.
    pub fn accept(&mut self, chunk: u32) {
        let Some(i) = chunk.checked_sub(self.base) else { return };
        let Some(place) = self.chunks.get_mut(i as usize) else { return };
        if let Chunk::Open(slot) = core::mem::replace(place, Chunk::Accepted) {
            if self.news.is_some() {
                // A shard that does not know yet places nothing more in it.
                slot.claims.close(0);
            }
            self.spare.keep(slot.claims);
            self.note_news(chunk);
            self.dirty = true;
        }
        self.full.retain(|full| *full != chunk);
        self.advance();
    }

    /// The chunk's digest was wrong: all of it has to come again, under the next attempt. Returns the attempt that failed.
    pub fn reject(&mut self, chunk: u32) -> Option<u8> {
        let slot = self.slot(chunk).ok()?;
        let failed = slot.attempt;
        slot.restart(failed.wrapping_add(1));
        self.note_news(chunk);
        Some(failed)
    }

    /// Whether the sender must be told of the window.
    pub const fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// A packet with the window was lost.
    pub const fn set_dirty(&mut self) {
        self.dirty = true;
    }

    /// The window as it is now; it counts as told. `words` is where its bits are put.
    #[expect(clippy::indexing_slicing, reason = "the window holds at most as many chunks as there are bits")]
    pub fn window<'a>(&mut self, words: &'a mut [u64; limits::WINDOW_WORDS_MAX]) -> Window<'a> {
        self.dirty = false;
        words.fill(0);
        let mut used = 0;
        for (i, chunk) in self.chunks.iter().enumerate() {
            if matches!(chunk, Chunk::Accepted) {
                words[i / 64] |= 1 << (i % 64);
                used = i / 64 + 1;
            }
        }
        Window {
            transfer: self.id,
            pages: self.pages,
            base: self.base,
            limit: self.limit(),
            accepted: WindowWords::Memory(&words[..used]),
        }
    }

    fn advance(&mut self) {
        while let Some(Chunk::Accepted) = self.chunks.front() {
            self.chunks.pop_front();
            self.base += 1;
        }
    }
}

impl Slot {
    /// Forgets what arrived: bytes of `attempt` come now.
    fn restart(&mut self, attempt: u8) {
        match Arc::get_mut(&mut self.claims) {
            Some(own) => own.reset(),
            None => {
                self.claims.close(0);
                self.stale = true;
            }
        }
        self.attempt = attempt;
        self.stored_len = None;
        self.told_full = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::Claim;

    fn incoming() -> Incoming {
        let mut incoming = Incoming::new(TransferId(3), 16);
        (0..3).for_each(|_| incoming.grant(100));
        incoming
    }

    fn fill(incoming: &mut Incoming, chunk: u32, len: u32) {
        let slot = incoming.slot(chunk).expect("open");
        let claims = slot.claims.by(Users::One);
        assert_eq!(claims.claim(0..len), Claim::Taken);
        claims.fill(0..len);
        incoming.note_full(chunk);
    }

    #[test]
    fn a_chunk_is_full_once_when_bytes_and_entry_are_here() {
        let mut incoming = incoming();
        fill(&mut incoming, 0, 100);
        assert_eq!(incoming.next_full(), None);
        assert!(incoming.on_entry(0, 0, 100));
        assert!(incoming.on_entry(1, 0, 50));
        fill(&mut incoming, 1, 50);
        incoming.note_full(1);
        assert_eq!(
            [incoming.next_full(), incoming.next_full(), incoming.next_full()],
            [Some(0), Some(1), None]
        );
    }

    #[test]
    fn the_window_tells_what_is_accepted() {
        let mut incoming = incoming();
        let mut words = [0; limits::WINDOW_WORDS_MAX];
        incoming.accept(1);
        let window = incoming.window(&mut words);
        assert_eq!((window.base, window.limit, window.accepted), (0, 3, WindowWords::Memory(&[0b10])));
        assert!(!incoming.is_dirty());
        incoming.accept(0);
        incoming.skip_to(4);
        let window = incoming.window(&mut words);
        assert_eq!((window.base, window.limit, window.accepted), (2, 4, WindowWords::Memory(&[0b10])));
    }

    #[test]
    fn very_many_chunks_are_passed_over_at_once() {
        let mut incoming = incoming();
        incoming.skip_to(u32::MAX);
        assert_eq!((incoming.base(), incoming.limit()), (0, limits::WINDOW_CHUNKS_MAX));
        assert!(!incoming.can_grant());
        (0..3).for_each(|chunk| incoming.accept(chunk));
        assert_eq!(incoming.base(), limits::WINDOW_CHUNKS_MAX);
        incoming.skip_to(u32::MAX);
        assert_eq!((incoming.base(), incoming.limit()), (u32::MAX, u32::MAX));
        incoming.skip_to(7);
        assert_eq!(incoming.base(), u32::MAX);
    }

    #[test]
    fn a_rejected_chunk_starts_anew_with_the_next_attempt() {
        let mut incoming = incoming();
        incoming.on_entry(0, 0, 16);
        fill(&mut incoming, 0, 16);
        assert_eq!(incoming.next_full(), Some(0));
        assert_eq!(incoming.reject(0), Some(0));
        fill(&mut incoming, 0, 16);
        assert_eq!(incoming.next_full(), None);
        assert!(incoming.on_entry(0, 1, 16));
        assert_eq!(incoming.next_full(), Some(0));
    }

    #[test]
    fn what_was_not_granted_or_is_too_long_is_refused() {
        let mut incoming = incoming();
        assert!(!incoming.on_entry(3, 0, 16));
        assert!(!incoming.on_entry(0, 0, 101));
        assert_eq!(incoming.slot(3).err(), Some(NoSlot::NotGranted));
        incoming.accept(0);
        assert_eq!(incoming.slot(0).err(), Some(NoSlot::Accepted));
        assert!(incoming.on_entry(0, 0, 101));
    }
}
