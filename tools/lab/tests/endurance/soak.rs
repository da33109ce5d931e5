//! H6: copies at full rate, one after the other, amid random faults. Neither end may grow.
//!
//! The node is one process from start to end. The client is the library, embedded in this one: what a copy leaves behind stays visible.
//! Memory and descriptors are looked at while no copy runs, a minute after the start and at the end.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xfer_client::copy::{CopyEvent, CopyRequest, copy};
use xfer_client::{Link, Location, Remote};
use xfer_lab::{Config, WireShape};

use crate::draw::{Draw, setting};
use crate::faults;
use crate::noise::write_noise;
use crate::sample::Sample;
use crate::stage::Stage;

/// Minutes, unless `SOAK_MINUTES` says how many.
const MINUTES: u64 = 60;
const SIZE: u64 = 512 << 20;
const SMALL_FILES: usize = 2_000;
/// When memory is looked at for the first time.
const FIRST_LOOK: Duration = Duration::from_secs(60);
/// A node forgets a peer that died after 10 s.
const SETTLE: Duration = Duration::from_secs(13);
/// Looks at each end each time, and the time between two.
const LOOKS: usize = 5;
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Memory at the end, in percent of that after a minute.
const RSS_PERCENT: u64 = 105;

/// What the embedded client copied.
#[derive(Clone, Copy, Debug, Default)]
struct Copied {
    copies: u64,
    bytes: u64,
    retries: u64,
}

/// Copies the file or the tree, up or down, and removes the copy.
fn copy_once(stage: &Stage, draw: &mut Draw, copied: &mut Copied) {
    let what = if draw.below(4) == 0 { "many" } else { "data" };
    let link = Link::parse(stage.node.link.as_bytes()).expect("a link");
    let there = |path: &str| {
        Location::Remote(Remote { link: link.clone(), node: "b".into(), path: path.as_bytes().to_vec() })
    };
    let upload = draw.below(2) == 0;
    let (from, to, made) = match upload {
        true => (Location::Local(stage.here(what)), there("copied"), stage.served("copied")),
        false => (there(what), Location::Local(stage.here("copied")), stage.here("copied")),
    };
    let mut request = CopyRequest::new(vec![from], to);
    request.options.recursive = true;
    let mut retries = 0;
    let mut tell = |event| {
        if let CopyEvent::Retry { .. } = event {
            retries += 1;
        }
    };
    let done = copy(&request, &mut tell).expect("the request is good");
    if let Some(error) = &done.error {
        panic!("copy {} of {what}, upload {upload}: {error}", copied.copies);
    }
    assert!(done.verified, "{done:?}");
    copied.copies += 1;
    copied.bytes += done.bytes;
    copied.retries += retries;
    let gone = if made.is_dir() { fs::remove_dir_all(&made) } else { fs::remove_file(&made) };
    gone.expect("the copy is there");
}

/// Ends the faults, also where a copy panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Copies amid faults until a time.
fn copies_until(stage: &Stage, end: Instant, draw: &mut Draw, copied: &mut Copied) -> faults::Counts {
    let stop = AtomicBool::new(false);
    let seed = draw.below(u64::MAX);
    thread::scope(|scope| {
        let faults = scope.spawn(|| faults::make(stage, seed, &stop));
        let stop = Stop(&stop);
        let copies = || {
            while Instant::now() < end && !faults.is_finished() {
                copy_once(stage, draw, copied);
            }
        };
        stage.lab.host("a").enter(copies).expect("the namespace is there");
        drop(stop);
        faults.join().expect("faults are made")
    })
}

/// Both ends once nothing goes on: this process, the node.
fn look(stage: &Stage) -> [Sample; 2] {
    // No sign tells that a node has forgotten its dead peers: this is the time in which it has to.
    thread::sleep(SETTLE);
    let both = || {
        thread::sleep(LOOK_EVERY);
        [Sample::of(std::process::id()), Sample::of(stage.node.id())]
    };
    let looks: Vec<[Sample; 2]> = (0..LOOKS).map(|_| both()).collect();
    [0, 1].map(|end| Sample::median(looks.iter().map(|both| both[end]).collect()))
}

fn make_content(stage: &Stage) {
    for at in [stage.served("data"), stage.here("data")] {
        write_noise(&at, SIZE);
    }
    for at in [stage.served("many"), stage.here("many")] {
        fs::create_dir(&at).unwrap();
        for i in 0..SMALL_FILES {
            fs::write(at.join(format!("f{i}")), vec![i as u8; i * 7 % 5_000]).unwrap();
        }
    }
}

#[test]
#[ignore = "long: cargo xtask long soak"]
fn soak() {
    let (minutes, seed) = (setting("SOAK_MINUTES", MINUTES), setting("SOAK_SEED", 1));
    assert!(minutes >= 2, "the first minute is what the others are compared with");
    println!("SOAK_MINUTES={minutes} SOAK_SEED={seed}");
    let stage = Stage::up("soak", Config::with_wires(2, WireShape::default()), Path::new("/dev/shm"));
    make_content(&stage);
    let (mut draw, mut copied) = (Draw::of(seed), Copied::default());
    let started = Instant::now();
    let early = copies_until(&stage, started + FIRST_LOOK, &mut draw, &mut copied);
    let first = look(&stage);
    let end = started + Duration::from_secs(minutes * 60);
    let late = copies_until(&stage, end, &mut draw, &mut copied);
    let last = look(&stage);
    let faults: faults::Counts = std::array::from_fn(|kind| early[kind] + late[kind]);
    let gbps = copied.bytes as f64 * 8e-9 / (started.elapsed() - 2 * SETTLE).as_secs_f64();
    println!(
        "H6: {minutes} minutes, {copied:?}, {gbps:.1} Gbit/s on average, faults: {}",
        faults::described(&faults)
    );
    for (name, first, last) in [("client", first[0], last[0]), ("node", first[1], last[1])] {
        println!(
            "H6: {name}: after a minute {} KiB and {} descriptors, at the end {} KiB ({:+.1} %) and {}",
            first.rss >> 10,
            first.descriptors,
            last.rss >> 10,
            last.rss as f64 * 100.0 / first.rss as f64 - 100.0,
            last.descriptors
        );
    }
    for (name, first, last) in [("client", first[0], last[0]), ("node", first[1], last[1])] {
        assert!(last.rss * 100 <= first.rss * RSS_PERCENT, "the {name} grows: {first:?} to {last:?}");
        assert!(last.descriptors <= first.descriptors, "the {name} leaks: {first:?} to {last:?}");
    }
}
