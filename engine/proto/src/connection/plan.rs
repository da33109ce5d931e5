//! Packetize and seal (stage 4): a decided train becomes sealed packets in the frame of the queue that sends it.

use super::{ChunkBytes, Transmit};
use crate::crypto::{Crypto, SealRing};
use crate::path::Address;
use crate::sent::DataRange;
use crate::wire::{ATTEMPT_MASK, ConnectionId, HEADER_LEN, Header, Kind, PathId, TAG_LEN, TransferId};

/// A train of content that was decided and logged as sent: whoever owns the path's queue seals it into a frame.
#[derive(Clone, Copy, Debug)]
pub struct SendPlan {
    pub(super) path: PathId,
    pub(super) address: Address,
    pub(super) destination: ConnectionId,
    pub(super) sealed: bool,
    /// Of the first packet.
    pub(super) number: u64,
    pub(super) stamp: u32,
    /// The last packet asks for an ACK.
    pub(super) ask: bool,
    /// Virtual offset of the chunk's first byte.
    pub(super) base: u64,
    pub(super) data: DataRange,
}

impl SendPlan {
    /// The path.
    pub const fn path(&self) -> PathId {
        self.path
    }

    /// The addresses of the path.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The chunk whose stored bytes it carries.
    pub const fn chunk(&self) -> (TransferId, u32) {
        (self.data.transfer, self.data.chunk)
    }

    /// Bytes that each packet has beside content.
    const fn overhead(&self) -> usize {
        HEADER_LEN + if self.sealed { TAG_LEN } else { 0 }
    }

    /// Packets.
    pub(super) const fn count(&self) -> u8 {
        (self.data.end - self.data.start).div_ceil(self.data.step as u32) as u8
    }

    /// Bytes of all its packets.
    pub(super) fn len(&self) -> usize {
        (self.data.end - self.data.start) as usize + usize::from(self.count()) * self.overhead()
    }

    /// Bytes of each packet but the last, and of the last.
    pub(super) fn sizes(&self) -> (u16, u16) {
        let segment = usize::from(self.data.step) + self.overhead();
        let last = self.len() - usize::from(self.count() - 1) * segment;
        (if self.count() == 1 { last } else { segment } as u16, last as u16)
    }

    /// Seals it packet by packet into `frame`; sealing is the copy.
    #[expect(clippy::indexing_slicing, reason = "the plan counted the packets that a frame holds")]
    pub(crate) fn seal<C: Crypto>(
        &self,
        crypto: &C,
        keys: &mut SealRing<C>,
        frame: &mut [u8],
        content: &impl ChunkBytes,
    ) -> Transmit {
        let data = &self.data;
        let mut header = Header::new(Kind::Data);
        header.attempt = data.attempt & ATTEMPT_MASK;
        header.path = self.path;
        header.connection = self.destination;
        header.transfer = data.transfer;
        header.stamp = self.stamp;
        header.number = self.number;
        header.offset = self.base + u64::from(data.start);
        let mut at = 0;
        content.read(data.transfer, data.chunk, data.start..data.end, |bytes| {
            let mut pieces = bytes.chunks(usize::from(data.step)).peekable();
            while let Some(piece) = pieces.next() {
                header.length = piece.len() as u16;
                header.ask = self.ask && pieces.peek().is_none();
                let head = header.encode();
                let (place, payload) = frame[at..][..piece.len() + self.overhead()].split_at_mut(HEADER_LEN);
                place.copy_from_slice(&head);
                if self.sealed {
                    crypto.seal(keys.key(crypto, header.number), header.number, &head, piece, payload);
                } else {
                    payload.copy_from_slice(piece);
                }
                at += HEADER_LEN + payload.len();
                header.offset += piece.len() as u64;
                header.number += 1;
            }
        });
        let segment = usize::from(self.sizes().0);
        Transmit { path: self.path, address: self.address, len: at, segment }
    }
}
