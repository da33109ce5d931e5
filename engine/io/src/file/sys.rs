//! The system calls on files, all of them, each as a safe function that does nothing else.
//!
//! Interrupted calls are repeated here; short reads and writes are the caller's to continue. Whatever touches a disk goes through
//! `faults`, which tests switch in below all of this and which is otherwise not there.

use std::ffi::CStr;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use super::call::Call;
use super::faults;
use super::stat::{Space, Stat, Timestamp};
use crate::error::{check, check_size, restart};

/// Attempts to resolve a name while others rename directories under it (`EAGAIN` of openat2).
const RESOLVE_ATTEMPTS: usize = 64;

fn owned(returned: libc::c_long) -> io::Result<OwnedFd> {
    let fd = check(returned as libc::c_int)?;
    // SAFETY: the descriptor was just opened and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A call that returns nothing but its success, repeated while it is interrupted.
fn repeated(what: &Call<'_>, mut call: impl FnMut() -> libc::c_int) -> io::Result<()> {
    restart(|| faults::around(what, || check(call()))).map(drop)
}

/// Opens a path of the caller's own, not confined to anything.
pub(super) fn open(path: &CStr, flags: i32) -> io::Result<OwnedFd> {
    restart(|| {
        // SAFETY: `path` is terminated and outlives the call.
        owned(libc::c_long::from(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) }))
    })
}

