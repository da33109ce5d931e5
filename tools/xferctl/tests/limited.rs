//! Who is named as the one that holds a copy up: by the client, whichever end it is, and wherever the slow stage is.

mod support;

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::{Home, Node, content, wait};

const MIB: usize = 1 << 20;
/// How often a slow reader or writer moves a piece.
const PACE: Duration = Duration::from_millis(25);

/// A home, a node in it, and the path of a file of `len` bytes that the node has too, as `f`.
fn stage(len: usize) -> (Home, Node, String) {
    let home = Home::new();
    let bytes = content(len, 21);
    let file = home.file("f", &bytes).to_str().unwrap().to_owned();
    home.file("root/f", &bytes);
    let node = home.serve(&home.path("root"));
    (home, node, file)
}

/// The tool with pipes to and from it.
fn piped(home: &Home, words: &[&str]) -> Child {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xferctl"));
    command.env_clear().env("HOME", home.dir.path()).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn named(summary: &serde_json::Value) -> (&str, Option<&str>) {
    (summary["limited_by"].as_str().unwrap(), summary["limited_side"].as_str())
}

#[test]
fn a_cap_is_named_in_either_direction() {
    let (home, node, file) = stage(4 * MIB);
    for (from, to) in [(&file, &node.at("up")), (&node.at("f"), &"down".to_owned())] {
        let summary = home.run(&["cp", "--json", "--rate", "64Mbit", from, to]).code(0).summary();
        assert_eq!(named(&summary), ("rate_limit", Some("src")), "{from}: {summary}");
    }
}

#[test]
fn nothing_is_named_for_what_is_over_at_once() {
    let (home, node, file) = stage(10);
    for (from, to) in [(&file, &node.at("up")), (&node.at("f"), &"down".to_owned())] {
        let summary = home.run(&["cp", "--json", from, to]).code(0).summary();
        assert_eq!(named(&summary), ("none", None), "{from}: {summary}");
    }
}

#[test]
fn a_slow_standard_input_is_the_source() {
    let (home, node, _) = stage(0);
    let mut child = piped(&home, &["cp", "--json", "-", &node.at("up")]);
    let mut stdin = child.stdin.take().unwrap();
    let piece = content(256 << 10, 22);
    let start = Instant::now();
    while start.elapsed() < PACE * 40 {
        stdin.write_all(&piece).unwrap();
        std::thread::sleep(PACE);
    }
    drop(stdin);
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert!(wait(&mut child).success());
    let summary: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(named(&summary), ("source", Some("src")), "{summary}");
}

#[test]
fn a_slow_reader_of_standard_output_is_the_sink() {
    let (home, node, _) = stage(24 * MIB);
    let mut child = piped(&home, &["cp", &node.at("f"), "-"]);
    let mut stdout = child.stdout.take().unwrap();
    let mut piece = vec![0; 512 << 10];
    let mut len = 0;
    loop {
        let read = stdout.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        len += read;
        // A pipe hands out 64 KiB at once.
        std::thread::sleep(PACE / 10);
    }
    assert!(wait(&mut child).success());
    assert_eq!(len, 24 * MIB);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(stderr.contains("limited by sink (dst)"), "{stderr}");
}
