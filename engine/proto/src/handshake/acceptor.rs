//! The end that waits for first packets: tickets, the half-open table and the order in which a HELLO is checked.
//!
//! A HELLO costs as little as it has proved. In order: its length and kind (no state is touched), its ticket's id (one
//! look-up), whether it repeats a half-open handshake (one hash), a cookie when the table is half full (one MAC), and
//! only then its Noise message (one psk; a DH once that has opened). Nothing is kept of a packet that
//! fails, and no answer is longer than what it answers.
//!
//! **One ticket, one connection.** The first HELLO that opens binds its ticket: while it is half open, another HELLO,
//! or the same from another address, is dropped unread, and when it ends, established or timed out, the ticket is gone.
//! So what a HELLO carried is acted on once, whoever replays it. A client that starts again asks for a new ticket;
//! only [`Acceptor::refuse`] gives the ticket back.

use super::DropReason;
use super::cookie::CookieKey;
use super::half_open::{HalfOpen, Shaking, Table};
use super::noise::Noise;
use super::packet::{
    COOKIE_DATAGRAM_LEN, Hello, VERSIONS_DATAGRAM_LEN, encode_cookie, encode_reply, encode_versions,
};
use super::payload::{Payload, reply_stream_room};
use crate::crypto::{Direction, Secrets, Suite, Ticket, TicketId};
use crate::limits;
use crate::time::Time;
use crate::wire::{Header, Kind, VERSION};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use sha2::{Digest, Sha256};

struct Admission {
    ticket: Ticket,
    expires: Time,
    /// The handshake that it is bound to.
    half_open: Option<HalfOpen>,
}

/// All handshakes that one node is offered.
pub struct Acceptor {
    tickets: BTreeMap<TicketId, Admission>,
    table: Table,
    cookie_key: CookieKey,
    counters: Counters,
}

/// What became of the HELLOs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Dropped ones, by the index of their reason in [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Answered by COOKIE.
    pub cookies: u64,
    /// Answered by VERSIONS.
    pub versions: u64,
    /// Answered by the same REPLY again.
    pub repeats: u64,
    /// Handed to the caller as new handshakes.
    pub fresh: u64,
    /// Handshakes that were established.
    pub established: u64,
    /// Handshakes that stayed half open too long.
    pub timed_out: u64,
}

impl Counters {
    /// How many were dropped for this reason.
    #[expect(clippy::indexing_slicing, reason = "there is a counter for each reason")]
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }
}

/// Why a ticket was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmitError {
    /// [`limits::TICKETS_MAX`] tickets wait already.
    Full,
    /// A ticket with this id waits already.
    Known,
}

impl fmt::Display for AdmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AdmitError::Full => "acceptor: too many tickets wait for their connections",
            AdmitError::Known => "acceptor: the ticket waits for its connection already",
        })
    }
}

impl core::error::Error for AdmitError {}

/// A handshake whose HELLO opened: the caller makes a connection of it and replies, or refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// For [`Acceptor::reply`], [`Acceptor::refuse`] and [`Acceptor::established`].
    pub half_open: HalfOpen,
    /// Whose connection it will be.
    pub ticket: TicketId,
    /// How packets are sealed.
    pub suite: Suite,
    /// Which way content may flow.
    pub direction: Direction,
    /// For the keys of both directions: the connection may be made, and may act, before it is known what its REPLY will say.
    pub secrets: Secrets,
    /// What the opener told of itself; its stream may be acted on at once.
    pub payload: Payload,
    /// How many stream bytes fit the REPLY.
    pub reply_stream_room: usize,
}

/// What to do about a HELLO.
#[derive(Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "returned once for each HELLO and taken apart at once")]
pub enum HelloOutcome<'a> {
    /// Nothing; it was counted.
    Drop(DropReason),
    /// Send this COOKIE to where the HELLO came from.
    Cookie([u8; COOKIE_DATAGRAM_LEN]),
    /// Send this VERSIONS to where the HELLO came from.
    Versions([u8; VERSIONS_DATAGRAM_LEN]),
    /// Send this REPLY once more to where the HELLO came from.
    Repeat(&'a [u8]),
    /// A new handshake.
    Fresh(Fresh),
}

