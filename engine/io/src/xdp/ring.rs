//! A ring shared with the kernel: one side puts entries in, the other takes them out (AF_XDP, `xsk_ring`).
//!
//! Each side keeps its own cursor and a copy of the other's, which it reads again only when the copy does not do: a burst costs
//! one look at the other side. Entries become visible by a release store of the cursor, and are read after an acquire load of it.
//! What an entry means is its owner's business: a ring never touches what it names.

use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::sync::{AtomicU32, Ordering};

/// `XDP_RING_NEED_WAKEUP`: the kernel takes nothing more until it is called.
pub(crate) const NEED_WAKEUP: u32 = 1;

/// An entry: bytes without pointers, valid whatever they are.
///
/// # Safety
/// Every pattern of bits is a value of the type.
pub(crate) unsafe trait Entry: Copy + 'static {}

// SAFETY: integers have no invalid values.
unsafe impl Entry for u64 {}

/// `struct xdp_desc`: where a packet, or a piece of one, lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Descriptor {
    /// Offset in the memory shared with the kernel.
    pub(crate) address: u64,
    /// Bytes.
    pub(crate) len: u32,
    /// `XDP_PKT_CONTD`, `XDP_TX_METADATA`.
    pub(crate) options: u32,
}

// SAFETY: three integers without padding.
unsafe impl Entry for Descriptor {}

/// Where a ring lies, and what keeps it there.
pub(crate) struct Place<T> {
    pub(crate) producer: NonNull<AtomicU32>,
    pub(crate) consumer: NonNull<AtomicU32>,
    pub(crate) flags: NonNull<AtomicU32>,
    pub(crate) entries: NonNull<T>,
    /// Entries; a power of two.
    pub(crate) size: u32,
    /// Ends the memory when the last side is dropped.
    pub(crate) _keeper: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the memory is kept by the keeper and tied to no thread; each side has one owner, which the cursors tell apart.
unsafe impl<T: Entry> Send for Place<T> {}

impl<T: Entry> Place<T> {
    fn word(&self, word: NonNull<AtomicU32>) -> &AtomicU32 {
        // SAFETY: the keeper keeps the memory as long as `self`, and only atomic operations reach the word.
        unsafe { word.as_ref() }
    }

    fn producer(&self) -> &AtomicU32 {
        self.word(self.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.word(self.consumer)
    }

    fn entry(&self, cursor: u32) -> NonNull<T> {
        let index = (cursor & (self.size - 1)) as usize;
        // SAFETY: the index is below the size, and that many entries lie there.
        unsafe { self.entries.add(index) }
    }

    fn check(&self) {
        assert!(self.size.is_power_of_two(), "a ring of {} entries", self.size);
    }
}

/// The side that puts entries in.
pub(crate) struct Producer<T: Entry> {
    place: Place<T>,
    /// The next entry to write.
    next: u32,
    /// The consumer's cursor as it was last seen.
    seen: u32,
}

impl<T: Entry> Producer<T> {
    /// # Safety
    /// The place is a live ring, and nobody else is its producer.
    pub(crate) unsafe fn new(place: Place<T>) -> Self {
        place.check();
        let next = place.producer().load(Ordering::Relaxed);
        let seen = place.consumer().load(Ordering::Acquire);
        Producer { place, next, seen }
    }

    fn free(&self) -> u32 {
        self.place.size - self.next.wrapping_sub(self.seen)
    }

    /// Entries that fit now; the other side is looked at only if that seems to be fewer than `wanted`.
    pub(crate) fn room(&mut self, wanted: u32) -> u32 {
        if self.free() < wanted {
            self.seen = self.place.consumer().load(Ordering::Acquire);
        }
        self.free()
    }

    /// Writes the next entry; it is seen after [`Self::submit`]. Panics when there is no room.
    pub(crate) fn push(&mut self, entry: T) {
        assert!(self.free() > 0, "a full ring was written");
        // SAFETY: the consumer was seen to be past this entry, and reads it again only after `submit`.
        unsafe { self.place.entry(self.next).write(entry) };
        self.next = self.next.wrapping_add(1);
    }

    /// Shows what was written to the other side.
    pub(crate) fn submit(&mut self) {
        self.place.producer().store(self.next, Ordering::Release);
    }

    /// Entries that the other side did not take yet.
    pub(crate) fn waiting(&self) -> u32 {
        self.next.wrapping_sub(self.place.consumer().load(Ordering::Acquire))
    }

