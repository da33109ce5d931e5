//! Congestion control of one path: news of sent, acknowledged and lost bytes in, window and pacing rate out.
//!
//! The path does the bookkeeping (what is in flight, what is lost) and drives one [`Controller`]; the pacer
//! applies the rate. Every lost byte is reported exactly once by `on_loss`, before the `on_ack` of the same ACK;
//! lost path-MTU probes are never reported (RFC 8899 section 3). Absent on purpose: RTT estimation for timers,
//! loss detection, fairness between the paths of one transfer.

mod bbr;
mod cubic;
mod fixed;
mod ledbat;
mod rate;
mod window;

use alloc::boxed::Box;
use core::fmt::Debug;
use core::time::Duration;

use crate::time::Time;

pub use bbr::Bbr;
pub use cubic::Cubic;
pub use fixed::Fixed;
pub use ledbat::Ledbat;
pub use rate::{RateSample, Sampler};

/// Packets that may be in flight before anything is known (DESIGN section 7).
pub const INITIAL_WINDOW_PACKETS: u64 = 32;
/// Round trip assumed where the handshake gave none.
const RTT_DEFAULT: Duration = Duration::from_millis(10);
/// No window is larger: 16 GiB is the product of 100 Gbit/s and more than a second.
const WINDOW_MAX: u64 = 1 << 34;
/// Smallest and largest datagram that counts: arithmetic must not divide by nothing.
const DATAGRAM_MIN: u64 = 64;
const DATAGRAM_MAX: u64 = 65_507;

/// Which congestion control a path uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// BBRv3 with one stated change (see [`Bbr`]); the default.
    Bbr,
    /// RFC 9438 with HyStart++.
    Cubic,
    /// LEDBAT++: yields to everything else.
    Ledbat,
    /// A rate that the operator asserts; no reaction to anything.
    Fixed {
        /// UDP payload bytes per second.
        bytes_per_second: u64,
    },
}

/// Snapshot that the path stores with each train and hands back on its ACK.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendSnapshot {
    /// Bytes delivered on the path when the train was sent.
    pub delivered: u64,
    /// When the last of them was acknowledged.
    pub delivered_time: Time,
    /// When the first packet of the flight was sent that the rate is measured over.
    pub first_sent_time: Time,
    /// Whether the sender had nothing more to send at that time.
    pub app_limited: bool,
    /// Bytes in flight with this train.
    pub in_flight: u64,
    /// Bytes lost so far.
    pub lost: u64,
}

/// One ACK's worth of news, after the path has done its bookkeeping.
#[derive(Clone, Copy, Debug)]
pub struct AckSample {
    /// When the ACK arrived.
    pub now: Time,
    /// Newly acknowledged bytes.
    pub acked_bytes: u64,
    /// Bytes declared lost since the last sample; already reported through [`Controller::on_loss`].
    pub lost_bytes: u64,
    /// Bytes in flight after this ACK and its losses.
    pub in_flight: u64,
    /// Round trip measured by this ACK, ACK delay taken off where it is known.
    pub rtt: Option<Duration>,
    /// One-way delay towards the peer, relative to an unknown but steady origin.
    pub one_way_delay: Option<Duration>,
    /// Whether the peer saw congestion marks since its last ACK.
    pub ce_marked: bool,
    /// When the newest newly acknowledged train was sent.
    pub newest_sent_time: Time,
    /// That train's snapshot.
    pub snapshot: SendSnapshot,
    /// Whether the sender has nothing more to send now.
    pub app_limited_now: bool,
}

/// A congestion control algorithm of one path.
pub trait Controller: Debug + Send {
    /// A train of `bytes` left; the returned snapshot belongs to it.
    fn on_sent(&mut self, now: Time, bytes: u64, in_flight_before: u64) -> SendSnapshot;
    /// An ACK brought news.
    fn on_ack(&mut self, sample: &AckSample);
    /// `lost_bytes` were declared lost, the newest of them sent at `newest_lost_sent`; `in_flight` is what remains.
    fn on_loss(&mut self, now: Time, lost_bytes: u64, in_flight: u64, newest_lost_sent: Time);
    /// `bytes` that were declared lost had only been late.
    fn on_spurious_loss(&mut self, now: Time, bytes: u64);
    /// Everything sent over several probe timeouts was lost (RFC 9002 section 7.6): `lost_bytes`, which `on_loss` does not see. What was
    /// known of the path may not hold any more; it is searched anew from the smallest window.
    fn on_persistent_congestion(&mut self, now: Time, lost_bytes: u64);
    /// There is nothing more to send although window and pacer would allow it; `in_flight` bytes are on their way.
    fn app_limited(&mut self, in_flight: u64);
    /// Bytes that may be in flight.
    fn window(&self) -> u64;
    /// Bytes per second to send at; `None` is unpaced.
    fn pacing_rate(&self) -> Option<u64>;
    /// Whether the first search for the path's capacity is still on (the path then asks for frequent ACKs).
    fn in_startup(&self) -> bool;
    /// The path's datagram size is now `max_datagram` bytes of UDP payload.
    fn on_mtu(&mut self, max_datagram: u64);
}

