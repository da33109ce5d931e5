//! Copies one end of which is stopped and goes on later: for a moment, for longer than a path is trusted, for longer than a peer is waited for.

mod support;
mod watched;

use std::ffi::OsString;
use std::fs;
use std::thread;
use std::time::Duration;
use watched::{Bench, Node, Process, tree, until};

const LEN: usize = 40 << 20;
const RATE: &str = "16MiB";
/// Content that is there when an end is stopped: some, not all.
const BEGUN: u64 = 4 << 20;

/// Both ends notice nothing, or an RTT that is long for once.
const A_MOMENT: Duration = Duration::from_millis(400);
/// The other end takes its path for dead, not its peer for lost.
const A_WHILE: Duration = Duration::from_secs(4);
/// A peer silent for 10 s is lost (PRODUCT.md, "Copying, exactly").
const TOO_LONG: Duration = Duration::from_secs(13);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    Client,
    Node,
}

/// A copy that is under way.
struct Case {
    bench: Bench,
    node: Node,
    up: bool,
}

impl Case {
    fn new(up: bool) -> Self {
        let bench = Bench::new();
        tree::file(bench.path(if up { "f" } else { "root/f" }), 1, LEN);
        bench.directory(if up { "root/copy" } else { "copy" });
        Case { node: bench.node(), bench, up }
    }

    fn args(&self, options: &[&str]) -> Vec<OsString> {
        let ends = match self.up {
            true => [self.bench.path("f").into(), self.node.at("copy/f")],
            false => [self.node.at("f"), self.bench.path("copy/f").into()],
        };
        options.iter().map(OsString::from).chain(ends).collect()
    }

    fn begin(&self) -> Process {
        let copy = self.bench.start(self.args(&["--rate", RATE]));
        let partials = self.bench.path(if self.up { "root/copy" } else { "copy" }).join(".xfer-partial");
        let begun = || tree::blocks(&partials) > BEGUN;
        until("content", || begun().then_some(()));
        copy
    }

    /// Stops one end in mid-copy. The copy goes on by itself; how often it had to try again.
    fn survives(&self, which: Stopped, pause: Duration) -> usize {
        let copy = self.begin();
        let stopped = if which == Stopped::Client { &copy } else { &self.node.process };
        stopped.signal("STOP");
        // Nothing is waited for here: this is how long it is stopped.
        thread::sleep(pause);
        stopped.signal("CONT");
        let done = copy.finish().expect(0);
        let (from, to) = if self.up { ("f", "root/copy/f") } else { ("root/f", "copy/f") };
        let content = fs::read(self.bench.path(from)).unwrap();
        assert!(content == fs::read(self.bench.path(to)).unwrap(), "the copy differs");
        assert_eq!(done.digest(), blake3::hash(&content).to_hex().as_str());
        // A chunk that was written unheard before a retry counts as reused.
        let moved = done.number("bytes") + done.number("reused_bytes");
        assert_eq!((moved, done.number("total_bytes")), (LEN as u64, LEN as u64));
        for retry in done.lines.iter().filter(|line| line["type"] == "retry") {
            assert_eq!(retry["error"]["class"], 5, "{retry}");
        }
        let again = self.bench.copy(self.args(&[])).expect(0);
        assert_eq!(again.number("skipped_bytes"), LEN as u64, "a rerun has nothing to do");
        done.lines.iter().filter(|line| line["type"] == "retry").count()
    }
}

/// Either end of a copy in either direction, all at once: they spend their time waiting.
fn each(pause: Duration, retries: usize) {
    let check = |which, up| {
        let found = Case::new(up).survives(which, pause);
        assert_eq!(found, retries, "retries of {which:?} stopped for {pause:?}, upload: {up}");
    };
    thread::scope(|scope| {
        for which in [Stopped::Client, Stopped::Node] {
            for up in [true, false] {
                scope.spawn(move || check(which, up));
            }
        }
    });
}

#[test]
fn an_end_that_is_stopped_for_a_moment_is_not_missed() {
    each(A_MOMENT, 0);
}

#[test]
fn an_end_that_is_stopped_for_a_while_is_waited_for() {
    each(A_WHILE, 0);
}

#[test]
fn an_end_that_is_stopped_for_too_long_is_tried_again() {
    each(TOO_LONG, 1);
}

#[test]
fn a_stopped_node_is_unreachable() {
    let case = Case::new(false);
    case.node.process.signal("STOP");
    let done = case.bench.copy(case.args(&["--connect-timeout", "1s"])).expect(5);
    let error = &done.summary()["error"];
    assert!(error.to_string().contains(&case.node.address.to_string()), "it names the node: {error}");
    case.node.process.signal("CONT");
    let done = case.bench.copy(case.args(&[])).expect(0);
    assert_eq!(done.number("bytes"), LEN as u64);
}
