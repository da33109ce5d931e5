//! The emulator's ends of the wires: TAP devices that carry the offload header.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use nix::libc::O_NONBLOCK;

use crate::error::LabError;
use crate::sys;

const DEVICE: &str = "/dev/net/tun";

/// One queue of the interface of one host on one wire.
pub(crate) struct Tap {
    pub(crate) file: File,
    /// Index of the emulated wire in the emulator's own list.
    pub(crate) wire: usize,
    pub(crate) host: usize,
    /// Whether UDP trains come unsegmented.
    pub(crate) udp_trains: bool,
}

/// Makes TAP device `name` with `queues` queues in the current namespace.
pub(crate) fn open(name: &str, queues: usize, wire: usize, host: usize) -> Result<Vec<Tap>, LabError> {
    let open_queue = || {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(O_NONBLOCK)
            .open(DEVICE)
            .map_err(LabError::io("open", DEVICE))?;
        sys::attach_tap(&file, name, queues > 1).map_err(LabError::io("make the TAP device", name))?;
        let udp_trains =
            sys::offer_offloads(&file).map_err(LabError::io("set the offloads of TAP device", name))?;
        Ok(Tap { file, wire, host, udp_trains })
    };
    (0..queues).map(|_| open_queue()).collect()
}
