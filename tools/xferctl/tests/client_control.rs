//! A real node on loopback, met by a real client: pinning, token, listing, describing, hashing, refusals.

mod in_process;

use in_process::{Served, config};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;
use xfer_client::{Client, Entry, Kind, Link, Listed};
use xfer_engine::Class;
use xfer_node::{Node, NodeConfig, Roots};

const PATIENCE: Duration = Duration::from_secs(10);

fn serve_named(named: bool) -> Served {
    Served::start(|dir| {
        let root = dir.join("root");
        fs::create_dir_all(root.join("d/e")).unwrap();
        fs::create_dir(root.join(".xfer-partial")).unwrap();
        fs::write(root.join("a"), b"abc").unwrap();
        fs::write(root.join("d/e/f"), vec![7; 3_000_000]).unwrap();
        symlink("../../../etc", root.join("d/out")).unwrap();
        let roots = match named {
            true => {
                Roots::Named([("one".to_owned(), root.clone()), ("two".to_owned(), root.join("d"))].into())
            }
            false => Roots::One(root),
        };
        config(dir, roots)
    })
}

fn client(link: &Link) -> Client {
    Client::connect(link, "n1", PATIENCE).unwrap()
}

fn list(client: &Client, path: &str, recursive: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut each = |listed: Listed| {
        match listed {
            Listed::Entry(entry) => found.push(String::from_utf8(entry.path).unwrap()),
            Listed::Failure(error) => panic!("{error}"),
        }
        Ok(())
    };
    client.list(path.as_bytes(), recursive, &mut each).unwrap();
    found
}

#[test]
fn lists_describes_and_hashes() {
    let served = serve_named(false);
    let client = client(&served.link);
    assert!(client.is_serving().unwrap());
    assert_eq!(list(&client, "", false), ["a", "d"]);
    assert_eq!(list(&client, "/", true), ["a", "d", "d/e", "d/e/f", "d/out"]);
    assert_eq!(list(&client, "d/e/", false), ["f"]);
    assert_eq!(list(&client, "d/e/f", false), ["f"]);
    let Entry { path, kind, size, digest, .. } = client.stat(b"/a", true).unwrap();
    assert_eq!((&path[..], kind, size), (&b"a"[..], Kind::File, 3));
    assert_eq!(digest, Some(*blake3_of(b"abc")));
    let out = client.stat(b"d/out", false).unwrap();
    assert_eq!((out.kind, &out.target[..], out.digest), (Kind::Symlink, &b"../../../etc"[..], None));
    let mut hashed = Vec::new();
    let paths = [b"d/e/f".to_vec(), b"no".to_vec(), b"..".to_vec(), b"d/out/passwd".to_vec()];
    let mut each = |one| {
        hashed.push(one);
        Ok(())
    };
    client.hash(&paths, &mut each).unwrap();
    assert_eq!(hashed[0].digest.as_ref().unwrap(), blake3_of(&vec![7; 3_000_000]).as_ref());
    let classes: Vec<Class> = hashed[1..].iter().map(|h| h.digest.as_ref().unwrap_err().class).collect();
    assert_eq!(classes, [Class::NoSource, Class::Refused, Class::Refused]);
    served.node.shut_down();
    drop(served.dir);
}

fn blake3_of(bytes: &[u8]) -> Box<[u8; 32]> {
    Box::new(xfer_engine::digest::root(bytes))
}

#[test]
fn paths_are_refused_or_missing() {
    let served = serve_named(false);
    let client = client(&served.link);
    let class = |path: &[u8]| client.stat(path, false).unwrap_err().class;
    assert_eq!(class(b"../root/a"), Class::Refused);
    assert_eq!(class(b"d/../a"), Class::Refused);
    assert_eq!(class(b"a\0"), Class::Refused);
    assert_eq!(class(b"no"), Class::NoSource);
    assert_eq!(class(b".xfer-partial"), Class::NoSource);
    let error = client.list(b"no", false, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.class, Class::NoSource);
    assert!(error.to_string().contains("no"), "{error}");
}

#[test]
fn named_roots_are_one_level() {
    let served = serve_named(true);
    let client = client(&served.link);
    assert_eq!(list(&client, "", false), ["one", "two"]);
    let all = list(&client, "", true);
    assert_eq!(
        all,
        ["one", "one/a", "one/d", "one/d/e", "one/d/e/f", "one/d/out", "two", "two/e", "two/e/f", "two/out"]
    );
    assert_eq!(list(&client, "two/e", false), ["f"]);
    assert_eq!(client.stat(b"", false).unwrap().kind, Kind::Directory);
    assert_eq!(client.stat(b"three/x", false).unwrap_err().class, Class::NoSource);
}

#[test]
fn another_fingerprint_or_token_is_denied() {
    let served = serve_named(false);
    let mut wrong = served.link.clone();
    wrong.fingerprint[31] ^= 1;
    let error = Client::connect(&wrong, "n1", PATIENCE).err().unwrap();
    assert_eq!(error.class, Class::Denied, "{error}");
    let mut wrong = served.link.clone();
    wrong.token[0] ^= 1;
    let error = client(&wrong).stat(b"a", false).unwrap_err();
    assert_eq!(error.class, Class::Denied, "{error}");
    assert_eq!(client(&wrong).is_serving().unwrap_err().class, Class::Denied);
    client(&served.link).stat(b"a", false).unwrap();
}

#[test]
fn unreachable_is_temporary_and_other_addresses_are_tried() {
    let served = serve_named(false);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut link = served.link.clone();
    link.addresses[0].port = closed.port();
    let error = Client::connect(&link, "n1", PATIENCE).err().unwrap();
    assert_eq!(error.class, Class::Temporary);
    assert!(error.to_string().contains(&closed.to_string()), "{error}");
    link.addresses.push(served.link.addresses[0].clone());
    let client = client(&link);
    assert_eq!(client.remote().port(), served.link.addresses[0].port);
}

#[test]
fn a_silent_port_is_given_up_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut link = serve_named(false).link;
    link.addresses[0].port = silent.local_addr().unwrap().port();
    let error = Client::connect(&link, "n1", Duration::from_millis(200)).err().unwrap();
    assert_eq!(error.class, Class::Temporary);
}

#[test]
fn a_restart_keeps_the_link_and_a_second_node_is_refused() {
    let served = serve_named(false);
    let again = config(served.dir.path(), Roots::One(served.path("root")));
    let error = Node::start(again.clone()).err().unwrap();
    assert_eq!(error.class, Class::Fatal);
    assert!(error.to_string().contains("--state"), "{error}");
    let old = client(&served.link);
    old.stat(b"a", false).unwrap();
    let listen = served.node.control_addresses().to_vec();
    served.node.shut_down();
    let node = Node::start(NodeConfig { listen, ..again }).unwrap();
    assert_eq!(node.link(), served.link.reveal());
    client(&served.link).stat(b"a", false).unwrap();
}
