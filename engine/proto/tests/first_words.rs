//! What the handshake carries of both control streams, and the last words of an end that leaves: once, whole, and never more to an
//! address than came from it.

mod support;

use core::ops::Range;
use std::net::SocketAddr;
use std::time::Duration;
use support::stand_in::StandIn;
use xfer_proto::cc::Algorithm;
use xfer_proto::connection::{
    ChunkBytes, ChunkMemory, Config, Connection, Established, Event, Received, Side,
};
use xfer_proto::crypto::{Direction, Secrets, Suite, Ticket};
use xfer_proto::handshake::{Acceptor, DropReason, Fresh, HelloOutcome, Opener, Payload, ReplyError};
use xfer_proto::limits;
use xfer_proto::path::Address;
use xfer_proto::stream::SendStream;
use xfer_proto::time::Time;
use xfer_proto::wire::{Accept, CloseCode, ConnectionId, Header, Message, TransferId};

type End = Connection<StandIn>;

/// Nobody sends content here.
struct NoContent;

impl ChunkMemory for NoContent {
    fn write<R>(&mut self, _: TransferId, _: u32, _: Range<u32>, _: impl FnOnce(&mut [u8]) -> R) -> R {
        unreachable!("no chunk is granted")
    }
}

impl ChunkBytes for NoContent {
    fn read<R>(&self, _: TransferId, _: u32, _: Range<u32>, _: impl FnOnce(&[u8]) -> R) -> R {
        unreachable!("no chunk is offered")
    }
}

fn ms(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 77, 1, host], 4_000))
}

fn ticket() -> Ticket {
    Ticket::new([5; 32], Suite::Aes128Gcm, Direction::Both)
}

/// Message number `i` of an end: each differs from all others.
fn word(i: u32) -> Message {
    Message::Reject { transfer: TransferId(i), chunk: 7, attempt: 1 }
}

fn encoded(words: Range<u32>) -> Vec<u8> {
    let mut stream = Vec::new();
    words.for_each(|i| word(i).encode(&mut stream));
    stream
}

fn payload(connection: u32, stream: Vec<u8>) -> Payload {
    Payload {
        connection: ConnectionId(connection),
        datagram_max: 1_452,
        receive_buffer: 4 << 20,
        stream_credit: limits::STREAM_WINDOW as u32,
        stream,
    }
}

fn connection(side: Side, secrets: Secrets, peer: Vec<u8>) -> End {
    let (local, remote) = if side == Side::Opener { (1, 2) } else { (2, 1) };
    let mut stream = SendStream::new(limits::STREAM_WINDOW);
    let mut carried = None;
    if side == Side::Opener {
        (0..3).for_each(|i| stream.push(&word(i)));
        carried = stream.take(1_000, |_, _, _| {});
    }
    let config = Config {
        algorithm: Algorithm::Bbr,
        rate_max: None,
        datagram_max: 1_452,
        peer_buffer: 4 << 20,
        idle: limits::IDLE,
        rekey_after: None,
    };
    let established = Established {
        side,
        secrets,
        suite: Suite::Aes128Gcm,
        local_id: ConnectionId(local),
        remote_id: ConnectionId(remote),
        address: Address { remote: address(remote as u8), local: None },
        rtt: Some(Duration::from_millis(50)),
        stream,
        carried,
        peer_stream: peer,
        seed: [local as u8; 32],
    };
    Connection::new(ms(0), StandIn, config, established)
}

/// A handshake whose HELLO arrived: the acceptor's connection acts, its REPLY is not written yet.
struct Offered {
    acceptor: Acceptor,
    opener: Opener,
    fresh: Fresh,
    accepting: End,
}

fn offered() -> Offered {
    let mut acceptor = Acceptor::new(4, [3; 32]);
    acceptor.admit(ticket(), Time::NEVER).expect("room for a ticket");
    let mut opener = Opener::new(&ticket(), [1; 32], &payload(1, encoded(0..3))).expect("it fits");
    opener.pad(limits::HELLO_LEN_FULL);
    assert_eq!(opener.hello().len(), limits::HELLO_LEN_FULL);
    let outcome = acceptor.handle_hello(ms(0), address(1), opener.hello(), [2; 32]);
    let HelloOutcome::Fresh(fresh) = outcome else { panic!("{outcome:?}") };
    let mut accepting = connection(Side::Acceptor, fresh.secrets.clone(), fresh.payload.stream.clone());
    assert_eq!(words(&mut accepting), [0, 1, 2], "what a HELLO carries is there at once");
    Offered { acceptor, opener, fresh, accepting }
}

impl Offered {
    /// Lets the acceptor say words `0..count` and writes the REPLY with as many of their bytes as fit.
    fn reply(&mut self, count: u32) -> Vec<u8> {
        (0..count).for_each(|i| self.accepting.send(&word(i)));
        let stream = self.accepting.carry(self.fresh.reply_stream_room);
        let reply = self.acceptor.reply(self.fresh.half_open, &payload(2, stream));
        reply.expect("it was cut to fit").to_vec()
    }

