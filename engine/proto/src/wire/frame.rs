//! The frames inside a CONTROL packet (PROTOCOL.md#frames).

use super::{ConnectionId, Malformed, PathId, Reader, TransferId, Writer};
use crate::limits;
use core::ops::RangeInclusive;

/// Why a connection ends (PROTOCOL.md#close-codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's table")]
pub enum CloseCode {
    Done,
    Cancelled,
    Protocol,
    AckUnsent,
    Flow,
    Name,
    AeadLimit,
    Idle,
    Shutdown,
    Internal,
    /// A code that this version does not know.
    Other(u16),
}

impl CloseCode {
    const NAMED: [CloseCode; 10] = [
        CloseCode::Done,
        CloseCode::Cancelled,
        CloseCode::Protocol,
        CloseCode::AckUnsent,
        CloseCode::Flow,
        CloseCode::Name,
        CloseCode::AeadLimit,
        CloseCode::Idle,
        CloseCode::Shutdown,
        CloseCode::Internal,
    ];

    /// The code's number on the wire.
    pub fn number(self) -> u16 {
        match self {
            CloseCode::Other(n) => n,
            named => Self::NAMED.iter().position(|c| *c == named).map_or(u16::MAX, |i| i as u16),
        }
    }

    fn from_number(n: u16) -> Self {
        Self::NAMED.get(usize::from(n)).copied().unwrap_or(CloseCode::Other(n))
    }
}

/// Acknowledged packet numbers of one path (PROTOCOL.md#ack). The ranges were checked when it was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Whose packets are acknowledged.
    pub path: PathId,
    /// Microseconds from the largest number's arrival to this ACK.
    pub delay_us: u32,
    /// Send timestamp of the packet with the largest number.
    pub echo_stamp: u32,
    /// The acknowledging end's clock at that packet's arrival, microseconds modulo 2^32.
    pub arrival_stamp: u32,
    /// Packets with a CE mark so far, modulo 2^32.
    pub ce_count: u32,
    /// Largest acknowledged number.
    pub largest: u64,
    /// `u32 first`, then (gap, length) pairs, as on the wire.
    ranges: &'a [u8],
}

const ACK_FIXED: usize = 1 + 2 + 4 * 4 + 1 + 8;

impl<'a> Ack<'a> {
    /// Acknowledged ranges, newest first, disjoint.
    pub fn ranges(&self) -> AckRanges<'a> {
        AckRanges { reader: Reader::new(self.ranges), next_end: self.largest, first: true }
    }

    /// Bytes of an ACK frame with `ranges` ranges, its type included.
    #[expect(clippy::arithmetic_side_effects, reason = "of what this end says: a few ranges, at least one")]
    pub const fn encoded_len(ranges: usize) -> usize {
        ACK_FIXED + Self::ranges_len(ranges)
    }

    /// Bytes of the range part for 1 to 255 ranges.
    #[expect(clippy::arithmetic_side_effects, reason = "a few ranges, at least one")]
    const fn ranges_len(ranges: usize) -> usize {
        4 + (ranges - 1) * 8
    }

    /// How many ranges there are.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "`decode` read a whole number of ranges, at least one"
    )]
    const fn count(&self) -> u8 {
        (1 + (self.ranges.len() - 4) / 8) as u8
    }

    fn decode(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let path = PathId(r.u16("ack path")?);
        let delay_us = r.u32("ack delay")?;
        let echo_stamp = r.u32("ack echo")?;
        let arrival_stamp = r.u32("ack arrival")?;
        let ce_count = r.u32("ack ce count")?;
        let count = usize::from(r.u8("ack range count")?);
        if count == 0 || count > limits::ACK_RANGES_MAX {
            return Err(Malformed::new("ack range count"));
        }
        let largest = r.u64("ack largest")?;
        if largest >= limits::NUMBER_END {
            return Err(Malformed::new("ack largest"));
        }
        let ranges = r.bytes(Self::ranges_len(count), "ack ranges")?;
        let ack = Ack { path, delay_us, echo_stamp, arrival_stamp, ce_count, largest, ranges };
        ack.check()?;
        Ok(ack)
    }

    #[expect(clippy::arithmetic_side_effects, reason = "two numbers of 32 bits")]
    fn check(&self) -> Result<(), Malformed> {
        let mut r = Reader::new(self.ranges);
        let first = u64::from(r.u32("ack ranges")?);
        let mut low = self.largest.checked_sub(first).ok_or(Malformed::new("ack ranges"))?;
        while !r.is_empty() {
            let gap = u64::from(r.u32("ack ranges")?);
            let len = u64::from(r.u32("ack ranges")?);
            if gap == 0 || len == 0 {
                return Err(Malformed::new("ack ranges"));
            }
            low = low.checked_sub(gap + len).ok_or(Malformed::new("ack ranges"))?;
        }
        Ok(())
    }
}

