//! What a packet costs in the programs alone, by the kernel's own clock; run by hand where nothing else runs:
//! `cargo test -p xfer-ebpf --test programs cost -- --ignored --nocapture`.
//!
//! The frame is the same each time, thus hot in cache, and counted as late. Metadata is written in the first runs of a repetition only,
//! because room for it ends; afterwards what it costs is a call that fails.

use std::os::fd::AsFd;

use xfer_ebpf::watch_only;
use xfer_proto::wire::Kind;

use crate::frame::{Frame, PORT, data, header, sealed};
use crate::socket::Xsk;
use crate::{KNOWN, UNKNOWN, program};

const RUNS: u32 = 500_000;
const ROUNDS: usize = 7;
/// X5: what a redirected packet may cost.
const REDIRECT_NS_MAX: u128 = 60;

/// The median time of one run.
fn median(mut run: impl FnMut() -> u128) -> u128 {
    let mut rounds: Vec<u128> = (0..ROUNDS).map(|_| run()).collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

#[test]
#[ignore = "measures: wants the machine for itself"]
fn cost_of_a_packet() {
    let (program, socket) = (program(), Xsk::new());
    program.set_socket(0, socket.as_fd()).unwrap();
    let time = |frame: &Frame| {
        let bytes = frame.bytes();
        median(|| {
            // So many runs may take longer than a heart may stand still.
            program.heartbeat().unwrap();
            program.try_frame(&bytes, RUNS).unwrap().duration.as_nanos()
        })
    };
    let known = Frame::new(data(KNOWN, 0, 7));
    println!("another port, passed: {} ns", time(&known.clone().to(PORT + 1)));
    println!("unknown, dropped: {} ns", time(&Frame::new(data(UNKNOWN, 0, 7))));
    println!("unknown over IPv6, dropped: {} ns", time(&Frame::new(data(UNKNOWN, 0, 7)).six()));
    let redirect = time(&known);
    println!("known, redirected, with figures: {redirect} ns");
    program.set_stamps(true).unwrap();
    println!("known, redirected, with figures and metadata: {} ns", time(&known));
    program.set_stamps(false).unwrap();
    program.set_metrics(false).unwrap();
    println!("known, redirected, without figures: {} ns", time(&known));
    let watched = watch_only().unwrap();
    watched.set_port(PORT, true).unwrap();
    let packet = Frame::new(sealed(header(Kind::Data, KNOWN), 1_000)).bytes();
    let tcx = |packet: &[u8]| median(|| watched.try_frame(false, packet, 0, RUNS).unwrap().1.as_nanos());
    println!("tcx, with figures: {} ns", tcx(&packet));
    watched.set_metrics(false).unwrap();
    println!("tcx, idle: {} ns", tcx(&packet));
    assert!(redirect <= REDIRECT_NS_MAX, "{redirect} ns a redirected packet");
}
