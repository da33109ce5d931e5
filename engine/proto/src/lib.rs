//! Sans-IO protocol of xfer: decides what to send, believes nothing it receives.
//!
//! No clock, no randomness, no I/O, no std: time and random bytes are arguments, packets are byte slices.
//! PROTOCOL.md is the specification of what is on the wire.

#![no_std]
#![forbid(unsafe_code)]
// No peer makes an end panic: what may is refused by name, and each exception says why it cannot.
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

extern crate alloc;

pub mod ack;
pub mod cc;
pub mod challenge;
mod claim;
pub mod connection;
pub mod crypto;
pub mod handshake;
pub mod incoming;
pub mod limits;
pub mod mtu;
pub mod outgoing;
pub mod pacing;
pub mod path;
pub mod ranges;
pub mod rtt;
pub mod sent;
pub mod shard;
pub mod space;
pub mod stream;
mod sync;
pub mod time;
pub mod wire;
