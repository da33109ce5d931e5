//! Copies by AF_XDP over wires of veth, beside ordinary traffic and through faults. As root, in namespaces of its own.

#[path = "support/copying.rs"]
mod copying;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use copying::node::{lab, listen};
use copying::{Stage, WAYS, Way, xferctl};
use xfer_lab::{Config, Host, WireShape};

const MIB: u64 = 1 << 20;
const XDP: [&str; 2] = ["--backend", "xdp"];
/// Long enough for the loaded machine of a test.
const ANSWER: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    mode: &'static str,
    v6: bool,
    mtu: u32,
    queues: usize,
}

const PLAIN: Case = Case { name: "plain", mode: "native", v6: false, mtu: 1_500, queues: 1 };

fn config(case: Case, wires: usize) -> Config {
    Config { mtu: case.mtu, queues: case.queues, ..Config::with_wires(wires, WireShape::default()) }
}

/// A node on host b that uses AF_XDP on wire 1, as `case` says.
fn stage(case: Case, size: u64) -> Stage {
    let name = format!("xdp-{}", case.name);
    let address = move |b: &Host| vec![if case.v6 { b.ipv6(1).into() } else { IpAddr::from(b.ipv4(1)) }];
    Stage::up_with(&name, config(case, 1), size, address, &options(case))
}

fn options(case: Case) -> [&'static str; 4] {
    [XDP[0], XDP[1], "--xdp-mode", case.mode]
}

/// How many packets the client's program told of at its end.
fn count(text: &str, fate: &str) -> u64 {
    let line = text.lines().find(|line| line.contains("the XDP program is detached"));
    let line = line.unwrap_or_else(|| panic!("no program was detached: {text}"));
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    line.split(&format!("{fate}=")).nth(1).map_or(0, |rest| digits(rest).parse().unwrap())
}

/// Copies both ways; all but a few packets take the sockets of their queues.
fn copies(case: Case) {
    const SIZE: u64 = 48 * MIB;
    let stage = stage(case, SIZE);
    for way in WAYS {
        let mut words = vec!["-v"];
        words.extend(options(case));
        let copied = stage.copy(way, &words).succeed();
        let (redirected, misplaced) = (count(&copied.text, "Redirected"), count(&copied.text, "Misplaced"));
        println!("{}: {way:?} {redirected} redirected, {misplaced} misplaced", case.name);
        assert!(misplaced * 100 <= redirected + 200, "{}", copied.text);
        let packets = SIZE / u64::from(case.mtu);
        let least = if way == Way::Download { packets * 9 / 10 } else { 20 };
        assert!(redirected >= least, "{redirected} of {packets}: {}", copied.text);
    }
}

#[test]
fn native() {
    copies(Case { name: "n4", ..PLAIN });
    copies(Case { name: "n6", v6: true, ..PLAIN });
}

#[test]
fn native_jumbo() {
    copies(Case { name: "n4j", mtu: 9_000, ..PLAIN });
    copies(Case { name: "n6j", mtu: 9_000, v6: true, ..PLAIN });
}

#[test]
fn generic() {
    copies(Case { name: "g4", mode: "generic", ..PLAIN });
    copies(Case { name: "g6j", mode: "generic", mtu: 9_000, v6: true, ..PLAIN });
}

#[test]
fn several_queues() {
    copies(Case { name: "q2", queues: 2, ..PLAIN });
    copies(Case { name: "q4", queues: 4, ..PLAIN });
    copies(Case { name: "q4j", queues: 4, mtu: 9_000, ..PLAIN });
}

/// Each end may use what it likes.
#[test]
fn one_end_alone() {
    let case = Case { name: "one", ..PLAIN };
    let stage = stage(case, 32 * MIB);
    for way in WAYS {
        stage.copy(way, &["--backend", "udp"]).succeed();
    }
    drop(stage);
    let stage = Stage::up("xdp-other", config(case, 1), 32 * MIB);
    for way in WAYS {
        let copied = stage.copy(way, &["-v", "--backend", "xdp"]).succeed();
        assert!(count(&copied.text, "Redirected") > 0, "{}", copied.text);
    }
}

/// A path on each of two wires, both by AF_XDP.
#[test]
fn two_interfaces() {
    let case = Case { name: "two", ..PLAIN };
    let addresses = |b: &Host| vec![b.ipv4(1).into(), b.ipv4(2).into()];
    let stage = Stage::up_with("xdp-two", config(case, 2), 256 * MIB, addresses, &options(case));
    for way in WAYS {
        let copied = stage.copy(way, &options(case)).succeed();
        let a = stage.lab.host("a");
        for wire in [1, 2] {
            assert!(copied.payload(a.ipv4(wire)) > MIB, "wire {wire}: {}", copied.text);
        }
    }
}

/// Answers each datagram, and each byte of each connection, until told to end.
fn answer(udp: &UdpSocket, tcp: &TcpListener, over: &AtomicBool) {
    udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = tcp.accept().unwrap();
            let mut buffer = vec![0; 64 << 10];
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                stream.write_all(&buffer[..len]).unwrap();
            }
        });
        let mut buffer = [0; 2_048];
        while !over.load(Ordering::Relaxed) {
            if let Ok((len, from)) = udp.recv_from(&mut buffer) {
                udp.send_to(&buffer[..len], from).unwrap();
            }
        }
    });
}

