//! Every packet of a train is what it would be had it been sent alone.

use super::*;
use crate::emulator::frame::{Unit, unit};

fn cut(vnet: Vnet, frame: &[u8]) -> Result<Vec<Vec<u8>>, BadFrame> {
    let mut packets = Vec::new();
    segment(vnet, frame, &mut Pool::default(), |packet, _| packets.push(packet)).map(|()| packets)
}

/// An IPv4 or IPv6 frame with this transport header and payload.
fn frame(v6: bool, protocol: u8, transport: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2u8; 12];
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, protocol, 64]);
        frame.extend((0..32).map(|i| i * 5 + 1));
    } else {
        frame.extend([0x08, 0x00, 0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0]);
        frame.extend([10, 77, 1, 1, 10, 77, 1, 2]);
    }
    frame.extend_from_slice(transport);
    frame.extend_from_slice(payload);
    frame
}

/// Sums the whole packet as a receiver does: pseudo-header and transport must give all ones.
fn is_sound(packet: &[u8], protocol: u8) -> bool {
    let ip = ip(packet).unwrap();
    let start = if ip == Ip::V4 { 34 } else { 54 };
    let transport = fold(ip.pseudo_sum(packet, protocol, packet.len() - start) + sum(&packet[start..]));
    let network = ip == Ip::V6 || fold(sum(&packet[14..34])) == 0xffff;
    transport == 0xffff && network
}

const TCP: [u8; 20] = [0x1e, 0x14, 0, 80, 0xff, 0xff, 0xff, 0x00, 0, 0, 0, 9, 0x50, 0x99, 1, 0, 0, 0, 0, 0];

#[test]
fn udp_trains_of_every_shape() {
    for v6 in [false, true] {
        for (len, count) in [(1, 1), (999, 1), (1000, 1), (1001, 2), (2000, 2), (2001, 3)] {
            let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let train = frame(v6, 17, &[0x1e, 0x14, 0x1e, 0x15, 0, 0, 0, 0], &payload);
            let start = if v6 { 54 } else { 34 };
            let vnet = Vnet { gso: Gso::Udp, gso_size: 1000, checksum: Some((start, 6)) };
            let packets = cut(vnet, &train).unwrap();
            assert_eq!(packets.len(), count, "{len}");
            assert!(packets.iter().all(|packet| is_sound(packet, 17)));
            let payloads: Vec<u8> = packets.iter().flat_map(|packet| packet[start + 8..].to_vec()).collect();
            assert_eq!(payloads, payload);
            for packet in &packets {
                assert!(matches!(unit(packet), Some(Unit { transport, .. }) if transport == start));
            }
        }
    }
}

#[test]
fn tcp_trains_count_sequence_flags_and_identification() {
    let payload = vec![7u8; 2500];
    for v6 in [false, true] {
        let start = if v6 { 54 } else { 34 };
        let vnet = Vnet { gso: Gso::Tcp, gso_size: 1000, checksum: Some((start, 16)) };
        let packets = cut(vnet, &frame(v6, 6, &TCP, &payload)).unwrap();
        assert!(packets.iter().all(|packet| is_sound(packet, 6)));
        let sequences: Vec<&[u8]> = packets.iter().map(|packet| &packet[start + 4..start + 8]).collect();
        assert_eq!(sequences, [[0xff, 0xff, 0xff, 0x00], [0, 0, 2, 0xe8], [0, 0, 6, 0xd0]], "wraps");
        let flags: Vec<u8> = packets.iter().map(|packet| packet[start + 13]).collect();
        // CWR stays with the first, FIN and PSH with the last, ACK with all.
        assert_eq!(flags, [0x90, 0x10, 0x19]);
        assert_eq!(
            packets.iter().map(|packet| packet.len() - start - 20).collect::<Vec<_>>(),
            [1000, 1000, 500]
        );
        if !v6 {
            let ids: Vec<u16> = packets.iter().map(|packet| get_u16(packet, 18)).collect();
            assert_eq!(ids, [0x1234, 0x1235, 0x1236]);
        }
    }
}

#[test]
fn an_unfinished_checksum_is_finished_and_a_finished_one_left() {
    let datagram = frame(true, 17, &[0x1e, 0x14, 0x1e, 0x15, 0, 13, 0, 0], b"12345");
    let plain = Vnet { gso: Gso::None, gso_size: 0, checksum: None };
    assert_eq!(cut(plain, &datagram).unwrap(), std::slice::from_ref(&datagram));
    let mut partial = datagram.clone();
    let pseudo = fold(Ip::V6.pseudo_sum(&partial, 17, 13));
    put_u16(&mut partial, 60, pseudo);
    let packets = cut(Vnet { checksum: Some((54, 6)), ..plain }, &partial).unwrap();
    assert!(is_sound(&packets[0], 17));
}

#[test]
fn a_udp_checksum_is_never_zero() {
    // A payload of the complement of all else makes the sum all ones and its complement zero.
    let mut datagram = frame(false, 17, &[0, 1, 0, 2, 0, 10, 0, 0], &[0, 0]);
    let pseudo = Ip::V4.pseudo_sum(&datagram, 17, 10);
    let rest = !fold(pseudo + sum(&datagram[34..]));
    put_u16(&mut datagram, 42, rest);
    put_u16(&mut datagram, 40, fold(pseudo));
    let vnet = Vnet { gso: Gso::None, gso_size: 0, checksum: Some((34, 6)) };
    assert_eq!(get_u16(&cut(vnet, &datagram).unwrap()[0], 40), 0xffff);
}

#[test]
fn nonsense_is_refused_and_never_panics() {
    let udp = frame(false, 17, &[0; 8], &[0; 100]);
    let train = Vnet { gso: Gso::Udp, gso_size: 10, checksum: Some((34, 6)) };
    assert!(cut(train, &udp).is_ok());
    let wrong = [
        Vnet { gso_size: 0, ..train },
        Vnet { checksum: None, ..train },
        Vnet { checksum: Some((33, 6)), ..train },
        Vnet { checksum: Some((200, 6)), ..train },
        Vnet { gso: Gso::Tcp, ..train },
        Vnet { gso: Gso::None, checksum: Some((200, 6)), ..train },
        Vnet { gso: Gso::None, checksum: Some((65_535, 65_535)), ..train },
    ];
    for vnet in wrong {
        assert_eq!(cut(vnet, &udp), Err(BadFrame), "{vnet:?}");
    }
    let mut options = udp.clone();
    options[14] = 0x4f;
    assert_eq!(cut(train, &options), Err(BadFrame), "the IP header reaches beyond the transport's");
    for len in 0..udp.len() {
        for gso in [Gso::None, Gso::Udp, Gso::Tcp] {
            let short = cut(Vnet { gso, ..train }, &udp[..len]);
            assert!(short.is_ok() == (len > 42 && gso == Gso::Udp || len >= 42 && gso == Gso::None), "{len}");
        }
    }
}
