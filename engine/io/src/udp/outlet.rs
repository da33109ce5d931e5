//! What sending needs of the kernel: batches of messages out, and word of those it is done with. Tests have their own.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::control::Control;
use super::pending::Completion;
use crate::error::{check, check_size};
use crate::limits::{COMPLETION_READS, CONTROL_BYTES};

/// A socket as the sender sees it.
pub(super) trait Outlet {
    /// Hands messages to the kernel by one call; returns how many it took, at least one.
    ///
    /// # Safety
    /// Names, buffers and controls that the messages point to are valid during the call. With `MSG_ZEROCOPY` the buffers
    /// are neither written nor used for anything else before [`Self::completed`] has told of each message.
    unsafe fn send(&mut self, messages: &mut [libc::mmsghdr], flags: i32) -> io::Result<usize>;

    /// The next word about messages sent with `MSG_ZEROCOPY`, `None` when there is none by now.
    fn completed(&mut self) -> io::Result<Option<Completion>>;
}

impl Outlet for BorrowedFd<'_> {
    unsafe fn send(&mut self, messages: &mut [libc::mmsghdr], flags: i32) -> io::Result<usize> {
        let (from, count) = (messages.as_mut_ptr(), messages.len() as libc::c_uint);
        // SAFETY: the messages are as many as `count` says, and what they point to is valid: the caller keeps that.
        let sent =
            unsafe { libc::sendmmsg(self.as_raw_fd(), from, count, (flags | libc::MSG_DONTWAIT) as _) };
        check(sent).map(|sent| sent as usize)
    }

    fn completed(&mut self) -> io::Result<Option<Completion>> {
        for _ in 0..COMPLETION_READS {
            match read_error_queue(*self) {
                Ok((control, len)) => match control.completion(len) {
                    // Other words are not asked for; they are passed over.
                    None => {}
                    completion => return Ok(completion),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// The next word of the error queue, and its length.
fn read_error_queue(fd: BorrowedFd<'_>) -> io::Result<(Control, usize)> {
    let mut control = Control::EMPTY;
    // SAFETY: all zeroes is a valid msghdr: no name, no buffer, no control.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_control = control.bytes.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the header points to `control` with its length, which outlives the call; it names nothing else.
    let read = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, flags) };
    check_size(read)?;
    Ok((control, header.msg_controllen as usize))
}
