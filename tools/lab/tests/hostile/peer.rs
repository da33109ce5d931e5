//! A peer of the data port that keeps no rule by itself: the crate's own codec and ciphers, a bare socket, and nothing between them.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use xfer_client::pb;
use xfer_engine::crypto::AwsCrypto;
use xfer_lab::Host;
use xfer_proto::crypto::{Crypto, Direction, OpenRing, SealRing, Secrets, Suite, Ticket};
use xfer_proto::handshake::{Acceptor, HelloOutcome, Opener, Payload};
use xfer_proto::limits::STREAM_WINDOW;
use xfer_proto::time::Time;
use xfer_proto::wire::{
    CloseCode, ConnectionId, Frame, Frames, HEADER_LEN, Header, Kind, Message, PathId, TAG_LEN, TransferId,
    Writer, encode_ack_ranges,
};

/// The transfer of every connection.
pub(crate) const TRANSFER: TransferId = TransferId(1);
const OWN_ID: ConnectionId = ConnectionId(0x7770_0000);
const DATAGRAM: usize = 65_536;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);
/// Packets with pieces of the control stream that are sent before they are asked for.
const STREAM_BURST: usize = 16;
const STREAM_PIECE: usize = 1_100;

/// A ticket and where it is good.
pub(crate) struct Pass {
    pub(crate) ticket: Ticket,
    pub(crate) node: SocketAddr,
}

impl Pass {
    /// Of the node's answer.
    pub(crate) fn of(answer: &pb::CreateTransferResponse, node: SocketAddr, direction: Direction) -> Pass {
        let secret = answer.secret[..].try_into().unwrap();
        Pass { ticket: Ticket::new(secret, Suite::Aes128Gcm, direction), node }
    }

    /// A handshake that carries `stream`.
    pub(crate) fn opener(&self, seed: u8, stream: Vec<u8>) -> Opener {
        let payload = Payload {
            connection: OWN_ID,
            datagram_max: 1_452,
            receive_buffer: 4 << 20,
            stream_credit: u32::MAX,
            stream,
        };
        Opener::new(&self.ticket, [seed; 32], &payload).unwrap()
    }
}

/// A socket of `host` that waits no longer than `wait`.
pub(crate) fn socket(host: &Host, wait: Duration) -> UdpSocket {
    let address = SocketAddr::new(host.ipv4(1).into(), 0);
    let socket = host.enter(|| UdpSocket::bind(address)).unwrap().unwrap();
    socket.set_read_timeout(Some(wait)).unwrap();
    socket
}

/// One connection to a node.
pub(crate) struct Peer {
    pub(crate) socket: UdpSocket,
    pub(crate) node: SocketAddr,
    secret: [u8; 32],
    remote: ConnectionId,
    seal: SealRing<AwsCrypto>,
    open: OpenRing<AwsCrypto>,
    /// The next packet of path 0.
    pub(crate) number: u64,
    /// What arrived on path 0.
    pub(crate) seen: BTreeSet<u64>,
    /// Offset of the control stream that comes next, and how far the node takes it.
    offset: u64,
    credit: u64,
    /// Messages of the node, and what of its stream is not one yet.
    pub(crate) messages: Vec<Message>,
    incoming: Vec<u8>,
    incoming_end: u64,
    /// The newest word on what may be sent: pages, base, limit.
    pub(crate) window: (u32, u32, u32),
    /// The largest of its own packets that the node acknowledged.
    acked: Option<u64>,
    /// Why the node closed.
    pub(crate) closed: Option<(CloseCode, String)>,
    /// Datagram bytes of the node.
    pub(crate) heard: u64,
}

impl Peer {
    /// Shakes hands, and says the messages with the HELLO.
    pub(crate) fn connect(host: &Host, pass: &Pass, first: &[Message]) -> Peer {
        let mut stream = Vec::new();
        first.iter().for_each(|message| message.encode(&mut stream));
        let offset = stream.len() as u64;
        let socket = socket(host, ANSWER);
        let mut opener = pass.opener(7, stream);
        let mut buffer = vec![0; DATAGRAM];
        let established = loop {
            socket.send_to(opener.hello(), pass.node).unwrap();
            let len = socket.recv(&mut buffer).expect("the node answers a HELLO with a ticket");
            match Header::decode(&buffer[..len]).map(|header| header.kind) {
                Ok(Kind::Cookie) => opener.handle_cookie(&buffer[..len]).unwrap(),
                _ => break opener.handle_reply(&buffer[..len]).unwrap(),
            }
        };
        let Secrets { open: ours, accept: theirs } = &established.secrets;
        let mut peer = Peer::over(socket, pass.node, (*ours, *theirs), established.payload.connection);
        peer.offset = offset;
        peer.take_stream(0, &established.payload.stream);
        peer.send(&[Frame::Ping]);
        peer
    }

