//! Spreads a path's packets over time: rate in, permission for one train at a time out.
//!
//! A virtual clock (the token bucket's dual) says when the next train is due; each train moves it on by the
//! train's length at the current rate. Absent on purpose: the window (the controller's) and whether there is
//! anything to send.

use core::time::Duration;

use crate::time::Time;

/// Length of a train in time at the pacing rate (DESIGN section 7).
const TRAIN: Duration = Duration::from_micros(100);
/// Most packets of one train: what one UDP_SEGMENT call takes.
const TRAIN_PACKETS_MAX: u64 = 64;
/// Most bytes of one train: the largest UDP payload over IPv4.
const TRAIN_BYTES_MAX: u64 = 65_507;
/// How far the clock may lag behind: a worker that polls late by a scheduler tick (4 ms at HZ 250) makes up
/// for it, and no pause however long permits a larger burst than this much of the rate.
const CREDIT: Duration = Duration::from_millis(4);
/// The clock never runs further ahead, whatever the rate: a rate that was wrongly measured must not mute a path.
const AHEAD_MAX: Duration = Duration::from_secs(1);

/// Releases trains of packets at a rate.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    rate: Option<u64>,
    /// When the next train may go.
    due: Time,
    /// Where `due` was before the last train, and that train's bytes: what a new rate applies to.
    base: Time,
    last_bytes: u64,
}

impl Pacer {
    /// A pacer of `bytes_per_second` (`None` is unpaced); the first train may go at once.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        let start = Time::from_nanos(0);
        Pacer { rate: bytes_per_second, due: start, base: start, last_bytes: 0 }
    }

    /// Changes the rate, also for what remains of the wait after the last train.
    pub fn set_rate(&mut self, bytes_per_second: Option<u64>) {
        if self.rate != bytes_per_second {
            self.rate = bytes_per_second;
            self.due = self.base + self.span(self.last_bytes);
        }
    }

    /// Bytes that may go now as one train: whole packets of `max_datagram`, 0 while the next train is not due.
    pub fn budget(&mut self, now: Time, max_datagram: u64) -> u64 {
        if now < self.due { 0 } else { train_bytes(self.rate, max_datagram) }
    }

    /// Accounts for a train of `bytes` that left at `now`.
    pub fn on_sent(&mut self, now: Time, bytes: u64) {
        self.base = self.due.max(now - CREDIT);
        self.last_bytes = bytes;
        self.due = (self.base + self.span(bytes)).min(now + AHEAD_MAX);
    }

    /// When the next train may go; `None` when it may go now.
    pub fn next_release(&self, now: Time) -> Option<Time> {
        (self.due > now).then_some(self.due)
    }

    fn span(&self, bytes: u64) -> Duration {
        match self.rate {
            None => Duration::ZERO,
            Some(0) => AHEAD_MAX,
            Some(rate) => {
                let ns = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
                Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
            }
        }
    }
}

/// Bytes of a full train at `rate`: 100 us of it, in whole packets, at least one.
fn train_bytes(rate: Option<u64>, max_datagram: u64) -> u64 {
    let packet = max_datagram.clamp(1, TRAIN_BYTES_MAX);
    let packets_max = TRAIN_PACKETS_MAX.min(TRAIN_BYTES_MAX / packet);
    let by_rate = rate.map_or(u64::MAX, |rate| rate / (1_000_000 / TRAIN.as_micros() as u64));
    (by_rate / packet).clamp(1, packets_max) * packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const GBIT: u64 = 125_000_000;

    fn us(us: u64) -> Time {
        Time::from_nanos(us * 1_000)
    }

    /// Bytes sent until `until`, polling every `step` microseconds.
    fn run(pacer: &mut Pacer, mtu: u64, from: u64, until: u64, step: u64) -> u64 {
        let mut sent = 0;
        let mut now = from;
        while now < until {
            loop {
                let bytes = pacer.budget(us(now), mtu);
                if bytes == 0 {
                    break;
                }
                pacer.on_sent(us(now), bytes);
                sent += bytes;
            }
            now += step;
        }
        sent
    }

    #[test]
    fn trains_are_100_us_of_whole_packets() {
        assert_eq!(train_bytes(Some(GBIT), 1472), 8 * 1472);
        assert_eq!(train_bytes(Some(14_719_999), 1472), 1472);
        assert_eq!(train_bytes(Some(29_440_000), 1472), 2 * 1472);
        assert_eq!(train_bytes(Some(0), 1472), 1472);
        assert_eq!(train_bytes(Some(u64::MAX), 1000), 64 * 1000);
        assert_eq!(train_bytes(None, 1472), 44 * 1472);
        assert_eq!(train_bytes(None, 8972), 7 * 8972);
        assert_eq!(train_bytes(None, 65_507), 65_507);
        assert_eq!(train_bytes(None, 0), 64);
    }

    #[test]
    fn low_rate_sends_single_packets_evenly() {
        let mut pacer = Pacer::new(Some(1_000_000));
        let start = us(1_000_000);
        for i in 0..10 {
            let due = start + Duration::from_micros(1000 * i);
            if i > 0 {
                assert_eq!(pacer.budget(due - Duration::from_nanos(1), 1000), 0);
                assert_eq!(pacer.next_release(due - Duration::from_nanos(1)), Some(due));
            } else {
                pacer.due = start;
            }
            assert_eq!(pacer.budget(due, 1000), 1000);
            assert_eq!(pacer.next_release(due), None);
            pacer.on_sent(due, 1000);
        }
    }

    #[test]
    fn late_polls_lose_no_rate() {
        for step in [1, 50, 1_000, 4_000] {
            let mut pacer = Pacer::new(Some(GBIT));
            pacer.due = us(1_000_000);
            let sent = run(&mut pacer, 1472, 1_000_000, 2_000_000, step);
            let expected = GBIT - GBIT * step / 1_000_000;
            assert!(sent >= expected && sent <= GBIT + 65_507, "step {step}: {sent}");
        }
    }

    #[test]
    fn burst_after_idle_is_bounded() {
        let mut pacer = Pacer::new(Some(GBIT));
        pacer.on_sent(us(0), 1472);
        let burst = run(&mut pacer, 1472, 10_000_000, 10_000_001, 1);
        let credit = GBIT / 250;
        assert!(burst >= credit && burst <= credit + 2 * 8 * 1472, "{burst}");
    }

    #[test]
    fn unpaced_is_always_due() {
        let mut pacer = Pacer::new(None);
        for _ in 0..3 {
            assert_eq!(pacer.budget(us(7), 1472), 44 * 1472);
            pacer.on_sent(us(7), 44 * 1472);
            assert_eq!(pacer.next_release(us(7)), None);
        }
    }

    #[test]
    fn new_rate_rescales_the_wait() {
        let mut pacer = Pacer::new(Some(1_000));
        pacer.on_sent(us(0), 1_000);
        assert_eq!(pacer.next_release(us(0)), Some(us(1_000_000)));
        pacer.set_rate(Some(1_000_000));
        assert_eq!(pacer.next_release(us(0)), Some(us(1_000)));
        pacer.set_rate(None);
        assert_eq!(pacer.next_release(us(0)), None);
    }

    #[test]
    fn zero_rate_still_moves_once_a_second() {
        let mut pacer = Pacer::new(Some(0));
        pacer.on_sent(us(0), 65_507);
        assert_eq!(pacer.next_release(us(0)), Some(us(1_000_000)));
        assert_eq!(pacer.budget(us(1_000_000), 1472), 1472);
    }
}
