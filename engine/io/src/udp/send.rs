//! Transmit burst: frames handed to `sendmmsg`, trains whole where the kernel takes them (stage 5).
//!
//! Frames leave in order. The cursor is (first queued frame, bytes of it already sent); every call to the kernel
//! starts from there, cut into *pieces*: a train of at most 64 segments, or single datagrams without GSO. The pieces of
//! one call are all copied by the kernel or all sent from where they lie; those frames stay the kernel's until it tells
//! that it is done ([`Sender::reclaim`]). What it refuses to send so is copied.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};

use super::address::{self, Name};
use super::control::{Control, Outgoing};
use super::frames::Frames;
use super::outlet::Outlet;
use super::pending::{Lent, Pending};
use super::ways::Ways;
use crate::error::{IoError, restart};
use crate::limits::{
    COMPLETION_READS, SEND_FRAMES, SEND_MESSAGES, TRAIN_BYTES_MAX, TRAIN_SEGMENTS_MAX, ZERO_COPY_BYTES_MIN,
};
use crate::queue::{Counters, Flushed, SendFailure, Transmit, ZeroCopy};

/// A part of a frame that goes as one message.
#[derive(Clone, Copy, Default)]
struct Piece {
    len: usize,
    /// Datagrams in it.
    segments: usize,
    /// It is the last of its frame.
    ends_frame: bool,
    /// It is sent without copying, by this way.
    way: Option<u8>,
}

#[derive(Clone, Copy)]
struct Queued {
    frame: u8,
    transmit: Transmit,
    /// The kernel refused this frame as a train; it goes as singles.
    split: bool,
    /// The kernel refused to send this frame without copying it.
    copied: bool,
}

/// Frames on their way out.
pub(super) struct Sender {
    frames: Frames,
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
    /// Where frames are sent without copying; `None` where the kernel cannot.
    ways: Option<Ways>,
    pending: Pending,
    /// A refused message may have used up a number, which only the kernel's word tells.
    out_of_step: bool,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    failures: Vec<SendFailure>,
}

impl Sender {
    pub(super) fn new(
        local: SocketAddr,
        gso: bool,
        zero_copy: bool,
        interface: Option<u32>,
    ) -> Result<Self, IoError> {
        Ok(Sender {
            frames: Frames::new()?,
            queued: [None; SEND_FRAMES],
            head: 0,
            len: 0,
            offset: 0,
            family_v6: local.is_ipv6(),
            interface: interface.unwrap_or(0),
            gso,
            gso_suspect: None,
            gso_refused: None,
            ways: zero_copy.then(Ways::new),
            pending: Pending::new(),
            out_of_step: false,
            names: vec![Name::default(); SEND_MESSAGES].into_boxed_slice(),
            controls: vec![Control::EMPTY; SEND_MESSAGES].into_boxed_slice(),
            failures: Vec::with_capacity(SEND_FRAMES),
        })
    }

    pub(super) fn queued(&self) -> usize {
        self.len
    }

    /// Messages that the kernel sends from where they lie, for now.
    #[cfg(test)]
    pub(super) fn lent(&self) -> usize {
        self.pending.len()
    }

