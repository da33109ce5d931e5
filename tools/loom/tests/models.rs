//! Runs all models, for planted bugs that they are to find.

use std::process::Command;

#[test]
fn the_guarantees_hold_in_every_order() {
    let status = Command::new(env!("CARGO_BIN_EXE_xfer-loom")).status().unwrap();
    assert!(status.success(), "{status}");
}
