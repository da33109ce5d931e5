//! Golden vectors: everything on the wire from fixed inputs, compared byte for byte with the committed file, which lies
//! with its reader, the Python reference. Here and not with the protocol, because digests and codecs are the engine's.
//!
//! `XFER_REGENERATE_VECTORS=1 cargo test -p xfer-engine --test vectors` writes the file anew; a change of it is a change
//! of the protocol.

mod codecs;
mod frames;
mod json;
mod messages;
mod spaces;

use json::{Json, hex, map};
use std::net::SocketAddr;
use xfer_engine::crypto::AwsCrypto;
use xfer_proto::crypto::{Crypto, Direction, Suite, Ticket, epoch, packet_key};
use xfer_proto::handshake::{Acceptor, HelloOutcome, Opener, Payload};
use xfer_proto::time::Time;
use xfer_proto::wire::{ConnectionId, HEADER_LEN, Header, Kind, PathId, TAG_LEN, TransferId};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/tests/vectors/v1.json");
const SUITES: [Suite; 3] = [Suite::Aes128Gcm, Suite::ChaCha20Poly1305, Suite::Plain];
const EDGE: u64 = 1 << 22;

/// `n` bytes that count up from `first`.
fn bytes<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|i| first.wrapping_add(i as u8))
}

fn tickets() -> Json {
    let ticket = |secret: [u8; 32]| {
        let id = Ticket::new(secret, Suite::Aes128Gcm, Direction::Both).id();
        map([("secret", hex(secret)), ("id", hex(id.0))])
    };
    Json::List([[0; 32], [0xff; 32], bytes(0)].map(ticket).into())
}

fn payload_fields(payload: &Payload) -> Json {
    map([
        ("versions", hex([1])),
        ("connection", payload.connection.0.into()),
        ("datagram_max", payload.datagram_max.into()),
        ("receive_buffer", payload.receive_buffer.into()),
        ("stream_credit", payload.stream_credit.into()),
        ("stream", hex(&payload.stream)),
    ])
}

/// One handshake from HELLO to secrets, with and without a cookie in the HELLO.
fn handshake(suite: Suite, direction: Direction, with_cookie: bool, stream_len: usize) -> Json {
    let ticket = Ticket::new(bytes(0x40), suite, direction);
    let (opener_ephemeral, acceptor_ephemeral) = (bytes(0x80), bytes(0xa0));
    let said = |connection, stream: &[u8]| Payload {
        connection: ConnectionId(connection),
        datagram_max: 8_952,
        receive_buffer: 4_194_304,
        stream_credit: 262_144,
        stream: stream.to_vec(),
    };
    let opener_payload = said(0x1122_3344, &vec![0x6f; stream_len]);
    let acceptor_payload = said(0x5566_7788, b"reply");
    let source = SocketAddr::from(([10, 77, 1, 1], 40_000));

    let mut opener = Opener::new(&ticket, opener_ephemeral, &opener_payload).expect("it fits");
    if with_cookie {
        let mut wary = Acceptor::new(0, [0x33; 32]);
        wary.admit(ticket.clone(), Time::NEVER).expect("room");
        let outcome = wary.handle_hello(Time::default(), source, opener.hello(), acceptor_ephemeral);
        let HelloOutcome::Cookie(cookie) = outcome else { panic!("no COOKIE") };
        opener.handle_cookie(&cookie).expect("the first cookie");
    }
    let mut acceptor = Acceptor::new(4, [0x33; 32]);
    acceptor.admit(ticket.clone(), Time::NEVER).expect("room");
    let outcome = acceptor.handle_hello(Time::default(), source, opener.hello(), acceptor_ephemeral);
    let HelloOutcome::Fresh(fresh) = outcome else { panic!("{outcome:?}") };
    assert_eq!(fresh.payload, opener_payload);
    let secrets = fresh.secrets;
    let reply = acceptor.reply(fresh.half_open, &acceptor_payload).expect("it fits");
    let established = opener.handle_reply(reply).expect("the genuine reply");
    assert_eq!((&established.secrets, &established.payload), (&secrets, &acceptor_payload));
    map([
        ("ticket_secret", hex(ticket.secret())),
        ("ticket_id", hex(ticket.id().0)),
        ("suite", suite.number().into()),
        ("direction", direction.number().into()),
        ("opener_ephemeral", hex(opener_ephemeral)),
        ("acceptor_ephemeral", hex(acceptor_ephemeral)),
        ("opener_payload", payload_fields(&opener_payload)),
        ("acceptor_payload", payload_fields(&acceptor_payload)),
        ("hello", hex(opener.hello())),
        ("reply", hex(reply)),
        ("s_open", hex(secrets.open)),
        ("s_accept", hex(secrets.accept)),
    ])
}

