//! Kernel UDP backend: trains out by `UDP_SEGMENT`, trains in by `UDP_GRO`, batched calls (stages 5 and 6).
//!
//! One socket per worker and local address, unprivileged, IPv4 and IPv6. A socket bound to the IPv6 wildcard takes
//! both families. Nothing is fragmented and the kernel's path MTU is not used: the engine probes its own. Long trains are
//! sent without copying where the kernel reports that it really does not copy, see `ways`.

mod address;
mod control;
mod frames;
#[cfg(test)]
mod lacking_tests;
mod option;
mod outlet;
mod pending;
mod receive;
mod send;
mod socket;
pub mod steer;
mod ways;
#[cfg(test)]
mod zero_copy_tests;

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::Socket;

use crate::error::IoError;
use crate::limits::CAPABILITY_NOTES_MAX;
use crate::queue::{Capabilities, Counters, Flushed, Meta, Queue, SendFailure, Transmit, ZeroCopy};
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
    /// Allow sending without copying, where the kernel reports that it does not copy.
    pub zero_copy: bool,
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
            zero_copy: true,
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
        let gso = capabilities.gso_segments_max > 1;
        let zero_copy = capabilities.zero_copy != ZeroCopy::Absent;
        let sender = Sender::new(local, gso, zero_copy, config.interface)?;
        let receiver = Receiver::new(capabilities.gro);
        Ok(UdpQueue { socket, local, capabilities, counters: Counters::default(), sender, receiver })
    }

    fn gso_is_lost(&mut self, errno: i32) {
        self.capabilities.gso_segments_max = 1;
        let cause = crate::error::text(&errno);
        self.note(format!("trains are split: the route refused UDP_SEGMENT ({cause})"));
    }

    fn note(&mut self, note: String) {
        if self.capabilities.notes.len() < CAPABILITY_NOTES_MAX {
            self.capabilities.notes.push(note);
        }
    }

    /// Takes back frames that the kernel is done with, and notes what that says of sending without copying.
    fn reclaim(&mut self) -> Result<(), IoError> {
        self.sender
            .reclaim(&mut self.socket.as_fd(), &mut self.counters)
            .map_err(|error| IoError::new("take back frames sent from", self.local, &error))?;
        self.hear_zero_copy_news();
        Ok(())
    }

    fn hear_zero_copy_news(&mut self) {
        while let Some((found, note)) = self.sender.take_zero_copy_news() {
            self.capabilities.zero_copy = found;
            note.into_iter().for_each(|note| self.note(note));
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
        let result = self.sender.flush(&mut self.socket.as_fd(), &mut self.counters);
        let mut flushed = result.map_err(|error| IoError::new("send from", self.local, &error))?;
        if let Some(errno) = self.sender.take_gso_refusal() {
            self.gso_is_lost(errno);
            flushed.gso_lost = true;
        }
        self.hear_zero_copy_news();
        Ok(flushed)
    }

    fn failures(&self) -> &[SendFailure] {
        self.sender.failures()
    }

    fn receive(&mut self) -> Result<usize, IoError> {
        self.reclaim()?;
        self.receiver
            .receive(self.socket.as_fd(), &mut self.counters)
            .map_err(|error| IoError::new("receive on", self.local, &error))
    }

    fn received(&mut self, index: usize) -> (Meta, &mut [u8]) {
        self.receiver.received(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic_ns;
    use crate::route::namespace;
    use crate::wake::{Interest, Poller};

    fn commit(queue: &mut UdpQueue, destination: SocketAddr, len: usize, segment: usize) {
        queue.reserve().unwrap()[..len].fill(segment as u8);
        queue.commit(Transmit { destination, source: None, len, segment, ecn: None });
    }

    fn receive_bytes(queue: &mut UdpQueue, expected: usize) -> usize {
        let mut poller = Poller::new().unwrap();
        poller.add(&*queue, 0, Interest::Read).unwrap();
        let deadline = monotonic_ns() + 10_000_000_000;
        let mut bytes = 0;
        while bytes < expected && monotonic_ns() < deadline {
            poller.wait(Some(deadline)).unwrap();
            let held = queue.receive().unwrap();
            bytes += (0..held).map(|index| queue.received(index).1.len()).sum::<usize>();
        }
        bytes
    }

    /// The kernel refuses trains on a socket that sends no checksums, as it does on routes without offload.
    #[test]
    fn a_kernel_that_refuses_trains_gets_singles() {
        let config = UdpConfig::new("127.0.0.1:0".parse().unwrap());
        let (mut a, mut b) = (UdpQueue::open(&config).unwrap(), UdpQueue::open(&config).unwrap());
        option::set(a.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        for round in 0..2 {
            commit(&mut a, b.local_addr(), 50, 0);
            commit(&mut a, b.local_addr(), 1_001, 100);
            let flushed = a.flush().unwrap();
            assert_eq!((flushed.datagrams, flushed.bytes, flushed.failures), (12, 1_051, 0));
            assert_eq!(flushed.gso_lost, round == 0);
            assert_eq!(receive_bytes(&mut b, 1_051), 1_051);
        }
        let can = a.capabilities();
        assert_eq!((can.gso_segments_max, can.notes.len()), (1, 1), "{:?}", can.notes);
        assert!(can.notes[0].contains("Invalid argument"), "{:?}", can.notes);
    }

    /// Nothing is fragmented: what is longer than the wire takes is a failure that tells its size, and no more.
    fn longer_than_the_wire(local: &str, header_bytes: usize) {
        let config = UdpConfig::new(local.parse().unwrap());
        let (mut a, b) = (UdpQueue::open(&config).unwrap(), UdpQueue::open(&config).unwrap());
        let fits = 1_500 - header_bytes;
        commit(&mut a, b.local_addr(), fits, 0);
        commit(&mut a, b.local_addr(), fits + 1, 0);
        commit(&mut a, b.local_addr(), 10 * fits, fits);
        commit(&mut a, b.local_addr(), 10 * (fits + 1), fits + 1);
        let flushed = a.flush().unwrap();
        assert_eq!((flushed.datagrams, flushed.failures, flushed.gso_lost), (11, 2, false));
        for failure in a.failures() {
            assert_eq!((failure.errno, failure.size), (libc::EMSGSIZE, fits + 1));
        }
        assert!(a.capabilities().gso_segments_max > 1);
    }

    #[test]
    fn datagrams_longer_than_the_wire_are_refused() {
        namespace::run(|| {
            namespace::set_loopback(true, 1_500);
            longer_than_the_wire("127.0.0.1:0", 28);
            longer_than_the_wire("[::1]:0", 48);
        });
    }

    #[test]
    fn a_wire_that_is_down_is_a_failure_and_not_an_end() {
        namespace::run(|| {
            namespace::set_loopback(true, 65_536);
            let config = UdpConfig::new("127.0.0.1:0".parse().unwrap());
            let (mut a, b) = (UdpQueue::open(&config).unwrap(), UdpQueue::open(&config).unwrap());
            commit(&mut a, "192.0.2.1:9".parse().unwrap(), 10, 0);
            assert_eq!(a.flush().unwrap().failures, 1);
            assert_eq!(a.failures()[0].errno, libc::ENETUNREACH);
            commit(&mut a, b.local_addr(), 10, 0);
            assert_eq!(a.flush().unwrap().datagrams, 1);
        });
    }
}
