//! The scripted peer: seals whatever it is told to under valid keys, and takes note of what the end sends.

use super::stand_in::{StandIn, StandInKey};
use std::collections::{BTreeMap, BTreeSet};
use xfer_proto::crypto::{Crypto as _, Secrets, Suite, epoch, packet_key};
use xfer_proto::limits;
use xfer_proto::wire::{
    ConnectionId, Frame, Frames, HEADER_LEN, Header, Kind, Message, PathId, TAG_LEN, Writer,
};

/// Id in packets to the end.
pub(super) const END_ID: ConnectionId = ConnectionId(100);
/// Id in packets to the peer.
pub(super) const PEER_ID: ConnectionId = ConnectionId(200);
/// Datagrams that are kept to be sent again.
const KEPT: usize = 32;
/// Numbers of a path that are kept to be acknowledged.
const HEARD_MAX: usize = 256;

/// What the peer knows of one path.
#[derive(Default)]
pub(super) struct Way {
    /// Number of its next packet.
    pub(super) next: u64,
    /// What the end accepted of it.
    pub(super) accepted: BTreeSet<u64>,
    /// Numbers that the end sent, newest last.
    pub(super) heard: Vec<u64>,
    /// The end's challenge that came last.
    pub(super) challenge: Option<[u8; 8]>,
    /// Bytes from and to the end while it has not proven the path.
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

pub(super) struct Peer {
    suite: Suite,
    /// Of packets to the end, and of packets from it.
    seal: [u8; 32],
    open: [u8; 32],
    pub(super) ways: BTreeMap<u16, Way>,
    /// Bytes of the control stream that were made; what of them was sent is the script's choice.
    pub(super) stream: Vec<u8>,
    pub(super) stream_sent: usize,
    /// Datagrams that were sent, newest last.
    pub(super) kept: Vec<Vec<u8>>,
    /// The end's control stream, as far as it came without a hole.
    heard_stream: Vec<u8>,
    /// Where the end's next message begins in it.
    heard_to: usize,
    /// The end's credit, which never falls.
    credit: u64,
    /// Where the farthest STREAM frame that was sent ends.
    told: u64,
}

impl Peer {
    /// A peer of an end that opened (`end_opens`) or answered.
    pub(super) fn new(suite: Suite, secrets: &Secrets, end_opens: bool) -> Self {
        let (seal, open) =
            if end_opens { (secrets.accept, secrets.open) } else { (secrets.open, secrets.accept) };
        Peer {
            suite,
            seal,
            open,
            ways: BTreeMap::new(),
            stream: Vec::new(),
            stream_sent: 0,
            kept: Vec::new(),
            heard_stream: Vec::new(),
            heard_to: 0,
            credit: 0,
            told: 0,
        }
    }

    fn key(&self, secret: &[u8; 32], path: PathId, number: u64) -> StandInKey {
        packet_key(&StandIn, secret, self.suite, path, epoch(number))
    }

    /// A datagram around `payload`; the number is the path's next one where the header has none.
    pub(super) fn seal(&mut self, header: &Header, payload: &[u8]) -> Vec<u8> {
        let header = Header { connection: END_ID, length: payload.len() as u16, ..*header };
        let head = header.encode();
        let mut datagram = head.to_vec();
        if header.kind == Kind::Data && !self.suite.seals_data() {
            datagram.extend_from_slice(payload);
        } else {
            let key = self.key(&self.seal, header.path, header.number);
            datagram.resize(HEADER_LEN + payload.len() + TAG_LEN, 0);
            StandIn.seal(&key, header.number, &head, payload, &mut datagram[HEADER_LEN..]);
        }
        if header.kind == Kind::Control {
            let streams = Frames::new(payload).flatten().filter_map(|frame| match frame {
                Frame::Stream { offset, bytes } => Some(offset + bytes.len() as u64),
                _ => None,
            });
            self.told = streams.fold(self.told, u64::max);
        }
        self.keep(&datagram);
        datagram
    }

    fn keep(&mut self, datagram: &[u8]) {
        if self.kept.len() == KEPT {
            self.kept.remove(0);
        }
        self.kept.push(datagram.to_vec());
    }

    /// The next number of a path, `skip` numbers on.
    pub(super) fn number(&mut self, path: u16, skip: u64) -> u64 {
        let way = self.ways.entry(path).or_default();
        let number = way.next.saturating_add(skip).min(limits::NUMBER_END - 1);
        way.next = (number + 1).min(limits::NUMBER_END - 1);
        number
    }

