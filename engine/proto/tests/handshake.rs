//! Both ends of the handshake against each other, and against what comes between them.

use std::net::SocketAddr;
use std::time::Duration;
use xfer_proto::crypto::{Direction, Secrets, Suite, Ticket};
use xfer_proto::handshake::{
    Acceptor, AdmitError, DropReason, Established, Fresh, HelloOutcome, Opener, Payload, ReplyError,
    ReplyRefused, hello_stream_room, reply_stream_room,
};
use xfer_proto::limits;
use xfer_proto::time::Time;
use xfer_proto::wire::{ConnectionId, Header};

const OPENER_SEED: [u8; 32] = [0x11; 32];
const ACCEPTOR_SEED: [u8; 32] = [0x22; 32];

fn payload(connection: u32, stream: usize) -> Payload {
    Payload {
        connection: ConnectionId(connection),
        datagram_max: 1_452,
        receive_buffer: 4 << 20,
        stream_credit: 262_144,
        stream: (0..stream).map(|i| i as u8).collect(),
    }
}

fn ticket(secret: u8) -> Ticket {
    Ticket::new([secret; 32], Suite::Aes128Gcm, Direction::Both)
}

fn seconds(s: u64) -> Time {
    Time::from_nanos(s * 1_000_000_000)
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 77, 1, 1], port))
}

fn acceptor(slots: usize, tickets: &[&Ticket]) -> Acceptor {
    let mut acceptor = Acceptor::new(slots, [0x33; 32]);
    for ticket in tickets {
        acceptor.admit((*ticket).clone(), seconds(60)).expect("room for a ticket");
    }
    acceptor
}

fn opener(ticket: &Ticket) -> Opener {
    Opener::new(ticket, OPENER_SEED, &payload(0xaaaa, 10)).expect("the payload fits")
}

fn offer<'a>(acceptor: &'a mut Acceptor, hello: &[u8]) -> HelloOutcome<'a> {
    acceptor.handle_hello(seconds(1), address(9), hello, ACCEPTOR_SEED)
}

fn fresh(acceptor: &mut Acceptor, hello: &[u8]) -> Fresh {
    match offer(acceptor, hello) {
        HelloOutcome::Fresh(fresh) => fresh,
        other => panic!("{other:?}"),
    }
}

fn reply(acceptor: &mut Acceptor, fresh: &Fresh) -> (Secrets, Vec<u8>) {
    let reply = acceptor.reply(fresh.half_open, &payload(0xbbbb, 20)).expect("the handshake waits");
    (fresh.secrets.clone(), reply.to_vec())
}

#[test]
fn both_ends_get_the_same_secrets_with_every_suite_and_direction() {
    for suite in [Suite::Aes128Gcm, Suite::ChaCha20Poly1305, Suite::Plain] {
        for direction in [Direction::OpenerSends, Direction::OpenerReceives, Direction::Both] {
            let ticket = Ticket::new([5; 32], suite, direction);
            let (mut acceptor, mut opener) = (acceptor(4, &[&ticket]), opener(&ticket));
            let fresh = fresh(&mut acceptor, opener.hello());
            assert_eq!((fresh.ticket, fresh.suite, fresh.direction), (ticket.id(), suite, direction));
            assert_eq!(fresh.payload, payload(0xaaaa, 10));
            let (secrets, reply) = reply(&mut acceptor, &fresh);
            assert_eq!(Header::decode(&reply).map(|h| h.connection), Ok(ConnectionId(0xaaaa)));
            let established = opener.handle_reply(&reply).expect("the genuine reply");
            assert_eq!(established, Established { secrets, payload: payload(0xbbbb, 20) });
            assert_ne!(established.secrets.open, established.secrets.accept);
            assert!(acceptor.established(fresh.half_open));
            assert_eq!((acceptor.half_open(), acceptor.tickets()), (0, 0));
        }
    }
}