/// Why no REPLY was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyRefused {
    /// The handshake has ended, or was replied to before.
    Gone,
    /// The stream bytes do not fit; this many do. A shorter payload may follow.
    TooLong {
        /// Stream bytes that fit.
        room: usize,
    },
}

impl fmt::Display for ReplyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyRefused::Gone => f.write_str("acceptor: the handshake waits for no reply"),
            ReplyRefused::TooLong { room } => {
                write!(f, "acceptor: the reply has room for {room} bytes of control stream")
            }
        }
    }
}

impl core::error::Error for ReplyRefused {}

enum Verdict {
    Cookie(TicketId),
    Versions(u8),
    Repeat(HalfOpen),
    Fresh(Fresh),
}

impl Acceptor {
    /// An acceptor with a table of `slots` half-open handshakes, at most [`limits::HALF_OPEN_MAX`], and 32 random bytes
    /// of its own to make cookies.
    pub fn new(slots: usize, cookie_key: [u8; 32]) -> Self {
        assert!(slots <= limits::HALF_OPEN_MAX, "half-open table of {slots} slots");
        Acceptor {
            tickets: BTreeMap::new(),
            table: Table::new(slots),
            cookie_key: CookieKey::new(cookie_key),
            counters: Counters::default(),
        }
    }

    /// Lets the holder of `ticket` in, once, before `expires` (issue time and [`limits::TICKET_LIFE`]).
    ///
    /// # Errors
    /// [`AdmitError`] when there is no room or the ticket is known.
    pub fn admit(&mut self, ticket: Ticket, expires: Time) -> Result<TicketId, AdmitError> {
        let id = ticket.id();
        if self.tickets.contains_key(&id) {
            return Err(AdmitError::Known);
        }
        if self.tickets.len() >= limits::TICKETS_MAX {
            return Err(AdmitError::Full);
        }
        self.tickets.insert(id, Admission { ticket, expires, half_open: None });
        Ok(id)
    }

    /// Forgets a ticket that is not wanted any more; false when it is not known. A half-open handshake of it ends too.
    pub fn revoke(&mut self, id: TicketId) -> bool {
        let Some(admission) = self.tickets.remove(&id) else { return false };
        if let Some(half_open) = admission.half_open {
            self.table.remove(half_open);
        }
        true
    }

    /// Forgets expired tickets and handshakes that stayed half open too long; call it now and then (a second apart is
    /// enough, expired tickets admit nobody in between). Each connection made of a handshake that is returned is over.
    pub fn expire(&mut self, now: Time) -> Vec<HalfOpen> {
        let late: Vec<HalfOpen> = self
            .table
            .iter()
            .filter(|(_, shaking)| shaking.deadline <= now)
            .map(|(handle, _)| handle)
            .collect();
        for handle in &late {
            self.end(*handle);
            self.counters.timed_out += 1;
        }
        self.tickets.retain(|_, admission| admission.half_open.is_some() || admission.expires > now);
        late
    }