    /// A CONTROL payload of these frames.
    pub(super) fn payload(frames: &[Frame<'_>]) -> Vec<u8> {
        let mut out = vec![0; frames.iter().map(Frame::encoded_len).sum()];
        let mut w = Writer::new(&mut out);
        frames.iter().for_each(|frame| frame.encode(&mut w));
        out
    }

    pub(super) fn say(&mut self, message: &Message) {
        message.encode(&mut self.stream);
    }

    /// Takes a datagram that the end sent: it opens, decodes, and says nothing that is not so. Messages of its control stream come back.
    pub(super) fn hear(&mut self, datagram: &[u8], seen: &mut Seen) {
        let header = Header::decode(datagram).expect("the end sends packets");
        let way = self.ways.entry(header.path.0).or_default();
        assert!(way.heard.last().is_none_or(|last| header.number > *last), "{header:?}: a number twice");
        if way.heard.len() == HEARD_MAX {
            way.heard.remove(0);
        }
        way.heard.push(header.number);
        let plain_data = header.kind == Kind::Data && !self.suite.seals_data();
        let sealed = &datagram[HEADER_LEN..];
        let mut payload = vec![0; usize::from(header.length)];
        if plain_data {
            payload.copy_from_slice(sealed);
        } else {
            assert_eq!(sealed.len(), payload.len() + TAG_LEN);
            let key = self.key(&self.open, header.path, header.number);
            let opened = StandIn.open(&key, header.number, &datagram[..HEADER_LEN], sealed, &mut payload);
            assert!(opened, "{header:?} does not open");
        }
        match header.kind {
            Kind::Data => seen.data.push((header, payload)),
            Kind::Control => self.hear_frames(header.path, &payload, seen),
            other => panic!("the end sends {other:?}"),
        }
    }

    fn hear_frames(&mut self, path: PathId, payload: &[u8], seen: &mut Seen) {
        for frame in Frames::new(payload) {
            match frame.expect("the end's frames decode") {
                Frame::Ack(ack) => {
                    let way = self.ways.get(&ack.path.0).expect("a path that was used");
                    for range in ack.ranges() {
                        let told = range.end() - range.start() + 1;
                        assert_eq!(
                            way.accepted.range(range).count() as u64,
                            told,
                            "ACK of what was not accepted"
                        );
                    }
                }
                Frame::Stream { offset, bytes } => self.hear_stream(offset, bytes),
                Frame::Credit(end) => {
                    assert!(end >= self.credit, "credit that falls");
                    assert!(end <= self.told + limits::STREAM_WINDOW, "credit beyond what was consumed");
                    self.credit = end;
                }
                Frame::Window(window) => {
                    let set = |i: &u32| window.accepted.word((i / 64) as usize) >> (i % 64) & 1 != 0;
                    let bits = (0..window.accepted.len() as u32 * 64).filter(set);
                    let accepted = bits.map(|i| window.base + i).collect();
                    seen.windows.push((window.base, window.limit, accepted));
                }
                Frame::PathChallenge { token, .. } => {
                    self.ways.entry(path.0).or_default().challenge = Some(token);
                }
                _ => {}
            }
        }
    }

    fn hear_stream(&mut self, offset: u64, bytes: &[u8]) {
        let offset = usize::try_from(offset).expect("a short stream");
        let end = offset + bytes.len();
        assert!(end <= 4 << 20, "a control stream without end");
        let known = self.heard_stream.len();
        if offset <= known && end > known {
            self.heard_stream.extend_from_slice(&bytes[known - offset..]);
        }
        let overlap = offset.min(known)..end.min(known);
        assert_eq!(self.heard_stream[overlap.clone()], bytes[..overlap.len()], "stream bytes that changed");
        while let Ok(Some((number, len))) = Message::head(&self.heard_stream[self.heard_to..]) {
            let start = self.heard_to + Message::HEAD_LEN;
            Message::decode(number, &self.heard_stream[start..start + len])
                .expect("the end's messages decode");
            self.heard_to = start + len;
        }
    }
}

/// What an end said that its application has to answer for.
#[derive(Default)]
pub(super) struct Seen {
    /// WINDOWs: base, limit, chunks that are accepted beyond the base.
    pub(super) windows: Vec<(u32, u32, Vec<u32>)>,
    /// DATA with its content.
    pub(super) data: Vec<(Header, Vec<u8>)>,
}
