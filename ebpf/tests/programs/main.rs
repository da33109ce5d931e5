//! The programs over frames that the kernel hands them (BPF_PROG_TEST_RUN): every branch, as root; without root these tests fail.

mod cost;
mod frame;
mod limits;
mod paths;
mod socket;
mod trains;

use std::os::fd::AsFd;

use frame::{Frame, PORT, data, header, hello, sealed};
use socket::Xsk;
use xfer_ebpf::{Attached, Fate, META_LEN, Meta, Verdict, limits as bounds, load_only};
use xfer_proto::wire::{Header, Kind, PathId};

/// A connection that was admitted to queue 0, where frames that are tried come by.
const KNOWN: u32 = 0x1234_5640;
const UNKNOWN: u32 = 0x1234_5680;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;

/// The program with one port of ours and one connection.
fn program() -> Attached {
    let program = load_only().expect("the program loads, as root");
    program.set_port(PORT, true).unwrap();
    program.admit(KNOWN, 0).unwrap();
    program
}

/// The same with a socket at queue 0.
fn with_socket() -> (Attached, Xsk) {
    let (program, socket) = (program(), Xsk::new());
    program.set_socket(0, socket.as_fd()).unwrap();
    (program, socket)
}

/// Tries one frame: its verdict and the one fate that was counted.
#[track_caller]
fn fate_of(program: &Attached, frame: &[u8]) -> (Verdict, Option<Fate>) {
    let before = program.fates().unwrap();
    let tried = program.try_frame(frame, 1).unwrap();
    let after = program.fates().unwrap();
    let mut moved = Fate::ALL.into_iter().filter(|fate| after.of(*fate) != before.of(*fate));
    let fate = moved.next();
    assert_eq!(moved.next(), None, "one fate a packet");
    (tried.verdict, fate)
}

#[track_caller]
fn expect(program: &Attached, frame: &Frame, verdict: Verdict, fate: Fate) {
    assert_eq!(fate_of(program, &frame.bytes()), (verdict, Some(fate)), "{frame:?}");
}

#[track_caller]
fn expect_untouched(program: &Attached, bytes: &[u8]) {
    assert_eq!(fate_of(program, bytes), (Verdict::Pass, None), "{bytes:?}");
    assert_eq!(program.try_frame(bytes, 1).unwrap().frame, bytes);
}

#[test]
fn known_packets_go_to_the_socket_with_time_and_place() {
    let (program, _socket) = with_socket();
    let plain = Frame::new(data(KNOWN, 0, 7)).bytes();
    assert_eq!(program.try_frame(&plain, 1).unwrap().frame, plain);
    program.set_stamps(true).unwrap();
    for frame in [
        Frame::new(data(KNOWN, 0, 7)),
        Frame::new(data(KNOWN, 0, 7)).six(),
        Frame::new(sealed(header(Kind::Control, KNOWN), 1)),
        Frame::new(sealed(header(Kind::Data, KNOWN), 8_800)),
    ] {
        expect(&program, &frame, Verdict::Redirect, Fate::Redirected);
        let after = program.try_frame(&frame.bytes(), 1).unwrap().frame;
        let (meta, rest) = after.split_first_chunk::<META_LEN>().unwrap();
        let meta = Meta::decode(meta).expect("metadata");
        assert_eq!(meta.payload_at as usize, frame.payload_at());
        assert!(meta.received_ns > 0);
        assert_eq!(rest, frame.bytes());
    }
}

#[test]
fn tagged_packets_are_filtered_and_never_redirected() {
    let (program, _socket) = with_socket();
    for tag in [VLAN, QINQ] {
        for (connection, verdict, fate) in
            [(KNOWN, Verdict::Pass, Fate::Tagged), (UNKNOWN, Verdict::Drop, Fate::DroppedUnknown)]
        {
            expect(&program, &Frame::new(data(connection, 0, 7)).tagged(tag), verdict, fate);
            expect(&program, &Frame::new(data(connection, 0, 7)).tagged(tag).six(), verdict, fate);
        }
    }
}

