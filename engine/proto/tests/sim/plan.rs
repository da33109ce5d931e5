//! What one run is made of, all of it drawn from the seed: transfers, wires, clocks, workers and the list of faults.

use xfer_netem::{Rng, Shape};
use xfer_proto::cc::Algorithm;
use xfer_proto::crypto::Suite;
use xfer_proto::wire::{Entry, EntryKind};

use crate::clock::{Clock, MS, SECOND};
use crate::content::mix;
use crate::faults::Fault;

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
        }
    }

    pub(crate) fn pages(&self) -> Vec<Vec<Entry>> {
        let mut object = 0;
        let mut entry = |size: &u64| {
            object += 1;
            Entry {
                kind: EntryKind::File,
                mode: 0o644,
                mtime_s: 1,
                mtime_ns: 2,
                size: *size,
                open: false,
                name: format!("object-{object:06}").into_bytes(),
                target: Vec::new(),
                attributes: Vec::new(),
                inline: None,
            }
        };
        self.sizes.iter().map(|page| page.iter().map(&mut entry).collect()).collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.sizes.iter().flatten().sum()
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
        let pages = 1 + rng.below(3);
        let sizes = (0..pages).map(|_| (0..1 + rng.below(8)).map(|_| random_size(rng)).collect()).collect();
        TransferPlan {
            chunk_log2: 16 + u8::from(rng.below(8) == 0),
            sizes,
            buffers: 2 + rng.below(30) as usize,
            held_max: 2 + rng.below(30) as usize,
            read_ns: rng.below(4) * rng.below(5 * MS),
            store_ns: rng.below(4) * rng.below(20 * MS),
            reject_ppm: if rng.below(3) == 0 { rng.below(100_000) as u32 } else { 0 },
            encode_again_ppm: if rng.below(4) == 0 { rng.below(100_000) as u32 } else { 0 },
            compress: rng.below(3) == 0,
        }
    }
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
    /// Bytes of each socket's receive buffer.
    pub(crate) socket_bytes: usize,
    pub(crate) datagram_max: u16,
    /// Whether the handshake carries the first messages.
    pub(crate) carry: bool,
    pub(crate) demand_cookie: bool,
    /// Who closes in the middle, if somebody does.
    pub(crate) closes_early: Option<(u64, usize)>,
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
            wires,
            clocks: [
                Clock { origin_ns: 7 * SECOND, skew_ppm: 0 },
                Clock { origin_ns: 5_000 * SECOND, skew_ppm: 0 },
            ],
            late_ppm: [0; 2],
            socket_bytes: 4 << 20,
            datagram_max: 1_472,
            carry: true,
            demand_cookie: false,
            closes_early: None,
            faults: Vec::new(),
            end_ns: 60 * SECOND,
        }
    }

    /// Everything from the seed.
    pub(crate) fn random(seed: u64) -> Self {
        let mut rng = Rng::stream(seed, 1);
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
        let mut transfer = || Some(TransferPlan::random(&mut rng));
        plan.transfers = match seed % 5 {
            0 | 1 => [transfer(), None],
            2 | 3 => [None, transfer()],
            _ => [transfer(), transfer()],
        };
        let mut clock =
            || Clock { origin_ns: rng.below(5_000 * SECOND), skew_ppm: rng.below(1_000) as i64 - 500 };
        plan.clocks = [clock(), clock()];
        plan.late_ppm = [rng.below(100_000) as u32, rng.below(100_000) as u32];
        plan.socket_bytes = (64 << 10) << rng.below(5);
        plan.datagram_max = [1_200, 1_472, 1_472, 8_972][rng.below(4) as usize];
        plan.carry = rng.below(2) == 0;
        plan.demand_cookie = rng.below(5) == 0;
        crate::faults::draw(&mut plan, &mut rng);
        plan.end_ns = plan.time_enough();
        plan
    }

    /// A time in which all must be over: what the faults take, both storages in turn, and the slowest wire alone at a fiftieth of its
    /// rate, or at two packets a round trip where the controller takes loss for congestion.
    fn time_enough(&self) -> u64 {
        let shapes = || self.wires.iter().flatten();
        let mut rate = shapes().filter_map(|shape| shape.rate_bps).min().unwrap_or(u64::MAX) / 400;
        if self.algorithm != Algorithm::Bbr {
            let rtt_ns =
                2 * shapes().map(|shape| shape.delay_ns + shape.jitter_ns).max().unwrap_or(0) + 60 * MS;
            rate = rate.min(2 * 1_200 * SECOND / rtt_ns);
        }
        let transfers: u64 = self
            .transfers
            .iter()
            .flatten()
            .map(|t| {
                let rounds = (t.bytes() >> t.chunk_log2) / t.buffers.min(t.held_max) as u64 + 8;
                t.bytes() * SECOND / rate + rounds * 2 * (t.read_ns + t.store_ns)
            })
            .sum();
        crate::faults::OVER + 8 * SECOND + transfers
    }
}
