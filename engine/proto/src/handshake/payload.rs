//! What each end tells of itself inside its sealed handshake message (PROTOCOL.md#handshake-payload).

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use super::cookie::COOKIE_LEN;
use super::noise;
use super::packet::{HELLO_HEAD_LEN, REPLY_HEAD_LEN};
use crate::limits;
use crate::wire::{ConnectionId, Malformed, Reader, VERSION};
use alloc::vec::Vec;
use core::fmt;

/// The versions that this code speaks.
pub(super) const SPOKEN: [u8; 1] = [VERSION];

/// Bytes of a payload before its stream, with one version.
const HEAD_LEN: usize = 1 + SPOKEN.len() + 4 + 2 + 4 + 4 + 2;

/// What one end tells the other in the handshake; its versions are added and checked here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Id for packets to this end on path 0.
    pub connection: ConnectionId,
    /// Largest datagram in bytes that this end takes, at least [`limits::DATAGRAM_MIN`].
    pub datagram_max: u16,
    /// Receive buffer in bytes that the socket really has, for the sum of all paths to one address.
    pub receive_buffer: u32,
    /// Bytes of control stream that this end takes.
    pub stream_credit: u32,
    /// The first bytes of this end's control stream.
    pub stream: Vec<u8>,
}

/// The stream bytes do not fit the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadTooLong {
    /// How many stream bytes fit.
    pub room: usize,
}

impl fmt::Display for PayloadTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "control stream bytes do not fit the handshake, which has room for {}", self.room)
    }
}

impl core::error::Error for PayloadTooLong {}

/// Stream bytes that fit a HELLO of `datagram` bytes, whether or not a cookie is demanded. A HELLO of
/// [`limits::DATAGRAM_MIN`] passes every path; up to [`limits::HELLO_LEN_MAX`] is allowed.
pub const fn hello_stream_room(datagram: usize) -> usize {
    datagram.saturating_sub(HELLO_HEAD_LEN + COOKIE_LEN + noise::OVERHEAD + HEAD_LEN)
}

/// Stream bytes that fit the REPLY to a HELLO of `hello` bytes.
pub const fn reply_stream_room(hello: usize) -> usize {
    hello.saturating_sub(REPLY_HEAD_LEN + noise::OVERHEAD + HEAD_LEN)
}

const _: () = assert!(hello_stream_room(limits::DATAGRAM_MIN) >= 1_000);
const _: () = assert!(SPOKEN.len() <= limits::VERSIONS_MAX);

impl Payload {
    #[expect(clippy::expect_used, reason = "what this end says is cut to a datagram before")]
    #[expect(clippy::arithmetic_side_effects, reason = "the length of what this end says, cut to a datagram")]
    pub(super) fn encode(&self, versions: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_LEN + self.stream.len());
        out.push(versions.len() as u8);
        out.extend_from_slice(versions);
        out.extend_from_slice(&self.connection.0.to_le_bytes());
        out.extend_from_slice(&self.datagram_max.to_le_bytes());
        out.extend_from_slice(&self.receive_buffer.to_le_bytes());
        out.extend_from_slice(&self.stream_credit.to_le_bytes());
        let len = u16::try_from(self.stream.len()).expect("the room was checked");
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&self.stream);
        out
    }

    /// The versions it names, and the rest.
    pub(super) fn decode(bytes: &[u8]) -> Result<(&[u8], Payload), Malformed> {
        let mut r = Reader::new(bytes);
        let count = usize::from(r.u8("handshake version count")?);
        if count == 0 || count > limits::VERSIONS_MAX {
            return Err(Malformed::new("handshake version count"));
        }
        let versions = r.bytes(count, "handshake versions")?;
        let payload = Payload {
            connection: ConnectionId(r.u32("handshake connection")?),
            datagram_max: r.u16("handshake datagram size")?,
            receive_buffer: r.u32("handshake receive buffer")?,
            stream_credit: r.u32("handshake stream credit")?,
            stream: r.counted(limits::HELLO_LEN_MAX, "handshake stream")?.to_vec(),
        };
        r.finish("handshake with bytes left over")?;
        if usize::from(payload.datagram_max) < limits::DATAGRAM_MIN {
            return Err(Malformed::new("handshake datagram size"));
        }
        Ok((versions, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(stream: usize) -> Payload {
        Payload {
            connection: ConnectionId(0x0102_0304),
            datagram_max: 1_452,
            receive_buffer: 4 << 20,
            stream_credit: 262_144,
            stream: alloc::vec![7; stream],
        }
    }

    #[test]
    fn payload_returns_as_it_went() {
        for stream in [0, 1, 1_311] {
            let bytes = payload(stream).encode(&[1]);
            assert_eq!(bytes.len(), HEAD_LEN + stream);
            assert_eq!(Payload::decode(&bytes), Ok((&[1][..], payload(stream))));
        }
    }

    #[test]
    fn every_cut_and_every_surplus_is_refused() {
        let bytes = payload(20).encode(&[1]);
        for len in 0..bytes.len() {
            assert!(Payload::decode(&bytes[..len]).is_err(), "{len}");
        }
        assert!(Payload::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn version_counts_and_small_datagrams_are_refused() {
        for (versions, good) in [(0, false), (1, true), (7, true), (8, false)] {
            let bytes = payload(0).encode(&alloc::vec![1; versions]);
            assert_eq!(Payload::decode(&bytes).is_ok(), good, "{versions}");
        }
        for (size, good) in [(0, false), (1_199, false), (1_200, true), (u16::MAX, true)] {
            let bytes = Payload { datagram_max: size, ..payload(0) }.encode(&[1]);
            assert_eq!(Payload::decode(&bytes).is_ok(), good, "{size}");
        }
    }
}