    /// The kernel wants to be called before it takes more.
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.place.word(self.place.flags).load(Ordering::Relaxed) & NEED_WAKEUP != 0
    }
}

/// The side that takes entries out.
pub(crate) struct Consumer<T: Entry> {
    place: Place<T>,
    /// The next entry to read.
    next: u32,
    /// The producer's cursor as it was last seen.
    seen: u32,
}

impl<T: Entry> Consumer<T> {
    /// # Safety
    /// The place is a live ring, and nobody else is its consumer.
    pub(crate) unsafe fn new(place: Place<T>) -> Self {
        place.check();
        let next = place.consumer().load(Ordering::Relaxed);
        let seen = place.producer().load(Ordering::Acquire);
        Consumer { place, next, seen }
    }

    fn known(&self) -> u32 {
        self.seen.wrapping_sub(self.next)
    }

    /// Entries that are there, at most the ring's size; the other side is looked at only if that seems to be fewer than `wanted`.
    pub(crate) fn ready(&mut self, wanted: u32) -> u32 {
        if self.known() < wanted {
            self.seen = self.place.producer().load(Ordering::Acquire);
        }
        self.known().min(self.place.size)
    }

    /// Reads the next entry; its place is free after [`Self::release`].
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.known() == 0 {
            return None;
        }
        // SAFETY: the producer was seen to be past this entry, and writes it again only after `release`; any bits are a value.
        let entry = unsafe { self.place.entry(self.next).read() };
        self.next = self.next.wrapping_add(1);
        Some(entry)
    }

    /// The word in which this side asks to be called, where it is the kernel's.
    #[allow(dead_code, reason = "for tests, which have the other side too")]
    pub(crate) fn flags(&self) -> &AtomicU32 {
        self.place.word(self.place.flags)
    }

    /// Gives the places of what was read back to the other side.
    pub(crate) fn release(&mut self) {
        self.place.consumer().store(self.next, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::super::heap;
    use super::*;

    #[test]
    fn entries_come_in_order_and_only_when_shown() {
        let (mut put, mut take) = heap::ring::<u64>(4, 0);
        assert_eq!((put.room(1), take.ready(1), take.pop()), (4, 0, None));
        put.push(7);
        put.push(8);
        assert_eq!(take.ready(1), 0);
        put.submit();
        assert_eq!((take.ready(1), take.pop(), take.pop(), take.pop()), (2, Some(7), Some(8), None));
        assert_eq!((put.room(4), put.waiting()), (2, 2));
        take.release();
        assert_eq!((put.room(3), put.waiting()), (4, 0));
    }

    #[test]
    fn the_other_side_is_looked_at_only_when_needed() {
        let (mut put, mut take) = heap::ring::<u64>(4, 0);
        for value in 0..4 {
            put.push(value);
        }
        put.submit();
        assert_eq!(take.ready(1), 4);
        take.pop();
        take.release();
        assert_eq!(put.room(0), 0);
        assert_eq!(put.room(1), 1);
    }

    #[test]
    fn cursors_wrap_around() {
        let (mut put, mut take) = heap::ring::<u64>(2, u32::MAX - 1);
        for round in 0..8u64 {
            assert!(put.room(2) == 2);
            put.push(round);
            put.push(round + 100);
            put.submit();
            assert_eq!(put.room(1), 0);
            assert_eq!((take.ready(2), take.pop(), take.pop()), (2, Some(round), Some(round + 100)));
            take.release();
        }
    }

    #[test]
    #[should_panic(expected = "a full ring")]
    fn writing_to_a_full_ring_is_a_bug() {
        let (mut put, _take) = heap::ring::<u64>(2, 0);
        (0..3).for_each(|value| put.push(value));
    }

    #[test]
    fn a_producer_that_lies_gives_no_more_than_the_ring_holds() {
        let (_put, mut take) = heap::ring::<u64>(4, 0);
        take.place.producer().store(1_000, Ordering::Release);
        assert_eq!(take.ready(1), 4);
    }

    #[test]
    fn two_threads_pass_everything_on() {
        const COUNT: u64 = 20_000;
        let (mut put, mut take) = heap::ring::<Descriptor>(8, 5);
        let sender = std::thread::spawn(move || {
            let mut next = 0;
            while next < COUNT {
                let room = u64::from(put.room(1)).min(COUNT - next);
                for address in next..next + room {
                    put.push(Descriptor { address, len: address as u32, options: 0 });
                }
                next += room;
                put.submit();
                std::thread::yield_now();
            }
        });
        let mut next = 0;
        while next < COUNT {
            take.ready(1);
            while let Some(found) = take.pop() {
                assert_eq!(found, Descriptor { address: next, len: next as u32, options: 0 });
                next += 1;
            }
            take.release();
            std::thread::yield_now();
        }
        sender.join().unwrap();
    }
}
