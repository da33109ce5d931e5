//! News of links and addresses, as they change.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::Socket;

use super::message::{AddressRecord, LinkRecord, Message};
use super::netlink;
use crate::error::IoError;
use crate::limits::NETLINK_BYTES;

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
