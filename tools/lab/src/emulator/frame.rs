//! Ethernet frames and the offload header before them, as bytes.
//!
//! The header is `struct virtio_net_hdr` (virtio 1.2 section 5.1.6), ten bytes in native order, as a
//! TAP device with `IFF_VNET_HDR` reads and writes it.

use super::checksum::{fold, sum};
use crate::limits::ETHERNET_BYTES;

pub(crate) const VNET_BYTES: usize = 10;
const FLAG_NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// How a super-frame is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gso {
    None,
    Tcp,
    Udp,
}

/// The offload header of one super-frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vnet {
    pub(crate) gso: Gso,
    /// Payload bytes of each packet of a train.
    pub(crate) gso_size: usize,
    /// Where the transport header begins and where in it the checksum goes, if that is still to be done.
    pub(crate) checksum: Option<(usize, usize)>,
}

/// A super-frame that this emulator cannot carry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadFrame;

impl Vnet {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BadFrame> {
        let header: &[u8; VNET_BYTES] = bytes.first_chunk().ok_or(BadFrame)?;
        let word = |at: usize| usize::from(u16::from_ne_bytes([header[at], header[at + 1]]));
        let gso = match header[1] & !GSO_ECN {
            GSO_NONE => Gso::None,
            GSO_TCPV4 | GSO_TCPV6 => Gso::Tcp,
            GSO_UDP_L4 => Gso::Udp,
            _ => return Err(BadFrame),
        };
        let checksum = (header[0] & FLAG_NEEDS_CSUM != 0).then(|| (word(6), word(8)));
        Ok(Self { gso, gso_size: word(4), checksum })
    }

    /// The header of a single packet whose checksums are complete.
    pub(crate) const PLAIN: [u8; VNET_BYTES] = [0; VNET_BYTES];

    /// The header of a train whose first packet is `unit`, with this much payload in each packet.
    pub(crate) fn train(unit: &Unit, gso_size: usize) -> [u8; VNET_BYTES] {
        let mut header = [0; VNET_BYTES];
        header[0] = FLAG_NEEDS_CSUM;
        header[1] = match (unit.protocol, unit.ip) {
            (Protocol::Udp, _) => GSO_UDP_L4,
            (Protocol::Tcp, Ip::V4) => GSO_TCPV4,
            (Protocol::Tcp, Ip::V6) => GSO_TCPV6,
        };
        let words = [unit.payload, gso_size, unit.transport, unit.protocol.checksum_at()];
        for (at, value) in (2..).step_by(2).zip(words) {
            header[at..at + 2].copy_from_slice(&(value as u16).to_ne_bytes());
        }
        header
    }
}

/// The transports that ride in trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Udp,
    Tcp,
}

impl Protocol {
    /// Its number in IP headers.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Udp => 17,
            Self::Tcp => 6,
        }
    }

    /// Where it keeps its checksum, from its header.
    pub(crate) fn checksum_at(self) -> usize {
        match self {
            Self::Udp => 6,
            Self::Tcp => 16,
        }
    }
}

/// The network layer of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ip {
    V4,
    V6,
}

