//! The handshake: one round trip that turns a ticket into two secrets (PROTOCOL.md#handshake).
//!
//! In come HELLO, REPLY, COOKIE and VERSIONS datagrams, the time and random seeds; out go such datagrams, the secrets
//! and what the other end told of itself. Deliberately absent: sockets, timers for repeats (the connection's probe timer
//! repeats [`Opener::hello`]) and the connection itself, which the caller makes of a [`Fresh`] handshake.

mod acceptor;
mod cookie;
mod half_open;
mod noise;
mod opener;
mod packet;
mod payload;

pub use acceptor::{Acceptor, AdmitError, Counters, Fresh, HelloOutcome, ReplyRefused};
pub use cookie::COOKIE_LEN;
pub use half_open::HalfOpen;
pub use opener::{Established, Opener, ReplyError};
pub use packet::{COOKIE_DATAGRAM_LEN, VERSIONS_DATAGRAM_LEN};
pub use payload::{Payload, PayloadTooLong, hello_stream_room, reply_stream_room};

/// Why a handshake packet was dropped: counted, never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Too short or too long for what it is.
    Length,
    /// Not of the kind or version that is handled here.
    Kind,
    /// A field is not what PROTOCOL.md says.
    Malformed,
    /// No such ticket waits here: never issued, expired, or its connection was established.
    UnknownTicket,
    /// The ticket's handshake is half open with another HELLO or another address.
    TicketInUse,
    /// Every slot of the half-open table is taken.
    TableFull,
    /// The same HELLO again while the caller has not replied yet.
    ReplyPending,
    /// The Noise message does not open: another secret, suite or direction, or forged.
    Forged,
    /// For another connection of this end.
    Connection,
    /// The acceptor sent more COOKIEs than an opener obeys.
    TooManyCookies,
    /// The handshake is over.
    Finished,
}

impl DropReason {
    /// Every reason, in the order of its index in [`Counters::dropped`].
    pub const ALL: [DropReason; 11] = [
        DropReason::Length,
        DropReason::Kind,
        DropReason::Malformed,
        DropReason::UnknownTicket,
        DropReason::TicketInUse,
        DropReason::TableFull,
        DropReason::ReplyPending,
        DropReason::Forged,
        DropReason::Connection,
        DropReason::TooManyCookies,
        DropReason::Finished,
    ];
}
