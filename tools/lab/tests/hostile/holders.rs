//! Peers with a ticket, under the keys of their connection, who break what holds between two ends or keep to none of it.

use std::time::{Duration, Instant};

use xfer_client::pb;
use xfer_engine::Class;
use xfer_proto::crypto::Direction;
use xfer_proto::limits::{ACK_RANGES_MAX, DATAGRAM_MIN, MESSAGE_LEN_MAX, PATHS_MAX, STREAM_WINDOW};
use xfer_proto::wire::{
    CloseCode, ConnectionId, Decision, Decisions, Done, DoneStatus, ErrorBody, Frame, Message, Open, Role,
    Window, WindowWords,
};

use crate::peer::{Pass, Peer, TRANSFER, socket};
use crate::stage::{Allowance, Stage};
use crate::strangers::open_download;

/// What one connection may take besides the chunk buffers of its transfer.
const CONNECTION: Allowance = Allowance { mib: 24, descriptors: 8, lines: 16 };
const SOON: Duration = Duration::from_secs(2);

fn open_upload() -> Message {
    Message::Open(Open { transfer: TRANSFER, role: Role::Sender, chunk_log2: 20, digests: true })
}

/// A connection that downloads `big`: its page has come and was decided.
fn downloading(stage: &Stage, client: &xfer_client::Client) -> Peer {
    let pass = Pass::of(&stage.download(client), stage.address(), Direction::OpenerReceives);
    let mut peer = Peer::connect(&stage.hostile(), &pass, &[open_download()]);
    let came = |peer: &Peer| peer.messages.iter().any(|message| matches!(message, Message::Page(_)));
    assert!(peer.until(SOON, came), "the page comes: {:?}", peer.messages);
    peer.acknowledge();
    peer.say(&Message::Decision(Decisions {
        transfer: TRANSFER,
        page: 0,
        first_entry: 0,
        decisions: vec![Decision::Need],
    }));
    peer
}

/// A connection that uploads to `name`.
fn uploading(stage: &Stage, client: &xfer_client::Client, name: &str) -> Peer {
    let pass = Pass::of(&stage.upload(client, name), stage.address(), Direction::OpenerSends);
    let mut peer = Peer::connect(&stage.hostile(), &pass, &[open_upload()]);
    let came = |peer: &Peer| peer.messages.iter().any(|message| matches!(message, Message::Accept(_)));
    assert!(peer.until(SOON, came), "it is accepted: {:?}", peer.messages);
    peer
}

fn grant(peer: &mut Peer, base: u32, limit: u32) {
    let accepted = WindowWords::Memory(&[]);
    peer.send(&[Frame::Window(Window { transfer: TRANSFER, pages: 4, base, limit, accepted })]);
}

/// An optimistic ACK, which names what was not sent, ends the connection and names the reason at both ends.
#[test]
fn an_ack_of_what_was_not_sent_ends_the_connection() {
    let stage = Stage::up("optimist");
    let client = stage.client();
    for ahead in [1, 1_000, u64::from(u32::MAX), 1 << 61] {
        let mut peer = downloading(&stage, &client);
        grant(&mut peer, 0, 8);
        peer.until(SOON, |peer| peer.seen.len() > 20);
        let largest = peer.seen.last().unwrap() + 100_000 + ahead;
        peer.send_ack(&[largest..=largest]);
        assert_eq!(peer.until_closed().0, CloseCode::AckUnsent, "{ahead} ahead");
    }
    stage.until_logged(&["transfer ended", "AckUnsent", "an ACK names a packet that was not sent"]);
    // What was read for those that are closing is still held.
    stage.withstood(Allowance { mib: 24 + 4 * 8, ..CONNECTION });
}

/// Ranges of one number each, as many as an ACK holds, thousands of times over.
#[test]
fn a_flood_of_acks_with_gaps_takes_nothing() {
    let stage = Stage::up("gaps");
    let client = stage.client();
    let mut peer = downloading(&stage, &client);
    grant(&mut peer, 0, 8);
    let deadline = Instant::now() + SOON * 2;
    while peer.seen.len() < 4 * ACK_RANGES_MAX && Instant::now() < deadline {
        peer.until(Duration::from_millis(5), |_| false);
        peer.acknowledge();
    }
    stage.count_anew();
    let every_second: Vec<_> = peer.seen.iter().rev().step_by(2).take(ACK_RANGES_MAX).copied().collect();
    assert_eq!(every_second.len(), ACK_RANGES_MAX);
    let ranges: Vec<_> = every_second.into_iter().map(|number| number..=number).collect();
    for _ in 0..20_000 {
        peer.send_ack(&ranges);
    }
    assert_eq!(peer.closed, None);
    stage.withstood(CONNECTION);
}

