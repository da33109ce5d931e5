//! AF_XDP backend: packets built and read here, down to their Ethernet header, in memory shared with the kernel (stages 5 and 6).
//!
//! A queue has one socket ([`XdpPort`]) on each interface that it may use so, and a kernel UDP socket bound to the same port, which is
//! the one that a train is written for: it goes by AF_XDP where its next hop is known, leads by such an interface and takes its size,
//! and by the kernel otherwise. So the first packet to a neighbour that nobody knows, what the XDP program lets pass, and everything
//! after a socket failed takes the other way, and nobody above notices. A train is cut here: the only copy that this backend adds.
//!
//! A queue never attaches a program: whoever made the sockets puts them in one's map, and takes the program away.

mod channel;
#[cfg(test)]
mod channel_tests;
#[cfg(test)]
mod heap;
mod hop;
mod interface;
mod packet;
mod port;
pub mod program;
pub mod raw;
mod ring;
mod socket;
mod stall;
#[cfg(test)]
mod tests;
mod umem;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use crate::clock::monotonic_ns;
use crate::error::IoError;
use crate::limits::{CAPABILITY_NOTES_MAX, XDP_BURSTS_A_LOOK, XDP_INTERFACES_MAX};
use crate::queue::{Capabilities, Counters, Flushed, Meta, Queue, SendFailure, Transmit, ZeroCopy};
use crate::udp::UdpQueue;
use crate::wake::{Interest, Poller};
use hop::Hops;
pub use interface::XdpInterface;
use packet::Head;
pub use port::{XdpConfig, XdpPort};
pub use socket::available;
pub use xfer_ebpf::{Attached, EbpfError, Fates, XdpMode, adopt, attach};

/// Which socket the burst at hand came by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Kernel,
    Port(usize),
}

/// AF_XDP sockets and the kernel socket beside them.
pub struct XdpQueue {
    udp: UdpQueue,
    ports: Vec<XdpPort>,
    hops: Hops,
    /// What one sleeps on: all sockets.
    poller: Poller,
    capabilities: Capabilities,
    counters: Counters,
    from: From,
    /// Bursts since the kernel's socket was looked at.
    unlooked: u32,
    /// The port whose turn it is.
    turn: usize,
    /// The source of packets where none is named: the address the kernel's socket is bound to.
    bound: Option<IpAddr>,
    /// What the flush to come has to tell.
    pending: Flushed,
}

impl XdpQueue {
    /// Joins sockets, each on an interface of its own, to the kernel socket `udp`, whose packets they are to carry. `notes` say what
    /// could not be had.
    ///
    /// # Errors
    /// They cannot be waited for together.
    pub fn new(udp: UdpQueue, ports: Vec<XdpPort>, notes: Vec<String>) -> Result<Self, IoError> {
        assert!(ports.len() <= XDP_INTERFACES_MAX, "{} sockets", ports.len());
        let poller = Poller::new()?;
        poller.add(&udp, 0, Interest::Read)?;
        for (index, port) in ports.iter().enumerate() {
            poller.add(port, index as u64 + 1, Interest::Read)?;
        }
        let ip = udp.local_addr().ip();
        let mut capabilities = udp.capabilities().clone();
        capabilities.notes.extend(notes);
        let hops = Hops::new(&mut capabilities.notes);
        let mut queue = XdpQueue {
            bound: (!ip.is_unspecified()).then_some(ip),
            udp,
            ports,
            hops,
            poller,
            capabilities,
            counters: Counters::default(),
            from: From::Kernel,
            unlooked: 0,
            turn: 0,
            pending: Flushed::default(),
        };
        queue.tell();
        Ok(queue)
    }

    /// Its AF_XDP sockets that work.
    pub fn ports(&self) -> &[XdpPort] {
        &self.ports
    }

    /// Brings the capabilities up to date with the sockets that are left.
    fn tell(&mut self) {
        let told = &mut self.capabilities;
        let udp = self.udp.capabilities();
        told.xdp = self.ports.iter().map(|port| port.report().clone()).collect();
        told.receive_buffer = udp.receive_buffer;
        if self.ports.is_empty() {
            (told.backend, told.gso_segments_max) = (udp.backend, udp.gso_segments_max);
            told.zero_copy = udp.zero_copy;
            return;
        }
        told.backend = "xdp";
        told.gso_segments_max = 1;
        let all = self.ports.iter().all(|port| port.report().zero_copy);
        told.zero_copy = if all { ZeroCopy::Used } else { ZeroCopy::Absent };
        let rings = self.ports.iter().map(XdpPort::receive_buffer).min();
        told.receive_buffer = rings.unwrap_or(0);
    }

    fn note(&mut self, note: String) {
        if self.capabilities.notes.len() < CAPABILITY_NOTES_MAX {
            self.capabilities.notes.push(note);
        }
    }

