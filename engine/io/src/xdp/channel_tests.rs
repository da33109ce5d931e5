//! The way of frames through the rings, over the heap, with the kernel's side played here.

use std::io;

use super::channel::{Channel, Kernel, Rings, Sizes};
use super::heap;
use super::packet::{Addresses, Head, parse};
use super::ring::{Consumer, Descriptor, Producer};
use super::umem::Umem;
use crate::limits::{XDP_BURST, XDP_PACKET_BYTES_MAX};

const SIZES: Sizes = Sizes { receive: 8, send: 8 };

/// The kernel's sides of the rings, and the memory as it sees it.
struct Peer {
    fill: Consumer<u64>,
    completion: Producer<u64>,
    receive: Producer<Descriptor>,
    send: Consumer<Descriptor>,
    memory: *mut u8,
    /// What the next calls for sending answer.
    answers: Vec<io::Result<()>>,
    calls: usize,
}

impl Kernel for Peer {
    fn send(&mut self) -> io::Result<()> {
        self.calls += 1;
        self.answers.pop().unwrap_or(Ok(()))
    }

    fn receive(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn polls(&self) -> bool {
        false
    }
}

impl Peer {
    /// Takes what was sent, without saying that it is done with it.
    fn take(&mut self) -> Vec<Descriptor> {
        self.send.ready(u32::MAX);
        let taken: Vec<Descriptor> = std::iter::from_fn(|| self.send.pop()).collect();
        self.send.release();
        taken
    }

    fn bytes(&self, at: &Descriptor) -> Vec<u8> {
        // The descriptor lies in the memory.
        let start = self.memory.wrapping_add(at.address as usize);
        // SAFETY: the memory lives as long as the channel; the frame is the kernel's now.
        let bytes = unsafe { std::slice::from_raw_parts(start, at.len as usize) };
        bytes.to_vec()
    }

    fn done(&mut self, sent: &[Descriptor]) {
        for descriptor in sent {
            assert!(self.completion.room(1) > 0);
            self.completion.push(descriptor.address);
        }
        self.completion.submit();
    }

