//! Floods beside real work, measured: what a transfer keeps of its rate under forged packets, and what a flood of handshakes takes.
//!
//! They need the machine for themselves and the release build: `cargo xtask long floods`. The generator runs on the sender's core, so the
//! reference is the same run with the same flood going to a third host.

use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use xfer_proto::crypto::Direction;
use xfer_proto::wire::{ConnectionId, Header, Kind, PathId};

use crate::node::Node;
use crate::peer::Pass;
use crate::stage::{Stage, noise, resident, xferctl};
use crate::strangers::{flood, forged_hello};

/// Forged packets a second.
const RATE: u64 = 100_000;
/// How much of them the generator has to reach.
const RATE_REACHED: f64 = 0.95;
/// Rounds, each with a reference; the medians count.
const ROUNDS: usize = 5;
const SECONDS: u64 = 4;
/// Share of the reference's rate.
const KEPT: f64 = 0.88;
/// Growth of what is resident that counts as none.
const FLAT: u64 = 4 << 20;
const SENDER_CORE: usize = 0;
const RECEIVER_CORE: usize = 1;
const PORT: u16 = 7_701;
/// How long handshakes are flooded, and what they may take.
const HANDSHAKES_FOR: Duration = Duration::from_secs(15);
const HANDSHAKES_TAKE: u64 = 16 << 20;
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);
/// AF_PACKET, ETH_P_IP as the wire has it.
const PACKET: i32 = 17;
const IP: i32 = 0x0008;
/// Ethernet, IPv4, UDP.
const HEADERS: usize = 14 + 20 + 8;

/// A node for benchmarks on host b, on a core of its own.
struct Receiver {
    node: Node,
    address: SocketAddr,
}

impl Receiver {
    fn start(stage: &Stage) -> Receiver {
        let b = stage.lab.host("b");
        let address = SocketAddr::new(b.ipv4(1).into(), PORT);
        let mut command = b.command("taskset");
        command.args(["-c", &RECEIVER_CORE.to_string()]).arg(xferctl());
        command.args(["bench", "serve", "--json", "--listen", &address.to_string(), "--state"]);
        command.arg(b.home().join("bench"));
        Receiver { node: Node::start(command.stderr(Stdio::null())), address }
    }

    /// CPU seconds that it has used.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.node.id())).unwrap();
        let behind = stat.rsplit_once(')').unwrap().1;
        let ticks: Vec<u64> =
            behind.split_whitespace().skip(11).take(2).map(|n| n.parse().unwrap()).collect();
        ticks.iter().sum::<u64>() as f64 / 100.0
    }
}

/// What a generator did.
#[derive(Clone, Copy, Debug, Default)]
struct Flooded {
    packets: u64,
    sent: u64,
    heard: u64,
    seconds: f64,
}

/// One run: the transfer's rate in Gbit/s, CPU seconds a gigabyte of both ends, the share of a core that the receiver used.
#[derive(Clone, Copy, Debug)]
struct Run {
    gbps: f64,
    sender: f64,
    receiver: f64,
    busy: f64,
    flood: Flooded,
}

fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).expect("the machine has two cores");
}

/// The connection that sends content to `node` over host a's wire, once one does.
fn connection_to(stage: &Stage, node: SocketAddr, stop: &AtomicBool) -> Option<ConnectionId> {
    let raw = || Socket::new(Domain::from(PACKET), Type::RAW, Some(Protocol::from(IP))).unwrap();
    let socket = stage.lab.host("b").enter(raw).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut socket = std::fs::File::from(std::os::fd::OwnedFd::from(socket));
    let mut buffer = vec![0; 70_000];
    while !stop.load(Ordering::Relaxed) {
        let Ok(len) = std::io::Read::read(&mut socket, &mut buffer) else { continue };
        let to_node = len > HEADERS && buffer[23] == 17 && buffer[36..38] == node.port().to_be_bytes();
        if to_node
            && let Ok(header) = Header::decode(&buffer[HEADERS..len])
            && header.kind == Kind::Data
        {
            return Some(header.connection);
        }
    }
    None
}

