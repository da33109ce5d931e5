//! Copies whose client or node is killed, and what a rerun makes of it (PRODUCT.md, "Copying, exactly").
//!
//! Either end dies by SIGKILL at five instants of a copy in either direction. An instant is told by what can be seen at the destination,
//! and whether it was met is looked at after the kill; one that was missed is tried again. Whatever was met, the rerun must be right.

mod support;
mod watched;

use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use watched::journal::{Left, left};
use watched::{Bench, Done, Node, Process, tree, until};

/// How often an instant may be missed.
const TRIES: usize = 6;
/// Content of the large file: more than a second of [`RATE`], so that some of it is journaled while it comes.
const BIG: usize = 144 << 20;
const RATE: &str = "96MiB";

/// When to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instant {
    /// Directories are made while the tree is still listed.
    Listing,
    /// The large file has begun, nothing of it is journaled.
    Begun,
    /// Some of the large file is journaled.
    MidFile,
    /// The large file got its name, its journal is still there.
    Naming,
    /// Every file has its name, the copy has not ended.
    Finish,
}

/// The end that dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Client,
    Node,
}

impl Instant {
    /// Whether it has come.
    fn has_come(self, destination: &Path) -> bool {
        match self {
            Instant::Listing => destination.join("m0").exists(),
            Instant::Begun => has_partial(destination),
            Instant::MidFile => left(destination).journaled > 0,
            Instant::Naming => destination.join("a-big").exists(),
            Instant::Finish => destination.join("zz/last").exists(),
        }
    }

    /// Whether it was met, by what the kill left. `ended`: the copy was over before.
    fn was_met(self, destination: &Path, left: Left, ended: bool) -> bool {
        match self {
            Instant::Listing => !destination.join("zz").exists(),
            Instant::Begun => left.journaled == 0 && has_partial(destination),
            Instant::MidFile => left.journaled > 0,
            Instant::Naming => left.journals_without_file > 0,
            Instant::Finish => !ended,
        }
    }
}

fn has_partial(destination: &Path) -> bool {
    let names = fs::read_dir(destination.join(".xfer-partial"));
    names.is_ok_and(|names| {
        names.map_while(Result::ok).any(|entry| entry.path().extension().is_some_and(|e| e == "part"))
    })
}

/// A large file, then thousands of small ones under long names, which take many pages to list, then a last one.
fn make_tree(root: &Path) {
    fs::create_dir(root).unwrap();
    tree::file(root.join("a-big"), 1, BIG);
    for directory in 0..3 {
        let at = root.join(format!("m{directory}"));
        fs::create_dir(&at).unwrap();
        for i in 0..1_000 {
            tree::file(at.join(format!("{i:0200}")), i, 1_500 + i as usize);
        }
    }
    symlink("nowhere", root.join("s")).unwrap();
    fs::create_dir(root.join("zz")).unwrap();
    tree::file(root.join("zz/last"), 2, 5_000);
}

/// One copy whose ends can be killed.
struct Case {
    bench: Bench,
    up: bool,
}

impl Case {
    fn new(up: bool) -> Self {
        let bench = Bench::new();
        make_tree(&bench.path(if up { "tree" } else { "root/tree" }));
        Case { bench, up }
    }

    fn source(&self) -> PathBuf {
        self.bench.path(if self.up { "tree" } else { "root/tree" })
    }

    fn destination(&self) -> PathBuf {
        self.bench.path(if self.up { "root/copy" } else { "copy" })
    }

    fn args(&self, node: &Node, options: &[&str]) -> Vec<OsString> {
        let ends = match self.up {
            true => [self.source().join(".").into_os_string(), node.at("copy")],
            false => [node.at("tree/."), self.destination().into_os_string()],
        };
        ["-r"].iter().chain(options).map(OsString::from).chain(ends).collect()
    }

    /// Kills one end at the instant and runs the copy again. Returns whether the instant was met.
    fn kill_and_rerun(&self, victim: Victim, instant: Instant) -> bool {
        let destination = self.destination();
        fs::create_dir(&destination).unwrap();
        let mut node = self.bench.node();
        let mut copy = self.bench.start(self.args(&node, &["--rate", RATE]));
        let when = format!("{instant:?}");
        until(&when, || (instant.has_come(&destination) || !copy.is_running()).then_some(()));
        let (left, ended) = match victim {
            Victim::Client => {
                let ended = !copy.is_running();
                copy.kill();
                (left(&destination), ended)
            }
            Victim::Node => {
                let over = !copy.is_running();
                node.process.kill();
                let left = left(&destination);
                // A client that has everything ends well without the node.
                let ended = end(copy) && (self.up || over);
                node = self.bench.node_at(node.address);
                (left, ended)
            }
        };
        let met = instant.was_met(&destination, left, ended);
        let done = self.bench.copy(self.args(&node, &[])).expect(0);
        self.check(&done);
        let [bytes, reused, skipped] = done.numbers(["bytes", "reused_bytes", "skipped_bytes"]);
        assert!(
            reused + skipped >= left.named + left.journaled,
            "{victim:?} {instant:?}: {left:?} {done:#?}"
        );
        assert_eq!(bytes + reused + skipped, done.number("total_bytes"), "{done:#?}");
        fs::remove_dir_all(&destination).unwrap();
        met
    }