    /// Handles a HELLO from `source`. `seed` is 32 random bytes that are used nowhere else.
    #[expect(clippy::indexing_slicing, reason = "there is a counter for each reason")]
    pub fn handle_hello(
        &mut self,
        now: Time,
        source: SocketAddr,
        datagram: &[u8],
        seed: [u8; 32],
    ) -> HelloOutcome<'_> {
        match self.judge(now, source, datagram, seed) {
            Err(reason) => {
                self.counters.dropped[reason as usize] += 1;
                HelloOutcome::Drop(reason)
            }
            Ok(Verdict::Cookie(ticket)) => {
                self.counters.cookies += 1;
                HelloOutcome::Cookie(encode_cookie(&self.cookie_key.make(now, source, ticket)))
            }
            Ok(Verdict::Versions(asked)) => {
                self.counters.versions += 1;
                HelloOutcome::Versions(encode_versions(asked))
            }
            Ok(Verdict::Repeat(handle)) => {
                self.counters.repeats += 1;
                HelloOutcome::Repeat(self.table.get(handle).map_or(&[], |shaking| &shaking.reply))
            }
            Ok(Verdict::Fresh(fresh)) => {
                self.counters.fresh += 1;
                HelloOutcome::Fresh(fresh)
            }
        }
    }

    fn judge(
        &mut self,
        now: Time,
        source: SocketAddr,
        datagram: &[u8],
        seed: [u8; 32],
    ) -> Result<Verdict, DropReason> {
        if !(limits::DATAGRAM_MIN..=limits::HELLO_LEN_MAX).contains(&datagram.len()) {
            return Err(DropReason::Length);
        }
        let header = Header::decode(datagram).map_err(|_| DropReason::Kind)?;
        if header.kind != Kind::Hello {
            return Err(DropReason::Kind);
        }
        if header.version != VERSION {
            return Ok(Verdict::Versions(header.version));
        }
        let hello = Hello::decode(datagram)?;
        let admission = self.tickets.get_mut(&hello.ticket).ok_or(DropReason::UnknownTicket)?;
        if let Some(half_open) = admission.half_open {
            let shaking = self.table.get(half_open).ok_or(DropReason::UnknownTicket)?;
            return repeats(shaking, source, &hello, datagram.len()).map(|()| Verdict::Repeat(half_open));
        }
        if admission.expires <= now {
            return Err(DropReason::UnknownTicket);
        }
        let proved = |cookie| self.cookie_key.verify(now, source, hello.ticket, cookie);
        if self.table.is_half_full() && !hello.cookie.is_some_and(proved) {
            return Ok(Verdict::Cookie(hello.ticket));
        }
        if self.table.is_full() {
            return Err(DropReason::TableFull);
        }
        let mut noise = Noise::acceptor(&admission.ticket, header.version, seed);
        let bytes = noise.read(hello.noise).ok_or(DropReason::Forged)?;
        let (versions, payload) = Payload::decode(&bytes).map_err(|_| DropReason::Malformed)?;
        if !versions.contains(&VERSION) {
            return Ok(Verdict::Versions(header.version));
        }
        let secrets = Noise::secrets_of_answer(&admission.ticket, header.version, seed, hello.noise);
        let secrets = secrets.ok_or(DropReason::Forged)?;
        let half_open = self.table.insert(Shaking {
            ticket: hello.ticket,
            source,
            deadline: now + limits::HALF_OPEN_LIFE,
            hello_digest: Sha256::digest(hello.noise).into(),
            hello_len: datagram.len(),
            connection: payload.connection,
            noise: Some(noise),
            reply: Vec::new(),
        });
        admission.half_open = Some(half_open);
        Ok(Verdict::Fresh(Fresh {
            half_open,
            ticket: hello.ticket,
            suite: admission.ticket.suite(),
            direction: admission.ticket.direction(),
            secrets,
            payload,
            reply_stream_room: reply_stream_room(datagram.len()),
        }))
    }

    /// Answers a fresh handshake: the REPLY to send, which is kept for repeats.
    ///
    /// # Errors
    /// [`ReplyRefused`]; nothing has changed then.
    pub fn reply(&mut self, handle: HalfOpen, payload: &Payload) -> Result<&[u8], ReplyRefused> {
        let shaking = self.table.get_mut(handle).ok_or(ReplyRefused::Gone)?;
        let room = reply_stream_room(shaking.hello_len);
        if payload.stream.len() > room {
            return Err(ReplyRefused::TooLong { room });
        }
        let mut noise = shaking.noise.take().ok_or(ReplyRefused::Gone)?;
        let message = noise.write(&payload.encode(&[VERSION]));
        shaking.reply = encode_reply(shaking.connection, &message);
        assert!(shaking.reply.len() <= shaking.hello_len, "a reply amplifies");
        Ok(&shaking.reply)
    }

    /// Gives a fresh handshake up without a word: the slot is free and the ticket waits again, so that the opener's
    /// next HELLO may be met with better luck. False when the handshake has ended.
    pub fn refuse(&mut self, handle: HalfOpen) -> bool {
        let Some(shaking) = self.table.remove(handle) else { return false };
        if let Some(admission) = self.tickets.get_mut(&shaking.ticket) {
            admission.half_open = None;
        }
        true
    }

    /// A packet under the new keys arrived from the address of the HELLO: the slot is free and the ticket used up.
    /// False when the handshake has ended, so that its connection must not go on.
    pub fn established(&mut self, handle: HalfOpen) -> bool {
        let ended = self.end(handle);
        self.counters.established += u64::from(ended);
        ended
    }

    fn end(&mut self, handle: HalfOpen) -> bool {
        let Some(shaking) = self.table.remove(handle) else { return false };
        self.tickets.remove(&shaking.ticket);
        true
    }

    /// How many handshakes are half open.
    pub const fn half_open(&self) -> usize {
        self.table.len()
    }

    /// How many tickets wait or have a half-open handshake.
    pub fn tickets(&self) -> usize {
        self.tickets.len()
    }

    /// What became of the HELLOs so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Whether a HELLO for a ticket with a half-open handshake is that handshake's own, again.
