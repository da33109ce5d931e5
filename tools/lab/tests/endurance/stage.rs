//! A lab with a node on host b, and a directory of the disk for what both ends have.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use xfer_lab::{Config, Lab};

/// A lab with a node. Fields drop in this order: the node ends before its directory goes.
pub(crate) struct Stage {
    pub(crate) node: Child,
    pub(crate) link: String,
    pub(crate) lab: Lab,
    directory: TempDir,
}

/// The program `xferctl`: named by `XFERCTL_BIN`, or built beside these tests.
pub(crate) fn xferctl() -> PathBuf {
    if let Some(named) = std::env::var_os("XFERCTL_BIN") {
        return named.into();
    }
    let built = Path::new(env!("CARGO_BIN_EXE_lab")).with_file_name("xferctl");
    assert!(built.exists(), "no {}; cargo build --release -p xferctl", built.display());
    built
}

impl Stage {
    /// A lab and a node that listens on all of its wires. What both ends have lies in a new directory in `place`.
    pub(crate) fn up(name: &str, config: Config, place: &Path) -> Stage {
        let wires = config.wires.len();
        let name = format!("t{}-{name}", std::process::id());
        let program = Some(env!("CARGO_BIN_EXE_lab").into());
        let lab =
            Lab::up(&Config { name, program, ..config }).expect("the lab comes up; its tests need root");
        let directory = tempfile::tempdir_in(place).unwrap();
        let (b, root) = (lab.host("b"), directory.path().join("root"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(directory.path().join("here")).unwrap();
        let listen = (1..=wires).flat_map(|wire| ["--listen".into(), format!("{}:7700", b.ipv4(wire))]);
        let mut node = b
            .command(xferctl())
            .args(["serve", "--json", "--root"])
            .arg(&root)
            .args(listen)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(node.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let ready: Value = serde_json::from_str(&first).expect("the node tells its link");
        let link = ready["link"].as_str().unwrap().to_owned();
        Stage { node, link, lab, directory }
    }

    /// Something that the node serves.
    pub(crate) fn served(&self, name: &str) -> PathBuf {
        self.directory.path().join("root").join(name)
    }

    /// Something of the client's.
    pub(crate) fn here(&self, name: &str) -> PathBuf {
        self.directory.path().join("here").join(name)
    }

    /// Something of the node's, as a client calls it.
    pub(crate) fn there(&self, name: &str) -> String {
        format!("{}/{name}", self.link)
    }

    /// `xferctl` on host a.
    pub(crate) fn client(&self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = self.lab.host("a").command(xferctl());
        command.args(words);
        command
    }
}

/// BLAKE3 of a file, by the tool's own `hash`.
pub(crate) fn digest(path: &Path) -> String {
    let output = Command::new(xferctl()).arg("hash").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().expect("a digest").to_owned()
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.node.kill().and_then(|()| self.node.wait().map(drop)).expect("the node ends");
    }
}