    /// Frames that nobody holds.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.frames.free()
    }

    pub(super) fn failures(&self) -> &[SendFailure] {
        &self.failures
    }

    /// The error by which the kernel refused trains, once.
    pub(super) fn take_gso_refusal(&mut self) -> Option<i32> {
        self.gso_refused.take()
    }

    /// What was newly found about sending without copying, and what there is to note of it.
    pub(super) fn take_zero_copy_news(&mut self) -> Option<(ZeroCopy, Option<String>)> {
        let ways = self.ways.as_mut()?;
        let note = ways.take_news()?;
        Some((ways.found(), note))
    }

    fn slot(&self, nth: usize) -> usize {
        (self.head + nth) % SEND_FRAMES
    }

    pub(super) fn reserve(&mut self) -> Option<&mut [u8]> {
        if self.len == SEND_FRAMES {
            return None;
        }
        self.frames.next()
    }

    pub(super) fn commit(&mut self, transmit: Transmit) {
        assert!(self.len < SEND_FRAMES, "a frame was committed that was not reserved");
        assert!((1..=TRAIN_BYTES_MAX).contains(&transmit.len), "frame of {} bytes", transmit.len);
        assert!(transmit.segment <= transmit.len, "segments longer than the frame");
        let frame = self.frames.take();
        self.queued[self.slot(self.len)] = Some(Queued { frame, transmit, split: false, copied: false });
        self.len += 1;
    }

    fn first(&self) -> Option<Queued> {
        if self.len == 0 { None } else { self.queued[self.head] }
    }

    fn drop_first(&mut self) {
        if let Some(queued) = self.queued[self.head].take() {
            self.frames.release(queued.frame);
        }
        self.head = self.slot(1);
        self.len -= 1;
        self.offset = 0;
    }

    pub(super) fn flush(&mut self, outlet: &mut impl Outlet, counters: &mut Counters) -> io::Result<Flushed> {
        self.failures.clear();
        self.reclaim(outlet, counters)?;
        let mut flushed = Flushed::default();
        while self.len > 0 {
            counters.send_calls += 1;
            let mut pieces = [Piece::default(); SEND_MESSAGES];
            let mut count = 0;
            let result = restart(|| {
                count = 0;
                self.send(outlet, &mut pieces, &mut count)
            });
            let lent = pieces[0].way;
            let sent = *result.as_ref().unwrap_or(&0);
            self.advance(&pieces[..sent], &mut flushed);
            if lent.is_some() && sent < count {
                self.out_of_step = true;
                self.reclaim(outlet, counters)?;
            }
            match (result, lent) {
                (Ok(_), _) => {}
                (Err(error), _) if error.kind() == io::ErrorKind::WouldBlock => {
                    flushed.would_block = true;
                    break;
                }
                (Err(_), Some(way)) => self.copy_first(way),
                (Err(error), None) => self.refused(error)?,
            }
        }
        flushed.failures = self.failures.len();
        Ok(flushed)
    }

    /// Trains are sent whole again, as if none had been refused.
    #[cfg(test)]
    pub(super) fn allow_gso(&mut self) {
        self.gso = true;
    }

    /// Takes back the frames that the kernel is done with.
    pub(super) fn reclaim(&mut self, outlet: &mut impl Outlet, counters: &mut Counters) -> io::Result<()> {
        let Sender { pending, frames, ways: Some(ways), out_of_step, .. } = self else { return Ok(()) };
        for _ in 0..COMPLETION_READS {
            if pending.is_empty() && !*out_of_step {
                break;
            }
            counters.completion_calls += 1;
            let Some(completion) = restart(|| outlet.completed())? else {
                *out_of_step = false;
                break;
            };
            pending.complete(completion, |lent| {
                frames.release(lent.frame);
                ways.completed(lent.way, completion.copied);
            });
        }
        Ok(())
    }

    /// One call to the kernel of `count` pieces. Returns how many of them it took, at least one.
    fn send(
        &mut self,
        outlet: &mut impl Outlet,
        pieces: &mut [Piece; SEND_MESSAGES],
        count: &mut usize,
    ) -> io::Result<usize> {
        // SAFETY: all zeroes is a valid iovec: no buffer.
        let mut iovecs: [libc::iovec; SEND_MESSAGES] = unsafe { mem::zeroed() };
        // SAFETY: all zeroes is a valid mmsghdr: no name, no buffer, no control.
        let mut messages: [libc::mmsghdr; SEND_MESSAGES] = unsafe { mem::zeroed() };
        let (mut nth, mut offset) = (0, self.offset);
        while *count < SEND_MESSAGES && nth < self.len {
            let Some(queued) = self.queued[self.slot(nth)] else { break };
            let mut piece = cut(&queued, offset, self.gso);
            piece.way = self.way(&queued, &piece, *count);
            if *count > 0 && piece.way.is_some() != pieces[0].way.is_some() {
                break;
            }
            let outgoing = self.outgoing(&queued.transmit, piece);
            let (name, control) = (&mut self.names[*count], &mut self.controls[*count]);
            let bytes = self.frames.bytes(queued.frame, offset, piece.len);
            iovecs[*count] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let header = &mut messages[*count].msg_hdr;
            header.msg_namelen = name.write(queued.transmit.destination, self.family_v6) as libc::socklen_t;
            header.msg_name = (&raw mut *name).cast();
            header.msg_iov = &mut iovecs[*count];
            header.msg_iovlen = 1;
            header.msg_controllen = control.write(&outgoing) as _;
            if header.msg_controllen > 0 {
                header.msg_control = control.bytes.as_mut_ptr().cast();
            }
            pieces[*count] = piece;
            *count += 1;
            (nth, offset) = if piece.ends_frame { (nth + 1, 0) } else { (nth, offset + piece.len) };
        }
        let flags = if pieces[0].way.is_some() { libc::MSG_ZEROCOPY } else { 0 };
        // SAFETY: the messages point into frames, names and controls of `self` and into `iovecs`, each with its own length; all outlive the call and nothing else uses them during it. A frame sent without copying is neither written nor lent before the kernel is done with it: `advance` makes the kernel its holder, and its memory is never given to another user.
        unsafe { outlet.send(&mut messages[..*count], flags) }
    }

    /// The way by which a piece is sent without copying, when it is worth that; `before` pieces are of the same call.
    fn way(&mut self, queued: &Queued, piece: &Piece, before: usize) -> Option<u8> {
        if queued.split || queued.copied || piece.len < ZERO_COPY_BYTES_MIN || self.pending.room() <= before {
            return None;
        }
        self.ways.as_mut()?.choose(&queued.transmit)
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
            let Some(queued) = self.first() else { return };
            if queued.split && self.gso {
                self.gso = false;
                self.gso_refused = self.gso_suspect.take();
            }
            if let (Some(way), Some(ways)) = (piece.way, &mut self.ways) {
                self.frames.hold(queued.frame);
                self.pending.push(Lent { frame: queued.frame, way });
                ways.lent(way);
            }
            self.offset += piece.len;
            if piece.ends_frame {
                self.drop_first();
            }
        }
    }

    /// The first queued frame is to be copied: whatever is wrong with it otherwise shows then.
    fn copy_first(&mut self, way: u8) {
        if let Some(queued) = &mut self.queued[self.head] {
            queued.copied = true;
        }
        if let Some(ways) = &mut self.ways {
            ways.turned_away(way);
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
    Piece { len: take, segments: take.div_ceil(segment), ends_frame: take == rest, way: None }
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
        let transmit = Transmit { destination, source: None, len, segment, ecn: None };
        Queued { frame: 0, transmit, split: false, copied: false }
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

    fn sender() -> Sender {
        Sender::new("127.0.0.1:0".parse().unwrap(), true, false, None).unwrap()
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
        let mut sender = sender();
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
        let mut sender = sender();
        sender.commit(frame(4_000, 2_000).transmit);
        sender.refused(io::Error::from_raw_os_error(libc::EINVAL)).unwrap();
        assert_eq!(sender.queued(), 1);
        sender.refused(io::Error::from_raw_os_error(libc::EMSGSIZE)).unwrap();
        assert_eq!((sender.queued(), sender.failures()[0].size), (0, 2_000));
        assert!(sender.gso && sender.take_gso_refusal().is_none());
    }

    #[test]
    fn a_train_that_passes_in_pieces_ends_trains_once() {
        let mut sender = sender();
        sender.commit(frame(4_000, 2_000).transmit);
        sender.refused(io::Error::from_raw_os_error(libc::EIO)).unwrap();
        let piece = cut(&sender.first().unwrap(), 0, sender.gso);
        sender.advance(&[piece], &mut Flushed::default());
        assert!(!sender.gso);
        assert_eq!(sender.take_gso_refusal(), Some(libc::EIO));
        assert_eq!(sender.take_gso_refusal(), None);
    }
}
