//! For tests and models: rings over the heap, with both of their sides.

use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::Arc;

use super::ring::{Consumer, Entry, Place, Producer};
use crate::sync::{AtomicU32, Ordering};

struct Memory<T> {
    producer: AtomicU32,
    consumer: AtomicU32,
    flags: AtomicU32,
    entries: Box<[UnsafeCell<T>]>,
}

// SAFETY: words are atomic; the two sides keep apart who touches an entry, as with the kernel.
unsafe impl<T: Entry> Sync for Memory<T> {}
// SAFETY: plain memory.
unsafe impl<T: Entry> Send for Memory<T> {}

/// A ring of `size` entries, both cursors at `start`.
pub(crate) fn ring<T: Entry + Default>(size: u32, start: u32) -> (Producer<T>, Consumer<T>) {
    let entries = (0..size).map(|_| UnsafeCell::new(T::default())).collect();
    let words = || AtomicU32::new(start);
    let memory = Arc::new(Memory { producer: words(), consumer: words(), flags: AtomicU32::new(0), entries });
    let place = || Place {
        producer: NonNull::from(&memory.producer),
        consumer: NonNull::from(&memory.consumer),
        flags: NonNull::from(&memory.flags),
        entries: NonNull::from(&memory.entries[..]).cast(),
        size,
        _keeper: memory.clone(),
    };
    // SAFETY: the ring was just made, and this is its one producer.
    let producer = unsafe { Producer::new(place()) };
    // SAFETY: the ring was just made, and this is its one consumer.
    let consumer = unsafe { Consumer::new(place()) };
    (producer, consumer)
}

/// Says to the producer that its other side wants to be called.
pub(crate) fn ask_for_wakeup<T: Entry>(side: &Consumer<T>) {
    side.flags().store(super::ring::NEED_WAKEUP, Ordering::Relaxed);
}
