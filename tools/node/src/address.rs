//! Addresses of a node: what a link names for control, what a client is told for data.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use xfer_engine::io::route::Interface;
use xfer_engine::{Class, Error};

/// Addresses of up interfaces, and those of loopback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// IPv6 first; link-local ones left out, since a link cannot name their interface.
    pub(crate) outside: Vec<IpAddr>,
    /// IPv6 first.
    pub(crate) loopback: Vec<IpAddr>,
}

impl Own {
    /// Those of this host by now.
    ///
    /// # Errors
    /// `Other` when the kernel does not tell.
    pub(crate) fn now() -> Result<Own, Error> {
        let interfaces = xfer_engine::io::route::interfaces()
            .map_err(|e| Error::new(Class::Other, "cannot list the addresses of this host").because(e))?;
        Ok(Own::of(&interfaces))
    }

    fn of(interfaces: &[Interface]) -> Own {
        let mut own = Own::default();
        for interface in interfaces.iter().filter(|interface| interface.up) {
            let list = if interface.loopback { &mut own.loopback } else { &mut own.outside };
            list.extend(interface.addresses.iter().copied().filter(|ip| !is_link_local(*ip)));
        }
        own.outside.sort_by_key(IpAddr::is_ipv4);
        own.loopback.sort_by_key(IpAddr::is_ipv4);
        own
    }

    /// Whether an address is this host's.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.outside.contains(&ip) || self.loopback.contains(&ip)
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// An IPv4 address that came as one mapped into IPv6, as itself.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Each listening address as a client can name it. A wildcard stands for every outside address of its families, for loopback if there
/// is none, and for both when `with_loopback` (a client on the same host).
pub(crate) fn reachable(listening: &[SocketAddr], own: &Own, with_loopback: bool) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for address in listening {
        let family = |ip: &&IpAddr| address.is_ipv6() || ip.is_ipv4();
        let expanded: Vec<IpAddr> = if !address.ip().is_unspecified() {
            vec![address.ip()]
        } else {
            let mut outside: Vec<IpAddr> = own.outside.iter().filter(family).copied().collect();
            if with_loopback || outside.is_empty() {
                outside.extend(own.loopback.iter().filter(family));
            }
            if outside.is_empty() {
                outside.push(Ipv4Addr::LOCALHOST.into());
            }
            outside
        };
        for ip in expanded {
            let address = plain(SocketAddr::new(ip, address.port()));
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    fn expand(listening: &[&str], own: &Own, with_loopback: bool) -> Vec<String> {
        let listening: Vec<SocketAddr> = listening.iter().map(|a| a.parse().unwrap()).collect();
        reachable(&listening, own, with_loopback).iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn a_wildcard_stands_for_every_outside_address() {
        let own = Own { outside: ips(&["fd77:1::2", "10.77.1.2"]), loopback: ips(&["::1", "127.0.0.1"]) };
        assert_eq!(expand(&["[::]:7700"], &own, false), ["[fd77:1::2]:7700", "10.77.1.2:7700"]);
        assert_eq!(expand(&["0.0.0.0:7700"], &own, false), ["10.77.1.2:7700"]);
        assert_eq!(
            expand(&["0.0.0.0:1", "[::]:1"], &own, true),
            ["10.77.1.2:1", "127.0.0.1:1", "[fd77:1::2]:1", "[::1]:1"]
        );
        assert_eq!(expand(&["127.0.0.1:5", "10.77.1.2:6"], &own, false), ["127.0.0.1:5", "10.77.1.2:6"]);
    }

    #[test]
    fn loopback_serves_when_there_is_nothing_else() {
        let own = Own { outside: Vec::new(), loopback: ips(&["::1", "127.0.0.1"]) };
        assert_eq!(expand(&["[::]:7700"], &own, false), ["[::1]:7700", "127.0.0.1:7700"]);
        assert_eq!(expand(&["0.0.0.0:7700"], &Own::default(), false), ["127.0.0.1:7700"]);
    }

    #[test]
    fn interfaces_are_sorted_by_kind_and_family() {
        let interface = |index, up, loopback, addresses: &[&str]| Interface {
            index,
            name: format!("x{index}"),
            mtu: 1_500,
            up,
            carrier: up,
            loopback,
            addresses: ips(addresses),
            counters: Default::default(),
        };
        let own = Own::of(&[
            interface(1, true, true, &["127.0.0.1", "::1"]),
            interface(2, true, false, &["10.0.0.2", "fe80::1", "fd00::2"]),
            interface(3, false, false, &["10.0.1.2"]),
        ]);
        assert_eq!(own.outside, ips(&["fd00::2", "10.0.0.2"]));
        assert_eq!(own.loopback, ips(&["::1", "127.0.0.1"]));
        assert!(own.has("127.0.0.9".parse().unwrap()) && !own.has("10.0.1.2".parse().unwrap()));
    }
}
