//! Opens a socket and obtains what the kernel and the user's rights allow; the rest is noted.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::{UdpConfig, option};
use crate::error::IoError;
use crate::limits::TRAIN_SEGMENTS_MAX;
use crate::queue::{Capabilities, ZeroCopy};

const ON: i32 = 1;

/// Opens, sets and binds. The address returned has the port that was chosen.
pub(super) fn open(config: &UdpConfig) -> Result<(Socket, SocketAddr, Capabilities), IoError> {
    let fail = |op| move |error: io::Error| IoError::new(op, config.local, &error);
    let domain = Domain::for_address(config.local);
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))
        .map_err(fail("open socket for"))?;
    if config.local.is_ipv6() {
        let v6_only = !config.local.ip().is_unspecified();
        socket.set_only_v6(v6_only).map_err(fail("set IPV6_V6ONLY for"))?;
    }
    if config.reuse_port {
        socket.set_reuse_port(true).map_err(fail("share port of"))?;
    }
    forbid_fragments(socket.as_fd(), config.local).map_err(fail("set don't-fragment for"))?;
    let mut notes = Vec::new();
    let bound_interface = bind_interface(socket.as_fd(), config, &mut notes);
    socket.bind(&config.local.into()).map_err(fail("bind"))?;
    let local = socket.local_addr().map_err(fail("read address of"))?.as_socket().unwrap_or(config.local);
    let capabilities = obtain(&socket, config, bound_interface, notes).map_err(fail("set up"))?;
    Ok((socket, local, capabilities))
}

/// Don't-fragment set, the kernel's own idea of the path MTU unused (RFC 8899 section 4.1 wants probes to pass).
fn forbid_fragments(fd: BorrowedFd<'_>, local: SocketAddr) -> io::Result<()> {
    if local.is_ipv6() {
        option::set(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
        option::set(fd, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, ON)?;
    }
    if takes_v4(local) {
        option::set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
    }
    Ok(())
}

fn takes_v4(local: SocketAddr) -> bool {
    local.is_ipv4() || local.ip().is_unspecified()
}

/// Holds the socket to its interface. Without the right to, packets are still sent by it (`IP_PKTINFO`).
fn bind_interface(fd: BorrowedFd<'_>, config: &UdpConfig, notes: &mut Vec<String>) -> Option<u32> {
    let index = config.interface?;
    let value = i32::try_from(index).unwrap_or(i32::MAX);
    match option::set(fd, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, value) {
        Ok(()) => Some(index),
        Err(error) => {
            notes.push(format!("interface {index} pins sending only, SO_BINDTOIFINDEX: {error}"));
            None
        }
    }
}

fn obtain(
    socket: &Socket,
    config: &UdpConfig,
    bound_interface: Option<u32>,
    mut notes: Vec<String>,
) -> io::Result<Capabilities> {
    let fd = socket.as_fd();
    let receive = (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, "receive");
    let receive_buffer = buffer(fd, receive, config.receive_buffer, &mut notes)?;
    let send = (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, "send");
    let send_buffer = buffer(fd, send, config.send_buffer, &mut notes)?;
    let gso = config.gso
        && wish(&mut notes, "trains out (UDP_SEGMENT)", option::set(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0));
    let gro = config.gro
        && wish(&mut notes, "trains in (UDP_GRO)", option::set(fd, libc::SOL_UDP, libc::UDP_GRO, ON));
    let arrival = wish(&mut notes, "address and interface of packets", tell_arrival(fd, config.local));
    let ecn = wish(&mut notes, "ECN marks of packets", tell_marks(fd, config.local));
    let counted = option::set(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, ON);
    wish(&mut notes, "count of overflows (SO_RXQ_OVFL)", counted);
    let zero_copy = config.zero_copy
        && wish(
            &mut notes,
            "sending without copying (SO_ZEROCOPY)",
            option::set(fd, libc::SOL_SOCKET, libc::SO_ZEROCOPY, ON),
        );
    let busy_poll_us = config.busy_poll_us.filter(|us| {
        let value = i32::try_from(*us).unwrap_or(i32::MAX);
        let set = option::set(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, value);
        wish(&mut notes, "busy polling (SO_BUSY_POLL)", set)
    });
    Ok(Capabilities {
        backend: "udp",
        gso_segments_max: if gso { TRAIN_SEGMENTS_MAX } else { 1 },
        gro,
        ecn,
        arrival,
        zero_copy: if zero_copy { ZeroCopy::Untried } else { ZeroCopy::Absent },
        busy_poll_us: busy_poll_us.unwrap_or(0),
        receive_buffer,
        send_buffer,
        bound_interface,
        xdp: Vec::new(),
        notes,
    })
}

/// Notes a wish that was not granted; says whether it was.
fn wish(notes: &mut Vec<String>, what: &str, result: io::Result<()>) -> bool {
    if let Err(error) = &result {
        notes.push(format!("no {what}: {error}"));
    }
    result.is_ok()
}

/// Asks the kernel to tell destination address and interface with every datagram.
fn tell_arrival(fd: BorrowedFd<'_>, local: SocketAddr) -> io::Result<()> {
    if local.is_ipv6() {
        option::set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, ON)?;
    }
    if takes_v4(local) {
        option::set(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, ON)?;
    }
    Ok(())
}

/// Asks the kernel to tell the traffic class, which holds the mark, with every datagram.
fn tell_marks(fd: BorrowedFd<'_>, local: SocketAddr) -> io::Result<()> {
    if local.is_ipv6() {
        option::set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, ON)?;
    }
    if takes_v4(local) {
        option::set(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, ON)?;
    }
    Ok(())
}

/// Asks for a buffer of `bytes`, by force where allowed. Returns what the kernel counts, twice what it granted.
fn buffer(
    fd: BorrowedFd<'_>,
    (force, normal, which): (i32, i32, &str),
    bytes: usize,
    notes: &mut Vec<String>,
) -> io::Result<usize> {
    let value = i32::try_from(bytes).unwrap_or(i32::MAX / 2);
    if option::set(fd, libc::SOL_SOCKET, force, value).is_err() {
        option::set(fd, libc::SOL_SOCKET, normal, value)?;
    }
    let real = usize::try_from(option::get(fd, libc::SOL_SOCKET, normal)?).unwrap_or(0);
    if real / 2 < bytes {
        let sysctl = if which == "receive" { "net.core.rmem_max" } else { "net.core.wmem_max" };
        notes.push(format!("{which} buffer is {} of {bytes} bytes: raise {sysctl}", real / 2));
    }
    Ok(real)
}
