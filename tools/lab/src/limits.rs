//! Named bounds of the lab, with their relations asserted.

/// Most hosts of one lab: their names are single letters.
pub const HOSTS_MAX: usize = 16;
/// Most wires of one lab: the number is one octet of their addresses.
pub const WIRES_MAX: usize = 64;
/// Most queues of one interface.
pub const QUEUES_MAX: usize = 16;
/// Smallest MTU: the least that IPv6 works with.
pub const MTU_MIN: u32 = 1_280;
/// Largest MTU: a packet and its Ethernet header fit 16 bits.
pub const MTU_MAX: u32 = 65_520;
/// Longest name of a lab: namespaces and socket paths are made from it.
pub const NAME_BYTES_MAX: usize = 32;
/// Smallest default queue of a wire with a rate, bytes; below this a single train would not fit.
pub const QUEUE_BYTES_MIN: u64 = 256 << 10;
/// How long a reordered packet is held back unless told otherwise, ns.
pub const REORDER_NS_DEFAULT: u64 = 1_000_000;
/// What Ethernet adds to each frame on a real wire, bytes: preamble 8, checksum 4, gap 12.
pub const ETHERNET_OVERHEAD_BYTES: u32 = 24;
/// Ethernet header, bytes.
pub const ETHERNET_BYTES: usize = 14;
/// Packets under way towards one interface: 100 Gbit/s of full packets for 50 ms, or 1 GiB of them.
pub const IN_FLIGHT_MAX: usize = 700_000;
/// Spare packet buffers that the emulator keeps.
pub const SPARES_MAX: usize = 65_536;
/// Super-frames read from one queue before the others get their turn.
pub const READ_BURST: usize = 32;
/// Least time between two rounds of deliveries, ns, as a NIC moderates its interrupts. A packet is late by at
/// most this; what is due meanwhile goes out together, at a third of the cost.
pub const ROUND_NS: u64 = 50_000;
/// Packets delivered to one interface before the queues are read again.
pub const DELIVER_BURST: usize = 256;
/// Largest super-frame with its offload header, bytes.
pub const SUPER_FRAME_BYTES_MAX: usize = 10 + ETHERNET_BYTES + 65_536;
/// Most packets joined into one train for the receiving kernel.
pub const TRAIN_PACKETS_MAX: usize = 64;
/// Largest IP packet that a train may become, bytes.
pub const TRAIN_BYTES_MAX: usize = 65_000;
/// Longest control message, bytes.
pub const CONTROL_BYTES_MAX: usize = 128 << 10;
/// How long the emulator may take to answer, ms.
pub const CONTROL_TIMEOUT_MS: u64 = 5_000;
/// How long the kernel may take to notice that a link is up, ms, and how often that is looked at.
pub const LINK_TIMEOUT_MS: u64 = 5_000;
/// See [`LINK_TIMEOUT_MS`].
pub const LINK_POLL_MS: u64 = 2;
/// How long processes in a lab's namespaces get to end before they are killed, ms.
pub const STOP_TIMEOUT_MS: u64 = 1_000;

const _: () = assert!(LINK_POLL_MS < LINK_TIMEOUT_MS);
const _: () = assert!(WIRES_MAX < 255 && HOSTS_MAX < 26);
const _: () = assert!(MTU_MAX as usize + ETHERNET_BYTES <= SUPER_FRAME_BYTES_MAX);
const _: () = assert!(TRAIN_BYTES_MAX <= 65_535 && DELIVER_BURST >= TRAIN_PACKETS_MAX);
