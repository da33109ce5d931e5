//! What a packet needs that is built here down to its Ethernet header: hardware addresses of an interface and of its neighbours.

use std::net::IpAddr;

use super::{message, netlink};
use crate::error::IoError;

/// An interface as its driver sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// Number that names it in this network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Largest packet in bytes, IP header included.
    pub mtu: u32,
    /// It was switched on.
    pub up: bool,
    /// Its address, if it is one of Ethernet.
    pub mac: Option<[u8; 6]>,
    /// Receive queues that it was made with; fewer may be in use.
    pub queues: u32,
}

/// Another host on an interface's wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The kernel did not hear from it lately, and asks when it sends there next.
    pub stale: bool,
}

/// Asks for the interface with that index.
///
/// # Errors
/// There is none.
pub fn hardware(index: u32) -> Result<Hardware, IoError> {
    let fail = |error| IoError::new("ask for", format!("interface {index}"), &error);
    let answer = netlink::ask(&message::link_request(index)).map_err(fail)?;
    message::parse_hardware(&answer).ok_or_else(|| IoError {
        op: "ask for",
        object: format!("interface {index}"),
        errno: libc::EPROTO,
    })
}

/// Who has the address on the wire of an interface; `None` while nobody asked, or nobody answered. Nothing is sent.
pub fn neighbour(interface: u32, ip: IpAddr) -> Option<Neighbour> {
    let answer = netlink::ask(&message::neighbour_request(interface, ip)).ok()?;
    message::parse_neighbour(&answer)
}

#[cfg(test)]
mod tests {
    use super::super::namespace;
    use super::*;

    #[test]
    fn the_ends_of_a_wire_have_addresses_of_their_own() {
        namespace::run(|| {
            let index = namespace::add_wire("x1", "y1");
            let x1 = hardware(index).unwrap();
            assert_eq!((x1.index, x1.name.as_str(), x1.mtu, x1.up), (index, "x1", 1_500, true));
            let all = crate::route::interfaces().unwrap();
            let y1 = hardware(all.iter().find(|i| i.name == "y1").unwrap().index).unwrap();
            assert!(x1.mac.is_some() && x1.mac != y1.mac);
            assert!(x1.queues >= 1);
            assert_eq!(hardware(9_999).unwrap_err().errno, libc::ENODEV);
        });
    }

    #[test]
    fn neighbours_are_known_when_they_were_told() {
        namespace::run(|| {
            let index = namespace::add_wire("x1", "y1");
            namespace::add_address(index, [10, 77, 1, 1].into(), 24);
            let ip = "10.77.1.2".parse().unwrap();
            assert_eq!(neighbour(index, ip), None);
            namespace::add_neighbour(index, [10, 77, 1, 2].into(), [2, 0, 0, 0, 0, 7]);
            assert_eq!(neighbour(index, ip), Some(Neighbour { mac: [2, 0, 0, 0, 0, 7], stale: false }));
            assert_eq!(neighbour(index, "10.77.1.3".parse().unwrap()), None);
        });
    }
}
