//! One copy whose ends can be killed, again and again.

use crate::draw::{Draw, Phase, Victim};
use crate::watched::{Bench, Done, Node, Process, tree, until};
use crate::written::written;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// What a journal may be behind: this much ...
const JOURNAL_BYTES: u64 = 64 * MIB;
/// ... or what comes in this many seconds, whichever is less.
const JOURNAL_SECONDS: u64 = 1;
/// Chunks that are granted at least ...
const GRANTS: u64 = 16;
/// ... and the time for which more are granted, in thousandths of a second: three round trips and ten.
const GRANTS_MS: u64 = 70;

/// What is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Many small files.
    Tree,
    /// One file of many chunks.
    File,
}

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Little enough for every test run.
    Light,
    /// What the target asks for.
    Full,
}

/// What a kill met.
#[derive(Debug)]
pub(crate) struct Met {
    /// By what could be seen at the destination; `None`: the copy had ended.
    pub(crate) phase: Option<Phase>,
    /// Content bytes that lay at the destination and came once more.
    pub(crate) moved_again: u64,
    /// The rerun began while the end that lives held the target.
    pub(crate) took_over: bool,
}

/// A copy, and how long its phases usually take.
pub(crate) struct Case {
    bench: Bench,
    shape: Shape,
    up: bool,
    scale: Scale,
    total: u64,
    digest: String,
    listed: Vec<Vec<u8>>,
    lasts: [Duration; Phase::ALL.len()],
}

impl Case {
    /// Makes the source and copies it once undisturbed.
    pub(crate) fn new(shape: Shape, up: bool, scale: Scale) -> Self {
        let bench = Bench::new();
        let source = bench.path(if up { "tree" } else { "root/tree" });
        fs::create_dir(&source).unwrap();
        match shape {
            Shape::Tree => make_tree(&source, if scale == Scale::Full { 10_000 } else { 400 }),
            Shape::File => {
                tree::file(source.join("z-last"), 1, if scale == Scale::Full { 160 << 20 } else { 112 << 20 })
            }
        }
        let digest = match shape {
            Shape::Tree => tree::digest(&source),
            Shape::File => blake3::hash(&fs::read(source.join("z-last")).unwrap()).to_hex().to_string(),
        };
        let (total, listed) = (written(&source), tree::listed(&source));
        let mut case = Case { bench, shape, up, scale, total, digest, listed, lasts: Default::default() };
        case.lasts = case.undisturbed();
        case
    }

    fn source(&self) -> PathBuf {
        self.bench.path(if self.up { "tree" } else { "root/tree" })
    }

    fn destination(&self) -> PathBuf {
        self.bench.path(if self.up { "root/copy" } else { "copy" })
    }

    fn args(&self, node: &Node, rate: Option<u64>) -> Vec<OsString> {
        let what = if self.shape == Shape::Tree { "." } else { "z-last" };
        let ends = match self.up {
            true => [self.source().join(what).into(), node.at("copy/")],
            false => [node.at(format!("tree/{what}")), self.destination().into()],
        };
        let chunk = format!("--chunk={}KiB", self.chunk() >> 10);
        let rate = rate.map(|rate| format!("--rate={}MiB", rate / MIB));
        ["-r".into(), chunk].into_iter().chain(rate).map(OsString::from).chain(ends).collect()
    }

    /// How long each phase takes.
    fn undisturbed(&self) -> [Duration; Phase::ALL.len()] {
        fs::create_dir(self.destination()).unwrap();
        let node = self.bench.node();
        let mut copy = self.bench.start(self.args(&node, None));
        let mut last = Instant::now();
        let mut lasts = [Duration::ZERO; Phase::ALL.len()];
        for (at, phase) in Phase::ALL.into_iter().enumerate() {
            self.until_over(phase, &mut copy);
            lasts[at] = last.elapsed();
            last = Instant::now();
        }
        self.check(&copy.finish().expect(0));
        fs::remove_dir_all(self.destination()).unwrap();
        println!("{:?} {}: {lasts:.0?}", self.shape, if self.up { "up" } else { "down" });
        lasts
    }

    /// Whether what ends a phase can be seen.
    fn is_over(&self, phase: Phase, ended: bool) -> bool {
        let at = self.destination();
        ended
            || match phase {
                Phase::Handshake => !is_empty(&at),
                Phase::Manifest => written(&at) > 0,
                Phase::Data => at.join("z-last").exists(),
                Phase::Finish => false,
            }
    }

    fn until_over(&self, phase: Phase, copy: &mut Process) {
        let what = format!("the end of {phase:?}");
        until(&what, || self.is_over(phase, !copy.is_running()).then_some(()));
    }

    /// How fast a copy may go. Slowly, a second counts; fast, the bytes do.
    fn rate(&self, draw: &Draw) -> Option<u64> {
        let rate = if draw.slow && self.scale == Scale::Full { 40 * MIB } else { 128 * MIB };
        (self.shape == Shape::File).then_some(rate)
    }

