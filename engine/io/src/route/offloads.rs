//! What a network interface does for packets: its driver and its offloads, asked of it by the ethtool ioctl (netdevice(7)).

use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use crate::error::{IoError, check};

/// Commands of `linux/ethtool.h`.
const ETHTOOL_GSET: u32 = 0x01;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GRXCSUM: u32 = 0x14;
const ETHTOOL_GTXCSUM: u32 = 0x16;
const ETHTOOL_GTSO: u32 = 0x1e;
const ETHTOOL_GGSO: u32 = 0x23;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// Driver and offloads of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Name of the driver; empty when it tells none.
    pub driver: String,
    /// Checksums of received packets.
    pub receive_checksum: bool,
    /// Checksums of sent packets.
    pub send_checksum: bool,
    /// Segmentation of TCP.
    pub tso: bool,
    /// Segmentation as late as possible.
    pub gso: bool,
    /// Coalescing of received packets.
    pub gro: bool,
    /// Speed of the wire in Mbit/s, as the driver tells it; the drivers of devices without a wire make one up.
    pub speed_mbit: Option<u32>,
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ethtool_drvinfo`: after the command seven texts and five numbers.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

const _: () = assert!(size_of::<DriverInfo>() == 196);

/// `struct ethtool_cmd`: speed is in two halves.
#[repr(C)]
struct Settings {
    command: u32,
    supported: [u32; 2],
    speed: u16,
    port: [u8; 6],
    packets: [u32; 2],
    speed_high: u16,
    rest: [u8; 14],
}

const _: () = assert!(size_of::<Settings>() == 44);

/// `struct ethtool_channels`.
#[repr(C)]
struct Channels {
    command: u32,
    max: [u32; 4],
    receive: u32,
    send: u32,
    other: u32,
    combined: u32,
}

/// Asks an interface. What it does not tell counts as off.
///
/// # Errors
/// There is no such interface.
pub fn offloads(name: &str) -> Result<Offloads, IoError> {
    let fail = |error| IoError::new("ask for offloads of", name, &error);
    let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::1]:0")).map_err(fail)?;
    let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
    match ask(&socket, name, (&raw mut info).cast()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Err(fail(error)),
        // No driver to name: loopback, for one.
        Err(_) => info.driver = [0; 32],
    }
    let driver = info.driver.split(|byte| *byte == 0).next().unwrap_or_default();
    let on = |command| {
        let mut value = Value { command, data: 0 };
        ask(&socket, name, (&raw mut value).cast()).is_ok() && value.data != 0
    };
    Ok(Offloads {
        driver: String::from_utf8_lossy(driver).into_owned(),
        receive_checksum: on(ETHTOOL_GRXCSUM),
        send_checksum: on(ETHTOOL_GTXCSUM),
        tso: on(ETHTOOL_GTSO),
        gso: on(ETHTOOL_GGSO),
        gro: on(ETHTOOL_GGRO),
        speed_mbit: speed(&socket, name),
    })
}

/// Receive queues of an interface that are in use, as its driver tells; `None` when it does not.
pub fn channels(name: &str) -> Option<u32> {
    let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::1]:0")).ok()?;
    let mut channels =
        Channels { command: ETHTOOL_GCHANNELS, max: [0; 4], receive: 0, send: 0, other: 0, combined: 0 };
    ask(&socket, name, (&raw mut channels).cast()).ok()?;
    Some(channels.receive + channels.combined).filter(|count| *count > 0)
}

fn speed(socket: &UdpSocket, name: &str) -> Option<u32> {
    let mut settings = Settings {
        command: ETHTOOL_GSET,
        supported: [0; 2],
        speed: 0,
        port: [0; 6],
        packets: [0; 2],
        speed_high: 0,
        rest: [0; 14],
    };
    ask(socket, name, (&raw mut settings).cast()).ok()?;
    let mbit = u32::from(settings.speed_high) << 16 | u32::from(settings.speed);
    // All ones and 0 mean that it is not known; 16 ones are what old drivers say for it.
    (!matches!(mbit, 0 | 0xffff | u32::MAX)).then_some(mbit)
}

/// One request. `data` points to a whole structure that the command at its start names, alive for the call.
fn ask(socket: &UdpSocket, name: &str, data: *mut libc::c_char) -> io::Result<()> {
    // SAFETY: all zeroes is a valid request without a name.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = data;
    // SAFETY: the kernel reads and writes `request` and the structure that `data` points to, both alive here; its size
    // is fixed by the command it begins with.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_tells_and_nothing_else_is_there() {
        let loopback = offloads("lo").unwrap();
        // Segmentation on loopback is on unless somebody switched it off; checksums cannot be.
        assert!(loopback.send_checksum, "{loopback:?}");
        assert_eq!(loopback.speed_mbit, None);
        assert_eq!(offloads("nosuch0").unwrap_err().errno, libc::ENODEV);
        assert_eq!(offloads("a-name-that-is-too-long").unwrap_err().errno, libc::ENODEV);
    }
}
