//! `bench serve` and `bench run` on loopback: what is told, in which form, and what is refused.

mod support;

use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::ExitStatus;
use support::{Home, Node, Ran, signal, wait};

/// Long enough to measure, short enough for a test.
const SHORT: [&str; 2] = ["--seconds", "0.3"];

fn bench_node(home: &Home, options: &[&str]) -> Node {
    home.node(&["bench", "serve"], &options.iter().map(OsStr::new).collect::<Vec<_>>())
}

fn run(home: &Home, link: &str, options: &[&str]) -> Ran {
    home.run(&[&["bench", "run", "--json", link][..], &SHORT, options].concat())
}

#[track_caller]
fn senders(summary: &Value) -> Vec<&str> {
    let directions = summary["directions"].as_array().unwrap();
    directions.iter().map(|direction| direction["sender"].as_str().unwrap()).collect()
}

/// A summary of something that moved: its figures fit each other.
#[track_caller]
fn moved(summary: &Value) {
    let number = |key: &str| summary[key].as_f64().unwrap_or_else(|| panic!("{key}: {summary}"));
    assert!(number("bytes") > 0.0 && number("wire_bytes") > number("bytes"), "{summary}");
    assert!(number("seconds") >= 0.3, "{summary}");
    assert!(number("cpu_s_client") > 0.0 && number("cpu_s_node") > 0.0, "{summary}");
    let mut sum = 0.0;
    for direction in summary["directions"].as_array().unwrap() {
        let [bytes, seconds, gbps] = ["bytes", "seconds", "gbps"].map(|key| direction[key].as_f64().unwrap());
        assert!((bytes * 8.0 / 1e9 / seconds - gbps).abs() < 1e-6 * gbps.max(1.0), "{direction}");
        sum += gbps;
    }
    assert!((number("gbps") - sum).abs() < 1e-6, "{summary}");
    for path in summary["paths"].as_array().unwrap() {
        assert_eq!(path["local"], "127.0.0.1");
        assert!(path["sender"].is_string() && path["bytes"].is_u64(), "{path}");
        assert!(path["rtt_us"].is_u64() && path["loss"].is_number(), "{path}");
    }
}

/// What the end that counts as the sender took for all bytes, and the other one.
#[track_caller]
fn costs(summary: &Value, ends: [&str; 2]) {
    let gb = summary["bytes"].as_f64().unwrap() / 1e9;
    for (end, role) in ends.into_iter().zip(["send", "recv"]) {
        let seconds = summary[format!("cpu_s_{end}")].as_f64().unwrap();
        let per_gb = summary[format!("cpu_s_per_gb_{role}")].as_f64().unwrap();
        assert!((per_gb * gb - seconds).abs() < 1e-6, "{summary}");
    }
}

#[test]
fn either_end_sends() {
    let home = Home::new();
    let node = bench_node(&home, &[]);
    for (options, sender) in [(&[][..], "client"), (&["--reverse"], "node")] {
        let summary = run(&home, &node.link, options).code(0).summary();
        moved(&summary);
        assert_eq!(senders(&summary), [sender]);
        assert_eq!(summary["paths"].as_array().unwrap().len(), 1);
        assert_eq!((&summary["encrypted"], &summary["verified"]), (&true.into(), &false.into()));
        assert!(summary["latency"].is_null());
        costs(&summary, if sender == "client" { ["client", "node"] } else { ["node", "client"] });
    }
}

#[test]
fn both_ends_send_at_once() {
    let home = Home::new();
    let node = bench_node(&home, &[]);
    let summary = run(&home, &node.link, &["--bidir"]).code(0).summary();
    moved(&summary);
    assert_eq!(senders(&summary), ["client", "node"]);
    costs(&summary, ["client", "node"]);
}

