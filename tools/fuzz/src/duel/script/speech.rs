//! What the peer says: messages of the control stream and how they are sent, frames, acknowledgements; right, wrong, or any bytes.

use super::{CHUNKS, Script};
use crate::duel::end::{CHUNK_LOG2, TRANSFER};
use crate::duel::peer::{PEER_ID, Peer};
use arbitrary::{Result, Unstructured};
use xfer_proto::limits;
use xfer_proto::wire::{
    Accept, Ack, Chunk, CloseCode, Codec, Decision, Decisions, Entry, EntryKind, ErrorBody, Frame, Kind,
    Message, Page, PathId, Run, TransferId, Window, WindowWords, Writer, encode_ack_ranges,
};

/// Bytes of the control stream in one packet.
const PIECE: usize = 1_280;

impl Script {
    /// A chunk's entry: the right one, or with other numbers.
    pub(super) fn entry(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let chunk = u32::from(u.arbitrary::<u8>()? % CHUNKS);
        let byte = u.arbitrary::<u8>()?;
        if byte & 1 != 0 {
            let raised = self.attempts[chunk as usize].wrapping_add(byte >> 5);
            self.attempts[chunk as usize] = raised;
        }
        let plain = self.plain_len(chunk);
        let stored_len = match byte >> 1 & 3 {
            0 | 1 => plain,
            2 => plain.saturating_sub(u.arbitrary::<u16>()?.into()),
            _ => u.arbitrary()?,
        };
        let attempt = self.attempts[chunk as usize];
        let codec = if stored_len == plain { Codec::Plain } else { Codec::Lz4 };
        let entry = Chunk { transfer: TRANSFER, chunk, attempt, codec, stored_len, digests: Vec::new() };
        self.say(&Message::Chunk(entry), byte & 128 == 0)
    }

    /// A page of a few objects.
    pub(super) fn page(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let mut entries = Vec::new();
        for i in 0..u.arbitrary::<u8>()? % 6 {
            let byte = u.arbitrary::<u8>()?;
            let size = match byte & 3 {
                0 => u64::from(u.arbitrary::<u8>()?),
                1 => u64::from(u.arbitrary::<u16>()?),
                2 => u64::from(u.arbitrary::<u8>()? % 6) << CHUNK_LOG2,
                _ => u64::from(u.arbitrary::<u32>()? % 400_000),
            };
            let ending = [b'x', b'x', b'r', b's'][usize::from(byte >> 2 & 3)];
            entries.push(Entry {
                kind: EntryKind::File,
                mode: 0o600,
                mtime_s: 0,
                mtime_ns: 0,
                size,
                open: false,
                name: vec![b'a' + i, ending],
                target: Vec::new(),
                attributes: Vec::new(),
                inline: None,
            });
        }
        let byte = u.arbitrary::<u8>()?;
        if byte & 3 == 0
            && let Some(last) = entries.last_mut()
        {
            (last.open, last.size) = (true, 0);
        }
        let open = entries.last().is_some_and(|last| last.open);
        let page = Page {
            transfer: TRANSFER,
            number: self.pages,
            first_object: self.pages * 8,
            last: open || byte & 4 != 0,
            entries,
        };
        self.pages += 1;
        self.say(&Message::Page(page), byte & 128 == 0)
    }

    /// Puts a message into the peer's control stream, and sends that at once if asked to.
    pub(super) fn say(&mut self, message: &Message, now: bool) -> Result<()> {
        self.end.peer.say(message);
        if now {
            self.send_stream(0, usize::MAX);
        }
        Ok(())
    }

    /// Sends what the stream holds, at most `most` bytes, in packets.
    pub(super) fn send_stream(&mut self, path: u16, most: usize) {
        let end = self.end.peer.stream.len().min(self.end.peer.stream_sent.saturating_add(most));
        while self.end.peer.stream_sent < end {
            let start = self.end.peer.stream_sent;
            let len = (end - start).min(PIECE);
            self.end.peer.stream_sent += len;
            self.stream_piece(path, start, len);
        }
    }

