//! A bare XDP program: UDP to one port goes to the AF_XDP socket of the queue it came by, all else passes.
//!
//! Written here instruction by instruction and loaded by bpf(2), for tests and benchmarks of the sockets themselves. It knows no connections
//! and drops nothing; the engine uses the programs of `xfer-ebpf`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use xfer_ebpf::XdpMode;

use crate::error::IoError;

const MAP_CREATE: i32 = 0;
const MAP_UPDATE: i32 = 2;
const PROGRAM_LOAD: i32 = 5;
const LINK_CREATE: i32 = 28;
const XSKMAP: u32 = 17;
const PROGRAM_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const HAS_FRAGS: u32 = 1 << 5;
const FLAG_GENERIC: u32 = 1 << 1;
const FLAG_NATIVE: u32 = 1 << 2;
const QUEUES: u32 = 64;
const LOG_BYTES: usize = 64 << 10;

/// One instruction of eBPF (RFC 9669 section 3).
#[derive(Clone, Copy)]
#[repr(C)]
struct Instruction {
    code: u8,
    /// Source register, then destination register.
    registers: u8,
    offset: i16,
    value: i32,
}

const fn op(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Instruction {
    Instruction { code, registers: from << 4 | to, offset, value }
}

/// Loads of 1, 2 and 4 bytes from `[from + offset]`.
const fn load(bytes: u8, to: u8, from: u8, offset: i16) -> Instruction {
    let code = match bytes {
        1 => 0x71,
        2 => 0x69,
        _ => 0x61,
    };
    op(code, to, from, offset, 0)
}

/// The attached program and the map that its sockets are in. It is detached on drop.
pub struct BareProgram {
    sockets: OwnedFd,
    _link: OwnedFd,
}

/// One call of bpf(2) with attributes as 32-bit words.
fn bpf(command: i32, attributes: &mut [u32]) -> io::Result<i32> {
    let (to, len) = (attributes.as_mut_ptr(), size_of_val(attributes));
    // SAFETY: the kernel reads and writes at most `len` bytes at `to`, which outlive the call, and what the pointers among them name
    // is alive in the caller.
    let returned = unsafe { libc::syscall(libc::SYS_bpf, command, to, len) };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned as i32) }
}

fn own(fd: i32) -> OwnedFd {
    // SAFETY: bpf(2) just made the descriptor, and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A pointer as two words, lower first.
fn words<T>(pointer: *const T) -> [u32; 2] {
    let address = pointer as u64;
    [address as u32, (address >> 32) as u32]
}

impl BareProgram {
    /// Attaches to an interface for UDP to `port`.
    ///
    /// # Errors
    /// What the kernel refused: `EPERM` without the right to, `EBUSY` where another program is, `EOPNOTSUPP` without XDP.
    pub fn attach(interface: u32, port: u16, mode: XdpMode) -> Result<Self, IoError> {
        let fail = |op| move |error: io::Error| IoError::new(op, format!("interface {interface}"), &error);
        let map =
            bpf(MAP_CREATE, &mut [XSKMAP, 4, 4, QUEUES, 0]).map_err(fail("make a map of sockets for"))?;
        let sockets = own(map);
        let program = load_program(&code(sockets.as_raw_fd(), port)).map_err(fail("load a program for"))?;
        let flags = if mode == XdpMode::Native { FLAG_NATIVE } else { FLAG_GENERIC };
        let link = bpf(LINK_CREATE, &mut [program.as_raw_fd() as u32, interface, ATTACH_XDP, flags]);
        let link = own(link.map_err(fail("attach a program to"))?);
        Ok(BareProgram { sockets, _link: link })
    }

    /// Lets packets of a queue go to a socket that is bound to it.
    ///
    /// # Errors
    /// It is not an AF_XDP socket, or not bound.
    pub fn set_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), IoError> {
        let (key, value) = (queue, socket.as_raw_fd());
        let (key_at, value_at) = (words(&raw const key), words(&raw const value));
        let map = self.sockets.as_raw_fd() as u32;
        let mut attributes = [map, 0, key_at[0], key_at[1], value_at[0], value_at[1], 0, 0];
        bpf(MAP_UPDATE, &mut attributes)
            .map(drop)
            .map_err(|error| IoError::new("steer packets of queue", queue, &error))
    }
}

