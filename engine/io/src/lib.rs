//! Queues, memory, files and threads of xfer: moves bytes.
//!
//! Stages 1, 5, 6 and 9 of the way of the data end here: chunk bytes come from and go to [files](mod@file), frames go
//! to and come from a [`queue`]. Between them lies memory that several workers share ([`memory`], [`pool`]),
//! or memory of the application that it lends them ([`registered`]).
//! The crate decides nothing: no protocol, no scheduling, no retry policy. All unsafe code of the engine is
//! in this crate, behind an API that needs none.

#![cfg(target_os = "linux")]

pub mod borrows;
pub mod clock;
pub mod descriptors;
pub mod error;
pub mod file;
pub mod hold;
pub mod limits;
pub mod memory;
#[cfg(not(heap_memory))]
mod pages;
#[cfg(heap_memory)]
#[path = "pages_heap.rs"]
mod pages;
pub mod pool;
pub mod queue;
pub mod registered;
pub mod route;
pub mod signal;
mod sync;
pub mod thread;
pub mod udp;
pub mod wake;
pub mod xdp;
