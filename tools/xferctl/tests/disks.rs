//! Destinations that a kernel makes fail: mounted read-only, without an inode left, a directory where a file should be and the reverse.
//! What is told on stderr and in JSON, the exit code, and a rerun when the fault is gone. Full disks are in `ends.rs`.

mod support;
mod watched;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use watched::{Bench, Done, Node, tree};

const LEN: usize = 3 << 20;

/// A file system in memory, mounted for one test.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where file systems may not be mounted, which is told.
    fn new(at: PathBuf, options: &str) -> Option<Self> {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at).output();
        if done.is_ok_and(|done| done.status.success()) {
            return Some(Mounted(at));
        }
        println!("skipped: only root may mount a file system");
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.0).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

/// Two destinations, one at each end of a node, and a file to copy into each.
struct Ends {
    bench: Bench,
    node: Node,
}

impl Ends {
    fn new() -> Ends {
        let bench = Bench::new();
        for directory in ["root/there", "here"] {
            bench.directory(directory);
        }
        tree::file(bench.path("up"), 1, LEN);
        tree::file(bench.path("root/down"), 1, LEN);
        let node = bench.node();
        Ends { bench, node }
    }

    fn destination(&self, up: bool) -> PathBuf {
        self.bench.path(if up { "root/there" } else { "here" })
    }

    fn copy(&self, up: bool, options: &[&str]) -> Done {
        let ends = match up {
            true => [self.bench.path("up").into_os_string(), self.node.at("there/f")],
            false => [self.node.at("down"), self.bench.path("here/f").into_os_string()],
        };
        self.bench.copy(options.iter().map(OsString::from).chain(ends))
    }

    #[track_caller]
    fn completes(&self, up: bool) {
        self.copy(up, &[]).expect(0);
        let destination = self.destination(up);
        assert!(fs::read(destination.join("f")).unwrap() == tree::content(1, LEN));
        assert!(!destination.join(".xfer-partial").exists());
    }
}

/// The summary's error and stderr name the end, the object and the reason.
#[track_caller]
fn told(done: &Done, code: u64, said: &[&str]) {
    let error = &done.summary()["error"];
    assert_eq!((error["side"].as_str(), error["class"].as_u64()), (Some("dst"), Some(code)), "{error}");
    for said in said {
        assert!(error.to_string().contains(said), "{said:?} is not in {error}");
        assert!(done.stderr.contains(said), "{said:?} is not in {}", done.stderr);
    }
}

#[test]
fn a_read_only_destination_is_told_and_a_rerun_completes() {
    let ends = Ends::new();
    for up in [true, false] {
        let Some(mounted) = Mounted::new(ends.destination(up), "size=64m") else { return };
        mounted.remount("ro");
        let done = ends.copy(up, &[]).expect(6);
        told(&done, 6, &["Read-only file system", "f"]);
        assert_eq!(fs::read_dir(ends.destination(up)).unwrap().count(), 0);
        mounted.remount("rw");
        ends.completes(up);
    }
}

#[test]
fn a_destination_without_an_inode_left_is_told_and_a_rerun_completes() {
    let ends = Ends::new();
    for up in [true, false] {
        let Some(_mounted) = Mounted::new(ends.destination(up), "size=64m,nr_inodes=16") else { return };
        let filler = |n: usize| ends.destination(up).join(format!("filler{n}"));
        let made = (0..16).take_while(|n| fs::write(filler(*n), "").is_ok()).count();
        let done = ends.copy(up, &[]).expect(7);
        told(&done, 7, &["files to create, room for 0"]);
        assert_eq!(fs::read_dir(ends.destination(up)).unwrap().count(), made);
        // Room for the file, none for what it needs besides.
        fs::remove_file(filler(0)).unwrap();
        let done = ends.copy(up, &[]).expect(7);
        told(&done, 7, &["No space left on device"]);
        (1..4).for_each(|n| fs::remove_file(filler(n)).unwrap());
        ends.completes(up);
    }
}

#[test]
fn what_is_of_another_kind_is_told_and_a_rerun_completes() {
    let ends = Ends::new();
    for up in [true, false] {
        let destination = ends.destination(up);
        // A file where the partial directory should be.
        fs::write(destination.join(".xfer-partial"), "mine").unwrap();
        let done = ends.copy(up, &[]).expect(1);
        told(&done, 1, &["Not a directory"]);
        assert_eq!(fs::read(destination.join(".xfer-partial")).unwrap(), b"mine");
        fs::remove_file(destination.join(".xfer-partial")).unwrap();
        ends.completes(up);
        // A directory in a file's place inside of a tree.
        let tree = ends.bench.directory(if up { "tree" } else { "root/tree" });
        fs::write(tree.join("f"), "f").unwrap();
        fs::write(tree.join("g"), "g").unwrap();
        fs::create_dir_all(destination.join("copy/f")).unwrap();
        let from = if up { tree.join(".").into_os_string() } else { ends.node.at("tree/.") };
        let to = if up { ends.node.at("there/copy") } else { destination.join("copy").into_os_string() };
        let words = [OsString::from("-r"), from, to];
        let done = ends.bench.copy(&words).expect(16);
        assert!(done.stderr.contains("not replacing a directory by a file: f"), "{}", done.stderr);
        assert_eq!(done.numbers(["files", "failed"]), [1, 1]);
        fs::remove_dir(destination.join("copy/f")).unwrap();
        let done = ends.bench.copy(&words).expect(0);
        assert_eq!(done.numbers(["files", "skipped"]), [1, 1]);
    }
}
