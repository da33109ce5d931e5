//! Frames on their way through the rings of one socket, in both directions (stages 5 and 6).
//!
//! Sending: a free frame is filled, put in the send ring, and free again when the completion ring names it. Receiving: frames lie in
//! the fill ring, come back filled by the receive ring, are held for one burst and return to the fill ring. The two kinds never
//! mix, so neither direction can starve the other. A packet longer than a frame takes several: it is sent as a chain, and what arrives
//! as a chain is gathered in memory of its own.

use std::io;
use std::ops::Range;

use super::packet::{CHECKSUM_OFFSET, HEADERS_MAX, Head};
use super::ring::{Consumer, Descriptor, Producer};
use super::socket::METADATA_BYTES;
use super::umem::{Frame, Umem};
use crate::limits::{XDP_BURST, XDP_PACKET_BYTES_MAX, XDP_SEND_CALLS};

/// Where a packet, and each piece of one, begins in its frame: behind the metadata, for which the kernel wants room before every piece.
const START: usize = METADATA_BYTES.next_multiple_of(8);

/// What the rings need of the socket. Tests have their own.
pub(super) trait Kernel {
    /// Lets the kernel take packets from the send ring.
    fn send(&mut self) -> io::Result<()>;
    /// Lets the kernel take frames from the fill ring, and poll the device if it is to.
    fn receive(&mut self) -> io::Result<()>;
    /// Receiving is the kernel's only reason to poll the device.
    fn polls(&self) -> bool;
}

/// Entries of the rings: as many frames there are for each direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) receive: u32,
    pub(super) send: u32,
}

/// Our sides of the four rings.
pub(super) struct Rings {
    pub(super) fill: Producer<u64>,
    pub(super) completion: Consumer<u64>,
    pub(super) receive: Consumer<Descriptor>,
    pub(super) send: Producer<Descriptor>,
}

/// A received packet of the burst at hand.
enum Held {
    /// In a frame of its own.
    Frame(Frame, Range<usize>),
    /// Gathered: which place, and its length.
    Gathered(usize, usize),
}

/// What one call of [`Channel::flush`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// The kernel takes no more for now.
    pub(super) would_block: bool,
    /// Calls made.
    pub(super) calls: u64,
}

/// Memory and rings of one socket.
pub(super) struct Channel {
    umem: Umem,
    rings: Rings,
    /// Frames to send from; the one used last is on top.
    free: Vec<Frame>,
    send_frames: usize,
    /// The device or the kernel finishes checksums.
    checksums: bool,
    several_frames: bool,
    held: Vec<Held>,
    /// Frames to be put back in the fill ring: those of the burst before.
    spent: Vec<Frame>,
    /// Room for packets of several frames, made when the first one arrives.
    gathered: Vec<u8>,
    /// Bytes gathered of a packet whose rest is still to come.
    partial: Option<usize>,
    /// Packets dropped since they were too long.
    too_long: u64,
}

impl Channel {
    /// Fills the fill ring. The memory has as many frames as `sizes` says, and `frames` are all of them.
    pub(super) fn new(umem: Umem, mut frames: Vec<Frame>, mut rings: Rings, sizes: Sizes) -> Self {
        let for_sending = frames.split_off(sizes.receive as usize);
        assert_eq!(for_sending.len(), sizes.send as usize, "frames to send from");
        assert!(rings.fill.room(sizes.receive) >= sizes.receive, "the fill ring is new");
        frames.into_iter().for_each(|frame| rings.fill.push(umem.give(frame)));
        rings.fill.submit();
        Channel {
            umem,
            rings,
            send_frames: for_sending.len(),
            free: for_sending,
            checksums: false,
            several_frames: false,
            held: Vec::with_capacity(XDP_BURST),
            spent: Vec::with_capacity(sizes.receive as usize),
            gathered: Vec::new(),
            partial: None,
            too_long: 0,
        }
    }

    /// Says what the socket obtained.
    pub(super) fn set_abilities(&mut self, checksums: bool, several_frames: bool) {
        (self.checksums, self.several_frames) = (checksums, several_frames);
    }

    pub(super) fn umem(&self) -> &Umem {
        &self.umem
    }

