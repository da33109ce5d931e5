//! An AF_XDP socket with a receive ring and nothing else: enough for a map to take it.

use std::os::fd::{AsFd, BorrowedFd};

use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Domain, Socket, Type};

sockopt_impl!(ReceiveRing, SetOnly, libc::SOL_XDP, libc::XDP_RX_RING, i32);

/// Such a socket.
pub(crate) struct Xsk(Socket);

impl Xsk {
    pub(crate) fn new() -> Self {
        let socket =
            Socket::new(Domain::from(libc::AF_XDP), Type::RAW, None).expect("AF_XDP sockets need root");
        nix::sys::socket::setsockopt(&socket, ReceiveRing, &64).expect("a ring of 64");
        Xsk(socket)
    }
}

impl AsFd for Xsk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
