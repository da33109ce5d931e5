//! Transmit burst: a ring of frames handed to `sendmmsg`, trains whole where the kernel takes them.
//!
//! Frames leave in order. The cursor is (first queued frame, bytes of it already sent); every call to the kernel
//! starts from there, cut into *pieces*: a train of at most 64 segments, or single datagrams without GSO.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::address::{self, Name};
use super::control::{Control, Outgoing};
use crate::error::{check, restart};
use crate::limits::{FRAME_BYTES, SEND_FRAMES, SEND_MESSAGES, TRAIN_BYTES_MAX, TRAIN_SEGMENTS_MAX};
use crate::queue::{Counters, Flushed, SendFailure, Transmit};

/// A part of a frame that goes as one message.
#[derive(Clone, Copy, Default)]
struct Piece {
    len: usize,
    /// Datagrams in it.
    segments: usize,
    /// It is the last of its frame.
    ends_frame: bool,
}

#[derive(Clone, Copy)]
struct Queued {
    transmit: Transmit,
    /// The kernel refused this frame as a train; it goes as singles.
    split: bool,
}

/// Frames on their way out.
pub(super) struct Sender {
    frames: Box<[u8]>,
    queued: [Option<Queued>; SEND_FRAMES],
    head: usize,
    len: usize,
    /// Bytes of the first frame already sent.
    offset: usize,
    family_v6: bool,
    /// Interface index, 0 for none.
    interface: u32,
    gso: bool,
    /// Refusal of a train that has not yet proved to be one of GSO itself, or that was not yet reported.
    gso_suspect: Option<i32>,
    gso_refused: Option<i32>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    failures: Vec<SendFailure>,
}

impl Sender {
    pub(super) fn new(local: SocketAddr, gso: bool, interface: Option<u32>) -> Self {
        Sender {
            frames: vec![0; SEND_FRAMES * FRAME_BYTES].into_boxed_slice(),
            queued: [None; SEND_FRAMES],
            head: 0,
            len: 0,
            offset: 0,
            family_v6: local.is_ipv6(),
            interface: interface.unwrap_or(0),
            gso,
            gso_suspect: None,
            gso_refused: None,
            names: vec![Name::default(); SEND_MESSAGES].into_boxed_slice(),
            controls: vec![Control::EMPTY; SEND_MESSAGES].into_boxed_slice(),
            failures: Vec::with_capacity(SEND_FRAMES),
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.len
    }

    pub(super) fn failures(&self) -> &[SendFailure] {
        &self.failures
    }

    /// The error by which the kernel refused trains, once.
    pub(super) fn take_gso_refusal(&mut self) -> Option<i32> {
        self.gso_refused.take()
    }

    fn slot(&self, nth: usize) -> usize {
        (self.head + nth) % SEND_FRAMES
    }

    pub(super) fn reserve(&mut self) -> Option<&mut [u8]> {
        if self.len == SEND_FRAMES {
            return None;
        }
        let start = self.slot(self.len) * FRAME_BYTES;
        Some(&mut self.frames[start..start + FRAME_BYTES])
    }

    pub(super) fn commit(&mut self, transmit: Transmit) {
        assert!(self.len < SEND_FRAMES, "a frame was committed that was not reserved");
        assert!((1..=TRAIN_BYTES_MAX).contains(&transmit.len), "frame of {} bytes", transmit.len);
        assert!(transmit.segment <= transmit.len, "segments longer than the frame");
        self.queued[self.slot(self.len)] = Some(Queued { transmit, split: false });
        self.len += 1;
    }

    fn first(&self) -> Option<Queued> {
        if self.len == 0 { None } else { self.queued[self.head] }
    }

    fn drop_first(&mut self) {
        self.queued[self.head] = None;
        self.head = self.slot(1);
        self.len -= 1;
        self.offset = 0;
        if self.len == 0 {
            self.head = 0;
        }
    }

    pub(super) fn flush(&mut self, fd: BorrowedFd<'_>, counters: &mut Counters) -> io::Result<Flushed> {
        self.failures.clear();
        let mut flushed = Flushed::default();
        while self.len > 0 {
            counters.send_calls += 1;
            let mut pieces = [Piece::default(); SEND_MESSAGES];
            match restart(|| self.send(fd, &mut pieces)) {
                Ok(sent) => self.advance(&pieces[..sent], &mut flushed),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    flushed.would_block = true;
                    break;
                }
                Err(error) => self.refused(error)?,
            }
        }
        flushed.failures = self.failures.len();
        Ok(flushed)
    }

