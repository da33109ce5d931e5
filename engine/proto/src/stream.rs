//! The control stream: reliable, ordered bytes in each direction, cut into STREAM frames (PROTOCOL.md#control-stream).

use crate::limits;
use crate::ranges::RangeSet;
use crate::wire::{Malformed, Message};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The sending half. Bytes stay until they are acknowledged.
#[derive(Debug)]
pub struct SendStream {
    bytes: VecDeque<u8>,
    /// Where a message is encoded, before it joins `bytes`.
    message: Vec<u8>,
    /// Stream offset of the first of `bytes`.
    base: u64,
    /// Offset of the first byte that was never sent.
    next: u64,
    credit: u64,
    lost: RangeSet,
    acked: RangeSet,
}

impl SendStream {
    /// Nothing was sent; the peer takes `credit` bytes.
    pub fn new(credit: u64) -> Self {
        SendStream {
            bytes: VecDeque::with_capacity(limits::STREAM_ROOM),
            message: Vec::with_capacity(limits::STREAM_ROOM),
            base: 0,
            next: 0,
            credit,
            lost: RangeSet::with_capacity(limits::STREAM_RANGES_MAX + 1),
            acked: RangeSet::with_capacity(limits::STREAM_RANGES_MAX + 1),
        }
    }

    /// Appends a message.
    pub fn push(&mut self, message: &Message) {
        self.message.clear();
        message.encode(&mut self.message);
        self.bytes.extend(&self.message);
    }

    /// Bytes that wait to be sent or acknowledged.
    pub fn backlog(&self) -> usize {
        self.bytes.len()
    }

    /// Whether some of it can go now.
    pub fn has_something(&self) -> bool {
        !self.lost.is_empty() || self.next < self.sendable_end()
    }

    /// Raises the end up to which may be sent.
    pub fn on_credit(&mut self, credit: u64) {
        self.credit = self.credit.max(credit);
    }

    /// The next piece, at most `max` bytes, written by `write(offset, first half, second half)`; it counts as sent.
    #[expect(
        clippy::indexing_slicing,
        reason = "a piece lies in what is not acknowledged, and each half is cut at its end"
    )]
    pub fn take(&mut self, max: usize, write: impl FnOnce(u64, &[u8], &[u8])) -> Option<(u64, u16)> {
        let max = max.min(usize::from(u16::MAX)) as u64;
        if max == 0 {
            return None;
        }
        let piece = match self.lost.take_first(max) {
            Some(lost) => lost,
            None => {
                let piece = self.next..self.sendable_end().min(self.next + max);
                if piece.is_empty() {
                    return None;
                }
                self.next = piece.end;
                piece
            }
        };
        let start = (piece.start - self.base) as usize;
        let end = (piece.end - self.base) as usize;
        let (a, b) = self.bytes.as_slices();
        let first = &a[start.min(a.len())..end.min(a.len())];
        let second = &b[start.saturating_sub(a.len())..end.saturating_sub(a.len())];
        write(piece.start, first, second);
        Some((piece.start, (piece.end - piece.start) as u16))
    }

    /// All that is not acknowledged, as one piece `(offset, first half, second half)`; nothing is noted as sent.
    pub fn rest(&self, write: impl FnOnce(u64, &[u8], &[u8])) {
        let (first, second) = self.bytes.as_slices();
        write(self.base, first, second);
    }

    /// Whether the peer takes all of it.
    pub fn is_within_credit(&self) -> bool {
        self.base + self.bytes.len() as u64 <= self.credit
    }

    /// The peer has this piece.
    pub fn on_acked(&mut self, (offset, len): (u64, u16)) {
        let piece = offset.max(self.base)..(offset + u64::from(len)).max(self.base);
        if piece.is_empty() {
            return;
        }
        self.lost.remove(piece.clone());
        // A piece too many is forgotten, so that it goes again rather than get lost.
        if !self.acked.insert(piece.clone(), limits::STREAM_RANGES_MAX) {
            self.lost.insert_widening(piece, limits::STREAM_RANGES_MAX);
        }
        if let Some(first) = self.acked.first()
            && first.start <= self.base
        {
            self.bytes.drain(..(first.end - self.base) as usize);
            self.base = first.end;
            self.acked.remove_below(self.base);
            self.lost.remove_below(self.base);
        }
    }

    /// The packet with this piece was lost: what of it is not acknowledged goes again.
    pub fn on_lost(&mut self, (offset, len): (u64, u16)) {
        let piece = offset.max(self.base)..(offset + u64::from(len)).max(self.base);
        self.lost.insert_widening(piece, limits::STREAM_RANGES_MAX);
        for acked in self.acked.iter() {
            self.lost.remove(acked);
        }
    }

    fn sendable_end(&self) -> u64 {
        self.credit.min(self.base + self.bytes.len() as u64)
    }
}

