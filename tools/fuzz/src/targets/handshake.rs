//! The handshake's packets, raw and with valid seals around any payload, to an acceptor and to an opener.

use crate::ENDED_EARLY;
use arbitrary::{Result, Unstructured};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use std::net::SocketAddr;
use std::time::Duration;
use xfer_proto::crypto::{Direction, Suite, Ticket};
use xfer_proto::handshake::{Acceptor, HalfOpen, HelloOutcome, Opener, Payload};
use xfer_proto::limits;
use xfer_proto::time::Time;
use xfer_proto::wire::{ConnectionId, HEADER_LEN, Header, Kind};

/// Half-open handshakes that the acceptor holds: few, so that it asks for cookies soon.
const SLOTS: usize = 4;
/// Tickets that wait.
const TICKETS: u8 = 5;
/// What the Noise pattern takes of a message: a key and a tag.
const NOISE_OVERHEAD: usize = 32 + 16;

pub(crate) fn run(input: &[u8]) {
    let mut scene = Scene::new();
    scene.play(&mut Unstructured::new(input)).unwrap_or(ENDED_EARLY);
}

struct Scene {
    now: Time,
    acceptor: Acceptor,
    opener: Opener,
    /// What was sent to the acceptor last.
    last: Vec<u8>,
    half_open: Vec<HalfOpen>,
    cookie: Vec<u8>,
}

fn ticket(n: u8) -> Ticket {
    let suite = [Suite::Aes128Gcm, Suite::ChaCha20Poly1305, Suite::Plain][usize::from(n) % 3];
    Ticket::new([n; 32], suite, Direction::Both)
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n % 3], 9))
}

fn payload(stream: usize) -> Payload {
    Payload {
        connection: ConnectionId(7),
        datagram_max: 1_452,
        receive_buffer: 1 << 20,
        stream_credit: 262_144,
        stream: vec![1; stream],
    }
}

/// The product's primitives, with an ephemeral key that is always the same.
struct Primitives;

struct Fixed;

impl Random for Fixed {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> std::result::Result<(), snow::Error> {
        out.fill(0x55);
        Ok(())
    }
}

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Fixed))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// One side of the Noise handshake of a ticket, by the words of PROTOCOL.md#handshake.
fn noise(ticket: &Ticket, opens: bool) -> HandshakeState {
    let name = match ticket.suite() {
        Suite::ChaCha20Poly1305 => "Noise_NNpsk0_25519_ChaChaPoly_SHA256",
        Suite::Aes128Gcm | Suite::Plain => "Noise_NNpsk0_25519_AESGCM_SHA256",
    };
    let prologue =
        [b"xfer\x01", &ticket.id().0[..], &[ticket.suite().number(), ticket.direction().number()]].concat();
    let params = name.parse().expect("a name of the Noise specification");
    let builder = Builder::with_resolver(params, Box::new(Primitives));
    let builder = builder.psk(0, ticket.secret()).expect("a psk");
    let builder = builder.prologue(&prologue).expect("a prologue");
    if opens { builder.build_initiator() } else { builder.build_responder() }.expect("all is given")
}

impl Scene {
    fn new() -> Self {
        let mut acceptor = Acceptor::new(SLOTS, [3; 32]);
        for n in 0..TICKETS {
            acceptor.admit(ticket(n), Time::from_nanos(60_000_000_000)).expect("room for a ticket");
        }
        let opener = Opener::new(&ticket(0), [4; 32], &payload(10)).expect("it fits");
        let (last, half_open) = (opener.hello().to_vec(), Vec::new());
        Scene { now: Time::from_nanos(1), acceptor, opener, last, half_open, cookie: Vec::new() }
    }

    fn play(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        while !u.is_empty() {
            match u.arbitrary::<u8>()? % 12 {
                0 => {
                    let mut datagram = self.raw(u, Kind::Hello)?;
                    datagram.resize(usize::from(u.int_in_range(0_u16..=1_500)?), 0);
                    self.hello(datagram, u.arbitrary()?);
                }
                1 => self.sealed_hello(u)?,
                2 => {
                    let mut datagram = self.last.clone();
                    mangle(u, &mut datagram)?;
                    self.hello(datagram, u.arbitrary()?);
                }
                3 => {
                    let (datagram, from) = (self.opener.hello().to_vec(), u.arbitrary()?);
                    self.hello(datagram, from);
                }
                4 => {
                    let datagram = self.raw(u, Kind::Reply)?;
                    _ = self.opener.handle_reply(&datagram);
                }
                5 => self.sealed_reply(u)?,
                6 => {
                    let datagram = self.raw(u, Kind::Cookie)?;
                    _ = self.opener.handle_cookie(&datagram);
                }
                7 => {
                    let datagram = self.raw(u, Kind::Versions)?;
                    _ = self.opener.handle_versions(&datagram);
                    assert!(self.opener.versions_hint().len() <= limits::VERSIONS_MAX);
                }
                8 => _ = self.opener.handle_cookie(&self.cookie),
                9 => {
                    self.now = self.now + Duration::from_millis(u.arbitrary::<u16>()?.into());
                    let late = self.acceptor.expire(self.now);
                    self.half_open.retain(|handle| !late.contains(handle));
                }
                10 => self.end(u)?,
                _ => {
                    self.acceptor.revoke(ticket(u.arbitrary::<u8>()? % TICKETS).id());
                }
            }
            assert!(self.acceptor.half_open() <= SLOTS && self.acceptor.tickets() <= usize::from(TICKETS));
            assert!((limits::DATAGRAM_MIN..=limits::HELLO_LEN_MAX).contains(&self.opener.hello().len()));
        }
        Ok(())
    }

