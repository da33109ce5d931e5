//! The 32-byte header of every packet (PROTOCOL.md#header).

use super::Malformed;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 32;

/// Length of the AEAD tag in bytes.
pub const TAG_LEN: usize = 16;

/// The protocol version that this code speaks.
pub const VERSION: u8 = 1;

/// Attempts are told apart modulo 8 on the wire.
pub const ATTEMPT_MASK: u8 = 7;

const FLAG_ASK: u8 = 1;
const ATTEMPT_SHIFT: u8 = 1;

/// A path's id within its connection; given by the opener, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u16);

/// A connection's id, chosen by the end that receives packets with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// A transfer's id within its connection, chosen by the opener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u32);

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sealed content of a transfer.
    Data,
    /// Sealed frames.
    Control,
    /// First handshake message.
    Hello,
    /// Second handshake message.
    Reply,
    /// Demand to prove the address first.
    Cookie,
    /// The versions that the acceptor speaks.
    Versions,
}

impl Kind {
    const ALL: [Kind; 6] =
        [Kind::Data, Kind::Control, Kind::Hello, Kind::Reply, Kind::Cookie, Kind::Versions];
}

/// A packet's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the packet is.
    pub kind: Kind,
    /// Protocol version, 1 to 7.
    pub version: u8,
    /// The receiver is asked for an ACK at once.
    pub ask: bool,
    /// Attempt of the chunk modulo 8 (DATA).
    pub attempt: u8,
    /// The path the packet belongs to.
    pub path: PathId,
    /// The receiver's id of the connection; 0 in HELLO.
    pub connection: ConnectionId,
    /// Packet number on its path and direction.
    pub number: u64,
    /// The transfer (DATA), else 0.
    pub transfer: TransferId,
    /// The sender's clock, microseconds modulo 2^32.
    pub stamp: u32,
    /// Virtual offset in bytes (DATA), below 2^48.
    pub offset: u64,
    /// Length of the plain payload in bytes.
    pub length: u16,
}

impl Header {
    /// A header of `kind` with everything else zero.
    pub const fn new(kind: Kind) -> Self {
        Header {
            kind,
            version: VERSION,
            ask: false,
            attempt: 0,
            path: PathId(0),
            connection: ConnectionId(0),
            number: 0,
            transfer: TransferId(0),
            stamp: 0,
            offset: 0,
            length: 0,
        }
    }

    /// Reads the header of a datagram, any version.
    ///
    /// # Errors
    /// [`Malformed`] when it is shorter than a header, is not ours, or is of an unknown type.
    pub fn decode(datagram: &[u8]) -> Result<Header, Malformed> {
        let h: &[u8; HEADER_LEN] = datagram.first_chunk().ok_or(Malformed::new("datagram length"))?;
        if h[0] & 0xc0 != 0x80 {
            return Err(Malformed::new("first byte"));
        }
        let kind = *Kind::ALL.get(usize::from(h[0] >> 3 & 7)).ok_or(Malformed::new("packet type"))?;
        Ok(Header {
            kind,
            version: h[0] & 7,
            ask: h[1] & FLAG_ASK != 0,
            attempt: h[1] >> ATTEMPT_SHIFT & ATTEMPT_MASK,
            path: PathId(u16::from_le_bytes([h[2], h[3]])),
            connection: ConnectionId(u32::from_le_bytes([h[4], h[5], h[6], h[7]])),
            number: u64::from_le_bytes([h[8], h[9], h[10], h[11], h[12], h[13], h[14], h[15]]),
            transfer: TransferId(u32::from_le_bytes([h[16], h[17], h[18], h[19]])),
            stamp: u32::from_le_bytes([h[20], h[21], h[22], h[23]]),
            offset: u64::from_le_bytes([h[24], h[25], h[26], h[27], h[28], h[29], 0, 0]),
            length: u16::from_le_bytes([h[30], h[31]]),
        })
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut h = [0; HEADER_LEN];
        h[0] = 0x80 | (self.kind as u8) << 3 | self.version;
        h[1] = u8::from(self.ask) | (self.attempt & ATTEMPT_MASK) << ATTEMPT_SHIFT;
        h[2..4].copy_from_slice(&self.path.0.to_le_bytes());
        h[4..8].copy_from_slice(&self.connection.0.to_le_bytes());
        h[8..16].copy_from_slice(&self.number.to_le_bytes());
        h[16..20].copy_from_slice(&self.transfer.0.to_le_bytes());
        h[20..24].copy_from_slice(&self.stamp.to_le_bytes());
        h[24..30].copy_from_slice(&self.offset.to_le_bytes()[..6]);
        h[30..32].copy_from_slice(&self.length.to_le_bytes());
        h
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Header {
        Header {
            kind: Kind::Data,
            version: VERSION,
            ask: true,
            attempt: 5,
            path: PathId(0x0102),
            connection: ConnectionId(0x0304_0506),
            number: 0x0708_090a_0b0c_0d0e,
            transfer: TransferId(0x0f10_1112),
            stamp: 0x1314_1516,
            offset: 0x1718_191a_1b1c,
            length: 0x1d1e,
        }
    }

    #[test]
    fn header_returns_as_it_went() {
        for kind in Kind::ALL {
            let header = Header { kind, ..full() };
            assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn every_byte_is_where_the_specification_says() {
        let bytes = full().encode();
        assert_eq!(bytes[..4], [0x81, 0b1011, 0x02, 0x01]);
        assert_eq!(bytes[4..8], [6, 5, 4, 3]);
        assert_eq!(bytes[24..32], [0x1c, 0x1b, 0x1a, 0x19, 0x18, 0x17, 0x1e, 0x1d]);
    }

    #[test]
    fn short_foreign_and_unknown_are_refused() {
        let bytes = full().encode();
        assert!(Header::decode(&bytes[..31]).is_err());
        for first in [0x00, 0x41, 0xc1, 0x80 | 6 << 3 | 1, 0x80 | 7 << 3 | 1] {
            let mut other = bytes;
            other[0] = first;
            assert!(Header::decode(&other).is_err(), "{first:#x}");
        }
    }
}
