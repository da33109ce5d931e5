//! Copies that last: a large one over rough wires, and as many as fit into an hour of faults. As root, in namespaces of its own;
//! by `cargo xtask long rough` and `cargo xtask long soak` only.

mod draw;
mod faults;
#[path = "../support/node.rs"]
mod node;
#[path = "../support/noise.rs"]
mod noise;
mod rough;
mod sample;
mod soak;
mod stage;
