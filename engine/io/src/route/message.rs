//! Netlink messages, built and read as bytes: links, addresses, routes (rtnetlink(7)). Anything torn or unknown is
//! passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Hardware, InterfaceCounters, Neighbour, Way};

/// Bytes of `nlmsghdr`, `ifinfomsg`, `ifaddrmsg`, `rtmsg` and of an attribute's head.
pub(super) const HEADER_BYTES: usize = 16;
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;
const ROUTE_BYTES: usize = 12;
const NEIGHBOUR_BYTES: usize = 12;
const ATTRIBUTE_BYTES: usize = 4;
/// `linux/neighbour.h`: attributes, and states in which the hardware address is known.
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const USABLE: u16 = libc::NUD_REACHABLE
    | libc::NUD_NOARP
    | libc::NUD_PERMANENT
    | libc::NUD_STALE
    | libc::NUD_DELAY
    | libc::NUD_PROBE;

const IFF_LOWER_UP: u32 = 1 << 16;
/// `linux/rtnetlink.h`: the metric that is a route's own MTU.
const RTAX_MTU: u16 = 2;
/// `IFA_F_TENTATIVE` and `IFA_F_DADFAILED`.
const UNUSABLE: u32 = 0x40 | 0x08;

/// A netlink message without its header.
pub(super) struct Message {
    pub(super) kind: u16,
    pub(super) body: Vec<u8>,
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    take(bytes, at).map(u32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    take(bytes, at).map(u16::from_ne_bytes)
}

/// Splits a datagram into its messages.
pub(super) fn split(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let (Some(len), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let len = len as usize;
        let Some(body) = bytes.get(HEADER_BYTES..len) else { break };
        messages.push(Message { kind, body: body.to_vec() });
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    messages
}

/// Attributes as (type, value).
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (len, kind) = (usize::from(u16_at(bytes, 0)?), u16_at(bytes, 2)?);
        let value = bytes.get(ATTRIBUTE_BYTES..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind & !(libc::NLA_F_NESTED as u16), value))
    })
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => take::<4>(value, 0).map(|bytes| Ipv4Addr::from(bytes).into()),
        16 => take::<16>(value, 0).map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// An `RTM_NEWLINK` message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LinkRecord {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mtu: u32,
    pub(super) up: bool,
    pub(super) carrier: bool,
    pub(super) loopback: bool,
    pub(super) counters: InterfaceCounters,
}

impl LinkRecord {
    pub(super) fn parse(message: &Message) -> Option<Self> {
        // Bridges report their ports under a family of their own.
        let family = i32::from(*message.body.first()?);
        if message.kind != libc::RTM_NEWLINK || family != libc::AF_UNSPEC {
            return None;
        }
        let flags = u32_at(&message.body, 8)?;
        let mut record = LinkRecord {
            index: u32_at(&message.body, 4)?,
            name: String::new(),
            mtu: 0,
            up: flags & libc::IFF_UP as u32 != 0,
            carrier: flags & IFF_LOWER_UP != 0,
            loopback: flags & libc::IFF_LOOPBACK as u32 != 0,
            counters: InterfaceCounters::default(),
        };
        for (kind, value) in attributes(message.body.get(LINK_BYTES..)?) {
            match kind {
                libc::IFLA_IFNAME => record.name = text(value),
                libc::IFLA_MTU => record.mtu = u32_at(value, 0)?,
                libc::IFLA_STATS64 => record.counters = counters(value)?,
                _ => {}
            }
        }
        Some(record)
    }
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// `rtnl_link_stats64`: packets, bytes, errors and drops, each received then sent.
fn counters(value: &[u8]) -> Option<InterfaceCounters> {
    let field = |nth: usize| take(value, nth * 8).map(u64::from_ne_bytes);
    Some(InterfaceCounters {
        receive_packets: field(0)?,
        send_packets: field(1)?,
        receive_bytes: field(2)?,
        send_bytes: field(3)?,
        receive_dropped: field(6)?,
        send_dropped: field(7)?,
    })
}

/// An `RTM_NEWADDR` or `RTM_DELADDR` message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AddressRecord {
    pub(super) index: u32,
    pub(super) ip: IpAddr,
    /// Not usable yet, or found to be a duplicate.
    pub(super) tentative: bool,
}

impl AddressRecord {
    pub(super) fn parse(message: &Message) -> Option<Self> {
        if message.kind != libc::RTM_NEWADDR && message.kind != libc::RTM_DELADDR {
            return None;
        }
        let mut flags = u32::from(*message.body.get(2)?);
        let index = u32_at(&message.body, 4)?;
        let (mut local, mut address) = (None, None);
        for (kind, value) in attributes(message.body.get(ADDRESS_BYTES..)?) {
            match kind {
                libc::IFA_LOCAL => local = ip(value),
                libc::IFA_ADDRESS => address = ip(value),
                libc::IFA_FLAGS => flags = u32_at(value, 0)?,
                _ => {}
            }
        }
        // On a point-to-point wire IFA_ADDRESS is the other end and IFA_LOCAL ours.
        Some(AddressRecord { index, ip: local.or(address)?, tentative: flags & UNUSABLE != 0 })
    }
}

