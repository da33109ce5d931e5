//! Content between a real client and a real node over loopback: files and trees, both ways, twice.

use std::fs;
use std::path::Path;
use tempfile::TempDir;
use xfer_client::copy::{CopyRequest, Summary, copy};
use xfer_client::{Link, Location, Remote};
use xfer_engine::{EngineConfig, digest};
use xfer_node::{Node, NodeConfig, Roots};

struct Bench {
    dir: TempDir,
    _node: Node,
    link: Link,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("root")).unwrap();
    let node = Node::start(NodeConfig {
        roots: Roots::One(dir.path().join("root")),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        data: Vec::new(),
        read_only: false,
        allow_plain: false,
        allow_unverified: false,
        state_dir: dir.path().join("state"),
        engine: EngineConfig::default(),
    })
    .unwrap();
    let link = Link::parse(node.link().as_bytes()).unwrap();
    Bench { dir, _node: node, link }
}

impl Bench {
    fn there(&self, path: &str) -> Location {
        let remote =
            Remote { link: self.link.clone(), node: "n1".to_owned(), path: path.as_bytes().to_vec() };
        Location::Remote(remote)
    }

    fn here(&self, path: &str) -> Location {
        Location::Local(self.dir.path().join(path))
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }
}

fn run(source: Location, destination: Location) -> Summary {
    let mut request = CopyRequest::new(vec![source], destination);
    request.options.recursive = true;
    let summary = copy(&request, &mut |_| ()).unwrap();
    assert_eq!(summary.error, None);
    summary
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 1_000 + i % 251) as u8).collect()
}

fn same(a: &Path, b: &Path) {
    assert!(fs::read(a).unwrap() == fs::read(b).unwrap(), "{} and {}", a.display(), b.display());
}

#[test]
fn a_file_goes_there_and_back() {
    let bench = bench();
    for len in [0, 1, 1_000, 300_000, (5 << 20) + 17] {
        let bytes = content(len);
        fs::write(bench.path("f"), &bytes).unwrap();
        let up = run(bench.here("f"), bench.there("g"));
        assert_eq!((up.bytes, up.files, up.digest), (len as u64, 1, Some(digest::root(&bytes))), "{len}");
        same(&bench.path("f"), &bench.path("root/g"));
        let down = run(bench.there("g"), bench.here("h"));
        assert_eq!(
            (down.bytes, down.files, down.digest),
            (len as u64, 1, Some(digest::root(&bytes))),
            "{len}"
        );
        assert!(down.verified);
        same(&bench.path("f"), &bench.path("h"));
        fs::remove_file(bench.path("root/g")).unwrap();
        fs::remove_file(bench.path("h")).unwrap();
    }
}

#[test]
fn a_tree_goes_there_and_back_and_is_skipped_the_second_time() {
    let bench = bench();
    for directory in ["t/a/b", "t/empty"] {
        fs::create_dir_all(bench.path(directory)).unwrap();
    }
    for i in 0..50 {
        fs::write(bench.path(&format!("t/a/{i}")), content(i * 7_000)).unwrap();
    }
    fs::write(bench.path("t/a/b/big"), content(3 << 20)).unwrap();
    std::os::unix::fs::symlink("nowhere", bench.path("t/s")).unwrap();
    let up = run(bench.here("t"), bench.there("copy"));
    assert_eq!((up.files, up.skipped), (52, 0));
    let again = run(bench.here("t"), bench.there("copy/"));
    // The destination is there now, so the tree goes into it.
    assert_eq!((again.files, again.skipped), (52, 0));
    let into = run(bench.here("t/."), bench.there("copy"));
    assert_eq!((into.files, into.skipped, into.bytes), (0, 52, 0));
    assert_eq!((into.digest, into.skipped_bytes), (up.digest, up.bytes));
    let down = run(bench.there("copy/t"), bench.here("back"));
    assert_eq!((down.files, down.digest), (52, up.digest));
    same(&bench.path("t/a/b/big"), &bench.path("back/a/b/big"));
    same(&bench.path("t/a/49"), &bench.path("back/a/49"));
    assert!(bench.path("back/empty").is_dir());
    assert!(!bench.path("back/.xfer-partial").exists() && !bench.path("root/copy/.xfer-partial").exists());
}
