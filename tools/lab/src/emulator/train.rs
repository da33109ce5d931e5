//! Joins packets that are due together into one train, as a NIC's receive offload does.
//!
//! In: packets of one interface in their order. Out: runs of them, and for a run of several UDP packets
//! of one flow the offload header and the headers of the train. Packets are never reordered, and a run
//! of one goes out as it is.

use super::checksum::fold;
use super::frame::{Datagram, VNET_BYTES, Vnet, datagram, put_u16};
use crate::limits::{ETHERNET_BYTES, TRAIN_BYTES_MAX, TRAIN_PACKETS_MAX};

const PROTOCOL_UDP: u8 = 17;
/// Longest headers of a train: offload, Ethernet, IPv6, UDP.
const HEADERS_BYTES_MAX: usize = VNET_BYTES + ETHERNET_BYTES + 40 + 8;

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
    let Some(shape) = datagram(&first.frame).filter(|_| first.sound) else { return 1 };
    let mut bytes = first.frame.len() - ETHERNET_BYTES;
    let mut count = 1;
    for next in &packets[1..packets.len().min(TRAIN_PACKETS_MAX)] {
        let fits = next.sound
            && next.frame.len() <= first.frame.len()
            && datagram(&next.frame) == Some(shape)
            && shape.same_flow(&first.frame, &next.frame);
        bytes += next.frame.len().saturating_sub(shape.payload);
        if !fits || bytes > TRAIN_BYTES_MAX {
            break;
        }
        count += 1;
        if next.frame.len() < first.frame.len() {
            break; // a shorter packet can only be the last of a train
        }
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
        let Datagram { ip, transport, payload } = datagram(first).expect("run_length joined datagrams");
        let payload_bytes: usize = run.iter().map(|packet| packet.frame.len() - payload).sum();
        let udp_bytes = payload - transport + payload_bytes;
        let mut bytes = [0; HEADERS_BYTES_MAX];
        bytes[..VNET_BYTES].copy_from_slice(&Vnet::udp_train(transport, first.len() - payload));
        let frame = &mut bytes[VNET_BYTES..VNET_BYTES + payload];
        frame.copy_from_slice(&first[..payload]);
        ip.set_length(frame, payload - ETHERNET_BYTES + payload_bytes);
        put_u16(frame, transport + 4, udp_bytes as u16);
        let pseudo = fold(ip.pseudo_sum(frame, PROTOCOL_UDP, udp_bytes));
        put_u16(frame, transport + 6, pseudo);
        Self { bytes, len: VNET_BYTES + payload, payload }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