pub(crate) fn put_u16(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

pub(crate) fn get_u16(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// The network layer of `frame`, if its fixed header is there whole.
pub(crate) fn ip(frame: &[u8]) -> Option<Ip> {
    match (frame.get(12..14)?, frame.len()) {
        ([0x08, 0x00], 34..) => Some(Ip::V4),
        ([0x86, 0xdd], 54..) => Some(Ip::V6),
        _ => None,
    }
}

impl Ip {
    /// Sets the length of what follows the Ethernet header, `bytes`, and mends the header's checksum.
    pub(crate) fn set_length(self, frame: &mut [u8], bytes: usize) {
        const AT: usize = ETHERNET_BYTES;
        match self {
            Self::V6 => put_u16(frame, AT + 4, (bytes - 40) as u16),
            Self::V4 => {
                let header = usize::from(frame[AT] & 0xf) * 4;
                put_u16(frame, AT + 2, bytes as u16);
                put_u16(frame, AT + 10, 0);
                let checksum = !fold(sum(&frame[AT..AT + header]));
                put_u16(frame, AT + 10, checksum);
            }
        }
    }

    /// Sum of the pseudo-header for `protocol` and a transport of `bytes`, not yet folded.
    pub(crate) fn pseudo_sum(self, frame: &[u8], protocol: u8, bytes: usize) -> u64 {
        let addresses = match self {
            Self::V4 => &frame[ETHERNET_BYTES + 12..ETHERNET_BYTES + 20],
            Self::V6 => &frame[ETHERNET_BYTES + 8..ETHERNET_BYTES + 40],
        };
        sum(addresses) + u64::from(protocol) + bytes as u64
    }
}

/// Where the parts of a packet are that can ride in a train: UDP or TCP with payload, no IP options, no
/// fragment, no extension header, and in TCP no flag but ACK and PSH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) ip: Ip,
    pub(crate) protocol: Protocol,
    /// Where the transport header begins.
    pub(crate) transport: usize,
    /// Where the payload begins.
    pub(crate) payload: usize,
}

/// Where TCP keeps its flags, from its header.
pub(crate) const TCP_FLAGS_AT: usize = 13;
const TCP_ACK: u8 = 0x10;
pub(crate) const TCP_PSH: u8 = 0x08;

/// The parts of `frame`, if it can ride in a train.
pub(crate) fn unit(frame: &[u8]) -> Option<Unit> {
    const AT: usize = ETHERNET_BYTES;
    let ip = ip(frame)?;
    let (number, transport, end) = match ip {
        Ip::V4 => {
            let whole = frame[AT] == 0x45 && get_u16(frame, AT + 6) & 0x3fff == 0;
            (frame[AT + 9], whole.then_some(AT + 20)?, AT + usize::from(get_u16(frame, AT + 2)))
        }
        Ip::V6 => (frame[AT + 6], AT + 40, AT + 40 + usize::from(get_u16(frame, AT + 4))),
    };
    let (protocol, payload) = match number {
        17 => (Protocol::Udp, transport + 8),
        6 if frame.len() > transport + 20 && frame[transport + TCP_FLAGS_AT] & !TCP_PSH == TCP_ACK => {
            (Protocol::Tcp, transport + usize::from(frame[transport + 12] >> 4) * 4)
        }
        _ => return None,
    };
    let least = if protocol == Protocol::Udp { 8 } else { 20 };
    let fits = frame.len() == end && frame.len() > payload && payload >= transport + least;
    let whole = || protocol == Protocol::Tcp || transport + usize::from(get_u16(frame, transport + 4)) == end;
    (fits && whole()).then_some(Unit { ip, protocol, transport, payload })
}

impl Unit {
    /// Whether `next`, of this form too, goes on where a train ends whose first packet is `first` and which
    /// has `bytes` of payload: nothing differs but lengths, IP identification, checksums and PSH.
    pub(crate) fn continues(&self, first: &[u8], bytes: usize, next: &[u8]) -> bool {
        const AT: usize = ETHERNET_BYTES;
        let same = |from: usize, to: usize| first[from..to] == next[from..to];
        let network = match self.ip {
            Ip::V4 => same(AT, AT + 2) && same(AT + 6, AT + 10) && same(AT + 12, AT + 20),
            Ip::V6 => same(AT, AT + 4) && same(AT + 6, AT + 40),
        };
        same(0, AT) && network && same(self.transport, self.transport + 4) && {
            let at = self.transport;
            let acknowledged = || same(at + 8, at + TCP_FLAGS_AT) && same(at + 14, at + 16);
            let options = || same(at + 18, self.payload);
            self.protocol == Protocol::Udp
                || sequence(next, at) == sequence(first, at).wrapping_add(bytes as u32)
                    && acknowledged()
                    && options()
        }
    }

    /// Whether `frame`, of this form, asks to be handed on at once: it can only be the last of a train.
    pub(crate) fn is_pushed(&self, frame: &[u8]) -> bool {
        self.protocol == Protocol::Tcp && frame[self.transport + TCP_FLAGS_AT] & TCP_PSH != 0
    }
}

/// Sequence number of the TCP header at `transport`.
pub(crate) fn sequence(frame: &[u8], transport: usize) -> u32 {
    let at = transport + 4;
    u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
}
