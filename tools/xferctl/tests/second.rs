//! The second implementation against a real node: the Python client, written from PROTOCOL.md alone, gets a ticket and
//! an address, shakes hands with the node's data port and downloads.
//!
//! The control call is made here, because the reference knows the wire of the data port and nothing else.

mod support;

use assert_cmd::Command;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use support::{Home, Node, PATIENCE, content};
use xfer_client::{Client, Link, pb};

/// Where the reference lives.
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../engine/proto/tests/vectors");
/// Neither a multiple of a chunk nor of 16.
const BIG: usize = (4 << 20) + 70_003;
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// What a download is to be like.
#[derive(Clone, Copy)]
struct Wanted {
    sources: &'static [&'static str],
    suite: pb::Suite,
    compression: pb::Compression,
    chunk_log2: u32,
    /// The client drops each datagram that it receives whose number this divides.
    drop_every: Option<u32>,
}

const PLAINLY: Wanted = Wanted {
    sources: &["big"],
    suite: pb::Suite::Aes128Gcm,
    compression: pb::Compression::None,
    chunk_log2: 18,
    drop_every: None,
};

/// The Python that has `cryptography`: the first on PATH, else Debian's own.
fn python() -> PathBuf {
    let imports = |python: &&str| {
        let mut command = std::process::Command::new(python);
        command.args(["-c", "import cryptography"]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(imports);
    found.expect("the reference needs Debian's packages python3 and python3-cryptography").into()
}

/// Asks the node for a ticket.
fn ticket(node: &Node, wanted: &Wanted) -> pb::CreateTransferResponse {
    let link = Link::parse(node.link.as_bytes()).unwrap();
    let client = Client::connect(&link, "n1", CONNECT_PATIENCE).unwrap();
    let download = pb::Download {
        sources: wanted.sources.iter().map(|source| source.as_bytes().to_vec()).collect(),
        compression: wanted.compression.into(),
        ..Default::default()
    };
    let options = pb::TransferOptions {
        recursive: true,
        suite: wanted.suite.into(),
        digests: true,
        chunk_log2: wanted.chunk_log2,
        ..Default::default()
    };
    let request = pb::CreateTransferRequest {
        what: Some(pb::create_transfer_request::What::Download(download)),
        options: Some(options),
        versions: vec![1],
        ..Default::default()
    };
    client.create_transfer(request).unwrap()
}

/// Runs the Python client to its end.
fn run(node: &Node, wanted: &Wanted, output: &Path) -> Output {
    let ticket = ticket(node, wanted);
    let secret: String = ticket.secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let address = ticket.addresses.iter().find(|address| address.starts_with("127.")).unwrap();
    let mut command = Command::new(python());
    command.current_dir(REFERENCE).timeout(PATIENCE).args(["-B", "-m", "xfer_reference.client"]);
    command.args(["--ticket", &secret, "--suite", &ticket.suite.to_string(), "--direction", "2"]);
    command
        .args(["--address", address, "--chunk-log2", &wanted.chunk_log2.to_string(), "--output"])
        .arg(output);
    if let Some(every) = wanted.drop_every {
        command.args(["--drop-every", &every.to_string()]);
    }
    command.output().unwrap()
}

/// Downloads what is wanted; what the Python client printed.
#[track_caller]
fn download(node: &Node, wanted: &Wanted, output: &Path) -> Value {
    let ran = run(node, wanted, output);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}: {said}", ran.status);
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// The files that the client says it verified, as (name, digest), checked against what lies in `root`.
#[track_caller]
fn check(printed: &Value, root: &Path, output: &Path, names: &[&str]) {
    let files = printed["files"].as_array().unwrap();
    let told: Vec<&str> = files.iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert_eq!(told, names);
    for file in files {
        let name = file["name"].as_str().unwrap();
        let sent = fs::read(root.join(name)).unwrap();
        assert_eq!(file["size"], sent.len(), "{name}");
        assert_eq!(file["digest"], blake3::hash(&sent).to_hex().as_str(), "{name}");
        assert!(fs::read(output.join(name)).unwrap() == sent, "{name} differs");
    }
}

fn one_file(wanted: &Wanted) -> Value {
    let home = Home::new();
    home.file("root/big", content(BIG, 3));
    let (root, output) = (home.path("root"), home.path("out"));
    let node = home.serve(&root);
    let printed = download(&node, wanted, &output);
    check(&printed, &root, &output, &["big"]);
    printed
}

#[test]
fn a_file_in_each_sealed_suite() {
    one_file(&PLAINLY);
    one_file(&Wanted { suite: pb::Suite::Chacha20Poly1305, ..PLAINLY });
}

#[test]
fn a_file_while_every_seventh_datagram_is_lost() {
    let printed = one_file(&Wanted { drop_every: Some(7), ..PLAINLY });
    let dropped = printed["dropped"].as_u64().unwrap();
    // 512 datagrams of at most 8,952 bytes carry the file.
    assert!(dropped >= 512 / 7, "{dropped}");
}

#[test]
fn a_file_in_the_clear_where_the_node_allows_it() {
    let home = Home::new();
    home.file("root/big", content(BIG, 5));
    let (root, output) = (home.path("root"), home.path("out"));
    let node = home.serve_with(&[OsStr::new("--root"), root.as_os_str(), OsStr::new("--allow-plain")]);
    let wanted = Wanted { suite: pb::Suite::Plain, ..PLAINLY };
    check(&download(&node, &wanted, &output), &root, &output, &["big"]);
}

#[test]
fn a_tree_of_packed_inline_empty_sparse_and_compressible_files() {
    let home = Home::new();
    let chunk = 1 << 16;
    let mut names = vec!["t/empty", "t/holes", "t/inline", "t/text"];
    let packed: Vec<String> = (0..60).map(|i| format!("t/packed/{i:02}")).collect();
    for (i, name) in packed.iter().enumerate() {
        home.file(&format!("root/{name}"), content(1_500 + 331 * i, i as u64));
    }
    names.splice(3..3, packed.iter().map(String::as_str));
    // The last size that is packed, twice, and the first that is not.
    let quarters = [("t/quarter/1", chunk / 4), ("t/quarter/2", chunk / 4), ("t/quarter/3", chunk / 4 + 1)];
    for (name, size) in quarters {
        home.file(&format!("root/{name}"), content(size as usize, size));
        names.insert(names.len() - 1, name);
    }
    home.file("root/t/empty", "");
    home.file("root/t/inline", "few bytes");
    home.file("root/t/text", "the same words again and again\n".repeat(9_000));
    let holes = fs::File::create(home.path("root/t/holes")).unwrap();
    holes.write_all_at(&content(5_000, 1), 3 * chunk).unwrap();
    holes.set_len(7 * chunk + 77).unwrap();
    symlink("packed/00", home.path("root/t/link")).unwrap();
    home.directory("root/t/bare");
    let (root, output) = (home.path("root"), home.path("out"));
    let node = home.serve(&root);
    let compression = pb::Compression::Lz4;
    let wanted = Wanted { sources: &["t"], compression, chunk_log2: 16, drop_every: Some(7), ..PLAINLY };
    let printed = download(&node, &wanted, &output);
    check(&printed, &root, &output, &names);
    assert_eq!(fs::read_link(output.join("t/link")).unwrap(), Path::new("packed/00"));
    assert!(output.join("t/bare").is_dir());
    let codecs = &printed["codecs"];
    for codec in ["plain", "lz4", "extents"] {
        assert!(codecs[codec].as_u64().unwrap() > 0, "{codec}: {codecs}");
    }
}

#[test]
fn a_transfer_of_nothing() {
    let home = Home::new();
    let root = home.directory("root");
    assert!(std::process::Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    let (node, output) = (home.serve(&root), home.path("out"));
    let printed = download(&node, &Wanted { sources: &["fifo"], ..PLAINLY }, &output);
    check(&printed, &root, &output, &[]);
}

#[test]
fn what_is_missing_fails_alone() {
    let home = Home::new();
    home.file("root/a", content(70_000, 1));
    home.file("root/b", content(10, 2));
    let (root, output) = (home.path("root"), home.path("out"));
    let node = home.serve(&root);
    let ran = run(&node, &Wanted { sources: &["a", "missing", "b"], ..PLAINLY }, &output);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("1 objects failed, the first missing"), "{said}");
    for name in ["a", "b"] {
        assert!(fs::read(output.join(name)).unwrap() == fs::read(root.join(name)).unwrap(), "{name}");
    }
}