/// Packets that look like content of some connection, like content of the one under way, and like handshakes.
fn forgeries(real: Option<ConnectionId>) -> Vec<Vec<u8>> {
    let bytes = noise(70_000);
    let data = |connection: ConnectionId, number: u64, len: usize| {
        let length = (len - 48) as u16;
        let path = PathId(0);
        let header = Header { connection, number, length, path, ..Header::new(Kind::Data) };
        let mut packet = header.encode().to_vec();
        packet.extend_from_slice(&bytes[number as usize % 1_000..][..len - packet.len()]);
        packet
    };
    let mut all: Vec<Vec<u8>> = (0..64).map(forged_hello).collect();
    for i in 0..64_u64 {
        all.push(data(ConnectionId(0x0123_4567_u32.wrapping_mul(i as u32 + 1)), i, 64 + 20 * i as usize));
        if let Some(real) = real {
            // On the 16-byte grid; numbers that the connection may use yet.
            all.push(data(real, 1_000_000 + i, 48 + 16 * (4 + i as usize)));
        }
    }
    all
}

/// Sends forged packets to `target` at [`RATE`] until it is told to stop. `node` is whose connection is looked for.
fn forge(stage: &Stage, node: SocketAddr, target: SocketAddr, stop: &AtomicBool) -> Flooded {
    pin(SENDER_CORE);
    // The sender would take half of the core from it, and it would not reach its rate.
    let own = nix::unistd::gettid().to_string();
    let preferred = std::process::Command::new("renice").args(["-n", "-15", "-p", &own]).output().unwrap();
    assert!(preferred.status.success(), "{}", preferred.stderr.escape_ascii());
    let bind = || UdpSocket::bind(SocketAddr::new(stage.hostile().ipv4(1).into(), 0)).unwrap();
    let socket = stage.hostile().enter(bind).unwrap();
    socket.set_nonblocking(true).unwrap();
    let all = forgeries(connection_to(stage, node, stop));
    let mut flooded = Flooded::default();
    let mut buffer = vec![0; 65_536];
    let started = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let due = (started.elapsed().as_secs_f64() * RATE as f64) as u64;
        while flooded.packets < due {
            let packet = &all[flooded.packets as usize % all.len()];
            // A full queue loses a packet: it is a flood.
            flooded.sent += socket.send_to(packet, target).unwrap_or(0) as u64;
            flooded.packets += 1;
        }
        while let Ok(len) = socket.recv(&mut buffer) {
            flooded.heard += len as u64;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    flooded.seconds = started.elapsed().as_secs_f64();
    flooded
}

/// A transfer of some seconds from host a to the receiver, beside a flood to `target`.
fn beside(stage: &Stage, receiver: &Receiver, target: SocketAddr) -> Run {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let forging = scope.spawn(|| forge(stage, receiver.address, target, &stop));
        let mut command = stage.hostile().command("taskset");
        command.args(["-c", &SENDER_CORE.to_string()]).arg(xferctl());
        command.args(["bench", "run", "--json", "--seconds", &SECONDS.to_string(), &receiver.node.link]);
        let (started, cpu) = (Instant::now(), receiver.cpu());
        let output = command.output().unwrap();
        let busy = (receiver.cpu() - cpu) / started.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        let flood = forging.join().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", output.stderr.escape_ascii());
        let summary: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        let figure = |name: &str| summary[name].as_f64().unwrap_or(f64::NAN);
        Run {
            gbps: figure("gbps"),
            sender: figure("cpu_s_per_gb_send"),
            receiver: figure("cpu_s_per_gb_recv"),
            busy,
            flood,
        }
    })
}

