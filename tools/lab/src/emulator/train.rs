//! Joins packets that are due together into one train, as a NIC's receive offload does.
//!
//! In: packets of one interface in their order. Out: runs of them, and for a run of several packets of one
//! UDP or TCP flow the offload header and the headers of the train. Packets are never reordered, and a run
//! of one goes out as it is.

use super::checksum::fold;
use super::frame::{Protocol, TCP_FLAGS_AT, TCP_PSH, Unit, VNET_BYTES, Vnet, put_u16, unit};
use crate::limits::{ETHERNET_BYTES, TRAIN_BYTES_MAX, TRAIN_PACKETS_MAX};

/// Longest headers of a train: offload, Ethernet, IPv6, TCP with all its options.
const HEADERS_BYTES_MAX: usize = VNET_BYTES + ETHERNET_BYTES + 40 + 60;

/// A packet on its way.
pub(crate) struct Packet {
    /// The Ethernet frame, checksums complete.
    pub(crate) frame: Vec<u8>,
    /// The transport checksum is known to be right, so the receiving kernel may be told so.
    pub(crate) sound: bool,
}

/// How many packets from the start of `packets` form one run; at least one if there is any.
pub(crate) fn run_length(packets: &[Packet]) -> usize {
    let Some(first) = packets.first() else { return 0 };
    let Some(form) = unit(&first.frame).filter(|_| first.sound) else { return 1 };
    let first = &first.frame;
    let (mut count, mut bytes, mut last) = (1, first.len() - form.payload, first);
    // A shorter or a pushed packet can only be the last of a train.
    while count < packets.len().min(TRAIN_PACKETS_MAX) && last.len() == first.len() && !form.is_pushed(last) {
        let next = &packets[count];
        last = &next.frame;
        let grown = bytes + last.len().saturating_sub(form.payload);
        let joins = next.sound
            && last.len() <= first.len()
            && form.payload - ETHERNET_BYTES + grown <= TRAIN_BYTES_MAX
            && unit(last) == Some(form)
            && form.continues(first, bytes, last);
        if !joins {
            break;
        }
        (count, bytes) = (count + 1, grown);
    }
    count
}

/// The headers of one train of `run`, and where the payload begins in each of its packets.
pub(crate) struct TrainHeader {
    bytes: [u8; HEADERS_BYTES_MAX],
    len: usize,
    /// Where the payload begins in each packet of the run.
    pub(crate) payload: usize,
}

impl TrainHeader {
    /// Headers for `run`, which is two or more packets that [`run_length`] joined.
    pub(crate) fn of(run: &[Packet]) -> Self {
        let first = &run[0].frame;
        let form = unit(first).expect("run_length joined packets of one form");
        let Unit { ip, protocol, transport, payload } = form;
        let payload_bytes: usize = run.iter().map(|packet| packet.frame.len() - payload).sum();
        let transport_bytes = payload - transport + payload_bytes;
        let mut bytes = [0; HEADERS_BYTES_MAX];
        bytes[..VNET_BYTES].copy_from_slice(&Vnet::train(&form, first.len() - payload));
        let frame = &mut bytes[VNET_BYTES..VNET_BYTES + payload];
        frame.copy_from_slice(&first[..payload]);
        ip.set_length(frame, payload - ETHERNET_BYTES + payload_bytes);
        match protocol {
            Protocol::Udp => put_u16(frame, transport + 4, transport_bytes as u16),
            Protocol::Tcp if form.is_pushed(&run[run.len() - 1].frame) => {
                frame[transport + TCP_FLAGS_AT] |= TCP_PSH;
            }
            Protocol::Tcp => {}
        }
        let pseudo = fold(ip.pseudo_sum(frame, protocol.number(), transport_bytes));
        put_u16(frame, transport + protocol.checksum_at(), pseudo);
        Self { bytes, len: VNET_BYTES + payload, payload }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
