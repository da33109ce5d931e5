//! Two connections without a handshake, as far as what they do to each other needs no network: limits of a hostile world.

use super::*;
use crate::crypto::{OpenRing, Suite};
use crate::wire::{HEADER_LEN, Header, TAG_LEN};
use core::net::{IpAddr, SocketAddr};

/// Hides nothing: the tag is zeros.
struct Open;

impl Crypto for Open {
    type Key = ();

    fn key(&self, _: Suite, _: &[u8], _: [u8; 12]) {}

    fn seal(&self, _: &(), _: u64, _: &[u8], plain: &[u8], out: &mut [u8]) {
        out[..plain.len()].copy_from_slice(plain);
        out[plain.len()..].fill(0);
    }

    fn open(&self, _: &(), _: u64, _: &[u8], sealed: &[u8], out: &mut [u8]) -> bool {
        let (plain, tag) = sealed.split_at(out.len());
        out.copy_from_slice(plain);
        tag == [0; TAG_LEN]
    }
}

struct NoContent;

impl ChunkMemory for NoContent {
    fn write<R>(&mut self, _: TransferId, _: u32, _: Range<u32>, _: impl FnOnce(&mut [u8]) -> R) -> R {
        unreachable!("nothing is granted")
    }
}

impl ChunkBytes for NoContent {
    fn read<R>(&self, _: TransferId, _: u32, _: Range<u32>, _: impl FnOnce(&[u8]) -> R) -> R {
        unreachable!("nothing is offered")
    }
}

fn address(host: u8) -> Address {
    Address { remote: SocketAddr::from(([10, 0, 0, host], 1)), local: Some(IpAddr::from([10, 0, 1, host])) }
}

fn end(side: Side, suite: Suite) -> Connection<Open> {
    end_with(side, suite, Algorithm::Bbr)
}

fn end_with(side: Side, suite: Suite, algorithm: Algorithm) -> Connection<Open> {
    let config = Config {
        algorithm,
        rate_max: None,
        datagram_max: 1_452,
        peer_buffer: 1 << 20,
        idle: Duration::from_secs(3_600),
        rekey_after: None,
    };
    let established = Established {
        side,
        secrets: Secrets { open: [1; 32], accept: [2; 32] },
        suite,
        local_id: ConnectionId(1),
        remote_id: ConnectionId(1),
        address: address(1),
        rtt: None,
        stream: SendStream::new(0),
        carried: None,
        peer_stream: Vec::new(),
        seed: [3; 32],
    };
    Connection::new(Time::default(), Open, config, established)
}

/// The datagrams that `from` sends now.
fn sent(from: &mut Connection<Open>, now: Time) -> Vec<(PathId, Vec<u8>)> {
    let mut frame = alloc::vec![0; limits::DATAGRAM_MAX];
    let mut all = Vec::new();
    while let Some(sent) = from.poll_transmit(now, None, &mut frame, &NoContent) {
        all.extend(frame[..sent.len].chunks(sent.segment).map(|datagram| (sent.path, datagram.to_vec())));
    }
    all
}

fn deliver(to: &mut Connection<Open>, now: Time, host: u8, datagram: &[u8]) -> Result<(), Dropped> {
    let header = Header::decode(datagram).expect("one of ours");
    let arrival = Received { now, from: address(host), ce: false, header: &header, datagram };
    to.receive(&arrival, &mut NoContent)
}

#[test]
fn too_many_packets_that_do_not_open_end_the_connection() {
    for suite in [Suite::Aes128Gcm, Suite::ChaCha20Poly1305] {
        let now = Time::default();
        let (mut opener, mut acceptor) = (end(Side::Opener, suite), end(Side::Acceptor, suite));
        let (_, mut datagram) = sent(&mut opener, now).remove(0);
        *datagram.last_mut().expect("a tag") ^= 1;
        acceptor.counters.failed_opens = suite.failed_opens_max() - 2;
        assert_eq!(deliver(&mut acceptor, now, 1, &datagram), Err(Dropped::Forged));
        assert!(acceptor.is_running());
        assert_eq!(deliver(&mut acceptor, now, 1, &datagram), Err(Dropped::Forged));
        let closed = core::iter::from_fn(|| acceptor.poll_event()).last();
        assert!(matches!(closed, Some(Event::Closed { code: CloseCode::AeadLimit, .. })), "{closed:?}");
    }
}

