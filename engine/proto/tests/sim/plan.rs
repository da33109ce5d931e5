//! What one run is made of, all of it drawn from the seed: transfers, wires, clocks, workers and the list of faults.

use xfer_netem::{Rng, Shape};
use xfer_proto::cc::Algorithm;
use xfer_proto::crypto::Suite;
use xfer_proto::limits;
use xfer_proto::wire::{Entry, EntryKind, Inline, TransferId};

use crate::attack::REPLAY_LATE_MAX;
use crate::clock::{Clock, MS, SECOND};
use crate::content::{inlined, mix};
use crate::faults::{Fault, Trouble};

/// What of a transfer's content had to go again, because somebody rejected it, lied or encoded it anew.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Again {
    pub(crate) bytes: u64,
    /// Attempts of the chunk that took the most, the first left out: they come one after the other.
    pub(crate) attempts: u64,
}

/// One transfer: its objects and how fast both applications are.
#[derive(Clone, Debug)]
pub(crate) struct TransferPlan {
    pub(crate) chunk_log2: u8,
    /// Object sizes by page.
    pub(crate) sizes: Vec<Vec<u64>>,
    /// Chunk buffers of the receiver.
    pub(crate) buffers: usize,
    /// Chunks that the sender reads or holds at once.
    pub(crate) held_max: usize,
    pub(crate) read_ns: u64,
    pub(crate) store_ns: u64,
    pub(crate) reject_ppm: u32,
    pub(crate) encode_again_ppm: u32,
    /// Whether some chunks are stored in fewer bytes.
    pub(crate) compress: bool,
    /// How often an object turns out to be unreadable when a chunk of it is read.
    pub(crate) withdraw_ppm: u32,
    /// How often the bytes that are sent are not those that were hashed.
    pub(crate) source_lies_ppm: u32,
    /// How often a chunk's memory at the receiver changes before it is hashed.
    pub(crate) memory_lies_ppm: u32,
    /// How often an object of a chunk turns out to be one that cannot be written.
    pub(crate) cannot_write_ppm: u32,
    /// Whether objects that are small enough travel in their page.
    pub(crate) inline: bool,
    /// Bytes of a last object whose length is listed as open.
    pub(crate) open: Option<u64>,
    /// END goes before the object's content, not after.
    pub(crate) end_early: bool,
}

impl TransferPlan {
    pub(crate) fn plain(sizes: &[u64]) -> Self {
        TransferPlan {
            chunk_log2: 16,
            sizes: vec![sizes.to_vec()],
            buffers: 64,
            held_max: 64,
            read_ns: 0,
            store_ns: 0,
            reject_ppm: 0,
            encode_again_ppm: 0,
            compress: false,
            withdraw_ppm: 0,
            source_lies_ppm: 0,
            memory_lies_ppm: 0,
            cannot_write_ppm: 0,
            inline: false,
            open: None,
            end_early: false,
        }
    }

    pub(crate) fn pages(&self, seed: u64, transfer: TransferId) -> Vec<Vec<Entry>> {
        let mut object = 0;
        let mut entry = |size: u64, open: bool| {
            let inline = self.inline && !open && size <= limits::INLINE_LEN_MAX as u64;
            let inline = inline
                .then(|| Inline { content: inlined(seed, transfer, object, size as u32), digest: [0; 32] });
            object += 1;
            Entry {
                kind: EntryKind::File,
                mode: 0o644,
                mtime_s: 1,
                mtime_ns: 2,
                size,
                open,
                name: format!("object-{object:06}").into_bytes(),
                target: Vec::new(),
                attributes: Vec::new(),
                inline,
            }
        };
        let mut pages: Vec<Vec<Entry>> =
            self.sizes.iter().map(|page| page.iter().map(|size| entry(*size, false)).collect()).collect();
        if let (Some(_), Some(last)) = (self.open, pages.last_mut()) {
            last.push(entry(0, true));
        }
        pages
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.sizes.iter().flatten().sum::<u64>() + self.open.unwrap_or(0)
    }

    /// Stored bytes of an attempt of a chunk.
    pub(crate) fn stored_len(&self, seed: u64, chunk: u32, attempt: u8, plain: u32) -> u32 {
        let random = mix(seed ^ mix(u64::from(chunk) << 8 | u64::from(attempt)));
        if self.compress && plain > 1 && random.is_multiple_of(2) {
            1 + (random >> 8) as u32 % (plain - 1)
        } else {
            plain
        }
    }

