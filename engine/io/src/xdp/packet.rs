//! Ethernet, IP and UDP headers of our packets, written and read as bytes (RFC 894, RFC 791, RFC 8200, RFC 768).
//!
//! Only what the engine sends and what the XDP program lets through: IPv4 without options and unfragmented, IPv6 without
//! extension headers, UDP. What is received is not checked against its UDP checksum: a packet from this host carries none that is
//! finished, and each is authenticated further up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use crate::queue::Ecn;

pub(super) const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const UDP_BYTES: usize = 8;
/// Longest run of headers.
pub(crate) const HEADERS_MAX: usize = ETHERNET_BYTES + IPV6_BYTES + UDP_BYTES;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const PROTOCOL_UDP: u8 = 17;
const HOPS: u8 = 64;
/// Where the checksum stands in a UDP header.
pub(crate) const CHECKSUM_OFFSET: usize = 6;

/// Address of an Ethernet interface.
pub(crate) type Mac = [u8; 6];

/// The two addresses of a packet, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    V4 { source: Ipv4Addr, destination: Ipv4Addr },
    V6 { source: Ipv6Addr, destination: Ipv6Addr },
}

impl Addresses {
    /// `None` when the families differ.
    pub(crate) fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Addresses::V4 { source, destination }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Addresses::V6 { source, destination }),
            _ => None,
        }
    }

    /// Bytes of Ethernet and IP headers.
    fn udp_start(&self) -> usize {
        match self {
            Addresses::V4 { .. } => ETHERNET_BYTES + IPV4_BYTES,
            Addresses::V6 { .. } => ETHERNET_BYTES + IPV6_BYTES,
        }
    }

    /// The part of the UDP checksum that is not in the datagram (RFC 768; RFC 8200 section 8.1), unfolded.
    fn pseudo_header(&self, udp_len: usize) -> u64 {
        let addresses = match self {
            Addresses::V4 { source, destination } => sum(&source.octets()) + sum(&destination.octets()),
            Addresses::V6 { source, destination } => sum(&source.octets()) + sum(&destination.octets()),
        };
        addresses + (udp_len as u64) + u64::from(PROTOCOL_UDP)
    }
}

/// What all packets of a train have before their payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) source_mac: Mac,
    pub(crate) destination_mac: Mac,
    pub(crate) addresses: Addresses,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) ecn: Option<Ecn>,
}

impl Head {
    /// Bytes of all headers.
    pub(crate) fn len(&self) -> usize {
        self.udp_start() + UDP_BYTES
    }

    /// Where the UDP header begins.
    pub(crate) fn udp_start(&self) -> usize {
        self.addresses.udp_start()
    }

    /// Bytes of the IP packet with a payload of `payload` bytes: what an MTU limits.
    pub(crate) fn packet_bytes(&self, payload: usize) -> usize {
        self.len() - ETHERNET_BYTES + payload
    }

