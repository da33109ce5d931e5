//! One direction of a wire: takes packet lengths and times, says what becomes of each packet.
//!
//! The rate is a virtual clock: `busy_until` is when the wire has sent all it accepted, and the
//! backlog is the distance of that from now. No packet is kept here.

use crate::jitter::Jitter;
use crate::limits::PACKET_BYTES_MAX;
use crate::{Rng, Shape};

const NS_PER_S: u128 = 1_000_000_000;

/// Why a packet did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The wire is a black hole.
    Blackhole,
    /// Longer than the path's MTU.
    Mtu,
    /// The queue before the wire was full.
    Queue,
    /// Lost in a burst.
    Burst,
    /// Lost at random.
    Random,
}

/// One arrival of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When it arrives, ns, on the clock of the offers.
    pub at_ns: u64,
    /// The packet is damaged: pass this to [`flip_bit`].
    pub corrupt: Option<u64>,
    /// It carries a congestion mark.
    pub marked: bool,
}

/// What becomes of an offered packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It never arrives.
    Drop(DropReason),
    /// It arrives, and perhaps a second time.
    Deliver {
        /// The packet.
        first: Delivery,
        /// Its duplicate, at the same time or later.
        second: Option<Delivery>,
    },
}

impl Verdict {
    /// The arrivals: none, one or two.
    pub fn deliveries(self) -> impl Iterator<Item = Delivery> {
        let (first, second) = match self {
            Self::Drop(_) => (None, None),
            Self::Deliver { first, second } => (Some(first), second),
        };
        first.into_iter().chain(second)
    }
}

/// What a link did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets offered.
    pub offered: u64,
    /// Bytes offered, without overhead.
    pub offered_bytes: u64,
    /// Packets that arrive, duplicates not counted.
    pub passed: u64,
    /// Bytes of those.
    pub passed_bytes: u64,
    /// Packets that arrive twice.
    pub duplicated: u64,
    /// Arrivals with a flipped bit.
    pub corrupted: u64,
    /// Packets held back.
    pub reordered: u64,
    /// Packets marked, duplicates not counted.
    pub marked: u64,
    /// Dropped by [`DropReason::Blackhole`].
    pub dropped_blackhole: u64,
    /// Dropped by [`DropReason::Mtu`].
    pub dropped_mtu: u64,
    /// Dropped by [`DropReason::Queue`].
    pub dropped_queue: u64,
    /// Dropped by [`DropReason::Burst`].
    pub dropped_burst: u64,
    /// Dropped by [`DropReason::Random`].
    pub dropped_random: u64,
}

impl Stats {
    /// Packets dropped, for whatever reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped_blackhole
            + self.dropped_mtu
            + self.dropped_queue
            + self.dropped_burst
            + self.dropped_random
    }

    fn count_drop(&mut self, reason: DropReason) {
        *match reason {
            DropReason::Blackhole => &mut self.dropped_blackhole,
            DropReason::Mtu => &mut self.dropped_mtu,
            DropReason::Queue => &mut self.dropped_queue,
            DropReason::Burst => &mut self.dropped_burst,
            DropReason::Random => &mut self.dropped_random,
        } += 1;
    }
}

/// One direction of a wire.
///
/// Each fault draws from a stream of its own, so that switching one on does not move the others.
#[derive(Clone, Debug)]
pub struct Link {
    shape: Shape,
    stats: Stats,
    /// When the wire has sent all it accepted, ns, and the rest of that division in units of 1 / rate ns.
    busy_until_ns: u64,
    busy_rest: u128,
    burst_bad: bool,
    jitter: Jitter,
    loss_rng: Rng,
    burst_rng: Rng,
    reorder_rng: Rng,
    duplicate_rng: Rng,
    corrupt_rng: Rng,
}

impl Link {
    /// A link of this shape whose randomness comes from `seed` alone.
    #[must_use]
    pub fn new(shape: Shape, seed: u64) -> Self {
        let mut link = Self {
            shape: Shape::default(),
            stats: Stats::default(),
            busy_until_ns: 0,
            busy_rest: 0,
            burst_bad: false,
            jitter: Jitter::new(Rng::stream(seed, 0)),
            loss_rng: Rng::stream(seed, 1),
            burst_rng: Rng::stream(seed, 2),
            reorder_rng: Rng::stream(seed, 3),
            duplicate_rng: Rng::stream(seed, 4),
            corrupt_rng: Rng::stream(seed, 5),
        };
        link.set_shape(0, shape);
        link
    }

    /// Changes the shape from `now_ns` on. Packets already accepted keep their times.
    pub fn set_shape(&mut self, now_ns: u64, shape: Shape) {
        if shape.rate() != self.shape.rate() {
            self.busy_rest = 0;
        }
        if shape.burst != self.shape.burst {
            self.burst_bad = false;
        }
        self.shape = shape.bounded();
        self.jitter.set_amplitude(now_ns, self.shape.jitter_ns);
    }

    /// The present shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Counters since the link was made.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Forgets what waits for the wire: from `now_ns` on it is idle.
    pub fn clear_queue(&mut self, now_ns: u64) {
        self.busy_until_ns = self.busy_until_ns.min(now_ns);
        self.busy_rest = 0;
    }