    fn random(rng: &mut Rng) -> Self {
        let chunk_log2 = 16 + u8::from(rng.below(8) == 0);
        let most = [3, 3, 3, 12][rng.below(4) as usize];
        let pages = 1 + rng.below(most);
        let sizes = (0..pages).map(|_| random_page(rng, chunk_log2)).collect();
        TransferPlan {
            chunk_log2,
            sizes,
            buffers: 2 + rng.below(30) as usize,
            held_max: 2 + rng.below(30) as usize,
            read_ns: rng.below(4) * rng.below(5 * MS),
            store_ns: rng.below(4) * rng.below(20 * MS),
            compress: rng.below(3) == 0,
            inline: rng.below(3) == 0,
            open: (rng.below(4) == 0).then(|| random_size(rng)),
            end_early: rng.below(2) == 0,
            ..Self::plain(&[])
        }
    }
}

/// A page of up to eight objects of any size, or some that fill chunks to the byte, or nearly.
fn random_page(rng: &mut Rng, chunk_log2: u8) -> Vec<u64> {
    if rng.below(12) > 0 {
        return (0..rng.below(9)).map(|_| random_size(rng)).collect();
    }
    let quarter = 1 << (chunk_log2 - 2);
    let sizes = [quarter - 16, quarter, quarter, quarter];
    (0..5 + rng.below(8)).map(|_| sizes[rng.below(4) as usize]).collect()
}

fn random_size(rng: &mut Rng) -> u64 {
    match rng.below(6) {
        0 => rng.below(3),
        1 => rng.below(1_000),
        2 => rng.below(16 << 10),
        3 => [16 << 10, (16 << 10) + 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1][rng.below(5) as usize],
        4 => rng.below(128 << 10),
        _ => rng.below(512 << 10),
    }
}

/// ACK delays, late workers and their polling, for each round trip.
const EXTRA_NS: u64 = 60 * MS;
/// Window in packets of a controller that takes loss for congestion, times the root of the loss.
const LOSSY_WINDOW: f64 = 1.0;
/// BBR's smallest window.
const BBR_PACKETS_MIN: f64 = 4.0;
/// Trains are 100 us long where that is more than a packet.
const TRAINS_A_SECOND: u64 = 10_000;
/// The largest packet that the wires take, as they count it.
const PACKET_ON_WIRE: u64 = 1_472 + 38;
/// Until a path that was dead is known to live.
const SETTLE_NS: u64 = SECOND / 2;
/// Round trips of a search for the rate, and of messages that are lost.
const ROUNDS: u64 = 16;

/// Until a path is proven whose first challenges are lost.
const PROVING_NS: u64 = 2 * SECOND;

/// Handshakes, and closes that are not heard, take less.
const END_NS: u64 = 60 * SECOND;

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) suite: Suite,
    pub(crate) algorithm: Algorithm,
    /// From the opener to the acceptor, and back.
    pub(crate) transfers: [Option<TransferPlan>; 2],
    /// Each path's wire: from the opener, and back.
    pub(crate) wires: Vec<[Shape; 2]>,
    pub(crate) clocks: [Clock; 2],
    /// How often a worker wakes up late, by up to 4 ms.
    pub(crate) late_ppm: [u32; 2],
    /// Whether the end's socket coalesces datagrams of one form.
    pub(crate) trains_in: [bool; 2],
    /// Bytes of each socket's receive buffer.
    pub(crate) socket_bytes: usize,
    pub(crate) datagram_max: u16,
    /// Cap of each end over all paths, bytes per second.
    pub(crate) rate_max: Option<u64>,
    /// Packets after which a path changes its keys.
    pub(crate) rekey_after: Option<u32>,
    /// Whether the handshake carries the first messages.
    pub(crate) carry: bool,
    /// Whether each end has a second worker that carries every other path.
    pub(crate) sharded: [bool; 2],
    pub(crate) demand_cookie: bool,
    /// Who closes in the middle, if somebody does.
    pub(crate) closes_early: Option<(u64, usize)>,
    /// Whose process is gone from some time on.
    pub(crate) killed: Option<(u64, usize)>,
    /// Which wires die for good.
    pub(crate) cut: Vec<bool>,
    /// The faults as drawn, each with its place in the list.
    pub(crate) troubles: Vec<(usize, Trouble)>,
    /// What they do, by time.
    pub(crate) faults: Vec<(u64, Fault)>,
    /// All is over by then.
    pub(crate) end_ns: u64,
}

/// A wire of `mbit` Mbit/s and `rtt_ns` with a queue of `queue_percent` of their product, at least ten packets.
pub(crate) fn wire(mbit: u64, rtt_ns: u64, queue_percent: u64) -> [Shape; 2] {
    let product = mbit * 125_000 * (rtt_ns / 1_000) / 1_000_000;
    let queue = (product * queue_percent / 100).max(100_000);
    let shape = Shape {
        rate_bps: Some(mbit * 1_000_000),
        queue_bytes: Some(queue),
        delay_ns: rtt_ns / 2,
        overhead_bytes: 38,
        mtu: Some(1_472),
        ..Shape::default()
    };
    [shape; 2]
}

