//! Random faults beside copies that go on: wires cut, a node that is stopped, other clients that are killed or ask for what is not there.
//! None lasts as long as a peer is waited for.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use xfer_lab::Cut;

use crate::draw::Draw;
use crate::stage::Stage;

/// Time between two faults, in milliseconds.
const APART_MS: (u64, u64) = (300, 3_000);
/// How long a fault lasts.
const LASTS_MS: (u64, u64) = (50, 2_000);

const KINDS: [&str; 5] =
    ["one wire cut", "both wires cut", "node stopped", "client killed", "client refused"];

/// How often each kind came.
pub(crate) type Counts = [u64; KINDS.len()];

/// Makes faults until `stop` is set; none is left then.
pub(crate) fn make(stage: &Stage, seed: u64, stop: &AtomicBool) -> Counts {
    let (mut draw, mut counts) = (Draw::of(seed), [0; KINDS.len()]);
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(draw.between(APART_MS.0, APART_MS.1));
        let kind = draw.below(KINDS.len() as u64) as usize;
        counts[kind] += 1;
        match kind {
            0 => cut(stage, &[1 + draw.below(2) as usize], &mut draw),
            1 => cut(stage, &[1, 2], &mut draw),
            2 => {
                signal(stage.node.id(), "STOP");
                thread::sleep(draw.between(LASTS_MS.0, LASTS_MS.1));
                signal(stage.node.id(), "CONT");
            }
            3 => killed_client(stage, &mut draw),
            _ => refused_client(stage),
        }
    }
    counts
}

/// What the counts are of.
pub(crate) fn described(counts: &Counts) -> String {
    let each: Vec<String> = KINDS.iter().zip(counts).map(|(kind, count)| format!("{count} {kind}")).collect();
    each.join(", ")
}

fn cut(stage: &Stage, wires: &[usize], draw: &mut Draw) {
    let how = if draw.below(2) == 0 { Cut::Blackhole } else { Cut::Carrier };
    wires.iter().for_each(|wire| stage.lab.cut(*wire, None, how).unwrap());
    thread::sleep(draw.between(LASTS_MS.0, LASTS_MS.1));
    wires.iter().for_each(|wire| stage.lab.restore(*wire).unwrap());
}

fn signal(pid: u32, name: &str) {
    let kill = format!("kill -s {name} {pid}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
}

/// A client in a process of its own that dies in the middle of what it does.
fn killed_client(stage: &Stage, draw: &mut Draw) {
    let mut command = stage.client(["cp", "-q"]);
    command.arg(stage.there("data")).arg(stage.here("killed"));
    let mut client = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(draw.between(LASTS_MS.0, LASTS_MS.1));
    client.kill().unwrap();
    client.wait().unwrap();
}

/// A client that asks for what is not there.
fn refused_client(stage: &Stage) {
    let mut command = stage.client(["cp", "-q"]);
    command.arg(stage.there("missing")).arg(stage.here("missing"));
    let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(ended.code(), Some(4), "the source is missing");
}
