//! One AF_XDP socket of a queue: opened on an interface, watched for stalls, closed when it fails.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use super::channel::{Channel, Sizes};
use super::hop::Hop;
use super::interface::XdpInterface;
use super::packet::{ETHERNET_BYTES, Head, parse};
use super::socket::{Binding, Unbound, XdpSocket, statistics};
use super::stall::Stall;
use super::umem::Umem;
use crate::error::{IoError, text};
use crate::limits::{
    TRAIN_SEGMENTS_MAX, XDP_BURST, XDP_FRAME_BYTES, XDP_HEADROOM, XDP_RECEIVE_FRAMES, XDP_SEND_FRAMES,
};
use crate::queue::{Flushed, Meta, Transmit, XdpReport};

/// What to ask of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpConfig {
    /// The interface.
    pub interface: XdpInterface,
    /// Its queue.
    pub queue: u32,
    /// Let the driver use the memory itself, where it can.
    pub zero_copy: bool,
    /// Memory on reserved hugepages, where there are some.
    pub huge: bool,
    /// Microseconds that the kernel may poll the device, preferring that to its interrupts. Virtual devices get slower by it.
    pub busy_poll_us: Option<u32>,
}

impl XdpConfig {
    /// Everything that kernel and driver may offer, but busy polling.
    pub fn new(interface: XdpInterface, queue: u32) -> Self {
        let zero_copy = interface.copies().is_none();
        XdpConfig { interface, queue, zero_copy, huge: true, busy_poll_us: None }
    }
}

/// An AF_XDP socket with its memory: one queue of one interface. In the program's map, and in a [`super::XdpQueue`], it carries packets.
pub struct XdpPort {
    interface: XdpInterface,
    report: XdpReport,
    channel: Channel,
    socket: XdpSocket,
    /// The burst at hand: which packet of the channel's, where its payload is, and what is known of it.
    held: Vec<(usize, std::ops::Range<usize>, Meta)>,
    stall: Stall,
    /// It was full when it was asked for room.
    full: bool,
    foreign: u64,
    pub(super) calls: u64,
}

impl XdpPort {
    /// Opens a socket and binds it. What cannot be obtained beyond that is in the report's notes.
    ///
    /// # Errors
    /// No right to (`EPERM`), no memory that may be locked (`ENOBUFS`), a queue that another socket has (`EBUSY`), no such queue (`EINVAL`).
    pub fn open(config: &XdpConfig) -> Result<Self, IoError> {
        let XdpConfig { interface, queue, .. } = config;
        let fail = |op| {
            move |error: io::Error| IoError::new(op, format!("queue {queue} of {}", interface.name), &error)
        };
        let sizes = Sizes { receive: XDP_RECEIVE_FRAMES, send: XDP_SEND_FRAMES };
        let frame_bytes = frame_bytes(interface.mtu);
        let (umem, frames) = Umem::new(sizes.receive + sizes.send, frame_bytes, config.huge)?;
        let ordinary = umem.ordinary().map(str::to_owned);
        let (unbound, rings) = Unbound::new(&umem, sizes).map_err(|error| {
            let locked = error.raw_os_error() == Some(libc::ENOBUFS);
            let lock = "lock the memory (ulimit -l allows too little) for";
            fail(if locked { lock } else { "open an AF_XDP socket for" })(error)
        })?;
        let metadata = unbound.takes_metadata();
        let mut channel = Channel::new(umem, frames, rings, sizes);
        let binding = Binding {
            interface: interface.index,
            queue: *queue,
            zero_copy: config.zero_copy,
            several_frames: packet_bytes(interface.mtu) > frame_bytes,
            busy_poll_us: config.busy_poll_us,
        };
        let (socket, mut obtained) = unbound.bind(binding).map_err(fail("bind an AF_XDP socket to"))?;
        if let Some(why) = ordinary.as_deref().filter(|_| config.huge) {
            obtained.notes.push(format!("memory is on ordinary pages: {why}"));
        }
        if let Some(why) = interface.copies() {
            obtained.notes.push(format!("packets are copied: {why}"));
        }
        // A copying socket's packets get their checksum from the kernel wherever the device has none; a driver need not know metadata.
        let checksums = metadata && !obtained.zero_copy;
        channel.set_abilities(checksums, obtained.several_frames);
        let report = XdpReport {
            interface: interface.name.clone(),
            queue: *queue,
            zero_copy: obtained.zero_copy,
            several_frames: obtained.several_frames,
            hugepages: ordinary.is_none(),
            checksums,
            frame_bytes,
            busy_poll: obtained.busy_poll,
            notes: obtained.notes,
        };
        Ok(XdpPort {
            interface: interface.clone(),
            report,
            channel,
            socket,
            held: Vec::with_capacity(XDP_BURST),
            stall: Stall::default(),
            full: false,
            foreign: 0,
            calls: 0,
        })
    }

    /// What was obtained.
    pub fn report(&self) -> &XdpReport {
        &self.report
    }

    /// The interface as it was when the socket was opened.
    pub fn interface(&self) -> &XdpInterface {
        &self.interface
    }