#[test]
fn content_is_verified_when_asked_for() {
    let home = Home::new();
    let node = bench_node(&home, &[]);
    // Memories that fit chunks and such that do not.
    for (source, chunk, direction) in
        [("1", "64KiB", "--reverse"), ("1000", "64KiB", "--bidir"), ("1MiB", "1MiB", "--bidir")]
    {
        let options = ["--digest", "blake3", "--source", source, "--chunk", chunk, direction];
        let summary = run(&home, &node.link, &options).code(0).summary();
        moved(&summary);
        assert_eq!(summary["verified"], true, "{source}");
    }
}

#[test]
fn messages_go_one_by_one() {
    let home = Home::new();
    let node = bench_node(&home, &[]);
    let summary = run(&home, &node.link, &["--latency"]).code(0).summary();
    moved(&summary);
    let latency = &summary["latency"];
    let [count, p50, p99, p999, max] =
        ["count", "p50_us", "p99_us", "p999_us", "max_us"].map(|key| latency[key].as_f64().unwrap());
    assert!(count >= 1.0 && p50 > 0.0 && p50 <= p99 && p99 <= p999 && p999 <= max, "{latency}");
    assert_eq!(summary["bytes"].as_f64().unwrap(), (count + 1.0) * 1024.0, "the first one is not counted");
    assert!(latency["rtt"]["count"].as_u64().unwrap() > 0, "{latency}");
}

#[test]
fn a_cap_holds_and_is_named() {
    let home = Home::new();
    let node = bench_node(&home, &[]);
    for direction in [&[][..], &["--reverse"]] {
        let options = [&["--rate", "100Mbit", "--chunk", "64KiB", "--source", "64KiB"], direction].concat();
        let summary = run(&home, &node.link, &options).code(0).summary();
        moved(&summary);
        assert!(summary["gbps"].as_f64().unwrap() <= 0.11, "{summary}");
        assert_eq!((&summary["limited_by"], &summary["limited_side"]), (&"rate_limit".into(), &"src".into()));
    }
}

/// At this rate a second goes by until all that a receiver grants at first was sent.
#[test]
fn what_is_not_sent_in_time_is_not_sent() {
    let home = Home::new();
    let node = bench_node(&home, &[]);
    for direction in [&[][..], &["--reverse"], &["--digest", "blake3"]] {
        let options = [&["--rate", "8Mbit", "--chunk", "64KiB"], direction].concat();
        let bytes = run(&home, &node.link, &options).code(0).summary()["bytes"].as_u64().unwrap();
        assert!((300_000..800_000).contains(&bytes), "{bytes}: 300,000 and what was begun");
    }
}

#[test]
fn unencrypted_content_needs_the_operator() {
    let home = Home::new();
    let node = bench_node(&home, &[]);
    let refused = run(&home, &node.link, &["--no-encrypt"]).code(6);
    let summary = refused.summary();
    assert_eq!((&summary["error"]["class"], &summary["gbps"]), (&6.into(), &0.0.into()), "{summary}");
    assert!(refused.stderr.contains("--allow-plain"), "{}", refused.stderr);
    drop(node);
    let node = bench_node(&home, &["--allow-plain"]);
    let summary = run(&home, &node.link, &["--no-encrypt"]).code(0).summary();
    moved(&summary);
    assert_eq!(summary["encrypted"], false);
}

#[test]
fn a_wrong_link_measures_nothing() {
    let home = Home::new();
    let node = bench_node(&home, &[]);
    let summary = run(&home, &node.forged(), &[]).code(13).summary();
    assert_eq!((&summary["error"]["class"], &summary["seconds"]), (&13.into(), &0.0.into()));
    assert_eq!(summary["paths"], Value::Array(Vec::new()));
    for wrong in ["xfer://x", "/a/file", "-", &node.at("a/path")] {
        let ran = run(&home, wrong, &[]).code(2);
        assert!(ran.stdout.is_empty(), "usage errors print no JSON: {}", ran.text());
    }
    for options in [["--source", "0"], ["--source", "2G"], ["--seconds", "2d"], ["--cc", "fixed"]] {
        run(&home, &node.link, &options).code(2);
    }
}

