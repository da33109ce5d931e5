//! Hostile peers against a real node, and what it does meanwhile: each test drives one bound of a `limits.rs` on the wire, with a real client
//! beside it. SECURITY.md has the list of attacks with the test of each. As root, in namespaces of its own.

mod content;
mod control;
mod floods;
mod holders;
#[path = "../support/node.rs"]
mod node;
mod nodes;
mod peer;
mod stage;
mod strangers;
mod web;
