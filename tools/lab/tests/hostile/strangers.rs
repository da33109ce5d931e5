//! The data port and those who have no ticket, or one that is used up.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use xfer_proto::crypto::{Direction, Suite, Ticket};
use xfer_proto::limits::{DATAGRAM_MIN, HELLO_LEN_MAX};
use xfer_proto::wire::{Header, Kind, Message, Open, Role};

use crate::peer::{Pass, Peer, TRANSFER, socket};
use crate::stage::{Allowance, Stage, noise};

/// IPPROTO_RAW: packets come with their IP header.
const IP_WITH_HEADER: i32 = 255;
const QUIET: Duration = Duration::from_millis(300);
/// What a node may take for people whom it does not know.
const NOTHING: Allowance = Allowance { mib: 16, descriptors: 4, lines: 24 };

/// All that arrives at the socket until it is quiet.
fn answers(socket: &UdpSocket) -> Vec<Vec<u8>> {
    socket.set_read_timeout(Some(QUIET)).unwrap();
    let mut all = Vec::new();
    let mut buffer = vec![0; 65_536];
    while let Ok(len) = socket.recv(&mut buffer) {
        all.push(buffer[..len].to_vec());
    }
    all
}

fn kind(datagram: &[u8]) -> Kind {
    Header::decode(datagram).unwrap().kind
}

/// A HELLO whose ticket nobody issued.
pub(crate) fn forged_hello(secret: u8) -> Vec<u8> {
    let ticket = Ticket::new([secret; 32], Suite::Aes128Gcm, Direction::OpenerReceives);
    let node = SocketAddr::from(([0, 0, 0, 0], 0));
    Pass { ticket, node }.opener(secret, Vec::new()).hello().to_vec()
}

/// Says that the opener receives.
pub(crate) fn open_download() -> Message {
    Message::Open(Open { transfer: TRANSFER, role: Role::Receiver, chunk_log2: 20, digests: true })
}

/// Forged, truncated, oversized and random datagrams of every kind: no answer, no memory, no line of log.
#[test]
fn strangers_get_no_answer() {
    let stage = Stage::up("strangers");
    let socket = socket(&stage.hostile(), QUIET);
    let bytes = noise(70_000);
    let mut sent = 0;
    let hello = forged_hello(3);
    std::thread::scope(|scope| {
        let served = scope.spawn(|| stage.serves());
        for round in 0..300_usize {
            let first = 0x80 | ((round % 8) as u8) << 3 | 1;
            for len in [0, 1, 31, 32, 33, 47, 48, 49, 1_199, 1_200, 1_453, 8_972, 60_000] {
                let mut datagram = bytes[round..round + len].to_vec();
                if let Some(byte) = datagram.first_mut() {
                    *byte = first;
                }
                sent += socket.send_to(&datagram, stage.address()).unwrap();
            }
            for len in [40, DATAGRAM_MIN - 1, DATAGRAM_MIN, hello.len()] {
                sent += socket.send_to(&hello[..len.min(hello.len())], stage.address()).unwrap();
            }
            let mut long = hello.clone();
            long.resize(HELLO_LEN_MAX + 1, 0);
            sent += socket.send_to(&long, stage.address()).unwrap();
        }
        served.join().unwrap();
    });
    // A random first HELLO byte may name another version: that is told, in less than was sent.
    let heard = answers(&socket);
    assert!(heard.iter().all(|answer| kind(answer) == Kind::Versions), "{}", heard.len());
    assert!(heard.iter().map(Vec::len).sum::<usize>() <= sent);
    stage.bounded(NOTHING);
}

#[test]
fn another_version_is_told_in_fewer_bytes() {
    let stage = Stage::up("versions");
    let socket = socket(&stage.hostile(), QUIET);
    for version in [0, 2, 7] {
        let mut hello = forged_hello(4);
        hello[0] = hello[0] & !7 | version;
        socket.send_to(&hello, stage.address()).unwrap();
        let heard = answers(&socket);
        assert_eq!(heard.len(), 1, "version {version}");
        assert!(kind(&heard[0]) == Kind::Versions && heard[0].len() < hello.len());
    }
}