    /// Waits for the HELLO of a client that has the ticket, and says the messages with the REPLY.
    pub(crate) fn accept(socket: UdpSocket, ticket: &Ticket, first: &[Message]) -> Peer {
        let mut stream = Vec::new();
        first.iter().for_each(|message| message.encode(&mut stream));
        let mut acceptor = Acceptor::new(16, [1; 32]);
        acceptor.admit(ticket.clone(), Time::NEVER).unwrap();
        let mut buffer = vec![0; DATAGRAM];
        socket.set_read_timeout(Some(ANSWER * 3)).unwrap();
        let (len, from) = socket.recv_from(&mut buffer).expect("the client says HELLO");
        let outcome = acceptor.handle_hello(Time::from_nanos(1), from, &buffer[..len], [2; 32]);
        let HelloOutcome::Fresh(fresh) = outcome else { panic!("{outcome:?}") };
        let offset = stream.len() as u64;
        let reply = Payload {
            connection: OWN_ID,
            datagram_max: 1_452,
            receive_buffer: 4 << 20,
            stream_credit: u32::MAX,
            stream,
        };
        let reply = acceptor.reply(fresh.half_open, &reply).unwrap();
        socket.send_to(reply, from).unwrap();
        let Secrets { open: theirs, accept: ours } = &fresh.secrets;
        let mut peer = Peer::over(socket, from, (*ours, *theirs), fresh.payload.connection);
        peer.offset = offset;
        peer.take_stream(0, &fresh.payload.stream);
        peer
    }

    /// A connection whose keys are known: for what this end sends, and for what comes.
    fn over(
        socket: UdpSocket,
        node: SocketAddr,
        (ours, theirs): ([u8; 32], [u8; 32]),
        remote: ConnectionId,
    ) -> Peer {
        Peer {
            socket,
            node,
            secret: ours,
            remote,
            seal: SealRing::new(&AwsCrypto, &ours, Suite::Aes128Gcm, PathId(0)),
            open: OpenRing::new(&AwsCrypto, &theirs, Suite::Aes128Gcm, PathId(0)),
            number: 0,
            seen: BTreeSet::new(),
            offset: 0,
            credit: STREAM_WINDOW,
            messages: Vec::new(),
            incoming: Vec::new(),
            incoming_end: 0,
            window: (0, 0, 0),
            acked: None,
            closed: None,
            heard: 0,
        }
    }

    /// Seals a CONTROL packet.
    pub(crate) fn sealed(&mut self, payload: &[u8]) -> Vec<u8> {
        self.packet(Header { kind: Kind::Control, ask: true, ..Header::new(Kind::Control) }, payload)
    }

    fn packet(&mut self, header: Header, payload: &[u8]) -> Vec<u8> {
        let header =
            Header { connection: self.remote, number: self.number, length: payload.len() as u16, ..header };
        self.number += 1;
        seal(self.seal.key(&AwsCrypto, header.number), &header, payload)
    }