impl Plan {
    /// A run without faults.
    pub(crate) fn plain(seed: u64, wires: Vec<[Shape; 2]>, sizes: &[u64]) -> Self {
        Plan {
            seed,
            suite: Suite::Aes128Gcm,
            algorithm: Algorithm::Bbr,
            transfers: [Some(TransferPlan::plain(sizes)), None],
            cut: vec![false; wires.len()],
            wires,
            clocks: [
                Clock { origin_ns: 7 * SECOND, skew_ppm: 0 },
                Clock { origin_ns: 5_000 * SECOND, skew_ppm: 0 },
            ],
            late_ppm: [0; 2],
            trains_in: [false; 2],
            socket_bytes: 4 << 20,
            datagram_max: 1_472,
            rate_max: None,
            rekey_after: None,
            carry: true,
            sharded: [false; 2],
            demand_cookie: false,
            closes_early: None,
            killed: None,
            troubles: Vec::new(),
            faults: Vec::new(),
            end_ns: END_NS,
        }
    }

    /// Everything from the seed. Of its list of faults only those whose places `keep` are there; all others stay as they are.
    pub(crate) fn random(seed: u64, keep: impl Fn(usize) -> bool) -> Self {
        let mut rng = Rng::stream(seed, 1);
        let mut plan = Self::without_faults(seed, &mut rng);
        let list = crate::faults::draw(&plan, &mut rng).into_iter().enumerate();
        let kept: Vec<(usize, Trouble)> = list.filter(|(place, _)| keep(*place)).collect();
        kept.iter().for_each(|(_, trouble)| trouble.put(&mut plan));
        plan.troubles = kept;
        plan.faults.sort_by_key(|(at, _)| *at);
        // As much again as is planned, at most.
        plan.end_ns = plan.last_fault() + 2 * plan.time_enough([Again::default(); 2]) + END_NS;
        plan
    }

    fn without_faults(seed: u64, rng: &mut Rng) -> Self {
        let wires = (0..1 + rng.below(4))
            .map(|_| {
                let mbit = [5, 20, 100, 1_000][rng.below(4) as usize];
                let most = [2 * MS, 20 * MS, 200 * MS][rng.below(3) as usize];
                let rtt_ns = MS / 10 + rng.below(most);
                wire(mbit, rtt_ns, 50 + rng.below(300))
            })
            .collect();
        let mut plan = Plan::plain(seed, wires, &[]);
        plan.suite = [Suite::Aes128Gcm, Suite::ChaCha20Poly1305, Suite::Plain][rng.below(3) as usize];
        plan.algorithm =
            [Algorithm::Bbr, Algorithm::Bbr, Algorithm::Cubic, Algorithm::Ledbat][rng.below(4) as usize];
        let mut transfer = || Some(TransferPlan::random(rng));
        plan.transfers = match seed % 5 {
            0 | 1 => [transfer(), None],
            2 | 3 => [None, transfer()],
            _ => [transfer(), transfer()],
        };
        let mut clock =
            || Clock { origin_ns: rng.below(5_000 * SECOND), skew_ppm: rng.below(1_000) as i64 - 500 };
        plan.clocks = [clock(), clock()];
        plan.socket_bytes = (64 << 10) << rng.below(5);
        plan.datagram_max = [1_200, 1_472, 1_472, 8_972][rng.below(4) as usize];
        plan.rate_max = (rng.below(4) == 0).then(|| 40_000 << rng.below(10));
        let mut workers = Rng::stream(seed, 7);
        plan.sharded = [0; 2].map(|_| workers.below(2) == 0);
        plan.trains_in = [0; 2].map(|_| workers.below(2) == 0);
        plan.rekey_after = (rng.below(2) == 0).then(|| 1 + rng.below(200) as u32);
        for shape in plan.wires.iter_mut().flatten() {
            let queue = shape.queue_bytes.expect("a queue");
            shape.mark_bytes = (rng.below(3) == 0).then(|| rng.below(queue));
        }
        plan.carry = rng.below(2) == 0;
        plan.demand_cookie = rng.below(5) == 0;
        plan
    }

    /// When the last fault is over: from then on every wire is as it was drawn.
    pub(crate) fn last_fault(&self) -> u64 {
        let end = |(at, fault): &(u64, Fault)| match fault {
            Fault::Stall(_, ns) | Fault::Idle(_, ns) => at + ns,
            _ => *at,
        };
        self.faults.iter().map(end).max().unwrap_or(0)
    }

