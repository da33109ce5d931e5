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
const PROTOCOL_UDP: u8 = 17;
const UDP_HEADER_BYTES: usize = 8;
/// Where UDP keeps its checksum, from its header.
const UDP_CHECKSUM_AT: usize = 6;

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

    /// The header of a UDP train whose transport header begins at `transport`.
    pub(crate) fn udp_train(transport: usize, gso_size: usize) -> [u8; VNET_BYTES] {
        let mut header = [0; VNET_BYTES];
        header[0] = FLAG_NEEDS_CSUM;
        header[1] = GSO_UDP_L4;
        for (at, value) in
            [(2, transport + UDP_HEADER_BYTES), (4, gso_size), (6, transport), (8, UDP_CHECKSUM_AT)]
        {
            header[at..at + 2].copy_from_slice(&(value as u16).to_ne_bytes());
        }
        header
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

/// Where the parts of a plain UDP datagram are: no IP options, no fragments, no extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) ip: Ip,
    /// Where the UDP header begins.
    pub(crate) transport: usize,
    /// Where the payload begins.
    pub(crate) payload: usize,
}

/// Finds the datagram of `frame`, if it is one that can ride in a train.
pub(crate) fn datagram(frame: &[u8]) -> Option<Datagram> {
    const AT: usize = ETHERNET_BYTES;
    let ip = ip(frame)?;
    let transport = match ip {
        Ip::V4 => {
            let fragment = get_u16(frame, AT + 6) & 0x3fff != 0;
            (frame[AT] == 0x45 && !fragment && frame[AT + 9] == PROTOCOL_UDP).then_some(AT + 20)?
        }
        Ip::V6 => (frame[AT + 6] == PROTOCOL_UDP).then_some(AT + 40)?,
    };
    let payload = transport + UDP_HEADER_BYTES;
    let whole =
        frame.len() > payload && usize::from(get_u16(frame, transport + 4)) == frame.len() - transport;
    whole.then_some(Datagram { ip, transport, payload })
}

impl Datagram {
    /// Whether `a` and `b`, both of this form, differ in nothing but length, IP identification and checksums.
    pub(crate) fn same_flow(&self, a: &[u8], b: &[u8]) -> bool {
        const AT: usize = ETHERNET_BYTES;
        let same = |from: usize, to: usize| a[from..to] == b[from..to];
        let network = match self.ip {
            Ip::V4 => same(AT, AT + 2) && same(AT + 6, AT + 10) && same(AT + 12, AT + 20),
            Ip::V6 => same(AT, AT + 4) && same(AT + 6, AT + 40),
        };
        same(0, AT) && network && same(self.transport, self.transport + 4)
    }
}