    pub(super) fn stream_piece(&mut self, path: u16, start: usize, len: usize) {
        let bytes = self.end.peer.stream[start..start + len].to_vec();
        let payload = Peer::payload(&[Frame::Stream { offset: start as u64, bytes: &bytes }]);
        self.control(path, &payload);
    }

    /// Pieces of the control stream: the next one, one before it again, or one that leaves a hole.
    pub(super) fn stream(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (path, byte) = (self.path(u)?, u.arbitrary::<u8>()?);
        let len = usize::from(u.arbitrary::<u8>()?) * 8;
        let known = self.end.peer.stream.len();
        match byte % 4 {
            0 | 1 => self.send_stream(path, len.max(1)),
            2 => {
                let start = usize::from(u.arbitrary::<u16>()?) % (known + 1);
                self.stream_piece(path, start, len.min(known - start).min(PIECE));
            }
            _ => self.end.peer.stream_sent = known.min(self.end.peer.stream_sent + len),
        }
        Ok(())
    }

    /// An ACK of what came, or of what the script makes up.
    pub(super) fn acknowledge(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (path, byte) = (self.path(u)?, u.arbitrary::<u8>()?);
        let heard = self.end.peer.ways.get(&path).map(|way| way.heard.clone()).unwrap_or_default();
        let Some(last) = heard.last().copied() else { return Ok(()) };
        let mut ranges = Vec::new();
        if byte & 7 == 7 {
            let largest = last.wrapping_add(u.arbitrary::<u8>()?.into()) % limits::NUMBER_END;
            ranges.push(largest.saturating_sub(u.arbitrary::<u16>()?.into())..=largest);
        } else {
            // Every number that came, but for those that the pattern leaves out: never one that the end left out itself.
            let pattern = if byte & 8 == 0 { u8::MAX } else { u.arbitrary::<u8>()? };
            for number in heard.iter().rev().filter(|n| pattern >> (*n % 8) & 1 != 0) {
                match ranges.last_mut() {
                    Some(range) if *range.start() == number + 1 => *range = *number..=*range.end(),
                    _ => ranges.push(*number..=*number),
                }
            }
        }
        if ranges.is_empty() {
            return Ok(());
        }
        let count = ranges.len().min(limits::ACK_RANGES_MAX);
        let mut payload = vec![0; Ack::encoded_len(count)];
        let mut w = Writer::new(&mut payload);
        let (delay, ce) = (u32::from(u.arbitrary::<u16>()?), u32::from(byte >> 6));
        let echo = if byte & 16 == 0 { self.end.now.as_stamp().wrapping_sub(20_000) } else { u.arbitrary()? };
        Frame::encode_ack_head(&mut w, &Ack::head(PathId(path), delay, echo, self.end.now.as_stamp(), ce));
        encode_ack_ranges(&mut w, ranges.into_iter());
        let written = w.written();
        self.control(path, &payload[..written]);
        Ok(())
    }

    /// A WINDOW, in order or not.
    pub(super) fn window(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let byte = u.arbitrary::<u8>()?;
        let base = u32::from(u.arbitrary::<u8>()? % 16);
        let span =
            if byte & 1 == 0 { u32::from(u.arbitrary::<u8>()? % 20) } else { limits::WINDOW_CHUNKS_MAX };
        let words = [u.arbitrary::<u64>()?, u.arbitrary::<u64>()?];
        let pages = u32::from(byte >> 4);
        let window = Window {
            transfer: if byte & 2 == 0 { TRANSFER } else { TransferId(u.arbitrary()?) },
            pages,
            base: if byte & 4 == 0 { base } else { u32::MAX - limits::WINDOW_CHUNKS_MAX },
            limit: 0,
            accepted: WindowWords::Memory(&words[..usize::from(byte >> 3 & 1)]),
        };
        let window = Window { limit: window.base + span, ..window };
        let path = self.path(u)?;
        self.control(path, &Peer::payload(&[Frame::Window(window)]));
        Ok(())
    }

