//! Path MTU search of one path: fates of probes and packets in, the datagram size to use and to try out.
//!
//! RFC 8899 (DPLPMTUD) with UDP payload sizes. Base 1200 always works; then the sizes that real networks have,
//! then bisection. Absent on purpose: building probes. **A lost probe is not a sign of congestion** (RFC 8899
//! section 3): the path reports it here and to nobody else. Packets sent after a probe timeout must be of base
//! size or less, or a black hole cannot be told from a dead path.

use core::time::Duration;

use crate::time::Time;

/// UDP payload that every path must carry (RFC 8899 BASE_PLPMTU, as in QUIC).
pub const BASE: u16 = 1200;
/// Probes of one size that may be lost before the size counts as too big (RFC 8899 MAX_PROBES).
const PROBES_MAX: u8 = 3;
/// The search ends when the interval is smaller.
const STEP_MIN: u16 = 16;
/// A finished search is repeated after this time (RFC 8899 PMTU_RAISE_TIMER).
const RAISE_AFTER: Duration = Duration::from_secs(600);
/// Distinct times at which large packets were lost, with none passing in between, that make a black hole.
const BLACK_HOLE_LOSSES: u8 = 3;
/// UDP payloads of the common Ethernet MTUs 1500 and 9000: over IPv4 (20 + 8 bytes of headers), over IPv6 (40 + 8).
const COMMON_IPV4: [u16; 2] = [1472, 8972];
const COMMON_IPV6: [u16; 2] = [1452, 8952];

/// The probe that is on its way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    size: u16,
    packet_number: u64,
}

/// Evidence that large packets vanish.
#[derive(Clone, Copy, Debug, Default)]
struct Suspicion {
    losses: u8,
    last_loss: Time,
    small_passed: bool,
}

/// Search for the largest datagram that a path carries.
#[derive(Clone, Copy, Debug)]
pub struct MtuSearch {
    common: [u16; 2],
    ceiling: u16,
    current: u16,
    /// Smallest size known or taken to be too big.
    too_big: u16,
    probe: Option<Probe>,
    lost_probes: u8,
    /// When the next probe may go.
    resume: Time,
    suspicion: Suspicion,
    /// One more than the largest number of a large packet that passed.
    large_passed_end: u64,
}

impl MtuSearch {
    /// A search from 1200 up to `ceiling`, the lesser of the local interface's and the peer's largest UDP payload.
    pub fn new(ipv6: bool, ceiling: u16) -> Self {
        let ceiling = ceiling.clamp(BASE, u16::MAX - 1);
        MtuSearch {
            common: if ipv6 { COMMON_IPV6 } else { COMMON_IPV4 },
            ceiling,
            current: BASE,
            too_big: ceiling + 1,
            probe: None,
            lost_probes: 0,
            resume: Time::from_nanos(0),
            suspicion: Suspicion::default(),
            large_passed_end: 0,
        }
    }

    /// UDP payload bytes that a packet may have now.
    pub fn current(&self) -> u16 {
        self.current
    }

    /// Size of the probe that should go now, if any; one probe is on its way at a time.
    pub fn probe_due(&self, now: Time) -> Option<u16> {
        if self.probe.is_some() || now < self.resume {
            return None;
        }
        self.candidate().or_else(|| self.candidate_below(self.ceiling + 1))
    }

    /// Notes that the probe went out as `packet_number`.
    pub fn on_probe_sent(&mut self, now: Time, size: u16, packet_number: u64) {
        if now >= self.resume && self.candidate().is_none() {
            self.too_big = self.ceiling + 1;
        }
        self.probe = Some(Probe { size, packet_number });
    }

    /// The peer acknowledged a probe; true when the datagram size grew.
    pub fn on_probe_acked(&mut self, now: Time, packet_number: u64) -> bool {
        let Some(probe) = self.take_probe(packet_number) else { return false };
        self.lost_probes = 0;
        let grew = probe.size > self.current;
        self.current = self.current.max(probe.size).min(self.ceiling);
        self.too_big = self.too_big.max(self.current + 1);
        self.suspicion = Suspicion::default();
        self.rest_when_done(now);
        grew
    }

    /// A probe was lost. Not to be reported as congestion.
    pub fn on_probe_lost(&mut self, now: Time, packet_number: u64) {
        let Some(probe) = self.take_probe(packet_number) else { return };
        self.lost_probes += 1;
        if self.lost_probes >= PROBES_MAX {
            self.refuse(now, probe.size);
        }
    }

    /// A packet of `size` bytes, not a probe, was lost. It says something only where no large one sent later has passed.
    pub fn on_packet_lost(&mut self, now: Time, size: u16, packet_number: u64) {
        if size <= BASE || size > self.current || packet_number < self.large_passed_end {
            return;
        }
        if self.suspicion.losses == 0 || self.suspicion.last_loss != now {
            self.suspicion.losses = self.suspicion.losses.saturating_add(1);
            self.suspicion.last_loss = now;
        }
        self.judge_black_hole();
    }

