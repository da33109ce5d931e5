//! A peer that has the keys and breaks the protocol: one packet of its own making, and how the other end has to take it.

use std::collections::HashMap;
use std::ops::Range;

use xfer_netem::Rng;
use xfer_proto::crypto::{Crypto, Suite, epoch, packet_key};
use xfer_proto::wire::{
    Ack, CloseCode, ConnectionId, Frame, HEADER_LEN, Header, Kind, PathId, TAG_LEN, Writer, encode_ack_ranges,
};

/// The packet's number is so far above what arrived.
const NUMBER_AHEAD: u64 = 20_000;
/// No control stream comes this far.
const STREAM_FAR: u64 = 1 << 40;

/// How the protocol is broken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    /// An ACK names the number after the last that was sent.
    AckNext,
    /// An ACK names a number that was left out to change keys.
    AckLeapt,
    /// Bytes of the control stream beyond all credit.
    StreamFar,
    /// A frame of an unknown type.
    UnknownFrame,
}

/// What left an end on each path: the highest number, and the numbers that were left out last, where these are many.
#[derive(Default)]
pub(crate) struct Sent(HashMap<PathId, (u64, Option<Range<u64>>)>);

impl Sent {
    pub(crate) fn note(&mut self, header: &Header) {
        if !matches!(header.kind, Kind::Data | Kind::Control) {
            return;
        }
        let Some((highest, leapt)) = self.0.get_mut(&header.path) else {
            self.0.insert(header.path, (header.number, None));
            return;
        };
        if header.number > *highest + 2 {
            *leapt = Some(*highest + 2..header.number);
        }
        *highest = (*highest).max(header.number);
    }
}

/// What a lying packet is made with.
pub(crate) struct Making<'a> {
    /// Of the direction to the end that is lied to.
    pub(crate) secret: &'a [u8; 32],
    pub(crate) suite: Suite,
    pub(crate) connection: ConnectionId,
    pub(crate) path: PathId,
    /// Highest number that arrived on the path.
    pub(crate) arrived: u64,
    /// What the end that is lied to sent.
    pub(crate) sent: &'a Sent,
}

impl Lie {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        [Lie::AckNext, Lie::AckLeapt, Lie::StreamFar, Lie::UnknownFrame][rng.below(4) as usize]
    }

    /// How who got it closes.
    pub(crate) const fn code(self) -> CloseCode {
        match self {
            Lie::AckNext | Lie::AckLeapt => CloseCode::AckUnsent,
            Lie::StreamFar => CloseCode::Flow,
            Lie::UnknownFrame => CloseCode::Protocol,
        }
    }

    /// The datagram; `None` when there is nothing to lie about.
    pub(crate) fn datagram<C: Crypto>(self, crypto: &C, making: &Making<'_>) -> Option<Vec<u8>> {
        let Making { secret, suite, connection, path, arrived, sent } = making;
        let (highest, leapt) = sent.0.get(path)?;
        let mut payload = [0; 200];
        let mut w = Writer::new(&mut payload);
        let mut ack = |number: u64| {
            Frame::encode_ack_head(&mut w, &Ack::head(*path, 0, 0, 0, 0));
            encode_ack_ranges(&mut w, std::iter::once(number..=number));
        };
        match self {
            Lie::AckNext => ack(highest + 1),
            Lie::AckLeapt => ack(leapt.as_ref()?.start),
            Lie::StreamFar => Frame::Stream { offset: STREAM_FAR, bytes: b"x" }.encode(&mut w),
            Lie::UnknownFrame => w.u8(0x3f),
        }
        let len = w.written();
        let mut header = Header::new(Kind::Control);
        header.path = *path;
        header.connection = *connection;
        header.number = arrived + NUMBER_AHEAD;
        header.length = len as u16;
        let head = header.encode();
        let key = packet_key(crypto, secret, *suite, *path, epoch(header.number));
        let mut datagram = head.to_vec();
        datagram.resize(HEADER_LEN + len + TAG_LEN, 0);
        crypto.seal(&key, header.number, &head, &payload[..len], &mut datagram[HEADER_LEN..]);
        Some(datagram)
    }
}
