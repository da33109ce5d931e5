//! What a node tells Prometheus, and `top`, which reads it.

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use support::{Home, Node};

/// A node with an endpoint, and where that is.
fn observed(home: &Home) -> (Node, String) {
    let root = home.directory("root");
    let node = home.serve_with(&[
        OsStr::new("--root"),
        root.as_os_str(),
        OsStr::new("--metrics"),
        OsStr::new("127.0.0.1:0"),
    ]);
    let address = node.ready["metrics"].as_str().unwrap().to_owned();
    (node, address)
}

/// The answer to a request: head and body.
fn ask(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn scrape(address: &str) -> String {
    let (head, body) = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    body
}

/// The sum of a family's samples.
fn sum(body: &str, name: &str) -> f64 {
    let samples = body.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// The rules of the format, and those that `promtool check metrics` has for names.
fn check(body: &str) {
    let mut kinds = BTreeMap::new();
    let mut last_help = "";
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(!text.is_empty() && name.starts_with("xfer_"), "{line}");
            last_help = name;
        } else if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').unwrap();
            assert_eq!(name, last_help);
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert_eq!(kinds.insert(name, kind), None, "{name} twice");
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
            let parts = ["_bucket", "_sum", "_count"];
            let family = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            assert!(kinds.contains_key(family) || kinds.contains_key(name), "{line}");
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        }
    }
}

/// Prometheus's own word, where it is installed; elsewhere the rules above stand alone.
fn check_by_promtool(body: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        println!(
            "promtool is not installed (Debian: prometheus): the format was checked by this test's rules alone"
        );
        return;
    };
    promtool.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn metrics_follow_what_the_node_does() {
    let home = Home::new();
    let (node, address) = observed(&home);
    let before = scrape(&address);
    check(&before);
    check_by_promtool(&before);
    assert_eq!(sum(&before, "xfer_worker_datagrams_total"), 0.0);
    let file = home.file("work/f", vec![7; 1 << 20]);
    home.run(&["cp", file.to_str().unwrap(), &node.at("f")]).code(0);
    let after = scrape(&address);
    check(&after);
    check_by_promtool(&after);
    assert!(sum(&after, "xfer_worker_datagrams_total") > 0.0);
    assert!(sum(&after, "xfer_worker_trains_total") > 0.0);
    assert_eq!(sum(&after, "xfer_build_info"), 1.0);
    assert!(sum(&after, "xfer_queue_info") > 0.0);
    // No name of a file is told.
    assert!(!after.contains("/f"), "{after}");
}

#[test]
fn nothing_else_is_answered_and_many_do_no_harm() {
    let home = Home::new();
    let (_node, address) = observed(&home);
    assert!(ask(&address, "GET / HTTP/1.1\r\n\r\n").0.starts_with("HTTP/1.1 404"));
    assert!(ask(&address, "POST /metrics HTTP/1.1\r\n\r\n").0.starts_with("HTTP/1.1 405"));
    // One that says nothing, one that says too much, and more than there are places for.
    let mut idle: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let long = "GET /metrics HTTP/1.1\r\n".to_owned() + &"x: y\r\n".repeat(10_000);
    // The node may have closed it by then.
    idle[0].write_all(long.as_bytes()).unwrap_or_default();
    drop(idle);
    for _ in 0..100 {
        let mut stream = TcpStream::connect(&address).unwrap();
        if stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").is_err() {
            continue;
        }
        let mut answer = String::new();
        if stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200") {
            return;
        }
    }
    panic!("the endpoint answers no more");
}

#[test]
fn a_port_in_use_is_told() {
    let home = Home::new();
    let (_node, address) = observed(&home);
    let other = Home::new();
    let root = other.directory("root");
    let words = ["serve", "--json", "--listen", "127.0.0.1:0", "--metrics", &address, "--root"];
    let ran = other.run(&[&words[..], &[root.to_str().unwrap()]].concat()).code(7);
    assert!(ran.stderr.contains(&address), "{}", ran.stderr);
}

#[test]
fn top_shows_workers_and_queues() {
    let home = Home::new();
    let (_node, address) = observed(&home);
    let ran = home.run(&["top", "--count", "2", "--interval", "100ms", &address]).code(0);
    let text = ran.text();
    assert_eq!(text.matches("node ").count(), 2, "{text}");
    assert!(text.contains("worker 0: ") && text.contains("queue of worker 0: 127.0.0.1:"), "{text}");
    // Somebody else's port, and nobody's.
    let other = home.run(&["top", "--count", "1", "127.0.0.1:1"]).code(5);
    assert!(other.stderr.contains("cannot reach the metrics at 127.0.0.1:1"), "{}", other.stderr);
}

#[test]
fn ebpf_answers_whoever_asks() {
    let home = Home::new();
    let missing = home.run(&["ebpf", "status", "--interface", "no-such-one"]).code(4);
    assert_eq!(missing.stderr, "xferctl: no-such-one: there is no such interface\n");
    home.run(&["ebpf", "attach", "--interface", "no-such-one"]).code(4);
    home.run(&["ebpf", "stats", "--interface"]).code(2);
    let nothing = home.run(&["ebpf", "detach"]);
    assert!(matches!(nothing.code, 0 | 13), "{}", nothing.stderr);
}
