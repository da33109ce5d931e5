//! An allocator that counts what worker threads take while counting is on.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The system's allocator, counted.
pub(crate) struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// Allocations whose place is told, for whoever has to find them.
const TOLD_MAX: u64 = 12;

#[derive(Clone, Copy, PartialEq)]
enum Thread {
    Unknown,
    Worker,
    Other,
    /// Telling a place, which allocates.
    Telling,
}

thread_local! {
    static THREAD: Cell<Thread> = const { Cell::new(Thread::Unknown) };
}

/// Starts or stops counting.
pub(crate) fn count(on: bool) {
    ON.store(on, Ordering::SeqCst);
}

/// Allocations of workers while counting was on.
pub(crate) fn taken() -> u64 {
    TAKEN.load(Ordering::SeqCst)
}

fn this_thread() -> Thread {
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes, which `name` has; it allocates nothing.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    if name.starts_with(b"xfer-worker") { Thread::Worker } else { Thread::Other }
}

fn note() {
    if !ON.load(Ordering::Relaxed) {
        return;
    }
    let Ok(thread) = THREAD.try_with(|thread| {
        if thread.get() == Thread::Unknown {
            thread.set(this_thread());
        }
        thread.get()
    }) else {
        return;
    };
    if thread == Thread::Worker && TAKEN.fetch_add(1, Ordering::SeqCst) < TOLD_MAX {
        THREAD.set(Thread::Telling);
        eprintln!("a worker allocates:\n{}", std::backtrace::Backtrace::force_capture());
        THREAD.set(Thread::Worker);
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}
