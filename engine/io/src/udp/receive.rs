//! Receive burst: `recvmmsg` into a ring of buffers, each a datagram or, with GRO, a train.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::address::Name;
use super::control::Control;
use crate::error::{check, restart};
use crate::limits::{
    CONTROL_BYTES, FRAME_BYTES, RECEIVE_RETRIES, RECEIVE_SINGLES, RECEIVE_TRAINS, SINGLE_BYTES_MAX,
};
use crate::queue::{Counters, Meta};

/// Buffers and what is known of their content.
pub(super) struct Receiver {
    buffers: Box<[u8]>,
    /// Bytes of one buffer.
    stride: usize,
    burst: usize,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    /// Frames held: buffer, length, and what is known. Never longer than the burst.
    held: Vec<(usize, usize, Meta)>,
    overflows_last: u32,
}

impl Receiver {
    pub(super) fn new(gro: bool) -> Self {
        let (burst, stride) =
            if gro { (RECEIVE_TRAINS, FRAME_BYTES) } else { (RECEIVE_SINGLES, SINGLE_BYTES_MAX) };
        Receiver {
            buffers: vec![0; burst * stride].into_boxed_slice(),
            stride,
            burst,
            names: vec![Name::default(); burst].into_boxed_slice(),
            controls: vec![Control::EMPTY; burst].into_boxed_slice(),
            held: Vec::with_capacity(burst),
            overflows_last: 0,
        }
    }

    /// Fetches what has arrived. Errors of earlier packets, which the kernel reports here, are counted.
    pub(super) fn receive(&mut self, fd: BorrowedFd<'_>, counters: &mut Counters) -> io::Result<usize> {
        self.held.clear();
        for _ in 0..RECEIVE_RETRIES {
            counters.receive_calls += 1;
            match restart(|| self.fetch(fd, counters)) {
                Ok(()) => return Ok(self.held.len()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) if is_soft(&error) => counters.soft_errors += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }

    fn fetch(&mut self, fd: BorrowedFd<'_>, counters: &mut Counters) -> io::Result<()> {
        // SAFETY: all zeroes is a valid iovec: no buffer.
        let mut iovecs: [libc::iovec; RECEIVE_SINGLES] = unsafe { mem::zeroed() };
        // SAFETY: all zeroes is a valid mmsghdr: no name, no buffer, no control.
        let mut messages: [libc::mmsghdr; RECEIVE_SINGLES] = unsafe { mem::zeroed() };
        let buffers = self.buffers.chunks_exact_mut(self.stride);
        let slots = buffers.zip(&mut self.names).zip(&mut self.controls);
        for (((buffer, name), control), (iovec, message)) in slots.zip(iovecs.iter_mut().zip(&mut messages)) {
            iovec.iov_base = buffer.as_mut_ptr().cast();
            iovec.iov_len = buffer.len();
            let header = &mut message.msg_hdr;
            header.msg_name = (&raw mut *name).cast();
            header.msg_namelen = size_of::<Name>() as libc::socklen_t;
            header.msg_iov = iovec;
            header.msg_iovlen = 1;
            header.msg_control = control.bytes.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES as _;
        }
        let (to, count, wait) = (messages.as_mut_ptr(), self.burst as libc::c_uint, libc::MSG_DONTWAIT);
        // SAFETY: the first `burst` messages point into buffers, names and controls of `self` and into `iovecs`, each with its own length, and nothing else refers to them during the call.
        let returned = unsafe { libc::recvmmsg(fd.as_raw_fd(), to, count, wait as _, std::ptr::null_mut()) };
        let count = check(returned)? as usize;
        for (index, message) in messages[..count].iter().enumerate() {
            self.hold(index, message, counters);
        }
        Ok(())
    }

    fn hold(&mut self, index: usize, message: &libc::mmsghdr, counters: &mut Counters) {
        let len = message.msg_len as usize;
        let incoming = self.controls[index].read(message.msg_hdr.msg_controllen);
        if let Some(overflows) = incoming.overflows {
            counters.overflows += u64::from(overflows.wrapping_sub(self.overflows_last));
            self.overflows_last = overflows;
        }
        if message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            counters.truncated += 1;
            return;
        }
        let Some(source) = self.names[index].read(message.msg_hdr.msg_namelen as usize) else {
            counters.soft_errors += 1;
            return;
        };
        let segment = if incoming.segment == 0 { len } else { incoming.segment.min(len) };
        let meta = Meta {
            source,
            destination: incoming.destination,
            interface: incoming.interface,
            segment,
            ecn: incoming.ecn,
        };
        self.held.push((index, len, meta));
    }

    pub(super) fn received(&mut self, index: usize) -> (Meta, &mut [u8]) {
        let (buffer, len, meta) = self.held[index];
        let start = buffer * self.stride;
        (meta, &mut self.buffers[start..start + len])
    }
}

/// Errors that belong to a packet sent earlier, or to a wire that may come back.
fn is_soft(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::ENETDOWN
                | libc::EHOSTDOWN
                | libc::EMSGSIZE
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EACCES
                | libc::EPERM
        )
    )
}