#[test]
fn plain_data_and_replies_are_known_too() {
    let (program, _socket) = with_socket();
    let mut plain = Header { length: 1_000, ..header(Kind::Data, KNOWN) }.encode().to_vec();
    plain.resize(1_032, 1);
    expect(&program, &Frame::new(plain), Verdict::Redirect, Fate::Redirected);
    // A REPLY's other fields are ignored.
    let odd = Header { path: PathId(5_000), number: u64::MAX, length: 0, ..header(Kind::Reply, KNOWN) };
    let mut reply = odd.encode().to_vec();
    reply.resize(200, 1);
    expect(&program, &Frame::new(reply.clone()), Verdict::Redirect, Fate::Redirected);
    reply[4] ^= 0xff;
    expect(&program, &Frame::new(reply), Verdict::Drop, Fate::DroppedUnknown);
}

#[test]
fn without_its_socket_a_known_packet_passes() {
    let (program, socket) = (program(), Xsk::new());
    let frame = Frame::new(data(KNOWN, 0, 7));
    expect(&program, &frame, Verdict::Pass, Fate::Socketless);
    program.set_socket(1, socket.as_fd()).unwrap();
    expect(&program, &frame, Verdict::Pass, Fate::Socketless);
    program.set_socket(0, socket.as_fd()).unwrap();
    expect(&program, &frame, Verdict::Redirect, Fate::Redirected);
    program.unset_socket(0).unwrap();
    program.unset_socket(0).unwrap();
    expect(&program, &frame, Verdict::Pass, Fate::Socketless);
    assert!(program.set_socket(bounds::QUEUES_MAX, socket.as_fd()).is_err());
}

#[test]
fn another_workers_packet_passes_and_a_moved_connection_follows() {
    let (program, _socket) = with_socket();
    let frame = Frame::new(data(KNOWN, 0, 7));
    expect(&program, &frame, Verdict::Redirect, Fate::Redirected);
    program.admit(KNOWN, 3).unwrap();
    expect(&program, &frame, Verdict::Pass, Fate::Misplaced);
    program.admit(KNOWN, 0).unwrap();
    expect(&program, &frame, Verdict::Redirect, Fate::Redirected);
}

#[test]
fn unknown_and_retired_connections_are_dropped() {
    let (program, _socket) = with_socket();
    expect(&program, &Frame::new(data(UNKNOWN, 0, 7)), Verdict::Drop, Fate::DroppedUnknown);
    expect(&program, &Frame::new(data(KNOWN, 0, 7)), Verdict::Redirect, Fate::Redirected);
    program.retire(KNOWN).unwrap();
    program.retire(KNOWN).unwrap();
    expect(&program, &Frame::new(data(KNOWN, 0, 8)), Verdict::Drop, Fate::DroppedUnknown);
    program.set_metrics(false).unwrap();
    expect(&program, &Frame::new(data(KNOWN, 0, 8)), Verdict::Drop, Fate::DroppedUnknown);
    program.admit(KNOWN, 0).unwrap();
    expect(&program, &Frame::new(data(KNOWN, 0, 8)), Verdict::Redirect, Fate::Redirected);
}

#[test]
fn everything_else_passes_untouched() {
    let (program, _socket) = with_socket();
    let ours = Frame::new(data(KNOWN, 0, 7));
    for port in [PORT - 1, PORT + 1, 0, u16::MAX] {
        expect_untouched(&program, &ours.clone().to(port).bytes());
    }
    expect_untouched(&program, &ours.clone().tagged(QINQ).tagged(VLAN).bytes());
    let edit = |frame: &Frame, at: usize, byte: u8| {
        let mut bytes = frame.bytes();
        bytes[frame.network_at() + at] = byte;
        bytes
    };
    // IPv4: TCP, options, first and later fragments. IPv6: TCP, extensions.
    for (at, byte) in [(9, 6), (0, 0x46), (6, 0x20), (7, 1)] {
        expect_untouched(&program, &edit(&ours, at, byte));
    }
    for byte in [6, 0, 44] {
        expect_untouched(&program, &edit(&ours.clone().six(), 6, byte));
    }
    let mut arp = ours.bytes();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    expect_untouched(&program, &arp);
}