/// Sends pings and a stream, and checks all that comes back. Counts the pings.
fn converse(host: &Host, udp_to: SocketAddr, tcp_to: SocketAddr, over: &AtomicBool, pings: &AtomicU32) {
    let (udp, mut tcp) = host
        .enter(|| {
            let udp = UdpSocket::bind((host.ipv4(1), 0)).unwrap();
            udp.connect(udp_to).unwrap();
            (udp, TcpStream::connect(tcp_to).unwrap())
        })
        .unwrap();
    udp.set_read_timeout(Some(ANSWER)).unwrap();
    tcp.set_read_timeout(Some(ANSWER)).unwrap();
    let mut nth = 0u32;
    while !over.load(Ordering::Relaxed) {
        nth += 1;
        let ping: Vec<u8> = nth.to_le_bytes().repeat(1 + nth as usize % 300);
        udp.send(&ping).unwrap();
        let mut back = [0; 2_048];
        let len = udp.recv(&mut back).unwrap_or_else(|error| panic!("ping {nth} is lost: {error}"));
        assert_eq!(back[..len], ping, "ping {nth}");
        let bytes = nth.to_le_bytes().repeat(5_000);
        tcp.write_all(&bytes).unwrap();
        let mut back = vec![0; bytes.len()];
        tcp.read_exact(&mut back).unwrap_or_else(|error| panic!("stream at {nth}: {error}"));
        assert_eq!(back, bytes, "stream at {nth}");
        pings.store(nth, Ordering::Relaxed);
    }
}

/// Other UDP and TCP of the same interfaces loses nothing while content moves by AF_XDP.
#[test]
fn ordinary_traffic_is_left_alone() {
    for mode in ["native", "generic"] {
        let case = Case { name: if mode == "native" { "on" } else { "og" }, mode, queues: 2, ..PLAIN };
        let stage = stage(case, 256 * MIB);
        let (a, b) = (stage.lab.host("a"), stage.lab.host("b"));
        let (udp, tcp) = b
            .enter(|| (UdpSocket::bind((b.ipv4(1), 0)).unwrap(), TcpListener::bind((b.ipv4(1), 0)).unwrap()))
            .unwrap();
        let to = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        let (over, pings) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| answer(&udp, &tcp, &over));
            let talk = scope.spawn(|| converse(&a, to.0, to.1, &over, &pings));
            for way in WAYS {
                stage.copy(way, &options(case)).succeed();
            }
            let during = pings.load(Ordering::Relaxed);
            over.store(true, Ordering::Relaxed);
            let ended = talk.join();
            assert!(ended.is_ok() && during > 20, "{during} pings during the copies");
        });
    }
}

/// `ip` on a host.
fn ip(host: &Host, words: &[&str]) {
    let status = host.command("ip").args(words).status().unwrap();
    assert!(status.success(), "ip {words:?}: {status}");
}

#[test]
fn an_interface_may_go_away() {
    let case = Case { name: "gone", ..PLAIN };
    for (nth, way) in WAYS.into_iter().enumerate() {
        let addresses = |b: &Host| vec![b.ipv4(1).into(), b.ipv4(2).into()];
        let name = format!("xdp-gone{nth}");
        let stage = Stage::up_with(&name, config(case, 2), 512 * MIB, addresses, &options(case));
        let mut copy = stage.copy(way, &options(case));
        copy.until_sent(2, 16 * MIB);
        ip(&stage.lab.host("a"), &["link", "del", "x2"]);
        let copied = copy.succeed();
        assert!(copied.payload(stage.lab.host("a").ipv4(1)) > MIB, "{}", copied.text);
    }
}

/// The packets of before no longer fit; the copy goes on with smaller ones, and with larger ones where the MTU is raised again.
#[test]
fn the_mtu_may_change() {
    let case = Case { name: "mtu", ..PLAIN };
    for way in WAYS {
        let stage = stage(case, 512 * MIB);
        let mut copy = stage.copy(way, &options(case));
        for mtu in ["1300", "1500"] {
            copy.until_sent(1, 16 * MIB);
            for host in ["a", "b"] {
                ip(&stage.lab.host(host), &["link", "set", "x1", "mtu", mtu]);
            }
        }
        copy.succeed();
    }
}

/// What a node says that cannot use AF_XDP, and its exit code.
fn refusal(host: &Host, before: &[&str], words: &[&str]) -> (Option<i32>, String) {
    let mut all: Vec<std::ffi::OsString> = before.iter().map(Into::into).collect();
    all.push(xferctl().into());
    let mut command = host.command(&all[0]);
    command.args(&all[1..]).args(["serve", "--backend", "xdp", "--root"]).arg(host.home()).args(words);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_is_missing_is_named() {
    let lab = lab("xdp-errors", config(Case { name: "errors", ..PLAIN }, 1));
    let b = lab.host("b");
    let here = listen(b.ipv4(1));
    let here: Vec<&str> = here.iter().map(String::as_str).collect();
    let (code, text) = refusal(&b, &[], &[&here[..], &["--interface", "nosuch0"]].concat());
    assert!(code == Some(2) && text.contains("there is no interface nosuch0"), "{code:?} {text}");
    let (code, text) = refusal(&b, &[], &["--listen", "127.0.0.1:7700"]);
    assert!(code == Some(7) && text.contains("use AF_XDP on lo"), "{code:?} {text}");
    let (code, text) = refusal(&b, &[], &["--listen", "0.0.0.0:7700"]);
    assert!(code == Some(2) && text.contains("--interface"), "{code:?} {text}");
    let bare = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"];
    let (code, text) = refusal(&b, &bare, &here);
    assert!(code == Some(7) && text.contains("x1") && text.contains("CAP_NET_ADMIN"), "{code:?} {text}");
}
