//! Where shared memory comes from: anonymous pages of the system, zero at first and backed as they are touched.
//!
//! `pages_heap.rs` is its twin for AddressSanitizer and valgrind, which see heap memory alone; `--cfg heap_memory` chooses it.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use crate::error::check;

/// Takes `len` bytes, more than none.
pub(crate) fn take(len: usize) -> io::Result<NonNull<u8>> {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::other("null"))
}

/// Takes `len` bytes, more than none and whole hugepages, all there at once on reserved hugepages.
pub(crate) fn take_huge(len: usize) -> io::Result<NonNull<u8>> {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB);
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::other("null"))
}

/// Gives back what [`take`] or [`take_huge`] returned.
///
/// # Safety
/// `start` and `len` are those of one `take` or `take_huge`, given back once, and nobody reaches the memory any more.
pub(crate) unsafe fn give_back(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: exactly what mmap returned, as the caller promises.
    check(unsafe { libc::munmap(start.as_ptr().cast(), len) }).map(drop)
}

/// Asks for huge pages.
///
/// # Safety
/// The range lies in memory of [`take`].
pub(crate) unsafe fn ask_huge(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the range is mapped, as the caller promises; the advice changes no content.
    check(unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_HUGEPAGE) }).map(drop)
}

/// Keeps the pages in memory.
///
/// # Safety
/// The range lies in memory of [`take`].
pub(crate) unsafe fn lock(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the range is mapped, as the caller promises; locking changes no content.
    check(unsafe { libc::mlock(start.as_ptr().cast(), len) }).map(drop)
}

/// Gives the pages back to the system; they read as zeroes afterwards.
///
/// # Safety
/// The range lies in memory of [`take`], and the caller has it for itself.
pub(crate) unsafe fn discard(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the range is mapped and the caller's alone, as it promises.
    check(unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_DONTNEED) }).map(drop)
}

/// Nobody reaches the range until [`lend`]: the twin makes it so.
pub(crate) const fn rest(_: NonNull<u8>, _: Range<usize>) {}

/// The range has a holder again.
pub(crate) const fn lend(_: NonNull<u8>, _: Range<usize>) {}