    /// Longest payload that fits behind `head`.
    pub(super) fn payload_max(&self, head: &Head) -> usize {
        let bytes = if self.several_frames { XDP_PACKET_BYTES_MAX } else { self.umem.frame_bytes() - START };
        bytes - head.len()
    }

    /// Packets with `payload` bytes that can be sent now.
    pub(super) fn room(&mut self, payload: usize) -> usize {
        let pieces = (HEADERS_MAX + payload).div_ceil(self.umem.frame_bytes() - START);
        self.frames_free() / pieces
    }

    fn frames_free(&mut self) -> usize {
        let room = self.rings.send.room(self.send_frames as u32) as usize;
        self.free.len().min(room)
    }

    /// Frames that the kernel has to send.
    pub(super) fn outstanding(&self) -> usize {
        self.send_frames - self.free.len()
    }

    /// Packets dropped on arrival since they were too long, so far.
    pub(super) fn too_long(&self) -> u64 {
        self.too_long
    }

    /// Takes back the frames that were sent. Returns how many.
    pub(super) fn reclaim(&mut self) -> usize {
        let before = self.free.len();
        self.rings.completion.ready(1);
        while let Some(address) = self.rings.completion.pop() {
            // SAFETY: the completion ring names each frame once after it was put in the send ring, as the last to use it.
            self.free.extend(unsafe { self.umem.take_back(address) });
        }
        self.rings.completion.release();
        self.free.len() - before
    }

    /// Puts one packet in the send ring. The caller saw that there is room, and that it is short enough.
    pub(super) fn send(&mut self, head: &Head, payload: &[u8]) {
        let headers = head.len();
        let single = START + headers + payload.len() <= self.umem.frame_bytes();
        let metadata = single && self.checksums;
        let mut first = self.free.pop().expect("room was seen");
        let bytes = self.umem.bytes(&mut first);
        let here = payload.len().min(bytes.len() - START - headers);
        let (before, packet) = bytes.split_at_mut(START);
        head.write(packet, payload.len());
        if metadata {
            write_metadata(before, head.udp_start());
        } else {
            head.finish_checksum(&mut packet[..headers], payload);
        }
        packet[headers..headers + here].copy_from_slice(&payload[..here]);
        let more = if here < payload.len() { libc::XDP_PKT_CONTD } else { 0 };
        let options = more | if metadata { libc::XDP_TX_METADATA } else { 0 };
        let address = self.umem.give(first) + START as u64;
        self.rings.send.push(Descriptor { address, len: (headers + here) as u32, options });
        self.send_rest(&payload[here..]);
    }

    /// Puts the rest of a packet in the send ring.
    fn send_rest(&mut self, mut payload: &[u8]) {
        while !payload.is_empty() {
            let mut frame = self.free.pop().expect("room was seen");
            let bytes = &mut self.umem.bytes(&mut frame)[START..];
            let (here, rest) = payload.split_at(payload.len().min(bytes.len()));
            bytes[..here.len()].copy_from_slice(here);
            let options = if rest.is_empty() { 0 } else { libc::XDP_PKT_CONTD };
            let address = self.umem.give(frame) + START as u64;
            self.rings.send.push(Descriptor { address, len: here.len() as u32, options });
            payload = rest;
        }
    }

    /// Entries of the send ring that the kernel did not take yet.
    pub(super) fn waiting(&self) -> u32 {
        self.rings.send.waiting()
    }

    /// Shows the kernel what is to be sent, and calls it while that gets on.
    ///
    /// # Errors
    /// What the socket said, when nothing can be sent by it any more.
    pub(super) fn flush(&mut self, kernel: &mut impl Kernel) -> io::Result<Sent> {
        self.rings.send.submit();
        let mut sent = Sent::default();
        let mut waiting = self.rings.send.waiting();
        while waiting > 0 && self.rings.send.needs_wakeup() && sent.calls < XDP_SEND_CALLS as u64 {
            sent.calls += 1;
            let result = kernel.send();
            let left = self.rings.send.waiting();
            match result {
                Err(error) if !is_busy(&error) => return Err(error),
                // The kernel may wait for completions to be read.
                Err(_) if left == waiting && self.reclaim() == 0 => {
                    sent.would_block = true;
                    break;
                }
                _ => {}
            }
            waiting = left;
        }
        Ok(sent)
    }