/// The ticket of a connection that stands, or of a handshake that is half open, admits nobody else; neither does one with a wrong secret.
#[test]
fn a_ticket_admits_one_connection_from_one_address() {
    let stage = Stage::up("replay");
    let client = stage.client();
    let pass = Pass::of(&stage.download(&client), stage.address(), Direction::OpenerReceives);
    let hello = pass.opener(9, Vec::new()).hello().to_vec();
    let (mine, other) = (socket(&stage.hostile(), QUIET), socket(&stage.hostile(), QUIET));
    mine.send_to(&hello, stage.address()).unwrap();
    let reply = answers(&mine);
    assert!(reply.len() == 1 && kind(&reply[0]) == Kind::Reply && reply[0].len() <= hello.len());
    // The same from another address, another with the same ticket: dropped unread while the first is half open.
    other.send_to(&hello, stage.address()).unwrap();
    other.send_to(pass.opener(10, Vec::new()).hello(), stage.address()).unwrap();
    assert_eq!(answers(&other).len(), 0);
    // The same from the same address is answered as before, byte for byte.
    mine.send_to(&hello, stage.address()).unwrap();
    assert_eq!(answers(&mine), reply);
    // Used up: a replay finds nothing.
    let pass = Pass::of(&stage.download(&client), stage.address(), Direction::OpenerReceives);
    let hello = pass.opener(7, Vec::new()).hello().to_vec();
    let mut peer = Peer::connect(&stage.hostile(), &pass, &[]);
    peer.until(QUIET, |_| false);
    mine.send_to(&hello, stage.address()).unwrap();
    other.send_to(&hello, stage.address()).unwrap();
    assert_eq!((answers(&mine).len(), answers(&other).len()), (0, 0));
    // For the other direction, the ticket does not open.
    let answer = stage.download(&client);
    let wrong = Pass::of(&answer, stage.address(), Direction::OpenerSends);
    mine.send_to(wrong.opener(11, Vec::new()).hello(), stage.address()).unwrap();
    assert_eq!(answers(&mine).len(), 0);
    stage.withstood(Allowance { lines: 20, ..NOTHING });
}

/// Whoever captures packets of a connection and sends them again, from wherever, or changes a bit of them, changes nothing.
#[test]
fn replayed_and_changed_packets_are_dropped() {
    let stage = Stage::up("packets");
    let client = stage.client();
    let pass = Pass::of(&stage.download(&client), stage.address(), Direction::OpenerReceives);
    let mut peer = Peer::connect(&stage.hostile(), &pass, &[open_download()]);
    let stranger = socket(&stage.hostile(), QUIET);
    stage.count_anew();
    let ping = peer.sealed(&[1]);
    for _ in 0..2_000 {
        stranger.send_to(&ping, stage.address()).unwrap();
    }
    for bit in 0..ping.len() * 8 {
        let mut changed = peer.sealed(&[1]);
        changed[bit / 8] ^= 1 << (bit % 8);
        stranger.send_to(&changed, stage.address()).unwrap();
    }
    // A packet that opens and is the newest may come from a new address: one challenge goes there, at most three times its bytes.
    let heard: usize = answers(&stranger).iter().map(Vec::len).sum();
    assert!(heard <= 3 * ping.len() * 2, "{heard} bytes for a replay");
    peer.send(&[xfer_proto::wire::Frame::Ping]);
    assert!(peer.until(QUIET * 4, |peer| !peer.messages.is_empty()), "the connection stands");
    stage.withstood(NOTHING);
}

/// A raw socket that writes its own IP headers, and the wire's answer to a flood of HELLOs from addresses that are not its own.
pub(crate) fn flood(stage: &Stage, hellos: &[Vec<u8>], stop: &AtomicBool) -> u64 {
    let raw = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IP_WITH_HEADER))).unwrap();
    let socket = stage.hostile().enter(raw).unwrap();
    let to = socket2::SockAddr::from(stage.address());
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        for hello in hellos {
            let source = Ipv4Addr::new(10, 77, 1, 50 + (sent % 200) as u8);
            let packet = udp_packet((source, 1_024 + (sent % 60_000) as u16), stage.address(), hello);
            // A full queue loses a packet: it is a flood.
            sent += u64::from(socket.send_to(&packet, &to).is_ok());
        }
    }
    sent
}