    /// All is there as it is at the source, and nothing else.
    fn check(&self, done: &Done) {
        tree::same(&self.source(), &self.destination());
        assert_eq!(done.digest(), tree::digest(&self.source()));
        assert_eq!(done.summary()["verified"], true);
    }
}

/// Ends a client whose node is gone. Returns whether its copy was complete already.
fn end(copy: Process) -> bool {
    copy.signal("INT");
    let done = copy.finish();
    assert!(matches!(done.code, Some(0 | 20)), "{done:#?}");
    done.code == Some(0)
}

fn killed(up: bool, victim: Victim, instant: Instant) {
    let case = Case::new(up);
    let met = (0..TRIES).any(|_| case.kill_and_rerun(victim, instant));
    assert!(met, "{instant:?} was missed {TRIES} times");
}

macro_rules! kills {
    ($($name:ident: $up:literal $victim:ident $instant:ident;)*) => {
        $(#[test] fn $name() { killed($up, Victim::$victim, Instant::$instant); })*
    };
}

kills! {
    upload_client_dies_while_listing: true Client Listing;
    upload_client_dies_when_begun: true Client Begun;
    upload_client_dies_in_mid_file: true Client MidFile;
    upload_client_dies_between_rename_and_journal: true Client Naming;
    upload_client_dies_in_the_finish: true Client Finish;
    upload_node_dies_while_listing: true Node Listing;
    upload_node_dies_when_begun: true Node Begun;
    upload_node_dies_in_mid_file: true Node MidFile;
    upload_node_dies_between_rename_and_journal: true Node Naming;
    upload_node_dies_in_the_finish: true Node Finish;
    download_client_dies_while_listing: false Client Listing;
    download_client_dies_when_begun: false Client Begun;
    download_client_dies_in_mid_file: false Client MidFile;
    download_client_dies_between_rename_and_journal: false Client Naming;
    download_client_dies_in_the_finish: false Client Finish;
    download_node_dies_while_listing: false Node Listing;
    download_node_dies_when_begun: false Node Begun;
    download_node_dies_in_mid_file: false Node MidFile;
    download_node_dies_between_rename_and_journal: false Node Naming;
    download_node_dies_in_the_finish: false Node Finish;
}

/// A node dies in the middle and comes back: the client that lives goes on by itself.
fn goes_on(up: bool) {
    let case = Case::new(up);
    fs::create_dir(case.destination()).unwrap();
    let mut node = case.bench.node();
    let mut copy = case.bench.start(case.args(&node, &["--rate", RATE]));
    until("a journal", || (left(&case.destination()).journaled > 0).then_some(()));
    node.process.kill();
    let left = left(&case.destination());
    let retry = copy.line(|line| line["type"] == "retry");
    assert_eq!((&retry["retry"], &retry["wait_s"]), (&Value::from(1), &Value::from(5.0)));
    assert_eq!(retry["error"]["class"], 5);
    let _node = case.bench.node_at(node.address);
    let done = copy.finish().expect(0);
    case.check(&done);
    assert!(left.journaled > 0);
    assert_eq!(done.action("a-big"), "resumed");
    // What the first attempt wrote is this run's own.
    assert_eq!(done.number("reused_bytes"), 0);
    assert_eq!(done.number("bytes"), done.number("total_bytes"));
}

#[test]
fn an_upload_goes_on_when_the_node_is_back() {
    goes_on(true);
}

#[test]
fn a_download_goes_on_when_the_node_is_back() {
    goes_on(false);
}

/// A second run on a target in progress is refused, names the holder, and leaves the first one alone.
fn refused_second(up: bool) {
    let case = Case::new(up);
    fs::create_dir(case.destination()).unwrap();
    let node = case.bench.node();
    let ends = match up {
        true => [case.source().join("a-big").into_os_string(), node.at("copy/")],
        false => [node.at("tree/a-big"), case.destination().into_os_string()],
    };
    let slow = ["--rate", RATE].map(OsString::from).into_iter().chain(ends.clone());
    let first = case.bench.start(slow);
    until("a partial file", || has_partial(&case.destination()).then_some(()));
    let second = case.bench.copy(ends).expect(5);
    let told = second.summary()["error"].to_string();
    let holder = if up { " from 127.0.0.1:" } else { "held by pid " };
    assert!(told.contains(holder), "{told}");
    let first = first.finish().expect(0);
    assert_eq!(first.number("bytes"), BIG as u64);
}

#[test]
fn an_upload_to_a_target_in_progress_is_refused() {
    refused_second(true);
}

#[test]
fn a_download_to_a_target_in_progress_is_refused() {
    refused_second(false);
}
