//! Trains are cut into the right packets and joined again.

use super::super::frame::{Gso, Vnet};
use super::super::pool::Pool;
use super::super::segment::segment;
use super::*;
use crate::emulator::checksum::{fold, sum};

fn udp_train(v6: bool, payload: usize) -> Vec<u8> {
    let mut frame = vec![0u8; 14];
    frame[12..14].copy_from_slice(if v6 { &[0x86, 0xdd] } else { &[0x08, 0x00] });
    if v6 {
        frame.extend([0x60, 0, 0, 0, 0, 0, 17, 64]);
        frame.extend((0..32).map(|i| i * 3));
    } else {
        frame.extend([0x45, 2, 0, 0, 0xff, 0xfe, 0x40, 0, 64, 17, 0, 0, 10, 77, 1, 1, 10, 77, 1, 2]);
    }
    frame.extend([0x1e, 0x14, 0x1e, 0x15, 0, 0, 0, 0]);
    frame.extend((0..payload).map(|i| (i * 7) as u8));
    frame
}

fn packets(v6: bool, payload: usize, gso_size: usize) -> Vec<Packet> {
    let transport = if v6 { 54 } else { 34 };
    let vnet = Vnet { gso: Gso::Udp, gso_size, checksum: Some((transport, 6)) };
    let mut packets = Vec::new();
    segment(vnet, &udp_train(v6, payload), &mut Pool::default(), |frame, sound| {
        packets.push(Packet { frame, sound });
    })
    .unwrap();
    packets
}

#[test]
fn a_train_comes_back_together() {
    for v6 in [false, true] {
        for payload in [1001, 1999, 2000, 2001, 10_000] {
            let packets = packets(v6, payload, 1000);
            assert_eq!(run_length(&packets), payload.div_ceil(1000));
            let header = TrainHeader::of(&packets);
            let mut joined = header.as_bytes()[VNET_BYTES..].to_vec();
            packets.iter().for_each(|packet| joined.extend_from_slice(&packet.frame[header.payload..]));
            let sent = udp_train(v6, payload);
            assert_eq!(joined[header.payload..], sent[header.payload..]);
            let shape = unit(&joined).expect("lengths are right");
            let vnet = Vnet::parse(header.as_bytes()).unwrap();
            assert_eq!(
                (vnet.gso, vnet.gso_size, vnet.checksum),
                (Gso::Udp, 1000, Some((shape.transport, 6)))
            );
        }
    }
}

#[test]
fn joined_headers_carry_the_sum_of_the_pseudo_header() {
    let packets = packets(false, 3000, 1000);
    let header = TrainHeader::of(&packets);
    let frame = &header.as_bytes()[VNET_BYTES..];
    assert_eq!(fold(sum(&frame[14..34])), 0xffff, "the checksum of the IP header");
    let mut pseudo = frame[26..34].to_vec();
    pseudo.extend([0, 17]);
    pseudo.extend(3008u16.to_be_bytes());
    assert_eq!(frame[40..42], fold(sum(&pseudo)).to_be_bytes());
}

#[test]
fn a_run_ends_where_packets_differ() {
    let run = |change: fn(&mut Vec<Packet>)| {
        let mut packets = packets(false, 4000, 1000);
        change(&mut packets);
        run_length(&packets)
    };
    assert_eq!(run(|_| {}), 4);
    assert_eq!(run(|packets| packets[2].sound = false), 2);
    assert_eq!(run(|packets| packets[0].sound = false), 1);
    assert_eq!(run(|packets| packets[2].frame[15] ^= 1), 2, "another ECN mark");
    assert_eq!(run(|packets| packets[2].frame[34] ^= 1), 2, "another source port");
    assert_eq!(run(|packets| packets[1].frame[0] ^= 2), 1, "another hardware address");
    assert_eq!(run(|packets| packets[2].frame[20] |= 0x20), 2, "a fragment");
    assert_eq!(run(|packets| packets.truncate(1)), 1);
    assert_eq!(run(Vec::clear), 0);
}

#[test]
fn a_longer_packet_begins_a_new_run_and_a_shorter_one_ends_it() {
    let mut mixed = packets(false, 1500, 1000);
    mixed.extend(packets(false, 1500, 1000));
    assert_eq!(run_length(&mixed), 2);
    assert_eq!(run_length(&mixed[1..]), 1);
}