#[test]
fn another_seed_gives_other_secrets() {
    let ticket = ticket(5);
    let mut secrets = Vec::new();
    for seed in [[1; 32], [2; 32]] {
        let mut acceptor = acceptor(4, &[&ticket]);
        let opener = opener(&ticket);
        match acceptor.handle_hello(seconds(1), address(9), opener.hello(), seed) {
            HelloOutcome::Fresh(fresh) => secrets.push(reply(&mut acceptor, &fresh).0),
            other => panic!("{other:?}"),
        }
    }
    assert_ne!(secrets[0], secrets[1]);
}

/// The HELLO that an end makes which believes in `mine`, under the id of `named`.
fn hello_under_id_of(named: &Ticket, mine: &Ticket) -> Vec<u8> {
    let mut hello = opener(mine).hello().to_vec();
    hello[32..48].copy_from_slice(&named.id().0);
    hello
}

#[test]
fn another_secret_suite_or_direction_does_not_open() {
    let known = ticket(5);
    for other in [
        ticket(6),
        Ticket::new([5; 32], Suite::ChaCha20Poly1305, Direction::Both),
        Ticket::new([5; 32], Suite::Plain, Direction::Both),
        Ticket::new([5; 32], Suite::Aes128Gcm, Direction::OpenerSends),
    ] {
        let mut acceptor = acceptor(4, &[&known]);
        let outcome = offer(&mut acceptor, &hello_under_id_of(&known, &other));
        assert_eq!(outcome, HelloOutcome::Drop(DropReason::Forged), "{other:?}");
        assert_eq!(acceptor.counters().dropped(DropReason::Forged), 1);
        assert_eq!((acceptor.half_open(), acceptor.tickets()), (0, 1));
        fresh(&mut acceptor, opener(&known).hello());
    }
}

#[test]
fn every_flipped_bit_of_what_is_read_of_a_hello_is_noticed() {
    let ticket = ticket(5);
    let hello = opener(&ticket).hello().to_vec();
    let read_len = 32 + 16 + 1 + 2 + 48 + 18 + 10;
    for bit in (32 * 8..read_len * 8).chain([0, 7]) {
        let mut changed = hello.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let mut acceptor = acceptor(4, &[&ticket]);
        let outcome = offer(&mut acceptor, &changed);
        assert!(
            matches!(outcome, HelloOutcome::Drop(_) | HelloOutcome::Versions(_)),
            "bit {bit}: {outcome:?}"
        );
        assert_eq!(acceptor.half_open(), 0, "bit {bit}");
    }
}

#[test]
fn forged_replies_change_nothing() {
    let ticket = ticket(5);
    let (mut acceptor, mut opener) = (acceptor(4, &[&ticket]), opener(&ticket));
    let begun = fresh(&mut acceptor, opener.hello());
    let (secrets, reply) = reply(&mut acceptor, &begun);
    for bit in 0..reply.len() * 8 {
        let mut forged = reply.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        if (1..4).contains(&(bit / 8)) || (8..32).contains(&(bit / 8)) || bit / 8 == 0 && bit % 8 == 0 {
            continue; // fields that a REPLY does not use, and the version
        }
        assert!(matches!(opener.handle_reply(&forged), Err(ReplyError::Dropped(_))), "bit {bit}");
    }
    for len in 0..reply.len() {
        assert!(matches!(opener.handle_reply(&reply[..len]), Err(ReplyError::Dropped(_))), "{len}");
    }
    let established = opener.handle_reply(&reply).expect("the genuine reply after the forged ones");
    assert_eq!(established.secrets, secrets);
    assert_eq!(opener.handle_reply(&reply), Err(ReplyError::Dropped(DropReason::Finished)));
}

