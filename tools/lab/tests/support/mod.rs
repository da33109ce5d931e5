//! What the tests of the lab share: labs of their own names, sockets on hosts.

mod node;

pub(crate) use node::lab;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use xfer_lab::{Config, Host, Lab, WireShape};

const RECEIVE_BYTES: usize = 16 << 20;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn wires(count: usize, shape: WireShape) -> Config {
    Config::with_wires(count, shape)
}

/// A socket of `host` bound to a free port of `address`, with a receive timeout.
pub(crate) fn socket(host: &Host, address: impl Into<IpAddr>) -> UdpSocket {
    let address = SocketAddr::new(address.into(), 0);
    let socket = host.enter(|| UdpSocket::bind(address)).unwrap().unwrap();
    socket.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
    // A receiver that has to wait for a processor must not lose what the wire did not.
    setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &RECEIVE_BYTES).unwrap();
    socket
}

/// Sockets of hosts a and b on wire `wire`, each connected to the other.
pub(crate) fn pair(lab: &Lab, wire: usize) -> (UdpSocket, UdpSocket) {
    let (a, b) = (lab.host("a"), lab.host("b"));
    let (ours, theirs) = (socket(&a, a.ipv4(wire)), socket(&b, b.ipv4(wire)));
    connect(&ours, &theirs);
    (ours, theirs)
}

pub(crate) fn connect(ours: &UdpSocket, theirs: &UdpSocket) {
    ours.connect(theirs.local_addr().unwrap()).unwrap();
    theirs.connect(ours.local_addr().unwrap()).unwrap();
}

/// Receives one datagram into `buffer`, also where a signal comes in between.
pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match socket.recv(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Sends one datagram there and back and gives the time it took.
pub(crate) fn round_trip((ours, theirs): (&UdpSocket, &UdpSocket)) -> Duration {
    let mut buffer = [0; 64];
    let start = Instant::now();
    ours.send(b"there").unwrap();
    let len = receive(theirs, &mut buffer).expect("the datagram arrives");
    theirs.send(&buffer[..len]).unwrap();
    assert_eq!(receive(ours, &mut buffer).expect("and comes back"), 5);
    start.elapsed()
}

/// Whether a datagram gets through within `wait`.
pub(crate) fn passes(ours: &UdpSocket, theirs: &UdpSocket, wait: Duration) -> bool {
    theirs.set_read_timeout(Some(wait)).unwrap();
    let passed = ours.send(b"x").is_ok() && receive(theirs, &mut [0; 8]).is_ok();
    theirs.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
    passed
}
