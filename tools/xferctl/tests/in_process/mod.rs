//! A node in the test's own process, on a free port of loopback, with a directory for both ends.

#![allow(dead_code, reason = "each test program uses a part")]

use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use xfer_client::{Link, Location, Remote};
use xfer_engine::EngineConfig;
use xfer_node::{Caps, Node, NodeConfig, Roots};

/// A transfer that stands still is told, and not tried for an hour.
const STALL: Duration = Duration::from_secs(60);

/// The settings of a node that serves `roots` and keeps its state in `dir`.
pub(crate) fn config(dir: &Path, roots: Roots) -> NodeConfig {
    NodeConfig {
        roots,
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        data: Vec::new(),
        read_only: false,
        allow_plain: false,
        allow_unverified: false,
        state_dir: dir.join("state"),
        caps: Caps { stall: STALL, ..Caps::default() },
        audit: None,
        metrics: None,
        watch_network: false,
        engine: EngineConfig::default(),
    }
}

/// A node that runs until this is dropped.
pub(crate) struct Served {
    /// Holds what is served and the node's state; what else the test puts there is its own.
    pub(crate) dir: TempDir,
    /// The node.
    pub(crate) node: Node,
    /// The way to it.
    pub(crate) link: Link,
}

impl Served {
    /// Starts a node with the settings that `config` makes of a new directory.
    pub(crate) fn start(config: impl FnOnce(&Path) -> NodeConfig) -> Served {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(config(dir.path())).unwrap();
        let link = Link::parse(node.link().as_bytes()).unwrap();
        Served { dir, node, link }
    }

    /// A path below the directory.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// A place at the node.
    pub(crate) fn there(&self, path: &str) -> Location {
        let remote =
            Remote { link: self.link.clone(), node: "n1".to_owned(), path: path.as_bytes().to_vec() };
        Location::Remote(remote)
    }
}
