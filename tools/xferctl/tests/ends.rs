//! How copies end before they are done, in the direction that `cp.rs` does not look at: limits, signals, full disks, sources that change.

mod support;
mod watched;

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use watched::{Bench, Node, Process, tree, until};

const LEN: usize = 48 << 20;
/// Slow enough that a copy is still under way when something is seen of it.
const SLOW: [&str; 2] = ["--rate", "16MiB"];

/// A large file on the node, to be copied here.
struct Download {
    bench: Bench,
    node: Node,
}

impl Download {
    fn new() -> Self {
        let bench = Bench::new();
        let node = bench.node();
        tree::file(bench.path("root/f"), 1, LEN);
        bench.directory("here");
        Download { bench, node }
    }

    fn args(&self, options: &[&str]) -> Vec<OsString> {
        let ends = [self.node.at("f"), self.bench.path("here/f").into_os_string()];
        options.iter().map(OsString::from).chain(ends).collect()
    }

    fn start(&self) -> Process {
        let copy = self.bench.start(self.args(&SLOW));
        // More chunks than are written at once: some are there whole.
        self.wait_for(4 << 20);
        copy
    }

    fn wait_for(&self, bytes: u64) {
        let partials = self.bench.path("here/.xfer-partial");
        until("content", || has_content(&partials, bytes).then_some(()));
    }

    /// Not under its name; the rerun has what came before.
    #[track_caller]
    fn goes_on(&self) {
        self.goes_on_with(&[]);
    }

    #[track_caller]
    fn goes_on_with(&self, options: &[&str]) {
        assert!(!self.bench.path("here/f").exists());
        let done = self.bench.copy(self.args(options)).expect(0);
        assert!(done.number("reused_bytes") > 0, "{done:#?}");
        assert_eq!(done.number("reused_bytes") + done.number("bytes"), LEN as u64);
        let digest = blake3::hash(&fs::read(self.bench.path("root/f")).unwrap()).to_hex();
        assert_eq!(done.digest(), digest.as_str());
        assert_eq!(fs::read_dir(self.bench.path("here")).unwrap().count(), 1);
    }
}

/// Partial files have more bytes on disk than this.
fn has_content(partials: &Path, bytes: u64) -> bool {
    let mut left = fs::read_dir(partials).into_iter().flatten().map_while(Result::ok);
    left.any(|f| f.metadata().is_ok_and(|m| m.blocks() * 512 > bytes))
}

#[test]
fn limits_end_a_download_that_can_go_on() {
    let download = Download::new();
    let done =
        download.bench.copy(download.args(&[&SLOW[..], &["--max-transfer", "8MiB"]].concat())).expect(8);
    assert!(done.number("bytes") < LEN as u64);
    let done =
        download.bench.copy(download.args(&[&SLOW[..], &["--max-duration", "1s"]].concat())).expect(11);
    assert!(done.summary()["seconds"].as_f64().unwrap() >= 1.0);
    download.goes_on();
}

#[test]
fn a_signal_ends_a_download_that_can_go_on() {
    let download = Download::new();
    let copy = download.start();
    copy.signal("INT");
    let done = copy.finish().expect(20);
    assert_eq!(done.summary()["error"]["class"], 20);
    download.goes_on();
}

#[test]
fn a_rerun_with_other_chunks_goes_on_too() {
    for chunk in ["128KiB", "4MiB"] {
        let download = Download::new();
        let copy = download.start();
        download.wait_for(16 << 20);
        copy.signal("INT");
        copy.finish().expect(20);
        download.goes_on_with(&["--chunk", chunk]);
    }
}

#[test]
fn a_node_that_is_told_to_end_lets_its_client_go_on() {
    let mut download = Download::new();
    let mut copy = download.start();
    download.node.process.signal("TERM");
    let retry = copy.line(|line| line["type"] == "retry");
    assert_eq!(retry["error"]["class"], 5, "{retry}");
    until("the node's end", || (!download.node.process.is_running()).then_some(()));
    download.node = download.bench.node_at(download.node.address);
    let done = copy.finish().expect(0);
    assert_eq!(done.action("f"), "resumed");
    assert_eq!(done.number("bytes"), LEN as u64);
}

#[test]
fn a_source_that_changes_while_it_is_read_ends_a_download() {
    let download = Download::new();
    let copy = download.start();
    tree::file(download.bench.path("root/f"), 2, LEN);
    let done = copy.finish().expect(15);
    assert!(done.summary()["error"].to_string().contains("changed"), "{done:#?}");
    assert!(!download.bench.path("here/f").exists());
    // The next run begins anew.
    let done = download.bench.copy(download.args(&[])).expect(0);
    assert_eq!(done.number("bytes"), LEN as u64);
}

#[test]
fn paths_beyond_the_root_are_refused_on_read_too() {
    let download = Download::new();
    fs::write(download.bench.path("secret"), "x").unwrap();
    std::os::unix::fs::symlink("../secret", download.bench.path("root/way-out")).unwrap();
    std::os::unix::fs::symlink("f", download.bench.path("root/way-in")).unwrap();
    for name in ["../secret", "a/../f", "way-out"] {
        let here = download.bench.path("here/s");
        let done = download.bench.copy([download.node.at(name), here.clone().into_os_string()]).expect(6);
        assert!(!here.exists(), "{done:#?}");
    }
    let here = download.bench.path("here/in").into_os_string();
    download.bench.copy([download.node.at("way-in"), here]).expect(0);
}