/// What every algorithm starts from.
#[derive(Clone, Copy, Debug)]
struct Start {
    window: u64,
    max_datagram: u64,
    rtt: Duration,
}

/// A controller for a fresh path. `handshake_rtt` is the round trip that the handshake or the path challenge
/// measured: the initial window of `initial_window_packets` is paced over it. `seed` varies the times of probes,
/// so that flows do not fall into step.
pub fn new(
    algorithm: Algorithm,
    initial_window_packets: u64,
    max_datagram: u64,
    handshake_rtt: Option<Duration>,
    seed: u64,
) -> Box<dyn Controller> {
    let max_datagram = max_datagram.clamp(DATAGRAM_MIN, DATAGRAM_MAX);
    let start = Start {
        window: initial_window_packets.clamp(2, 1024) * max_datagram,
        max_datagram,
        rtt: handshake_rtt.unwrap_or(RTT_DEFAULT).max(Duration::from_micros(1)),
    };
    match algorithm {
        Algorithm::Bbr => Box::new(Bbr::new(start, seed)),
        Algorithm::Cubic => Box::new(Cubic::new(start)),
        Algorithm::Ledbat => Box::new(Ledbat::new(start)),
        Algorithm::Fixed { bytes_per_second } => Box::new(Fixed::new(start, bytes_per_second)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [Algorithm; 4] {
        [
            Algorithm::Bbr,
            Algorithm::Cubic,
            Algorithm::Ledbat,
            Algorithm::Fixed { bytes_per_second: 125_000_000 },
        ]
    }

    #[test]
    fn initial_window_is_paced_over_the_handshake_rtt() {
        let rtt = Duration::from_millis(50);
        for algorithm in &all()[..3] {
            let control = new(*algorithm, INITIAL_WINDOW_PACKETS, 1200, Some(rtt), 1);
            assert_eq!(control.window(), 32 * 1200, "{algorithm:?}");
            assert_eq!(control.pacing_rate(), Some(32 * 1200 * 20), "{algorithm:?}");
            assert!(control.in_startup());
        }
    }

    /// Values that no path would report, in a pseudo-random order: nothing may panic, the window stays in bounds.
    #[test]
    fn absurd_news_never_panics() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if state & 7 == 0 {
                [0, 1, u64::MAX - 1, u64::MAX][(state >> 8) as usize & 3]
            } else {
                state >> (state & 63)
            }
        };
        for algorithm in all() {
            let mut control = new(algorithm, next(), next(), Some(Duration::from_nanos(next())), next());
            for _ in 0..20_000 {
                let now = Time::from_nanos(next());
                let snapshot = match next() & 1 {
                    0 => control.on_sent(now, next(), next()),
                    _ => SendSnapshot {
                        delivered: next(),
                        lost: next(),
                        in_flight: next(),
                        ..Default::default()
                    },
                };
                match next() & 7 {
                    0 => control.on_loss(now, next(), next(), Time::from_nanos(next())),
                    1 => control.on_spurious_loss(now, next()),
                    2 => control.app_limited(next()),
                    3 => control.on_mtu(next()),
                    4 if next() & 15 == 0 => control.on_persistent_congestion(now, next()),
                    _ => {}
                }
                control.on_ack(&AckSample {
                    now,
                    acked_bytes: next(),
                    lost_bytes: next(),
                    in_flight: next(),
                    rtt: Some(Duration::from_nanos(next())),
                    one_way_delay: (next() & 1 == 0).then(|| Duration::from_nanos(next())),
                    ce_marked: next() & 3 == 0,
                    newest_sent_time: Time::from_nanos(next()),
                    snapshot,
                    app_limited_now: next() & 3 == 0,
                });
                assert!(control.window() >= DATAGRAM_MIN && control.window() <= WINDOW_MAX, "{control:?}");
                assert!(control.pacing_rate().is_none_or(|rate| rate > 0), "{control:?}");
            }
        }
    }
}