    /// Bytes of a chunk. Small ones where there is little content, of which the chunks that are granted must not be all.
    fn chunk(&self) -> u64 {
        if self.scale == Scale::Full { MIB } else { MIB / 4 }
    }

    /// How long a phase lasts in a copy of that rate.
    fn lasts(&self, draw: &Draw) -> Duration {
        match (draw.phase, self.rate(draw)) {
            (Phase::Data, Some(rate)) => Duration::from_secs_f64(self.total as f64 / rate as f64),
            (phase, _) => self.lasts[phase as usize],
        }
    }

    /// Kills one end and runs the copy again, which has to make everything good.
    pub(crate) fn kill_and_rerun(&mut self, draw: &Draw) -> Met {
        let destination = self.destination();
        fs::create_dir(&destination).unwrap();
        let mut node = self.bench.node();
        let mut copy = self.bench.start(self.args(&node, self.rate(draw)));
        for before in Phase::ALL.into_iter().take(draw.phase as usize) {
            self.until_over(before, &mut copy);
        }
        // No sign is waited for here: this is the random instant.
        thread::sleep(self.lasts(draw).mul_f64(draw.share));
        let ended = !copy.is_running();
        match draw.victim {
            Victim::Client => copy.kill(),
            Victim::Node => node.process.kill(),
        }
        let there = written(&destination);
        let met = Phase::ALL.into_iter().find(|phase| !self.is_over(*phase, ended));
        let mut accepted = None;
        if draw.victim == Victim::Node {
            accepted = end(copy);
            node = self.bench.node_at(node.address);
        }
        let done = self.bench.copy(self.args(&node, None)).expect(0);
        self.check(&done);
        let moved_again = self.assert_cost(draw, &done, there, accepted);
        fs::remove_dir_all(&destination).unwrap();
        let took_over = draw.victim == Victim::Client && self.up && !ended && there > 0;
        Met { phase: met, moved_again, took_over }
    }

    /// What the kill cost: content that lay at the destination, or that the sender knew to be there, and came again.
    fn assert_cost(&self, draw: &Draw, done: &Done, there: u64, accepted: Option<u64>) -> u64 {
        let [bytes, reused, skipped] = done.numbers(["bytes", "reused_bytes", "skipped_bytes"]);
        assert_eq!(bytes + reused + skipped, self.total, "{done:#?}");
        let before = there.max(accepted.unwrap_or(0));
        let again = (before + bytes).saturating_sub(self.total);
        let rate = self.rate(draw);
        let interval = rate.map_or(JOURNAL_BYTES, |rate| JOURNAL_BYTES.min(rate * JOURNAL_SECONDS));
        let granted = GRANTS * self.chunk() + rate.map_or(JOURNAL_BYTES, |rate| rate * GRANTS_MS / 1_000);
        assert!(
            again <= interval + granted,
            "{again} bytes moved again, {interval} of a journal's interval and {granted} granted: {draw:?} \
             there {there}, accepted {accepted:?} of {}\n{:#}",
            self.total,
            done.summary()
        );
        again
    }

    /// All is there as it is at the source, and nothing else.
    fn check(&self, done: &Done) {
        let at = self.destination();
        let (one, other) = (&self.listed, tree::listed(&at));
        let stray = other.iter().zip(one).find(|(other, one)| other != one);
        let stray = stray.map(|(other, _)| other.escape_ascii().to_string());
        assert!(*one == other || self.shape == Shape::File, "{} of {}: {stray:?}", other.len(), one.len());
        let found = match self.shape {
            Shape::Tree => tree::digest(&at),
            Shape::File => blake3::hash(&fs::read(at.join("z-last")).unwrap()).to_hex().to_string(),
        };
        assert_eq!(found, self.digest, "what is there differs");
        assert_eq!(fs::read_dir(&at).unwrap().count(), fs::read_dir(self.source()).unwrap().count());
        assert_eq!(done.digest(), self.digest);
        assert_eq!(done.summary()["verified"], true);
    }
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Ends a client whose node is gone. Returns the content that it knows to be there, if it is the sender and could say so.
fn end(mut copy: Process) -> Option<u64> {
    if copy.is_running() {
        copy.signal("INT");
    }
    let done = copy.finish();
    // One that had not begun to listen for signals dies of this one.
    assert!(matches!(done.code, None | Some(0 | 5 | 20)), "{done:#?}");
    let last = done.lines.last().filter(|line| line["type"] == "summary")?;
    last["bytes"].as_u64()
}

/// Files from nothing to a hundred kilobytes, the last one last, in directories of a hundred.
fn make_tree(root: &Path, files: u64) {
    for i in 0..files - 1 {
        let directory = root.join(format!("d{:03}", i / 100));
        if i % 100 == 0 {
            fs::create_dir(&directory).unwrap();
        }
        let len = if i % 20 == 0 { 100_000 } else { i * 7 % 5_000 };
        tree::file(directory.join(format!("{i:05}")), i, len as usize);
    }
    tree::file(root.join("z-last"), files, 2_000);
}
