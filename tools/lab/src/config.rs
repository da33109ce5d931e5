//! What a lab is made of: hosts, wires and what each wire does, as plain values.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xfer_netem::{Burst, Chance, Shape};

use crate::error::LabError;
use crate::limits::{
    ETHERNET_BYTES, ETHERNET_OVERHEAD_BYTES, HOSTS_MAX, MTU_MAX, MTU_MIN, NAME_BYTES_MAX, QUEUE_BYTES_MIN,
    QUEUES_MAX, REORDER_NS_DEFAULT, WIRES_MAX,
};

/// How much may wait for a wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// Rate x RTT (twice the delay), at least [`QUEUE_BYTES_MIN`].
    #[default]
    Bdp,
    /// This many bytes.
    Bytes(u64),
}

/// What a wire does, the same in each direction. The default does nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WireShape {
    /// Bits per second, counted as on Ethernet: 24 bytes a frame beyond the frame itself.
    pub rate_bps: Option<u64>,
    /// What waits for the rate.
    pub queue: Queue,
    /// Delay of one direction, ns: half of the RTT.
    pub delay_ns: u64,
    /// The delay wanders by plus and minus this, ns, in order.
    pub jitter_ns: u64,
    /// Share of packets lost at random.
    pub loss: f64,
    /// Share of packets lost in bursts.
    pub burst_loss: f64,
    /// Mean length of such a burst, packets.
    pub burst_packets: f64,
    /// Share of packets held back by `reorder_ns`.
    pub reorder: f64,
    /// How long those are held back, ns.
    pub reorder_ns: u64,
    /// Share of packets that arrive twice.
    pub duplicate: f64,
    /// Share of packets that arrive with one flipped bit after the Ethernet header.
    pub corrupt: f64,
    /// IP packets longer than this vanish, although the interface's MTU lets them through.
    pub path_mtu: Option<u32>,
}

impl Default for WireShape {
    fn default() -> Self {
        Self {
            rate_bps: None,
            queue: Queue::default(),
            delay_ns: 0,
            jitter_ns: 0,
            loss: 0.0,
            burst_loss: 0.0,
            burst_packets: 10.0,
            reorder: 0.0,
            reorder_ns: REORDER_NS_DEFAULT,
            duplicate: 0.0,
            corrupt: 0.0,
            path_mtu: None,
        }
    }
}

impl WireShape {
    /// Whether it does anything, so that the wire needs the emulator.
    #[must_use]
    pub fn is_shaped(&self) -> bool {
        let shares = [self.loss, self.burst_loss, self.reorder, self.duplicate, self.corrupt];
        self.rate_bps.is_some()
            || self.path_mtu.is_some()
            || self.delay_ns + self.jitter_ns > 0
            || shares.iter().any(|share| *share > 0.0)
    }

    /// Bytes that may wait for the wire; `None` without a rate.
    #[must_use]
    pub fn queue_bytes(&self) -> Option<u64> {
        let rate_bps = self.rate_bps?;
        Some(match self.queue {
            Queue::Bytes(bytes) => bytes,
            Queue::Bdp => {
                let bits_ns = u128::from(rate_bps) * 2 * u128::from(self.delay_ns);
                u64::try_from(bits_ns / 8_000_000_000).unwrap_or(u64::MAX).max(QUEUE_BYTES_MIN)
            }
        })
    }

    /// The link model's shape of it, for Ethernet frames.
    pub(crate) fn model(&self) -> Shape {
        let burst = (self.burst_loss > 0.0).then(|| {
            let leave = 1.0 / self.burst_packets.max(1.0);
            let share = self.burst_loss.min(0.99);
            Burst {
                enter: Chance::from_fraction(share * leave / (1.0 - share)),
                leave: Chance::from_fraction(leave),
                loss: Chance::ALWAYS,
            }
        });
        Shape {
            rate_bps: self.rate_bps,
            overhead_bytes: ETHERNET_OVERHEAD_BYTES,
            queue_bytes: self.queue_bytes(),
            mark_bytes: None,
            delay_ns: self.delay_ns,
            jitter_ns: self.jitter_ns,
            loss: Chance::from_fraction(self.loss),
            burst,
            reorder: Chance::from_fraction(self.reorder),
            reorder_ns: self.reorder_ns,
            duplicate: Chance::from_fraction(self.duplicate),
            corrupt: Chance::from_fraction(self.corrupt),
            mtu: self.path_mtu.map(|mtu| mtu + ETHERNET_BYTES as u32),
            blackhole: false,
        }
    }
}

