//! Opening a payload into its place in a chunk's buffer: the only copy of received content (stage 7). Done by a connection on the
//! worker that it lives on, and by its shards on others.

use super::{ChunkMemory, Dropped};
use crate::claim::{Claim, Claimant};
use crate::crypto::{Crypto, OpenRing};
use crate::limits;
use crate::wire::{HEADER_LEN, Header, TransferId};
use alloc::vec::Vec;
use core::ops::Range;

/// Where payloads are opened that have no place in a chunk: as long as any header can say.
#[derive(Debug, Default)]
pub(crate) struct Scratch(Vec<u8>);

impl Scratch {
    pub(crate) fn new() -> Self {
        Scratch(alloc::vec![0; usize::from(u16::MAX)])
    }

    /// Room for the payload of `header`. While it is taken out of its owner there is none, and nothing is opened.
    #[expect(clippy::indexing_slicing, reason = "a length of 16 bits is within it")]
    pub(crate) fn of(&mut self, header: &Header) -> &mut [u8] {
        &mut self.0[..usize::from(header.length)]
    }
}

/// One sealed payload and what opens it.
pub(crate) struct Opener<'a, C: Crypto> {
    pub(crate) crypto: &'a C,
    pub(crate) keys: &'a OpenRing<C>,
    pub(crate) sealed: bool,
    pub(crate) number: u64,
    pub(crate) datagram: &'a [u8],
}

impl<C: Crypto> Opener<'_, C> {
    /// Opens into `out`, which has the payload's length.
    pub(crate) fn open(&self, out: &mut [u8], failed_opens: &mut u64) -> Result<(), Dropped> {
        let (header, payload) = self.datagram.split_at(HEADER_LEN);
        if !self.sealed {
            out.copy_from_slice(payload);
            return Ok(());
        }
        let key = self.keys.key(self.number).ok_or(Dropped::Epoch)?;
        if self.crypto.open(key, self.number, header, payload, out) {
            return Ok(());
        }
        *failed_opens += 1;
        Err(Dropped::Forged)
    }
}

/// The buffer that a chunk is received into.
pub(crate) struct Buffer {
    pub(crate) transfer: TransferId,
    pub(crate) chunk: u32,
    /// Bytes.
    pub(crate) capacity: u32,
}

impl Buffer {
    /// Has `fill` write the bytes of `range`. The rest of its last unit, which is claimed with it, gets zeros: who ends payloads off the
    /// grid in the middle of a chunk would have bytes count as content that the buffer had from somebody else.
    pub(crate) fn write<R>(
        &self,
        memory: &mut impl ChunkMemory,
        range: &Range<u32>,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let end = range.end.next_multiple_of(limits::GRID as u32).min(self.capacity).max(range.end);
        memory.write(self.transfer, self.chunk, range.start..end, |place| {
            let (place, pad) = place.split_at_mut(range.len());
            if !pad.is_empty() {
                pad.fill(0);
            }
            fill(place)
        })
    }
}

/// Where a payload belongs.
pub(crate) struct Place<'a> {
    pub(crate) claims: Claimant<'a>,
    pub(crate) buffer: Buffer,
    /// Bytes of the chunk.
    pub(crate) range: Range<u32>,
}

impl Place<'_> {
    /// Opens a payload into its place. Returns how many bytes are new there; none when all were there already. `scratch` has the
    /// payload's length.
    #[expect(clippy::indexing_slicing, reason = "a gap lies in the range, which is as long as the payload")]
    pub(crate) fn open<C: Crypto>(
        &self,
        opener: &Opener<'_, C>,
        scratch: &mut [u8],
        failed_opens: &mut u64,
        memory: &mut impl ChunkMemory,
    ) -> Result<u32, Dropped> {
        let Place { claims, buffer, range } = self;
        match claims.claim(range.clone()) {
            Claim::Taken => {
                let open = |place: &mut [u8]| opener.open(place, failed_opens);
                if let Err(forged) = buffer.write(memory, range, open) {
                    claims.release(range.clone());
                    return Err(forged);
                }
                claims.fill(range.clone());
                Ok(range.end - range.start)
            }
            Claim::Filled => {
                opener.open(scratch, failed_opens)?;
                Ok(0)
            }
            Claim::Contended => {
                opener.open(scratch, failed_opens)?;
                let mut filled = 0;
                let whole = claims.fill_gaps(range.clone(), |gap| {
                    filled += gap.end - gap.start;
                    let from = (gap.start - range.start) as usize..(gap.end - range.start) as usize;
                    buffer.write(memory, &gap, |place| place.copy_from_slice(&scratch[from]));
                });
                if whole { Ok(filled) } else { Err(Dropped::Busy) }
            }
        }
    }
}

/// The chunk that a DATA packet is of, and its bytes there.
pub(crate) fn place_of(header: &Header, chunk_log2: u8) -> (u32, Range<u32>) {
    let start = (header.offset & ((1 << chunk_log2) - 1)) as u32;
    ((header.offset >> chunk_log2) as u32, start..start + u32::from(header.length))
}

/// A DATA payload lies on the grid; only the last of a chunk's data may end off it, and while the entry is not known any end may be the last.
pub(crate) fn on_grid(range: &Range<u32>, end: u32, end_unknown: bool) -> bool {
    let grid = limits::GRID as u32;
    range.start.is_multiple_of(grid) && (range.end.is_multiple_of(grid) || range.end == end || end_unknown)
}
