//! What this host can send by: interfaces, their addresses and counters, the way out to an address, changes of links.
//!
//! Asked of the kernel by rtnetlink (RFC 3549, rtnetlink(7)), so that the answer is that of the calling thread's
//! network namespace; files under /sys may show another. No privilege is needed. Nothing is changed.

mod hardware;
mod message;
#[cfg(test)]
pub(crate) mod namespace;
mod netlink;
mod offloads;
mod watch;

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::error::IoError;
pub use hardware::{Hardware, Neighbour, hardware, neighbour};
use message::{AddressRecord, LinkRecord};
pub use offloads::{Offloads, channels, offloads};
pub use watch::{LinkChange, LinkWatch, NextHopWatch};

/// What has passed through an interface since it came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// Packets received.
    pub receive_packets: u64,
    /// Bytes received.
    pub receive_bytes: u64,
    /// Received packets that were dropped.
    pub receive_dropped: u64,
    /// Packets sent.
    pub send_packets: u64,
    /// Bytes sent.
    pub send_bytes: u64,
    /// Packets to be sent that were dropped.
    pub send_dropped: u64,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Number that names it in this network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Largest packet in bytes, IP header included.
    pub mtu: u32,
    /// It was switched on.
    pub up: bool,
    /// Its wire is connected.
    pub carrier: bool,
    /// It leads back to this host.
    pub loopback: bool,
    /// Its addresses, those of IPv6 that are still being checked for duplicates left out.
    pub addresses: Vec<IpAddr>,
    /// Its counters.
    pub counters: InterfaceCounters,
}

impl Interface {
    fn from_record(link: LinkRecord) -> Self {
        Interface {
            index: link.index,
            name: link.name,
            mtu: link.mtu,
            up: link.up,
            carrier: link.carrier,
            loopback: link.loopback,
            addresses: Vec::new(),
            counters: link.counters,
        }
    }
}

/// All interfaces with their addresses, by index.
pub fn interfaces() -> Result<Vec<Interface>, IoError> {
    let links =
        netlink::dump(libc::RTM_GETLINK).map_err(|error| IoError::new("list", "interfaces", &error))?;
    let records = links.iter().filter_map(LinkRecord::parse);
    let mut interfaces: Vec<Interface> = records.map(Interface::from_record).collect();
    interfaces.sort_by_key(|interface| interface.index);
    let found =
        netlink::dump(libc::RTM_GETADDR).map_err(|error| IoError::new("list", "addresses", &error))?;
    for address in found.iter().filter_map(AddressRecord::parse) {
        let owner = interfaces.iter_mut().find(|interface| interface.index == address.index);
        if let Some(owner) = owner.filter(|_| !address.tentative) {
            owner.addresses.push(address.ip);
        }
    }
    Ok(interfaces)
}

/// Counters of all interfaces, with the index of each.
pub fn counters() -> Result<Vec<(u32, InterfaceCounters)>, IoError> {
    let links =
        netlink::dump(libc::RTM_GETLINK).map_err(|error| IoError::new("count", "interfaces", &error))?;
    let records = links.iter().filter_map(LinkRecord::parse);
    Ok(records.map(|link| (link.index, link.counters)).collect())
}

/// The way that packets from `local` to `remote` take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Index of the interface they leave by.
    pub interface: u32,
    /// Next router, if the remote address is not on the interface's own wire.
    pub gateway: Option<IpAddr>,
    /// Source address that the routing prefers for it.
    pub source: Option<IpAddr>,
    /// Largest packet of the route in bytes, IP header included, where it has one of its own.
    pub mtu: Option<u32>,
}

/// Asks the routing for the way from `local`, if given, to `remote`. Fails with `ENETUNREACH` and its like when there
/// is none, and with `EINVAL` when the families differ.
pub fn way(local: Option<IpAddr>, remote: IpAddr) -> Result<Way, IoError> {
    let object = || match local {
        Some(local) => format!("from {local} to {remote}"),
        None => format!("to {remote}"),
    };
    if local.is_some_and(|local| local.is_ipv4() != remote.is_ipv4()) {
        return Err(IoError { op: "find route", object: object(), errno: libc::EINVAL });
    }
    let fail = |error| IoError::new("find route", object(), &error);
    let answer = netlink::ask(&message::route_request(local, remote)).map_err(fail)?;
    message::parse_route(&answer).ok_or_else(|| IoError {
        op: "find route",
        object: object(),
        errno: libc::EPROTO,
    })
}