#[test]
fn a_wrong_fingerprint_is_refused() {
    let download = Download::new();
    let (token, rest) = download.node.link.split_once('.').unwrap();
    let forged = format!("{token}.{}{}/f", "A".repeat(43), &rest[43..]);
    let here = download.bench.path("here/f").into_os_string();
    download.bench.copy([OsString::from(forged), here]).expect(13);
}

#[test]
fn a_missing_source_among_others_is_a_partial_success() {
    let download = Download::new();
    let here = download.bench.directory("here").into_os_string();
    for (there, from_node) in [("f", true), ("g", false)] {
        let words = match from_node {
            true => [download.node.at(there), download.node.at("missing"), here.clone()],
            false => {
                let file = download.bench.file("g", "g").into_os_string();
                [file, download.bench.path("missing").into_os_string(), download.node.at("")]
            }
        };
        let done = download.bench.copy(words).expect(16);
        assert_eq!(done.numbers(["files", "failed"]), [1, 1]);
    }
    assert!(download.bench.path("here/f").exists() && download.bench.path("root/g").exists());
}

/// A small file system of its own, for disks that fill up.
struct Small {
    at: PathBuf,
}

impl Small {
    /// `None` where file systems may not be mounted, which is told.
    fn mount(at: PathBuf) -> Option<Self> {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(&at).output();
        if done.is_ok_and(|done| done.status.success()) {
            return Some(Small { at });
        }
        println!("skipped: only root may mount a file system");
        None
    }

    /// Leaves no room for more.
    fn fill(&self) {
        let mut file = fs::File::create(self.at.join("filler")).unwrap();
        let block = vec![7; 1 << 20];
        while file.write_all(&block).is_ok() {}
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.at).status();
        assert!(done.is_ok_and(|status| status.success()), "{} stays mounted", self.at.display());
    }
}

#[test]
fn a_full_disk_ends_a_copy_that_can_go_on() {
    let bench = Bench::new();
    let (there, here) = (bench.directory("root/small"), bench.directory("small"));
    let (Some(there), Some(here)) = (Small::mount(there), Small::mount(here)) else { return };
    let node = bench.node();
    tree::file(bench.path("up"), 1, LEN);
    tree::file(bench.path("root/down"), 1, LEN);
    let up = [bench.path("up").into_os_string(), node.at("small/f")];
    let down = [node.at("down"), bench.path("small/f").into_os_string()];
    for (small, ends) in [(&there, up), (&here, down)] {
        let copy = bench.start(SLOW.map(OsString::from).iter().chain(&ends));
        until("content", || has_content(&small.at.join(".xfer-partial"), 0).then_some(()));
        small.fill();
        let done = copy.finish().expect(7);
        let error = &done.summary()["error"];
        assert_eq!((error["side"].as_str(), error["class"].as_u64()), (Some("dst"), Some(7)), "{error}");
        assert!(error.to_string().contains("No space left"), "{error}");
        // What does not fit is told before any of it moves.
        let full = bench.copy(&ends).expect(7);
        assert_eq!(full.number("bytes"), 0);
        assert!(!small.at.join("f").exists());
        fs::remove_file(small.at.join("filler")).unwrap();
        let done = bench.copy(&ends).expect(0);
        assert_eq!(done.number("bytes") + done.number("reused_bytes"), LEN as u64);
        assert!(done.number("reused_bytes") > 0, "{done:#?}");
    }
}

#[test]
fn what_a_copy_takes_is_known_before_it_moves() {
    let bench = Bench::new();
    let (there, here) = (bench.directory("root/small"), bench.directory("small"));
    let (Some(there), Some(here)) = (Small::mount(there), Small::mount(here)) else { return };
    let node = bench.node();
    for name in ["up", "root/down"] {
        // A megabyte of data in a gibibyte of holes, and more than there is room for.
        let sparse = fs::File::create(bench.path(format!("{name}-sparse"))).unwrap();
        sparse.set_len(1 << 30).unwrap();
        sparse.write_all_at(&tree::content(3, 1 << 20), (1 << 29) + 4_096).unwrap();
        tree::file(bench.path(format!("{name}-big")), 4, 65 << 20);
    }
    let up = |name: &str| [bench.path(format!("up-{name}")).into_os_string(), node.at("small/f")];
    let down = |name: &str| [node.at(format!("down-{name}")), bench.path("small/f").into_os_string()];
    for (small, sparse, big) in [(&there, up("sparse"), up("big")), (&here, down("sparse"), down("big"))] {
        let done = bench.copy(&sparse).expect(0);
        assert_eq!(done.number("bytes"), 1 << 30);
        let file = fs::File::open(small.at.join("f")).unwrap();
        assert!(file.metadata().unwrap().blocks() <= (1 << 20) / 512 + 16);
        let mut data = vec![0; 1 << 20];
        file.read_exact_at(&mut data, (1 << 29) + 4_096).unwrap();
        assert!(data == tree::content(3, 1 << 20));
        let refused = bench.copy(&big).expect(7);
        assert_eq!((refused.number("bytes"), refused.number("wire_bytes") < 1 << 20), (0, true));
        let error = &refused.summary()["error"];
        assert_eq!(error["side"], "dst", "{error}");
        let text = error.to_string();
        for said in ["no room in", "small/", &format!("{} bytes needed", 65 << 20), " free"] {
            assert!(text.contains(said), "{said:?} is not in {text}");
        }
        assert_eq!(fs::read_dir(&small.at).unwrap().count(), 1, "the first file alone");
    }
}