/// openat2(2): `resolve` are `RESOLVE_*` flags.
pub(super) fn openat2(
    dir: BorrowedFd<'_>,
    name: &CStr,
    flags: i32,
    mode: u32,
    resolve: u64,
) -> io::Result<OwnedFd> {
    // SAFETY: all zeroes is a valid open_how.
    let mut how: libc::open_how = unsafe { mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = u64::from(mode);
    how.resolve = resolve;
    let (fd, path, bytes) = (dir.as_raw_fd(), name.as_ptr(), size_of::<libc::open_how>());
    let mut attempts = 0;
    loop {
        let opened = restart(|| {
            faults::around(&Call::Open { dir, name, flags }, || {
                // SAFETY: `name` is terminated, `how` has the size given, and both outlive the call.
                owned(unsafe { libc::syscall(libc::SYS_openat2, fd, path, &raw const how, bytes) })
            })
        });
        match opened {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && attempts < RESOLVE_ATTEMPTS => {
                attempts += 1;
            }
            done => return done,
        }
    }
}

pub(super) fn pread(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: i64) -> io::Result<usize> {
    let to = buffer.as_mut_ptr().cast();
    restart(|| {
        faults::sized(&Call::Read { file: fd, offset, len: buffer.len() }, |most| {
            let len = buffer.len().min(most);
            // SAFETY: the kernel writes at most `len` bytes, all inside `buffer`.
            check_size(unsafe { libc::pread(fd.as_raw_fd(), to, len, offset) })
        })
    })
}

pub(super) fn pwrite(fd: BorrowedFd<'_>, buffer: &[u8], offset: i64) -> io::Result<usize> {
    let from = buffer.as_ptr().cast();
    restart(|| {
        faults::sized(&Call::Write { file: fd, offset, bytes: buffer }, |most| {
            let len = buffer.len().min(most);
            // SAFETY: the kernel reads at most `len` bytes, all inside `buffer`.
            check_size(unsafe { libc::pwrite(fd.as_raw_fd(), from, len, offset) })
        })
    })
}

pub(super) fn seek(fd: BorrowedFd<'_>, offset: i64, whence: i32) -> io::Result<i64> {
    // SAFETY: lseek takes no pointers.
    let found = unsafe { libc::lseek(fd.as_raw_fd(), offset, whence) };
    if found < 0 { Err(io::Error::last_os_error()) } else { Ok(found) }
}

pub(super) fn fallocate(fd: BorrowedFd<'_>, mode: i32, offset: i64, len: i64) -> io::Result<()> {
    // SAFETY: fallocate takes no pointers.
    repeated(&Call::Allocate { file: fd, mode, offset, len }, || unsafe {
        libc::fallocate(fd.as_raw_fd(), mode, offset, len)
    })
}

pub(super) fn ftruncate(fd: BorrowedFd<'_>, len: i64) -> io::Result<()> {
    // SAFETY: ftruncate takes no pointers.
    repeated(&Call::Truncate { file: fd, len }, || unsafe { libc::ftruncate(fd.as_raw_fd(), len) })
}

pub(super) fn fdatasync(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: fdatasync takes no pointers.
    repeated(&Call::SyncData { file: fd }, || unsafe { libc::fdatasync(fd.as_raw_fd()) })
}

pub(super) fn fsync(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: fsync takes no pointers.
    repeated(&Call::Sync { file: fd }, || unsafe { libc::fsync(fd.as_raw_fd()) })
}

pub(super) fn syncfs(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: syncfs takes no pointers.
    repeated(&Call::SyncFileSystem { file: fd }, || unsafe { libc::syncfs(fd.as_raw_fd()) })
}

pub(super) fn sync_file_range(fd: BorrowedFd<'_>, offset: i64, len: i64) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WRITE;
    restart(|| {
        // SAFETY: sync_file_range takes no pointers.
        check(unsafe { libc::sync_file_range(fd.as_raw_fd(), offset, len, flags) })
    })
    .map(drop)
}

pub(super) fn fadvise(fd: BorrowedFd<'_>, offset: i64, len: i64, advice: i32) -> io::Result<()> {
    // SAFETY: posix_fadvise takes no pointers.
    match unsafe { libc::posix_fadvise(fd.as_raw_fd(), offset, len, advice) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// False when another open file holds the lock; `how` is `LOCK_EX` or `LOCK_SH`.
pub(super) fn flock(fd: BorrowedFd<'_>, how: i32) -> io::Result<bool> {
    // SAFETY: flock takes no pointers.
    let locked = restart(|| check(unsafe { libc::flock(fd.as_raw_fd(), how | libc::LOCK_NB) }));
    match locked {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// State of what `name` stands for, symlinks not followed; of `dir` itself with an empty name.
pub(super) fn fstatat(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Stat> {
    faults::around(&Call::Stat { dir, name }, || stat_unwatched(dir, name))
}

/// As [`fstatat`], unknown to the fault layer, which asks so itself.
pub(super) fn stat_unwatched(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Stat> {
    // SAFETY: all zeroes is a valid stat.
    let mut stat: libc::stat = unsafe { mem::zeroed() };
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    // SAFETY: `name` is terminated; the kernel writes one `stat`; both outlive the call.
    check(unsafe { libc::fstatat(dir.as_raw_fd(), name.as_ptr(), &raw mut stat, flags) })?;
    Ok(Stat::from(&stat))
}

pub(super) fn fstatvfs(fd: BorrowedFd<'_>) -> io::Result<Space> {
    // SAFETY: all zeroes is a valid statvfs.
    let mut stat: libc::statvfs = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes one `statvfs`, which outlives the call.
    restart(|| check(unsafe { libc::fstatvfs(fd.as_raw_fd(), &raw mut stat) }))?;
    Ok(Space::from(&stat))
}

/// Fills `buffer` with directory entries (`linux_dirent64`); 0 at the end.
pub(super) fn getdents(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let (to, len) = (buffer.as_mut_ptr(), buffer.len());
    faults::around(&Call::List { dir: fd }, || {
        // SAFETY: the kernel writes at most `len` bytes, all inside `buffer`.
        let returned = unsafe { libc::syscall(libc::SYS_getdents64, fd.as_raw_fd(), to, len) };
        check_size(returned as libc::ssize_t)
    })
}

pub(super) fn mkdirat(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> io::Result<()> {
    faults::around(&Call::MakeDir { dir, name }, || {
        // SAFETY: `name` is terminated and outlives the call.
        check(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) }).map(drop)
    })
}

pub(super) fn renameat2(
    from_dir: BorrowedFd<'_>,
    from: &CStr,
    to_dir: BorrowedFd<'_>,
    to: &CStr,
    flags: u32,
) -> io::Result<()> {
    let (from_fd, to_fd) = (from_dir.as_raw_fd(), to_dir.as_raw_fd());
    faults::around(&Call::Rename { from_dir, from, to_dir, to }, || {
        let (from, to) = (from.as_ptr(), to.as_ptr());
        // SAFETY: both names are terminated and outlive the call.
        let returned = unsafe { libc::syscall(libc::SYS_renameat2, from_fd, from, to_fd, to, flags) };
        check(returned as libc::c_int).map(drop)
    })
}

pub(super) fn linkat(
    from_dir: BorrowedFd<'_>,
    from: &CStr,
    to_dir: BorrowedFd<'_>,
    to: &CStr,
) -> io::Result<()> {
    let (from_fd, to_fd) = (from_dir.as_raw_fd(), to_dir.as_raw_fd());
    faults::around(&Call::Link { from_dir, from, to_dir, to }, || {
        // SAFETY: both names are terminated and outlive the call.
        check(unsafe { libc::linkat(from_fd, from.as_ptr(), to_fd, to.as_ptr(), 0) }).map(drop)
    })
}

pub(super) fn unlinkat(dir: BorrowedFd<'_>, name: &CStr, flags: i32) -> io::Result<()> {
    faults::around(&Call::Remove { dir, name }, || {
        // SAFETY: `name` is terminated and outlives the call.
        check(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), flags) }).map(drop)
    })
}

pub(super) fn symlinkat(target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    faults::around(&Call::Symlink { target, dir, name }, || {
        // SAFETY: both strings are terminated and outlive the call.
        check(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) }).map(drop)
    })
}

pub(super) fn readlinkat(dir: BorrowedFd<'_>, name: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    let (to, len) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: `name` is terminated; the kernel writes at most `len` bytes, all inside `buffer`.
    check_size(unsafe { libc::readlinkat(dir.as_raw_fd(), name.as_ptr(), to, len) })
}

fn mtime_only(mtime: Timestamp) -> [libc::timespec; 2] {
    [
        libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT },
        libc::timespec { tv_sec: mtime.seconds, tv_nsec: libc::c_long::from(mtime.nanoseconds) },
    ]
}

