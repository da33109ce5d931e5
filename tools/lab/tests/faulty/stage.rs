//! A lab with a node on host b and copies from host a, whose end and whose retries are looked at.
//!
//! Waits are for something to be seen, each until a deadline; only how long a fault lasts is a time.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use xfer_lab::{Config, Host, Lab, WireShape};

use crate::node::{self, Node, listen, xferctl};
use crate::noise::write_noise;

/// How long anything here may take: a minute without a network, and the longest wait for a retry that may have begun in it.
const PATIENCE: Duration = Duration::from_secs(200);
const POLL_EVERY: Duration = Duration::from_millis(5);
/// What is copied ...
pub(crate) const SIZE: u64 = 48 << 20;
/// ... and how fast: it takes three seconds.
const RATE: &str = "16MiB";
/// Content that is there when a fault begins: some, not all.
const BEGUN: u64 = 6 << 20;

/// Which way the content goes. The client is on host a, the node on host b.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Download,
    Upload,
}

/// Both.
pub(crate) const WAYS: [Way; 2] = [Way::Download, Way::Upload];

/// What a process finds in its environment.
pub(crate) type Environment = Vec<(&'static str, OsString)>;

/// A lab with a node on host b.
pub(crate) struct Stage {
    node: Node,
    pub(crate) lab: Lab,
}

/// How a copy ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<Value>,
    /// All that it said, for a test that fails.
    #[expect(dead_code, reason = "shown by `Debug` only")]
    text: String,
}

impl Stage {
    /// A lab of bare wires; the node listens on all of them.
    pub(crate) fn up(name: &str, wires: usize) -> Stage {
        Self::up_with(
            name,
            wires,
            |b| (1..=wires).flat_map(|wire| listen(b.ipv4(wire))).collect(),
            Vec::new(),
        )
    }

    /// The same, with the node's options and environment.
    pub(crate) fn up_with(
        name: &str,
        wires: usize,
        options: impl FnOnce(&Host) -> Vec<String>,
        environment: Environment,
    ) -> Stage {
        let lab = node::lab(name, Config::with_wires(wires, WireShape::default()));
        let (a, b) = (lab.host("a"), lab.host("b"));
        write_noise(&a.home().join("data"), SIZE);
        fs::create_dir(b.home().join("root")).unwrap();
        fs::copy(a.home().join("data"), b.home().join("root/data")).unwrap();
        let mut serve = b.command(xferctl());
        serve.args(["serve", "--json", "--root"]).arg(b.home().join("root"));
        let node = Node::start(serve.args(options(&b)).envs(environment));
        Stage { node, lab }
    }

    /// The pair of a copy: what it comes from, what it becomes.
    fn pair(&self, way: Way) -> (PathBuf, PathBuf) {
        let (a, root) = (self.lab.host("a").home(), self.lab.host("b").home().join("root"));
        match way {
            Way::Download => (root.join("data"), a.join("copied")),
            Way::Upload => (a.join("data"), root.join("copied")),
        }
    }

    /// Starts a copy.
    pub(crate) fn start(&self, way: Way, options: &[&str], environment: Environment) -> Copying<'_> {
        let mut command = self.lab.host("a").command(xferctl());
        command.args(["cp", "--json", "--progress", "none", "--rate", RATE]).args(options).envs(environment);
        let (from, to) = self.pair(way);
        match way {
            Way::Download => command.arg(format!("{}/data", self.node.link)).arg(to),
            Way::Upload => command.arg(from).arg(format!("{}/copied", self.node.link)),
        };
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Copying { child, stage: self, way }
    }

    /// Starts a copy and waits until some of it is there.
    pub(crate) fn begin(&self, way: Way) -> Copying<'_> {
        self.begin_with(way, &[], Vec::new())
    }

    /// The same, with options and environment.
    pub(crate) fn begin_with(&self, way: Way, options: &[&str], environment: Environment) -> Copying<'_> {
        let mut copy = self.start(way, options, environment);
        let partials = self.pair(way).1.with_file_name(".xfer-partial");
        copy.until("content", || blocks(&partials) > BEGUN);
        copy
    }

    /// A copy from its start to its end.
    pub(crate) fn rerun(&self, way: Way) -> Done {
        self.start(way, &[], Vec::new()).finish()
    }

    /// The copy is there, the same as its source, and the tool says so.
    pub(crate) fn check(&self, way: Way, done: &Done) {
        assert_eq!(done.code, Some(0), "{done:#?}");
        let (from, to) = self.pair(way);
        assert!(fs::read(from).unwrap() == fs::read(&to).unwrap(), "the copy differs: {done:#?}");
        assert_eq!(done.summary()["verified"], true);
        assert_eq!(done.summary()["total_bytes"], SIZE);
        fs::remove_file(to).unwrap();
    }

    /// Bytes that host `host` has sent over its interface of `wire`.
    pub(crate) fn sent(&self, host: &str, wire: usize) -> u64 {
        let read = || fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let table = self.lab.host(host).enter(read).unwrap();
        let mark = format!("x{wire}:");
        let line = table.lines().find_map(|line| line.trim().strip_prefix(&mark)).expect("the interface");
        line.split_whitespace().nth(8).expect("a counter").parse().unwrap()
    }
}

/// Bytes that the files of a directory take on disk.
fn blocks(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().map_while(Result::ok);
    entries.filter_map(|entry| entry.metadata().ok()).map(|found| found.blocks() * 512).sum()
}

/// A copy under way.
pub(crate) struct Copying<'a> {
    child: Child,
    stage: &'a Stage,
    way: Way,
}

impl Copying<'_> {
    /// Waits until something is seen; the copy must not end before.
    pub(crate) fn until(&mut self, what: &str, mut seen: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !seen() {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended before {what}: {}", self.rest());
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            std::thread::sleep(POLL_EVERY);
        }
    }

    fn rest(&mut self) -> String {
        let mut text = String::new();
        self.child.stdout.take().expect("piped").read_to_string(&mut text).unwrap();
        self.child.stderr.take().expect("piped").read_to_string(&mut text).unwrap();
        text
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Done {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                panic!("the copy does not end: {}", self.rest());
            }
            std::thread::sleep(POLL_EVERY);
        }
        let code = self.child.wait().unwrap().code();
        let text = self.rest();
        Done { code, lines: text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(), text }
    }

    /// Waits for the end, which must be good; gives how often it had to try again.
    pub(crate) fn succeed(self) -> (Done, usize) {
        let (stage, way) = (self.stage, self.way);
        let done = self.finish();
        stage.check(way, &done);
        let retries = done.retries();
        for retry in &retries {
            assert_eq!(retry["error"]["class"], 5, "{retry}");
        }
        let count = retries.len();
        (done, count)
    }
}

impl Drop for Copying<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().and_then(|()| self.child.wait().map(drop)).expect("the copy ends");
        }
    }
}

impl Done {
    /// The last line.
    pub(crate) fn summary(&self) -> &Value {
        let last = self.lines.last().filter(|line| line["type"] == "summary");
        last.unwrap_or_else(|| panic!("no summary: {self:#?}"))
    }

    /// What it said when it tried again.
    pub(crate) fn retries(&self) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["type"] == "retry").collect()
    }
}