/// Writes the range part of an ACK frame: `count`, `largest`, then the ranges. `ranges` come newest first and are
/// disjoint with gaps between them; at most [`limits::ACK_RANGES_MAX`] are written. Lengths and gaps have 32 bits on
/// the wire: of a longer range its newest part is told, and what lies beyond a longer gap is not.
pub fn encode_ack_ranges(w: &mut Writer<'_>, ranges: impl Iterator<Item = RangeInclusive<u64>> + Clone) {
    let told = told_ranges(ranges);
    w.u8(told.clone().count() as u8);
    for (i, (from, len)) in told.enumerate() {
        if i == 0 {
            w.u64(from);
        } else {
            w.u32(from as u32);
        }
        w.u32(len);
    }
}

/// What the wire says of each range: its end and how many numbers are below it, then gap and length.
#[expect(clippy::arithmetic_side_effects, reason = "this end's own ranges, newest first and disjoint")]
fn told_ranges(
    ranges: impl Iterator<Item = RangeInclusive<u64>> + Clone,
) -> impl Iterator<Item = (u64, u32)> + Clone {
    ranges.take(limits::ACK_RANGES_MAX).scan(None, |low: &mut Option<u64>, range| {
        let (start, end) = range.into_inner();
        let below = u32::try_from(end - start).unwrap_or(u32::MAX);
        let Some(previous) = *low else {
            *low = Some(end - u64::from(below));
            return Some((end, below));
        };
        let gap = previous - end - 1;
        let len = below.saturating_add(1);
        *low = Some(end + 1 - u64::from(len));
        (gap <= u64::from(u32::MAX)).then_some((gap, len))
    })
}

/// Iterator over the ranges of an [`Ack`].
#[derive(Clone, Debug)]
pub struct AckRanges<'a> {
    reader: Reader<'a>,
    next_end: u64,
    first: bool,
}

impl Iterator for AckRanges<'_> {
    type Item = RangeInclusive<u64>;

    #[expect(
        clippy::arithmetic_side_effects,
        reason = "`check` saw that no range goes below 0 and none is empty"
    )]
    fn next(&mut self) -> Option<RangeInclusive<u64>> {
        if self.first {
            self.first = false;
            let len = u64::from(self.reader.u32("").ok()?);
            let start = self.next_end - len;
            let range = start..=self.next_end;
            self.next_end = start;
            return Some(range);
        }
        let gap = u64::from(self.reader.u32("").ok()?);
        let len = u64::from(self.reader.u32("").ok()?);
        let end = self.next_end - gap - 1;
        let start = end + 1 - len;
        self.next_end = start;
        Some(start..=end)
    }
}

/// What the receiver of a transfer has and takes (PROTOCOL.md#window).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window<'a> {
    /// The transfer.
    pub transfer: TransferId,
    /// Manifest pages below this may be sent.
    pub pages: u32,
    /// All chunks below are accepted.
    pub base: u32,
    /// Chunks below are granted.
    pub limit: u32,
    /// Acceptance bits from `base` on.
    pub accepted: WindowWords<'a>,
}