#[test]
fn an_address_that_proved_nothing_gets_three_times_what_it_sent() {
    let mut now = Time::default();
    let (mut opener, mut acceptor) =
        (end(Side::Opener, Suite::Aes128Gcm), end(Side::Acceptor, Suite::Aes128Gcm));
    for (_, datagram) in sent(&mut opener, now) {
        assert_eq!(deliver(&mut acceptor, now, 1, &datagram), Ok(()));
    }
    let path = opener.open_path(now, address(2)).expect("the first one more");
    let challenge = sent(&mut opener, now).into_iter().find(|(id, _)| *id == path).expect("a challenge").1;
    assert_eq!(challenge.len(), limits::DATAGRAM_MIN);
    assert_eq!(deliver(&mut acceptor, now, 2, &challenge), Ok(()));
    let mut got = 0;
    let mut turns = 0;
    while acceptor.paths.len() > 1 {
        got += sent(&mut acceptor, now)
            .iter()
            .filter(|(id, _)| *id == path)
            .map(|(_, d)| d.len())
            .sum::<usize>();
        let next = acceptor.next_timeout();
        turns += u32::from(next <= now);
        assert!(turns < 3, "what may not go is no reason to wake up");
        now = next.max(now);
        acceptor.handle_timeout(now);
    }
    assert_eq!(got, 3 * limits::DATAGRAM_MIN);
    assert!(now.since(Time::default()) > limits::CHALLENGE_RESEND * 32, "it is given up in its time");
}

#[test]
fn messages_wait_in_the_stream_while_events_are_left() {
    const MESSAGES: usize = 3 * limits::EVENTS_WAITING_MAX;
    let now = Time::default();
    let mut end = end(Side::Acceptor, Suite::Aes128Gcm);
    let mut bytes = Vec::new();
    (0..MESSAGES).for_each(|_| Message::Limit { transfer: TransferId(1), now: 0, all: 0 }.encode(&mut bytes));
    assert_eq!(end.recv_stream.receive(0, &bytes), Ok(true));
    end.take_messages(now, limits::EVENTS_WAITING_MAX);
    assert_eq!(end.events.len(), limits::EVENTS_WAITING_MAX);
    end.take_messages(now, limits::EVENTS_WAITING_MAX);
    assert_eq!(end.events.len(), limits::EVENTS_WAITING_MAX, "more is not taken");
    assert_eq!(core::iter::from_fn(|| end.poll_event()).count(), MESSAGES, "and nothing is lost");
}

#[test]
fn a_close_does_not_outlast_the_patience_with_a_silent_peer() {
    let mut end = end(Side::Opener, Suite::Aes128Gcm);
    end.config.idle = Duration::from_millis(100);
    end.close(Time::default(), CloseCode::Done, "");
    let patience = end.config.idle;
    end.handle_timeout(Time::default() + patience - Duration::from_nanos(1));
    assert!(!end.is_over());
    end.handle_timeout(Time::default() + patience);
    assert!(end.is_over());
}

/// Both ends' packets go back and forth, and time passes, until `done` says so of them.
fn until(
    now: &mut Time,
    (opener, acceptor): (&mut Connection<Open>, &mut Connection<Open>),
    mut done: impl FnMut(&mut Connection<Open>, &mut Connection<Open>) -> bool,
) {
    const TURNS_MAX: usize = 10_000;
    for _ in 0..TURNS_MAX {
        for (_, datagram) in sent(opener, *now) {
            assert_eq!(deliver(acceptor, *now, 1, &datagram), Ok(()));
        }
        for (_, datagram) in sent(acceptor, *now) {
            assert_eq!(deliver(opener, *now, 1, &datagram), Ok(()));
        }
        if done(opener, acceptor) {
            return;
        }
        *now = opener.next_timeout().min(acceptor.next_timeout()).max(*now + Duration::from_micros(100));
        opener.handle_timeout(*now);
        acceptor.handle_timeout(*now);
    }
    panic!("not done in {TURNS_MAX} turns");
}

fn pair() -> (Connection<Open>, Connection<Open>) {
    (end(Side::Opener, Suite::Aes128Gcm), end(Side::Acceptor, Suite::Aes128Gcm))
}

#[test]
fn more_messages_than_the_first_credit_holds_arrive_on_later_credit() {
    let message = Message::Limit { transfer: TransferId(1), now: 0, all: 0 };
    let mut one = Vec::new();
    message.encode(&mut one);
    let count = limits::STREAM_WINDOW as usize / one.len() + 1;
    let mut now = Time::default();
    let (mut opener, mut acceptor) = pair();
    opener.send_stream.on_credit(limits::STREAM_WINDOW);
    (0..count).for_each(|_| opener.send(&message));
    let mut came = 0;
    until(&mut now, (&mut opener, &mut acceptor), |_, acceptor| {
        let events = core::iter::from_fn(|| acceptor.poll_event());
        came += events.filter(|event| matches!(event, Event::Message(_))).count();
        came == count
    });
}