#[test]
fn a_repeated_hello_gets_the_same_reply_while_half_open() {
    let ticket = ticket(5);
    let mut acceptor = acceptor(4, &[&ticket]);
    let hello = opener(&ticket).hello().to_vec();
    let begun = fresh(&mut acceptor, &hello);
    let handle = begun.half_open;
    assert_eq!(offer(&mut acceptor, &hello), HelloOutcome::Drop(DropReason::ReplyPending));
    let (_, reply) = reply(&mut acceptor, &begun);
    for _ in 0..3 {
        assert_eq!(offer(&mut acceptor, &hello), HelloOutcome::Repeat(&reply));
    }
    assert_eq!(acceptor.counters().repeats, 3);
    assert_eq!(acceptor.reply(handle, &payload(1, 0)).unwrap_err(), ReplyRefused::Gone);
    assert!(acceptor.established(handle));
    assert_eq!(offer(&mut acceptor, &hello), HelloOutcome::Drop(DropReason::UnknownTicket));
    assert!(!acceptor.established(handle));
}

#[test]
fn a_ticket_in_use_belongs_to_its_first_hello_and_address() {
    let ticket = ticket(5);
    let mut acceptor = acceptor(4, &[&ticket]);
    let hello = opener(&ticket).hello().to_vec();
    let begun = fresh(&mut acceptor, &hello);
    let handle = begun.half_open;
    reply(&mut acceptor, &begun);
    let elsewhere = acceptor.handle_hello(seconds(1), address(10), &hello, ACCEPTOR_SEED);
    assert_eq!(elsewhere, HelloOutcome::Drop(DropReason::TicketInUse));
    let again = Opener::new(&ticket, [0x12; 32], &payload(0xaaaa, 10)).expect("the payload fits");
    assert_eq!(offer(&mut acceptor, again.hello()), HelloOutcome::Drop(DropReason::TicketInUse));
    assert!(acceptor.refuse(handle));
    fresh(&mut acceptor, again.hello());
}

#[test]
fn a_half_open_handshake_times_out_with_its_ticket() {
    let ticket = ticket(5);
    let mut acceptor = acceptor(4, &[&ticket]);
    let hello = opener(&ticket).hello().to_vec();
    let begun = fresh(&mut acceptor, &hello);
    let handle = begun.half_open;
    let deadline = seconds(1) + limits::HALF_OPEN_LIFE;
    assert_eq!(acceptor.expire(deadline - Duration::from_nanos(1)), []);
    assert_eq!(acceptor.expire(deadline), [handle]);
    assert_eq!((acceptor.half_open(), acceptor.tickets()), (0, 0));
    assert_eq!(acceptor.reply(handle, &payload(1, 0)).unwrap_err(), ReplyRefused::Gone);
    assert_eq!(offer(&mut acceptor, &hello), HelloOutcome::Drop(DropReason::UnknownTicket));
}

#[test]
fn a_ticket_lives_until_it_expires_or_is_revoked() {
    let (first, second) = (ticket(5), ticket(6));
    let mut acceptor = acceptor(4, &[&first, &second]);
    assert_eq!(acceptor.admit(first.clone(), seconds(60)), Err(AdmitError::Known));
    assert!(acceptor.revoke(second.id()));
    assert!(!acceptor.revoke(second.id()));
    assert_eq!(offer(&mut acceptor, opener(&second).hello()), HelloOutcome::Drop(DropReason::UnknownTicket));
    let late = acceptor.handle_hello(seconds(60), address(9), opener(&first).hello(), ACCEPTOR_SEED);
    assert_eq!(late, HelloOutcome::Drop(DropReason::UnknownTicket));
    acceptor.expire(seconds(60) - Duration::from_nanos(1));
    assert_eq!(acceptor.tickets(), 1);
    acceptor.expire(seconds(60));
    assert_eq!(acceptor.tickets(), 0);
}

#[test]
fn tickets_are_bounded() {
    let mut acceptor = Acceptor::new(1, [0; 32]);
    for i in 0..=limits::TICKETS_MAX {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&i.to_le_bytes());
        let admitted = acceptor.admit(Ticket::new(secret, Suite::Plain, Direction::Both), seconds(60));
        assert_eq!(admitted.err(), (i == limits::TICKETS_MAX).then_some(AdmitError::Full));
    }
}