/// The acceptance bits of a [`Window`], as words on the wire or in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowWords<'a> {
    /// As received: 8 bytes a word.
    Wire(&'a [u8]),
    /// To be sent.
    Memory(&'a [u64]),
}

impl WindowWords<'_> {
    /// How many words there are.
    pub fn len(&self) -> usize {
        match self {
            WindowWords::Wire(bytes) => bytes.len() / 8,
            WindowWords::Memory(words) => words.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Word `i`; beyond the last nothing is accepted.
    pub fn word(&self, i: usize) -> u64 {
        match self {
            WindowWords::Wire(bytes) => {
                bytes.as_chunks().0.get(i).map_or(0, |word| u64::from_le_bytes(*word))
            }
            WindowWords::Memory(words) => words.get(i).copied().unwrap_or(0),
        }
    }
}

impl<'a> Window<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let transfer = TransferId(r.u32("window transfer")?);
        let pages = r.u32("window pages")?;
        let base = r.u32("window base")?;
        let limit = r.u32("window limit")?;
        let count = usize::from(r.u8("window words")?);
        if count > limits::WINDOW_WORDS_MAX {
            return Err(Malformed::new("window words"));
        }
        if limit.checked_sub(base).is_none_or(|span| span > limits::WINDOW_CHUNKS_MAX) {
            return Err(Malformed::new("window limit"));
        }
        let accepted = WindowWords::Wire(r.bytes(count * 8, "window words")?);
        Ok(Window { transfer, pages, base, limit, accepted })
    }
}

/// One frame; borrowed from the opened payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the specification's table")]
pub enum Frame<'a> {
    /// This many zeros to the end of the payload.
    Padding(usize),
    /// Asks for an acknowledgement.
    Ping,
    /// Acknowledged numbers.
    Ack(Ack<'a>),
    /// A piece of the control stream.
    Stream { offset: u64, bytes: &'a [u8] },
    /// End of the control stream that may be sent.
    Credit(u64),
    /// State of a transfer's receiver.
    Window(Window<'a>),
    /// Proves an address.
    PathChallenge { token: [u8; 8], connection: ConnectionId },
    /// Answers a challenge.
    PathResponse { token: [u8; 8], connection: ConnectionId },
    /// The path will not be used again.
    PathAbandon(PathId),
    /// The connection ends.
    Close { code: CloseCode, text: &'a str },
}

const PADDING: u8 = 0;
const PING: u8 = 1;
const ACK: u8 = 2;
const STREAM: u8 = 3;
const CREDIT: u8 = 4;
const WINDOW: u8 = 5;
const PATH_CHALLENGE: u8 = 6;
const PATH_RESPONSE: u8 = 7;
const PATH_ABANDON: u8 = 8;
const CLOSE: u8 = 9;

impl Frame<'_> {
    /// Bytes of a STREAM frame without its data.
    pub const STREAM_OVERHEAD: usize = 1 + 8 + 2;

    /// Whether a packet with this frame must be acknowledged.
    pub const fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Frame::Ack(_) | Frame::Padding(_) | Frame::Close { .. })
    }

    /// Bytes that [`Frame::encode`] will write.
    #[expect(clippy::arithmetic_side_effects, reason = "the length of what this end says, within a datagram")]
    pub fn encoded_len(&self) -> usize {
        match self {
            Frame::Padding(n) => *n,
            Frame::Ping => 1,
            Frame::Ack(ack) => ACK_FIXED + ack.ranges.len(),
            Frame::Stream { bytes, .. } => Self::STREAM_OVERHEAD + bytes.len(),
            Frame::Credit(_) => 9,
            Frame::Window(window) => 1 + 17 + window.accepted.len() * 8,
            Frame::PathChallenge { .. } | Frame::PathResponse { .. } => 13,
            Frame::PathAbandon(_) => 3,
            Frame::Close { text, .. } => 5 + text.len(),
        }
    }

    /// Appends the frame. An ACK is re-encoded as it was decoded; to build one use [`encode_ack_ranges`].
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Frame::Padding(n) => w.zeros(*n),
            Frame::Ping => w.u8(PING),
            Frame::Ack(ack) => {
                Self::encode_ack_head(w, ack);
                w.u8(ack.count());
                w.u64(ack.largest);
                w.bytes(ack.ranges);
            }
            Frame::Stream { .. } => self.encode_split(&[], w),
            Frame::Credit(end) => {
                w.u8(CREDIT);
                w.u64(*end);
            }
            Frame::Window(window) => Self::encode_window(w, window),
            Frame::PathChallenge { token, connection } => {
                w.u8(PATH_CHALLENGE);
                w.bytes(token);
                w.u32(connection.0);
            }
            Frame::PathResponse { token, connection } => {
                w.u8(PATH_RESPONSE);
                w.bytes(token);
                w.u32(connection.0);
            }
            Frame::PathAbandon(path) => {
                w.u8(PATH_ABANDON);
                w.u16(path.0);
            }
            Frame::Close { code, text } => {
                w.u8(CLOSE);
                w.u16(code.number());
                w.u16(text.len() as u16);
                w.bytes(text.as_bytes());
            }
        }
    }

    /// Appends a STREAM frame whose bytes lie in two halves; any other frame as it is.
    #[expect(clippy::arithmetic_side_effects, reason = "the length of what this end says, within a datagram")]
    pub fn encode_split(&self, second: &[u8], w: &mut Writer<'_>) {
        if let Frame::Stream { offset, bytes } = self {
            w.u8(STREAM);
            w.u64(*offset);
            w.u16((bytes.len() + second.len()) as u16);
            w.bytes(bytes);
            w.bytes(second);
        } else {
            self.encode(w);
        }
    }

    /// Writes the part of an ACK frame before its ranges; [`encode_ack_ranges`] writes the rest.
    pub fn encode_ack_head(w: &mut Writer<'_>, ack: &Ack<'_>) {
        w.u8(ACK);
        w.u16(ack.path.0);
        w.u32(ack.delay_us);
        w.u32(ack.echo_stamp);
        w.u32(ack.arrival_stamp);
        w.u32(ack.ce_count);
    }

    fn encode_window(w: &mut Writer<'_>, window: &Window<'_>) {
        w.u8(WINDOW);
        w.u32(window.transfer.0);
        w.u32(window.pages);
        w.u32(window.base);
        w.u32(window.limit);
        w.u8(window.accepted.len() as u8);
        for i in 0..window.accepted.len() {
            w.u64(window.accepted.word(i));
        }
    }
}

