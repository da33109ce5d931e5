//! Stages 2 and 8: plain bytes of a chunk to stored bytes and back (PROTOCOL.md#chunk-entries), and when compressing pays.
//!
//! In: plain or stored bytes. Out: the other. Decoding takes hostile bytes: it writes into the caller's slice, allocates nothing that
//! they could make grow, and refuses whatever is not exactly the plain length. Digests are `digest`'s business.

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod auto;
mod extents;

pub use auto::{Auto, Sample};
pub use extents::{Extent, Extents, encode_extents};

use crate::limits;
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use xfer_proto::wire::Codec;
use zstd::zstd_safe;

/// What the user wants chunks to be compressed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Nothing.
    #[default]
    None,
    /// LZ4 where it makes a chunk smaller.
    Lz4,
    /// Zstandard, level [`limits::ZSTD_LEVEL`], where it makes a chunk smaller.
    Zstd,
    /// Whatever is the fastest way to get the chunks over, see [`Auto`].
    Auto,
}

/// Stored bytes that are not what their entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not below the plain length (codecs 1 to 3), or not the plain length (codec 0).
    #[error("stored length does not fit the plain length")]
    StoredLen,
    /// Not one LZ4 block of the plain length.
    #[error("not an LZ4 block of the plain length")]
    Lz4,
    /// Not one Zstandard frame of the plain length.
    #[error("not a Zstandard frame of the plain length")]
    Zstd,
    /// Extents that overlap, are empty, lie outside the chunk or differ from the bytes that follow.
    #[error("malformed extents")]
    Extents,
}

/// Turns stored bytes into exactly `plain.len()` plain bytes. On error `plain` holds anything.
///
/// # Errors
/// [`DecodeError`] when they are not that.
pub fn decode(codec: Codec, stored: &[u8], plain: &mut [u8]) -> Result<(), DecodeError> {
    let fits = if codec == Codec::Plain { stored.len() == plain.len() } else { stored.len() < plain.len() };
    if !fits {
        return Err(DecodeError::StoredLen);
    }
    match codec {
        Codec::Plain => plain.copy_from_slice(stored),
        Codec::Lz4 => {
            let len = lz4_flex::block::decompress_into(stored, plain).map_err(|_| DecodeError::Lz4)?;
            whole(len, plain, DecodeError::Lz4)?;
        }
        Codec::Zstd => {
            let frame = zstd_safe::find_frame_compressed_size(stored).map_err(|_| DecodeError::Zstd)?;
            whole(frame, stored, DecodeError::Zstd)?;
            let len = zstd::bulk::decompress_to_buffer(stored, plain).map_err(|_| DecodeError::Zstd)?;
            whole(len, plain, DecodeError::Zstd)?;
        }
        Codec::Extents => Extents::parse(stored, plain.len() as u32)?.fill(plain),
    }
    Ok(())
}

fn whole(len: usize, bytes: &[u8], error: DecodeError) -> Result<(), DecodeError> {
    if len == bytes.len() { Ok(()) } else { Err(error) }
}

/// Compresses chunks; keeps tables and scratch memory from one to the next. One per thread.
pub struct Compressor {
    table: CompressTable,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    scratch: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Compressor { table: CompressTable::large(), zstd: None, scratch: Vec::new() }
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("scratch", &self.scratch.len()).finish_non_exhaustive()
    }
}

impl Compressor {
    /// A compressor; it allocates on first use.
    pub fn new() -> Self {
        Compressor::default()
    }

    /// Stored bytes of `plain` under `codec` ([`Codec::Lz4`] or [`Codec::Zstd`]); `None` when they would not be shorter.
    #[expect(clippy::indexing_slicing, reason = "a codec writes no further than the scratch")]
    pub fn compress(&mut self, codec: Codec, plain: &[u8]) -> Option<&[u8]> {
        let len = match codec {
            Codec::Lz4 => self.lz4(plain)?,
            Codec::Zstd => self.zstd(plain)?,
            Codec::Plain | Codec::Extents => return None,
        };
        (len < plain.len()).then(|| &self.scratch[..len])
    }

    fn lz4(&mut self, plain: &[u8]) -> Option<usize> {
        self.reserve(get_maximum_output_size(plain.len()));
        compress_into_with_table(plain, &mut self.scratch, &mut self.table).ok()
    }