#[test]
fn a_frame_cut_anywhere_is_untouched_or_short() {
    let (program, _socket) = with_socket();
    for frame in [Frame::new(data(KNOWN, 0, 7)), Frame::new(data(KNOWN, 0, 7)).six().tagged(VLAN)] {
        let bytes = frame.bytes();
        for len in 14..bytes.len() {
            if len < frame.payload_at() {
                expect_untouched(&program, &bytes[..len]);
            } else {
                let fate = fate_of(&program, &bytes[..len]);
                assert_eq!(fate, (Verdict::Drop, Some(Fate::DroppedShort)), "{len}");
            }
        }
    }
}

#[test]
fn padding_behind_the_datagram_is_no_part_of_it() {
    let (program, _socket) = with_socket();
    let mut bytes = Frame::new(sealed(header(Kind::Control, KNOWN), 1)).bytes();
    bytes.resize(bytes.len() + 20, 0);
    assert_eq!(fate_of(&program, &bytes), (Verdict::Redirect, Some(Fate::Redirected)));
}

#[test]
fn malformed_packets_are_dropped_by_reason() {
    let (program, _socket) = with_socket();
    let with = |header: Header| Frame::new(sealed(header, 1_000));
    let base = header(Kind::Data, KNOWN);
    for len in [0, 1, 31] {
        expect(&program, &Frame::new(vec![0x81; len]), Verdict::Drop, Fate::DroppedShort);
    }
    for first in [0x00, 0x41, 0xc1, 0x80 | 6 << 3 | 1, 0x80 | 7 << 3 | 1, 0x80, 0x82, 0x87, 0x88, 0x98] {
        let mut packet = data(KNOWN, 0, 7);
        packet[0] = first;
        expect(&program, &Frame::new(packet), Verdict::Drop, Fate::DroppedKind);
    }
    expect(&program, &with(Header { number: 1 << 62, ..base }), Verdict::Drop, Fate::DroppedKind);
    expect(&program, &with(Header { path: PathId(4_096), ..base }), Verdict::Drop, Fate::DroppedKind);
    let last = Header { path: PathId(4_095), number: (1 << 62) - 1, ..base };
    expect(&program, &with(last), Verdict::Redirect, Fate::Redirected);
    expect(&program, &Frame::new(sealed(base, 0)), Verdict::Drop, Fate::DroppedLength);
    let whole = data(KNOWN, 0, 7);
    for len in [32, 33, 1_031, 1_033, 1_047] {
        expect(&program, &Frame::new(whole[..len].to_vec()), Verdict::Drop, Fate::DroppedLength);
    }
    let control = sealed(header(Kind::Control, KNOWN), 1_000);
    expect(&program, &Frame::new(control[..1_032].to_vec()), Verdict::Drop, Fate::DroppedLength);
}

#[test]
fn handshakes_pass_when_they_look_like_some() {
    let program = program();
    for len in [1_200, 1_452] {
        expect(&program, &Frame::new(hello(len)), Verdict::Pass, Fate::Handshake);
    }
    for len in [32, 1_199, 1_453] {
        expect(&program, &Frame::new(hello(len)), Verdict::Drop, Fate::DroppedLength);
    }
    // Of any version: the acceptor answers with those that it speaks.
    let mut other = hello(1_200);
    other[0] = other[0] & !7 | 5;
    expect(&program, &Frame::new(other), Verdict::Pass, Fate::Handshake);
    for kind in [Kind::Cookie, Kind::Versions] {
        let mut packet = header(kind, 0).encode().to_vec();
        packet.resize(56, 0);
        expect(&program, &Frame::new(packet.clone()), Verdict::Pass, Fate::Handshake);
        packet[4] = 1;
        expect(&program, &Frame::new(packet), Verdict::Drop, Fate::DroppedUnknown);
    }
}