    fn opened(&mut self, reply: &[u8]) -> End {
        let shaken = self.opener.handle_reply(reply).expect("the genuine REPLY");
        assert_eq!(shaken.secrets, self.fresh.secrets, "whatever the REPLY says");
        connection(Side::Opener, shaken.secrets, shaken.payload.stream)
    }
}

/// The numbers of the words that came since this was asked last.
fn words(end: &mut End) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(event) = end.poll_event() {
        if let Event::Message(Message::Reject { transfer, .. }) = event {
            numbers.push(transfer.0);
        }
    }
    numbers
}

/// All that an end sends at `now`, one datagram each.
fn sent(now: Time, end: &mut End) -> Vec<Vec<u8>> {
    if end.next_timeout() <= now {
        end.handle_timeout(now);
    }
    let mut frame = vec![0; limits::DATAGRAM_MAX];
    let mut all = Vec::new();
    while let Some(train) = end.poll_transmit(now, None, &mut frame, &NoContent) {
        all.extend(frame[..train.len].chunks(train.segment).map(<[u8]>::to_vec));
        assert!(all.len() < 100, "an end that always has something to say");
    }
    all
}

fn deliver(now: Time, from: u8, datagrams: &[Vec<u8>], to: &mut End) {
    for datagram in datagrams {
        let header = Header::decode(datagram).expect("a header");
        let from = Address { remote: address(from), local: None };
        // Whether it was dropped shows in what follows.
        let arrival = Received { now, from, ce: false, header: &header, datagram };
        let _dropped = to.receive(&arrival, &mut NoContent);
    }
}

/// Carries everything both ways for `rounds` of 50 ms.
fn converse(from: u64, rounds: u64, opening: &mut End, accepting: &mut End) -> Vec<u32> {
    let mut heard = Vec::new();
    for round in 0..rounds {
        let now = ms(from + round * 50);
        deliver(now, 1, &sent(now, opening), accepting);
        deliver(now, 2, &sent(now, accepting), opening);
        heard.extend(words(opening));
    }
    heard
}

#[test]
fn a_lost_reply_is_repeated_and_its_words_arrive_once() {
    // None, one, as many as fit, one more than fits, many more.
    for count in [0, 1, 97, 98, 300] {
        let mut offered = offered();
        let first = offered.reply(count);
        assert!(first.len() <= limits::HELLO_LEN_FULL);
        let again = offered.acceptor.handle_hello(ms(250), address(1), offered.opener.hello(), [9; 32]);
        assert_eq!(again, HelloOutcome::Repeat(&first), "byte for byte");
        let mut opening = offered.opened(&first);
        let repeated = offered.opener.handle_reply(&first);
        assert_eq!(repeated, Err(ReplyError::Dropped(DropReason::Finished)));
        let mut heard = words(&mut opening);
        assert!(heard.len() as u32 == count.min(97), "{} of {count} with the REPLY", heard.len());
        heard.extend(converse(300, 8, &mut opening, &mut offered.accepting));
        assert_eq!(heard, (0..count).collect::<Vec<u32>>());
        assert_eq!(offered.accepting.stream_backlog(), 0, "the first packet acknowledged the REPLY");
    }
}

#[test]
fn an_unproven_address_gets_replies_and_nothing_else() {
    for closes in [false, true] {
        let mut offered = offered();
        let hello = offered.opener.hello().to_vec();
        let reply = offered.reply(300);
        if closes {
            offered.accepting.close(ms(0), CloseCode::Cancelled, "enough");
        }
        let (mut came, mut went) = (hello.len(), reply.len());
        for at in [0, 100, 250, 700] {
            assert_eq!(sent(ms(at), &mut offered.accepting), Vec::<Vec<u8>>::new(), "{closes} at {at} ms");
            let outcome = offered.acceptor.handle_hello(ms(at), address(1), &hello, [9; 32]);
            let HelloOutcome::Repeat(reply) = outcome else { panic!("{outcome:?}") };
            (came, went) = (came + hello.len(), went + reply.len());
            assert!(went <= came);
        }
        // A forged packet proves nothing, the opener's first one does.
        let mut opening = offered.opened(&reply);
        let genuine = sent(ms(750), &mut opening);
        let mut forged = genuine.clone();
        forged.iter_mut().for_each(|datagram| *datagram.last_mut().unwrap() ^= 1);
        deliver(ms(750), 1, &forged, &mut offered.accepting);
        assert_eq!(sent(ms(750), &mut offered.accepting), Vec::<Vec<u8>>::new());
        deliver(ms(750), 1, &genuine, &mut offered.accepting);
        assert!(!sent(ms(760), &mut offered.accepting).is_empty(), "{closes}");
    }
}

