//! Stored bytes of a chunk: each codec's decoder against a second one, and what was encoded against what comes back.

use std::io::Read as _;
use xfer_engine::codec::{Compressor, Extent, Extents, decode, encode_extents};
use xfer_proto::limits::CHUNK_EXTENTS_MAX;
use xfer_proto::wire::Codec;

/// Plain bytes of one input.
const PLAIN_MAX: usize = 1 << 17;
/// Bytes of a match that an LZ4 token tells at least.
const LZ4_MATCH_MIN: usize = 4;

/// The first byte names the codec, the next two the plain length; the rest is stored bytes.
pub(crate) fn run(input: &[u8]) {
    let Some((&[kind, low, high], stored)) = input.split_first_chunk::<3>() else { return };
    let len = (usize::from(u16::from_le_bytes([low, high])) << (kind >> 6)).min(PLAIN_MAX);
    match kind % 5 {
        0 => check(Codec::Plain, stored, len, |stored, _| Some(stored.to_vec())),
        1 => check(Codec::Lz4, stored, len, lz4),
        2 => check(Codec::Zstd, stored, len, zstd),
        3 => check(Codec::Extents, stored, len, extents),
        _ => returns(stored),
    }
}

/// What decodes is what the second decoder makes of it, and longer than its stored bytes.
fn check(codec: Codec, stored: &[u8], len: usize, second: impl Fn(&[u8], usize) -> Option<Vec<u8>>) {
    let mut plain = vec![0xee; len];
    if decode(codec, stored, &mut plain).is_err() {
        return;
    }
    assert!(if codec == Codec::Plain { stored.len() == len } else { stored.len() < len });
    // The library's streaming decoder refuses windows that its other one can do without.
    let same = second(stored, len).map_or(codec == Codec::Zstd, |other| other == plain);
    assert!(same, "two decoders differ");
}

/// An LZ4 block by the words of its format description.
fn lz4(stored: &[u8], len: usize) -> Option<Vec<u8>> {
    let (mut out, mut at) = (Vec::new(), 0);
    let more = |at: &mut usize, nibble: u8| -> Option<usize> {
        let mut count = usize::from(nibble);
        let mut last = if nibble == 15 { 255 } else { 0 };
        while last == 255 {
            last = *stored.get(*at)?;
            *at += 1;
            count += usize::from(last);
        }
        Some(count)
    };
    while at < stored.len() {
        let token = stored[at];
        at += 1;
        let literals = more(&mut at, token >> 4)?;
        out.extend_from_slice(stored.get(at..at + literals)?);
        at += literals;
        if at == stored.len() {
            break;
        }
        let back = usize::from(u16::from_le_bytes([*stored.get(at)?, *stored.get(at + 1)?]));
        at += 2;
        let count = LZ4_MATCH_MIN + more(&mut at, token & 15)?;
        let from = out.len().checked_sub(back).filter(|_| back > 0)?;
        for i in 0..count.min(len + 1) {
            out.push(out[from + i]);
        }
        if out.len() > len {
            return None;
        }
    }
    Some(out)
}

/// The same frame by the library's streaming decoder.
fn zstd(stored: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(stored).ok()?.single_frame();
    decoder.take(len as u64 + 1).read_to_end(&mut out).ok()?;
    Some(out)
}

/// The chunk of an extent table, byte by byte.
fn extents(stored: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; len];
    let parsed = Extents::parse(stored, len as u32).ok()?;
    let mut data = 4 + 8 * parsed.iter().count();
    for (extent, bytes) in parsed.iter() {
        for (i, byte) in bytes.iter().enumerate() {
            out[extent.offset as usize + i] = *byte;
            assert_eq!(stored[data], *byte);
            data += 1;
        }
    }
    assert!(stored.is_empty() || data == stored.len());
    Some(out)
}

/// What is encoded comes back, whatever it is.
fn returns(plain: &[u8]) {
    let mut compressor = Compressor::new();
    for codec in [Codec::Lz4, Codec::Zstd] {
        let Some(stored) = compressor.compress(codec, plain).map(<[u8]>::to_vec) else { continue };
        let mut back = vec![0xee; plain.len()];
        assert_eq!(decode(codec, &stored, &mut back), Ok(()), "{codec:?}");
        assert_eq!(back, plain);
    }
    // Runs of bytes that are not zero are its data.
    let mut data: Vec<Extent> = Vec::new();
    for (i, _) in plain.iter().enumerate().filter(|(_, byte)| **byte != 0) {
        match data.last_mut() {
            Some(last) if last.end() == i as u64 => last.len += 1,
            _ => data.push(Extent { offset: i as u32, len: 1 }),
        }
    }
    let mut stored = Vec::new();
    if encode_extents(plain, &data, &mut stored) {
        assert!(data.len() <= CHUNK_EXTENTS_MAX);
        let mut back = vec![0xee; plain.len()];
        assert_eq!(decode(Codec::Extents, &stored, &mut back), Ok(()));
        assert_eq!(back, plain);
    }
}