    /// How long after the last fault, with both ends there, all must be here, on the wire that serves it worst, when this much of each
    /// transfer went again.
    pub(crate) fn time_enough(&self, again: [Again; 2]) -> u64 {
        let whole = self.wires.iter().zip(&self.cut).filter(|(_, cut)| !**cut);
        let time = whole.map(|(wire, _)| self.time_on(wire, again)).max().expect("a wire");
        if !self.cut.contains(&true) {
            return time;
        }
        // What is held back on a wire that dies meanwhile makes its round trips, and with them the wait for its death, as long.
        let replays =
            |(_, fault): &(u64, Fault)| matches!(fault, Fault::Attack(_, Some(attack)) if attack.replays());
        let held = if self.faults.iter().any(replays) { 2 * REPLAY_LATE_MAX } else { 0 };
        time + PROVING_NS + held
    }

    /// How long after it met a queue the sender knows of it: an ACK that waited and its way back, behind others.
    pub(crate) fn news_ns(&self, wire: usize, back: usize) -> u64 {
        let shape = &self.wires[wire][back];
        let queue = shape.queue_bytes.unwrap_or(0) * 8 * SECOND / shape.rate_bps.expect("a rate");
        round_trip(&self.wires[wire]) + queue
    }

    fn time_on(&self, wire: &[Shape; 2], again: [Again; 2]) -> u64 {
        let rtt_ns = round_trip(wire);
        let rate = wire.iter().filter_map(|s| s.rate_bps).min().expect("a rate") / 8;
        let window = self.window_packets(wire, rtt_ns, rate);
        let bounded = window.map_or(u64::MAX, |w| (w * 1_200.0 * SECOND as f64 / rtt_ns as f64) as u64);
        // Headers and what goes again count too.
        let rate = (rate / 2).min(bounded).min(self.rate_max.map_or(u64::MAX, |cap| cap / 4 * 3));
        let transfers = self.transfers.iter().zip(again).filter_map(|(t, again)| Some((t.as_ref()?, again)));
        let transfers = transfers.map(|(t, again)| {
            let rounds = (t.bytes() >> t.chunk_log2) / t.buffers.min(t.held_max) as u64 + 8 + again.attempts;
            (t.bytes() + again.bytes) * SECOND / rate + rounds * (t.read_ns + t.store_ns + rtt_ns)
        });
        let packets = self.transfers.iter().flatten().map(|t| t.bytes() / 1_200).sum::<u64>();
        let growth = match self.algorithm {
            // A packet a round trip at most.
            Algorithm::Ledbat => 2 * (2 * packets).isqrt(),
            // After a loss, where the application pauses before the curve rises, as Reno does: 0.53 of a packet a round trip.
            Algorithm::Cubic => (4 * packets).isqrt(),
            _ => 0,
        };
        SETTLE_NS + (ROUNDS + growth) * rtt_ns + transfers.sum::<u64>()
    }

    /// What the wire leaves of the window; `None` where that is no bound.
    fn window_packets(&self, wire: &[Shape; 2], rtt_ns: u64, rate: u64) -> Option<f64> {
        if self.algorithm == Algorithm::Bbr {
            // A train, the packets that a probe adds and the one on the wire make such a queue by themselves: then every probe, and every
            // window that comes at once, is marked.
            let own = rate / TRAINS_A_SECOND + 3 * PACKET_ON_WIRE;
            let carrying = wire.iter().zip(&self.transfers).filter(|(_, transfer)| transfer.is_some());
            let marks = carrying.filter_map(|(shape, _)| shape.mark_bytes).any(|mark| mark < own);
            return marks.then_some(BBR_PACKETS_MIN);
        }
        // A target below what jitter and two packets of its own make keeps LEDBAT at its smallest window, as marks at every queue do.
        let noise = wire.iter().map(|s| s.jitter_ns).max().unwrap_or(0) + 2 * 1_500 * SECOND / rate;
        let small = self.algorithm == Algorithm::Ledbat && noise * 4 > rtt_ns - EXTRA_NS;
        let losses = wire.iter().map(loss).sum::<f64>();
        let small = small || wire.iter().any(|s| s.mark_bytes.is_some());
        Some(if small { 2.0 } else { (LOSSY_WINDOW / losses.sqrt()).clamp(2.0, 1e9) })
    }
}

fn round_trip(wire: &[Shape; 2]) -> u64 {
    wire.iter().map(|s| s.delay_ns + s.jitter_ns + s.reorder_ns).sum::<u64>() + EXTRA_NS
}

/// What is lost of one direction, or comes so late that a controller that takes loss for congestion may think so.
fn loss(shape: &Shape) -> f64 {
    let burst = shape.burst.map_or(0.0, |b| {
        let (enter, leave) = (b.enter.fraction(), b.leave.fraction());
        enter / (enter + leave) * b.loss.fraction()
    });
    shape.loss.fraction() + shape.corrupt.fraction() + shape.reorder.fraction() + burst
}