/// One message says thousands of times that an object ended: the second time breaks the protocol, and nothing else breaks.
#[test]
fn an_object_ends_once() {
    let stage = Stage::up("ends");
    let client = stage.client();
    let mut peer = downloading(&stage, &client);
    let objects = vec![(0, DoneStatus::Copied); MESSAGE_LEN_MAX / 5 - 2];
    peer.say(&Message::Done(Done { transfer: TRANSFER, objects }));
    assert_eq!(peer.until_closed().0, CloseCode::Cancelled);
    stage.until_logged(&[
        "transfer ended",
        "the peer broke the protocol",
        "an object that is not open ended",
    ]);
    assert!(!stage.log().contains("a worker stopped"), "{}", stage.log());
    stage.withstood(CONNECTION);
}

/// Withdrawals of objects that nobody listed, faster than storage deals with them: they wait in the stream's credit.
#[test]
fn withdrawals_wait_for_storage() {
    let stage = Stage::up("withdraw");
    let client = stage.client();
    let mut peer = uploading(&stage, &client, "withdrawn");
    let error =
        || ErrorBody { class: 1, side: 1, errno: 0, offset: None, name: Vec::new(), text: "no".into() };
    let mut bytes = Vec::new();
    for object in 0..7_000 {
        Message::Withdraw { transfer: TRANSFER, object, error: error() }.encode(&mut bytes);
    }
    for _ in 0..3 {
        peer.say_bytes(&bytes);
    }
    // Of what was never listed, as many: each is a line of log, up to the bound of one transfer.
    let mut bytes = Vec::new();
    for _ in 0..7_000 {
        Message::Withdraw { transfer: TRANSFER, object: u32::MAX, error: error() }.encode(&mut bytes);
    }
    for _ in 0..2 {
        peer.say_bytes(&bytes);
    }
    assert_eq!(peer.closed, None);
    stage.until_logged(&["no more is logged of this transfer"]);
    assert!(!stage.log().contains("a worker stopped"), "{}", stage.log());
    stage.withstood(Allowance { lines: 10_020, ..CONNECTION });
}

/// What the control stream may not hold, and the code that each gets.
#[test]
fn a_broken_control_stream_is_told_by_its_code() {
    let stage = Stage::up("stream");
    let client = stage.client();
    let mut again = Vec::new();
    open_upload().encode(&mut again);
    let mut receivers = Vec::new();
    Message::Reject { transfer: TRANSFER, chunk: 0, attempt: 0 }.encode(&mut receivers);
    let cases: [(&str, &[u8], CloseCode); 5] = [
        ("unknown", &[99, 0, 0, 0], CloseCode::Protocol),
        ("endless", &[3, 0xff, 0xff, 0xff], CloseCode::Protocol),
        ("cut", &[8, 1, 0, 0, 0], CloseCode::Protocol),
        ("again", &again, CloseCode::Cancelled),
        ("role", &receivers, CloseCode::Cancelled),
    ];
    for (name, bytes, code) in cases {
        let mut peer = uploading(&stage, &client, name);
        peer.say_bytes(bytes);
        assert_eq!(peer.until_closed().0, code, "{name}");
    }
    // Beyond the credit, and a frame that is none.
    let mut peer = uploading(&stage, &client, "credit");
    peer.send(&[Frame::Stream { offset: STREAM_WINDOW * 2, bytes: b"x" }]);
    assert_eq!(peer.until_closed().0, CloseCode::Flow);
    let mut peer = uploading(&stage, &client, "frame");
    peer.send_payload(&[200, 1, 2]);
    assert_eq!(peer.until_closed().0, CloseCode::Protocol);
    stage.until_logged(&["transfer ended", "the peer opened a transfer that its ticket does not permit"]);
    stage.withstood(Allowance { lines: 40, ..CONNECTION });
}

/// Each packet from another address: none gets more than three times what came from it, and the connection stays where it was.
#[test]
fn moving_with_every_packet_moves_nothing() {
    let stage = Stage::up("mover");
    let client = stage.client();
    let mut peer = downloading(&stage, &client);
    let mut sent = 0;
    let sockets: Vec<_> = (0..200).map(|_| socket(&stage.hostile(), Duration::from_millis(1))).collect();
    for socket in &sockets {
        let ping = peer.sealed(&[1]);
        sent += socket.send_to(&ping, stage.address()).unwrap();
    }
    let deadline = Instant::now() + Duration::from_millis(500);
    let mut heard = 0;
    let mut buffer = [0; 2_048];
    while Instant::now() < deadline {
        heard += sockets.iter().filter_map(|socket| socket.recv(&mut buffer).ok()).sum::<usize>();
    }
    assert!(heard <= 3 * sent, "{heard} bytes for {sent}");
    let last = peer.send(&[Frame::Ping]);
    peer.until(SOON, |peer| peer.seen.len() > 1_000_000);
    assert!(peer.closed.is_none() && last > 0);
    stage.withstood(CONNECTION);
}