/// Why a piece of the peer's control stream ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// More than the credit, or bytes that changed.
    Flow,
    /// A message that is none.
    Malformed(Malformed),
}

/// The receiving half: puts pieces in order and cuts them into messages.
#[derive(Debug, Default)]
pub struct RecvStream {
    /// Bytes from `base` on, holes included; never longer than the credit.
    bytes: Vec<u8>,
    /// Stream offset of the first of `bytes`.
    base: u64,
    have: RangeSet,
    told: u64,
    /// Digest lists of chunks that were dealt with, for those to come.
    spare: Vec<Vec<[u8; 32]>>,
}

impl RecvStream {
    /// Nothing was received; the handshake told the peer that it may send [`limits::STREAM_WINDOW`] bytes.
    pub fn new() -> Self {
        let bytes = Vec::with_capacity(limits::STREAM_ROOM);
        let (have, spare) = (RangeSet::with_capacity(limits::STREAM_RANGES_MAX), Vec::new());
        RecvStream { bytes, base: 0, have, told: limits::STREAM_WINDOW, spare }
    }

    /// Takes back the digest list of a chunk's message, so that a later one needs no memory of its own.
    pub fn recycle(&mut self, mut digests: Vec<[u8; 32]>) {
        if self.spare.len() < limits::SPARE_DIGEST_LISTS {
            digests.clear();
            self.spare.push(digests);
        }
    }