#[test]
fn a_window_before_its_transfer_is_kept_once_it_says_little() {
    let window = |transfer, base, pages, limit| Window {
        transfer: TransferId(transfer),
        pages,
        base,
        limit,
        accepted: WindowWords::Memory(&[]),
    };
    let (mut opener, _) = pair();
    assert!(!opener.take_window(&window(1, 1, 0, 1)), "chunks are accepted already: it must come again");
    assert!(opener.take_window(&window(1, 0, 1, 5)) && opener.take_window(&window(1, 0, 3, 4)));
    let kept = &opener.early_windows;
    assert_eq!((kept.len(), kept[0].pages, kept[0].limit), (1, 3, 5));
    (2..=limits::TRANSFERS_MAX as u32).for_each(|id| assert!(opener.take_window(&window(id, 0, 0, 0))));
    assert!(!opener.take_window(&window(limits::TRANSFERS_MAX as u32 + 1, 0, 0, 0)), "more are not kept");
}

#[test]
fn only_paths_of_the_queue_at_hand_are_asked() {
    let now = Time::default();
    let (mut opener, _) = pair();
    let mut frame = alloc::vec![0; limits::DATAGRAM_MAX];
    let other = Some(IpAddr::from([10, 0, 9, 9]));
    assert_eq!(opener.poll_transmit(now, other, &mut frame, &NoContent), None);
    assert!(opener.poll_transmit(now, address(1).local, &mut frame, &NoContent).is_some());
}

#[test]
fn what_the_system_says_of_a_path_is_taken() {
    let mut now = Time::default();
    let (mut opener, mut acceptor) = pair();
    until(&mut now, (&mut opener, &mut acceptor), |opener, _| opener.paths[0].mtu.current() > 1_400);
    opener.datagram_too_big(now, PathId(0), Some(1_300));
    assert!((limits::DATAGRAM_MIN as u16..=1_300).contains(&opener.paths[0].mtu.current()));
    opener.path_failed(now, PathId(0));
    assert_eq!(opener.paths[0].state, PathState::Suspect);
    opener.paths[0].next_probe = Time::NEVER;
    opener.path_restored(now, PathId(0));
    assert_eq!(opener.paths[0].next_probe, now);
    for unknown in [PathId(1), PathId(u16::MAX)] {
        opener.datagram_too_big(now, unknown, None);
        opener.path_failed(now, unknown);
        opener.path_restored(now, unknown);
    }
}

/// An application that has a few messages a round trip says nothing about its path, also while the pacer holds the next train back.
#[test]
fn a_few_messages_a_round_trip_do_not_end_start_up() {
    let way = Duration::from_millis(25);
    let mut now = Time::default();
    let (mut opener, mut acceptor) = pair();
    opener.send_stream.on_credit(limits::STREAM_WINDOW);
    let message = Message::Limit { transfer: TransferId(1), now: 0, all: 0 };
    let mut one = Vec::new();
    message.encode(&mut one);
    for _ in 0..20 {
        (0..500 / one.len()).for_each(|_| opener.send(&message));
        // As slow as after an outage.
        opener.paths[0].pacer.set_rate(Some(20_000));
        let out = sent(&mut opener, now);
        assert!(opener.paths[0].pacer.next_release(now).is_some() && !opener.send_stream.has_something());
        now = now + way;
        out.iter().for_each(|(_, datagram)| assert_eq!(deliver(&mut acceptor, now, 1, datagram), Ok(())));
        while acceptor.poll_event().is_some() {}
        now = now + limits::ACK_DELAY_MAX;
        let back = sent(&mut acceptor, now);
        now = now + way;
        back.iter().for_each(|(_, datagram)| assert_eq!(deliver(&mut opener, now, 1, datagram), Ok(())));
    }
    assert!(opener.paths[0].controller.in_startup());
}

/// Probes of a path that is dead are lost; congestion control, which starts over when it is back, has not lost them.
#[test]
fn a_path_that_comes_back_starts_as_a_new_one() {
    let mut now = Time::default();
    let [mut opener, mut acceptor] =
        [Side::Opener, Side::Acceptor].map(|side| end_with(side, Suite::Aes128Gcm, Algorithm::Cubic));
    until(&mut now, (&mut opener, &mut acceptor), |opener, _| opener.paths[0].sent.in_flight() == 0);
    opener.path_failed(now, PathId(0));
    for _ in 0..2 {
        now = opener.next_timeout();
        opener.handle_timeout(now);
        assert!(!sent(&mut opener, now).is_empty(), "a probe");
    }
    let lost = |opener: &Connection<Open>| opener.paths[0].counters.packets_lost;
    let before = lost(&opener);
    until(&mut now, (&mut opener, &mut acceptor), |opener, _| lost(opener) >= before + 2);
    assert_eq!(opener.paths[0].state, PathState::Live);
    assert!(opener.paths[0].controller.in_startup());
}

