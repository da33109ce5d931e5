//! The routing socket of the kernel: one request, its answers.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::message::{self, Message};
use crate::error::{check, check_size, restart};
use crate::limits::{NETLINK_BYTES, NETLINK_DUMP_READS, NETLINK_TIMEOUT_S};

/// A routing socket, subscribed to `groups` (`RTMGRP_*`).
pub(super) fn open(groups: u32) -> io::Result<Socket> {
    let protocol = Protocol::from(libc::NETLINK_ROUTE);
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW.cloexec(), Some(protocol))?;
    socket.set_read_timeout(Some(Duration::from_secs(NETLINK_TIMEOUT_S)))?;
    // SAFETY: all zeroes is a valid sockaddr_nl: the kernel chooses the port.
    let mut name: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    name.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    name.nl_groups = groups;
    let len = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: `name` is a sockaddr_nl of the length given and outlives the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const name).cast(), len) })?;
    Ok(socket)
}

/// Receives one datagram's messages. `ENOBUFS` says that some were lost.
pub(super) fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<Vec<Message>> {
    let (fd, to, len) = (socket.as_fd().as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len());
    let received = restart(|| {
        // SAFETY: the kernel writes at most `len` bytes, all inside `buffer`.
        check_size(unsafe { libc::recv(fd, to, len, 0) })
    })?;
    Ok(message::split(&buffer[..received]))
}

fn error_of(message: &Message) -> io::Result<()> {
    let code = message.body.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

/// Sends `request` and returns the first answer.
pub(super) fn ask(request: &[u8]) -> io::Result<Message> {
    let socket = open(0)?;
    socket.send(request)?;
    let mut buffer = vec![0; NETLINK_BYTES];
    let answer = receive(&socket, &mut buffer)?.into_iter().next();
    let answer = answer.ok_or_else(|| io::Error::from_raw_os_error(libc::EPROTO))?;
    if i32::from(answer.kind) == libc::NLMSG_ERROR {
        error_of(&answer)?;
    }
    Ok(answer)
}

/// All objects of a kind (`RTM_GETLINK`, `RTM_GETADDR`).
pub(super) fn dump(kind: u16) -> io::Result<Vec<Message>> {
    let socket = open(0)?;
    // An ifinfomsg, the longest of the heads; its family is that of all.
    socket.send(&message::request(kind, libc::NLM_F_DUMP, &[0; 16]))?;
    let mut buffer = vec![0; NETLINK_BYTES];
    let mut found = Vec::new();
    for _ in 0..NETLINK_DUMP_READS {
        for message in receive(&socket, &mut buffer)? {
            match i32::from(message.kind) {
                libc::NLMSG_DONE => return Ok(found),
                libc::NLMSG_ERROR => error_of(&message)?,
                _ => found.push(message),
            }
        }
    }
    Err(io::Error::from_raw_os_error(libc::EOVERFLOW))
}
