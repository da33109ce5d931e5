//! The three system calls for which no crate offers a safe function: the ioctls of a TAP device.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `struct ifreq` as far as `TUNSETIFF` reads it, padded to its size.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    padding: [u8; 22],
}

const _: () = assert!(size_of::<InterfaceRequest>() == 40);

const IFF_TAP: u16 = 0x0002;
const IFF_MULTI_QUEUE: u16 = 0x0100;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;
const OFFLOAD_CHECKSUM: i32 = 0x01;
const OFFLOAD_TCP4: i32 = 0x02;
const OFFLOAD_TCP6: i32 = 0x04;
const OFFLOAD_TCP_ECN: i32 = 0x08;
const OFFLOAD_UDP4: i32 = 0x20;
const OFFLOAD_UDP6: i32 = 0x40;

/// The generated calls, unsafe as all ioctls are.
mod calls {
    use super::InterfaceRequest;
    use nix::libc::{c_int, c_uint};
    nix::ioctl_write_ptr_bad!(
        tun_set_iff,
        nix::request_code_write!(b'T', 202, size_of::<c_int>()),
        InterfaceRequest
    );
    nix::ioctl_write_int_bad!(tun_set_offload, nix::request_code_write!(b'T', 208, size_of::<c_uint>()));
    nix::ioctl_write_ptr!(tun_set_carrier, b'T', 226, c_int);
}

/// Makes `tun`, a fresh descriptor of `/dev/net/tun`, one queue of TAP device `name` with the offload header.
///
/// # Errors
/// What the kernel says; `InvalidInput` for a name of 16 bytes or more.
pub(crate) fn attach_tap(tun: &File, name: &str, multi_queue: bool) -> io::Result<()> {
    let queues = if multi_queue { IFF_MULTI_QUEUE } else { 0 };
    let flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | queues;
    let mut request = InterfaceRequest { name: [0; 16], flags, padding: [0; 22] };
    if name.len() >= request.name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the kernel reads one ifreq, which `request` is by size and layout, and keeps no pointer.
    unsafe { calls::tun_set_iff(tun.as_raw_fd(), &request) }?;
    Ok(())
}

/// Lets the device hand over unsegmented trains and unfinished checksums; says whether UDP trains came along
/// (kernels before 6.2 have them for TCP alone).
///
/// # Errors
/// What the kernel says.
pub(crate) fn offer_offloads(tap: &File) -> io::Result<bool> {
    let tcp = OFFLOAD_CHECKSUM | OFFLOAD_TCP4 | OFFLOAD_TCP6 | OFFLOAD_TCP_ECN;
    // SAFETY: the argument is a plain number of flags; no memory is involved.
    let all = unsafe { calls::tun_set_offload(tap.as_raw_fd(), tcp | OFFLOAD_UDP4 | OFFLOAD_UDP6) };
    if all.is_ok() {
        return Ok(true);
    }
    // SAFETY: as above.
    unsafe { calls::tun_set_offload(tap.as_raw_fd(), tcp) }?;
    Ok(false)
}

/// Puts the device's carrier on or off.
///
/// # Errors
/// What the kernel says.
pub(crate) fn set_carrier(tap: &File, on: bool) -> io::Result<()> {
    let value = i32::from(on);
    // SAFETY: the kernel reads one int, which outlives the call, and keeps no pointer.
    unsafe { calls::tun_set_carrier(tap.as_raw_fd(), &value) }?;
    Ok(())
}
