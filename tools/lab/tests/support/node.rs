//! A lab of a test's own, the program `xferctl`, and a node on one of the lab's hosts.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;
use xfer_lab::{Config, Lab};

/// Where nodes listen.
pub(crate) const PORT: u16 = 7700;

/// Held by a test whose figures another beside it would spoil.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A lab for the test `name`: this test's process number keeps it apart from all others.
pub(crate) fn lab(name: &str, config: Config) -> Lab {
    let name = format!("t{}-{name}", std::process::id());
    let program = Some(env!("CARGO_BIN_EXE_lab").into());
    Lab::up(&Config { name, program, ..config }).expect("the lab comes up; its tests need root")
}

/// The program `xferctl`: named by `XFERCTL_BIN`, or built beside these tests, as a release if there is one.
pub(crate) fn xferctl() -> PathBuf {
    if let Some(named) = std::env::var_os("XFERCTL_BIN") {
        return named.into();
    }
    let profile = Path::new(env!("CARGO_BIN_EXE_lab")).parent().unwrap();
    let places = [profile.parent().unwrap().join("release/xferctl"), profile.join("xferctl")];
    let found = places.iter().find(|place| place.exists());
    found.cloned().unwrap_or_else(|| panic!("no xferctl at {places:?}; cargo build --release -p xferctl"))
}

/// Words by which a node listens on an address.
pub(crate) fn listen(address: impl Into<IpAddr>) -> [String; 2] {
    ["--listen".into(), SocketAddr::new(address.into(), PORT).to_string()]
}

/// A node that runs.
pub(crate) struct Node {
    child: Child,
    pub(crate) link: String,
}

impl Node {
    /// Runs `serve`, which has `--json`, until it tells its link.
    pub(crate) fn start(serve: &mut Command) -> Node {
        let mut child = serve.stdout(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let ready: Value = serde_json::from_str(&first).expect("the node tells its link");
        let link = ready["link"].as_str().unwrap().to_owned();
        Node { child, link }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait().map(drop)).expect("the node ends");
    }
}