#[test]
fn a_train_stays_within_its_bounds() {
    let mut many = packets(false, 60_000, 1000);
    many.extend(packets(false, 60_000, 1000));
    assert_eq!(run_length(&many), 64);
    let large: Vec<Packet> = (0..10).flat_map(|_| packets(false, 8_900, 8_900)).collect();
    assert_eq!(run_length(&large), 7);
}

/// Packets of one TCP train, its last pushed, starting short of where sequence numbers wrap.
fn tcp_packets(v6: bool, payload: usize) -> Vec<Packet> {
    let mut train = udp_train(v6, 0);
    let transport = train.len() - 8;
    train[if v6 { 20 } else { 23 }] = 6;
    train.truncate(transport);
    train.extend([0x1e, 0x14, 0, 80, 0xff, 0xff, 0xfc, 0, 0, 0, 0, 9, 0x80, 0x18, 1, 0, 0, 0, 0, 0]);
    train.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    train.extend((0..payload).map(|i| (i * 11) as u8));
    let vnet = Vnet { gso: Gso::Tcp, gso_size: 1000, checksum: Some((transport, 16)) };
    let mut packets = Vec::new();
    segment(vnet, &train, &mut Pool::default(), |frame, sound| packets.push(Packet { frame, sound }))
        .unwrap();
    packets
}

#[test]
fn a_tcp_train_comes_back_together() {
    for v6 in [false, true] {
        let packets = tcp_packets(v6, 3500);
        assert_eq!(run_length(&packets), 4);
        let header = TrainHeader::of(&packets);
        let frame = &header.as_bytes()[VNET_BYTES..];
        let vnet = Vnet::parse(header.as_bytes()).unwrap();
        let transport = if v6 { 54 } else { 34 };
        assert_eq!((vnet.gso, vnet.gso_size, vnet.checksum), (Gso::Tcp, 1000, Some((transport, 16))));
        assert_eq!((header.payload, frame[transport + 13]), (transport + 32, 0x18));
        // Cut again it gives the very same packets.
        let mut whole = frame.to_vec();
        packets.iter().for_each(|packet| whole.extend_from_slice(&packet.frame[header.payload..]));
        let mut again = Vec::new();
        segment(vnet, &whole, &mut Pool::default(), |frame, _| again.push(frame)).unwrap();
        assert!(again.iter().eq(packets.iter().map(|packet| &packet.frame)));
    }
}

#[test]
fn a_tcp_run_ends_where_the_stream_or_its_state_changes() {
    let run = |change: fn(&mut Vec<Packet>)| {
        let mut packets = tcp_packets(false, 4000);
        change(&mut packets);
        run_length(&packets)
    };
    assert_eq!(run(|_| {}), 4);
    assert_eq!(run(|packets| drop(packets.remove(1))), 1, "a gap");
    assert_eq!(run(|packets| packets.swap(1, 2)), 1, "out of order");
    assert_eq!(run(|packets| packets[2].frame[34 + 11] ^= 1), 2, "another acknowledgement");
    assert_eq!(run(|packets| packets[2].frame[34 + 15] ^= 1), 2, "another window");
    assert_eq!(run(|packets| packets[2].frame[34 + 31] ^= 1), 2, "another timestamp");
    assert_eq!(run(|packets| packets[2].frame[34 + 13] |= 1), 2, "FIN");
    assert_eq!(run(|packets| packets[0].frame[34 + 13] |= 2), 1, "SYN");
    assert_eq!(run(|packets| packets[1].frame[34 + 13] |= 8), 2, "pushed");
}

#[test]
fn broken_headers_ride_alone_and_never_panic() {
    for (v6, tcp) in [(false, false), (false, true), (true, false), (true, true)] {
        let make = || if tcp { tcp_packets(v6, 2000) } else { packets(v6, 2000, 1000) };
        let headers = TrainHeader::of(&make()).payload;
        for at in ETHERNET_BYTES..headers {
            for value in [0, 0x0f, 0xf0, 0xff] {
                let mut pair = make();
                pair.iter_mut().for_each(|packet| packet.frame[at] = value);
                if run_length(&pair) == 2 {
                    TrainHeader::of(&pair);
                }
            }
        }
        for len in 1..headers + 2 {
            let mut pair = make();
            pair.iter_mut().for_each(|packet| packet.frame.truncate(len));
            assert_eq!(run_length(&pair), 1, "{len}");
        }
    }
}
