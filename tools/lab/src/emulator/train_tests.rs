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
            let shape = datagram(&joined).expect("lengths are right");
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
