//! Who is named as the one that holds a copy up, each in a case where that and nothing else does. As root, in namespaces of its own.
//!
//! The way is one bare wire, far faster than what is slowed down here: the processor of one end, which a few other programs want too, or
//! a disk that lets so many bytes a second through. Slow wires are in `copy_wires.rs`; slow pipes, caps, and what is over at once in
//! `tools/xferctl/tests/limited.rs`.

#[path = "support/copying.rs"]
#[allow(unused_imports, reason = "this test program needs the way alone")]
mod copying;
#[path = "support/slow.rs"]
mod slow;

use copying::node::{self, Node};
use copying::{WAYS, Way, write_noise, xferctl};
use serde_json::Value;
use slow::{AHEAD, Ahead, Busy, SlowDisk, cores};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::MutexGuard;
use xfer_lab::{Config, Host, Lab, WireShape};

const MIB: u64 = 1 << 20;
/// Programs that want the core of a slowed worker: it gets a quarter.
const RIVALS: usize = 3;
/// Niceness of an end that gets a quarter of a core beside one rival.
const YIELDING: &str = "-15";

/// How one end runs.
#[derive(Default)]
struct End {
    /// What its program is started by.
    before: Vec<OsString>,
    /// Options of its own.
    options: Vec<OsString>,
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

impl End {
    /// All of it on one core.
    fn on(core: usize) -> End {
        let core = core.to_string();
        End { before: words(&["nice", "-n", AHEAD, "taskset", "-c", &core]), ..End::default() }
    }

    /// Its workers on one core.
    fn working_on(core: usize) -> End {
        End { before: words(&["nice", "-n", AHEAD]), options: words(&["--cores", &core.to_string()]) }
    }

    /// Behind its rivals there.
    fn yielding(mut self) -> End {
        self.before.splice(..3, words(&["nice", "-n", YIELDING]));
        self
    }
}

/// A lab of one bare wire, and the directories that ends read from and write to.
struct Scene {
    lab: Lab,
    _ahead: Ahead,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    fn up(name: &str) -> Scene {
        let alone = node::alone();
        let lab = node::lab(name, Config::with_wires(1, WireShape::default()));
        Scene { lab, _ahead: Ahead::of_others(), _alone: alone }
    }

