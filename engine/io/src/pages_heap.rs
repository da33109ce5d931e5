//! The twin of `pages.rs` for AddressSanitizer and valgrind: shared memory is one block of the heap, so that an access beyond its ends or
//! after its end is seen. AddressSanitizer also sees one to what has no holder at the time (`--cfg poison`).

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

/// Chunks and frames begin on a page, as in the twin.
const ALIGN: usize = 4_096;

fn layout(len: usize) -> io::Result<Layout> {
    Layout::from_size_align(len, ALIGN).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))
}

pub(crate) fn take(len: usize) -> io::Result<NonNull<u8>> {
    let layout = layout(len)?;
    // SAFETY: the length is not zero.
    let start = unsafe { alloc_zeroed(layout) };
    NonNull::new(start).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

pub(crate) fn take_huge(_: usize) -> io::Result<NonNull<u8>> {
    Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}

/// # Safety
/// As in the twin.
pub(crate) unsafe fn give_back(start: NonNull<u8>, len: usize) -> io::Result<()> {
    lend(start, 0..len);
    let layout = layout(len)?;
    // SAFETY: what `take` returned with this layout, as the caller promises.
    unsafe { dealloc(start.as_ptr(), layout) };
    Ok(())
}

/// # Safety
/// As in the twin.
#[expect(clippy::unnecessary_wraps, reason = "as its twin")]
pub(crate) const unsafe fn ask_huge(_: NonNull<u8>, _: usize) -> io::Result<()> {
    Ok(())
}

/// # Safety
/// As in the twin.
pub(crate) const unsafe fn lock(_: NonNull<u8>, _: usize) -> io::Result<()> {
    Ok(())
}

/// # Safety
/// As in the twin.
pub(crate) unsafe fn discard(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the range is allocated and the caller's alone, as it promises.
    unsafe { start.write_bytes(0, len) };
    Ok(())
}

pub(crate) fn rest(start: NonNull<u8>, range: Range<usize>) {
    poison::set(start, range, true);
}

pub(crate) fn lend(start: NonNull<u8>, range: Range<usize>) {
    poison::set(start, range, false);
}

#[cfg(not(poison))]
mod poison {
    use std::ops::Range;
    use std::ptr::NonNull;

    pub(super) const fn set(_: NonNull<u8>, _: Range<usize>, _: bool) {}
}

#[cfg(poison)]
mod poison {
    use std::ffi::c_void;
    use std::ops::Range;
    use std::ptr::NonNull;

    unsafe extern "C" {
        fn __asan_poison_memory_region(start: *const c_void, len: usize);
        fn __asan_unpoison_memory_region(start: *const c_void, len: usize);
    }

    pub(super) fn set(start: NonNull<u8>, range: Range<usize>, poisoned: bool) {
        let from = start.as_ptr().wrapping_add(range.start).cast_const().cast();
        let len = range.end - range.start;
        if poisoned {
            // SAFETY: the range lies in one block of the heap; nobody reaches it while it has no holder.
            unsafe { __asan_poison_memory_region(from, len) };
        } else {
            // SAFETY: the range lies in one block of the heap.
            unsafe { __asan_unpoison_memory_region(from, len) };
        }
    }
}
