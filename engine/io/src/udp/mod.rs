//! Kernel UDP backend: trains out by `UDP_SEGMENT`, trains in by `UDP_GRO`, batched calls (stages 5 and 6).
//!
//! One socket per worker and local address, unprivileged, IPv4 and IPv6. A socket bound to the IPv6 wildcard takes
//! both families. Nothing is fragmented and the kernel's path MTU is not used: the engine probes its own. Sending
//! always copies into the kernel; there is no zero-copy mode here.

mod address;
mod control;
mod option;
mod receive;
mod send;
mod socket;
pub mod steer;

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::Socket;

use crate::error::IoError;
use crate::limits::CAPABILITY_NOTES_MAX;
use crate::queue::{Capabilities, Counters, Flushed, Meta, Queue, SendFailure, Transmit};
use receive::Receiver;
use send::Sender;

/// What to ask of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpConfig {
    /// Address and port to bind; port 0 lets the kernel choose.
    pub local: SocketAddr,
    /// Index of the interface that packets must leave and enter by.
    pub interface: Option<u32>,
    /// Bytes to ask for as receive buffer.
    pub receive_buffer: usize,
    /// Bytes to ask for as send buffer.
    pub send_buffer: usize,
    /// Microseconds that a receive call may poll the device.
    pub busy_poll_us: Option<u32>,
    /// Let several sockets share the port, see [`steer`].
    pub reuse_port: bool,
    /// Allow trains out.
    pub gso: bool,
    /// Allow trains in.
    pub gro: bool,
}

impl UdpConfig {
    /// Everything that a kernel may offer, with buffers of 4 MiB.
    pub fn new(local: SocketAddr) -> Self {
        UdpConfig {
            local,
            interface: None,
            receive_buffer: 4 << 20,
            send_buffer: 4 << 20,
            busy_poll_us: None,
            reuse_port: false,
            gso: true,
            gro: true,
        }
    }
}

/// A kernel UDP socket with its transmit and receive bursts.
pub struct UdpQueue {
    socket: Socket,
    local: SocketAddr,
    capabilities: Capabilities,
    counters: Counters,
    sender: Sender,
    receiver: Receiver,
}

impl UdpQueue {
    /// Opens and binds a socket. What cannot be obtained beyond that is noted in the capabilities; an error is an
    /// address that cannot be bound or a kernel without UDP for its family.
    pub fn open(config: &UdpConfig) -> Result<Self, IoError> {
        let (socket, local, capabilities) = socket::open(config)?;
        let sender = Sender::new(local, capabilities.gso_segments_max > 1, config.interface);
        let receiver = Receiver::new(capabilities.gro);
        Ok(UdpQueue { socket, local, capabilities, counters: Counters::default(), sender, receiver })
    }

    fn gso_is_lost(&mut self, errno: i32) {
        self.capabilities.gso_segments_max = 1;
        if self.capabilities.notes.len() < CAPABILITY_NOTES_MAX {
            let cause = crate::error::text(&errno);
            self.capabilities
                .notes
                .push(format!("trains are split: the route refused UDP_SEGMENT ({cause})"));
        }
    }
}

impl AsFd for UdpQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Queue for UdpQueue {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn reserve(&mut self) -> Option<&mut [u8]> {
        self.sender.reserve()
    }

    fn commit(&mut self, transmit: Transmit) {
        self.sender.commit(transmit);
    }

    fn queued(&self) -> usize {
        self.sender.queued()
    }

    fn flush(&mut self) -> Result<Flushed, IoError> {
        let result = self.sender.flush(self.socket.as_fd(), &mut self.counters);
        let mut flushed = result.map_err(|error| IoError::new("send from", self.local, &error))?;
        if let Some(errno) = self.sender.take_gso_refusal() {
            self.gso_is_lost(errno);
            flushed.gso_lost = true;
        }
        Ok(flushed)
    }

    fn failures(&self) -> &[SendFailure] {
        self.sender.failures()
    }

    fn receive(&mut self) -> Result<usize, IoError> {
        self.receiver
            .receive(self.socket.as_fd(), &mut self.counters)
            .map_err(|error| IoError::new("receive on", self.local, &error))
    }

    fn received(&mut self, index: usize) -> (Meta, &mut [u8]) {
        self.receiver.received(index)
    }
}