    fn directory(&self, name: &str) -> PathBuf {
        let path = self.lab.host("a").home().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    /// Copies `from/data` to `to/copied` and gives the summary. The client is on host a, the node on host b.
    fn copy(
        &self,
        way: Way,
        from: &Path,
        to: &Path,
        sender: &End,
        receiver: &End,
        options: &[&str],
    ) -> Value {
        let (client, server) = if way == Way::Upload { (sender, receiver) } else { (receiver, sender) };
        let root = if way == Way::Upload { to } else { from };
        let mut serve = run(&self.lab.host("b"), server, "serve");
        serve.args(["--json", "--allow-unverified", "--allow-plain", "--root"]).arg(root);
        let node = Node::start(serve.stderr(Stdio::null()));
        let mut command = run(&self.lab.host("a"), client, "cp");
        command.args(["--json", "--progress", "none"]).args(options);
        match way {
            Way::Upload => command.arg(from.join("data")).arg(format!("{}/copied", node.link)),
            Way::Download => command.arg(format!("{}/data", node.link)).arg(to.join("copied")),
        };
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}{}", output.stderr.escape_ascii());
        assert_eq!(
            fs::metadata(to.join("copied")).unwrap().len(),
            fs::metadata(from.join("data")).unwrap().len()
        );
        fs::remove_file(to.join("copied")).unwrap();
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        println!("{way:?}: {summary}");
        summary
    }
}

/// The tool on a host, started as the end wants it.
fn run(host: &Host, end: &End, verb: &str) -> std::process::Command {
    let program: OsString = xferctl().into();
    let mut all = end.before.clone();
    all.extend([program, verb.into()]);
    let mut command = host.command(&all[0]);
    command.args(&all[1..]).args(&end.options);
    command
}

#[track_caller]
fn assert_named(summary: &Value, stage: &str, side: Option<&str>) {
    let named = (summary["limited_by"].as_str(), summary["limited_side"].as_str());
    assert_eq!(named, (Some(stage), side), "{summary}");
}

/// Hashes are made of holes too, and little of such a file has to be read, sealed and sent. The receiver checks them on a core of its
/// own, the sender has a quarter of one.
#[test]
fn digests_on_a_busy_core_are_the_limit() {
    let [here, there] = cores();
    let scene = Scene::up("hash");
    let (from, to) = (scene.directory("from"), scene.directory("to"));
    let sparse = File::create(from.join("data")).unwrap();
    for at in (0..2_048 * MIB).step_by(MIB as usize) {
        sparse.write_all_at(&[7; 4_096], at).unwrap();
    }
    let _busy = Busy::on(here, 1);
    for way in WAYS {
        let summary = scene.copy(way, &from, &to, &End::on(here).yielding(), &End::on(there), &[]);
        assert_named(&summary, "hash", Some("src"));
    }
}

/// The worker of the sender seals and sends on a busy core; nobody hashes, and files are read on both cores.
#[test]
#[ignore = "needs a machine that is otherwise free: cargo xtask long verdicts"]
fn a_sender_on_a_busy_core_is_the_limit() {
    let scene = Scene::up("sender");
    let [here, there] = cores();
    let (from, to) = (scene.directory("from"), scene.directory("to"));
    write_noise(&from.join("data"), 256 * MIB);
    let _busy = Busy::on(here, RIVALS);
    for way in WAYS {
        let sender = End::working_on(here);
        let summary = scene.copy(way, &from, &to, &sender, &End::on(there), &["--digest", "none"]);
        assert_named(&summary, "sender_cpu", Some("src"));
    }
}

/// The same for the worker of the receiver.
#[test]
#[ignore = "needs a machine that is otherwise free: cargo xtask long verdicts"]
fn a_receiver_on_a_busy_core_is_the_limit() {
    let scene = Scene::up("receiver");
    let [here, there] = cores();
    let (from, to) = (scene.directory("from"), scene.directory("to"));
    write_noise(&from.join("data"), 256 * MIB);
    let _busy = Busy::on(here, RIVALS);
    for way in WAYS {
        let receiver = End::working_on(here);
        let options = ["--digest", "none", "--durability", "none"];
        let summary = scene.copy(way, &from, &to, &End::on(there), &receiver, &options);
        assert_named(&summary, "receiver_cpu", Some("dst"));
    }
}

/// A disk whose reads are held to a rate, cold.
#[test]
fn a_slow_disk_to_read_is_the_limit() {
    let scene = Scene::up("source");
    let to = scene.directory("to");
    let mut disk = SlowDisk::new(&scene.directory("slow"), 64 * MIB, 16 * MIB);
    write_noise(&disk.root().join("data"), 24 * MIB);
    for way in WAYS {
        disk.forget();
        let sender = End { before: disk.reading(), ..End::default() };
        let summary = scene.copy(way, &disk.root(), &to, &sender, &End::default(), &[]);
        assert_named(&summary, "source", Some("src"));
    }
}

/// A disk whose writes are held to a rate; each file is synced.
#[test]
fn a_slow_disk_to_write_is_the_limit() {
    let scene = Scene::up("sink");
    let from = scene.directory("from");
    write_noise(&from.join("data"), 24 * MIB);
    let disk = SlowDisk::new(&scene.directory("slow"), 64 * MIB, 16 * MIB);
    for way in WAYS {
        let receiver = End { before: disk.writing(), ..End::default() };
        let summary =
            scene.copy(way, &from, &disk.root(), &End::default(), &receiver, &["--durability", "file"]);
        assert_named(&summary, "sink", Some("dst"));
    }
}