fn udp_packet(from: (Ipv4Addr, u16), to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let SocketAddr::V4(to) = to else { panic!("an IPv4 address") };
    let len = (28 + payload.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&len.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend_from_slice(&from.0.octets());
    packet.extend_from_slice(&to.ip().octets());
    packet.extend_from_slice(&from.1.to_be_bytes());
    packet.extend_from_slice(&to.port().to_be_bytes());
    packet.extend_from_slice(&(len - 20).to_be_bytes());
    // UDP over IPv4 may go without a checksum; the kernel writes that of the IP header.
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(payload);
    packet
}

/// H4: a handshake flood with spoofed sources takes at most 16 MiB, gets fewer bytes than it sends, and a real client connects within a second.
#[test]
fn a_spoofed_handshake_flood_keeps_nobody_out() {
    let stage = Stage::up("flood");
    let client = stage.client();
    let mut hellos: Vec<Vec<u8>> = (0..40).map(forged_hello).collect();
    // One of them has a ticket, so that its handshake may half open from an address that is not there.
    let pass = Pass::of(&stage.download(&client), stage.address(), Direction::OpenerReceives);
    hellos.push(pass.opener(1, Vec::new()).hello().to_vec());
    let stop = AtomicBool::new(false);
    let from = stage.carried();
    let started = Instant::now();
    let sent = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&stage, &hellos, &stop));
        while started.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let to = stage.carried();
        let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stage.serves_in_time()));
        stop.store(true, Ordering::Relaxed);
        let sent = flooding.join().unwrap();
        println!("{sent} HELLOs in {:?}; {:?} to {:?} bytes sent and received", started.elapsed(), from, to);
        assert!(to.0 - from.0 <= to.1 - from.1, "more went out than came in");
        assert!(to.0 - from.0 < 100_000, "strangers were answered");
        served.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sent
    });
    assert!(sent > 5_000, "{sent} are no flood");
    stage.bounded(NOTHING);
}

/// With half of the half-open table taken, an address has to prove itself: by a cookie that is good for it alone.
#[test]
fn a_crowded_table_asks_for_a_cookie_of_the_address() {
    let stage = Stage::with("cookies", &["--max-transfers-per-client", "192"]);
    let client = stage.client();
    let half = xfer_engine::limits::HALF_OPEN / 2;
    let passes: Vec<Pass> = (0..half + 1)
        .map(|_| Pass::of(&stage.download(&client), stage.address(), Direction::OpenerReceives))
        .collect();
    let (mine, other) = (socket(&stage.hostile(), QUIET), socket(&stage.hostile(), QUIET));
    let mut buffer = vec![0; 65_536];
    for pass in &passes[..half] {
        let opener = pass.opener(5, Vec::new());
        mine.send_to(opener.hello(), stage.address()).unwrap();
        let len = mine.recv(&mut buffer).expect("an answer");
        assert!(len <= opener.hello().len());
    }
    let mut opener = passes[half].opener(6, Vec::new());
    mine.send_to(opener.hello(), stage.address()).unwrap();
    let asked = answers(&mine);
    assert_eq!(asked.iter().map(|answer| kind(answer)).collect::<Vec<_>>(), [Kind::Cookie]);
    opener.handle_cookie(&asked[0]).unwrap();
    // From another address the cookie is worth nothing: another is asked for.
    other.send_to(opener.hello(), stage.address()).unwrap();
    assert_eq!(answers(&other).iter().map(|answer| kind(answer)).collect::<Vec<_>>(), [Kind::Cookie]);
    mine.send_to(opener.hello(), stage.address()).unwrap();
    assert_eq!(answers(&mine).iter().map(|answer| kind(answer)).collect::<Vec<_>>(), [Kind::Reply]);
    stage.serves_in_time();
    // Each ticket of a client with the token has a thread and buffers of its own: bounded by TRANSFERS_RUNNING_MAX.
    stage.bounded(Allowance { mib: 16 + half as u64, descriptors: half, lines: 2 * half });
}
