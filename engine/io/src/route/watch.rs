//! News of links and addresses, as they change.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::Socket;

use super::message::{AddressRecord, LinkRecord, Message};
use super::netlink;
use crate::error::IoError;
use crate::limits::{NETLINK_BYTES, NETLINK_DUMP_READS};

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// State of an interface, perhaps the same as before. It carries packets when both are true.
    Link {
        /// Index of the interface.
        index: u32,
        /// It is switched on.
        up: bool,
        /// Its wire is connected.
        carrier: bool,
    },
    /// An interface went away.
    Gone {
        /// Index it had.
        index: u32,
    },
    /// An interface got or lost an address.
    Address {
        /// Index of the interface.
        index: u32,
        /// The address.
        ip: std::net::IpAddr,
        /// It has the address now.
        present: bool,
    },
    /// Changes came faster than they were read and some are lost: list the interfaces again.
    Lost,
}

/// A socket that reports changes; wait for it to be readable, then drain it.
pub struct LinkWatch {
    socket: Socket,
    buffer: Box<[u8]>,
}

impl AsFd for LinkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl LinkWatch {
    /// Reports what changes from now on in the network namespace of the calling thread.
    pub fn open() -> Result<Self, IoError> {
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        let open = || {
            let socket = netlink::open(groups as u32)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = open().map_err(|error| IoError::new("watch", "links", &error))?;
        Ok(LinkWatch { socket, buffer: vec![0; NETLINK_BYTES].into_boxed_slice() })
    }

    /// The changes of the next notification; empty when there is none left.
    pub fn changes(&mut self) -> Result<Vec<LinkChange>, IoError> {
        loop {
            match netlink::receive(&self.socket, &mut self.buffer) {
                Ok(messages) => {
                    let changes: Vec<_> = messages.iter().filter_map(change).collect();
                    if !changes.is_empty() {
                        return Ok(changes);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Vec::new()),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(vec![LinkChange::Lost]);
                }
                Err(error) => return Err(IoError::new("watch", "links", &error)),
            }
        }
    }
}

/// A socket that reports that the way to some address may have changed: links, addresses, routes, neighbours.
pub struct NextHopWatch {
    socket: Socket,
    buffer: Box<[u8]>,
}

impl NextHopWatch {
    /// Reports what changes from now on in the network namespace of the calling thread.
    pub fn open() -> Result<Self, IoError> {
        let groups = libc::RTMGRP_LINK
            | libc::RTMGRP_NEIGH
            | libc::RTMGRP_IPV4_IFADDR
            | libc::RTMGRP_IPV6_IFADDR
            | libc::RTMGRP_IPV4_ROUTE
            | libc::RTMGRP_IPV6_ROUTE;
        let open = || {
            let socket = netlink::open(groups as u32)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = open().map_err(|error| IoError::new("watch", "routes and neighbours", &error))?;
        Ok(NextHopWatch { socket, buffer: vec![0; NETLINK_BYTES].into_boxed_slice() })
    }

    /// Whether anything changed since the last call. A socket that fails says so each time.
    pub fn changed(&mut self) -> bool {
        let mut changed = false;
        for _ in 0..NETLINK_DUMP_READS {
            match netlink::receive(&self.socket, &mut self.buffer) {
                Ok(_) => changed = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(_) => return true,
            }
        }
        changed
    }
}

fn change(message: &Message) -> Option<LinkChange> {
    if message.kind == libc::RTM_DELLINK {
        let link = LinkRecord::parse(&Message { kind: libc::RTM_NEWLINK, body: message.body.clone() })?;
        return Some(LinkChange::Gone { index: link.index });
    }
    if let Some(link) = LinkRecord::parse(message) {
        return Some(LinkChange::Link { index: link.index, up: link.up, carrier: link.carrier });
    }
    let address = AddressRecord::parse(message)?;
    let present = message.kind == libc::RTM_NEWADDR && !address.tentative;
    Some(LinkChange::Address { index: address.index, ip: address.ip, present })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::namespace::{self, LOOPBACK, set_loopback};
    use crate::wake::{Interest, Poller};

    const PATIENCE_NS: u64 = 10_000_000_000;
    const MTU: u32 = 65_536;

    fn wait_for(watch: &mut LinkWatch, wanted: &LinkChange) {
        let mut poller = Poller::new().unwrap();
        poller.add(&*watch, 0, Interest::Read).unwrap();
        let deadline = crate::clock::monotonic_ns() + PATIENCE_NS;
        let mut seen = Vec::new();
        while !seen.contains(wanted) {
            let changes = watch.changes().unwrap();
            if changes.is_empty() {
                assert!(crate::clock::monotonic_ns() < deadline, "{wanted:?} is not in {seen:?}");
                poller.wait(Some(deadline)).unwrap();
            }
            seen.extend(changes);
        }
    }

    fn links_come_and_go() {
        let mut watch = LinkWatch::open().unwrap();
        assert!(watch.changes().unwrap().is_empty());
        let ip = "::1".parse().unwrap();
        set_loopback(true, MTU);
        wait_for(&mut watch, &LinkChange::Link { index: LOOPBACK, up: true, carrier: true });
        set_loopback(false, MTU);
        wait_for(&mut watch, &LinkChange::Link { index: LOOPBACK, up: false, carrier: false });
        set_loopback(true, MTU);
        wait_for(&mut watch, &LinkChange::Address { index: LOOPBACK, ip, present: true });
        let lo = crate::route::interfaces().unwrap();
        assert_eq!((lo.len(), lo[0].index, lo[0].up), (1, LOOPBACK, true));
        let away = "192.0.2.1".parse().unwrap();
        assert_eq!(crate::route::way(None, away).unwrap_err().errno, libc::ENETUNREACH);
    }

    #[test]
    fn links_are_watched() {
        namespace::run(links_come_and_go);
    }
}