    /// A packet of `size` bytes, not a probe, was acknowledged.
    pub fn on_packet_acked(&mut self, size: u16, packet_number: u64) {
        if size > BASE {
            self.large_passed_end = self.large_passed_end.max(packet_number + 1);
            self.suspicion = Suspicion::default();
        } else if self.suspicion.losses > 0 {
            self.suspicion.small_passed = true;
            self.judge_black_hole();
        }
    }

    /// The local stack refused a datagram (EMSGSIZE); `limit` is the UDP payload it would take, if it says so.
    pub fn on_too_big(&mut self, now: Time, limit: Option<u16>) {
        let refused = match (limit, self.probe) {
            (Some(limit), _) => limit.saturating_add(1),
            (None, Some(probe)) => probe.size,
            (None, None) => self.current,
        };
        self.probe = None;
        self.refuse(now, refused);
        if self.current >= self.too_big {
            self.current = if limit.is_some() { self.too_big - 1 } else { BASE };
            self.suspicion = Suspicion::default();
        }
        self.rest_when_done(now);
    }

    /// When [`probe_due`](Self::probe_due) should be asked again; `None` while a probe is on its way.
    pub fn next_timer(&self) -> Option<Time> {
        let more = self.candidate_below(self.ceiling + 1).is_some();
        (self.probe.is_none() && more).then_some(self.resume)
    }

    fn candidate(&self) -> Option<u16> {
        self.candidate_below(self.too_big)
    }

    /// The next size to try in (current, limit): a common one, the ceiling, or the middle.
    fn candidate_below(&self, limit: u16) -> Option<u16> {
        let fits = |size: &u16| *size > self.current && *size < limit;
        let common = self.common.iter().copied().find(fits);
        if let Some(size) = common.or_else(|| Some(self.ceiling).filter(fits)) {
            return Some(size);
        }
        let gap = limit.saturating_sub(self.current);
        (gap > STEP_MIN).then(|| self.current + gap / 2)
    }

    fn take_probe(&mut self, packet_number: u64) -> Option<Probe> {
        let probe = self.probe.filter(|probe| probe.packet_number == packet_number)?;
        self.probe = None;
        Some(probe)
    }

    fn refuse(&mut self, now: Time, size: u16) {
        self.lost_probes = 0;
        self.too_big = self.too_big.min(size).max(BASE + 1);
        self.rest_when_done(now);
    }

    fn rest_when_done(&mut self, now: Time) {
        self.resume = if self.candidate().is_some() { now } else { now + RAISE_AFTER };
    }