/// Whoever copies packets on their way, from an address where nobody answers, takes nothing from the path.
#[test]
fn what_goes_to_a_stranger_is_not_in_flight() {
    let mut now = Time::default();
    let (mut opener, mut acceptor) = pair();
    until(&mut now, (&mut opener, &mut acceptor), |opener, _| opener.paths[0].sent.in_flight() == 0);
    acceptor.paths[0].ping_owed = true;
    let (_, copied) = sent(&mut acceptor, now).remove(0);
    assert_eq!(deliver(&mut opener, now, 9, &copied), Ok(()));
    let before = opener.paths[0].sent.next_number();
    sent(&mut opener, now);
    let challenge = opener.paths[0].challenge.expect("a stranger is challenged");
    assert!(challenge.address == address(9) && opener.paths[0].sent.next_number() > before);
    assert_eq!(opener.paths[0].sent.in_flight(), 0);
}

/// A way that once carried large datagrams and now swallows them: what waits goes in small ones.
#[test]
fn messages_pass_where_large_datagrams_vanish() {
    const PATIENCE: Duration = Duration::from_secs(2);
    let message = Message::Limit { transfer: TransferId(1), now: 0, all: 0 };
    let mut now = Time::default();
    let (mut opener, mut acceptor) = pair();
    until(&mut now, (&mut opener, &mut acceptor), |opener, _| opener.paths[0].mtu.current() > 1_400);
    opener.send_stream.on_credit(limits::STREAM_WINDOW);
    let count = 1_400;
    (0..count).for_each(|_| opener.send(&message));
    let (mut came, until) = (0, now + PATIENCE);
    while came < count {
        assert!(now < until, "{came} of {count} came");
        let (ours, theirs) = (sent(&mut opener, now), sent(&mut acceptor, now));
        let small = |(_, datagram): &&(PathId, Vec<u8>)| datagram.len() <= usize::from(crate::mtu::BASE);
        for (_, datagram) in ours.iter().filter(small) {
            assert_eq!(deliver(&mut acceptor, now, 1, datagram), Ok(()));
        }
        for (_, datagram) in theirs.iter().filter(small) {
            assert_eq!(deliver(&mut opener, now, 1, datagram), Ok(()));
        }
        let events = core::iter::from_fn(|| acceptor.poll_event());
        came += events.filter(|event| matches!(event, Event::Message(_))).count();
        now = now + Duration::from_millis(1);
        opener.handle_timeout(now);
        acceptor.handle_timeout(now);
    }
}

#[test]
fn a_packet_of_a_closed_connection_or_a_foreign_kind_is_dropped() {
    let now = Time::default();
    let (mut opener, mut acceptor) = pair();
    let (_, datagram) = sent(&mut opener, now).remove(0);
    let header = Header { kind: crate::wire::Kind::Hello, ..Header::decode(&datagram).expect("one of ours") };
    let bytes = &datagram[..HEADER_LEN + usize::from(header.length)];
    let arrival = Received { now, from: address(1), ce: false, header: &header, datagram: bytes };
    let mut sealed = end(Side::Acceptor, Suite::Plain);
    assert_eq!(sealed.receive(&arrival, &mut NoContent), Err(Dropped::Length));
    acceptor.state = State::Over;
    assert_eq!(deliver(&mut acceptor, now, 1, &datagram), Err(Dropped::Closed));
}

/// The buffer of one chunk, with what it held before.
struct Stale(Vec<u8>);

impl ChunkMemory for Stale {
    fn write<R>(&mut self, _: TransferId, _: u32, range: Range<u32>, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        fill(&mut self.0[range.start as usize..range.end as usize])
    }
}

#[test]
fn what_a_buffer_held_before_is_not_taken_for_content() {
    let (crypto, capacity) = (Open, 40);
    let keys = OpenRing::new(&crypto, &[1; 32], Suite::Plain, PathId(0));
    let mut memory = Stale(alloc::vec![0xee; capacity as usize]);
    let claims = crate::claim::ClaimMap::new(capacity);
    for (start, length) in [(0, 1), (16, 15), (32, 3)] {
        let datagram = alloc::vec![7; HEADER_LEN + length];
        let opener = Opener { crypto: &crypto, keys: &keys, sealed: false, number: 0, datagram: &datagram };
        let place = Place {
            claims: claims.by(crate::claim::Users::One),
            buffer: Buffer { transfer: TransferId(1), chunk: 0, capacity },
            range: start..start + length as u32,
        };
        let placed = place.open(&opener, &mut alloc::vec![0; length], &mut 0, &mut memory);
        assert_eq!(placed, Ok(length as u32));
    }
    assert!(claims.is_complete(capacity), "each unit counts as here");
    assert!(memory.0.iter().all(|byte| [0, 7].contains(byte)), "{:?}", memory.0);
}
