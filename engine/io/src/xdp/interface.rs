//! The interface that sockets are bound to: its queues, its driver, and the drivers whose zero-copy is known to hang.

use crate::error::IoError;
use crate::route::{self, Hardware};

/// An interface as AF_XDP sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpInterface {
    /// Number that names it in this network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Largest packet in bytes, IP header included.
    pub mtu: u32,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Receive queues in use.
    pub queues: u32,
    /// Name of its driver; empty when it tells none.
    pub driver: String,
}

/// Drivers with which zero-copy sockets are slower than copying ones or stop (DESIGN.md section 8, and what their issues tell).
const COPIED: &[(&str, &str)] = &[
    ("ena", "zero-copy is slower than copying there and resets the device (amzn-drivers 221)"),
    ("ice", "zero-copy panics some kernels there (ethernet-linux-ice 59)"),
];

impl XdpInterface {
    /// Asks for an interface.
    ///
    /// # Errors
    /// There is none with that index, or it is not one of Ethernet: `EOPNOTSUPP`.
    pub fn find(index: u32) -> Result<Self, IoError> {
        let Hardware { name, mtu, mac, queues, .. } = route::hardware(index)?;
        let Some(mac) = mac.filter(|mac| *mac != [0; 6]) else {
            return Err(IoError {
                op: "find the Ethernet address of",
                object: name,
                errno: libc::EOPNOTSUPP,
            });
        };
        let driver = route::offloads(&name).map(|offloads| offloads.driver).unwrap_or_default();
        let queues = route::channels(&name).unwrap_or(queues);
        Ok(XdpInterface { index, name, mtu, mac, queues, driver })
    }

    /// Why its memory is not to be used by the driver itself.
    pub fn copies(&self) -> Option<&'static str> {
        COPIED.iter().find(|(driver, _)| *driver == self.driver).map(|(_, why)| *why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::namespace;

    #[test]
    fn a_wire_can_and_loopback_cannot() {
        namespace::run(|| {
            let index = namespace::add_wire("x1", "y1");
            let x1 = XdpInterface::find(index).unwrap();
            assert_eq!((x1.name.as_str(), x1.driver.as_str(), x1.copies()), ("x1", "veth", None));
            assert!(x1.queues >= 1);
            let error = XdpInterface::find(namespace::LOOPBACK).unwrap_err();
            assert_eq!((error.object.as_str(), error.errno), ("lo", libc::EOPNOTSUPP));
            assert_eq!(XdpInterface::find(9_999).unwrap_err().errno, libc::ENODEV);
        });
    }
}
