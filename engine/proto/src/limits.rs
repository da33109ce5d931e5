//! Every bound of the protocol, by name. What a peer can make grow stops at one of these.

use core::time::Duration;

/// Bytes of a manifest name, components and slashes (PATH_MAX less the terminating NUL).
pub const NAME_LEN_MAX: usize = 4_095;
/// Bytes of one component of a name (NAME_MAX).
pub const COMPONENT_LEN_MAX: usize = 255;
/// Bytes of an error's text, causes included.
pub const ERROR_TEXT_LEN_MAX: usize = 1_024;
/// Bytes of a CLOSE frame's text.
pub const CLOSE_TEXT_LEN_MAX: usize = 256;
/// Bytes of a symlink's target.
pub const TARGET_LEN_MAX: usize = 4_095;
/// Bytes of one entry's attributes.
pub const EXTRAS_LEN_MAX: usize = 16_384;
/// Bytes of content that may travel inside a manifest page.
pub const INLINE_LEN_MAX: usize = 1_024;
/// Entries of one manifest page.
pub const PAGE_ENTRIES_MAX: usize = 2_000;
/// Bytes of one control message's body.
pub const MESSAGE_LEN_MAX: usize = 65_535;
/// Runs of chunks named by one RESUME decision.
pub const RESUME_RUNS_MAX: usize = 4_096;
/// Digests of one chunk entry: a packed chunk holds objects of one page only.
pub const CHUNK_DIGESTS_MAX: usize = PAGE_ENTRIES_MAX;
/// Extents of one chunk in codec `extents`.
pub const CHUNK_EXTENTS_MAX: usize = 4_096;

/// Ranges of one ACK frame.
pub const ACK_RANGES_MAX: usize = 64;
/// Chunks between a window's base and its limit.
pub const WINDOW_CHUNKS_MAX: u32 = 1_024;
/// Words of acceptance bits in a WINDOW frame.
pub const WINDOW_WORDS_MAX: usize = WINDOW_CHUNKS_MAX as usize / 64;
/// Control stream bytes an end buffers ahead of what it consumed.
pub const STREAM_WINDOW: u64 = 262_144;

/// log2 of the smallest chunk.
pub const CHUNK_LOG2_MIN: u8 = 16;
/// log2 of the largest chunk.
pub const CHUNK_LOG2_MAX: u8 = 26;
/// DATA starts at a multiple of this many bytes of its chunk.
pub const GRID: u64 = 16;
/// Bytes of a transfer's address space.
pub const SPACE_MAX: u64 = 1 << 48;

/// Versions that a handshake may name; the header has room for seven.
pub const VERSIONS_MAX: usize = 7;
/// Tickets that an acceptor keeps at once.
pub const TICKETS_MAX: usize = 4_096;
/// How long a ticket admits its connection.
pub const TICKET_LIFE: Duration = Duration::from_secs(60);
/// Half-open handshakes of an acceptor at once.
pub const HALF_OPEN_MAX: usize = 4_096;
/// How long a handshake may stay half open.
pub const HALF_OPEN_LIFE: Duration = Duration::from_secs(10);
/// A cookie is good in the bucket of time that it was made in and in the next one.
pub const COOKIE_BUCKET: Duration = Duration::from_secs(10);
/// COOKIEs that an opener obeys.
pub const COOKIES_MAX: u8 = 3;

/// Smallest datagram every path must carry; HELLO and path challenges are padded to it.
pub const DATAGRAM_MIN: usize = 1_200;
/// Largest HELLO: fits 1,500-byte Ethernet under IPv6.
pub const HELLO_LEN_MAX: usize = 1_452;
/// Largest UDP payload of IPv4.
pub const DATAGRAM_MAX: usize = 65_507;
/// Packets of one train (Linux UDP_MAX_SEGMENTS).
pub const TRAIN_PACKETS_MAX: usize = 64;
/// Paths of one connection at once.
pub const PATHS_MAX: usize = 16;
/// Path ids are below this.
pub const PATH_ID_END: u16 = 4_096;
/// Packet numbers are below this.
pub const NUMBER_END: u64 = 1 << 62;

const _: () = assert!(WINDOW_CHUNKS_MAX.is_multiple_of(64));
const _: () = assert!(STREAM_WINDOW as usize >= 3 * (MESSAGE_LEN_MAX + 4));
const _: () = assert!(CHUNK_DIGESTS_MAX * 32 + 64 <= MESSAGE_LEN_MAX);
const _: () =
    assert!(NAME_LEN_MAX + TARGET_LEN_MAX + EXTRAS_LEN_MAX + INLINE_LEN_MAX + 256 <= MESSAGE_LEN_MAX);
const _: () = assert!(DATAGRAM_MIN <= HELLO_LEN_MAX && HELLO_LEN_MAX <= DATAGRAM_MAX);
const _: () = assert!(SPACE_MAX >> CHUNK_LOG2_MIN <= 1 << 32);
