//! Control messages of a datagram (`cmsghdr`, cmsg(3)), built and read as bytes.

use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address;
use super::pending::Completion;
use crate::limits::CONTROL_BYTES;
use crate::queue::Ecn;

const HEADER_BYTES: usize = align(size_of::<libc::cmsghdr>());

/// linux/errqueue.h.
const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;
const SO_EE_CODE_ZEROCOPY_COPIED: u8 = 1;

const fn align(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

/// Aligned room for the control messages of one datagram.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control {
    pub(super) bytes: [u8; CONTROL_BYTES],
}

const _: () = assert!(align_of::<Control>() >= align_of::<libc::cmsghdr>());

impl Control {
    pub(super) const EMPTY: Control = Control { bytes: [0; CONTROL_BYTES] };

    /// Appends one message at `at`; returns where the next one goes. The room is enough for all that are written here.
    fn push(&mut self, at: usize, level: i32, kind: i32, data: &[u8]) -> usize {
        let len = HEADER_BYTES + data.len();
        let message = &mut self.bytes[at..at + align(len)];
        message.fill(0);
        put(message, offset_of!(libc::cmsghdr, cmsg_len), &len.to_ne_bytes());
        put(message, offset_of!(libc::cmsghdr, cmsg_level), &level.to_ne_bytes());
        put(message, offset_of!(libc::cmsghdr, cmsg_type), &kind.to_ne_bytes());
        put(message, HEADER_BYTES, data);
        at + align(len)
    }

    /// Writes what a datagram is to be sent with. Returns the length, 0 when nothing is needed.
    pub(super) fn write(&mut self, outgoing: &Outgoing) -> usize {
        let mut at = 0;
        if outgoing.segment > 0 {
            at = self.push(at, libc::SOL_UDP, libc::UDP_SEGMENT, &outgoing.segment.to_ne_bytes());
        }
        if outgoing.source.is_some() || outgoing.interface > 0 {
            at = self.push_source(at, outgoing);
        }
        if let Some(ecn) = outgoing.ecn {
            let byte = i32::from(ecn.bits()).to_ne_bytes();
            at = match outgoing.to_v4 {
                true => self.push(at, libc::IPPROTO_IP, libc::IP_TOS, &byte),
                false => self.push(at, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &byte),
            };
        }
        at
    }

    /// Source address and interface: `in_pktinfo` of ip(7), `in6_pktinfo` of RFC 3542 section 6.2.
    fn push_source(&mut self, at: usize, outgoing: &Outgoing) -> usize {
        if outgoing.to_v4 {
            let source = outgoing.source.and_then(address::as_v4).unwrap_or(Ipv4Addr::UNSPECIFIED);
            let mut data = [0; size_of::<libc::in_pktinfo>()];
            put(&mut data, offset_of!(libc::in_pktinfo, ipi_ifindex), &outgoing.interface.to_ne_bytes());
            put(&mut data, offset_of!(libc::in_pktinfo, ipi_spec_dst), &source.octets());
            return self.push(at, libc::IPPROTO_IP, libc::IP_PKTINFO, &data);
        }
        let source = match outgoing.source {
            Some(IpAddr::V6(v6)) => v6,
            _ => Ipv6Addr::UNSPECIFIED,
        };
        let mut data = [0; size_of::<libc::in6_pktinfo>()];
        put(&mut data, offset_of!(libc::in6_pktinfo, ipi6_addr), &source.octets());
        put(&mut data, offset_of!(libc::in6_pktinfo, ipi6_ifindex), &outgoing.interface.to_ne_bytes());
        self.push(at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data)
    }

    /// Reads what the kernel said of a received datagram; unknown and malformed messages are passed over.
    pub(super) fn read(&self, len: usize) -> Incoming {
        let mut incoming = Incoming::default();
        self.each(len, |level, kind, data| incoming.note(level, kind, data));
        incoming
    }