#[test]
fn a_node_serves_files_or_benchmarks() {
    let home = Home::new();
    let file = home.file("f", "x").to_str().unwrap().to_owned();
    let files = home.serve(&home.directory("root"));
    let refused = run(&home, &files.link, &[]).code(6);
    assert_eq!(refused.summary()["error"]["class"], 6);
    assert!(refused.stderr.contains("bench serve"), "{}", refused.stderr);
    drop(files);
    let node = bench_node(&home, &[]);
    assert!(home.run(&["ls", &node.link]).code(0).stdout.is_empty());
    home.run(&["cp", &file, &node.at("f")]).code(6);
    home.run(&["cp", &node.at("f"), "here"]).code(4);
}

/// Starts a long one, does `act` once content moves, and returns how it ended and its last line.
fn disturbed(home: &Home, node: &Node, act: impl FnOnce(&std::process::Child)) -> (ExitStatus, Value) {
    let mut child =
        home.spawn(&["bench", "run", "--json", "--seconds", "60", "--interval", "50ms", &node.link]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let parse = |line: String| -> Value { serde_json::from_str(&line).unwrap() };
    let moves = lines.by_ref().map(parse).find(|line| line["bytes"].as_u64().unwrap() > 0).unwrap();
    assert_eq!(moves["type"], "progress");
    act(&child);
    let last = lines.last().map(parse).unwrap();
    (wait(&mut child), last)
}

#[test]
fn what_ends_it_early_is_told_with_what_was_measured() {
    let home = Home::new();
    let node = bench_node(&home, &[]);
    let (status, last) = disturbed(&home, &node, |child| signal(child, "INT"));
    assert_eq!((status.code(), &last["exit"], &last["type"]), (Some(20), &20.into(), &"summary".into()));
    assert!(last["bytes"].as_u64().unwrap() > 0 && last["gbps"].as_f64().unwrap() > 0.0, "{last}");
    let (status, last) = disturbed(&home, &node, |_| node.signal("TERM"));
    assert_eq!((status.code(), &last["exit"], &last["type"]), (Some(5), &5.into(), &"summary".into()));
    assert!(last["bytes"].as_u64().unwrap() > 0 && last["cpu_s_per_gb_recv"].is_null(), "{last}");
    let (status, stderr) = node.end();
    assert!(status.success(), "{stderr}");
}

#[test]
fn intervals_are_told_as_progress() {
    let home = Home::new();
    let node = bench_node(&home, &[]);
    let ran = run(&home, &node.link, &["--interval", "50ms"]).code(0);
    let lines = ran.lines();
    let (last, intervals) = lines.split_last().unwrap();
    assert_eq!(last["type"], "summary");
    assert!(intervals.len() >= 3, "{} intervals", intervals.len());
    let mut end = 0.0;
    for line in intervals {
        assert_eq!(line["type"], "progress");
        for key in "bytes total_bytes files gbps eta_s scanning limited_by paths sent_gbps received_gbps"
            .split_whitespace()
        {
            assert!(line.get(key).is_some(), "{key}");
        }
        assert_eq!(line["from_s"].as_f64(), Some(end), "each begins where the one before ended");
        end = line["to_s"].as_f64().unwrap();
    }
}

#[test]
fn people_are_told_in_words() {
    let home = Home::new();
    let node = bench_node(&home, &[]);
    let words = |options: &[&str]| {
        let ran = home.run(&[&["bench", "run", &node.link][..], &SHORT, options].concat()).code(0);
        (ran.text(), ran.stderr)
    };
    let (text, _) = words(&[]);
    assert!(text.starts_with("sent ") && text.contains("bit/s") && text.contains("CPU s/GB"), "{text}");
    let (text, intervals) = words(&["--reverse", "--interval", "100ms"]);
    assert!(text.starts_with("received "), "{text}");
    assert!(intervals.contains("received ") && intervals.contains("bit/s"), "{intervals}");
    let (text, _) = words(&["--latency"]);
    assert!(text.contains("messages: p50 ") && text.contains("round trips: p50 "), "{text}");
}