    /// Closes a socket: its packets go by the kernel from now on, and the program lets pass what arrives for it.
    fn give_up(&mut self, index: usize, why: &str) {
        let port = self.ports.remove(index);
        let (too_long, foreign) = port.dropped();
        self.counters.truncated += too_long;
        self.counters.soft_errors += foreign;
        self.counters.send_calls += port.calls;
        let at = format!("queue {} of {}", port.report().queue, port.report().interface);
        self.note(format!("{at} is no longer used by AF_XDP, kernel UDP carries its packets: {why}"));
        self.from = From::Kernel;
        self.pending.fell_back = true;
        self.tell();
    }

    /// Looks for news of links and routes, and for sockets that got stuck.
    fn watch(&mut self) {
        let now = monotonic_ns();
        let news = self.hops.renew(now);
        let mut index = 0;
        while let Some(port) = self.ports.get_mut(index) {
            let gone = if news { port.look_again().err().map(|error| error.to_string()) } else { None };
            match gone.or_else(|| port.stalled(now)) {
                Some(why) => self.give_up(index, &why),
                None => index += 1,
            }
        }
    }

    /// The port that a frame takes by AF_XDP, and its packets' headers.
    fn way(&mut self, transmit: &Transmit) -> Option<(usize, Head)> {
        if self.ports.is_empty() {
            return None;
        }
        let source = transmit.source.or(self.bound);
        let hop = self.hops.find(source, transmit.destination, monotonic_ns())?;
        let index = self.ports.iter().position(|port| port.interface().index == hop.interface)?;
        let port = &mut self.ports[index];
        let head = port.head(&hop, self.udp.local_addr().port(), transmit);
        port.takes(&head, &hop, transmit).then_some((index, head))
    }

    /// The next burst of the ports, each in its turn.
    fn receive_from_ports(&mut self) -> usize {
        let own = self.udp.local_addr().port();
        for _ in 0..self.ports.len() {
            self.turn = (self.turn + 1) % self.ports.len().max(1);
            let index = self.turn;
            let Some(port) = self.ports.get_mut(index) else { break };
            match port.receive(own) {
                Ok(0) => {}
                Ok(count) => {
                    self.from = From::Port(index);
                    return count;
                }
                Err(error) => self.give_up(index, &XdpPort::failure(&error)),
            }
        }
        0
    }
}

impl AsFd for XdpQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

impl Queue for XdpQueue {
    fn local_addr(&self) -> SocketAddr {
        self.udp.local_addr()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn counters(&self) -> Counters {
        let mut counters = self.udp.counters();
        counters.truncated += self.counters.truncated;
        counters.soft_errors += self.counters.soft_errors;
        counters.send_calls += self.counters.send_calls;
        for port in &self.ports {
            let (too_long, foreign) = port.dropped();
            counters.truncated += too_long;
            counters.soft_errors += foreign;
            counters.overflows += port.overflows();
            counters.send_calls += port.calls;
        }
        counters
    }

    fn reserve(&mut self) -> Option<&mut [u8]> {
        for port in &mut self.ports {
            if !port.has_room() {
                return None;
            }
        }
        self.udp.reserve()
    }

    fn commit(&mut self, transmit: Transmit) {
        let Some((index, head)) = self.way(&transmit) else { return self.udp.commit(transmit) };
        // The frame stays reserved: what was written in it is not the kernel's.
        let frame = self.udp.reserve().expect("a frame was committed that was not reserved");
        self.ports[index].send(&head, &frame[..transmit.len], port::segment(&transmit), &mut self.pending);
    }

    fn queued(&self) -> usize {
        let ports: usize = self.ports.iter().map(XdpPort::queued).sum();
        self.udp.queued() + ports + usize::from(self.pending != Flushed::default())
    }

    fn flush(&mut self) -> Result<Flushed, IoError> {
        let mut index = 0;
        while let Some(port) = self.ports.get_mut(index) {
            match port.flush() {
                Ok(blocked) => {
                    self.pending.would_block |= blocked;
                    index += 1;
                }
                Err(error) => self.give_up(index, &XdpPort::failure(&error)),
            }
        }
        let mut flushed = std::mem::take(&mut self.pending);
        if self.udp.queued() > 0 {
            let more = self.udp.flush()?;
            flushed.datagrams += more.datagrams;
            flushed.bytes += more.bytes;
            flushed.would_block |= more.would_block;
            flushed.failures = more.failures;
            flushed.gso_lost = more.gso_lost;
        }
        Ok(flushed)
    }

    fn failures(&self) -> &[SendFailure] {
        self.udp.failures()
    }

    fn receive(&mut self) -> Result<usize, IoError> {
        if self.unlooked < XDP_BURSTS_A_LOOK {
            self.unlooked += 1;
            let count = self.receive_from_ports();
            if count > 0 {
                return Ok(count);
            }
        }
        self.unlooked = 0;
        self.watch();
        self.from = From::Kernel;
        self.udp.receive()
    }

    fn received(&mut self, index: usize) -> (Meta, &mut [u8]) {
        match self.from {
            From::Kernel => self.udp.received(index),
            From::Port(port) => self.ports[port].received(index),
        }
    }
}
