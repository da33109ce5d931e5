//! A program without std that links the protocol: its panic handler, allocator and entry point are its own.
//!
//! `cargo xtask test` builds and runs it. When `xfer-proto` or anything below it uses std, std's panic handler
//! meets the one here and the build fails. It ends with status 0, or aborts.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use xfer_proto::time::Time;

#[link(name = "c")]
unsafe extern "C" {
    safe fn abort() -> !;
}

/// Bytes that the program may allocate in its whole life.
const ARENA_BYTES: usize = 1 << 20;

/// Hands out one static arena from the bottom up and takes nothing back.
struct Arena {
    bytes: UnsafeCell<[u8; ARENA_BYTES]>,
    used: AtomicUsize,
}

// SAFETY: `alloc` moves `used` atomically, so that no byte of the arena is handed out twice.
unsafe impl Sync for Arena {}

// SAFETY: every block lies inside the arena, is aligned as asked and disjoint from all others; null means full.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.bytes.get().cast::<u8>();
        let place = |used: usize| {
            let start = (base.addr() + used).next_multiple_of(layout.align()) - base.addr();
            start.checked_add(layout.size()).filter(|end| *end <= ARENA_BYTES).map(|end| (start, end))
        };
        let reserved = self
            .used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| place(used).map(|(_, end)| end));
        reserved.ok().and_then(place).map_or(core::ptr::null_mut(), |(start, _)| base.wrapping_add(start))
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static ARENA: Arena = Arena { bytes: UnsafeCell::new([0; ARENA_BYTES]), used: AtomicUsize::new(0) };

#[panic_handler]
fn panicked(_info: &PanicInfo<'_>) -> ! {
    abort()
}

// The precompiled `alloc` names this symbol though nothing unwinds here; std, where it is linked, brings its own.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, _argv: *const *const u8) -> c_int {
    let times: Vec<Time> = (0..3).map(|ms| Time::from_nanos(0) + Duration::from_millis(ms)).collect();
    assert!(times[2].since(times[0]) == Duration::from_millis(2));
    0
}
