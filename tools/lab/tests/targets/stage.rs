//! A lab with a node on host b that serves one file from /dev/shm, and room there for the copies that host a makes.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::MutexGuard;

use xfer_lab::memory::KeptMemory;
use xfer_lab::{Config, Lab};

use crate::flight::Flight;
pub(crate) use crate::node::xferctl;
use crate::node::{self, Node, listen};
use crate::noise::write_noise;

/// Memory that is kept beyond a copy's own: buffers, and what the system takes.
const SPARE_BYTES: u64 = 256 << 20;

/// A directory on /dev/shm that goes with its value.
struct Shared(PathBuf);

impl Shared {
    fn new() -> Self {
        let path = PathBuf::from(format!("/dev/shm/xfer-targets-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Shared(path)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the shared directory goes");
    }
}

/// Lab, node and file. Fields drop in this order: the node ends before its directory goes.
pub(crate) struct Stage {
    pub(crate) node: Node,
    /// Bytes of the file.
    pub(crate) size: u64,
    pub(crate) lab: Lab,
    // Copies fill memory that was in use just before.
    _kept: KeptMemory,
    shared: Shared,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    /// Brings up lab and node, and a file of `size` bytes.
    pub(crate) fn up(config: Config, size: u64) -> Stage {
        let alone = node::alone();
        let wires = config.wires.len();
        let lab = node::lab("targets", config);
        let shared = Shared::new();
        let root = shared.0.join("root");
        fs::create_dir(&root).unwrap();
        write_noise(&root.join("data"), size);
        let kept = KeptMemory::touch(&shared.0, size + SPARE_BYTES).unwrap();
        let b = lab.host("b");
        let mut serve = b.command(xferctl());
        serve.args(["serve", "--json", "--root"]).arg(&root).arg("--state").arg(shared.0.join("node"));
        serve.args((1..=wires).flat_map(|wire| listen(b.ipv4(wire)))).stderr(Stdio::null());
        let node = Node::start(&mut serve);
        Stage { node, size, lab, _kept: kept, shared, _alone: alone }
    }

    /// Starts a copy of the file from host b to host a, as a user would.
    pub(crate) fn copy(&self, options: &[&str]) -> Flight {
        let out = self.out(&format!("copy{}", options.join("")));
        let mut command = self.lab.host("a").command(xferctl());
        command.env("XDG_STATE_HOME", self.shared.0.join("state"));
        command.args(["cp", "--json"]).args(options).arg(format!("{}/data", self.node.link)).arg(&out);
        Flight::start(command, out)
    }

    /// Where a copy called `name` goes.
    fn out(&self, name: &str) -> PathBuf {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        self.shared.0.join(name)
    }

    /// Bytes that host b has offered to wire `wire` so far, Ethernet headers included, as the emulator counts them.
    pub(crate) fn offered(&self, wire: usize) -> u64 {
        let info = self.lab.info().unwrap().emulator.expect("the wire is emulated");
        let direction = info.directions.iter().find(|one| one.wire == wire && one.from == "b");
        direction.expect("each direction is counted").offered_bytes
    }
}