/// What to build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of the lab; `xfer` is the default, whose namespaces are `xfer-a`, `xfer-b`. Another lab `t` has `xfer-t-a`.
    pub name: String,
    /// Number of hosts, 2 or more.
    pub hosts: usize,
    /// One entry for each wire.
    pub wires: Vec<WireShape>,
    /// MTU of the interfaces, bytes.
    pub mtu: u32,
    /// Receive and transmit queues of each interface.
    pub queues: usize,
    /// Seed of all faults.
    pub seed: u64,
    /// CPUs that the emulator may run on; empty is all.
    pub cores: Vec<usize>,
    /// Put the emulator into wires that do nothing, too, so that `set` can change them later.
    pub emulate: bool,
    /// Deliver UDP packets that are due together as trains. Without it each packet is delivered alone,
    /// as an XDP program on the interface wants it.
    pub trains: bool,
    /// Busy-poll so long before a packet is due, ns, instead of trusting the kernel's timer.
    pub spin_ns: u64,
    /// The `lab` program; found by `XFER_LAB_BIN` or beside the running program otherwise.
    pub program: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "xfer".into(),
            hosts: 2,
            wires: vec![WireShape::default()],
            mtu: 1500,
            queues: 1,
            seed: 1,
            cores: Vec::new(),
            emulate: false,
            trains: true,
            spin_ns: 0,
            program: None,
        }
    }
}

impl Config {
    /// A lab of `count` equal wires.
    #[must_use]
    pub fn with_wires(count: usize, shape: WireShape) -> Self {
        Self { wires: vec![shape; count], ..Self::default() }
    }

    /// Whether wire `index`, from 0, runs through the emulator.
    pub(crate) fn is_emulated(&self, index: usize) -> bool {
        self.emulate || self.wires[index].is_shaped()
    }

    pub(crate) fn check(&self) -> Result<(), LabError> {
        check_name(&self.name)?;
        let within = |what: &'static str, value: usize, low: usize, high: usize| {
            let fits = (low..=high).contains(&value);
            if fits { Ok(()) } else { Err(LabError::OutOfRange { what, value, low, high }) }
        };
        within("hosts", self.hosts, 2, HOSTS_MAX)?;
        within("wires", self.wires.len(), 1, WIRES_MAX)?;
        within("queues", self.queues, 1, QUEUES_MAX)?;
        within("mtu", self.mtu as usize, MTU_MIN as usize, MTU_MAX as usize)
    }
}

/// A lab's name goes into namespaces and paths.
pub(crate) fn check_name(name: &str) -> Result<(), LabError> {
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if fits && plain && !name.starts_with('-') {
        Ok(())
    } else {
        Err(LabError::BadName { name: name.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_queue_is_one_bdp_but_never_tiny() {
        let gigabit =
            WireShape { rate_bps: Some(1_000_000_000), delay_ns: 25_000_000, ..WireShape::default() };
        assert_eq!(gigabit.queue_bytes(), Some(6_250_000));
        assert_eq!(WireShape { delay_ns: 0, ..gigabit.clone() }.queue_bytes(), Some(QUEUE_BYTES_MIN));
        assert_eq!(WireShape { queue: Queue::Bytes(0), ..gigabit }.queue_bytes(), Some(0));
        assert_eq!(WireShape::default().queue_bytes(), None);
    }

    #[test]
    fn a_wire_that_does_nothing_is_bare() {
        assert!(!WireShape::default().is_shaped());
        assert!(WireShape { loss: 0.01, ..WireShape::default() }.is_shaped());
        assert!(WireShape { path_mtu: Some(1400), ..WireShape::default() }.is_shaped());
        assert!(!Config::default().is_emulated(0));
        assert!(Config { emulate: true, ..Config::default() }.is_emulated(0));
    }

    #[test]
    fn limits_hold_at_their_edges() {
        let hosts = |hosts| Config { hosts, ..Config::default() }.check().is_ok();
        assert_eq!([1, 2, HOSTS_MAX, HOSTS_MAX + 1].map(hosts), [false, true, true, false]);
        let mtu = |mtu| Config { mtu, ..Config::default() }.check().is_ok();
        assert_eq!([MTU_MIN - 1, MTU_MIN, MTU_MAX, MTU_MAX + 1].map(mtu), [false, true, true, false]);
        for (name, fits) in
            [("", false), ("a", true), ("-a", false), ("a/b", false), ("..", false), ("t_1-x", true)]
        {
            assert_eq!(check_name(name).is_ok(), fits, "{name}");
        }
    }
}
