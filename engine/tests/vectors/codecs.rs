//! Stored bytes of chunks and the plain bytes that they decode to, and stored bytes that reject their chunk.
//!
//! Compressed bytes stand here as they are: what a compressor makes is no part of the protocol, what it means is.

use crate::json::{Json, hex, list, map};
use xfer_engine::codec::{Extent, decode, encode_extents};
use xfer_proto::wire::Codec;

/// An LZ4 block of [`bottles`].
const LZ4: &str = "ff113020626f74746c6573206f662062656572206f6e207468652077616c6c2c20311f000b1f321f000b1f331f000b1\
    f341f000b1f351f000b1f361f000b1f371f000b1f381f000b1f3917010c0f37010d1f3120000c1f3220000c1f3320000c1f3\
    420000c1f3520000c1f3620000c1f3720000c1f3820000c0f40010750616c6c2c20";
/// A Zstandard frame of [`bottles`] that says its content size.
const ZSTD: &str = "28b52ffd60760135030034033020626f74746c6573206f662062656572206f6e207468652077616c6c2c20313233343\
    5363738393130313131313131313131130043db88d03617b40d03da467eb6399f6d58cf36c2b3cded6cc33696d88028403c2\
    032200a100f880c8802c40b21aa27";
/// One without content size, with a checksum.
const ZSTD_CHECKED: &str = "28b52ffd046865020022c30b12a0ed002d61710099ffc56b7a62f1d5ffac01091d53c81099091d53c81079b0abe2b5f\
    51dffa9ae333ed4ede6f51013a810f8faff06b033ad0110feff8d6f56e920d7f17b3bc4b429df777f5e";

/// Text that shrinks: of twenty verses the beginning.
fn bottles() -> Vec<u8> {
    (0..20).flat_map(|n| format!("{n} bottles of beer on the wall, ").into_bytes()).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("a hex digit") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Stored bytes with what they decode to; without plain bytes when they reject their chunk.
fn vector(what: &str, codec: Codec, stored: &[u8], plain_len: usize) -> Json {
    let mut plain = vec![0xee; plain_len];
    let good = decode(codec, stored, &mut plain).is_ok();
    map([
        ("what", what.into()),
        ("codec", (codec as u8).into()),
        ("stored", hex(stored)),
        ("plain_length", (plain_len as u32).into()),
        ("plain", list(good.then(|| hex(plain)))),
    ])
}

/// A table of extents and the bytes that follow it.
fn extents(table: &[(u32, u32)], data: &[u8]) -> Vec<u8> {
    let mut stored = (table.len() as u32).to_le_bytes().to_vec();
    for (offset, len) in table {
        stored.extend(offset.to_le_bytes());
        stored.extend(len.to_le_bytes());
    }
    stored.extend_from_slice(data);
    stored
}

/// What the engine stores of a chunk with this data, all else being holes.
fn sparse(what: &str, plain_len: usize, data: &[(u32, u32)]) -> Json {
    let mut plain = vec![0; plain_len];
    let mut next = 1..=u8::MAX;
    for (offset, len) in data {
        plain[*offset as usize..][..*len as usize].fill_with(|| next.next().expect("little data"));
    }
    let found: Vec<Extent> = data.iter().map(|&(offset, len)| Extent { offset, len }).collect();
    let mut stored = Vec::new();
    assert!(encode_extents(&plain, &found, &mut stored), "{what}");
    vector(what, Codec::Extents, &stored, plain_len)
}

fn good_extents() -> Vec<Json> {
    vec![
        sparse("one hole", 1_000, &[]),
        sparse("one hole of one byte", 1, &[]),
        sparse("data at the start", 100, &[(0, 5)]),
        sparse("data at the end", 100, &[(95, 5)]),
        sparse("data that touches data", 200, &[(10, 20), (30, 1), (150, 7)]),
    ]
}

fn bad_extents() -> Vec<Json> {
    let bad =
        |what, table: &[(u32, u32)], data: &[u8]| vector(what, Codec::Extents, &extents(table, data), 100);
    vec![
        bad("no extent, but their count", &[], b""),
        bad("an empty extent", &[(5, 0)], b""),
        bad("extents that overlap", &[(5, 5), (9, 1)], b"abcdef"),
        bad("extents that descend", &[(50, 2), (5, 2)], b"abcd"),
        bad("an extent past the end", &[(95, 6)], b"abcdef"),
        bad("an extent past all numbers", &[(u32::MAX, 1)], b"a"),
        bad("fewer bytes than the extents", &[(5, 5)], b"abcd"),
        bad("more bytes than the extents", &[(5, 5)], b"abcdef"),
        vector("part of a count", Codec::Extents, &[1, 0, 0], 100),
        vector("part of a table", Codec::Extents, &[1, 0, 0, 0, 5], 100),
        vector("as long as the plain bytes", Codec::Extents, &extents(&[(0, 4)], b"abcd"), 16),
    ]
}

fn compressed() -> Vec<Json> {
    let len = bottles().len();
    let mut all = Vec::new();
    for (name, codec, text) in
        [("LZ4", Codec::Lz4, LZ4), ("Zstandard", Codec::Zstd, ZSTD), ("Zstandard", Codec::Zstd, ZSTD_CHECKED)]
    {
        let stored = unhex(text);
        let mut plain = vec![0; len];
        assert_eq!(decode(codec, &stored, &mut plain), Ok(()));
        assert_eq!(plain, bottles());
        all.push(vector(name, codec, &stored, len));
        all.push(vector("fewer plain bytes than expected", codec, &stored, len + 1));
        all.push(vector("more plain bytes than expected", codec, &stored, len - 1));
        all.push(vector("cut", codec, &stored[..stored.len() - 1], len));
    }
    let mut twice = unhex(ZSTD);
    twice.extend_from_within(..);
    all.push(vector("two frames", Codec::Zstd, &twice, 2 * len));
    all.push(vector("an LZ4 run", Codec::Lz4, &unhex("1f610100ff00506263646566"), 280));
    all.push(vector("an LZ4 match before the start", Codec::Lz4, &unhex("1261020050626364656667"), 12));
    all
}

pub(crate) fn all() -> Json {
    let mut all = vec![
        vector("plain", Codec::Plain, b"plain bytes", 11),
        vector("plain, too short", Codec::Plain, b"plain byte", 11),
        vector("plain, too long", Codec::Plain, b"plain bytes.", 11),
    ];
    all.extend(good_extents());
    all.extend(bad_extents());
    all.extend(compressed());
    Json::List(all)
}