/// Whether packets from `local` to `remote` leave by the interface that owns `local` (PRODUCT.md, usable pairs).
/// Between two addresses of this host it says whether one interface owns both.
pub fn leaves_by_owner(interfaces: &[Interface], local: IpAddr, remote: IpAddr) -> bool {
    let owner = |ip: IpAddr| interfaces.iter().find(|i| i.addresses.contains(&ip)).map(|i| i.index);
    let (Some(own), same_family) = (owner(local), local.is_ipv4() == remote.is_ipv4()) else { return false };
    if !same_family {
        return false;
    }
    match owner(remote) {
        Some(theirs) => own == theirs,
        None => way(Some(local), remote).is_ok_and(|way| way.interface == own),
    }
}

/// The address that the routing would send from to reach `remote`.
pub fn preferred_source(remote: SocketAddr) -> Result<IpAddr, IoError> {
    let fail = |error| IoError::new("find source address to", remote, &error);
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).map_err(fail)?;
    socket.connect(remote).map_err(fail)?;
    Ok(socket.local_addr().map_err(fail)?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lo() -> Interface {
        interfaces().unwrap().into_iter().find(|interface| interface.name == "lo").unwrap()
    }

    #[test]
    fn loopback_is_found_with_its_address() {
        let lo = lo();
        assert!(lo.loopback && lo.up && lo.carrier && lo.mtu >= 1_500, "{lo:?}");
        assert!(lo.addresses.contains(&"127.0.0.1".parse().unwrap()));
        assert!(lo.addresses.contains(&"::1".parse().unwrap()));
    }

    #[test]
    fn counters_count_what_passes() {
        let index = lo().index;
        let of_lo = || counters().unwrap().into_iter().find(|(i, _)| *i == index).unwrap().1;
        let before = of_lo();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&[0; 1_000], socket.local_addr().unwrap()).unwrap();
        assert_eq!(socket.recv(&mut [0; 2_000]).unwrap(), 1_000);
        let after = of_lo();
        assert!(after.send_packets > before.send_packets && after.send_bytes >= before.send_bytes + 1_000);
        assert!(after.receive_packets > before.receive_packets);
    }

    #[test]
    fn the_way_to_ourselves_is_loopback() {
        let lo = lo();
        for ip in ["127.0.0.1", "::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(way(Some(ip), ip).unwrap().interface, lo.index);
            assert_eq!(preferred_source(SocketAddr::new(ip, 9)).unwrap(), ip);
            assert!(leaves_by_owner(std::slice::from_ref(&lo), ip, ip));
        }
    }

    #[test]
    fn families_do_not_mix() {
        let (v4, v6): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "::1".parse().unwrap());
        assert_eq!(way(Some(v4), v6).unwrap_err().errno, libc::EINVAL);
        assert!(!leaves_by_owner(&[lo()], v4, v6));
    }

    #[test]
    fn an_address_of_nobody_owns_no_way() {
        assert!(!leaves_by_owner(&[lo()], "192.0.2.1".parse().unwrap(), "127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_pair_is_usable_when_its_route_leaves_by_the_owner() {
        namespace::run(|| {
            let wires = [namespace::add_wire("x1", "y1"), namespace::add_wire("x2", "y2")];
            let ip = |wire: u8, host: u8| IpAddr::from([10, 77, wire, host]);
            namespace::add_address(wires[0], [10, 77, 1, 1].into(), 24);
            namespace::add_address(wires[1], [10, 77, 2, 1].into(), 24);
            let all = interfaces().unwrap();
            let x1 = all.iter().find(|interface| interface.name == "x1").unwrap();
            assert_eq!((x1.index, x1.up, x1.carrier, x1.loopback), (wires[0], true, true, false));
            assert_eq!((x1.mtu, x1.addresses.contains(&ip(1, 1))), (1_500, true));
            assert_eq!(way(Some(ip(1, 1)), ip(1, 2)).unwrap().interface, wires[0]);
            assert!(leaves_by_owner(&all, ip(1, 1), ip(1, 2)));
            assert!(leaves_by_owner(&all, ip(2, 1), ip(2, 2)));
            assert!(!leaves_by_owner(&all, ip(1, 1), ip(2, 2)));
            assert!(!leaves_by_owner(&all, ip(1, 1), ip(2, 1)));
            assert!(!leaves_by_owner(&all, ip(1, 1), ip(3, 2)));
            assert_eq!(preferred_source(SocketAddr::new(ip(2, 2), 9)).unwrap(), ip(2, 1));
        });
    }
}
