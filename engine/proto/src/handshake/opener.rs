//! The end that sends the first packet.

use super::DropReason;
use super::cookie::COOKIE_LEN;
use super::noise::Noise;
use super::packet::{Hello, decode_cookie, decode_reply, decode_versions};
use super::payload::{Payload, PayloadTooLong, SPOKEN, hello_stream_room};
use crate::crypto::{Secrets, Ticket, TicketId};
use crate::limits;
use crate::wire::{ConnectionId, Malformed, VERSION};
use alloc::vec::Vec;
use core::fmt;

/// A handshake from its HELLO to its REPLY.
pub struct Opener {
    ticket: TicketId,
    connection: ConnectionId,
    /// `None` once a REPLY was read.
    noise: Option<Noise>,
    message: Vec<u8>,
    hello: Vec<u8>,
    /// The HELLO is padded to this many bytes.
    padded: usize,
    cookies: u8,
    versions_hint: Vec<u8>,
}

/// What a REPLY yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    /// For the keys of both directions.
    pub secrets: Secrets,
    /// What the acceptor told of itself.
    pub payload: Payload,
}

/// Why a REPLY did not end the handshake well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// Counted and forgotten; the handshake goes on.
    Dropped(DropReason),
    /// It came from the holder of the ticket, but breaks the protocol: this handshake has failed.
    Peer(Malformed),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::Dropped(reason) => write!(f, "reply dropped: {reason:?}"),
            ReplyError::Peer(malformed) => write!(f, "reply of the acceptor: {malformed}"),
        }
    }
}

impl core::error::Error for ReplyError {}

impl Opener {
    /// Begins a handshake; [`Opener::hello`] is to be sent. `seed` is 32 random bytes that are used nowhere else.
    ///
    /// # Errors
    /// [`PayloadTooLong`] when the stream has more than [`hello_stream_room`]`(HELLO_LEN_MAX)` bytes.
    pub fn new(ticket: &Ticket, seed: [u8; 32], payload: &Payload) -> Result<Self, PayloadTooLong> {
        let room = hello_stream_room(limits::HELLO_LEN_MAX);
        if payload.stream.len() > room {
            return Err(PayloadTooLong { room });
        }
        let mut noise = Noise::opener(ticket, VERSION, seed);
        let message = noise.write(&payload.encode(&SPOKEN));
        let mut opener = Opener {
            ticket: ticket.id(),
            connection: payload.connection,
            noise: Some(noise),
            message,
            hello: Vec::new(),
            padded: limits::DATAGRAM_MIN,
            cookies: 0,
            versions_hint: Vec::new(),
        };
        opener.write_hello(None);
        Ok(opener)
    }

    fn write_hello(&mut self, cookie: Option<&[u8; COOKIE_LEN]>) {
        self.hello = Hello { ticket: self.ticket, cookie, noise: &self.message }.encode(self.padded);
    }

    /// Pads the HELLO to `len` bytes, at most [`limits::HELLO_LEN_MAX`], if it is shorter: the REPLY may be as long. Before it is sent.
    pub fn pad(&mut self, len: usize) {
        self.padded = len.clamp(limits::DATAGRAM_MIN, limits::HELLO_LEN_MAX);
        self.write_hello(None);
    }

    /// The datagram to send, and to repeat while no REPLY comes; 1,200 to 1,452 bytes.
    pub fn hello(&self) -> &[u8] {
        &self.hello
    }

    /// Handles a COOKIE: [`Opener::hello`] now carries it and is to be sent at once.
    ///
    /// # Errors
    /// The packet is dropped; after [`limits::COOKIES_MAX`] every one is.
    pub fn handle_cookie(&mut self, datagram: &[u8]) -> Result<(), DropReason> {
        let cookie = decode_cookie(datagram)?;
        if self.noise.is_none() {
            return Err(DropReason::Finished);
        }
        if self.cookies >= limits::COOKIES_MAX {
            return Err(DropReason::TooManyCookies);
        }
        self.cookies += 1;
        self.write_hello(Some(&cookie));
        Ok(())
    }

    /// Handles a REPLY. One that does not open changes nothing, so that a forger cannot end the handshake.
    ///
    /// # Errors
    /// [`ReplyError`] says whether the handshake goes on.
    pub fn handle_reply(&mut self, datagram: &[u8]) -> Result<Established, ReplyError> {
        let message = decode_reply(datagram, self.connection).map_err(ReplyError::Dropped)?;
        let noise = self.noise.as_mut().ok_or(ReplyError::Dropped(DropReason::Finished))?;
        let bytes = noise.read(message).ok_or(ReplyError::Dropped(DropReason::Forged))?;
        let Some(noise) = self.noise.take() else {
            return Err(ReplyError::Dropped(DropReason::Finished));
        };
        let (versions, payload) = Payload::decode(&bytes).map_err(ReplyError::Peer)?;
        if versions != [VERSION] {
            return Err(ReplyError::Peer(Malformed::new("version that the acceptor chose")));
        }
        Ok(Established { secrets: noise.secrets(), payload })
    }

    /// Handles VERSIONS: remembers the hint, which anybody may have sent, for the report when no REPLY comes.
    ///
    /// # Errors
    /// The packet is dropped.
    pub fn handle_versions(&mut self, datagram: &[u8]) -> Result<(), DropReason> {
        self.versions_hint = decode_versions(datagram)?.to_vec();
        Ok(())
    }

    /// The versions that the acceptor speaks, as the last VERSIONS had it; empty when none came.
    pub fn versions_hint(&self) -> &[u8] {
        &self.versions_hint
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("ticket", &self.ticket)
            .field("connection", &self.connection)
            .field("finished", &self.noise.is_none())
            .finish_non_exhaustive()
    }
}
