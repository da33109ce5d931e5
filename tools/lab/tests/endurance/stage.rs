//! A lab with a node on host b, and a directory of the disk for what both ends have.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use xfer_lab::{Config, Lab};

pub(crate) use crate::node::xferctl;
use crate::node::{self, Node, listen};

/// A lab with a node. Fields drop in this order: the node ends before its directory goes.
pub(crate) struct Stage {
    pub(crate) node: Node,
    pub(crate) lab: Lab,
    directory: TempDir,
}

impl Stage {
    /// A lab and a node that listens on all of its wires. What both ends have lies in a new directory in `place`.
    pub(crate) fn up(name: &str, config: Config, place: &Path) -> Stage {
        let wires = config.wires.len();
        let lab = node::lab(name, config);
        let directory = tempfile::tempdir_in(place).unwrap();
        let (b, root) = (lab.host("b"), directory.path().join("root"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(directory.path().join("here")).unwrap();
        let mut serve = b.command(xferctl());
        serve.args(["serve", "--json", "--root"]).arg(&root).stderr(Stdio::null());
        let node = Node::start(serve.args((1..=wires).flat_map(|wire| listen(b.ipv4(wire)))));
        Stage { node, lab, directory }
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
        format!("{}/{name}", self.node.link)
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
