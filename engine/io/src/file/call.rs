//! A system call that is about to be made on a file, as the fault layer is told of it.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use super::stat::Timestamp;

/// The call with its arguments. `name` is looked up in `dir`; an empty one is `dir` itself.
#[allow(dead_code, reason = "where there is no fault layer, nobody looks")]
#[derive(Clone, Copy)]
pub(super) enum Call<'a> {
    Open { dir: BorrowedFd<'a>, name: &'a CStr, flags: i32 },
    Read { file: BorrowedFd<'a>, offset: i64, len: usize },
    Write { file: BorrowedFd<'a>, offset: i64, bytes: &'a [u8] },
    Truncate { file: BorrowedFd<'a>, len: i64 },
    Allocate { file: BorrowedFd<'a>, mode: i32, offset: i64, len: i64 },
    SyncData { file: BorrowedFd<'a> },
    Sync { file: BorrowedFd<'a> },
    SyncFileSystem { file: BorrowedFd<'a> },
    Stat { dir: BorrowedFd<'a>, name: &'a CStr },
    List { dir: BorrowedFd<'a> },
    MakeDir { dir: BorrowedFd<'a>, name: &'a CStr },
    Rename { from_dir: BorrowedFd<'a>, from: &'a CStr, to_dir: BorrowedFd<'a>, to: &'a CStr },
    Link { from_dir: BorrowedFd<'a>, from: &'a CStr, to_dir: BorrowedFd<'a>, to: &'a CStr },
    Remove { dir: BorrowedFd<'a>, name: &'a CStr },
    Symlink { target: &'a CStr, dir: BorrowedFd<'a>, name: &'a CStr },
    SetMode { file: BorrowedFd<'a>, mode: u32 },
    SetTime { file: BorrowedFd<'a>, mtime: Timestamp },
}
