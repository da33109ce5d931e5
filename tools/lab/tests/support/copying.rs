//! Real copies between the hosts of a lab: a node on host b, `xferctl cp` on host a, both in namespaces, and what the wires saw of it.
//!
//! Nothing here sleeps in order to be in time: whatever is waited for is asked for again and again until a deadline.

#![allow(dead_code, reason = "each test program uses its part")]

#[path = "node.rs"]
pub(crate) mod node;
#[path = "noise.rs"]
mod noise;

pub(crate) use node::xferctl;
use node::{Node, listen};
pub(crate) use noise::write_noise;
use std::fs::{self, File};
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use serde_json::Value;
use xfer_lab::{Config, Host, Lab};

/// How long a node may take to be ready, a copy to end, a counter to move.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(2);

/// Which way the content goes. The client is on host a, the node on host b.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Download,
    Upload,
}

/// Both.
pub(crate) const WAYS: [Way; 2] = [Way::Download, Way::Upload];

impl Way {
    /// The host that sends content.
    pub(crate) fn sender(self) -> &'static str {
        match self {
            Way::Download => "b",
            Way::Upload => "a",
        }
    }
}

/// A lab with a node on host b.
pub(crate) struct Stage {
    node: Node,
    size: u64,
    pub(crate) lab: Lab,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    /// Brings up lab and node; host a (`local`) and host b (`root`) get the same file `data` of `size` bytes in different places.
    pub(crate) fn up(name: &str, config: Config, size: u64) -> Stage {
        let wires: Vec<usize> = (1..=config.wires.len()).collect();
        Self::up_at(name, config, size, |b| wires.iter().map(|wire| IpAddr::from(b.ipv4(*wire))).collect())
    }

    /// The same, with the node at addresses of choice; the first is the first of its link.
    pub(crate) fn up_at(
        name: &str,
        config: Config,
        size: u64,
        addresses: impl FnOnce(&Host) -> Vec<IpAddr>,
    ) -> Stage {
        Self::up_with(name, config, size, addresses, &[])
    }

    /// The same, with a node that has more options.
    pub(crate) fn up_with(
        name: &str,
        config: Config,
        size: u64,
        addresses: impl FnOnce(&Host) -> Vec<IpAddr>,
        options: &[&str],
    ) -> Stage {
        let alone = node::alone();
        let lab = node::lab(name, config);
        let (a, b) = (lab.host("a"), lab.host("b"));
        write_noise(&a.home().join("data"), size);
        fs::create_dir(b.home().join("root")).unwrap();
        fs::copy(a.home().join("data"), b.home().join("root/served")).unwrap();
        let mut serve = b.command(xferctl());
        serve.args(["serve", "--json", "--root"]).arg(b.home().join("root")).args(options);
        let node = Node::start(serve.args(addresses(&b).into_iter().flat_map(listen)));
        Stage { node, size, lab, _alone: alone }
    }

    /// Starts a copy of the file. Options that no user need name are those that a test is about.
    pub(crate) fn copy(&self, way: Way, options: &[&str]) -> Copying<'_> {
        let a = self.lab.host("a");
        let remote = |name: &str| format!("{}/{name}", self.node.link);
        let mut command = a.command(xferctl());
        command.args(["cp", "--json", "--progress", "none", "--compare", "digest"]).args(options);
        let (source, copy) = (a.home().join("data"), self.lab.host("b").home().join("root/served"));
        let pair = match way {
            Way::Download => (copy, a.home().join("copied")),
            Way::Upload => (source, self.lab.host("b").home().join("root/copied")),
        };
        match way {
            Way::Download => command.arg(remote("served")).arg(&pair.1),
            Way::Upload => command.arg(&pair.0).arg(remote("copied")),
        };
        let started = Instant::now();
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Copying { child, pair, started, stage: self, way }
    }

    /// Copies from cold, as a user would type it: from the start of the process until the copy is in place, and until the process ended.
    /// `name` is a file of `bytes` bytes or a directory with such files, the same on both hosts; the copy is removed again.
    pub(crate) fn copy_cold(&self, way: Way, name: &str, bytes: u64) -> (Duration, Duration) {
        let (here, there) = (self.lab.host("a").home(), self.lab.host("b").home().join("root"));
        let (from, into) = match way {
            Way::Download => (there.join(name), here.join("cold")),
            Way::Upload => (here.join(name), there.join("cold")),
        };
        let mut command = self.lab.host("a").command(xferctl());
        command.args(["cp", "-r", "--progress", "none"]);
        match way {
            Way::Download => command.arg(format!("{}/{name}", self.node.link)).arg(&into),
            Way::Upload => command.arg(&from).arg(format!("{}/cold", self.node.link)),
        };
        let started = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut in_place = None;
        let status = loop {
            let ended = child.try_wait().unwrap();
            let took = started.elapsed();
            if in_place.is_none()
                && into.metadata().is_ok_and(|found| !found.is_file() || found.len() == bytes)
            {
                in_place = Some(took);
            }
            if let Some(status) = ended {
                break status;
            }
            assert!(took < PATIENCE, "the copy does not end");
            std::thread::sleep(POLL_EVERY / 8);
        };
        let ended = started.elapsed();
        let said = child.wait_with_output().unwrap();
        assert!(status.success(), "{}{}", said.stdout.escape_ascii(), said.stderr.escape_ascii());
        let same = std::process::Command::new("diff").arg("-r").args([&from, &into]).status().unwrap();
        assert!(same.success(), "{name} and its copy differ");
        if into.is_dir() {
            fs::remove_dir_all(&into).unwrap();
        } else {
            fs::remove_file(&into).unwrap();
        }
        (in_place.expect("it is in place when the copy ended"), ended)
    }

    /// Makes a directory `many` of `count` files of 1 KiB on both hosts.
    pub(crate) fn with_small_files(self, count: usize) -> Stage {
        let (here, there) = (self.lab.host("a").home(), self.lab.host("b").home().join("root"));
        for home in [here, there] {
            let directory = home.join("many");
            fs::create_dir(&directory).unwrap();
            for i in 0..count {
                fs::write(directory.join(format!("f{i}")), vec![i as u8; 1_024]).unwrap();
            }
        }
        self
    }

    /// Bytes that host `host` has sent and received over its interface of `wire`, headers included.
    pub(crate) fn carried(&self, host: &str, wire: usize) -> (u64, u64) {
        let read = || fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let table = self.lab.host(host).enter(read).unwrap();
        let mark = format!("x{wire}:");
        let line =
            table.lines().find_map(|line| line.trim().strip_prefix(&mark)).expect("the wire's interface");
        let fields: Vec<u64> = line.split_whitespace().map(|field| field.parse().unwrap()).collect();
        (fields[8], fields[0])
    }
}