fn handshakes() -> Json {
    Json::List(vec![
        handshake(Suite::Aes128Gcm, Direction::Both, false, 0),
        handshake(Suite::ChaCha20Poly1305, Direction::OpenerSends, true, 12),
        handshake(Suite::Plain, Direction::OpenerReceives, false, 1_311),
    ])
}

/// Its keys are the bytes that were derived.
struct Derived;

impl Crypto for Derived {
    type Key = (Vec<u8>, [u8; 12]);

    fn key(&self, _: Suite, key: &[u8], iv: [u8; 12]) -> Self::Key {
        (key.to_vec(), iv)
    }

    fn seal(&self, _: &Self::Key, _: u64, _: &[u8], _: &[u8], _: &mut [u8]) {
        unreachable!("derives only")
    }

    fn open(&self, _: &Self::Key, _: u64, _: &[u8], _: &[u8], _: &mut [u8]) -> bool {
        unreachable!("derives only")
    }
}

fn keys() -> Json {
    let mut all = Vec::new();
    for suite in SUITES {
        for secret in [bytes::<32>(0x10), bytes(0x90)] {
            for (path, epoch) in [(0, 0), (0, 1), (1, 0), (4_095, (1 << 40) - 1)] {
                let (key, iv) = packet_key(&Derived, &secret, suite, PathId(path), epoch);
                all.push(map([
                    ("secret", hex(secret)),
                    ("suite", suite.number().into()),
                    ("path", path.into()),
                    ("epoch", epoch.into()),
                    ("key", hex(key)),
                    ("iv", hex(iv)),
                ]));
            }
        }
    }
    Json::List(all)
}

fn packet(suite: Suite, header: &Header, plain: &[u8]) -> Json {
    let secret = bytes(0x20);
    let header = Header { length: plain.len() as u16, ..*header };
    let head = header.encode();
    let mut datagram = head.to_vec();
    if header.kind == Kind::Data && !suite.seals_data() {
        datagram.extend_from_slice(plain);
    } else {
        let key = packet_key(&AwsCrypto, &secret, suite, header.path, epoch(header.number));
        datagram.resize(HEADER_LEN + plain.len() + TAG_LEN, 0);
        AwsCrypto.seal(&key, header.number, &head, plain, &mut datagram[HEADER_LEN..]);
        let mut opened = vec![0; plain.len()];
        assert!(AwsCrypto.open(&key, header.number, &head, &datagram[HEADER_LEN..], &mut opened));
        assert_eq!(opened, plain);
    }
    map([
        ("secret", hex(secret)),
        ("suite", suite.number().into()),
        ("type", (header.kind as u8).into()),
        ("ask", header.ask.into()),
        ("attempt", header.attempt.into()),
        ("path", header.path.0.into()),
        ("connection", header.connection.0.into()),
        ("number", header.number.into()),
        ("transfer", header.transfer.0.into()),
        ("stamp", header.stamp.into()),
        ("offset", header.offset.into()),
        ("plain", hex(plain)),
        ("datagram", hex(datagram)),
    ])
}

fn packets() -> Json {
    let mut all = Vec::new();
    for suite in SUITES {
        let control = Header {
            path: PathId(2),
            connection: ConnectionId(0x99aa_bbcc),
            stamp: 0xfedc_ba98,
            ..Header::new(Kind::Control)
        };
        all.push(packet(suite, &control, &[1]));
        all.push(packet(suite, &Header { number: EDGE, ..control }, &[1, 0, 0, 0]));
        let data = Header {
            kind: Kind::Data,
            ask: true,
            attempt: 5,
            number: EDGE - 1,
            transfer: TransferId(7),
            offset: 0x1234_5678_9ab0,
            ..control
        };
        all.push(packet(suite, &data, &bytes::<200>(0)));
        all.push(packet(
            suite,
            &Header { number: (1 << 62) - 1, offset: (1 << 48) - 16, ask: false, ..data },
            &bytes::<16>(3),
        ));
    }
    Json::List(all)
}

#[test]
fn vectors_are_what_was_committed() {
    let generated = Json::document(vec![
        ("version", 1.into()),
        ("tickets", tickets()),
        ("handshakes", handshakes()),
        ("keys", keys()),
        ("packets", packets()),
        ("frames", frames::all()),
        ("messages", messages::all()),
        ("spaces", spaces::all()),
        ("roots", spaces::roots()),
        ("codecs", codecs::all()),
    ]);
    if std::env::var_os("XFER_REGENERATE_VECTORS").is_some_and(|v| v == "1") {
        std::fs::write(FILE, &generated).expect("the vectors can be written");
    }
    let committed = std::fs::read_to_string(FILE).expect("the committed vectors can be read");
    for (line, (ours, theirs)) in generated.lines().zip(committed.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {}", line + 1);
    }
    assert_eq!(generated.len(), committed.len());
}