    /// RFC 8899 section 4.3: large packets vanish while small ones pass. Back to base, and search anew at once.
    fn judge_black_hole(&mut self) {
        if self.suspicion.losses < BLACK_HOLE_LOSSES || !self.suspicion.small_passed {
            return;
        }
        self.too_big = self.current;
        self.current = BASE;
        self.resume = self.suspicion.last_loss;
        self.lost_probes = 0;
        self.suspicion = Suspicion::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Time {
        Time::from_nanos(s * 1_000_000_000)
    }

    /// Runs the search over a path that carries `limit`; returns the sizes that were tried.
    fn search(mtu: &mut MtuSearch, now: Time, limit: u16) -> alloc::vec::Vec<u16> {
        let mut tried = alloc::vec::Vec::new();
        while let Some(size) = mtu.probe_due(now) {
            let number = tried.len() as u64;
            mtu.on_probe_sent(now, size, number);
            assert_eq!(mtu.probe_due(now), None);
            if size <= limit {
                assert!(mtu.on_probe_acked(now, number));
            } else {
                mtu.on_probe_lost(now, number);
            }
            tried.push(size);
            assert!(tried.len() < 100);
        }
        tried
    }

    #[test]
    fn common_sizes_come_first() {
        let mut mtu = MtuSearch::new(false, 8972);
        assert_eq!(mtu.current(), BASE);
        assert_eq!(search(&mut mtu, at(0), 9000), [1472, 8972]);
        let mut mtu = MtuSearch::new(true, 1452);
        assert_eq!(search(&mut mtu, at(0), 9000), [1452]);
        assert_eq!(mtu.current(), 1452);
    }

    #[test]
    fn bisection_ends_within_a_step_below_the_limit() {
        for limit in [BASE, BASE + 1, 1400, 1471, 1472, 1473, 4000, 8971, 8972, 20_000, 65_507] {
            let mut mtu = MtuSearch::new(false, 65_507);
            search(&mut mtu, at(0), limit);
            assert!(mtu.current() <= limit && mtu.current() + STEP_MIN > limit, "{limit}: {}", mtu.current());
            assert_eq!(mtu.next_timer(), (limit < 65_507).then_some(at(600)));
        }
    }

    #[test]
    fn three_lost_probes_refuse_a_size() {
        let mut mtu = MtuSearch::new(false, 1472);
        let tried = search(&mut mtu, at(0), 1471);
        assert_eq!(tried[..3], [1472; 3]);
        assert_eq!(tried.iter().filter(|size| **size == 1472).count(), 3);
    }

    #[test]
    fn raises_again_after_600_seconds() {
        let mut mtu = MtuSearch::new(false, 8972);
        search(&mut mtu, at(1), 1472);
        assert_eq!((mtu.current(), mtu.probe_due(at(600))), (1472, None));
        assert_eq!(mtu.next_timer(), Some(at(601)));
        assert_eq!(search(&mut mtu, at(601), 9000), [8972]);
        assert_eq!((mtu.current(), mtu.next_timer()), (8972, None));
    }

    #[test]
    fn a_ceiling_of_base_never_probes() {
        for ceiling in [0, 1199, BASE] {
            let mtu = MtuSearch::new(false, ceiling);
            assert_eq!((mtu.current(), mtu.probe_due(at(0)), mtu.next_timer()), (BASE, None, None));
        }
        assert_eq!(MtuSearch::new(false, u16::MAX).probe_due(at(0)), Some(1472));
    }

    #[test]
    fn unknown_probe_numbers_are_ignored() {
        let mut mtu = MtuSearch::new(false, 8972);
        assert!(!mtu.on_probe_acked(at(0), 7));
        mtu.on_probe_sent(at(0), 1472, 7);
        assert!(!mtu.on_probe_acked(at(0), 8));
        mtu.on_probe_lost(at(0), 8);
        assert!(mtu.on_probe_acked(at(0), 7));
        assert!(!mtu.on_probe_acked(at(0), 7));
    }

    fn grown(limit: u16) -> MtuSearch {
        let mut mtu = MtuSearch::new(false, limit);
        search(&mut mtu, at(0), limit);
        mtu
    }

    #[test]
    fn black_hole_falls_back_and_finds_the_new_size() {
        let mut mtu = grown(8972);
        for s in 1..=3 {
            assert_eq!(mtu.current(), 8972);
            mtu.on_packet_lost(at(s), 8972, s);
            mtu.on_packet_lost(at(s), 8972, s);
            mtu.on_packet_acked(BASE, s);
        }
        assert_eq!(mtu.current(), BASE);
        assert_eq!(search(&mut mtu, at(3), 1472)[0], 1472);
        assert_eq!(mtu.current(), 1472);
    }

    #[test]
    fn no_black_hole_where_large_packets_pass_or_nothing_does() {
        let mut mtu = grown(8972);
        for s in 1..100 {
            mtu.on_packet_lost(at(s), 8972, s);
        }
        assert_eq!(mtu.current(), 8972);
        mtu.on_packet_acked(8972, 100);
        for s in 101..103 {
            mtu.on_packet_lost(at(s), 8972, s);
            mtu.on_packet_acked(100, s);
        }
        mtu.on_packet_acked(8972, 103);
        mtu.on_packet_lost(at(103), 8972, 103);
        mtu.on_packet_lost(at(104), BASE, 104);
        assert_eq!(mtu.current(), 8972);
    }

    #[test]
    fn what_was_sent_before_a_large_packet_that_passed_is_ordinary_loss() {
        let mut mtu = grown(1472);
        mtu.on_packet_acked(1472, 50);
        for s in 40..50 {
            mtu.on_packet_lost(at(s), 1472, s);
            mtu.on_packet_acked(100, 60);
        }
        assert_eq!(mtu.current(), 1472);
        for s in 51..54 {
            mtu.on_packet_lost(at(s), 1472, s);
            mtu.on_packet_acked(100, 60);
        }
        assert_eq!(mtu.current(), BASE);
    }

    #[test]
    fn one_burst_of_losses_is_no_black_hole() {
        let mut mtu = grown(1472);
        for _ in 0..64 {
            mtu.on_packet_lost(at(1), 1472, 1);
        }
        mtu.on_packet_acked(100, 2);
        assert_eq!(mtu.current(), 1472);
    }

    #[test]
    fn too_big_obeys_the_hint_and_never_goes_below_base() {
        let mut mtu = grown(8972);
        mtu.on_too_big(at(1), Some(1372));
        assert_eq!((mtu.current(), mtu.probe_due(at(1))), (1372, None));
        mtu.on_too_big(at(2), Some(500));
        assert_eq!(mtu.current(), BASE);
        let mut mtu = grown(8972);
        mtu.on_too_big(at(1), None);
        assert_eq!((mtu.current(), mtu.probe_due(at(1))), (BASE, Some(1472)));
        mtu.on_probe_sent(at(1), 1472, 1);
        mtu.on_too_big(at(1), None);
        assert_eq!(mtu.probe_due(at(1)), Some(1336));
    }
}
