//! Named bounds of the model, with their relations asserted.

/// Highest rate that a link models, bits per second.
pub const RATE_BPS_MAX: u64 = 1_000_000_000_000;
/// Longest delay, jitter or extra delay that a link models, ns.
pub const DELAY_NS_MAX: u64 = 3_600 * 1_000_000_000;
/// Largest packet that may be offered, bytes.
pub const PACKET_BYTES_MAX: u32 = 1 << 20;
/// Slowest rate: one packet of the largest size must leave within an hour, so that times stay in range.
pub const RATE_BPS_MIN: u64 = 2_400;
/// Length of one slope of the jitter, in multiples of its amplitude. At 4 the delay falls by at most
/// half a nanosecond in each nanosecond, so that no packet overtakes another.
pub const JITTER_SLOPE: u64 = 4;

const _: () = assert!(PACKET_BYTES_MAX as u64 * 8 / RATE_BPS_MIN <= 3_600);
const _: () = assert!(JITTER_SLOPE > 2, "a steeper slope lets packets overtake each other");
