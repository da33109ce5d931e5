//! The bounded queues between threads, both ends on one core: what an entry costs when nobody waits.

use std::hint::black_box;

use crossbeam::channel::bounded;
use crossbeam::queue::ArrayQueue;
use xfer_engine::limits;

/// Entries of a run.
pub(crate) const ITEMS: u64 = 1_024;
/// As many words as an order for a shard, or a job for storage, has.
type Entry = [u64; 16];

/// What home and shard talk by.
pub(crate) fn orders() -> Box<dyn FnMut()> {
    let ring: ArrayQueue<Entry> = ArrayQueue::new(limits::ORDERS_MAX);
    let batch = (ITEMS as usize).min(limits::ORDERS_MAX);
    Box::new(move || {
        for _ in 0..ITEMS as usize / batch {
            for i in 0..batch {
                assert!(ring.push(black_box([i as u64; 16])).is_ok());
            }
            while let Some(entry) = ring.pop() {
                black_box(entry);
            }
        }
    })
}

/// What workers and I/O threads talk by.
pub(crate) fn jobs() -> Box<dyn FnMut()> {
    let (sender, receiver) = bounded::<Entry>(limits::JOBS_MAX);
    Box::new(move || {
        for i in 0..ITEMS {
            assert!(sender.try_send(black_box([i; 16])).is_ok());
        }
        while let Ok(entry) = receiver.try_recv() {
            black_box(entry);
        }
    })
}
