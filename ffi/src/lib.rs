//! libxfer: the C ABI of the engine. It translates and decides nothing: `include/xfer.h`, generated from here, is the manual.
//!
//! In: handles, structs and pointers of a C program, checked. Out: status codes, and completions in arrays of the program's. Every exported
//! function is in `exports.rs`; no panic passes them.

#![cfg(target_os = "linux")]

#[cfg(feature = "client")]
mod client;
#[cfg(not(feature = "client"))]
#[path = "client_absent.rs"]
mod client;
mod completion;
mod connection;
mod engine;
pub mod exports;
mod handles;
mod input;
mod memory;
mod place;
mod receiving;
mod sending;
pub mod status;
mod stream;
pub mod structs;