/// Sets the modification time of what `name` stands for, a symlink itself included.
pub(super) fn utimensat(dir: BorrowedFd<'_>, name: &CStr, mtime: Timestamp) -> io::Result<()> {
    let (times, flags) = (mtime_only(mtime), libc::AT_SYMLINK_NOFOLLOW);
    // SAFETY: `name` is terminated, `times` holds two timespecs, and both outlive the call.
    check(unsafe { libc::utimensat(dir.as_raw_fd(), name.as_ptr(), times.as_ptr(), flags) }).map(drop)
}

pub(super) fn futimens(fd: BorrowedFd<'_>, mtime: Timestamp) -> io::Result<()> {
    let times = mtime_only(mtime);
    faults::around(&Call::SetTime { file: fd, mtime }, || {
        // SAFETY: `times` holds two timespecs and outlives the call.
        check(unsafe { libc::futimens(fd.as_raw_fd(), times.as_ptr()) }).map(drop)
    })
}

pub(super) fn fchmod(fd: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    faults::around(&Call::SetMode { file: fd, mode }, || {
        // SAFETY: fchmod takes no pointers.
        check(unsafe { libc::fchmod(fd.as_raw_fd(), mode) }).map(drop)
    })
}

/// A symlink is refused (`EOPNOTSUPP`).
pub(super) fn fchmodat(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: `name` is terminated and outlives the call.
    check(unsafe { libc::fchmodat(dir.as_raw_fd(), name.as_ptr(), mode, libc::AT_SYMLINK_NOFOLLOW) })
        .map(drop)
}

/// Sets the owner of what `name` stands for, a symlink itself included; of `dir` with an empty name.
pub(super) fn fchownat(dir: BorrowedFd<'_>, name: &CStr, uid: u32, gid: u32) -> io::Result<()> {
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    // SAFETY: `name` is terminated and outlives the call.
    check(unsafe { libc::fchownat(dir.as_raw_fd(), name.as_ptr(), uid, gid, flags) }).map(drop)
}

/// Names of extended attributes, each with its terminator.
pub(super) fn flistxattr(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let (to, len) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the kernel writes at most `len` bytes, all inside `buffer`.
    check_size(unsafe { libc::flistxattr(fd.as_raw_fd(), to, len) })
}

pub(super) fn fgetxattr(fd: BorrowedFd<'_>, name: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    let (to, len) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: `name` is terminated; the kernel writes at most `len` bytes, all inside `buffer`.
    check_size(unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), to, len) })
}

pub(super) fn fsetxattr(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<()> {
    let (from, len) = (if value.is_empty() { ptr::null() } else { value.as_ptr().cast() }, value.len());
    // SAFETY: `name` is terminated; the kernel reads `len` bytes, all inside `value`; both outlive the call.
    check(unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), from, len, 0) }).map(drop)
}