fn median(runs: &[Run], figure: impl Fn(&Run) -> f64) -> f64 {
    let mut all: Vec<f64> = runs.iter().map(figure).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn told(what: &str, runs: &[Run]) {
    let of = |figure: fn(&Run) -> f64| median(runs, figure);
    println!(
        "{what}: {:.2} Gbit/s; CPU s/GB sender {:.3}, receiver {:.3}; receiver's core {:.0} %; {:.0} forged packets a second",
        of(|run| run.gbps),
        of(|run| run.sender),
        of(|run| run.receiver),
        100.0 * of(|run| run.busy),
        of(|run| run.flood.packets as f64 / run.flood.seconds),
    );
}

/// H3: 100,000 forged packets a second at the data port, half of them for the connection that is under way.
#[test]
#[ignore = "measures; cargo xtask long floods"]
fn a_transfer_keeps_its_rate_beside_forged_packets() {
    let stage = Stage::up("forged");
    let receiver = Receiver::start(&stage);
    // Nobody reads there: what does not fit is dropped, as by a host that the flood is not for.
    let bind = || UdpSocket::bind(SocketAddr::new(stage.lab.host("c").ipv4(1).into(), PORT)).unwrap();
    let elsewhere = stage.lab.host("c").enter(bind).unwrap();
    let third = elsewhere.local_addr().unwrap();
    // Buffers and pools are there after a run of each kind.
    beside(&stage, &receiver, third);
    beside(&stage, &receiver, receiver.address);
    let taken = || resident(receiver.node.id());
    let (mut reference, mut flooded, before, mut most) = (Vec::new(), Vec::new(), taken(), 0);
    for _ in 0..ROUNDS {
        reference.push(beside(&stage, &receiver, third));
        flooded.push(beside(&stage, &receiver, receiver.address));
        most = most.max(taken());
    }
    told("flood to a third host", &reference);
    told("flood to the receiver", &flooded);
    let kept = median(&flooded, |run| run.gbps) / median(&reference, |run| run.gbps);
    let rate = median(&flooded, |run| run.flood.packets as f64 / run.flood.seconds) / RATE as f64;
    let (sent, heard) =
        flooded.iter().fold((0, 0), |(sent, heard), run| (sent + run.flood.sent, heard + run.flood.heard));
    let grown = most.saturating_sub(before);
    println!(
        "kept {:.1} %; RSS grew by {} KiB; {heard} bytes came back for {sent}",
        100.0 * kept,
        grown >> 10
    );
    assert!(rate >= RATE_REACHED, "the generator reached {:.0} % of its rate", 100.0 * rate);
    assert!(kept >= KEPT, "the transfer kept {:.1} %", 100.0 * kept);
    assert!(grown <= FLAT, "{grown} bytes more are resident");
    assert!(heard <= sent, "amplified");
}

/// H4, for longer: handshakes with spoofed sources as fast as one core makes them, and a client every moment.
#[test]
#[ignore = "measures; cargo xtask long floods"]
fn a_long_handshake_flood_takes_little_and_keeps_nobody_out() {
    let stage = Stage::under("long", &["taskset", "-c", "1"], &[]);
    let client = stage.client();
    let mut hellos: Vec<Vec<u8>> = (0..40).map(forged_hello).collect();
    let pass = Pass::of(&stage.download(&client), stage.address(), Direction::OpenerReceives);
    hellos.push(pass.opener(1, Vec::new()).hello().to_vec());
    let before = stage.taken().rss;
    let (stop, most) = (AtomicBool::new(false), Mutex::new(0));
    let (mut waits, started) = (Vec::new(), Instant::now());
    let from = stage.carried();
    let sent = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            pin(SENDER_CORE);
            flood(&stage, &hellos, &stop)
        });
        let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while started.elapsed() < HANDSHAKES_FOR {
                waits.push(stage.serves());
                let mut most = most.lock().unwrap();
                *most = stage.taken().rss.max(*most);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        let sent = flooding.join().unwrap();
        served.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sent
    });
    let to = stage.carried();
    waits.sort();
    let rate = sent as f64 / started.elapsed().as_secs_f64();
    let grown = most.into_inner().unwrap().saturating_sub(before);
    let (middle, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!(
        "{rate:.0} HELLOs a second; {} copies, {middle:?} in the middle, {longest:?} at most; RSS grew by {} KiB; {} bytes out for {} in",
        waits.len(),
        grown >> 10,
        to.0 - from.0,
        to.1 - from.1
    );
    assert!(middle <= CONNECTED_WITHIN, "{middle:?}");
    assert!(grown <= HANDSHAKES_TAKE, "{grown} bytes more are resident");
    assert!(to.0 - from.0 <= to.1 - from.1, "more went out than came in");
}