fn repeats(shaking: &Shaking, source: SocketAddr, hello: &Hello<'_>, len: usize) -> Result<(), DropReason> {
    if shaking.source != source || shaking.hello_digest[..] != Sha256::digest(hello.noise)[..] {
        return Err(DropReason::TicketInUse);
    }
    if shaking.reply.is_empty() {
        return Err(DropReason::ReplyPending);
    }
    if len < shaking.reply.len() {
        return Err(DropReason::Length);
    }
    Ok(())
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("tickets", &self.tickets.len())
            .field("half_open", &self.table.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ConnectionId;
    use core::net::Ipv4Addr;

    fn hello(ticket: &Ticket, versions: &[u8]) -> Vec<u8> {
        let payload = Payload {
            connection: ConnectionId(7),
            datagram_max: 1_452,
            receive_buffer: 1 << 20,
            stream_credit: 1 << 18,
            stream: Vec::new(),
        };
        let message = Noise::opener(ticket, VERSION, [1; 32]).write(&payload.encode(versions));
        Hello { ticket: ticket.id(), cookie: None, noise: &message }.encode(limits::DATAGRAM_MIN)
    }

    #[test]
    fn a_hello_without_a_common_version_is_answered_by_versions_and_keeps_no_slot() {
        let ticket = Ticket::new([3; 32], Suite::Aes128Gcm, Direction::Both);
        let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut acceptor = Acceptor::new(4, [0; 32]);
        acceptor.admit(ticket.clone(), Time::NEVER).expect("room");
        let outcome = acceptor.handle_hello(Time::default(), source, &hello(&ticket, &[2, 3]), [2; 32]);
        assert_eq!(outcome, HelloOutcome::Versions(encode_versions(VERSION)));
        assert_eq!(acceptor.half_open(), 0);
        let outcome = acceptor.handle_hello(Time::default(), source, &hello(&ticket, &[2, 1]), [2; 32]);
        assert!(matches!(outcome, HelloOutcome::Fresh(_)));
    }

    #[test]
    fn an_authentic_hello_with_a_broken_payload_is_dropped() {
        let ticket = Ticket::new([3; 32], Suite::Aes128Gcm, Direction::Both);
        let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut acceptor = Acceptor::new(4, [0; 32]);
        acceptor.admit(ticket.clone(), Time::NEVER).expect("room");
        let outcome = acceptor.handle_hello(Time::default(), source, &hello(&ticket, &[]), [2; 32]);
        assert_eq!(outcome, HelloOutcome::Drop(DropReason::Malformed));
        assert_eq!(acceptor.counters().dropped(DropReason::Malformed), 1);
        assert_eq!(acceptor.half_open(), 0);
    }
}
