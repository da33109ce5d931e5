//! Frames as they come by a wire, built from their parts: Ethernet, VLAN tags, IP, UDP, and packets by the codec of `xfer-proto`.

use xfer_proto::wire::{ConnectionId, Header, Kind, PathId, TAG_LEN};

/// The port that is ours in these tests.
pub(crate) const PORT: u16 = 7_700;

/// How IP carries the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ip {
    Four,
    Six,
}

/// A frame in the making.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) ip: Ip,
    /// Tags between the addresses and the type of the payload, as their EtherTypes.
    pub(crate) tags: Vec<u16>,
    pub(crate) source: [u8; 16],
    pub(crate) from: u16,
    pub(crate) to: u16,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(payload: Vec<u8>) -> Self {
        Frame { ip: Ip::Four, tags: Vec::new(), source: [9; 16], from: 40_000, to: PORT, payload }
    }

    pub(crate) fn six(self) -> Self {
        Frame { ip: Ip::Six, ..self }
    }

    pub(crate) fn tagged(mut self, tag: u16) -> Self {
        self.tags.push(tag);
        self
    }

    pub(crate) fn to(self, to: u16) -> Self {
        Frame { to, ..self }
    }

    pub(crate) fn source(self, source: [u8; 16]) -> Self {
        Frame { source, ..self }
    }

    /// Bytes before the UDP payload.
    pub(crate) fn payload_at(&self) -> usize {
        self.network_at() + self.ip_len() + 8
    }

    pub(crate) fn network_at(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    fn ip_len(&self) -> usize {
        if self.ip == Ip::Four { 20 } else { 40 }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = vec![2; 12];
        for tag in &self.tags {
            out.extend_from_slice(&tag.to_be_bytes());
            out.extend_from_slice(&[0, 5]);
        }
        let udp_len = (8 + self.payload.len()) as u16;
        match self.ip {
            Ip::Four => {
                out.extend_from_slice(&0x0800_u16.to_be_bytes());
                out.extend_from_slice(&[0x45, 0]);
                out.extend_from_slice(&(20 + udp_len).to_be_bytes());
                out.extend_from_slice(&[0, 1, 0x40, 0, 64, 17, 0, 0]);
                out.extend_from_slice(&self.source[..4]);
                out.extend_from_slice(&[10, 0, 0, 1]);
            }
            Ip::Six => {
                out.extend_from_slice(&0x86dd_u16.to_be_bytes());
                out.extend_from_slice(&[0x60, 0, 0, 0]);
                out.extend_from_slice(&udp_len.to_be_bytes());
                out.extend_from_slice(&[17, 64]);
                out.extend_from_slice(&self.source);
                out.extend_from_slice(&[1; 16]);
            }
        }
        for word in [self.from, self.to, udp_len, 0] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&self.payload);
        out
    }
}

/// A header of `kind` to `connection` on path 0.
pub(crate) fn header(kind: Kind, connection: u32) -> Header {
    Header { connection: ConnectionId(connection), ..Header::new(kind) }
}

/// A packet with `header`, sealed content of `len` plain bytes behind it.
pub(crate) fn sealed(header: Header, len: u16) -> Vec<u8> {
    let mut out = Header { length: len, ..header }.encode().to_vec();
    out.resize(out.len() + usize::from(len) + TAG_LEN, 0xab);
    out
}

/// A DATA packet of 1,000 plain bytes with this number on `path`.
pub(crate) fn data(connection: u32, path: u16, number: u64) -> Vec<u8> {
    sealed(Header { path: PathId(path), number, ..header(Kind::Data, connection) }, 1_000)
}

/// A HELLO, as far as XDP reads it, of `len` bytes.
pub(crate) fn hello(len: usize) -> Vec<u8> {
    let mut out = Header::new(Kind::Hello).encode().to_vec();
    out.resize(len, 0);
    out
}
