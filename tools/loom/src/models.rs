//! One function for each guarantee that several threads rely on.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use crate::borrows::{Borrows, Slot};
use crate::claim::{Claim, ClaimMap, Users};
use crate::clock::monotonic_ns;
use crate::limits::{CHUNK_BYTES_MIN, GRID};
use crate::memory::Backing;
use crate::pool::ChunkPool;
use crate::registered::Registered;
use crate::wake::Poller;
use crate::xdp::heap;

/// All models, by name.
pub(crate) const MODELS: &[(&str, fn())] = &[
    ("claims in one word", || claims(0..2, 1..3)),
    ("claims across words", || claims(62..65, 63..66)),
    ("a closed map is quiet", closed),
    ("borrows that overlap", borrows),
    ("readers and a writer", readers),
    ("a pool's buffers", pool),
    ("a buffer's clones", clones),
    ("memory taken back", taken_back),
    ("a wake is not lost", woken),
    ("a frame goes by a ring and comes back by another", ring),
];

/// A wait that takes so long was not ended by the waker.
const LOST: Duration = Duration::from_secs(2);

/// What a part guards: loom ends the model where two touch it and neither follows from the other.
struct Guarded(Vec<UnsafeCell<()>>);

// SAFETY: the cells hold nothing; who touches them when is what loom checks.
unsafe impl Sync for Guarded {}
// SAFETY: as above.
unsafe impl Send for Guarded {}

impl Guarded {
    fn new(cells: usize) -> Arc<Self> {
        Arc::new(Guarded((0..cells).map(|_| UnsafeCell::new(())).collect()))
    }

    fn write(&self, cells: Range<usize>) {
        self.0[cells].iter().for_each(|cell| cell.with_mut(|_| ()));
    }

    fn read(&self, cells: Range<usize>) {
        self.0[cells].iter().for_each(|cell| cell.with(|_| ()));
    }
}

const UNIT: u32 = GRID as u32;

fn bytes(units: &Range<u32>) -> Range<u32> {
    units.start * UNIT..units.end * UNIT
}

fn cells(bytes: &Range<u32>) -> Range<usize> {
    (bytes.start / UNIT) as usize..(bytes.end / UNIT) as usize
}

/// Takes content as a worker does. Whether all of it is there afterwards, as far as this worker can tell.
fn place(map: &ClaimMap, content: &Guarded, units: &Range<u32>) -> bool {
    let (map, range) = (map.by(Users::Several), bytes(units));
    match map.claim(range.clone()) {
        Claim::Taken => {
            content.write(cells(&range));
            map.fill(range);
            true
        }
        Claim::Filled => true,
        Claim::Contended => map.fill_gaps(range, |gap| content.write(cells(&gap))),
    }
}

/// Two workers place overlapping content: no byte is written twice at once, and who sees the chunk complete sees all its bytes.
fn claims(one: Range<u32>, other: Range<u32>) {
    let (first, end) = (one.start, other.end);
    let map = Arc::new(ClaimMap::new(end * UNIT));
    let content = Guarded::new(end as usize);
    if first > 0 {
        let before = map.by(Users::Several);
        assert_eq!(before.claim(0..first * UNIT), Claim::Taken);
        before.fill(0..first * UNIT);
    }
    let (map2, content2) = (map.clone(), content.clone());
    let worker = thread::spawn(move || place(&map2, &content2, &other));
    let here = place(&map, &content, &one);
    if map.is_complete(end * UNIT) {
        content.read(first as usize..end as usize);
    }
    let there = worker.join().unwrap();
    assert!(
        map.is_complete(end * UNIT) || !here || !there,
        "neither was told to wait, and bytes are missing"
    );
}

/// When a map says that it is closed, nobody writes any more.
fn closed() {
    let map = Arc::new(ClaimMap::new(2 * UNIT));
    let content = Guarded::new(2);
    let (map2, content2) = (map.clone(), content.clone());
    let worker = thread::spawn(move || place(&map2, &content2, &(0..2)));
    if map.close(0) {
        content.write(0..2);
    }
    assert_ne!(map.by(Users::Several).claim(0..UNIT), Claim::Taken);
    worker.join().unwrap();
    assert!(map.close(0));
}

fn slot(index: usize) -> Slot {
    Slot::new(index).unwrap()
}

/// Two writers whose ranges overlap are never in at once, and each sees what the one before it wrote.
fn borrows() {
    let table = Arc::new(Borrows::default());
    let content = Guarded::new(3);
    let (table2, content2) = (table.clone(), content.clone());
    let other = thread::spawn(move || {
        if table2.enter(slot(1), &(1..3), true) {
            content2.write(1..3);
            table2.leave(slot(1));
        }
    });
    for _ in 0..2 {
        if table.enter(slot(0), &(0..2), true) {
            content.write(0..2);
            table.leave(slot(0));
        }
    }
    other.join().unwrap();
    assert!(table.is_empty());
}

