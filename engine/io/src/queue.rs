//! The contract of a backend: bursts of frames between the engine and a wire (stages 5 and 6).
//!
//! Transmit: [`Queue::reserve`] a frame, fill it, [`Queue::commit`] it, and [`Queue::flush`] once per burst. From the
//! commit on the frame is the backend's, beyond the flush too where it is sent without copying.
//! Receive: [`Queue::receive`] a burst, use [`Queue::received`] for each, which stays valid until the next call.
//! A frame holds one datagram or one *train*: datagrams of equal length, the last may be shorter, all to one
//! address. What a backend can do is data ([`Capabilities`]); a backend that lacks trains splits them itself.
//! What the wire refuses is data too ([`SendFailure`]): only a broken socket is an error.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use crate::error::IoError;

/// Marking of explicit congestion notification, RFC 3168 section 5. Not ECN-capable is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecn {
    /// ECT(1).
    Ect1,
    /// ECT(0).
    Ect0,
    /// Congestion experienced.
    Ce,
}

impl Ecn {
    /// The two low bits of the TOS or traffic class byte.
    pub fn bits(self) -> u8 {
        match self {
            Ecn::Ect1 => 1,
            Ecn::Ect0 => 2,
            Ecn::Ce => 3,
        }
    }

    /// Reads the two low bits of a TOS or traffic class byte.
    pub fn from_bits(byte: u8) -> Option<Self> {
        match byte & 3 {
            1 => Some(Ecn::Ect1),
            2 => Some(Ecn::Ect0),
            3 => Some(Ecn::Ce),
            _ => None,
        }
    }
}

/// How a filled frame is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub destination: SocketAddr,
    /// Address to send from, of the destination's family; the routing decides when absent.
    pub source: Option<IpAddr>,
    /// Bytes filled, 1 to [`crate::limits::TRAIN_BYTES_MAX`].
    pub len: usize,
    /// Bytes of each datagram of a train; 0 or `len` for a single datagram.
    pub segment: usize,
    /// Mark to set.
    pub ecn: Option<Ecn>,
}

/// What one flush did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Datagrams handed to the wire, trains counted by their segments.
    pub datagrams: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The wire took no more; the rest is still queued, in order, for the next flush.
    pub would_block: bool,
    /// Frames dropped by this flush, to be read with [`Queue::failures`].
    pub failures: usize,
    /// A part of the backend failed and another took over since the flush before; the reason is in the notes.
    pub fell_back: bool,
    /// Trains turned out to be impossible in this very flush and are split from now on; the reason is in the notes.
    pub gso_lost: bool,
}

/// A frame that could not be sent. It is dropped; the path decides what follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendFailure {
    /// Where it was to go.
    pub destination: SocketAddr,
    /// Bytes of one datagram of it; with `EMSGSIZE` a bound for the path's MTU.
    pub size: usize,
    /// `EMSGSIZE`, `ENETUNREACH`, `EHOSTUNREACH`, `ENETDOWN`, `EPERM` and their like.
    pub errno: i32,
}

/// What is known of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Who sent it; IPv4 is never written as mapped IPv6.
    pub source: SocketAddr,
    /// Local address it was sent to.
    pub destination: Option<IpAddr>,
    /// Index of the interface it came in by, 0 if unknown.
    pub interface: u32,
    /// Bytes of each datagram in the frame, the last may be shorter; the frame's length for a single one, never 0 unless the frame is empty.
    pub segment: usize,
    /// Mark it carried.
    pub ecn: Option<Ecn>,
}

/// What became of sending frames without copying them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroCopy {
    /// Not asked for, or the kernel cannot; frames are copied.
    Absent,
    /// To be tried with the first long trains to each destination.
    Untried,
    /// To at least one destination.
    Used,
    /// The kernel copied most frames all the same, wherever it was tried, so they are copied at once.
    Refused,
}

