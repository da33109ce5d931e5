//! What is on the wire: values to bytes and back, nothing else. PROTOCOL.md fixes every offset.
//!
//! Decoders take hostile bytes: they never panic, and refuse with [`Malformed`]. What they allocate grows with the
//! input, never with a number in it; only a page's names may be longer than it, by prefixes that they share, each
//! within [`NAME_LEN_MAX`](crate::limits::NAME_LEN_MAX). Encoders write into a slice that the caller sized; a value
//! that does not fit is the caller's bug.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod cursor;
mod error;
mod frame;
mod header;
mod message;
mod page;

pub use cursor::{Reader, Writer};
pub use error::ErrorBody;
pub use frame::{Ack, AckRanges, CloseCode, Frame, Frames, Window, WindowWords, encode_ack_ranges};
pub use header::{
    ATTEMPT_MASK, ConnectionId, HEADER_LEN, Header, Kind, PathId, TAG_LEN, TransferId, VERSION,
};
pub use message::{
    Accept, Chunk, Codec, Complete, Decision, Decisions, Done, DoneStatus, Durability, Message, Open, Role,
    Run,
};
pub use page::{Attribute, Entry, EntryKind, Inline, Page, check_name};

/// Bytes that are not what PROTOCOL.md says; `what` names the field for counters and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The field or rule that was broken.
    pub what: &'static str,
}

impl Malformed {
    pub(crate) const fn new(what: &'static str) -> Self {
        Malformed { what }
    }
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "malformed {}", self.what)
    }
}

impl core::error::Error for Malformed {}