impl<'a> Ack<'a> {
    /// The head of an ACK to be sent; its ranges are written by [`encode_ack_ranges`].
    pub const fn head(
        path: PathId,
        delay_us: u32,
        echo_stamp: u32,
        arrival_stamp: u32,
        ce_count: u32,
    ) -> Self {
        Ack { path, delay_us, echo_stamp, arrival_stamp, ce_count, largest: 0, ranges: &[] }
    }
}

/// Iterator over the frames of an opened CONTROL payload; ends after the first error.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    reader: Reader<'a>,
}

impl<'a> Frames<'a> {
    /// The frames of `payload`.
    pub const fn new(payload: &'a [u8]) -> Self {
        Frames { reader: Reader::new(payload) }
    }

    fn decode(&mut self) -> Result<Frame<'a>, Malformed> {
        let r = &mut self.reader;
        Ok(match r.u8("frame type")? {
            PADDING => {
                let rest = r.rest();
                if rest.iter().any(|b| *b != 0) {
                    return Err(Malformed::new("padding"));
                }
                Frame::Padding(rest.len().saturating_add(1))
            }
            PING => Frame::Ping,
            ACK => Frame::Ack(Ack::decode(r)?),
            STREAM => {
                let offset = r.u64("stream offset")?;
                let bytes = r.counted(usize::from(u16::MAX), "stream bytes")?;
                if offset.checked_add(bytes.len() as u64).is_none() {
                    return Err(Malformed::new("stream offset"));
                }
                Frame::Stream { offset, bytes }
            }
            CREDIT => Frame::Credit(r.u64("credit")?),
            WINDOW => Frame::Window(Window::decode(r)?),
            PATH_CHALLENGE => Frame::PathChallenge {
                token: r.array("challenge token")?,
                connection: ConnectionId(r.u32("challenge connection")?),
            },
            PATH_RESPONSE => Frame::PathResponse {
                token: r.array("response token")?,
                connection: ConnectionId(r.u32("response connection")?),
            },
            PATH_ABANDON => Frame::PathAbandon(PathId(r.u16("abandoned path")?)),
            CLOSE => {
                let code = CloseCode::from_number(r.u16("close code")?);
                let text = r.counted(limits::CLOSE_TEXT_LEN_MAX, "close text")?;
                let text = core::str::from_utf8(text).map_err(|_| Malformed::new("close text"))?;
                Frame::Close { code, text }
            }
            _ => return Err(Malformed::new("frame type")),
        })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let frame = self.decode();
        if frame.is_err() {
            self.reader.rest();
        }
        Some(frame)
    }
}
