//! What eBPF tells of a node's network beside what its client knows of the transfer, over a wire that loses nothing and one that loses; and
//! the XDP program as a filter before the kernel's sockets.
//! As root, in namespaces of its own.

#[path = "support/noise.rs"]
mod noise;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
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
    fn up(name: &str, shape: WireShape, options: &[&str]) -> Stage {
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
            .args(["serve", "--json", "--metrics", &metrics.to_string()])
            .args(options)
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

    /// The sum of the samples whose line begins with `xfer_` and `name` and holds `label`.
    fn figure(&self, name: &str, label: &str) -> f64 {
        let ask = || {
            let mut stream = TcpStream::connect(self.metrics).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let answer = self.lab.host("b").enter(ask).unwrap();
        let begins = format!("xfer_{name}{{");
        let ours = |line: &&str| line.starts_with(&begins) && line.contains(label);
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
    let mut stage = Stage::up("watched", WireShape::default(), &["--watch-network"]);
    let hooks = |points: &[&str]| {
        points.iter().map(|point| ("x1".to_owned(), (*point).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(stage.programs(), hooks(&["ingress", "egress"]));
    let counted = stage.upload();
    let seen = stage.figure("network_bytes_total", "direction=\"in\"")
        + stage.figure("network_bytes_total", "direction=\"out\"");
    println!("{counted} bytes counted by the client, {seen} by tcx");
    assert!((seen - counted).abs() < BESIDES, "{seen} seen, {counted} counted");
    let (packets, trains) = (
        stage.figure("network_packets_total", "direction=\"in\""),
        stage.figure("network_trains_total", "direction=\"in\""),
    );
    let (missing, late) = (
        stage.figure("network_missing_total", "direction=\"in\""),
        stage.figure("network_late_total", "direction=\"in\""),
    );
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
    let stage = Stage::up("lossy", WireShape { loss: 0.02, ..WireShape::default() }, &["--watch-network"]);
    stage.upload();
    let packets = stage.figure("network_packets_total", "direction=\"in\"");
    let lost = stage.figure("network_missing_total", "direction=\"in\"")
        - stage.figure("network_late_total", "direction=\"in\"");
    println!("{lost} of {packets} packets lost");
    let share = lost / (packets + lost);
    assert!((0.012..0.03).contains(&share), "{share}");
}

#[test]
fn a_filter_lets_transfers_through_and_forgeries_not() {
    const FORGED: usize = 1_000;
    let stage = Stage::up(
        "filter",
        WireShape::default(),
        &["--backend", "udp", "--xdp-filter", "--xdp-mode", "generic"],
    );
    assert_eq!(stage.programs(), [("x1".to_owned(), "xdp".to_owned())]);
    stage.upload();
    let dropped = || stage.figure("xdp_packets_total", "action=\"dropped\"");
    let passed = || stage.figure("xdp_packets_total", "action=\"passed\"");
    let before = (dropped(), passed());
    assert!(before.1 > 0.0);
    let node = SocketAddr::new(stage.lab.host("b").ipv4(1).into(), 7_700);
    let forge = || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        // DATA of version 1 to a connection that there is none of, with 16 bytes and their tag.
        let mut packet = [0_u8; 64];
        packet[0] = 0x81;
        packet[4] = 0x55;
        packet[30] = 16;
        (0..FORGED).for_each(|_| assert_eq!(socket.send_to(&packet, node).unwrap(), packet.len()));
    };
    stage.lab.host("a").enter(forge).unwrap();
    let unknown = stage.figure("xdp_packets_total", "reason=\"unknown\"");
    assert!(unknown >= FORGED as f64, "{unknown}");
    stage.upload();
    println!("{} dropped and {} passed before, {} and {} after", before.0, before.1, dropped(), passed());
    // What comes late of a connection that ended may be among them.
    assert!(dropped() - before.0 < FORGED as f64 * 1.1);
}