    /// One call to the kernel. Returns how many of `pieces` it took, at least one.
    fn send(&mut self, fd: BorrowedFd<'_>, pieces: &mut [Piece; SEND_MESSAGES]) -> io::Result<usize> {
        // SAFETY: all zeroes is a valid iovec: no buffer.
        let mut iovecs: [libc::iovec; SEND_MESSAGES] = unsafe { mem::zeroed() };
        // SAFETY: all zeroes is a valid mmsghdr: no name, no buffer, no control.
        let mut messages: [libc::mmsghdr; SEND_MESSAGES] = unsafe { mem::zeroed() };
        let (mut count, mut nth, mut offset) = (0, 0, self.offset);
        while count < SEND_MESSAGES && nth < self.len {
            let slot = self.slot(nth);
            let Some(queued) = self.queued[slot] else { break };
            let piece = cut(&queued, offset, self.gso);
            let outgoing = self.outgoing(&queued.transmit, piece);
            let (name, control) = (&mut self.names[count], &mut self.controls[count]);
            let start = slot * FRAME_BYTES + offset;
            let bytes = &mut self.frames[start..start + piece.len];
            iovecs[count] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let header = &mut messages[count].msg_hdr;
            header.msg_namelen = name.write(queued.transmit.destination, self.family_v6) as libc::socklen_t;
            header.msg_name = (&raw mut *name).cast();
            header.msg_iov = &mut iovecs[count];
            header.msg_iovlen = 1;
            header.msg_controllen = control.write(&outgoing) as _;
            if header.msg_controllen > 0 {
                header.msg_control = control.bytes.as_mut_ptr().cast();
            }
            pieces[count] = piece;
            count += 1;
            (nth, offset) = if piece.ends_frame { (nth + 1, 0) } else { (nth, offset + piece.len) };
        }
        let (from, wait) = (messages.as_mut_ptr(), libc::MSG_DONTWAIT);
        // SAFETY: the first `count` messages point into frames, names and controls of `self` and into `iovecs`, each with its own length; all outlive the call and nothing else uses them during it.
        let returned = unsafe { libc::sendmmsg(fd.as_raw_fd(), from, count as libc::c_uint, wait as _) };
        check(returned).map(|sent| sent as usize)
    }

    fn outgoing(&self, transmit: &Transmit, piece: Piece) -> Outgoing {
        let segment = if piece.segments > 1 { transmit.segment as u16 } else { 0 };
        let to_v4 = address::as_v4(transmit.destination.ip()).is_some();
        let source = transmit.source.filter(|ip: &IpAddr| address::as_v4(*ip).is_some() == to_v4);
        Outgoing { segment, source, interface: self.interface, ecn: transmit.ecn, to_v4 }
    }

    fn advance(&mut self, sent: &[Piece], flushed: &mut Flushed) {
        for piece in sent {
            flushed.datagrams += piece.segments;
            flushed.bytes += piece.len;
            if self.first().is_some_and(|queued| queued.split) && self.gso {
                self.gso = false;
                self.gso_refused = self.gso_suspect.take();
            }
            self.offset += piece.len;
            if piece.ends_frame {
                self.drop_first();
            }
        }
    }

    /// Decides about the error of the first queued piece: split its train, drop its frame, or give up.
    fn refused(&mut self, error: io::Error) -> io::Result<()> {
        let Some(queued) = self.first() else { return Err(error) };
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let was_train = cut(&queued, self.offset, self.gso).segments > 1;
        match errno {
            libc::EIO | libc::EINVAL | libc::EOPNOTSUPP if was_train => {
                self.gso_suspect = Some(errno);
                self.queued[self.head] = Some(Queued { split: true, ..queued });
                Ok(())
            }
            _ if is_soft(errno) => {
                let transmit = queued.transmit;
                let size = if transmit.segment == 0 { transmit.len } else { transmit.segment };
                self.failures.push(SendFailure { destination: transmit.destination, size, errno });
                self.drop_first();
                Ok(())
            }
            _ => Err(error),
        }
    }
}

/// The next piece of a frame of which `offset` bytes are sent.
fn cut(queued: &Queued, offset: usize, gso: bool) -> Piece {
    let Transmit { len, segment, .. } = queued.transmit;
    let rest = len - offset;
    let segment = if segment == 0 { len } else { segment };
    let segments_max = if gso && !queued.split { TRAIN_SEGMENTS_MAX } else { 1 };
    let take = rest.min(segment * segments_max);
    Piece { len: take, segments: take.div_ceil(segment), ends_frame: take == rest }
}

