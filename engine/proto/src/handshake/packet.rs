//! The datagrams of the handshake around their Noise messages: HELLO, REPLY, COOKIE, VERSIONS.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use super::DropReason;
use super::cookie::COOKIE_LEN;
use super::payload::SPOKEN;
use crate::crypto::TicketId;
use crate::limits;
use crate::wire::{ConnectionId, HEADER_LEN, Header, Kind, Reader, VERSION};
use alloc::vec::Vec;

/// Bytes of a HELLO before its Noise message, without a cookie.
pub(super) const HELLO_HEAD_LEN: usize = HEADER_LEN + 16 + 1 + 2;
/// Bytes of a REPLY before its Noise message.
pub(super) const REPLY_HEAD_LEN: usize = HEADER_LEN + 2;
/// Bytes of a COOKIE datagram.
pub const COOKIE_DATAGRAM_LEN: usize = HEADER_LEN + COOKIE_LEN;
/// Bytes of a VERSIONS datagram as this code sends it.
pub const VERSIONS_DATAGRAM_LEN: usize = HEADER_LEN + 1 + SPOKEN.len();

const _: () = assert!(COOKIE_DATAGRAM_LEN <= limits::DATAGRAM_MIN);
const _: () = assert!(VERSIONS_DATAGRAM_LEN <= limits::DATAGRAM_MIN);

/// A HELLO of this version, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello<'a> {
    pub(super) ticket: TicketId,
    pub(super) cookie: Option<&'a [u8; COOKIE_LEN]>,
    pub(super) noise: &'a [u8],
}

impl<'a> Hello<'a> {
    pub(super) fn decode(datagram: &'a [u8]) -> Result<Self, DropReason> {
        let body = datagram.get(HEADER_LEN..).ok_or(DropReason::Length)?;
        Self::decode_body(body).ok_or(DropReason::Malformed)
    }

    fn decode_body(body: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(body);
        let ticket = TicketId(r.array("").ok()?);
        let cookie = match usize::from(r.u8("").ok()?) {
            0 => None,
            COOKIE_LEN => r.bytes(COOKIE_LEN, "").ok()?.first_chunk(),
            _ => return None,
        };
        let noise = r.counted(limits::HELLO_LEN_MAX, "").ok()?;
        Some(Hello { ticket, cookie, noise })
    }

    /// The datagram, zero-padded to `padded` bytes.
    pub(super) fn encode(&self, padded: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(limits::HELLO_LEN_MAX);
        out.extend_from_slice(&Header::new(Kind::Hello).encode());
        out.extend_from_slice(&self.ticket.0);
        let cookie: &[u8] = self.cookie.map_or(&[], |cookie| cookie);
        out.push(cookie.len() as u8);
        out.extend_from_slice(cookie);
        push_counted(&mut out, self.noise);
        assert!(out.len() <= limits::HELLO_LEN_MAX, "the room was checked");
        out.resize(out.len().max(padded), 0);
        out
    }
}

/// A REPLY to the end that chose `connection`.
#[expect(clippy::arithmetic_side_effects, reason = "the length of what this end says, cut to a datagram")]
pub(super) fn encode_reply(connection: ConnectionId, noise: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(REPLY_HEAD_LEN + noise.len());
    out.extend_from_slice(&Header { connection, ..Header::new(Kind::Reply) }.encode());
    push_counted(&mut out, noise);
    out
}

/// The Noise message of a REPLY to `connection`.
pub(super) fn decode_reply(datagram: &[u8], connection: ConnectionId) -> Result<&[u8], DropReason> {
    let body = body(datagram, Kind::Reply, connection)?;
    let mut r = Reader::new(body);
    let noise = r.counted(usize::from(u16::MAX), "").map_err(|_| DropReason::Length)?;
    r.finish("").map_err(|_| DropReason::Length)?;
    Ok(noise)
}

/// A COOKIE for an end that has no connection id here yet.
pub(super) fn encode_cookie(cookie: &[u8; COOKIE_LEN]) -> [u8; COOKIE_DATAGRAM_LEN] {
    let mut out = [0; COOKIE_DATAGRAM_LEN];
    out[..HEADER_LEN].copy_from_slice(&Header::new(Kind::Cookie).encode());
    out[HEADER_LEN..].copy_from_slice(cookie);
    out
}

pub(super) fn decode_cookie(datagram: &[u8]) -> Result<[u8; COOKIE_LEN], DropReason> {
    let body = body(datagram, Kind::Cookie, ConnectionId(0))?;
    body.try_into().map_err(|_| DropReason::Length)
}

/// The versions spoken here, under the version of the HELLO that is answered, so that its sender reads it.
pub(super) fn encode_versions(version: u8) -> [u8; VERSIONS_DATAGRAM_LEN] {
    let mut out = [0; VERSIONS_DATAGRAM_LEN];
    out[..HEADER_LEN].copy_from_slice(&Header { version, ..Header::new(Kind::Versions) }.encode());
    out[HEADER_LEN] = SPOKEN.len() as u8;
    out[HEADER_LEN + 1..].copy_from_slice(&SPOKEN);
    out
}

pub(super) fn decode_versions(datagram: &[u8]) -> Result<&[u8], DropReason> {
    let (count, versions) =
        body(datagram, Kind::Versions, ConnectionId(0))?.split_first().ok_or(DropReason::Length)?;
    let count = usize::from(*count);
    if count != versions.len() || count > limits::VERSIONS_MAX {
        return Err(DropReason::Length);
    }
    Ok(versions)
}

#[expect(clippy::indexing_slicing, reason = "the header was decoded")]
fn body(datagram: &[u8], kind: Kind, connection: ConnectionId) -> Result<&[u8], DropReason> {
    let header = Header::decode(datagram).map_err(|_| DropReason::Kind)?;
    if header.kind != kind || header.version != VERSION {
        return Err(DropReason::Kind);
    }
    if header.connection != connection {
        return Err(DropReason::Connection);
    }
    Ok(&datagram[HEADER_LEN..])
}

#[expect(clippy::expect_used, reason = "what this end says is cut to a datagram before")]
fn push_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).expect("a Noise message of a datagram");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_returns_as_it_went_with_and_without_cookie() {
        for cookie in [None, Some(&[9; COOKIE_LEN])] {
            for len in [48, 1_100, 1_377] {
                let noise = alloc::vec![3; len];
                let hello = Hello { ticket: TicketId([5; 16]), cookie, noise: &noise };
                let datagram = hello.encode(limits::DATAGRAM_MIN);
                assert!((limits::DATAGRAM_MIN..=limits::HELLO_LEN_MAX).contains(&datagram.len()));
                assert_eq!(Hello::decode(&datagram), Ok(hello));
            }
        }
    }

    #[test]
    fn cookie_of_another_length_is_refused() {
        let mut datagram =
            Hello { ticket: TicketId([5; 16]), cookie: None, noise: &[0; 48] }.encode(limits::DATAGRAM_MIN);
        for len in [1, 23, 25, 255] {
            datagram[HEADER_LEN + 16] = len;
            assert_eq!(Hello::decode(&datagram), Err(DropReason::Malformed), "{len}");
        }
    }

    #[test]
    fn versions_are_read_under_the_version_that_asked() {
        assert_eq!(decode_versions(&encode_versions(VERSION)), Ok(&SPOKEN[..]));
        assert_eq!(decode_versions(&encode_versions(2)), Err(DropReason::Kind));
        let mut longer = encode_versions(VERSION).to_vec();
        longer.push(2);
        assert_eq!(decode_versions(&longer), Err(DropReason::Length));
    }
}
