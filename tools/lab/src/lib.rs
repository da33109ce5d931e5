//! Network-namespace lab: hosts `a`, `b`, ... joined by wires that delay, limit, lose and damage packets.
//!
//! Each host is a network namespace with its own HOME. Wire `i`, from 1, is interface `x<i>` in each host,
//! 10.77.i.0/24 and fd77:i::/64; host a is .1, host b .2. A wire that does nothing is a bare veth pair (a
//! bridge for three hosts or more); any other runs through an emulator process on the link model of
//! `xfer-netem`, because not every kernel has netem.
//!
//! For tests: [`Lab::up`], [`Lab::host`], [`Host::command`]; a lab that is dropped is taken down. By hand:
//! the program `lab`, whose verbs are in [`cli`].

pub mod cli;
mod config;
mod control;
mod cut;
mod emulator;
mod error;
mod host;
mod lab;
mod launch;
pub mod limits;
pub mod memory;
mod names;
mod settle;
mod state;
mod sys;
mod tool;
pub mod units;

pub use config::{Config, Queue, WireShape};
pub use control::{Cut, Direction, EmulatorInfo};
pub use error::LabError;
pub use host::Host;
pub use lab::{HostInfo, Info, Lab, WireInfo, WireKind};
