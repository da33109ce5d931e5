//! H5: one large file over two unequal wires that lose and reorder, one of which is cut and restored; the receiver is killed twice.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use xfer_lab::{Config, Cut, WireShape};

use crate::draw::setting;
use crate::noise::write_noise;
use crate::stage::{Stage, digest};

const MIB: u64 = 1 << 20;
/// Mebibytes of the file, unless `ROUGH_MIB` says how many.
const SIZE_MIB: u64 = 10_240;
/// The wires' rates, bits a second, and delays, ns: what both ends and the emulator carry on two processors with room.
const WIRES: [(u64, u64); 2] = [(400_000_000, 5_000_000), (200_000_000, 15_000_000)];
const LOSS: f64 = 0.01;
const REORDER: f64 = 0.02;
/// How long the wire is cut: its path is dead by then.
const DARK: Duration = Duration::from_secs(5);
/// Share of the content after which the receiver is killed, for the first and the second time; the cut is halfway in between.
const KILLED_AT: [f64; 2] = [0.3, 0.7];
const CUT_AT: f64 = 0.5;
/// Content and frame of a full DATA packet.
const PAYLOAD: f64 = 1_424.0;
const FRAME: f64 = 1_514.0;
/// Bytes sent again that are allowed beyond losses, of the size. What a kill costs does not shrink with a smaller size.
const AGAIN: f64 = 0.02;
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Time of the whole copy, as a multiple of what the wires take.
const PATIENCE: f64 = 4.0;

/// What both wires took from the sender, as content.
#[derive(Clone, Copy, Debug)]
struct Carried {
    sent: f64,
    lost: f64,
}

fn config() -> Config {
    let mut config = Config::with_wires(WIRES.len(), WireShape::default());
    for (wire, (rate, delay)) in config.wires.iter_mut().zip(WIRES) {
        *wire = WireShape {
            rate_bps: Some(rate),
            delay_ns: delay,
            loss: LOSS,
            reorder: REORDER,
            ..WireShape::default()
        };
    }
    config
}

fn carried(stage: &Stage) -> Carried {
    let emulator = stage.lab.info().unwrap().emulator.expect("the wires are emulated");
    let mut carried = Carried { sent: 0.0, lost: 0.0 };
    for one in emulator.directions {
        if one.from == "b" {
            carried.sent += one.offered_bytes as f64 * PAYLOAD / FRAME;
            let lost = one.dropped_random + one.dropped_queue + one.dropped_cut + one.dropped_burst;
            carried.lost += lost as f64 * PAYLOAD;
        } else {
            // What is lost with a cut wire is counted with the host it was under way to.
            carried.lost += one.lost_towards as f64 * PAYLOAD;
        }
    }
    carried
}

/// Content that lies at the destination.
fn there(partials: &Path) -> u64 {
    let entries = fs::read_dir(partials).into_iter().flatten().map_while(Result::ok);
    let parts = entries.filter(|entry| entry.path().extension().is_some_and(|e| e == "part"));
    parts.filter_map(|entry| entry.metadata().ok()).map(|found| found.blocks() * 512).sum()
}

/// The copy under test.
struct Rough {
    stage: Stage,
    size: u64,
    deadline: Instant,
}

impl Rough {
    fn start(&self) -> Child {
        let words = ["cp", "--json", "--progress", "none", &self.stage.there("data")].map(String::from);
        let mut command = self.stage.client(words);
        command.arg(self.copied()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
    }

    fn copied(&self) -> PathBuf {
        self.stage.here("data")
    }

    /// Waits until this share of the content is there.
    fn until(&self, client: &mut Child, share: f64) {
        let partials = self.stage.here(".xfer-partial");
        while (there(&partials) as f64) < share * self.size as f64 {
            assert!(
                client.try_wait().unwrap().is_none(),
                "the copy ended at less than {share} of its content"
            );
            assert!(Instant::now() < self.deadline, "{} bytes are there in time", there(&partials));
            thread::sleep(POLL_EVERY);
        }
    }

    fn killed_at(&self, share: f64) {
        let mut client = self.start();
        self.until(&mut client, share);
        client.kill().unwrap();
        client.wait().unwrap();
    }
}

#[test]
#[ignore = "long: cargo xtask long rough"]
fn rough() {
    let size = setting("ROUGH_MIB", SIZE_MIB) * MIB;
    let stage = Stage::up("rough", config(), Path::new(env!("CARGO_TARGET_TMPDIR")));
    write_noise(&stage.served("data"), size);
    let rate: u64 = WIRES.iter().map(|(rate, _)| rate).sum();
    let usual = Duration::from_secs_f64(size as f64 * 8.0 / rate as f64);
    let started = Instant::now();
    let deadline = started + usual.mul_f64(PATIENCE) + Duration::from_secs(60);
    let rough = Rough { stage, size, deadline };
    let before = carried(&rough.stage);

    rough.killed_at(KILLED_AT[0]);
    let mut client = rough.start();
    rough.until(&mut client, CUT_AT);
    rough.stage.lab.cut(1, None, Cut::Blackhole).unwrap();
    // Nothing is waited for here: this is how long the wire is away.
    thread::sleep(DARK);
    rough.stage.lab.restore(1).unwrap();
    rough.until(&mut client, KILLED_AT[1]);
    client.kill().unwrap();
    client.wait().unwrap();
    let last = rough.start().wait_with_output().unwrap();
    let took = started.elapsed();

    let text = String::from_utf8(last.stdout).unwrap();
    assert_eq!(last.status.code(), Some(0), "{text}");
    let summary: Value = serde_json::from_str(text.lines().last().expect("a summary")).unwrap();
    let content = digest(&rough.stage.served("data"));
    assert_eq!(summary["digest"].as_str(), Some(content.as_str()), "{summary}");
    assert_eq!(digest(&rough.copied()), content, "what is there differs");
    assert!(summary["reused_bytes"].as_f64() > Some(size as f64 * 0.5), "{summary}");

    let after = carried(&rough.stage);
    let (sent, lost) = (after.sent - before.sent, after.lost - before.lost);
    let again = sent - size as f64 - lost;
    let allowed = AGAIN * size.max(SIZE_MIB * MIB) as f64;
    let mib = |bytes: f64| bytes / MIB as f64;
    println!(
        "H5: {} MiB in {took:.0?}, right digest; sent {:.0} MiB, lost {:.0}, sent again beyond losses {:.0} ({:.2} % of the size), allowed {:.0}",
        size / MIB,
        mib(sent),
        mib(lost),
        mib(again),
        again * 100.0 / size as f64,
        mib(allowed),
    );
    assert!(lost > size as f64 * LOSS / 2.0, "the wires lose packets");
    assert!(again <= allowed, "{:.0} MiB sent again, {:.0} allowed", mib(again), mib(allowed));
}