/// A copy under way.
pub(crate) struct Copying<'a> {
    child: Child,
    pair: (PathBuf, PathBuf),
    started: Instant,
    stage: &'a Stage,
    way: Way,
}

impl Copying<'_> {
    /// Bytes that its sender put on `wire` since the lab was made.
    pub(crate) fn sent(&self, wire: usize) -> u64 {
        self.stage.carried(self.way.sender(), wire).0
    }

    /// Waits until `met`; the copy must not end before.
    pub(crate) fn until(&mut self, what: &str, mut met: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !met(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the copy ended before: {what}\n{}", self.rest());
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Waits until `wire` has carried `bytes` more of the sender's.
    pub(crate) fn until_sent(&mut self, wire: usize, bytes: u64) {
        let from = self.sent(wire);
        self.until(&format!("{bytes} bytes over wire {wire}"), |copy| copy.sent(wire) >= from + bytes);
    }

    fn rest(&mut self) -> String {
        let mut text = String::new();
        for stream in [
            self.child.stdout.take().map(|s| Box::new(s) as Box<dyn Read>),
            self.child.stderr.take().map(|s| Box::new(s) as Box<dyn Read>),
        ] {
            stream.unwrap().read_to_string(&mut text).unwrap();
        }
        text
    }

    /// Waits for the end, which must be a success with the right content; gives the summary.
    pub(crate) fn succeed(mut self) -> Copied {
        self.until_ended();
        let status = self.child.wait().unwrap();
        let took = self.started.elapsed();
        let text = self.rest();
        assert_eq!(status.code(), Some(0), "{text}");
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert!(lines.iter().all(|line| line["type"] != "retry"), "nothing had to be tried again: {text}");
        let summary = lines.iter().rfind(|line| line["type"] == "summary").expect("a summary").clone();
        assert_eq!(summary["exit"], 0);
        assert_eq!(summary["bytes"], self.stage.size);
        assert_eq!(summary["verified"], true);
        assert_eq!(summary["digest"].as_str().unwrap(), digest(&self.pair.0), "of the source");
        assert_same(&self.pair.0, &self.pair.1);
        fs::remove_file(&self.pair.1).unwrap();
        Copied { summary, took, text }
    }

    fn until_ended(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() >= deadline {
                self.child.kill().unwrap();
                panic!("the copy does not end: {}", self.rest());
            }
            std::thread::sleep(POLL_EVERY);
        }
    }
}

impl Drop for Copying<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().and_then(|()| self.child.wait().map(drop)).expect("the copy ends");
        }
    }
}

/// A copy that succeeded.
pub(crate) struct Copied {
    pub(crate) summary: Value,
    /// From the start of the process to its end.
    pub(crate) took: Duration,
    /// All that it said.
    pub(crate) text: String,
}

impl Copied {
    /// Payload of the path from host a's address `local`.
    pub(crate) fn payload(&self, local: impl Into<IpAddr>) -> u64 {
        let local = local.into().to_string();
        let paths = self.summary["paths"].as_array().unwrap();
        paths.iter().filter(|path| path["local"] == local).map(|path| path["bytes"].as_u64().unwrap()).sum()
    }

    /// Largest datagram of the only path.
    pub(crate) fn mtu(&self) -> u64 {
        self.summary["paths"][0]["mtu"].as_u64().unwrap()
    }

    /// Content bits a second, start included.
    pub(crate) fn bits_per_second(&self) -> f64 {
        self.summary["bytes"].as_f64().unwrap() * 8.0 / self.took.as_secs_f64()
    }
}

/// BLAKE3 of a file, by the tool's own `hash`.
fn digest(path: &Path) -> String {
    let output = std::process::Command::new(xferctl()).arg("hash").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().expect("a digest").to_owned()
}

fn assert_same(one: &Path, other: &Path) {
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let (mut one, mut other) = (File::open(one).unwrap(), File::open(other).unwrap());
    assert_eq!(one.metadata().unwrap().len(), other.metadata().unwrap().len());
    let mut left = one.metadata().unwrap().len();
    while left > 0 {
        let now = left.min(ours.len() as u64) as usize;
        one.read_exact(&mut ours[..now]).unwrap();
        other.read_exact(&mut theirs[..now]).unwrap();
        assert!(ours[..now] == theirs[..now], "the copy differs within the last {left} bytes");
        left -= now as u64;
    }
}