impl ZeroCopy {
    /// Its name for people and programs.
    pub fn name(self) -> &'static str {
        match self {
            ZeroCopy::Absent => "absent",
            ZeroCopy::Untried => "untried",
            ZeroCopy::Used => "used",
            ZeroCopy::Refused => "refused",
        }
    }
}

/// What one AF_XDP socket obtained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XdpReport {
    /// Name of its interface.
    pub interface: String,
    /// Its queue of that.
    pub queue: u32,
    /// The driver uses the memory itself.
    pub zero_copy: bool,
    /// A packet may take several frames.
    pub several_frames: bool,
    /// The memory is on reserved hugepages.
    pub hugepages: bool,
    /// The kernel or the device computes checksums of packets that fit in one frame.
    pub checksums: bool,
    /// Bytes of one frame.
    pub frame_bytes: usize,
    /// The kernel polls the device rather than to take its interrupts.
    pub busy_poll: bool,
    /// What was asked and not obtained, and why.
    pub notes: Vec<String>,
}

/// What was obtained, as opposed to what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Name of the backend.
    pub backend: &'static str,
    /// Datagrams the wire takes as one train; 1 when trains are split here.
    pub gso_segments_max: usize,
    /// Trains may arrive.
    pub gro: bool,
    /// Marks are read; they are always set.
    pub ecn: bool,
    /// The address and interface that a frame came in by are told.
    pub arrival: bool,
    /// Whether frames are sent without copying; what is found about a destination changes it.
    pub zero_copy: ZeroCopy,
    /// Microseconds that a receive call polls the device; 0 when it does not.
    pub busy_poll_us: u32,
    /// The socket's receive limit in bytes as the kernel counts it, overhead included (`SO_RCVBUF` reads twice what was set).
    pub receive_buffer: usize,
    /// The same for sending.
    pub send_buffer: usize,
    /// Packets are held to one interface, both ways.
    pub bound_interface: Option<u32>,
    /// Its AF_XDP sockets that work, one an interface.
    pub xdp: Vec<XdpReport>,
    /// What was asked and not obtained, and why.
    pub notes: Vec<String>,
}

/// Counted drops and oddities of a queue since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams or trains that the kernel dropped because the receive buffer was full.
    pub overflows: u64,
    /// Received frames longer than their buffer, dropped.
    pub truncated: u64,
    /// Errors of earlier packets that a receive call reported, and frames without a sender.
    pub soft_errors: u64,
    /// System calls for sending.
    pub send_calls: u64,
    /// System calls for receiving.
    pub receive_calls: u64,
    /// System calls that asked which frames sent without copying the kernel is done with.
    pub completion_calls: u64,
}

/// One receive and transmit pair of one wire, owned by one worker. The descriptor is for sleeping on.
pub trait Queue: AsFd + Send {
    /// Address that peers send to.
    fn local_addr(&self) -> SocketAddr;
    /// What this queue can do.
    fn capabilities(&self) -> &Capabilities;
    /// Drops counted so far.
    fn counters(&self) -> Counters;
    /// The next free frame of [`crate::limits::FRAME_BYTES`], or `None` when the burst is full or the backend still has all frames: then flush, and receive, until one is back. Reserving again without a commit gives the same frame; a flush in between gives it up.
    fn reserve(&mut self) -> Option<&mut [u8]>;
    /// Queues the reserved frame. Panics when the burst is full or the length is out of bounds.
    fn commit(&mut self, transmit: Transmit);
    /// Frames committed and not yet sent, and other things that a flush is due for.
    fn queued(&self) -> usize;
    /// Sends what is queued. An error means that the queue is unusable.
    fn flush(&mut self) -> Result<Flushed, IoError>;
    /// Frames dropped by the last flush, at most one entry a frame.
    fn failures(&self) -> &[SendFailure];
    /// Fetches the next burst, giving up the one before. Number of frames now held, 0 when there are none.
    fn receive(&mut self) -> Result<usize, IoError>;
    /// Frame `index` of the burst. Panics when the burst is shorter.
    fn received(&mut self, index: usize) -> (Meta, &mut [u8]);
}
