//! The log of sent packets: trains in, ACKs and losses out.

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::time::Duration;

use xfer_proto::sent::{Content, DataRange, SentLog, Train};
use xfer_proto::time::Time;
use xfer_proto::wire::{Ack, Frame, Frames, PathId, TransferId, Writer, encode_ack_ranges};

/// Trains of a run, and packets of a train: 100 us of 1 Gbit/s.
const TRAINS: u64 = 512;
const TRAIN: u64 = 8;
/// Packets of a run.
pub(crate) const PACKETS: u64 = TRAINS * TRAIN;
/// Packets that one ACK is about.
const ACK_PACKETS: u64 = 64;
/// Packets after which an ACK comes.
const FLIGHT: u64 = 2_048;
/// Of so many packets one is lost.
const LOSS: u64 = 50;
/// Bytes of the longest ACK.
const ACK_BYTES: usize = Ack::encoded_len(xfer_proto::limits::ACK_RANGES_MAX);

pub(crate) fn no_loss() -> Box<dyn FnMut()> {
    run(false)
}

pub(crate) fn lossy() -> Box<dyn FnMut()> {
    run(true)
}

fn run(lossy: bool) -> Box<dyn FnMut()> {
    let mut log = SentLog::default();
    let mut acked_end = 0;
    let mut ns = 0;
    Box::new(move || {
        for _ in 0..TRAINS {
            ns += 100_000;
            let now = Time::from_nanos(ns);
            let first = log.next_number();
            let (transfer, start) = (TransferId(1), first as u32 % 1_000 * 1_424);
            let end = start + TRAIN as u32 * 1_424;
            let data = DataRange { transfer, chunk: 0, attempt: 0, start, end, step: 1_424 };
            log.push(Train::new(first, TRAIN as u8, now, (1_472, 1_472), Content::Data(data)));
            if log.next_number() > acked_end + FLIGHT {
                acked_end += ACK_PACKETS;
                acknowledge(&mut log, acked_end, lossy);
                let mut lost = 0;
                log.detect(now, Duration::from_millis(1), |_, mask| lost += mask.count_ones());
                assert!(lossy || lost == 0);
            }
        }
    })
}

/// Takes an ACK of all below `end` that is not lost, as far back as ranges go.
fn acknowledge(log: &mut SentLog, end: u64, lossy: bool) {
    let mut bytes = [0; ACK_BYTES];
    let mut w = Writer::new(&mut bytes);
    Frame::encode_ack_head(&mut w, &Ack::head(PathId(0), 0, 0, 0, 0));
    if lossy {
        encode_ack_ranges(&mut w, ranges(end));
    } else {
        encode_ack_ranges(&mut w, std::iter::once(end.saturating_sub(FLIGHT)..=end - 1));
    }
    let len = w.written();
    let Some(Ok(Frame::Ack(ack))) = Frames::new(&bytes[..len]).next() else { panic!("not an ACK") };
    let news = log.acknowledge(&ack, |train, mask| {
        black_box((train.first, mask));
    });
    assert!(news.expect("all was sent").bytes > 0);
}

/// Runs between lost packets, newest first.
fn ranges(end: u64) -> impl Iterator<Item = RangeInclusive<u64>> + Clone {
    let (oldest, newest) = (end.saturating_sub(FLIGHT) / LOSS, (end - 2) / LOSS);
    (oldest..=newest).rev().map(move |run| run * LOSS + 1..=(run * LOSS + LOSS - 1).min(end - 1))
}