    /// Writes the headers of a payload of `len` bytes to the front of `to`. The UDP checksum is that of the pseudo-header alone, not
    /// complemented: what the kernel or a device goes on from.
    pub(crate) fn write(&self, to: &mut [u8], len: usize) {
        let udp_len = UDP_BYTES + len;
        to[..6].copy_from_slice(&self.destination_mac);
        to[6..12].copy_from_slice(&self.source_mac);
        let mark = self.ecn.map_or(0, Ecn::bits);
        let start = self.udp_start();
        let (ethernet, rest) = to.split_at_mut(ETHERNET_BYTES);
        let (ip, udp) = rest.split_at_mut(start - ETHERNET_BYTES);
        match &self.addresses {
            Addresses::V4 { source, destination } => {
                ethernet[12..].copy_from_slice(&ETHERTYPE_IPV4);
                ip.fill(0);
                // Version 4, five words.
                ip[..2].copy_from_slice(&[0x45, mark]);
                // No identification, do not fragment.
                ip[6..10].copy_from_slice(&[0x40, 0, HOPS, PROTOCOL_UDP]);
                ip[2..4].copy_from_slice(&((IPV4_BYTES + udp_len) as u16).to_be_bytes());
                ip[12..16].copy_from_slice(&source.octets());
                ip[16..20].copy_from_slice(&destination.octets());
                let checksum = !fold(sum(ip));
                ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            Addresses::V6 { source, destination } => {
                ethernet[12..].copy_from_slice(&ETHERTYPE_IPV6);
                ip[..8].copy_from_slice(&[0x60, mark << 4, 0, 0, 0, 0, PROTOCOL_UDP, HOPS]);
                ip[4..6].copy_from_slice(&(udp_len as u16).to_be_bytes());
                ip[8..24].copy_from_slice(&source.octets());
                ip[24..40].copy_from_slice(&destination.octets());
            }
        }
        udp[..2].copy_from_slice(&self.source_port.to_be_bytes());
        udp[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        udp[4..6].copy_from_slice(&(udp_len as u16).to_be_bytes());
        udp[6..8].copy_from_slice(&fold(self.addresses.pseudo_header(udp_len)).to_be_bytes());
    }

    /// Finishes the checksum of headers that [`Self::write`] wrote, before `payload`.
    pub(crate) fn finish_checksum(&self, headers: &mut [u8], payload: &[u8]) {
        let start = self.udp_start();
        let total = sum(&headers[start..start + UDP_BYTES]) + sum(payload);
        // Zero would say that there is none.
        let checksum = match !fold(total) {
            0 => 0xffff,
            checksum => checksum,
        };
        headers[start + CHECKSUM_OFFSET..start + UDP_BYTES].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Sum of big-endian 16-bit words, the last padded with a zero (RFC 1071); cannot overflow below 2^40 bytes.
fn sum(bytes: &[u8]) -> u64 {
    // The sum of words in the machine's order, bytes swapped at the end, is the same (RFC 1071 section 2 B).
    let (mut total, mut carries) = (0u64, 0u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let (next, carry) = total.overflowing_add(u64::from_ne_bytes(*word));
        total = next;
        carries += u64::from(carry);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let (next, carry) = total.overflowing_add(u64::from_ne_bytes(last));
    u64::from(u16::from_be_bytes(fold_wide(next, carries + u64::from(carry)).to_ne_bytes()))
}

fn fold_wide(total: u64, carries: u64) -> u16 {
    let halves = (total >> 32) + (total & 0xffff_ffff) + carries;
    fold(halves)
}

/// Adds the carries until 16 bits are left.
fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    total as u16
}

/// What the headers of a received packet say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) ecn: Option<Ecn>,
    /// Where the payload lies.
    pub(crate) payload: Range<usize>,
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Reads a packet; `None` for anything that is not one of ours in form.
pub(crate) fn parse(packet: &[u8]) -> Option<Arrived> {
    let kind: [u8; 2] = take(packet, 12)?;
    let (source, destination, mark, udp_start, udp_end) = match kind {
        ETHERTYPE_IPV4 => parse_v4(packet)?,
        ETHERTYPE_IPV6 => parse_v6(packet)?,
        _ => return None,
    };
    let port = |at| take(packet, at).map(u16::from_be_bytes);
    let udp_len = usize::from(port(udp_start + 4)?);
    let end = udp_start + udp_len;
    if udp_len < UDP_BYTES || end > udp_end || end > packet.len() {
        return None;
    }
    Some(Arrived {
        source: SocketAddr::new(source, port(udp_start)?),
        destination: SocketAddr::new(destination, port(udp_start + 2)?),
        ecn: Ecn::from_bits(mark),
        payload: udp_start + UDP_BYTES..end,
    })
}

/// Addresses, mark, where UDP begins and where the IP packet ends.
type Ip = (IpAddr, IpAddr, u8, usize, usize);

fn parse_v4(packet: &[u8]) -> Option<Ip> {
    let ip: [u8; IPV4_BYTES] = take(packet, ETHERNET_BYTES)?;
    let is_fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff != 0;
    if ip[0] != 0x45 || ip[9] != PROTOCOL_UDP || is_fragment {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let address = |at| take::<4>(&ip, at).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    Some((address(12)?, address(16)?, ip[1], ETHERNET_BYTES + IPV4_BYTES, ETHERNET_BYTES + len))
}

fn parse_v6(packet: &[u8]) -> Option<Ip> {
    let ip: [u8; IPV6_BYTES] = take(packet, ETHERNET_BYTES)?;
    if ip[0] >> 4 != 6 || ip[6] != PROTOCOL_UDP {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    let address = |at| take::<16>(&ip, at).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
    let start = ETHERNET_BYTES + IPV6_BYTES;
    Some((address(8)?, address(24)?, ip[1] >> 4, start, start + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(v6: bool) -> Head {
        let (source, destination): (IpAddr, IpAddr) = match v6 {
            false => ("10.77.1.1".parse().unwrap(), "10.77.1.2".parse().unwrap()),
            true => ("fd77:1::1".parse().unwrap(), "fd77:1::2".parse().unwrap()),
        };
        Head {
            source_mac: [2, 0, 0, 0, 0, 1],
            destination_mac: [2, 0, 0, 0, 0, 2],
            addresses: Addresses::new(source, destination).unwrap(),
            source_port: 7_700,
            destination_port: 40_001,
            ecn: Some(Ecn::Ect0),
        }
    }

    fn packet(head: &Head, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; head.len()];
        head.write(&mut bytes, payload.len());
        head.finish_checksum(&mut bytes, payload);
        bytes.extend(payload);
        bytes
    }

    /// The slow way: 16-bit words, one by one.
    fn plain_sum(bytes: &[u8]) -> u16 {
        let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        fold(bytes.chunks(2).map(word).sum())
    }

    #[test]
    fn what_is_written_can_be_read() {
        for v6 in [false, true] {
            for len in [0, 1, 2, 7, 8, 9, 1_399, 1_400] {
                let (head, payload) = (head(v6), vec![0xa5; len]);
                let mut bytes = packet(&head, &payload);
                // Short packets are padded by Ethernet.
                bytes.resize(bytes.len().max(60), 0xee);
                let read = parse(&bytes).unwrap();
                assert_eq!((read.source.port(), read.destination.port()), (7_700, 40_001));
                assert_eq!(read.source.ip().is_ipv6(), v6);
                assert_eq!((read.ecn, &bytes[read.payload]), (Some(Ecn::Ect0), &payload[..]));
            }
        }
    }

    #[test]
    fn checksums_are_those_of_the_standard() {
        for v6 in [false, true] {
            for len in [0, 1, 2, 15, 16, 1_400] {
                let head = head(v6);
                let payload: Vec<u8> = (0..len).map(|n| (n * 7 + 3) as u8).collect();
                let bytes = packet(&head, &payload);
                let udp = &bytes[head.udp_start()..];
                let whole = fold(head.addresses.pseudo_header(udp.len()) + u64::from(plain_sum(udp)));
                assert_eq!(whole, 0xffff, "{v6} {len}");
                if !v6 {
                    assert_eq!(plain_sum(&bytes[14..34]), 0xffff);
                }
            }
        }
    }

    /// A packet as Linux sends it: UDP 10.77.1.1:1000 to 10.77.1.2:2000, "xfer".
    #[test]
    fn a_checksum_that_another_computed() {
        let mut head = head(false);
        (head.source_port, head.destination_port) = (1_000, 2_000);
        let bytes = packet(&head, b"xfer");
        // Pseudo-header 0a4d+0101+0a4d+0102+0011+000c, header 03e8+07d0+000c, payload 7866+6572: 1009f once folded, a0.
        let by_hand = [0x0a4du64, 0x0101, 0x0a4d, 0x0102, 0x11, 0x0c, 0x3e8, 0x7d0, 0x0c, 0x7866, 0x6572];
        let expected = !fold(by_hand.iter().sum());
        assert_eq!(bytes[40..42], expected.to_be_bytes());
    }

    #[test]
    fn sums_agree_at_every_length_and_offset() {
        let bytes: Vec<u8> = (0..200u32).map(|n| (n * 131 + 250) as u8).collect();
        for len in 0..bytes.len() {
            assert_eq!(fold(sum(&bytes[..len])), plain_sum(&bytes[..len]), "{len}");
        }
        assert_eq!(fold(sum(&[0xff; 64])), 0xffff);
    }

    #[test]
    fn torn_and_foreign_packets_are_none() {
        for v6 in [false, true] {
            let whole = packet(&head(v6), &[1; 40]);
            for cut in 0..whole.len() {
                assert_eq!(parse(&whole[..cut]), None, "{cut}");
            }
            let changed = |at: usize, value: u8| {
                let mut bytes = whole.clone();
                bytes[at] = value;
                parse(&bytes)
            };
            let next = if v6 { 20 } else { 23 };
            assert_eq!(changed(next, 6), None);
            assert_eq!(changed(12, 0x81), None);
            assert_eq!(changed(14, 0x46), None);
        }
        let v4 = packet(&head(false), &[1; 40]);
        for fragment in [[0x20, 0], [0, 1]] {
            let mut bytes = v4.clone();
            bytes[20..22].copy_from_slice(&fragment);
            assert_eq!(parse(&bytes), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            kind in 0..3usize,
        ) {
            let mut bytes = bytes;
            if let Some(place) = bytes.get_mut(12..14) {
                place.copy_from_slice(&[ETHERTYPE_IPV4, ETHERTYPE_IPV6, [0, 0]][kind]);
            }
            if let Some(read) = parse(&bytes) {
                assert!(read.payload.end <= bytes.len());
            }
        }
    }
}
