//! Cold copies of something small: what a user waits for is round trips, so these are counted. As root, in namespaces of its own.

#[path = "support/copying.rs"]
mod copying;

use copying::{Stage, WAYS, Way};
use std::time::Duration;
use xfer_lab::{Config, WireShape};

const RTT: Duration = Duration::from_millis(50);
const RUNS: usize = 10;
/// What disturbs a run only makes it longer: that of this rank counts, the quickest being 0.
const RANK: usize = 2;
/// TCP, TLS 1.3, the call, and HELLO and REPLY, which carry the file and what came of it.
const FLIGHTS: u32 = 4;
/// Local work: starting the process and its engine, a key exchange twice, and storing durably on a disk that others use too; 16 to 25 ms
/// where nothing else runs. Less than a round trip and the 10 ms that no process gets by without, so that one flight more always shows.
const LOCAL: Duration = Duration::from_millis(55);

/// Of 100 files of 1 KiB: the pages are 2 windows of start-up, each a round trip, and what came of the last one another half.
const FLIGHTS_MANY: u32 = 7;
/// Local work of 100 files.
const LOCAL_MANY: Duration = Duration::from_millis(150);

fn long() -> Config {
    let shape = WireShape { rate_bps: Some(1_000_000_000), delay_ns: 25_000_000, ..WireShape::default() };
    Config::with_wires(1, shape)
}

/// Copies `name` again and again; gives what the run of rank [`RANK`] took until all was in place, and until the process ended.
fn cold(stage: &Stage, way: Way, name: &str, runs: usize) -> (Duration, Duration) {
    let (mut placed, mut ended): (Vec<_>, Vec<_>) =
        (0..runs).map(|_| stage.copy_cold(way, name, 1_024)).unzip();
    placed.sort();
    ended.sort();
    println!(
        "{way:?} {name}: in place after {:.1?} at best, {:.1?} at the median; ended after {:.1?} and {:.1?}",
        placed[0],
        placed[runs / 2],
        ended[0],
        ended[runs / 2]
    );
    (placed[RANK], ended[RANK])
}

#[test]
fn a_cold_small_file_takes_four_round_trips() {
    let stage = Stage::up("cold", long(), 1_024);
    for (way, name) in [(Way::Upload, "data"), (Way::Download, "served")] {
        let (placed, ended) = cold(&stage, way, name, RUNS);
        // The node has what was sent half a round trip before the client knows.
        let known = if way == Way::Upload { RTT / 2 } else { Duration::ZERO };
        assert!(placed <= RTT * FLIGHTS - known + LOCAL, "{way:?}: in place after {placed:?}");
        assert!(ended <= RTT * FLIGHTS + LOCAL, "{way:?}: ended after {ended:?}");
    }
}

#[test]
fn a_hundred_small_files_wait_for_windows_only() {
    let stage = Stage::up("many", long(), 1_024).with_small_files(100);
    for way in WAYS {
        let (_, ended) = cold(&stage, way, "many", RUNS / 2);
        assert!(ended <= RTT * FLIGHTS_MANY + LOCAL_MANY, "{way:?}: ended after {ended:?}");
    }
}

#[test]
fn a_cold_small_file_over_a_bare_wire() {
    let stage = Stage::up("coldbare", Config::with_wires(1, WireShape::default()), 1_024);
    for (way, name) in [(Way::Upload, "data"), (Way::Download, "served")] {
        let (_, ended) = cold(&stage, way, name, RUNS);
        assert!(ended <= LOCAL, "{way:?}: ended after {ended:?}");
    }
}
