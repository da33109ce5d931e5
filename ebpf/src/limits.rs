//! Bounds that user space and the programs share; `programs/limits.h` holds the same ones, and a test compares them.

/// UDP ports, 64 to a word of the map.
pub(crate) const PORT_WORDS: u32 = 1_024;
/// Receive queues of an interface that may have a socket.
pub const QUEUES_MAX: u32 = 64;
/// Connection ids that are known at one time.
pub const CONNECTIONS_MAX: u32 = 16_384;
/// Paths, each direction apart, of which there are figures.
pub const PATHS_MAX: u32 = 1_024;
/// Sources whose handshakes are counted.
pub const SOURCES_MAX: u32 = 16_384;
/// Nanoseconds without [`Attached::heartbeat`](crate::Attached::heartbeat) after which everything passes.
pub const BEAT_NS_MAX: u64 = 2_000_000_000;
/// Nanoseconds between two handshake packets of one source, when it lasts.
pub const HANDSHAKE_NS: u64 = 5_000_000;
/// Handshake packets that a source may send at once.
pub const HANDSHAKE_BURST: u64 = 256;
/// Buckets of the time between two packets.
pub const GAP_BUCKETS: usize = 24;
/// The first bucket ends at 2 to the power of this many nanoseconds; each later one at twice the end of the one before.
pub const GAP_SHIFT: u32 = 7;
/// Of so many arrivals one time to the next is measured.
pub const TIMED_EVERY: u64 = 8;
/// Marks the [`Meta`](crate::Meta) before a frame.
pub const META_MAGIC: u32 = 0x5246_4658;
/// Bytes of an answer of rtnetlink about one interface.
pub(crate) const LINK_ANSWER_BYTES: usize = 32_768;
/// Attributes that are read of one such answer.
pub(crate) const LINK_ATTRIBUTES_MAX: usize = 256;
/// Loaded programs that are looked through for the one that an interface runs.
pub(crate) const PROGRAMS_MAX: usize = 4_096;
/// Pins in one folder, and folders.
pub(crate) const PINS_MAX: usize = 1_024;
/// Interfaces that are looked at.
pub(crate) const INTERFACES_MAX: usize = 4_096;

const _: () = assert!(PORT_WORDS * 64 == 65_536);
const _: () = assert!(GAP_SHIFT as usize + GAP_BUCKETS <= 64);