    /// Puts a packet in pieces into frames of the fill ring. False when there are too few.
    fn deliver(&mut self, pieces: &[&[u8]]) -> bool {
        if (self.fill.ready(pieces.len() as u32) as usize) < pieces.len() {
            return false;
        }
        for (nth, piece) in pieces.iter().enumerate() {
            let address = self.fill.pop().unwrap() + 256;
            // The frame lies in the memory.
            let start = self.memory.wrapping_add(address as usize);
            // SAFETY: the frame is the kernel's: it lay in the fill ring; the piece fits behind the headroom.
            let to = unsafe { std::slice::from_raw_parts_mut(start, piece.len()) };
            to.copy_from_slice(piece);
            let options = if nth + 1 < pieces.len() { libc::XDP_PKT_CONTD } else { 0 };
            assert!(self.receive.room(1) > 0);
            self.receive.push(Descriptor { address, len: piece.len() as u32, options });
        }
        self.fill.release();
        self.receive.submit();
        true
    }
}

fn pair() -> (Channel, Peer) {
    let (mut umem, frames) = Umem::new(SIZES.receive + SIZES.send, 2_048, false).unwrap();
    let memory = umem.start().as_ptr();
    let _ = &mut umem;
    let (fill, fill_out) = heap::ring(SIZES.receive, 0);
    let (completion_in, completion) = heap::ring(SIZES.send, 0);
    let (receive_in, receive) = heap::ring(SIZES.receive, 0);
    let (send, send_out) = heap::ring(SIZES.send, 0);
    let rings = Rings { fill, completion, receive, send };
    let peer = Peer {
        fill: fill_out,
        completion: completion_in,
        receive: receive_in,
        send: send_out,
        memory,
        answers: Vec::new(),
        calls: 0,
    };
    (Channel::new(umem, frames, rings, SIZES), peer)
}

fn head() -> Head {
    Head {
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        addresses: Addresses::new("10.77.1.1".parse().unwrap(), "10.77.1.2".parse().unwrap()).unwrap(),
        source_port: 1,
        destination_port: 2,
        ecn: None,
    }
}

#[test]
fn a_packet_is_headers_and_payload_in_one_frame() {
    let (mut channel, mut peer) = pair();
    assert_eq!(channel.room(1_400), 8);
    channel.send(&head(), &[7; 1_400]);
    assert!(peer.take().is_empty(), "before the flush");
    channel.flush(&mut peer).unwrap();
    let sent = peer.take();
    assert_eq!((sent.len(), sent[0].len, sent[0].options), (1, 1_442, 0));
    let bytes = peer.bytes(&sent[0]);
    assert_eq!(bytes[parse(&bytes).unwrap().payload], [7; 1_400]);
}

#[test]
fn a_frame_is_sent_again_only_after_the_kernel_is_done_with_it() {
    let (mut channel, mut peer) = pair();
    for round in 0..5u8 {
        let room = channel.room(100);
        assert_eq!(room, 8);
        (0..room).for_each(|_| channel.send(&head(), &[round; 100]));
        assert_eq!((channel.room(100), channel.outstanding()), (0, 8));
        channel.flush(&mut peer).unwrap();
        let sent = peer.take();
        let mut places: Vec<u64> = sent.iter().map(|d| d.address / 2_048).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 8, "a frame is on its way twice");
        assert!(places.iter().all(|place| *place >= u64::from(SIZES.receive)));
        assert_eq!((channel.reclaim(), channel.room(100)), (0, 0));
        peer.done(&sent[..3]);
        assert_eq!((channel.reclaim(), channel.room(100), channel.outstanding()), (3, 3, 5));
        peer.done(&sent[3..]);
        assert_eq!((channel.reclaim(), channel.outstanding()), (5, 0));
    }
}