    /// Gives back the burst before and takes the next. Returns the number of packets.
    pub(super) fn receive(&mut self, kernel: &mut impl Kernel) -> io::Result<usize> {
        self.give_back();
        if self.rings.receive.ready(XDP_BURST as u32) == 0 {
            if kernel.polls() || self.rings.fill.needs_wakeup() {
                ignore_busy(kernel.receive())?;
            }
            return Ok(0);
        }
        while self.held.len() < XDP_BURST {
            let Some(found) = self.rings.receive.pop() else { break };
            self.hold(found);
        }
        self.rings.receive.release();
        Ok(self.held.len())
    }

    fn hold(&mut self, found: Descriptor) {
        // SAFETY: the receive ring names each frame of the fill ring once, as the last to use it.
        let Some(mut frame) = (unsafe { self.umem.take_back(found.address) }) else { return };
        let start = self.umem.offset(found.address);
        let place = start..(start + found.len as usize).min(self.umem.frame_bytes());
        let goes_on = found.options & libc::XDP_PKT_CONTD != 0;
        if !goes_on && self.partial.is_none() {
            self.held.push(Held::Frame(frame, place));
            return;
        }
        self.gather(&mut frame, place);
        self.spent.push(frame);
        if !goes_on {
            self.end_gathering();
        }
    }

    /// Copies a piece behind those before it. A packet that gets too long is only counted.
    fn gather(&mut self, frame: &mut Frame, place: Range<usize>) {
        if self.gathered.is_empty() {
            self.gathered = vec![0; XDP_BURST * XDP_PACKET_BYTES_MAX];
        }
        let piece = &self.umem.bytes(frame)[place];
        let before = self.partial.unwrap_or(0);
        let after = before + piece.len();
        if after <= XDP_PACKET_BYTES_MAX {
            let start = self.held.len() * XDP_PACKET_BYTES_MAX + before;
            self.gathered[start..start + piece.len()].copy_from_slice(piece);
        }
        self.partial = Some(after);
    }

    /// The last piece of a packet came.
    fn end_gathering(&mut self) {
        let Some(len) = self.partial.take() else { return };
        if len > XDP_PACKET_BYTES_MAX {
            self.too_long += 1;
        } else {
            self.held.push(Held::Gathered(self.held.len(), len));
        }
    }

    /// Puts the frames of the burst before into the fill ring, where each has its place.
    fn give_back(&mut self) {
        for held in self.held.drain(..) {
            if let Held::Frame(frame, _) = held {
                self.spent.push(frame);
            }
        }
        if self.spent.is_empty() {
            return;
        }
        let room = self.rings.fill.room(self.spent.len() as u32) as usize;
        let count = room.min(self.spent.len());
        for frame in self.spent.drain(..count) {
            self.rings.fill.push(self.umem.give(frame));
        }
        self.rings.fill.submit();
    }

    /// Packet `index` of the burst, headers included.
    pub(super) fn received(&mut self, index: usize) -> &mut [u8] {
        match &mut self.held[index] {
            Held::Frame(frame, place) => &mut self.umem.bytes(frame)[place.clone()],
            Held::Gathered(nth, len) => {
                let start = *nth * XDP_PACKET_BYTES_MAX;
                &mut self.gathered[start..start + *len]
            }
        }
    }
}

/// Asks for the checksum from `start` on (`struct xsk_tx_metadata`).
fn write_metadata(to: &mut [u8], start: usize) {
    let to = &mut to[START - METADATA_BYTES..];
    to.fill(0);
    to[..8].copy_from_slice(&u64::from(libc::XDP_TXMD_FLAGS_CHECKSUM).to_ne_bytes());
    to[8..10].copy_from_slice(&(start as u16).to_ne_bytes());
    to[10..12].copy_from_slice(&(CHECKSUM_OFFSET as u16).to_ne_bytes());
}

/// The kernel is out of room for the moment.
fn is_busy(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    matches!(errno, Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR | libc::ENOMEM))
}

fn ignore_busy(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if is_busy(&error) { Ok(()) } else { Err(error) })
}
