//! What one direction of a wire does to packets, as plain values.

use crate::Chance;
use crate::limits::{DELAY_NS_MAX, RATE_BPS_MAX, RATE_BPS_MIN};

/// Loss in bursts: the two-state model of Gilbert and Elliott, one step a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Burst {
    /// Chance, at each packet, to go from the good to the bad state.
    pub enter: Chance,
    /// Chance, at each packet, to go back.
    pub leave: Chance,
    /// Chance that a packet is lost while in the bad state.
    pub loss: Chance,
}

/// What one direction of a wire does. The default passes everything at once, whole and in order.
///
/// Packets meet the faults in the order of [`crate::DropReason`]: black hole and size first,
/// then the queue and the rate, then loss: a lost packet has used the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Bits per second; `None` is without limit. Values outside [`RATE_BPS_MIN`] to [`RATE_BPS_MAX`] are clamped.
    pub rate_bps: Option<u64>,
    /// Bytes that each packet costs on the wire beyond its length (preamble, gap, checksum of a NIC).
    pub overhead_bytes: u32,
    /// Bytes that may wait for the wire, the packet being sent included, overhead too; `None` is
    /// without limit. An idle wire takes one packet of any size. Without a rate nothing waits.
    pub queue_bytes: Option<u64>,
    /// A packet before which more bytes than this wait for the wire arrives with a mark (ECN CE, RFC 3168), overhead included; `None` marks none.
    pub mark_bytes: Option<u64>,
    /// Time from the last bit sent to arrival, ns.
    pub delay_ns: u64,
    /// The delay wanders within plus and minus this, ns, slowly enough to keep the order of packets.
    /// Where it would fall below zero it is zero.
    pub jitter_ns: u64,
    /// Chance of each packet to be lost, independent of all others.
    pub loss: Chance,
    /// Loss in bursts, besides `loss`.
    pub burst: Option<Burst>,
    /// Chance of each packet to be held back by `reorder_ns`, so that later ones overtake it.
    pub reorder: Chance,
    /// How long such a packet is held back, ns.
    pub reorder_ns: u64,
    /// Chance of each packet to arrive twice. The copy arrives with the original and costs no rate.
    pub duplicate: Chance,
    /// Chance of each packet to arrive with one bit flipped.
    pub corrupt: Chance,
    /// Packets longer than this, bytes, vanish: a black hole of path MTU.
    pub mtu: Option<u32>,
    /// Everything vanishes.
    pub blackhole: bool,
}

impl Shape {
    /// The rate within the model's range.
    pub(crate) fn rate(&self) -> Option<u64> {
        self.rate_bps.map(|rate| rate.clamp(RATE_BPS_MIN, RATE_BPS_MAX))
    }

    /// The shape with its delays within the model's range.
    pub(crate) fn bounded(mut self) -> Self {
        self.delay_ns = self.delay_ns.min(DELAY_NS_MAX);
        self.jitter_ns = self.jitter_ns.min(DELAY_NS_MAX);
        self.reorder_ns = self.reorder_ns.min(DELAY_NS_MAX);
        self
    }
}