/// A path for each id that there is: no more are known at once than may be, and each gets three times its bytes at most.
#[test]
fn paths_are_bounded() {
    let stage = Stage::up("paths");
    let client = stage.client();
    let peer = downloading(&stage, &client);
    let other = socket(&stage.hostile(), Duration::from_millis(500));
    let challenge = [Frame::PathChallenge { token: [7; 8], connection: ConnectionId(9) }];
    let mut sent = 0;
    for path in 1..2_000 {
        let datagram = peer.first_of(path, &challenge, DATAGRAM_MIN);
        sent += other.send_to(&datagram, stage.address()).unwrap();
    }
    let (mut paths, mut heard) = (std::collections::BTreeSet::new(), 0);
    let mut buffer = [0; 2_048];
    while let Ok(len) = other.recv(&mut buffer) {
        heard += len;
        paths.insert(xfer_proto::wire::Header::decode(&buffer[..len]).unwrap().path);
    }
    assert!(!paths.is_empty() && paths.len() < PATHS_MAX, "{} paths", paths.len());
    assert!(heard <= 3 * sent && heard <= PATHS_MAX * 3 * DATAGRAM_MIN, "{heard} bytes for {sent}");
    stage.withstood(CONNECTION);
}

/// Peers that take part in nothing: one never acknowledges, one never grants, one grants and revokes, one is silent. All at once; those that
/// speak are borne with, the silent one is lost after its time, and the log says so.
#[test]
fn peers_that_withhold_take_no_more_than_their_place() {
    let stage = Stage::up("withhold");
    let client = stage.client();
    let mut quiet = downloading(&stage, &client);
    let mut unheard = downloading(&stage, &client);
    let mut stingy = downloading(&stage, &client);
    let mut fickle = downloading(&stage, &client);
    grant(&mut unheard, 0, 8);
    grant(&mut quiet, 0, 8);
    let heard = unheard.heard;
    let started = Instant::now();
    let mut served = false;
    let over = |peer: &Peer| peer.closed.is_some();
    while started.elapsed() < Duration::from_millis(10_500) {
        for peer in [&mut unheard, &mut stingy, &mut fickle] {
            peer.send(&[Frame::Ping]);
            assert!(!peer.until(Duration::from_millis(30), over), "{:?}", peer.closed);
        }
        stingy.acknowledge();
        fickle.acknowledge();
        let limit = 1 + (fickle.number % 4) as u32;
        grant(&mut fickle, 0, limit);
        grant(&mut fickle, 0, 0);
        if !served && started.elapsed() > Duration::from_secs(2) {
            stage.serves_in_time();
            served = true;
        }
    }
    let unacknowledged = unheard.heard - heard;
    println!("{unacknowledged} bytes were sent to the peer that acknowledges nothing");
    assert!(unacknowledged < 4 << 20, "{unacknowledged} bytes");
    stage.until_logged(&["transfer ended", "connection lost", "Idle: the peer was silent"]);
    assert!(!quiet.until(Duration::from_millis(1), over));
    // Each has the chunk buffers of its grant.
    stage.bounded(Allowance { mib: 24 + 4 * 8, lines: 40, ..CONNECTION });
}

/// One host may not take every place that a node has for transfers; the others are served.
#[test]
fn one_host_does_not_take_all_places() {
    let stage = Stage::up("places");
    let client = stage.client();
    let mut given = 0;
    let error = loop {
        let request = crate::stage::upload_request(&format!("place{given}"));
        match client.create_transfer(request) {
            Ok(pb::CreateTransferResponse { .. }) => given += 1,
            Err(error) => break error,
        }
        assert!(given <= 256, "there is no end");
    };
    println!("{given} tickets, then: {error}");
    assert_eq!(error.class, Class::Temporary, "{error}");
    stage.serves_in_time();
    stage.bounded(Allowance { mib: 16 + given, descriptors: 2 * given as usize, lines: 2 * given as usize });
}

/// A peer that pings and does nothing else is alive, but its transfer ends when nothing of it moved for as long as the operator lets it.
#[test]
fn a_peer_that_only_pings_is_ended() {
    let stage = Stage::with("pings", &["--max-stall", "2s"]);
    let client = stage.client();
    let mut peer = downloading(&stage, &client);
    let started = Instant::now();
    let closed = |peer: &Peer| peer.closed.is_some();
    while !peer.until(Duration::from_millis(50), closed) {
        assert!(started.elapsed() < Duration::from_secs(8), "it stands");
        peer.send(&[Frame::Ping]);
        peer.acknowledge();
    }
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
    let (code, text) = peer.until_closed();
    assert_eq!(code, CloseCode::Shutdown);
    assert!(text.contains("nothing of the transfer moved for too long"), "{text}");
    stage.until_logged(&["transfer ended", "nothing of the transfer moved for too long"]);
    stage.withstood(CONNECTION);
}
