//! Cuts a super-frame into the packets that a real wire would carry.
//!
//! In: one read of a TAP device, offload header and frame. Out: Ethernet frames of one packet each, with
//! complete IP, UDP and TCP checksums.

use super::checksum::{fold, sum};
use super::frame::{BadFrame, Gso, Ip, Protocol, TCP_FLAGS_AT, Vnet, get_u16, ip, put_u16, sequence};
use super::pool::Pool;
use crate::limits::ETHERNET_BYTES;

const TCP_FIN_PSH: u8 = 0x09;
const TCP_CWR: u8 = 0x80;

/// Where the headers of a train end and what they are.
struct Layout {
    ip: Ip,
    protocol: Protocol,
    transport: usize,
    payload: usize,
}

/// Calls `each` with the packets of `frame`, in order; `true` says that the checksum is of our making,
/// so that the packet may ride in a train again.
pub(crate) fn segment(
    vnet: Vnet,
    frame: &[u8],
    pool: &mut Pool,
    mut each: impl FnMut(Vec<u8>, bool),
) -> Result<(), BadFrame> {
    if frame.len() < ETHERNET_BYTES {
        return Err(BadFrame);
    }
    if vnet.gso == Gso::None {
        let mut packet = pool.take();
        packet.extend_from_slice(frame);
        if let Some((start, offset)) = vnet.checksum {
            complete(&mut packet, start, offset)?;
        }
        each(packet, vnet.checksum.is_some());
        return Ok(());
    }
    let layout = Layout::of(vnet, frame)?;
    let payload = &frame[layout.payload..];
    let count = payload.len().div_ceil(vnet.gso_size);
    for (index, part) in payload.chunks(vnet.gso_size).enumerate() {
        let mut packet = pool.take();
        packet.extend_from_slice(&frame[..layout.payload]);
        packet.extend_from_slice(part);
        layout.mend(&mut packet, index, index + 1 == count, vnet.gso_size);
        each(packet, true);
    }
    Ok(())
}

/// Completes a checksum whose field holds the sum of the pseudo-header.
fn complete(packet: &mut [u8], start: usize, offset: usize) -> Result<(), BadFrame> {
    let at = start + offset;
    if at + 2 > packet.len() {
        return Err(BadFrame);
    }
    let checksum = !fold(sum(&packet[start..]));
    // Zero means "none" in UDP (RFC 768); in TCP both zeros are the same sum.
    put_u16(
        packet,
        at,
        if checksum == 0 && offset == Protocol::Udp.checksum_at() { 0xffff } else { checksum },
    );
    Ok(())
}

impl Layout {
    fn of(vnet: Vnet, frame: &[u8]) -> Result<Self, BadFrame> {
        let ip = ip(frame).ok_or(BadFrame)?;
        let (transport, _) = vnet.checksum.ok_or(BadFrame)?;
        let fixed = if vnet.gso == Gso::Udp { 8 } else { 20 };
        let network_end = ETHERNET_BYTES
            + match ip {
                Ip::V4 => usize::from(frame[ETHERNET_BYTES] & 0xf).max(5) * 4,
                Ip::V6 => 40,
            };
        if vnet.gso_size == 0 || transport < network_end || frame.len() < transport + fixed {
            return Err(BadFrame);
        }
        let (protocol, header) = match vnet.gso {
            Gso::Udp => (Protocol::Udp, 8),
            _ => (Protocol::Tcp, usize::from(frame[transport + 12] >> 4) * 4),
        };
        let payload = transport + header;
        if header < fixed || frame.len() <= payload {
            return Err(BadFrame);
        }
        Ok(Self { ip, protocol, transport, payload })
    }

    /// Makes packet `index` of the train what it would be had it been sent alone.
    fn mend(&self, packet: &mut [u8], index: usize, last: bool, gso_size: usize) {
        let (transport, bytes) = (self.transport, packet.len() - self.transport);
        if self.ip == Ip::V4 {
            let identification = get_u16(packet, ETHERNET_BYTES + 4).wrapping_add(index as u16);
            put_u16(packet, ETHERNET_BYTES + 4, identification);
        }
        self.ip.set_length(packet, packet.len() - ETHERNET_BYTES);
        if self.protocol == Protocol::Udp {
            put_u16(packet, transport + 4, bytes as u16);
        } else {
            let sequence = sequence(packet, transport).wrapping_add((index * gso_size) as u32);
            packet[transport + 4..transport + 8].copy_from_slice(&sequence.to_be_bytes());
            if !last {
                packet[transport + TCP_FLAGS_AT] &= !TCP_FIN_PSH;
            }
            if index > 0 {
                packet[transport + TCP_FLAGS_AT] &= !TCP_CWR;
            }
        }
        let pseudo = fold(self.ip.pseudo_sum(packet, self.protocol.number(), bytes));
        let offset = self.protocol.checksum_at();
        put_u16(packet, transport + offset, pseudo);
        complete(packet, transport, offset).expect("the layout was checked");
    }
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
