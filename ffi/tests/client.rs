//! The client of nodes, in C: a node in this process, a C program that lists, describes and copies.

mod cc;

use cc::{Checked, compile};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use xfer_node::{Caps, Node, NodeConfig, Roots};

fn node(dir: &Path) -> Node {
    let root = dir.join("root");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::write(root.join("a"), "content of a").unwrap();
    std::fs::write(root.join("sub/b"), vec![7; 3_000_000]).unwrap();
    Node::start(NodeConfig {
        roots: Roots::One(root),
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        data: Vec::new(),
        read_only: false,
        allow_plain: false,
        allow_unverified: false,
        state_dir: dir.join("state"),
        caps: Caps::default(),
        audit: None,
        engine: xfer_engine::EngineConfig::default(),
    })
    .unwrap()
}

fn run(checked: Checked) {
    let Some(built) = compile("tests/c/client.c", checked) else { return };
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    let there = dir.path().join("there");
    std::fs::create_dir(&there).unwrap();
    built.run(&[node.link().to_owned(), there.display().to_string()]);
    assert_eq!(std::fs::read(there.join("got")).unwrap(), vec![7; 3_000_000]);
    assert_eq!(std::fs::read(dir.path().join("root/put")).unwrap(), b"content of a");
    node.shut_down();
}

#[test]
fn a_program_uses_a_node() {
    run(Checked::No);
}

#[test]
fn a_program_uses_a_node_with_sanitizers() {
    run(Checked::Sanitizers);
}
