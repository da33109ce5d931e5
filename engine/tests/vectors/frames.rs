//! One frame of each type, and the ACK in its shapes.

use crate::json::{Json, hex, list, map};
use std::ops::RangeInclusive;
use xfer_proto::wire::{
    Ack, CloseCode, ConnectionId, Frame, Frames, PathId, TransferId, Window, WindowWords, Writer,
    encode_ack_ranges,
};

fn encode(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = vec![0; frame.encoded_len()];
    frame.encode(&mut Writer::new(&mut out));
    out
}

/// Checks that the bytes decode, then lists them with what they say.
fn vector(name: &str, bytes: &[u8], fields: Json) -> Json {
    assert!(Frames::new(bytes).all(|frame| frame.is_ok()), "{name}");
    map([("frame", name.into()), ("bytes", hex(bytes)), ("fields", fields)])
}

fn ack(ranges: &[RangeInclusive<u64>]) -> Json {
    let mut bytes = vec![0; Ack::encoded_len(ranges.len())];
    let mut w = Writer::new(&mut bytes);
    Frame::encode_ack_head(&mut w, &Ack::head(PathId(3), 1_500, 0xdead_beef, 0x0102_0304, 7));
    encode_ack_ranges(&mut w, ranges.iter().cloned());
    let fields = map([
        ("path", 3.into()),
        ("delay_us", 1_500.into()),
        ("echo_stamp", 0xdead_beef_u32.into()),
        ("arrival_stamp", 0x0102_0304.into()),
        ("ce_count", 7.into()),
        ("ranges", list(ranges.iter().map(|r| list([*r.start(), *r.end()])))),
    ]);
    vector("ACK", &bytes, fields)
}

fn window(words: &[u64]) -> Json {
    let accepted = WindowWords::Memory(words);
    let window = Window { transfer: TransferId(1), pages: 2, base: 1_000, limit: 2_024, accepted };
    let fields = map([
        ("transfer", 1.into()),
        ("pages", 2.into()),
        ("base", 1_000.into()),
        ("limit", 2_024.into()),
        ("accepted", list(words.iter().copied())),
    ]);
    vector("WINDOW", &encode(&Frame::Window(window)), fields)
}

pub(crate) fn all() -> Json {
    let token = [1, 2, 3, 4, 5, 6, 7, 8];
    let connection = ConnectionId(0xa1b2_c3d4);
    let proof = || map([("token", hex(token)), ("connection", connection.0.into())]);
    let full: Vec<u64> = (0..16).map(|i| u64::MAX << i).collect();
    let many: Vec<_> = (0..64u64).rev().map(|i| 10 * i..=10 * i + 7).collect();
    let mut all = vec![
        vector("PADDING", &encode(&Frame::Padding(5)), map([("length", 5.into())])),
        vector("PING", &encode(&Frame::Ping), map([])),
        ack(&[0..=0]),
        ack(&[90..=100]),
        ack(&[
            (1 << 40) + 5..=(1 << 40) + 9,
            1 << 40..=(1 << 40) + 3,
            (1 << 40) - 70_000..=(1 << 40) - 65_536,
        ]),
        ack(&many),
        vector(
            "STREAM",
            &encode(&Frame::Stream { offset: 0x0001_0203_0405_0607, bytes: b"control" }),
            map([("offset", 0x0001_0203_0405_0607_u64.into()), ("data", hex(b"control"))]),
        ),
        vector("CREDIT", &encode(&Frame::Credit(262_144)), map([("end", 262_144.into())])),
        window(&[]),
        window(&[0x8000_0000_0000_0001]),
        window(&full),
        vector("PATH_CHALLENGE", &encode(&Frame::PathChallenge { token, connection }), proof()),
        vector("PATH_RESPONSE", &encode(&Frame::PathResponse { token, connection }), proof()),
        vector("PATH_ABANDON", &encode(&Frame::PathAbandon(PathId(4_095))), map([("path", 4_095.into())])),
    ];
    for (code, text) in [
        (CloseCode::Done, ""),
        (CloseCode::AckUnsent, "packet 7 was never sent"),
        (CloseCode::Internal, "gr\u{fc}\u{df}e"),
    ] {
        let fields = map([("code", code.number().into()), ("text", text.into())]);
        all.push(vector("CLOSE", &encode(&Frame::Close { code, text }), fields));
    }
    Json::List(all)
}