    /// Reads a word of the error queue, if it is of messages sent without copying: `sock_extended_err` of ip(7).
    pub(super) fn completion(&self, len: usize) -> Option<Completion> {
        let mut completion = None;
        self.each(len, |level, kind, data| {
            let is_word = matches!(
                (level, kind),
                (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
            );
            if is_word && data.len() >= size_of::<libc::sock_extended_err>() {
                completion = completion.or(read_completion(data));
            }
        });
        completion
    }

    /// Visits the messages in the first `len` bytes up to the first that is malformed.
    fn each(&self, len: usize, mut visit: impl FnMut(i32, i32, &[u8])) {
        let mut rest = &self.bytes[..len.min(CONTROL_BYTES)];
        while rest.len() >= HEADER_BYTES {
            let message_len = usize::from_ne_bytes(take(rest, offset_of!(libc::cmsghdr, cmsg_len)));
            if message_len < HEADER_BYTES || message_len > rest.len() {
                break;
            }
            let level = i32::from_ne_bytes(take(rest, offset_of!(libc::cmsghdr, cmsg_level)));
            let kind = i32::from_ne_bytes(take(rest, offset_of!(libc::cmsghdr, cmsg_type)));
            visit(level, kind, &rest[HEADER_BYTES..message_len]);
            rest = &rest[align(message_len).min(rest.len())..];
        }
    }
}

/// A range of messages that the kernel is done with (`SO_EE_ORIGIN_ZEROCOPY`), errno 0.
fn read_completion(data: &[u8]) -> Option<Completion> {
    let field = |at| u32::from_ne_bytes(take(data, at));
    let errno = field(offset_of!(libc::sock_extended_err, ee_errno));
    let origin = data[offset_of!(libc::sock_extended_err, ee_origin)];
    if errno != 0 || origin != SO_EE_ORIGIN_ZEROCOPY {
        return None;
    }
    let code = data[offset_of!(libc::sock_extended_err, ee_code)];
    Some(Completion {
        first: field(offset_of!(libc::sock_extended_err, ee_info)),
        last: field(offset_of!(libc::sock_extended_err, ee_data)),
        copied: code & SO_EE_CODE_ZEROCOPY_COPIED != 0,
    })
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    to[at..at + bytes.len()].copy_from_slice(bytes);
}

fn take<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&from[at..at + N]);
    out
}

/// What a datagram is to be sent with.
#[derive(Clone, Copy)]
pub(super) struct Outgoing {
    /// Bytes of each segment, 0 for a single datagram.
    pub(super) segment: u16,
    pub(super) source: Option<IpAddr>,
    /// Interface index, 0 for the routing's choice.
    pub(super) interface: u32,
    pub(super) ecn: Option<Ecn>,
    /// The packet will be IPv4, on whatever socket.
    pub(super) to_v4: bool,
}

/// What the kernel said of a received datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Incoming {
    /// Bytes of each segment, 0 for a single datagram.
    pub(super) segment: usize,
    pub(super) destination: Option<IpAddr>,
    pub(super) interface: u32,
    pub(super) ecn: Option<Ecn>,
    /// Datagrams dropped by this socket so far, modulo 2^32.
    pub(super) overflows: Option<u32>,
}

