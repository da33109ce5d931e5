//! Congestion control: a train sent and an ACK taken, at a steady rate.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use xfer_proto::cc::{self, AckSample, Algorithm, INITIAL_WINDOW_PACKETS};
use xfer_proto::time::Time;

/// ACKs of a run.
pub(crate) const ACKS: u64 = 1_024;
/// Bytes of a train, and the time between two: 1 Gbit/s.
const TRAIN: u64 = 8 * 1_472;
const EVERY: Duration = Duration::from_micros(94);
const RTT: Duration = Duration::from_millis(10);

pub(crate) fn bbr() -> Box<dyn FnMut()> {
    run(Algorithm::Bbr)
}

pub(crate) fn cubic() -> Box<dyn FnMut()> {
    run(Algorithm::Cubic)
}

pub(crate) fn ledbat() -> Box<dyn FnMut()> {
    run(Algorithm::Ledbat)
}

fn run(algorithm: Algorithm) -> Box<dyn FnMut()> {
    let mut control = cc::new(algorithm, INITIAL_WINDOW_PACKETS, 1_472, Some(RTT), 1);
    let mut now = Time::from_nanos(1_000_000_000);
    let mut sent = VecDeque::new();
    Box::new(move || {
        for _ in 0..ACKS {
            now = now + EVERY;
            let in_flight = sent.len() as u64 * TRAIN;
            sent.push_back((now, control.on_sent(now, TRAIN, in_flight)));
            if sent.front().is_some_and(|(time, _)| now.since(*time) < RTT) {
                continue;
            }
            let Some((newest_sent_time, snapshot)) = sent.pop_front() else { continue };
            control.on_ack(&AckSample {
                now,
                acked_bytes: TRAIN,
                lost_bytes: 0,
                in_flight,
                rtt: Some(RTT),
                one_way_delay: Some(RTT / 2),
                ce_marked: false,
                newest_sent_time,
                snapshot,
                app_limited_now: false,
            });
            black_box((control.window(), control.pacing_rate()));
        }
    })
}