/// A message with its header; the sequence number and the flags are those of every request made here.
pub(super) fn request(kind: u16, flags: i32, body: &[u8]) -> Vec<u8> {
    let len = HEADER_BYTES + body.len();
    let mut bytes = Vec::with_capacity(len);
    bytes.extend((len as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// `RTM_GETROUTE` for one destination.
pub(super) fn route_request(local: Option<IpAddr>, remote: IpAddr) -> Vec<u8> {
    let (family, bits) = if remote.is_ipv4() { (libc::AF_INET, 32) } else { (libc::AF_INET6, 128) };
    let source_bits = if local.is_some() { bits } else { 0 };
    let mut body = vec![0; ROUTE_BYTES];
    body[..3].copy_from_slice(&[family as u8, bits, source_bits]);
    push_address(&mut body, libc::RTA_DST, remote);
    if let Some(local) = local {
        push_address(&mut body, libc::RTA_SRC, local);
    }
    request(libc::RTM_GETROUTE, 0, &body)
}

fn push_address(body: &mut Vec<u8>, kind: u16, ip: IpAddr) {
    let value = match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    body.extend(((ATTRIBUTE_BYTES + value.len()) as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}

/// `RTM_GETNEIGH` for one address on one interface.
pub(super) fn neighbour_request(interface: u32, ip: IpAddr) -> Vec<u8> {
    let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut body = vec![0; NEIGHBOUR_BYTES];
    body[0] = family as u8;
    body[4..8].copy_from_slice(&interface.to_ne_bytes());
    push_address(&mut body, NDA_DST, ip);
    request(libc::RTM_GETNEIGH, 0, &body)
}

/// Reads the answer to [`neighbour_request`]; `None` for one whose hardware address is not known.
pub(super) fn parse_neighbour(message: &Message) -> Option<Neighbour> {
    let body = &message.body;
    let state = u16_at(body, 8)?;
    if message.kind != libc::RTM_NEWNEIGH || state & USABLE == 0 {
        return None;
    }
    let found = attributes(body.get(NEIGHBOUR_BYTES..)?).find(|(kind, _)| *kind == NDA_LLADDR)?;
    Some(Neighbour {
        mac: take(found.1, 0).filter(|_| found.1.len() == 6)?,
        stale: state & libc::NUD_STALE != 0,
    })
}

/// `RTM_GETLINK` for one interface.
pub(super) fn link_request(index: u32) -> Vec<u8> {
    let mut body = vec![0; LINK_BYTES];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    request(libc::RTM_GETLINK, 0, &body)
}

/// What an `RTM_NEWLINK` message tells of an Ethernet interface.
pub(super) fn parse_hardware(message: &Message) -> Option<Hardware> {
    let link = LinkRecord::parse(message)?;
    let (mut mac, mut queues) = (None, 1);
    for (kind, value) in attributes(message.body.get(LINK_BYTES..)?) {
        match kind {
            libc::IFLA_ADDRESS if value.len() == 6 => mac = take(value, 0),
            libc::IFLA_NUM_RX_QUEUES => queues = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some(Hardware { index: link.index, name: link.name, mtu: link.mtu, up: link.up, mac, queues })
}

/// Reads the answer to [`route_request`].
pub(super) fn parse_route(message: &Message) -> Option<Way> {
    if message.kind != libc::RTM_NEWROUTE {
        return None;
    }
    let (mut interface, mut gateway, mut source, mut mtu) = (None, None, None, None);
    for (kind, value) in attributes(message.body.get(ROUTE_BYTES..)?) {
        match kind {
            libc::RTA_OIF => interface = u32_at(value, 0),
            libc::RTA_GATEWAY => gateway = ip(value),
            libc::RTA_PREFSRC => source = ip(value),
            libc::RTA_METRICS => {
                let metric = attributes(value).find(|(kind, _)| *kind == RTAX_MTU);
                mtu = metric.and_then(|(_, value)| u32_at(value, 0)).filter(|mtu| *mtu > 0);
            }
            _ => {}
        }
    }
    Some(Way { interface: interface?, gateway, source, mtu })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_splits_into_itself() {
        let bytes = route_request(None, "10.0.0.1".parse().unwrap());
        let messages = split(&bytes);
        assert_eq!((messages.len(), messages[0].kind), (1, libc::RTM_GETROUTE));
        assert_eq!(messages[0].body.len(), bytes.len() - HEADER_BYTES);
    }

    #[test]
    fn torn_bytes_end_quietly() {
        let mut body = vec![0; ADDRESS_BYTES];
        push_address(&mut body, libc::IFA_LOCAL, "10.77.1.1".parse().unwrap());
        let bytes = request(libc::RTM_NEWADDR, 0, &body);
        let whole = split(&bytes);
        let expected = AddressRecord { index: 0, ip: "10.77.1.1".parse().unwrap(), tentative: false };
        assert_eq!(AddressRecord::parse(&whole[0]), Some(expected));
        for cut in 0..bytes.len() {
            assert!(split(&bytes[..cut]).is_empty(), "{cut}");
        }
        for cut in 0..whole[0].body.len() {
            let torn = Message { kind: libc::RTM_NEWADDR, body: whole[0].body[..cut].to_vec() };
            assert_eq!(AddressRecord::parse(&torn), None, "{cut}");
        }
    }

    #[test]
    fn lengths_that_lie_do_not_loop() {
        for len in [0u32, 1, 15, 17, u32::MAX] {
            let mut bytes = request(libc::RTM_NEWLINK, 0, &[0; 16]);
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            assert!(split(&bytes).len() <= 1, "{len}");
        }
        assert_eq!(attributes(&[0, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
        assert_eq!(attributes(&[4, 0, 1, 0]).count(), 1);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            len in 0..256u32,
            kind in 16..30u16,
        ) {
            let mut bytes = bytes;
            let head = [&len.to_ne_bytes()[..], &kind.to_ne_bytes()].concat();
            bytes.splice(..head.len().min(bytes.len()), head);
            for message in split(&bytes) {
                LinkRecord::parse(&message);
                AddressRecord::parse(&message);
                parse_route(&message);
                parse_neighbour(&message);
                parse_hardware(&message);
            }
        }
    }
}