/// Offers a HELLO from `address(9)` at second `s` and returns the COOKIE that answers it.
fn demanded(acceptor: &mut Acceptor, s: u64, hello: &[u8]) -> Vec<u8> {
    match acceptor.handle_hello(seconds(s), address(9), hello, ACCEPTOR_SEED) {
        HelloOutcome::Cookie(cookie) => cookie.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_half_full_table_demands_a_cookie_of_the_address_and_the_time() {
    let tickets: Vec<Ticket> = (0..3).map(ticket).collect();
    let mut acceptor = acceptor(2, &[&tickets[0], &tickets[1], &tickets[2]]);
    let first = opener(&tickets[0]).hello().to_vec();
    let begun = fresh(&mut acceptor, &first);
    let (_, first_reply) = reply(&mut acceptor, &begun);
    assert_eq!(offer(&mut acceptor, &first), HelloOutcome::Repeat(&first_reply), "no cookie for a repeat");

    let mut opener = opener(&tickets[1]);
    let bare = opener.hello().to_vec();
    let cookie = demanded(&mut acceptor, 1, &bare);
    opener.handle_cookie(&cookie).expect("the first cookie");
    let hello = opener.hello().to_vec();
    assert_ne!(hello, bare);
    let elsewhere = acceptor.handle_hello(seconds(1), address(10), &hello, ACCEPTOR_SEED);
    assert!(matches!(elsewhere, HelloOutcome::Cookie(_)));
    demanded(&mut acceptor, 20, &hello);
    let in_next_bucket = acceptor.handle_hello(seconds(19), address(9), &hello, ACCEPTOR_SEED);
    assert!(matches!(in_next_bucket, HelloOutcome::Fresh(_)));

    let mut third = Opener::new(&tickets[2], OPENER_SEED, &payload(1, 0)).expect("the payload fits");
    let cookie = demanded(&mut acceptor, 1, third.hello());
    third.handle_cookie(&cookie).expect("the first cookie");
    assert_eq!(offer(&mut acceptor, third.hello()), HelloOutcome::Drop(DropReason::TableFull));
    assert_eq!(acceptor.half_open(), 2);
    assert_eq!(acceptor.counters().cookies, 4);
}

#[test]
fn the_first_hello_and_the_one_with_a_cookie_are_the_same_handshake() {
    let ticket = ticket(5);
    let (mut acceptor, mut opener) = (acceptor(0, &[&ticket]), opener(&ticket));
    let cookie = demanded(&mut acceptor, 1, opener.hello());
    let mut acceptor = self::acceptor(4, &[&ticket]);
    let begun = fresh(&mut acceptor, opener.hello());
    let (secrets, reply) = reply(&mut acceptor, &begun);
    opener.handle_cookie(&cookie).expect("the first cookie");
    assert_eq!(offer(&mut acceptor, opener.hello()), HelloOutcome::Repeat(&reply));
    assert_eq!(opener.handle_reply(&reply).map(|e| e.secrets), Ok(secrets));
}

#[test]
fn an_opener_obeys_three_cookies() {
    let ticket = ticket(5);
    let (mut acceptor, mut opener) = (acceptor(0, &[&ticket]), opener(&ticket));
    let cookie = demanded(&mut acceptor, 1, opener.hello());
    for _ in 0..3 {
        assert_eq!(opener.handle_cookie(&cookie), Ok(()));
    }
    assert_eq!(opener.handle_cookie(&cookie), Err(DropReason::TooManyCookies));
    assert_eq!(opener.handle_cookie(&cookie[..55]), Err(DropReason::Length));
    assert_eq!(opener.handle_reply(&cookie), Err(ReplyError::Dropped(DropReason::Kind)));
}

#[test]
fn a_forged_cookie_is_answered_by_a_genuine_one() {
    let ticket = ticket(5);
    let (mut acceptor, mut opener) = (acceptor(0, &[&ticket]), opener(&ticket));
    let mut cookie = demanded(&mut acceptor, 1, opener.hello());
    cookie[40] ^= 1;
    opener.handle_cookie(&cookie).expect("an opener cannot tell");
    cookie[40] ^= 1;
    assert_eq!(demanded(&mut acceptor, 1, opener.hello()), cookie);
}

#[test]
fn lengths_are_held_at_their_edges() {
    let ticket = ticket(5);
    let room = hello_stream_room(limits::HELLO_LEN_MAX);
    let safe = hello_stream_room(limits::DATAGRAM_MIN);
    assert_eq!((safe, room), (1_059, 1_311));
    for (stream, with_cookie) in [(0, 1_200), (safe, 1_200), (safe + 1, 1_201), (room, 1_452)] {
        let mut opener = Opener::new(&ticket, OPENER_SEED, &payload(1, stream)).expect("the payload fits");
        let cookie = demanded(&mut acceptor(0, &[&ticket]), 1, opener.hello());
        opener.handle_cookie(&cookie).expect("the first cookie");
        assert_eq!(opener.hello().len(), with_cookie, "{stream}");
        assert_eq!(fresh(&mut acceptor(4, &[&ticket]), opener.hello()).payload, payload(1, stream));
    }
    let refused = Opener::new(&ticket, OPENER_SEED, &payload(1, room + 1)).err();
    assert_eq!(refused.map(|e| e.room), Some(room));

    let hello = opener(&ticket).hello().to_vec();
    for (len, good) in [(31, false), (1_199, false), (1_200, true), (1_452, true), (1_453, false)] {
        let mut hello = hello.clone();
        hello.resize(len, 0);
        let mut acceptor = acceptor(4, &[&ticket]);
        let outcome = offer(&mut acceptor, &hello);
        assert_eq!(matches!(outcome, HelloOutcome::Fresh(_)), good, "{len}: {outcome:?}");
    }
}

#[test]
fn no_answer_is_longer_than_what_it_answers() {
    let ticket = ticket(5);
    for hello_len in [1_200, 1_201, 1_452] {
        let mut hello = opener(&ticket).hello().to_vec();
        hello.resize(hello_len, 0);
        let mut acceptor = acceptor(4, &[&ticket]);
        let fresh = fresh(&mut acceptor, &hello);
        let room = reply_stream_room(hello_len);
        assert_eq!(fresh.reply_stream_room, room);
        let too_long = acceptor.reply(fresh.half_open, &payload(2, room + 1)).unwrap_err();
        assert_eq!(too_long, ReplyRefused::TooLong { room });
        let reply = acceptor.reply(fresh.half_open, &payload(2, room)).expect("it fits");
        assert_eq!(reply.len(), hello_len);
        let shorter = &hello[..hello_len - 1];
        assert_eq!(offer(&mut acceptor, shorter), HelloOutcome::Drop(DropReason::Length), "{hello_len}");
    }
}

#[test]
fn another_version_is_told_which_are_spoken() {
    let ticket = ticket(5);
    let mut acceptor = acceptor(4, &[&ticket]);
    let mut opener = opener(&ticket);
    let mut hello = opener.hello().to_vec();
    hello[0] = hello[0] & !7 | 2;
    let HelloOutcome::Versions(versions) = offer(&mut acceptor, &hello) else { panic!("no VERSIONS") };
    assert_eq!(versions.len(), 34);
    assert_eq!(versions[0], 0x80 | 5 << 3 | 2);
    assert_eq!(opener.handle_versions(&versions), Err(DropReason::Kind), "asked under version 1");
    let mut versions = versions;
    versions[0] = 0x80 | 5 << 3 | 1;
    assert_eq!(opener.handle_versions(&versions), Ok(()));
    assert_eq!(opener.versions_hint(), [1]);
    assert_eq!(offer(&mut acceptor, &versions), HelloOutcome::Drop(DropReason::Length));
}

#[test]
fn secrets_are_not_shown() {
    let ticket = ticket(5);
    let mut acceptor = acceptor(4, &[&ticket]);
    let begun = fresh(&mut acceptor, opener(&ticket).hello());
    let (secrets, _) = reply(&mut acceptor, &begun);
    assert_eq!(format!("{secrets:?}"), "Secrets(..)");
    assert!(!format!("{acceptor:?}").contains("secret"));
}
