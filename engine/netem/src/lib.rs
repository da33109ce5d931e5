//! Pure model of a network wire: rate, delay, jitter, loss, reorder, duplicate, corrupt.
//!
//! In: the length of each packet and the time at which it is offered. Out: when it arrives, as how
//! many copies, damaged or not, or why it was dropped. The packets themselves pass through a
//! [`Wire`], which keeps them until they are due.
//!
//! Deliberately absent: clocks, sockets, threads and the system's randomness. The simulation of the
//! protocol and the emulator of the lab bring their own time; one seed and one sequence of offers
//! always give one result.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod chance;
mod jitter;
pub mod limits;
mod link;
mod rng;
mod shape;
mod wire;

pub use chance::Chance;
pub use link::{Delivery, DropReason, Link, Stats, Verdict, flip_bit};
pub use rng::Rng;
pub use shape::{Burst, Shape};
pub use wire::{Full, Wire};