    /// Decisions about the end's pages.
    pub(super) fn decide(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let byte = u.arbitrary::<u8>()?;
        let page = u32::from(u.arbitrary::<u8>()? % 4);
        let mut decisions = Vec::new();
        for _ in 0..byte % 5 {
            let byte = u.arbitrary::<u8>()?;
            decisions.push(match byte % 8 {
                0 => Decision::Skip,
                1 => {
                    let run = Run { first: u32::from(byte >> 6), count: u32::from(byte >> 4 & 3).max(1) };
                    Decision::Resume(vec![run])
                }
                _ => Decision::Need,
            });
        }
        let first_entry = u16::from(byte >> 5);
        let decided = Decisions { transfer: TRANSFER, page, first_entry, decisions };
        self.say(&Message::Decision(decided), byte & 16 == 0)
    }

    /// Other messages, well formed.
    pub(super) fn message(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (transfer, byte) = (TRANSFER, u.arbitrary::<u8>()?);
        let number = u32::from(u.arbitrary::<u8>()? % 16);
        let message = match byte % 8 {
            0 => Message::Reject { transfer, chunk: number, attempt: u.arbitrary::<u8>()? % 8 },
            1 => Message::End { transfer, object: number, size: u.arbitrary::<u32>()?.into() },
            2 => Message::Limit { transfer, now: byte, all: byte },
            3 => Message::Accept(Accept { transfer, limit: number }),
            4 => {
                let error = ErrorBody {
                    class: 1,
                    side: 1,
                    errno: 0,
                    offset: None,
                    name: Vec::new(),
                    text: String::new(),
                };
                Message::Withdraw { transfer, object: number, error }
            }
            _ => Message::Reject { transfer, chunk: number, attempt: 0 },
        };
        self.say(&message, byte & 128 == 0)
    }

    /// Any bytes in the control stream.
    pub(super) fn raw_message(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let len = usize::from(u.arbitrary::<u8>()?).min(u.len());
        let bytes = u.bytes(len)?;
        self.end.peer.stream.extend_from_slice(bytes);
        self.send_stream(0, usize::MAX);
        Ok(())
    }

    /// Frames that are well formed and may make no sense.
    pub(super) fn frames(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (path, byte) = (self.path(u)?, u.arbitrary::<u8>()?);
        let token = [u.arbitrary::<u8>()? % 4; 8];
        let other = PathId(u16::from(byte >> 4));
        let frame = match byte % 8 {
            0 | 1 => Frame::Ping,
            2 => Frame::Credit(u.arbitrary::<u32>()?.into()),
            3 => Frame::PathChallenge { token, connection: PEER_ID },
            4 => Frame::PathResponse { token, connection: PEER_ID },
            5 => Frame::PathAbandon(other),
            6 => Frame::Padding(1 + usize::from(u.arbitrary::<u8>()?)),
            _ => {
                if byte >> 5 == 0 {
                    Frame::Close { code: CloseCode::Other(10 + u16::from(byte)), text: "over" }
                } else {
                    Frame::Ping
                }
            }
        };
        self.control(path, &Peer::payload(&[frame]));
        Ok(())
    }

    /// Any bytes as a CONTROL payload, under any number.
    pub(super) fn raw_frames(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (path, skip) = (self.path(u)?, u.arbitrary::<u64>()? >> u.int_in_range(0..=63)?);
        let len = usize::from(u.arbitrary::<u8>()?).min(u.len());
        let payload = u.bytes(len)?.to_vec();
        let header = self.header(Kind::Control, path, skip);
        let datagram = self.end.peer.seal(&header, &payload);
        self.deliver(&datagram, path);
        Ok(())
    }
}
