//! Sans-IO protocol of xfer: decides what to send, believes nothing it receives.
//!
//! No clock, no randomness, no I/O, no std: time and random bytes are arguments, packets are byte slices.
//! PROTOCOL.md is the specification of what is on the wire.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod ack;
pub mod cc;
pub mod claim;
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
pub mod time;
pub mod wire;
