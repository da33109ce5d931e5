//! Copies between hosts whose network or clock fails: all wires pulled for a minute, addresses that change, clocks that step back a day.
//! As root, in namespaces of its own.

mod addresses;
mod clock;
mod clocks;
#[path = "../support/node.rs"]
mod node;
#[path = "../support/noise.rs"]
mod noise;
mod pulled;
mod stage;