    /// A CONTROL packet, padded to `len`, as the first of path `path`, which the node does not know yet.
    pub(crate) fn first_of(&self, path: u16, frames: &[Frame<'_>], len: usize) -> Vec<u8> {
        let path = PathId(path);
        let mut payload = encoded(frames);
        payload.resize(payload.len().max(len - HEADER_LEN - TAG_LEN), 0);
        let mut ring = SealRing::new(&AwsCrypto, &self.secret, Suite::Aes128Gcm, path);
        let header = Header {
            path,
            connection: self.remote,
            length: payload.len() as u16,
            ..Header::new(Kind::Control)
        };
        seal(ring.key(&AwsCrypto, 0), &header, &payload)
    }

    /// Sends frames in one packet of path 0; gives its number.
    pub(crate) fn send(&mut self, frames: &[Frame<'_>]) -> u64 {
        self.send_payload(&encoded(frames))
    }

    /// Sends a CONTROL packet with these bytes.
    pub(crate) fn send_payload(&mut self, payload: &[u8]) -> u64 {
        let datagram = self.sealed(payload);
        self.socket.send_to(&datagram, self.node).unwrap();
        self.number - 1
    }

    /// Sends content of an attempt of a chunk.
    pub(crate) fn send_content(&mut self, offset: u64, attempt: u8, bytes: &[u8]) {
        let header = Header { transfer: TRANSFER, offset, attempt, ask: true, ..Header::new(Kind::Data) };
        let datagram = self.packet(header, bytes);
        self.socket.send_to(&datagram, self.node).unwrap();
    }

    /// Sends an ACK of path 0 with these ranges, newest first.
    pub(crate) fn send_ack(&mut self, ranges: &[std::ops::RangeInclusive<u64>]) -> u64 {
        let mut payload = vec![0; 1_300];
        let mut w = Writer::new(&mut payload);
        w.u8(2);
        w.u16(0);
        (0..4).for_each(|_| w.u32(0));
        encode_ack_ranges(&mut w, ranges.iter().cloned());
        let len = w.written();
        self.send_payload(&payload[..len])
    }

    /// Acknowledges all that has arrived.
    pub(crate) fn acknowledge(&mut self) {
        let mut ranges: Vec<std::ops::RangeInclusive<u64>> = Vec::new();
        for number in self.seen.iter().rev() {
            match ranges.last_mut() {
                Some(range) if *range.start() == number + 1 => *range = *number..=*range.end(),
                _ => ranges.push(*number..=*number),
            }
        }
        if !ranges.is_empty() {
            self.send_ack(&ranges);
        }
    }

    /// Says a message, and sees to it that it arrives, unless the node closes.
    pub(crate) fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.say_bytes(&bytes);
    }

    /// The same for bytes of the control stream that need not be a message.
    pub(crate) fn say_bytes(&mut self, bytes: &[u8]) {
        for burst in bytes.chunks(STREAM_BURST * STREAM_PIECE) {
            let end = self.offset + burst.len() as u64;
            self.until(ANSWER, |peer| peer.credit >= end);
            assert!(self.credit >= end || self.closed.is_some(), "the node gives no credit");
            let deadline = Instant::now() + ANSWER;
            while self.closed.is_none() {
                assert!(Instant::now() < deadline, "the node does not take the control stream");
                let mut last = 0;
                for (i, piece) in burst.chunks(STREAM_PIECE).enumerate() {
                    let offset = self.offset + (i * STREAM_PIECE) as u64;
                    last = self.send(&[Frame::Stream { offset, bytes: piece }]);
                }
                let wait = Duration::from_millis(300);
                if self.until(wait, |peer| peer.acked.is_some_and(|acked| acked >= last)) {
                    break;
                }
            }
            self.offset += burst.len() as u64;
        }
    }

    /// Takes packets until `met` or `wait` is over, or the node closes; whether it was met.
    pub(crate) fn until(&mut self, wait: Duration, mut met: impl FnMut(&Peer) -> bool) -> bool {
        let deadline = Instant::now() + wait;
        loop {
            if met(self) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.closed.is_some() {
                return false;
            }
            self.receive(left);
        }
    }

    /// Waits for the node's CLOSE.
    #[track_caller]
    pub(crate) fn until_closed(&mut self) -> (CloseCode, String) {
        self.until(ANSWER, |peer| peer.closed.is_some());
        self.closed.clone().expect("the node closes")
    }

    /// Takes one packet, if one comes in time.
    fn receive(&mut self, wait: Duration) -> Option<()> {
        self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1)))).unwrap();
        let mut buffer = vec![0; DATAGRAM];
        let (len, _) = self.socket.recv_from(&mut buffer).ok()?;
        self.heard += len as u64;
        let header = Header::decode(&buffer[..len]).ok()?;
        if !matches!(header.kind, Kind::Data | Kind::Control) || header.path != PathId(0) {
            return None;
        }
        let mut payload = vec![0; usize::from(header.length)];
        let key = self.open.key(header.number)?;
        let opened =
            AwsCrypto.open(key, header.number, &buffer[..HEADER_LEN], &buffer[HEADER_LEN..len], &mut payload);
        assert!(opened, "the node seals what it sends");
        self.open.authenticated(&AwsCrypto, header.number);
        self.seen.insert(header.number);
        if header.kind == Kind::Control {
            self.take(&payload);
        }
        Some(())
    }

    fn take(&mut self, payload: &[u8]) {
        for frame in Frames::new(payload) {
            match frame.expect("the node's frames are well formed") {
                Frame::Ack(ack) => self.acked = self.acked.max(Some(ack.largest)),
                Frame::Stream { offset, bytes } => self.take_stream(offset, bytes),
                Frame::Credit(end) => self.credit = self.credit.max(end),
                Frame::Window(window) => self.window = (window.pages, window.base, window.limit),
                Frame::Close { code, text } => self.closed = Some((code, text.to_owned())),
                _ => {}
            }
        }
    }

    /// Takes what comes in order; the wire loses nothing, and what was not acknowledged comes again.
    fn take_stream(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        if offset > self.incoming_end || end <= self.incoming_end {
            return;
        }
        self.incoming.extend_from_slice(&bytes[(self.incoming_end - offset) as usize..]);
        self.incoming_end = end;
        while let Some((number, len)) = Message::head(&self.incoming).unwrap() {
            let whole = Message::HEAD_LEN + len;
            let body = &self.incoming[Message::HEAD_LEN..whole];
            self.messages.push(Message::decode(number, body).expect("the node's messages are well formed"));
            self.incoming.drain(..whole);
        }
    }
}

fn seal(key: &<AwsCrypto as Crypto>::Key, header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut datagram = header.encode().to_vec();
    datagram.resize(HEADER_LEN + payload.len() + TAG_LEN, 0);
    let (head, sealed) = datagram.split_at_mut(HEADER_LEN);
    AwsCrypto.seal(key, header.number, head, payload, sealed);
    datagram
}

fn encoded(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut payload = vec![0; frames.iter().map(Frame::encoded_len).sum()];
    let mut w = Writer::new(&mut payload);
    frames.iter().for_each(|frame| frame.encode(&mut w));
    payload
}
