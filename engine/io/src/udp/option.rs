//! Socket options as integers, and the few that socket2 does not know.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::error::check;

/// Sets an option whose value is one int.
pub(super) fn set(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes from `value`, which lives until the call returns.
    let returned = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    check(returned).map(drop)
}

/// Reads an option whose value is one int.
pub(super) fn get(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0;
    let mut len = size_of::<i32>() as libc::socklen_t;
    let (to, to_len) = ((&raw mut value).cast(), &raw mut len);
    // SAFETY: the kernel writes at most `len` bytes, the size of `value`; both live until the call returns.
    let returned = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, to, to_len) };
    check(returned).map(|_| value)
}

/// Sets a classic BPF program as the choice among the sockets of a port.
pub(super) fn set_reuseport_program(fd: BorrowedFd<'_>, code: &mut [libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(code.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len, filter: code.as_mut_ptr() };
    let program_bytes = size_of::<libc::sock_fprog>() as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF);
    // SAFETY: `program` points to `len` instructions in `code`; the kernel copies them before the call returns.
    let returned =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const program).cast(), program_bytes) };
    check(returned).map(drop)
}