fn load_program(code: &[Instruction]) -> io::Result<OwnedFd> {
    let licence = c"Apache-2.0";
    let mut log = vec![0u8; LOG_BYTES];
    let (at, licence_at, log_at) = (words(code.as_ptr()), words(licence.as_ptr()), words(log.as_mut_ptr()));
    let mut attributes = [0u32; 18];
    attributes[0] = PROGRAM_XDP;
    attributes[1] = code.len() as u32;
    attributes[2..4].copy_from_slice(&at);
    attributes[4..6].copy_from_slice(&licence_at);
    attributes[6] = 1;
    attributes[7] = LOG_BYTES as u32;
    attributes[8..10].copy_from_slice(&log_at);
    attributes[11] = HAS_FRAGS;
    attributes[17] = ATTACH_XDP;
    bpf(PROGRAM_LOAD, &mut attributes).map(own)
}

/// The program. Registers: 6 the context, 2 the packet, 3 its end.
fn code(map: i32, port: u16) -> Vec<Instruction> {
    const MOVE: u8 = 0xbf;
    const ADD: u8 = 0x07;
    const AND: u8 = 0x57;
    const SET: u8 = 0xb7;
    const IF_GREATER: u8 = 0x2d;
    const IF_EQUAL: u8 = 0x15;
    const IF_NOT: u8 = 0x55;
    const JUMP: u8 = 0x05;
    let wire = |value: u16| i32::from(value.to_be());
    let (pass, v6, port_at) = (29i16, 17i16, 22i16);
    // A jump counts from the instruction after it.
    let to = |target: i16, here: i16| target - here - 1;
    vec![
        /* 0 */ op(MOVE, 6, 1, 0, 0),
        /* 1 */ load(4, 2, 6, 0),
        /* 2 */ load(4, 3, 6, 4),
        /* 3 */ op(MOVE, 4, 2, 0, 0),
        /* 4 */ op(ADD, 4, 0, 0, 42),
        /* 5 */ op(IF_GREATER, 4, 3, to(pass, 5), 0),
        /* 6 */ load(2, 5, 2, 12),
        /* 7 */ op(IF_EQUAL, 5, 0, to(v6, 7), wire(0x86dd)),
        /* 8 */ op(IF_NOT, 5, 0, to(pass, 8), wire(0x0800)),
        /* 9 */ load(1, 5, 2, 14),
        /* 10 */ op(IF_NOT, 5, 0, to(pass, 10), 0x45),
        /* 11 */ load(2, 5, 2, 20),
        /* 12 */ op(AND, 5, 0, 0, wire(0x3fff)),
        /* 13 */ op(IF_NOT, 5, 0, to(pass, 13), 0),
        /* 14 */ load(1, 7, 2, 23),
        /* 15 */ load(2, 5, 2, 36),
        /* 16 */ op(JUMP, 0, 0, to(port_at, 16), 0),
        /* 17: v6 */ op(MOVE, 4, 2, 0, 0),
        /* 18 */ op(ADD, 4, 0, 0, 62),
        /* 19 */ op(IF_GREATER, 4, 3, to(pass, 19), 0),
        /* 20 */ load(1, 7, 2, 20),
        /* 21 */ load(2, 5, 2, 56),
        /* 22: port */ op(IF_NOT, 7, 0, to(pass, 22), 17),
        /* 23 */ op(IF_NOT, 5, 0, to(pass, 23), wire(port)),
        /* 24 */ load(4, 2, 6, 16),
        /* 25, 26: the map, by its descriptor */ op(0x18, 1, 1, 0, map),
        op(0, 0, 0, 0, 0),
        /* 27 */ op(SET, 3, 0, 0, 2),
        /* 28 */ op(JUMP, 0, 0, 2, 0),
        /* 29: pass */ op(SET, 0, 0, 0, 2),
        /* 30 */ op(0x95, 0, 0, 0, 0),
        /* 31: bpf_redirect_map */ op(0x85, 0, 0, 0, 51),
        /* 32 */ op(0x95, 0, 0, 0, 0),
    ]
}
