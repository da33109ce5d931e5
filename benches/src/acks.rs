//! What a receiver remembers of packet numbers, and the ACKs it writes of them.

use std::hint::black_box;

use xfer_proto::ack::AckRecorder;
use xfer_proto::time::Time;
use xfer_proto::wire::{Ack, PathId, Writer};

/// Packets of a run.
pub(crate) const PACKETS: u64 = 4_096;
/// Packets after which an ACK goes.
const ACK_EVERY: u64 = 64;
/// One of so many packets is missing.
const GAP: u64 = 50;
/// Numbers after which the peer is known to have seen the ACKs.
const HEARD: u64 = 1_024;
/// Bytes of the longest ACK.
const ACK_BYTES: usize = Ack::encoded_len(xfer_proto::limits::ACK_RANGES_MAX);

pub(crate) fn in_order() -> Box<dyn FnMut()> {
    run(u64::MAX)
}

pub(crate) fn with_gaps() -> Box<dyn FnMut()> {
    run(GAP)
}

fn run(gap: u64) -> Box<dyn FnMut()> {
    let mut recorder = AckRecorder::new();
    let mut number = 0;
    Box::new(move || {
        for _ in 0..PACKETS {
            number += 1 + u64::from(number % gap == gap - 1);
            let now = Time::from_nanos(number * 12_000);
            if recorder.is_new(black_box(number)) {
                recorder.accept(now, number, number as u32, true, false, false);
            }
            if number.is_multiple_of(ACK_EVERY) {
                let mut bytes = [0; ACK_BYTES];
                let mut w = Writer::new(&mut bytes);
                black_box(recorder.write(now, PathId(0), &mut w));
                recorder.on_sent(now);
                recorder.forget_below(number.saturating_sub(HEARD));
                black_box(&bytes);
            }
        }
    })
}