impl Incoming {
    fn note(&mut self, level: i32, kind: i32, data: &[u8]) {
        match (level, kind) {
            (libc::SOL_UDP, libc::UDP_GRO) if data.len() >= 4 => {
                self.segment = usize::try_from(i32::from_ne_bytes(take(data, 0))).unwrap_or(0);
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) if data.len() >= size_of::<libc::in_pktinfo>() => {
                let ip = Ipv4Addr::from(take::<4>(data, offset_of!(libc::in_pktinfo, ipi_addr)));
                self.destination = Some(ip.into());
                self.interface = u32::from_ne_bytes(take(data, offset_of!(libc::in_pktinfo, ipi_ifindex)));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if data.len() >= size_of::<libc::in6_pktinfo>() => {
                let ip = Ipv6Addr::from(take::<16>(data, offset_of!(libc::in6_pktinfo, ipi6_addr)));
                self.destination = Some(address::unmapped(ip));
                self.interface = u32::from_ne_bytes(take(data, offset_of!(libc::in6_pktinfo, ipi6_ifindex)));
            }
            (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
                if !data.is_empty() =>
            {
                self.ecn = Ecn::from_bits(low_byte(data));
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) if data.len() >= 4 => {
                self.overflows = Some(u32::from_ne_bytes(take(data, 0)));
            }
            _ => {}
        }
    }
}

/// The value of a TOS (one byte) or traffic class (an int) message.
fn low_byte(data: &[u8]) -> u8 {
    if data.len() >= 4 { (u32::from_ne_bytes(take(data, 0)) & 0xff) as u8 } else { data[0] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Outgoing = Outgoing { segment: 0, source: None, interface: 0, ecn: None, to_v4: true };

    #[test]
    fn nothing_asked_is_no_message() {
        assert_eq!({ Control::EMPTY }.write(&PLAIN), 0);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut control = Control::EMPTY;
        let v6: IpAddr = "fd77::2".parse().unwrap();
        let len = control.write(&Outgoing {
            segment: 1_400,
            source: Some(v6),
            interface: 7,
            ecn: Some(Ecn::Ect0),
            to_v4: false,
        });
        assert!(len <= CONTROL_BYTES);
        let read = control.read(len);
        assert_eq!((read.destination, read.interface, read.ecn), (Some(v6), 7, Some(Ecn::Ect0)));
    }

    #[test]
    fn a_segment_size_is_read_from_an_int() {
        let mut control = Control::EMPTY;
        let len = control.push(0, libc::SOL_UDP, libc::UDP_GRO, &1_400i32.to_ne_bytes());
        assert_eq!(control.read(len).segment, 1_400);
    }

    #[test]
    fn torn_messages_are_passed_over() {
        let mut control = Control::EMPTY;
        let len = control.push(0, libc::SOL_UDP, libc::UDP_GRO, &1_400i32.to_ne_bytes());
        for cut in 0..HEADER_BYTES + 4 {
            assert_eq!(control.read(cut), Incoming::default(), "{cut}");
        }
        control.bytes[..8].copy_from_slice(&usize::MAX.to_ne_bytes());
        assert_eq!(control.read(len), Incoming::default());
    }

    /// Words of the error queue as Linux 6.18 writes them on x86-64: header, `sock_extended_err`, address of nobody.
    const WORD_V4: [u8; 48] = [
        48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, // cmsg_len, IPPROTO_IP, IP_RECVERR
        0, 0, 0, 0, 5, 0, 1, 0, 0, 0, 0, 0, 17, 0, 0, 0, // no error, origin zero-copy, copied, 0 to 17
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    const WORD_V6: [u8; 60] = [
        60, 0, 0, 0, 0, 0, 0, 0, 41, 0, 0, 0, 25, 0, 0, 0, // cmsg_len, IPPROTO_IPV6, IPV6_RECVERR
        0, 0, 0, 0, 5, 0, 0, 0, 254, 255, 255, 255, 1, 0, 0, 0, // not copied, 2^32 - 2 to 1
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];

    fn word(bytes: &[u8]) -> Control {
        let mut control = Control::EMPTY;
        control.bytes[..bytes.len()].copy_from_slice(bytes);
        control
    }

    #[test]
    #[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
    fn words_of_the_error_queue_are_read() {
        let copied = Completion { first: 0, last: 17, copied: true };
        assert_eq!(word(&WORD_V4).completion(WORD_V4.len()), Some(copied));
        let sent = Completion { first: u32::MAX - 1, last: 1, copied: false };
        assert_eq!(word(&WORD_V6).completion(WORD_V6.len()), Some(sent));
        for cut in 0..HEADER_BYTES + size_of::<libc::sock_extended_err>() {
            assert_eq!(word(&WORD_V4).completion(cut), None, "{cut}");
        }
    }

    #[test]
    #[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
    fn words_about_other_things_are_none() {
        for (at, value) in [(12, 10), (16, 111), (20, 2)] {
            let mut other = word(&WORD_V4);
            other.bytes[at] = value;
            assert_eq!(other.completion(WORD_V4.len()), None, "byte {at}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, CONTROL_BYTES),
            len in 0..CONTROL_BYTES + 2,
            first_len in 0..CONTROL_BYTES,
        ) {
            let mut control = Control::EMPTY;
            control.bytes.copy_from_slice(&bytes);
            control.bytes[..8].copy_from_slice(&first_len.to_ne_bytes());
            control.read(len);
            control.completion(len);
        }
    }
}