/// Errors of one destination or one packet; the socket itself is sound.
fn is_soft(errno: i32) -> bool {
    matches!(
        errno,
        libc::EMSGSIZE
            | libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::ENODEV
            | libc::ENXIO
            | libc::EPERM
            | libc::EACCES
            | libc::ECONNREFUSED
            | libc::EADDRNOTAVAIL
            | libc::EAFNOSUPPORT
            | libc::EINVAL
            | libc::EIO
            | libc::EPROTO
            | libc::ENOBUFS
            | libc::ENOMEM
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize, segment: usize) -> Queued {
        let destination = "127.0.0.1:9".parse().unwrap();
        Queued { transmit: Transmit { destination, source: None, len, segment, ecn: None }, split: false }
    }

    fn pieces(queued: &Queued, gso: bool) -> Vec<(usize, usize)> {
        let (mut out, mut offset) = (Vec::new(), 0);
        loop {
            let piece = cut(queued, offset, gso);
            out.push((piece.len, piece.segments));
            offset += piece.len;
            if piece.ends_frame {
                assert_eq!(offset, queued.transmit.len);
                return out;
            }
        }
    }

    #[test]
    fn singles_stay_single() {
        assert_eq!(pieces(&frame(1, 0), true), [(1, 1)]);
        assert_eq!(pieces(&frame(1_400, 1_400), true), [(1_400, 1)]);
        assert_eq!(pieces(&frame(1_400, 0), false), [(1_400, 1)]);
    }

    #[test]
    fn trains_are_cut_at_the_segment_limit() {
        assert_eq!(pieces(&frame(63, 1), true), [(63, 63)]);
        assert_eq!(pieces(&frame(64, 1), true), [(64, 64)]);
        assert_eq!(pieces(&frame(65, 1), true), [(64, 64), (1, 1)]);
        assert_eq!(pieces(&frame(2_801, 1_400), true), [(2_801, 3)]);
    }

    #[test]
    fn without_gso_each_segment_goes_alone() {
        assert_eq!(pieces(&frame(2_801, 1_400), false), [(1_400, 1), (1_400, 1), (1, 1)]);
        let refused = Queued { split: true, ..frame(2_800, 1_400) };
        assert_eq!(pieces(&refused, true), [(1_400, 1), (1_400, 1)]);
    }

    #[test]
    fn the_burst_is_full_at_its_limit_and_a_ring_afterwards() {
        let mut sender = Sender::new("127.0.0.1:0".parse().unwrap(), true, None);
        for _ in 0..SEND_FRAMES {
            assert!(sender.reserve().is_some());
            sender.commit(frame(1, 0).transmit);
        }
        assert!(sender.reserve().is_none());
        sender.drop_first();
        assert!(sender.reserve().is_some());
        sender.commit(frame(2, 0).transmit);
        assert!(sender.reserve().is_none());
        assert_eq!(sender.first().unwrap().transmit.len, 1);
    }

    #[test]
    fn a_train_refused_for_its_size_does_not_end_trains() {
        let mut sender = Sender::new("127.0.0.1:0".parse().unwrap(), true, None);
        sender.commit(frame(4_000, 2_000).transmit);
        sender.refused(io::Error::from_raw_os_error(libc::EINVAL)).unwrap();
        assert_eq!(sender.queued(), 1);
        sender.refused(io::Error::from_raw_os_error(libc::EMSGSIZE)).unwrap();
        assert_eq!((sender.queued(), sender.failures()[0].size), (0, 2_000));
        assert!(sender.gso && sender.take_gso_refusal().is_none());
    }

    #[test]
    fn a_train_that_passes_in_pieces_ends_trains_once() {
        let mut sender = Sender::new("127.0.0.1:0".parse().unwrap(), true, None);
        sender.commit(frame(4_000, 2_000).transmit);
        sender.refused(io::Error::from_raw_os_error(libc::EIO)).unwrap();
        let piece = cut(&sender.first().unwrap(), 0, sender.gso);
        sender.advance(&[piece], &mut Flushed::default());
        assert!(!sender.gso);
        assert_eq!(sender.take_gso_refusal(), Some(libc::EIO));
        assert_eq!(sender.take_gso_refusal(), None);
    }
}
