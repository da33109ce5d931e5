//! The audit of a node: a line for each transfer, whatever came of it, with both ends, digest and result.

mod support;

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{Home, Node, PATIENCE, content, signal, wait};

/// Fields of every line, in their order.
const FIELDS: [&str; 25] = [
    "type",
    "ts",
    "schema",
    "result",
    "task",
    "node",
    "peer",
    "credential",
    "direction",
    "bench",
    "names",
    "names_total",
    "paths",
    "started",
    "files",
    "skipped",
    "failed",
    "bytes",
    "reused_bytes",
    "skipped_bytes",
    "digest",
    "verified",
    "durability",
    "error",
    "left_out",
];

struct Audited {
    home: Home,
    node: Node,
    file: PathBuf,
}

impl Audited {
    fn new() -> Audited {
        Audited::with(&[])
    }

    fn with(options: &[&str]) -> Audited {
        let home = Home::new();
        let (root, file) = (home.directory("root"), home.path("audit"));
        let mut words = vec![OsStr::new("--root"), root.as_os_str(), OsStr::new("--audit"), file.as_os_str()];
        words.extend(options.iter().map(OsStr::new));
        let node = home.serve_with(&words);
        Audited { home, node, file }
    }

    /// The lines, once there are `count`.
    fn lines(&self, count: usize) -> Vec<Value> {
        lines(&self.file, count)
    }
}

#[track_caller]
fn lines(file: &Path, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.lines().count() >= count && text.ends_with('\n') {
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(lines.len(), count, "{text}");
            return lines;
        }
        assert!(Instant::now() < deadline, "{count} lines are not there: {text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_else(|| panic!("no {field}: {line}"))
}

#[test]
fn what_was_done_is_told_with_both_ends_and_the_digest() {
    let audited = Audited::new();
    let bytes = content(3 << 20, 1);
    let file = audited.home.file("f", &bytes);
    audited.home.file("tree/a/b", content(10_000, 2));
    audited.home.file("tree/c", "c");
    let up = |from: &Path, to: &str| {
        let words: [&OsStr; 5] =
            ["cp".as_ref(), "-r".as_ref(), "--json".as_ref(), from.as_ref(), to.as_ref()];
        audited.home.run(&words).code(0).summary()
    };
    let sent = up(&file, &audited.node.at("f"));
    let tree = up(&audited.home.path("tree"), &audited.node.at("tree"));
    let back = up(Path::new(&audited.node.at("f")), audited.home.path("back").to_str().unwrap());
    let lines = audited.lines(3);
    let told = text(&lines[0], "ts");
    assert!(told.ends_with('Z') && told.as_bytes()[10] == b'T');
    for (line, summary) in lines.iter().zip([&sent, &tree, &back]) {
        let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert!(FIELDS.iter().all(|field| line.get(field).is_some()), "{keys:?}");
        assert_eq!(keys.len(), FIELDS.len() + 1, "{keys:?}");
        assert_eq!(text(line, "result"), "done");
        assert_eq!(text(line, "digest"), summary["digest"].as_str().unwrap());
        assert_eq!((&line["bytes"], &line["files"]), (&summary["bytes"], &summary["files"]));
        assert_eq!(line["verified"], true);
        assert!(line["error"].is_null());
        let fingerprint = audited.node.link.split(['.', '@']).nth(1).unwrap();
        assert_eq!(text(line, "node"), fingerprint);
        assert!(text(line, "peer").starts_with("127.0.0.1:"), "{line}");
        assert!(text(&line["paths"][0], "remote").starts_with("127.0.0.1:"), "{line}");
    }
    assert_eq!(text(&lines[0], "digest"), blake3::hash(&bytes).to_hex().as_str());
    let directions: Vec<_> = lines.iter().map(|line| text(line, "direction")).collect();
    assert_eq!(directions, ["upload", "upload", "download"]);
    assert_eq!(lines[2]["names"][0]["path"], "f");
}

#[test]
fn what_was_refused_or_broke_off_is_told_too() {
    let audited = Audited::new();
    audited.home.file("root/big", content(64 << 20, 1));
    let here = audited.home.path("here").display().to_string();
    let run = |words: &[&str]| audited.home.run(words);
    run(&["cp", &audited.node.at("none"), &here]).code(4);
    run(&["cp", &audited.node.at("../x"), &here]).code(6);
    let refused = audited.lines(2);
    assert!(refused.iter().all(|line| text(line, "result") == "refused" && line["task"].is_null()));
    let classes: Vec<_> = refused.iter().map(|line| line["error"]["class"].as_u64().unwrap()).collect();
    assert_eq!(classes, [4, 6]);
    let slow = |number: usize| {
        let big = audited.node.at("big");
        let to = format!("{here}{number}");
        let child = audited.home.spawn(&["cp", "--rate", "4MiB", "--retries", "0", &big, &to]);
        let started = Instant::now();
        while !audited.home.path(".xfer-partial").exists() {
            assert!(started.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    };
    let mut child = slow(1);
    signal(&child, "INT");
    assert_eq!(wait(&mut child).code(), Some(20));
    let lines = audited.lines(3);
    assert_eq!((text(&lines[2], "result"), &lines[2]["error"]["class"]), ("cancelled", &Value::from(20)));
    // The node's own end is written down before it is gone.
    fs::remove_dir_all(audited.home.path(".xfer-partial")).unwrap_or_default();
    let mut child = slow(2);
    audited.node.signal("TERM");
    let (status, said) = audited.node.end();
    assert!(status.success(), "{said}");
    assert_eq!(wait(&mut child).code(), Some(5));
    let all = lines_of(&audited.file);
    let last: Value = serde_json::from_str(all.last().unwrap()).unwrap();
    assert_eq!((text(&last, "result"), &last["error"]["class"]), ("failed", &Value::from(5)));
    for (before, line) in all.iter().zip(&all[1..]) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(text(&line, "prev"), blake3::hash(before.as_bytes()).to_hex().as_str());
    }
}

fn lines_of(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_file_that_was_rotated_is_made_anew() {
    let audited = Audited::new();
    audited.home.file("root/f", "f");
    let copy = |to: &str| {
        let to = audited.home.path(to).display().to_string();
        audited.home.run(&["cp", &audited.node.at("f"), &to]).code(0);
    };
    copy("1");
    audited.lines(1);
    let old = audited.home.path("audit.1");
    fs::rename(&audited.file, &old).unwrap();
    copy("2");
    copy("3");
    let (now, before) = (audited.lines(2), lines_of(&old));
    assert_eq!(text(&now[0], "prev"), blake3::hash(before[0].as_bytes()).to_hex().as_str());
}

#[test]
fn an_audit_that_cannot_be_written_ends_the_start() {
    let home = Home::new();
    let (root, none) = (home.directory("root"), home.path("none/audit"));
    let words: [&OsStr; 7] = [
        "serve".as_ref(),
        "--listen".as_ref(),
        "127.0.0.1:0".as_ref(),
        "--root".as_ref(),
        root.as_ref(),
        "--audit".as_ref(),
        none.as_ref(),
    ];
    let ran = home.run(&words);
    assert!(ran.code != 0 && ran.stderr.contains("open the audit file"), "{} {}", ran.code, ran.stderr);
}
