//! Steering among the sockets of one port: the worker named in the connection id gets the packet.
//!
//! The program is classic BPF, so no privilege is needed. It sees the UDP payload. The connection id is bytes 4 to 7,
//! little-endian, and the worker its low 6 bits, thus those of byte 4. A worker number without a socket, and a
//! payload too short, are left to the kernel's own choice (hash, or the first socket).

use std::os::fd::AsFd;

use super::{UdpQueue, option};
use crate::error::IoError;
use crate::limits::STEERED_WORKERS_MAX;
use crate::queue::Queue;

/// Byte of the payload that holds the worker, and the bits of it that do.
const WORKER_AT: u32 = 4;
const WORKER_MASK: u32 = STEERED_WORKERS_MAX as u32 - 1;

const fn instruction(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Attaches the program to the group of sockets that `queue` shares its port with; once per group is enough. Socket
/// `n` is the `n`th that was bound. Fails when the queue was opened without `reuse_port`.
pub fn by_worker(queue: &UdpQueue) -> Result<(), IoError> {
    let mut code = [
        instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, WORKER_AT),
        instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, WORKER_MASK),
        instruction(libc::BPF_RET | libc::BPF_A, 0),
    ];
    option::set_reuseport_program(queue.as_fd(), &mut code)
        .map_err(|error| IoError::new("steer packets of", queue.local_addr(), &error))
}
