//! What congestion control, pacing and loss recovery make of a wire: real connections over the link model in virtual time. All figures are
//! committed as snapshots, so that a change of any is a diff.
//!
//! `INSTA_UPDATE=always cargo test --release -p xfer-proto --test netsim` writes them again. Seeds and integers only: the same everywhere.

mod end;
mod hollow;
mod jobs;
mod network;
mod promises;
mod sharing;
mod sweep;

/// Hundredths as a number with one digit.
fn tenths(hundredths: u64) -> String {
    let rounded = (hundredths + 5) / 10;
    format!("{}.{}", rounded / 10, rounded % 10)
}

/// A loss of so many packets of a million, in percent.
fn loss(ppm: u32) -> String {
    format!("{}.{} %", ppm / 10_000, ppm / 1_000 % 10)
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes the release profile, in which `cargo xtask test` runs it")]
fn goodput_over_rate_rtt_loss_and_control() {
    insta::assert_snapshot!("goodput", sweep::table());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes the release profile, in which `cargo xtask test` runs it")]
fn promises_of_one_flow() {
    insta::assert_snapshot!("promises", promises::table());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes the release profile, in which `cargo xtask test` runs it")]
fn sharing_and_convergence() {
    insta::assert_snapshot!("sharing", sharing::table());
}