    /// Takes a piece. `Ok(false)`: it cannot be held now (too many holes) and must not be acknowledged.
    ///
    /// # Errors
    /// [`StreamError::Flow`] beyond the credit, or when bytes that came before come otherwise.
    #[expect(
        clippy::indexing_slicing,
        reason = "a piece that ends behind the base has its bytes from there on"
    )]
    pub fn receive(&mut self, offset: u64, bytes: &[u8]) -> Result<bool, StreamError> {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.told {
            return Err(StreamError::Flow);
        }
        if end <= self.base {
            return Ok(true);
        }
        let from = offset.max(self.base);
        let fresh = &bytes[(from - offset) as usize..];
        if self.differs(from, fresh) {
            return Err(StreamError::Flow);
        }
        if !self.have.insert(from..end, limits::STREAM_RANGES_MAX) {
            return Ok(false);
        }
        let at = (from - self.base) as usize;
        let to = (end - self.base) as usize;
        if self.bytes.len() < to {
            self.bytes.resize(to, 0);
        }
        self.bytes[at..to].copy_from_slice(fresh);
        Ok(true)
    }

    /// Whether bytes from `from` on, which is not below the base, are not those that came before.
    #[expect(clippy::indexing_slicing, reason = "both slices are the overlap of a held range and the piece")]
    fn differs(&self, from: u64, bytes: &[u8]) -> bool {
        let end = from + bytes.len() as u64;
        self.have.iter().any(|held| {
            let (low, high) = (held.start.max(from), held.end.min(end));
            low < high
                && self.bytes[(low - self.base) as usize..(high - self.base) as usize]
                    != bytes[(low - from) as usize..(high - from) as usize]
        })
    }

    /// The next whole message.
    ///
    /// # Errors
    /// [`StreamError::Malformed`].
    #[expect(
        clippy::indexing_slicing,
        reason = "what is held ends within the bytes, and the head saw the whole message"
    )]
    pub fn next_message(&mut self) -> Result<Option<Message>, StreamError> {
        let ready = self.have.first().filter(|r| r.start == self.base).map_or(0, |r| r.end - self.base);
        let ready = &self.bytes[..ready as usize];
        let Some((number, len)) = Message::head(ready).map_err(StreamError::Malformed)? else {
            return Ok(None);
        };
        let whole = Message::HEAD_LEN + len;
        let message = Message::decode_into(number, &ready[Message::HEAD_LEN..whole], &mut self.spare);
        self.bytes.drain(..whole);
        self.base += whole as u64;
        self.have.remove_below(self.base);
        message.map(Some).map_err(StreamError::Malformed)
    }

    /// A CREDIT worth sending: at least a quarter of the window more than the peer was told.
    pub fn credit_due(&self) -> bool {
        self.base + limits::STREAM_WINDOW - self.told >= limits::STREAM_WINDOW / 4
    }

    /// The credit to tell the peer now.
    pub fn tell_credit(&mut self) -> u64 {
        self.told = self.base + limits::STREAM_WINDOW;
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::TransferId;

    fn message(i: u32) -> Message {
        Message::Reject { transfer: TransferId(i), chunk: 7, attempt: 1 }
    }

    fn pieces(stream: &mut SendStream, max: usize) -> Vec<((u64, u16), Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            let mut bytes = Vec::new();
            let piece = stream.take(max, |_, a, b| {
                bytes.extend_from_slice(a);
                bytes.extend_from_slice(b);
            });
            match piece {
                Some(piece) => all.push((piece, bytes)),
                None => return all,
            }
        }
    }

    #[test]
    fn messages_arrive_whole_and_in_order_whatever_the_pieces_do() {
        let mut send = SendStream::new(1 << 20);
        let mut receive = RecvStream::new();
        for i in 0..20 {
            send.push(&message(i));
        }
        let mut all = pieces(&mut send, 7);
        all.reverse();
        for ((offset, _), bytes) in all.iter().chain(&all[..3]) {
            assert_eq!(receive.receive(*offset, bytes), Ok(true));
        }
        for i in 0..20 {
            assert_eq!(receive.next_message(), Ok(Some(message(i))));
        }
        assert_eq!(receive.next_message(), Ok(None));
    }

    #[test]
    fn lost_pieces_go_again_and_acknowledged_ones_do_not() {
        let mut send = SendStream::new(1 << 20);
        (0..4).for_each(|i| send.push(&message(i)));
        let all = pieces(&mut send, 10);
        send.on_acked(all[1].0);
        send.on_lost(all[0].0);
        send.on_lost(all[1].0);
        assert_eq!(pieces(&mut send, 100), [all[0].clone()]);
        send.on_acked(all[0].0);
        assert_eq!(send.backlog(), 52 - 20);
        send.on_lost(all[0].0);
        assert!(!send.has_something());
    }

    #[test]
    fn nothing_goes_beyond_the_credit() {
        let mut send = SendStream::new(5);
        send.push(&message(1));
        assert_eq!(pieces(&mut send, 100).len(), 1);
        assert!(!send.has_something());
        send.on_credit(6);
        assert_eq!(pieces(&mut send, 100)[0].0, (5, 1));
        let mut receive = RecvStream::new();
        assert_eq!(receive.receive(limits::STREAM_WINDOW, &[0]), Err(StreamError::Flow));
        assert_eq!(receive.receive(limits::STREAM_WINDOW - 1, &[0]), Ok(true));
    }

    #[test]
    fn bytes_that_changed_are_refused() {
        let mut receive = RecvStream::new();
        assert_eq!(receive.receive(10, &[1, 2, 3]), Ok(true));
        for (offset, bytes, good) in [
            (10, &[1, 2, 3][..], true),
            (9, &[0, 1, 2, 3, 4], true),
            (12, &[3, 4, 5], true),
            (12, &[0], false),
            (0, &[0; 11], false),
            (9, &[7, 1], false),
            (14, &[5, 6], true),
        ] {
            let expected = if good { Ok(true) } else { Err(StreamError::Flow) };
            assert_eq!(receive.receive(offset, bytes), expected, "{offset}");
        }
        let mut receive = RecvStream::new();
        let mut bytes = Vec::new();
        message(1).encode(&mut bytes);
        assert_eq!(receive.receive(0, &bytes), Ok(true));
        assert_eq!(receive.next_message(), Ok(Some(message(1))));
        // What was consumed is not held any more.
        assert_eq!(receive.receive(0, &[0xff; 3]), Ok(true));
    }

    #[test]
    fn too_many_holes_are_not_held() {
        let mut receive = RecvStream::new();
        for i in 0..limits::STREAM_RANGES_MAX as u64 {
            assert_eq!(receive.receive(1 + 2 * i, &[0]), Ok(true));
        }
        assert_eq!(receive.receive(200_001, &[0]), Ok(false));
        assert_eq!(receive.receive(0, &[9]), Ok(true));
    }
}