    #[expect(clippy::indexing_slicing, reason = "`reserve` made room for more than the chunk")]
    fn zstd(&mut self, plain: &[u8]) -> Option<usize> {
        self.reserve(zstd_safe::compress_bound(plain.len()));
        if self.zstd.is_none() {
            self.zstd = zstd::bulk::Compressor::new(limits::ZSTD_LEVEL).ok();
        }
        let room = plain.len().saturating_sub(1);
        self.zstd.as_mut()?.compress_to_buffer(plain, &mut self.scratch[..room]).ok()
    }

    fn reserve(&mut self, len: usize) {
        if self.scratch.len() < len {
            self.scratch.resize(len, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Codec; 2] = [Codec::Lz4, Codec::Zstd];

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|i| b"the same words again and again "[i % 31] ^ ((i / 4_096) % 3) as u8).collect()
    }

    /// Bytes that no codec shortens: a keyed stream.
    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn compressed_chunks_come_back() {
        let mut compressor = Compressor::new();
        for len in [64, 65_535, 65_536, 1 << 20] {
            let plain = text(len);
            for codec in ALL {
                let stored = compressor.compress(codec, &plain).expect("shrinks").to_vec();
                assert!(stored.len() < plain.len());
                let mut back = vec![1; len];
                assert_eq!(decode(codec, &stored, &mut back), Ok(()));
                assert_eq!(back, plain);
            }
        }
    }

    #[test]
    fn what_does_not_shrink_stays_plain() {
        let mut compressor = Compressor::new();
        for plain in [Vec::new(), vec![1], noise(65_536)] {
            for codec in ALL {
                assert!(compressor.compress(codec, &plain).is_none());
            }
        }
        assert!(compressor.compress(Codec::Plain, &text(100)).is_none());
    }

    #[test]
    fn plain_bytes_have_the_plain_length() {
        let mut out = [0; 4];
        assert_eq!(decode(Codec::Plain, b"abcd", &mut out), Ok(()));
        assert_eq!(&out, b"abcd");
        assert_eq!(decode(Codec::Plain, b"abc", &mut out), Err(DecodeError::StoredLen));
        assert_eq!(decode(Codec::Plain, b"abcde", &mut out), Err(DecodeError::StoredLen));
    }

    #[test]
    fn a_plain_length_off_by_one_is_refused() {
        let mut compressor = Compressor::new();
        for codec in ALL {
            let stored = compressor.compress(codec, &text(5_000)).expect("shrinks").to_vec();
            for len in [0, 4_999, 5_001] {
                assert!(decode(codec, &stored, &mut vec![0; len]).is_err(), "{codec:?} {len}");
            }
        }
    }

    #[test]
    fn stored_is_below_plain() {
        let mut compressor = Compressor::new();
        let stored = compressor.compress(Codec::Zstd, &text(4_096)).expect("shrinks").to_vec();
        let len = stored.len();
        assert_eq!(decode(Codec::Zstd, &stored, &mut vec![0; len]), Err(DecodeError::StoredLen));
    }

    #[test]
    fn two_zstandard_frames_are_refused() {
        let half = text(2_048);
        let mut stored = Compressor::new().compress(Codec::Zstd, &half).expect("shrinks").to_vec();
        stored.extend_from_within(..);
        assert_eq!(decode(Codec::Zstd, &stored, &mut [0; 4_096]), Err(DecodeError::Zstd));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(stored in prop::collection::vec(any::<u8>(), 0..600), len in 0_usize..2_000) {
            for codec in [Codec::Plain, Codec::Lz4, Codec::Zstd, Codec::Extents] {
                if decode(codec, &stored, &mut vec![0; len]).is_ok() {
                    prop_assert!(stored.len() <= len);
                }
            }
        }

        #[test]
        fn flipped_bits_never_panic(at in 0_usize..10_000, bit in 0_u8..8) {
            let plain = text(10_000);
            for codec in ALL {
                let mut stored = Compressor::new().compress(codec, &plain).expect("shrinks").to_vec();
                let at = at % stored.len();
                stored[at] ^= 1 << bit;
                let mut out = vec![0; plain.len()];
                if decode(codec, &stored, &mut out).is_err() {
                    continue;
                }
                prop_assert_eq!(out.len(), plain.len());
            }
        }
    }
}