#[test]
fn a_long_packet_is_a_chain() {
    let (mut channel, mut peer) = pair();
    channel.set_abilities(true, true);
    let payload: Vec<u8> = (0..5_000u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(channel.room(payload.len()), 2);
    channel.send(&head(), &payload);
    channel.flush(&mut peer).unwrap();
    let sent = peer.take();
    let options: Vec<u32> = sent.iter().map(|d| d.options).collect();
    assert_eq!(options, [libc::XDP_PKT_CONTD, libc::XDP_PKT_CONTD, 0]);
    let bytes: Vec<u8> = sent.iter().flat_map(|d| peer.bytes(d)).collect();
    assert_eq!(bytes[parse(&bytes).unwrap().payload], payload[..]);
    peer.done(&sent);
    assert_eq!(channel.reclaim(), 3);
}

#[test]
fn a_checksum_is_asked_for_where_it_may_be() {
    let (mut channel, mut peer) = pair();
    channel.set_abilities(true, false);
    channel.send(&head(), &[1; 10]);
    channel.flush(&mut peer).unwrap();
    let sent = peer.take();
    assert_eq!(sent[0].options, libc::XDP_TX_METADATA);
    let before = Descriptor { address: sent[0].address - 24, len: 24, options: 0 };
    let metadata = peer.bytes(&before);
    assert_eq!(metadata[..12], [2, 0, 0, 0, 0, 0, 0, 0, 34, 0, 6, 0]);
}

#[test]
fn calls_go_on_while_they_get_on() {
    let (mut channel, mut peer) = pair();
    channel.send(&head(), &[1; 10]);
    // A ring that needs no call gets none.
    let sent = channel.flush(&mut peer).unwrap();
    assert_eq!((sent.calls, sent.would_block, peer.calls), (0, false, 0));
    heap::ask_for_wakeup(&peer.send);
    peer.answers.push(Err(io::Error::from_raw_os_error(libc::EAGAIN)));
    let sent = channel.flush(&mut peer).unwrap();
    assert_eq!((sent.calls, sent.would_block), (1, true));
    peer.answers.push(Err(io::Error::from_raw_os_error(libc::ENETDOWN)));
    assert_eq!(channel.flush(&mut peer).unwrap_err().raw_os_error(), Some(libc::ENETDOWN));
    assert_eq!(channel.waiting(), 1);
}

#[test]
fn a_burst_is_given_back_with_the_next() {
    let (mut channel, mut peer) = pair();
    assert_eq!(channel.receive(&mut peer).unwrap(), 0);
    for round in 0..20u8 {
        assert!(peer.deliver(&[&[round; 60]]) && peer.deliver(&[&[round + 1; 61]]));
        assert_eq!(channel.receive(&mut peer).unwrap(), 2);
        assert_eq!(channel.received(0), [round; 60]);
        assert_eq!(channel.received(1), [round + 1; 61]);
        channel.received(0).fill(0xff);
    }
}

#[test]
fn frames_that_are_held_are_not_the_kernels() {
    let (mut channel, mut peer) = pair();
    (0..8).for_each(|n| assert!(peer.deliver(&[&[n; 60]])));
    assert_eq!(channel.receive(&mut peer).unwrap(), 8);
    assert!(!peer.deliver(&[&[9; 60]]), "a held frame was in the fill ring");
    assert_eq!(channel.receive(&mut peer).unwrap(), 0);
    assert!(peer.deliver(&[&[9; 60]]));
    assert_eq!(channel.receive(&mut peer).unwrap(), 1);
    assert_eq!(channel.received(0), [9; 60]);
}

#[test]
fn a_chain_is_gathered() {
    let (mut channel, mut peer) = pair();
    assert!(peer.deliver(&[&[1; 1_792], &[2; 1_792], &[3; 5]]) && peer.deliver(&[&[4; 60]]));
    assert_eq!(channel.receive(&mut peer).unwrap(), 2);
    let whole = [vec![1; 1_792], vec![2; 1_792], vec![3; 5]].concat();
    assert_eq!(channel.received(0), whole);
    assert_eq!(channel.received(1), [4; 60]);
    // All frames come back: more than there are were used.
    for _ in 0..10 {
        assert!(peer.deliver(&[&[5; 100], &[6; 100]]));
        assert_eq!(channel.receive(&mut peer).unwrap(), 1);
        assert_eq!(channel.received(0).len(), 200);
    }
}

#[test]
fn a_chain_without_end_is_dropped_and_counted() {
    let (mut channel, mut peer) = pair();
    let pieces = XDP_PACKET_BYTES_MAX / 1_792 + 1;
    for nth in 0..=pieces {
        // Each piece is a packet to the ring; the option says that it goes on.
        let address = peer.fill.pop().or_else(|| {
            peer.fill.ready(1);
            peer.fill.pop()
        });
        let options = if nth < pieces { libc::XDP_PKT_CONTD } else { 0 };
        peer.receive.push(Descriptor { address: address.unwrap() + 256, len: 1_792, options });
        peer.fill.release();
        peer.receive.submit();
        let held = channel.receive(&mut peer).unwrap();
        assert_eq!(held, 0, "{nth}");
        channel.receive(&mut peer).unwrap();
        assert!(peer.receive.room(8) > 0);
    }
    assert_eq!(channel.too_long(), 1);
    peer.fill.ready(8);
    assert!(peer.deliver(&[&[4; 60]]));
    assert_eq!(channel.receive(&mut peer).unwrap(), 1);
}

#[test]
fn a_burst_is_bounded() {
    assert!(XDP_BURST > SIZES.receive as usize);
    let (mut channel, mut peer) = pair();
    (0..8).for_each(|n| assert!(peer.deliver(&[&[n; 60]])));
    assert!(channel.receive(&mut peer).unwrap() <= XDP_BURST);
}
