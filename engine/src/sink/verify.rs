//! Stage 8, verify: stored bytes of a chunk to plain bytes, checked piece by piece before anything is written.

use crate::codec::{self, Extents};
use crate::digest::{self, Digest};
use crate::source::{ChunkPlan, Encoding};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Mutex;
use xfer_proto::space::Piece;
use xfer_proto::wire::Codec;

use super::directory::lock;

/// Buffers for decoded chunks, one a thread that decodes at the same time.
#[derive(Debug, Default)]
pub(super) struct Scratch(Mutex<Vec<Vec<u8>>>);

/// The plain bytes of a chunk that was found right.
pub(super) struct Checked<'a> {
    plain: Plain<'a>,
    extents: Option<Extents<'a>>,
    /// For each piece its chaining value or root; zeros without digests and for pieces that nobody waits for.
    pub values: Vec<Digest>,
    scratch: &'a Scratch,
}

enum Plain<'a> {
    Stored(&'a [u8]),
    Decoded(Vec<u8>),
    /// All zeros, nowhere in memory.
    Hole,
}

/// Where data of a piece lies: in the chunk, and in the object.
pub(super) type Run = (Range<usize>, u64);

impl Drop for Checked<'_> {
    fn drop(&mut self) {
        if let Plain::Decoded(buffer) = &mut self.plain {
            lock(&self.scratch.0).push(std::mem::take(buffer));
        }
    }
}

impl Checked<'_> {
    /// The data of a run.
    #[expect(
        clippy::indexing_slicing,
        reason = "a plan's pieces lie within its plain length, and extents were parsed against it"
    )]
    pub(super) fn data(&self, run: Range<usize>) -> &[u8] {
        match &self.plain {
            Plain::Stored(bytes) => &bytes[run],
            Plain::Decoded(bytes) => &bytes[run],
            Plain::Hole => &[],
        }
    }

    /// The plain bytes of a piece.
    pub(super) fn piece(&self, piece: &Piece) -> Cow<'_, [u8]> {
        match &self.plain {
            Plain::Hole => Cow::Owned(vec![0; piece.len as usize]),
            _ => Cow::Borrowed(self.data(range(piece))),
        }
    }

    /// Root of the piece by itself.
    pub(super) fn root(&self, piece: &Piece) -> Digest {
        match &self.plain {
            Plain::Hole => digest::zeros_root(u64::from(piece.len)),
            _ => digest::root(self.data(range(piece))),
        }
    }

    /// Chaining value of the piece as part of its object.
    fn chunk_value(&self, piece: &Piece) -> Digest {
        match &self.plain {
            Plain::Hole => digest::zeros_chunk_value(u64::from(piece.len), piece.object_offset),
            _ => digest::chunk_value(self.data(range(piece)), piece.object_offset),
        }
    }

    /// Where the piece has data; the rest of it are holes.
    pub(super) fn runs(&self, piece: &Piece) -> Vec<Run> {
        let whole = range(piece);
        let Some(extents) = &self.extents else { return vec![(whole, piece.object_offset)] };
        let inside = extents.iter().filter_map(|(extent, _)| {
            let start = (extent.offset as usize).max(whole.start);
            let end = (extent.end() as usize).min(whole.end);
            (start < end).then(|| (start..end, piece.object_offset + (start - whole.start) as u64))
        });
        inside.collect()
    }
}

fn range(piece: &Piece) -> Range<usize> {
    piece.chunk_offset as usize..(piece.chunk_offset + piece.len) as usize
}

/// Decodes and checks a chunk. `None`: fetch it again. Pieces whose place in the plan is not `wanted` are not looked at.
#[expect(clippy::indexing_slicing, reason = "as many digests as pieces, as seen above")]
pub(super) fn check<'a>(
    plan: &ChunkPlan,
    encoding: &Encoding,
    stored: &'a [u8],
    digests: bool,
    scratch: &'a Scratch,
    wanted: impl Fn(usize) -> bool,
) -> Option<Checked<'a>> {
    let count = plan.pieces.len();
    let stored = stored.get(..encoding.stored_len as usize)?;
    if digests && encoding.digests.len() != count {
        return None;
    }
    let extents = match encoding.codec {
        Codec::Extents => Some(Extents::parse(stored, plan.plain_len).ok()?),
        _ => None,
    };
    let plain = match encoding.codec {
        Codec::Plain => (stored.len() == plan.plain_len as usize).then_some(Plain::Stored(stored))?,
        Codec::Extents if stored.is_empty() && plan.plain_len > 0 => Plain::Hole,
        _ => {
            let mut buffer = lock(&scratch.0).pop().unwrap_or_default();
            buffer.resize(plan.plain_len as usize, 0);
            Plain::Decoded(buffer)
        }
    };
    let mut checked = Checked { plain, extents, values: vec![[0; 32]; count], scratch };
    if let Plain::Decoded(buffer) = &mut checked.plain {
        codec::decode(encoding.codec, stored, buffer).ok()?;
    }
    if digests {
        let subtree = plan.is_subtree();
        for (at, piece) in plan.pieces.iter().enumerate().filter(|(at, _)| wanted(*at)) {
            let value = if subtree { checked.chunk_value(piece) } else { checked.root(piece) };
            if value != encoding.digests[at] {
                return None;
            }
            checked.values[at] = value;
        }
    }
    Some(checked)
}
