//! What a client may have of a node: each bound is driven to its end, the refusal has a type, and the client's exit code is 5.

mod support;

use std::ffi::OsStr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::{Home, Node, PATIENCE, Ran, content, wait};
use xfer_client::{Class, Client, Link};

struct Served {
    home: Home,
    node: Node,
}

impl Served {
    fn with(options: &[&str]) -> Served {
        let home = Home::new();
        home.file("root/big", content(64 << 20, 1));
        home.file("root/f", "f");
        let root = home.directory("root");
        let mut words = vec![OsStr::new("--root"), root.as_os_str()];
        words.extend(options.iter().map(OsStr::new));
        let node = home.serve_with(&words);
        Served { home, node }
    }

    fn client(&self) -> Client {
        let link = Link::parse(self.node.link.as_bytes()).unwrap();
        Client::connect(&link, "n1", PATIENCE).unwrap()
    }

    fn copy(&self) -> Ran {
        let to = self.home.path("here").display().to_string();
        self.home.run(&["cp", "--json", "--retries", "0", &self.node.at("f"), &to])
    }

    /// A copy that has begun and goes on for a while.
    fn slow(&self) -> Child {
        let to = self.home.path("slow").display().to_string();
        let words = ["cp", "--rate", "1MiB", "--retries", "0", &self.node.at("big"), &to];
        let child = self.home.spawn(&words);
        let started = Instant::now();
        while !self.home.path(".xfer-partial").exists() {
            assert!(started.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    /// The refusal as people and programs see it.
    #[track_caller]
    fn refused(&self, says: &str) {
        let ran = self.copy().code(5);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
        let summary = ran.summary();
        assert_eq!(summary["error"]["class"], 5);
        assert!(summary["error"]["message"].as_str().unwrap().contains(says), "{summary}");
    }
}

fn end(mut child: Child) {
    child.kill().unwrap();
    wait(&mut child);
}

#[test]
fn transfers_are_bounded_for_each_client_and_for_all() {
    let cases = [
        ("--max-transfers-per-client", "this host runs as many transfers with the node as a client may"),
        ("--max-transfers", "the node runs as many transfers as it may"),
    ];
    for (option, says) in cases {
        let served = Served::with(&[option, "2"]);
        let first = served.slow();
        served.copy().code(0);
        let second = Client::create_transfer(&served.client(), ticket());
        assert!(second.is_ok(), "two may");
        served.refused(says);
        end(first);
    }
}

fn ticket() -> xfer_client::pb::CreateTransferRequest {
    use xfer_client::pb::{CreateTransferRequest, Download, TransferOptions, create_transfer_request::What};
    let download = Download { sources: vec![b"f".to_vec()], ..Default::default() };
    CreateTransferRequest {
        what: Some(What::Download(download)),
        options: Some(TransferOptions { digests: true, ..Default::default() }),
        versions: vec![1],
        ..Default::default()
    }
}

#[test]
fn connections_are_bounded_for_each_client_and_for_all() {
    let cases = [
        ("--max-connections-per-client", "this host has as many connections to the node as a client may"),
        ("--max-connections", "the node has as many control connections as it may"),
    ];
    for (option, says) in cases {
        let served = Served::with(&[option, "1"]);
        let held = served.client();
        held.create_transfer(ticket()).unwrap();
        served.refused(says);
        let other = served.client();
        assert_eq!(other.create_transfer(ticket()).unwrap_err().class, Class::Temporary);
        drop(held);
        let deadline = Instant::now() + PATIENCE;
        while other.create_transfer(ticket()).is_err() {
            assert!(Instant::now() < deadline, "a place is free again");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn calls_are_bounded_by_the_second() {
    let served = Served::with(&["--max-calls-per-client", "1", "--max-transfers-per-client", "256"]);
    let client = served.client();
    let started = Instant::now();
    let mut calls = 0;
    let error = loop {
        match client.create_transfer(ticket()) {
            Ok(_) => calls += 1,
            Err(error) => break error,
        }
        assert!(calls < 60, "there is no end");
    };
    let most = 5 + started.elapsed().as_secs() as usize;
    assert!((5..=most).contains(&calls), "{calls} calls");
    assert_eq!(error.class, Class::Temporary);
    served.refused("this host calls the node more often than a client may");
    let deadline = Instant::now() + PATIENCE;
    while client.create_transfer(ticket()).is_err() {
        assert!(Instant::now() < deadline, "the rate recovers");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_transfer_in_which_nothing_moves_is_ended() {
    let served = Served::with(&["--max-stall", "1s"]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xferctl"));
    command.env("HOME", served.home.dir.path()).args(["cp", "--retries", "0", "-", &served.node.at("pipe")]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    let held = child.stdin.take();
    let status = wait(&mut child);
    drop(held);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(status.code(), Some(5), "{said}");
    assert!(said.contains("nothing of the transfer moved for too long"), "{said}");
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn settings_say_what_clients_may_have() {
    let home = Home::new();
    home.file("root/f", "f");
    home.file("config/xfer/config.toml", "[serve]\nmax-connections-per-client = 1\nmax-stall = '2h'\n");
    let shown = home.run(&["config", "show", "serve"]).code(0).text();
    assert!(shown.contains("max-connections-per-client") && shown.contains("2h"), "{shown}");
    let served = Served { node: home.serve(&home.path("root")), home };
    let held = served.client();
    held.create_transfer(ticket()).unwrap();
    served.refused("this host has as many connections to the node as a client may");
    for (option, value) in [
        ("--max-transfers", "257"),
        ("--max-transfers", "0"),
        ("--max-connections", "x"),
        ("--max-stall", "5"),
    ] {
        served.home.run(&["serve", "--root", ".", option, value]).code(2);
    }
}