#[test]
fn a_source_has_so_many_handshakes_and_others_have_theirs() {
    let program = program();
    let frame = Frame::new(hello(1_200));
    let passed = |program: &Attached| program.fates().unwrap().of(Fate::Handshake);
    program.try_frame(&frame.bytes(), 10_000).unwrap();
    let first = passed(&program);
    // The bucket fills while it is emptied, by one each 5 ms.
    assert!((bounds::HANDSHAKE_BURST..bounds::HANDSHAKE_BURST + 200).contains(&first), "{first}");
    assert_eq!(program.fates().unwrap().of(Fate::DroppedHandshake), 10_000 - first);
    expect(&program, &frame.clone().source([8; 16]), Verdict::Pass, Fate::Handshake);
    // Hosts of one IPv6 network share a bucket, and IPv4 addresses are not among them.
    let six = Frame::new(hello(1_200)).six();
    program.try_frame(&six.bytes(), 10_000).unwrap();
    let mut neighbour = six.source;
    neighbour[15] ^= 1;
    let before = passed(&program);
    program.try_frame(&six.clone().source(neighbour).bytes(), 1_000).unwrap();
    assert!(passed(&program) - before < 100);
    neighbour[7] ^= 1;
    expect(&program, &six.source(neighbour), Verdict::Pass, Fate::Handshake);
}

#[test]
fn a_flood_from_many_sources_needs_no_more_memory() {
    let program = program();
    let sources = 2 * bounds::SOURCES_MAX;
    let mut frame = Frame::new(hello(1_200));
    for source in 0..sources {
        frame.source[..4].copy_from_slice(&source.to_be_bytes());
        assert_eq!(program.try_frame(&frame.bytes(), 1).unwrap().verdict, Verdict::Pass);
    }
    assert_eq!(program.fates().unwrap().of(Fate::Handshake), u64::from(sources));
}

#[test]
fn without_a_sign_of_life_everything_passes() {
    let (program, _socket) = with_socket();
    program.stop_heart().unwrap();
    for payload in [data(KNOWN, 0, 7), data(UNKNOWN, 0, 7), vec![0; 3], hello(1_200), hello(40)] {
        expect(&program, &Frame::new(payload), Verdict::Pass, Fate::Stale);
    }
    program.heartbeat().unwrap();
    expect(&program, &Frame::new(data(KNOWN, 0, 7)), Verdict::Redirect, Fate::Redirected);
}

#[test]
fn a_train_passes_whole_when_its_connection_is_known() {
    let (program, _socket) = with_socket();
    let train = |connection| (0..9).flat_map(|number| data(connection, 0, number)).collect::<Vec<u8>>();
    expect(&program, &Frame::new(train(KNOWN)), Verdict::Pass, Fate::Train);
    expect(&program, &Frame::new(train(UNKNOWN)), Verdict::Drop, Fate::DroppedUnknown);
    let (_, row) = program.paths().unwrap()[0];
    assert_eq!((row.packets, row.arrivals, row.missing, row.late), (9, 1, 0, 0));
}

#[test]
fn there_is_room_for_so_many_connections() {
    let program = program();
    for connection in 1..bounds::CONNECTIONS_MAX {
        program.admit(connection, 0).unwrap();
    }
    let error = program.admit(u32::MAX, 0).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("admit a connection on no interface: there is room for {}", bounds::CONNECTIONS_MAX)
    );
    program.admit(KNOWN, 1).unwrap();
    program.retire(1).unwrap();
    program.admit(u32::MAX, 0).unwrap();
}