    /// Bytes that may wait to be received, as a socket counts them: with what a packet leaves free.
    pub(super) fn receive_buffer(&self) -> usize {
        XDP_RECEIVE_FRAMES as usize * self.channel.umem().frame_bytes()
    }

    /// Packets that were dropped here: too long, or not what the program lets through.
    pub(super) fn dropped(&self) -> (u64, u64) {
        (self.channel.too_long(), self.foreign)
    }

    /// Packets that the kernel dropped since there was no frame for them.
    pub(super) fn overflows(&self) -> u64 {
        statistics(self.socket.as_fd())
            .map_or(0, |s| s.rx_dropped + s.rx_ring_full + s.rx_fill_ring_empty_descs)
    }

    /// The interface may have changed.
    pub(super) fn look_again(&mut self) -> Result<(), IoError> {
        let now = XdpInterface::find(self.interface.index)?;
        self.interface = now;
        Ok(())
    }

    /// Packets with `payload` bytes that can be sent now.
    pub(super) fn room(&mut self, payload: usize) -> usize {
        self.channel.reclaim();
        self.channel.room(payload)
    }

    /// Whether a whole train can be sent now, however short its segments.
    pub(super) fn has_room(&mut self) -> bool {
        if self.channel.room(0) < 2 * TRAIN_SEGMENTS_MAX {
            self.channel.reclaim();
        }
        self.full = self.channel.room(0) < 2 * TRAIN_SEGMENTS_MAX;
        !self.full
    }

    /// Things that a flush is to be called for.
    pub(super) fn queued(&self) -> usize {
        self.channel.waiting() as usize + usize::from(self.full)
    }

    /// Whether a train can go by this socket.
    pub(super) fn takes(&mut self, head: &Head, hop: &Hop, transmit: &Transmit) -> bool {
        let segment = segment(transmit);
        let mtu = hop.mtu.unwrap_or(u32::MAX).min(self.interface.mtu) as usize;
        let count = transmit.len.div_ceil(segment);
        head.packet_bytes(segment) <= mtu
            && segment <= self.channel.payload_max(head)
            && self.channel.room(segment) >= count
    }

    /// Puts each datagram of a train that it takes in the send ring.
    pub(super) fn send(&mut self, head: &Head, train: &[u8], segment: usize, flushed: &mut Flushed) {
        for datagram in train.chunks(segment) {
            self.channel.send(head, datagram);
            flushed.datagrams += 1;
        }
        flushed.bytes += train.len();
    }

    /// Hands what is in the send ring to the kernel. Says whether the kernel takes no more now.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        self.channel.reclaim();
        let sent = self.channel.flush(&mut self.socket)?;
        self.calls += sent.calls;
        Ok(sent.would_block)
    }

    /// Why the socket is given up, if nothing came back for a second while frames are out.
    pub(super) fn stalled(&mut self, now_ns: u64) -> Option<String> {
        let came_back = self.channel.reclaim() > 0;
        let out = self.channel.outstanding();
        self.stall.look(now_ns, came_back, out).then(|| format!("{out} packets did not leave for a second"))
    }

    /// Takes the next burst. Returns its packets, those that are none of ours left out.
    pub(super) fn receive(&mut self, port: u16) -> io::Result<usize> {
        self.held.clear();
        let count = self.channel.receive(&mut self.socket)?;
        for index in 0..count {
            let Some(arrived) = parse(self.channel.received(index)).filter(|a| a.destination.port() == port)
            else {
                self.foreign += 1;
                continue;
            };
            let meta = Meta {
                source: arrived.source,
                destination: Some(arrived.destination.ip()),
                interface: self.interface.index,
                segment: arrived.payload.len(),
                ecn: arrived.ecn,
            };
            self.held.push((index, arrived.payload, meta));
        }
        Ok(self.held.len())
    }

    pub(super) fn received(&mut self, index: usize) -> (Meta, &mut [u8]) {
        let (packet, payload, meta) = self.held[index].clone();
        (meta, &mut self.channel.received(packet)[payload])
    }

    /// Headers of packets by `hop`.
    pub(super) fn head(&self, hop: &Hop, source_port: u16, transmit: &Transmit) -> Head {
        let destination: SocketAddr = transmit.destination;
        Head {
            source_mac: self.interface.mac,
            destination_mac: hop.mac,
            addresses: hop.addresses,
            source_port,
            destination_port: destination.port(),
            ecn: transmit.ecn,
        }
    }

    /// Why it is given up after a call failed.
    pub(super) fn failure(error: &io::Error) -> String {
        text(&error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl AsFd for XdpPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Bytes of each datagram of a train.
pub(super) fn segment(transmit: &Transmit) -> usize {
    if transmit.segment == 0 { transmit.len } else { transmit.segment }
}

/// Bytes of a packet of that MTU with all that goes before it.
fn packet_bytes(mtu: u32) -> usize {
    XDP_HEADROOM + ETHERNET_BYTES + mtu as usize
}

/// The smallest frame that a packet of that MTU fits in with all that goes before it; the largest where none does.
fn frame_bytes(mtu: u32) -> usize {
    let [small, large] = XDP_FRAME_BYTES;
    if packet_bytes(mtu) <= small { small } else { large }
}
