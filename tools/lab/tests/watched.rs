//! What eBPF tells of a node's network beside what its client knows of the transfer, over a wire that loses nothing and one that loses.
//! As root, in namespaces of its own.

#[path = "support/noise.rs"]
mod noise;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;
use xfer_lab::{Config, Lab, WireShape};

const SIZE: u64 = 64 << 20;
/// Handshakes and farewells are no packets of a path, and ends may say more after the client has counted.
const BESIDES: f64 = 64.0 * 1_024.0;
const PATIENCE: Duration = Duration::from_secs(30);

/// The program `xferctl`: named by `XFERCTL_BIN`, or built beside these tests.
fn xferctl() -> PathBuf {
    let beside = || Path::new(env!("CARGO_BIN_EXE_lab")).with_file_name("xferctl");
    std::env::var_os("XFERCTL_BIN").map_or_else(beside, PathBuf::from)
}

/// A lab with a node on host b that watches its network.
struct Stage {
    node: Child,
    link: String,
    metrics: SocketAddr,
    lab: Lab,
}

impl Stage {
    fn up(name: &str, shape: WireShape) -> Stage {
        let (name, program) =
            (format!("t{}-{name}", std::process::id()), Some(env!("CARGO_BIN_EXE_lab").into()));
        let config = Config { name, program, ..Config::with_wires(1, shape) };
        let lab = Lab::up(&config).expect("the lab comes up; its tests need root");
        let (a, b) = (lab.host("a"), lab.host("b"));
        noise::write_noise(&a.home().join("data"), SIZE);
        fs::create_dir(b.home().join("root")).unwrap();
        let address = |port| SocketAddr::new(b.ipv4(1).into(), port);
        let (listen, metrics) = (address(7_700).to_string(), address(9_700));
        let mut node = b
            .command(xferctl())
            .args(["serve", "--json", "--watch-network", "--metrics", &metrics.to_string()])
            .args(["--listen", &listen, "--root"])
            .arg(b.home().join("root"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(node.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let ready: Value = serde_json::from_str(&first).expect("the node tells its link");
        Stage { node, link: ready["link"].as_str().unwrap().to_owned(), metrics, lab }
    }

    /// Uploads the file; gives the bytes of all datagrams, both ways, as the client counts them.
    fn upload(&self) -> f64 {
        let a = self.lab.host("a");
        let mut command = a.command(xferctl());
        command.args(["cp", "--json", "--progress", "none"]);
        let output =
            command.arg(a.home().join("data")).arg(format!("{}/copied", self.link)).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(summary["exit"], 0, "{summary}");
        summary["wire_bytes"].as_f64().unwrap()
    }

    /// A figure of one direction, or of both.
    fn figure(&self, name: &str, direction: &str) -> f64 {
        let ask = || {
            let mut stream = TcpStream::connect(self.metrics).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let answer = self.lab.host("b").enter(ask).unwrap();
        let label = format!("direction=\"{direction}");
        let ours = |line: &&str| line.starts_with(&format!("xfer_network_{name}{{")) && line.contains(&label);
        answer.lines().filter(ours).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Programs on the node's interfaces, as `ebpf status` tells them: interface and point.
    fn programs(&self) -> Vec<(String, String)> {
        let output =
            self.lab.host("b").command(xferctl()).args(["ebpf", "status", "--json"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| (word(&line, "interface"), word(&line, "point"))).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // One that ended by itself cannot be killed any more.
        self.node.kill().unwrap_or_default();
        self.node.wait().unwrap();
    }
}

#[test]
fn bytes_are_those_that_the_client_counts() {
    let mut stage = Stage::up("watched", WireShape::default());
    let hooks = |points: &[&str]| {
        points.iter().map(|point| ("x1".to_owned(), (*point).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(stage.programs(), hooks(&["ingress", "egress"]));
    let counted = stage.upload();
    let seen = stage.figure("bytes_total", "in") + stage.figure("bytes_total", "out");
    println!("{counted} bytes counted by the client, {seen} by tcx");
    assert!((seen - counted).abs() < BESIDES, "{seen} seen, {counted} counted");
    let (packets, trains) = (stage.figure("packets_total", "in"), stage.figure("trains_total", "in"));
    let (missing, late) = (stage.figure("missing_total", "in"), stage.figure("late_total", "in"));
    println!("{packets} packets in {trains} trains, {missing} missing, {late} late");
    assert!(packets > SIZE as f64 / 1_500.0 && trains < packets / 8.0, "trains stay whole");
    // A sender leaves out a number of 4,096 on purpose.
    assert!(missing - late < packets / 500.0 + 16.0);
    // The node's end is the programs' too.
    stage.node.kill().unwrap();
    stage.node.wait().unwrap();
    assert_eq!(stage.programs(), []);
}

#[test]
fn what_a_wire_loses_is_missing() {
    let stage = Stage::up("lossy", WireShape { loss: 0.02, ..WireShape::default() });
    stage.upload();
    let packets = stage.figure("packets_total", "in");
    let lost = stage.figure("missing_total", "in") - stage.figure("late_total", "in");
    println!("{lost} of {packets} packets lost");
    let share = lost / (packets + lost);
    assert!((0.012..0.03).contains(&share), "{share}");
}