#[test]
fn a_replayed_hello_gets_nothing_that_its_sender_did_not_get() {
    let mut offered = offered();
    let hello = offered.opener.hello().to_vec();
    let reply = offered.reply(50);
    let elsewhere = offered.acceptor.handle_hello(ms(1), address(9), &hello, [9; 32]);
    assert_eq!(elsewhere, HelloOutcome::Drop(DropReason::TicketInUse));
    // Who has the HELLO but not the ticket opens no REPLY, the same again or any other.
    let mut stranger = Opener::new(
        &Ticket::new([6; 32], Suite::Aes128Gcm, Direction::Both),
        [1; 32],
        &payload(1, encoded(0..3)),
    )
    .expect("it fits");
    assert_eq!(stranger.handle_reply(&reply), Err(ReplyError::Dropped(DropReason::Forged)));
    let mut opening = offered.opened(&reply);
    deliver(ms(50), 1, &sent(ms(50), &mut opening), &mut offered.accepting);
    assert!(offered.accepting.is_established());
    assert!(offered.acceptor.established(offered.fresh.half_open));
    let late = offered.acceptor.handle_hello(ms(60), address(1), &hello, [9; 32]);
    assert_eq!(late, HelloOutcome::Drop(DropReason::UnknownTicket));
}

/// Both ends of a connection that was heard both ways.
fn standing() -> (End, End) {
    let mut offered = offered();
    let reply = offered.reply(0);
    let mut opening = offered.opened(&reply);
    converse(50, 8, &mut opening, &mut offered.accepting);
    (opening, offered.accepting)
}

#[test]
fn last_words_go_with_each_close() {
    for lost in 0..limits::FAREWELLS as usize {
        let (mut opening, mut accepting) = standing();
        (0..3).for_each(|i| opening.send(&word(i)));
        assert!(opening.part(ms(500)));
        let mut copies = Vec::new();
        for at in 500..510 {
            assert_eq!(opening.may_leave(), copies.len() >= limits::FAREWELLS as usize, "{at}");
            copies.extend(sent(ms(at), &mut opening));
        }
        assert_eq!(copies.len(), limits::FAREWELLS as usize);
        deliver(ms(530), 1, &copies[lost..], &mut accepting);
        let mut heard = Vec::new();
        let mut closed = None;
        while let Some(event) = accepting.poll_event() {
            match event {
                Event::Message(message) => heard.push(message),
                Event::Closed { code, by_peer, .. } => closed = Some((code, by_peer)),
                _ => {}
            }
        }
        assert_eq!(heard, (0..3).map(word).collect::<Vec<_>>(), "{lost} lost");
        assert_eq!(closed, Some((CloseCode::Done, true)));
        // One CLOSE in return, and both are done.
        let answer = sent(ms(530), &mut accepting);
        assert_eq!(answer.len(), 1);
        assert!(accepting.is_over() && !opening.is_over());
        deliver(ms(560), 2, &answer, &mut opening);
        assert!(opening.is_over() && opening.may_leave());
    }
}

#[test]
fn last_words_that_do_not_fit_a_packet_are_heard_first() {
    let (mut opening, mut accepting) = standing();
    (0..300).for_each(|i| opening.send(&word(i)));
    assert!(!opening.part(ms(500)) && !opening.may_leave());
    let mut heard = Vec::new();
    for round in 0..20 {
        let now = ms(500 + round * 50);
        deliver(now, 1, &sent(now, &mut opening), &mut accepting);
        heard.extend(words(&mut accepting));
        deliver(now, 2, &sent(now, &mut accepting), &mut opening);
        opening.part(now);
    }
    assert_eq!(heard, (0..300).collect::<Vec<u32>>());
    assert!(opening.is_over() && accepting.is_over());
}

#[test]
fn an_end_that_was_not_heard_does_not_part() {
    let mut offered = offered();
    offered.reply(1);
    assert!(!offered.accepting.part(ms(10)));
    assert!(offered.accepting.may_leave(), "there is nobody whom it may tell");
}

#[test]
fn accept_grants_the_first_chunks() {
    for limit in [0, 1, limits::WINDOW_CHUNKS_MAX] {
        let (mut opening, mut accepting) = standing();
        opening.start_sending(TransferId(1), 16);
        assert_eq!(opening.outgoing(TransferId(1)).map(|o| (o.pages(), o.limit())), Some((4, 0)));
        accepting.send(&Message::Accept(Accept { transfer: TransferId(1), limit }));
        converse(500, 3, &mut opening, &mut accepting);
        assert_eq!(opening.outgoing(TransferId(1)).map(|o| o.limit()), Some(limit));
    }
    let mut too_many = Vec::new();
    Message::Accept(Accept { transfer: TransferId(1), limit: limits::WINDOW_CHUNKS_MAX + 1 })
        .encode(&mut too_many);
    assert!(Message::decode(2, &too_many[Message::HEAD_LEN..]).is_err());
}