    /// Bytes waiting for the wire at `now_ns`, overhead included, rounded up.
    #[must_use]
    pub fn backlog_bytes(&self, now_ns: u64) -> u64 {
        let Some(rate) = self.shape.rate() else { return 0 };
        let wait_ns = u128::from(self.busy_until_ns.saturating_sub(now_ns));
        (wait_ns * u128::from(rate)).div_ceil(8 * NS_PER_S) as u64
    }

    /// Offers a packet of `len` bytes at `now_ns` and says what becomes of it.
    ///
    /// Times need not rise, but the rate and the queue are exact only where they do.
    ///
    /// # Panics
    /// If `len` is above [`PACKET_BYTES_MAX`].
    pub fn offer(&mut self, now_ns: u64, len: u32) -> Verdict {
        assert!(len <= PACKET_BYTES_MAX, "a packet of {len} bytes");
        self.stats.offered += 1;
        self.stats.offered_bytes += u64::from(len);
        let marked = self.shape.mark_bytes.is_some_and(|mark| self.backlog_bytes(now_ns) > mark);
        match self.admit(now_ns, len) {
            Err(reason) => {
                self.stats.count_drop(reason);
                Verdict::Drop(reason)
            }
            Ok(sent_ns) => self.carry(sent_ns, len, marked),
        }
    }

    /// Everything that can stop the packet; otherwise the time when its last bit is sent.
    fn admit(&mut self, now_ns: u64, len: u32) -> Result<u64, DropReason> {
        if self.shape.blackhole {
            return Err(DropReason::Blackhole);
        }
        if self.shape.mtu.is_some_and(|mtu| len > mtu) {
            return Err(DropReason::Mtu);
        }
        let sent_ns = self.serialise(now_ns, len)?;
        // Both are drawn for each packet, so that neither pattern depends on the other.
        let (burst, random) = (self.draw_burst(), self.shape.loss.draw(&mut self.loss_rng));
        match (burst, random) {
            (true, _) => Err(DropReason::Burst),
            (false, true) => Err(DropReason::Random),
            (false, false) => Ok(sent_ns),
        }
    }

    fn serialise(&mut self, now_ns: u64, len: u32) -> Result<u64, DropReason> {
        let Some(rate) = self.shape.rate() else { return Ok(now_ns.max(self.busy_until_ns)) };
        let cost_bytes = u64::from(len) + u64::from(self.shape.overhead_bytes);
        if let Some(limit) = self.shape.queue_bytes {
            let backlog = self.backlog_bytes(now_ns);
            if backlog > 0 && backlog + cost_bytes > limit {
                return Err(DropReason::Queue);
            }
        }
        if self.busy_until_ns < now_ns {
            self.busy_until_ns = now_ns;
            self.busy_rest = 0;
        }
        let total = u128::from(cost_bytes) * 8 * NS_PER_S + self.busy_rest;
        self.busy_until_ns += (total / u128::from(rate)) as u64;
        self.busy_rest = total % u128::from(rate);
        Ok(self.busy_until_ns)
    }

    fn draw_burst(&mut self) -> bool {
        let Some(burst) = self.shape.burst else { return false };
        let turn = if self.burst_bad { burst.leave } else { burst.enter };
        self.burst_bad ^= turn.draw(&mut self.burst_rng);
        self.burst_bad && burst.loss.draw(&mut self.burst_rng)
    }

    /// Delay, reorder, duplicate and corrupt for a packet that gets through.
    fn carry(&mut self, sent_ns: u64, len: u32, marked: bool) -> Verdict {
        let delay_ns = self.shape.delay_ns.saturating_add_signed(self.jitter.offset_ns(sent_ns));
        let mut at_ns = sent_ns.saturating_add(delay_ns);
        if self.shape.reorder.draw(&mut self.reorder_rng) {
            self.stats.reordered += 1;
            at_ns = at_ns.saturating_add(self.shape.reorder_ns);
        }
        self.stats.passed += 1;
        self.stats.passed_bytes += u64::from(len);
        self.stats.marked += u64::from(marked);
        let first = self.arrive(at_ns, marked);
        let second = self.shape.duplicate.draw(&mut self.duplicate_rng).then(|| self.arrive(at_ns, marked));
        self.stats.duplicated += u64::from(second.is_some());
        Verdict::Deliver { first, second }
    }

    fn arrive(&mut self, at_ns: u64, marked: bool) -> Delivery {
        let corrupt = self.shape.corrupt.draw(&mut self.corrupt_rng).then(|| self.corrupt_rng.next_u64());
        self.stats.corrupted += u64::from(corrupt.is_some());
        Delivery { at_ns, corrupt, marked }
    }
}

/// Flips the bit of `packet` that `damage` names ([`Delivery::corrupt`]); an empty packet stays empty.
pub fn flip_bit(packet: &mut [u8], damage: u64) {
    if let Some(bit) = damage.checked_rem(packet.len() as u64 * 8) {
        packet[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
}