    /// Any bytes behind a header of that kind.
    fn raw(&self, u: &mut Unstructured<'_>, kind: Kind) -> Result<Vec<u8>> {
        let mut header = Header::new(kind);
        header.connection = ConnectionId(if kind == Kind::Hello { 0 } else { 7 });
        header.version = if u.arbitrary::<u8>()? < 240 { 1 } else { u.int_in_range(0..=7)? };
        let len = usize::from(u.int_in_range(0_u16..=1_600)?).min(u.len());
        Ok([&header.encode()[..], u.bytes(len)?].concat())
    }

    /// A HELLO whose Noise message opens, with any payload.
    fn sealed_hello(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let ticket = ticket(u.arbitrary::<u8>()? % TICKETS);
        let cookie: &[u8] =
            if u.arbitrary()? && self.cookie.len() > HEADER_LEN { &self.cookie[HEADER_LEN..] } else { &[] };
        let from = u.arbitrary()?;
        let inner = u.bytes(u.len().min(limits::HELLO_LEN_MAX - 140))?;
        let mut message = vec![0; inner.len() + NOISE_OVERHEAD];
        noise(&ticket, true).write_message(inner, &mut message).expect("it fits");
        let mut datagram = Header::new(Kind::Hello).encode().to_vec();
        datagram.extend_from_slice(&ticket.id().0);
        datagram.push(cookie.len() as u8);
        datagram.extend_from_slice(cookie);
        datagram.extend_from_slice(&(message.len() as u16).to_le_bytes());
        datagram.extend_from_slice(&message);
        datagram.resize(datagram.len().max(limits::DATAGRAM_MIN), 0);
        self.hello(datagram, from);
        Ok(())
    }

    /// A REPLY whose Noise message opens, with any payload.
    fn sealed_reply(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let inner = u.bytes(u.len().min(1_000))?;
        let hello = self.opener.hello();
        let at = HEADER_LEN + 16;
        let at = at + 1 + usize::from(hello[at]);
        let len = usize::from(u16::from_le_bytes([hello[at], hello[at + 1]]));
        let mut responder = noise(&ticket(0), false);
        let mut scratch = vec![0; limits::HELLO_LEN_MAX];
        responder.read_message(&hello[at + 2..at + 2 + len], &mut scratch).expect("the opener's own message");
        let mut message = vec![0; inner.len() + NOISE_OVERHEAD];
        responder.write_message(inner, &mut message).expect("it fits");
        let mut header = Header::new(Kind::Reply);
        header.connection = ConnectionId(7);
        let mut datagram = header.encode().to_vec();
        datagram.extend_from_slice(&(message.len() as u16).to_le_bytes());
        datagram.extend_from_slice(&message);
        let first = self.opener.handle_reply(&datagram);
        if let Ok(established) = first {
            assert!(usize::from(established.payload.datagram_max) >= limits::DATAGRAM_MIN);
            assert!(self.opener.handle_reply(&datagram).is_err(), "a handshake ends once");
        }
        Ok(())
    }

    /// The acceptor answers with no more than it got.
    fn hello(&mut self, datagram: Vec<u8>, from: u8) {
        let room = match self.acceptor.handle_hello(self.now, address(from), &datagram, [from; 32]) {
            HelloOutcome::Drop(_) => None,
            HelloOutcome::Cookie(answer) => {
                assert!(answer.len() <= datagram.len());
                self.cookie = answer.to_vec();
                None
            }
            HelloOutcome::Versions(answer) => {
                assert!(answer.len() <= datagram.len());
                None
            }
            HelloOutcome::Repeat(reply) => {
                assert!(reply.len() <= datagram.len());
                None
            }
            HelloOutcome::Fresh(fresh) => {
                assert!(usize::from(fresh.payload.datagram_max) >= limits::DATAGRAM_MIN);
                assert!(fresh.payload.stream.len() <= datagram.len());
                self.half_open.push(fresh.half_open);
                Some((fresh.half_open, fresh.reply_stream_room))
            }
        };
        if let Some((handle, room)) = room {
            let reply = self.acceptor.reply(handle, &payload(room)).expect("what there is room for fits");
            assert!(reply.len() <= datagram.len());
        }
        self.last = datagram;
    }

    fn end(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let Some(handle) = self.half_open.pop() else { return Ok(()) };
        let ended =
            if u.arbitrary()? { self.acceptor.established(handle) } else { self.acceptor.refuse(handle) };
        assert!(!ended || !self.acceptor.refuse(handle), "a handshake ends once");
        Ok(())
    }
}

/// Changes a few bytes.
fn mangle(u: &mut Unstructured<'_>, datagram: &mut [u8]) -> Result<()> {
    for _ in 0..u.int_in_range(1..=3)? {
        let at = usize::from(u.arbitrary::<u16>()?);
        if let Some(byte) = datagram.get_mut(at) {
            *byte ^= u.arbitrary::<u8>()?;
        }
    }
    Ok(())
}
