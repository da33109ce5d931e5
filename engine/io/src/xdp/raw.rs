//! The bare loop that the engine is measured against: frames out or in by one AF_XDP socket, and nothing else.
//!
//! What is sent is written into each frame, what is received is there to be read; there is no protocol, no kernel socket, no clock.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use super::hop::Hops;
use super::packet::Head;
use super::program::BareProgram;
use super::{XdpConfig, XdpInterface, XdpMode, XdpPort};
use crate::clock::monotonic_ns;
use crate::error::IoError;
use crate::limits::HOP_RETRY_NS;
use crate::queue::{Flushed, Transmit};
use crate::wake::{Interest, Poller};

/// One end of a bare loop.
pub struct RawEnd {
    port: XdpPort,
    local_port: u16,
    poller: Poller,
    _program: BareProgram,
}

/// Where a bare loop sends to.
#[derive(Clone, Copy)]
pub struct RawWay {
    head: Head,
}

impl RawEnd {
    /// Opens a queue of an interface, and lets it have UDP to `local_port`.
    ///
    /// # Errors
    /// As [`XdpPort::open`] and [`BareProgram::attach`].
    pub fn open(interface: u32, queue: u32, local_port: u16, mode: XdpMode) -> Result<Self, IoError> {
        let program = BareProgram::attach(interface, local_port, mode)?;
        let port = XdpPort::open(&XdpConfig::new(XdpInterface::find(interface)?, queue))?;
        program.set_socket(queue, port.as_fd())?;
        let poller = Poller::new()?;
        poller.add(&port, 0, Interest::Read)?;
        Ok(RawEnd { port, local_port, poller, _program: program })
    }

    /// The socket.
    pub fn port(&self) -> &XdpPort {
        &self.port
    }

    /// The way to an address whose neighbour the kernel knows by now; `None` while it does not.
    pub fn way(&self, destination: SocketAddr) -> Option<RawWay> {
        let mut hops = Hops::new(&mut Vec::new());
        // The first answer may ask for a packet by the kernel's socket.
        let found = (0..2u64).find_map(|nth| hops.find(None, destination, nth * HOP_RETRY_NS * 2));
        let hop = found.filter(|hop| hop.interface == self.port.interface().index)?;
        let transmit = Transmit { destination, source: None, len: 1, segment: 0, ecn: None };
        Some(RawWay { head: self.port.head(&hop, self.local_port, &transmit) })
    }

    /// Sends `payload` once for each frame that is free, at most `count` times. Returns how often.
    ///
    /// # Errors
    /// What the socket said.
    pub fn send(&mut self, way: &RawWay, payload: &[u8], count: usize) -> io::Result<usize> {
        let room = self.port.room(payload.len()).min(count);
        let mut sent = Flushed::default();
        for _ in 0..room {
            self.port.send(&way.head, payload, payload.len(), &mut sent);
        }
        self.port.flush()?;
        Ok(room)
    }

    /// Shows each packet of the next burst to `read`. Returns how many there were.
    ///
    /// # Errors
    /// What the socket said.
    pub fn receive(&mut self, mut read: impl FnMut(&[u8])) -> io::Result<usize> {
        let count = self.port.receive(self.local_port)?;
        (0..count).for_each(|index| read(self.port.received(index).1));
        Ok(count)
    }

    /// Sleeps until something arrived, or for so long.
    ///
    /// # Errors
    /// The poller's.
    pub fn wait(&mut self, ns: u64) -> Result<(), IoError> {
        self.poller.wait(Some(monotonic_ns() + ns)).map(drop)
    }
}