/// Readers may be in at once, but not beside a writer.
fn readers() {
    let table = Arc::new(Borrows::default());
    let content = Guarded::new(1);
    let readers: Vec<_> = (1..3)
        .map(|index| {
            let (table, content) = (table.clone(), content.clone());
            thread::spawn(move || {
                if table.enter(slot(index), &(0..1), false) {
                    content.read(0..1);
                    table.leave(slot(index));
                }
            })
        })
        .collect();
    if table.enter(slot(0), &(0..1), true) {
        content.write(0..1);
        table.leave(slot(0));
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

/// No buffer is given to two holders at once, whatever was taken and given back meanwhile.
fn pool() {
    let pool = ChunkPool::new(CHUNK_BYTES_MIN, 2, Backing::default()).unwrap();
    let content = Guarded::new(2);
    let work = |pool: ChunkPool, content: Arc<Guarded>| {
        let touch = |index: usize| content.write(index..index + 1);
        let first = pool.take();
        let second = pool.take();
        first.iter().chain(&second).for_each(|chunk| touch(chunk.index()));
        drop(first);
        second.iter().for_each(|chunk| touch(chunk.index()));
    };
    let (pool2, content2) = (pool.clone(), content.clone());
    let other = thread::spawn(move || work(pool2, content2));
    work(pool.clone(), content);
    other.join().unwrap();
    assert_eq!(pool.free(), 2);
}

/// Who takes a buffer sees the last of what each of its holders before did.
fn clones() {
    let pool = ChunkPool::new(CHUNK_BYTES_MIN, 1, Backing::default()).unwrap();
    let content = Guarded::new(1);
    let chunk = pool.take().unwrap();
    let (clone, content2) = (chunk.clone(), content.clone());
    let other = thread::spawn(move || {
        content2.read(0..1);
        drop(clone);
    });
    content.read(0..1);
    drop(chunk);
    if let Some(_next) = pool.take() {
        content.write(0..1);
    }
    other.join().unwrap();
    assert!(pool.take().is_some());
}

/// Whoever has the memory again has it alone.
fn taken_back() {
    let memory = Registered::new(vec![0; 2]).unwrap();
    let part = memory.part(0..2).unwrap();
    let content = Guarded::new(1);
    let content2 = content.clone();
    let other = thread::spawn(move || {
        if let Some(_held) = part.writer(slot(1), 0..2) {
            content2.write(0..1);
        }
    });
    let back = memory.take_back();
    assert!(back.is_some() && memory.take_back().is_none());
    content.write(0..1);
    other.join().unwrap();
}

/// What was told before a wake is seen after the wait, and a wake that came meanwhile ends the next one.
fn woken() {
    let mut poller = Poller::new().unwrap();
    let told = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let wakers: Vec<_> = (0..2)
        .map(|index| {
            let (told, waker) = (told.clone(), poller.waker());
            thread::spawn(move || {
                told[index].store(true, Ordering::Relaxed);
                waker.wake();
            })
        })
        .collect();
    let look = |seen: &mut [bool; 2]| {
        (0..2).for_each(|index| seen[index] |= told[index].load(Ordering::Relaxed));
    };
    let mut seen = [false; 2];
    poller.wait(Some(0)).unwrap();
    look(&mut seen);
    wakers.into_iter().for_each(|waker| waker.join().unwrap());
    if seen != [true; 2] {
        let started = Instant::now();
        poller.wait(Some(monotonic_ns() + 2 * LOST.as_nanos() as u64)).unwrap();
        assert!(started.elapsed() < LOST, "a wake was lost");
        look(&mut seen);
        assert_eq!(seen, [true; 2]);
    }
}

/// Two frames that are lent by one ring and given back by another, more often than there are entries: whoever has one has it alone.
fn ring() {
    const FRAMES: u32 = 2;
    let frames = Guarded::new(FRAMES as usize);
    let (mut send, mut sent) = heap::ring::<u64>(FRAMES, 0);
    let (mut done, mut completed) = heap::ring::<u64>(FRAMES, u32::MAX);
    let theirs = frames.clone();
    let kernel = thread::spawn(move || {
        let mut seen = 0;
        while seen < 3 {
            if sent.ready(1) == 0 {
                thread::yield_now();
                continue;
            }
            while let Some(frame) = sent.pop() {
                theirs.read(frame as usize..frame as usize + 1);
                assert!(done.room(1) > 0, "no more frames than entries");
                done.push(frame);
                seen += 1;
            }
            sent.release();
            done.submit();
        }
    });
    let mut free: Vec<u64> = (0..u64::from(FRAMES)).collect();
    let mut given = 0;
    while given < 3 {
        while let Some(frame) = free.pop().filter(|_| given < 3) {
            frames.write(frame as usize..frame as usize + 1);
            assert!(send.room(1) > 0, "no more frames than entries");
            send.push(frame);
            given += 1;
        }
        send.submit();
        if given < 3 && completed.ready(1) == 0 {
            thread::yield_now();
        }
        free.extend(std::iter::from_fn(|| completed.pop()));
        completed.release();
    }
    kernel.join().unwrap();
}
