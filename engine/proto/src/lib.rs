//! Sans-IO protocol of xfer: decides what to send, believes nothing it receives.
//!
//! No clock, no randomness, no I/O, no std: time and random bytes are arguments, packets are byte slices.
//! PROTOCOL.md is the specification of what is on the wire.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod crypto;
pub mod handshake;
pub mod limits;
pub mod space;
pub mod time;
pub mod wire;
