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

/// How far back from the largest accepted number single numbers are remembered.
pub const NUMBERS_REMEMBERED: u64 = 65_536;
/// Ack-eliciting packets after which an ACK is due.
pub const ACK_PACKETS: u32 = 64;
/// Least time between two ACKs of a path.
pub const ACK_SPACING: Duration = Duration::from_micros(100);
/// Least that an ACK waits for more packets.
pub const ACK_DELAY_MIN: Duration = Duration::from_millis(1);
/// Most that an ACK waits for more packets.
pub const ACK_DELAY_MAX: Duration = Duration::from_millis(25);
/// Ranges of one ACK frame. At 1 Gbit/s, with 30 % of the packets held back by 5 ms, 85 ranges are open at once; what an ACK cannot name
/// while it is among the newest may never be named, and counts as lost.
pub const ACK_RANGES_MAX: usize = 128;
/// Chunks between a window's base and its limit.
pub const WINDOW_CHUNKS_MAX: u32 = 1_024;
/// Words of acceptance bits in a WINDOW frame.
pub const WINDOW_WORDS_MAX: usize = WINDOW_CHUNKS_MAX as usize / 64;
/// Control stream bytes an end buffers ahead of what it consumed.
pub const STREAM_WINDOW: u64 = 262_144;

/// Holes of the control stream that an end keeps track of.
pub const STREAM_RANGES_MAX: usize = 256;
/// Trains that a path keeps in its log.
pub const SENT_TRAINS_MAX: usize = 16_384;
/// How many numbers later a lost packet is forgotten, so that a late ACK of it is no longer known as spurious.
pub const LATE_ACK_NUMBERS: u64 = 4_096;

/// Lost ranges that one lease keeps apart.
pub const LEASE_RANGES_MAX: usize = 64;
/// An idle path takes the tail of one that needs this many times longer.
pub const TAIL_FACTOR: u32 = 2;
/// Room for the control stream in each direction that a connection has from the start; more is taken when messages pile up.
pub const STREAM_ROOM: usize = 65_536;
/// Leases that a path, and events that a connection, has room for from the start; more is taken when they pile up.
pub const LEASES_ROOM: usize = 512;
/// As [`LEASES_ROOM`], for events.
pub const EVENTS_ROOM: usize = 512;
/// Events that wait for the caller before no more of the peer's messages are taken: these stay in the stream, and hold its credit up.
pub const EVENTS_WAITING_MAX: usize = 1_024;
/// Claim tables kept for reuse: as many as chunks were ever open at once, at most these.
pub const SPARE_CLAIM_MAPS: usize = 512;
/// Digest lists of chunk messages kept for reuse.
pub const SPARE_DIGEST_LISTS: usize = 512;

/// RTT that is assumed before anything was measured.
pub const INITIAL_RTT: Duration = Duration::from_millis(100);
/// No timer is finer than this.
pub const TIMER_GRANULARITY: Duration = Duration::from_millis(1);
/// Numbers between two that are left out, on average.
pub const SKIP_EVERY: u64 = 4_096;
/// Numbers that were left out that a path remembers.
pub const SKIPPED_MAX: usize = 512;
/// Numbers of an epoch that are used before its end when keys change early.
pub const REKEY_RUN: u64 = 32;
/// The reordering window in eighths of the RTT grows up to this.
pub const REORDER_EIGHTHS_MAX: u32 = 8;
/// Doublings of the probe timeout.
pub const PROBE_BACKOFF_MAX: u32 = 6;
/// Probe timeouts in a row after which all in flight on the only path counts as lost.
pub const PROBE_TIMEOUTS_FORSAKE: u32 = 3;
/// A dead path is probed at least this often ...
pub const DEAD_PROBE_EVERY: Duration = Duration::from_millis(250);
/// ... for this long, ...
pub const DEAD_PROBE_FAST_FOR: Duration = Duration::from_secs(60);
/// ... then this often.
pub const DEAD_PROBE_EVERY_LATER: Duration = Duration::from_secs(2);
/// A challenge is repeated after this, doubling.
pub const CHALLENGE_RESEND: Duration = Duration::from_millis(250);
/// Challenges sent for one path before it is given up for a while.
pub const CHALLENGES_MAX: u32 = 6;
/// An address that proved nothing is sent at most so many times the bytes that came from it.
pub const UNPROVEN_FACTOR: u64 = 3;
/// Bytes of a datagram with PATH_RESPONSE and PATH_CHALLENGE and nothing else.
pub const PATH_FRAMES_DATAGRAM: usize = 32 + 2 * (1 + 8 + 4) + 16;
/// A path on which nothing was sent that is to be acknowledged for this long sends PING.
pub const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// A peer that was silent for this long is lost.
pub const IDLE: Duration = Duration::from_secs(10);
/// A packet of an unknown path id costs key derivations: at most one such attempt in this time, after a burst of [`PATHS_MAX`].
pub const UNKNOWN_PATH_EVERY: Duration = Duration::from_millis(1);
/// Transfers of a connection at once, each direction.
pub const TRANSFERS_MAX: usize = 16;

/// Bytes of the longest WINDOW frame.
pub const WINDOW_FRAME_MAX: usize = 18 + 8 * WINDOW_WORDS_MAX;

/// log2 of the smallest chunk.
pub const CHUNK_LOG2_MIN: u8 = 16;
/// log2 of the largest chunk.
pub const CHUNK_LOG2_MAX: u8 = 26;
/// DATA starts at a multiple of this many bytes of its chunk.
pub const GRID: u64 = 16;
/// Bytes of a transfer's address space.
pub const SPACE_MAX: u64 = 1 << 48;
/// Chunks of a transfer's address space: their numbers are below this.
pub const CHUNKS_END: u32 = u32::MAX;

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
/// A first HELLO is padded to this, so that the REPLY has room for a small object: fits the 1,420 bytes of common tunnels under IPv6.
pub const HELLO_LEN_FULL: usize = 1_372;
/// Pages that a sender may send before it heard of the receiver's window; an end's stream credit holds them.
pub const PAGES_FIRST: u32 = 4;
/// How often an end that leaves says so, when it cannot wait until it was heard ...
pub const FAREWELLS: u32 = 3;
/// ... and the time from one to the next.
pub const FAREWELL_EVERY: Duration = Duration::from_millis(1);
/// Largest UDP payload of IPv4.
pub const DATAGRAM_MAX: usize = 65_507;
/// Largest datagram that a path uses: control packets are written into one half of a frame and sealed into the other.
pub const PATH_DATAGRAM_MAX: u16 = (DATAGRAM_MAX / 2) as u16;
/// Packets of one train (Linux UDP_MAX_SEGMENTS).
pub const TRAIN_PACKETS_MAX: usize = 64;
/// Paths of one connection at once.
pub const PATHS_MAX: usize = 16;
/// Content bytes that a path may be ahead of another that would send too: what a fast path carries in a scheduler's time slice.
pub const TURN_AHEAD_MAX: u64 = 4 << 20;
/// Shards of a connection, the connection itself counted: connection ids name 64 workers.
pub const SHARDS_MAX: usize = 64;
/// Path ids are below this.
pub const PATH_ID_END: u16 = 4_096;
/// Packet numbers are below this.
pub const NUMBER_END: u64 = 1 << 62;

const _: () = assert!(WINDOW_CHUNKS_MAX.is_multiple_of(64) && PATH_ID_END.is_multiple_of(64));
const _: () = assert!(EVENTS_WAITING_MAX >= EVENTS_ROOM);
const _: () = assert!(STREAM_WINDOW as usize >= 3 * (MESSAGE_LEN_MAX + 4));
const _: () = assert!(CHUNK_DIGESTS_MAX * 32 + 64 <= MESSAGE_LEN_MAX);
const _: () =
    assert!(NAME_LEN_MAX + TARGET_LEN_MAX + EXTRAS_LEN_MAX + INLINE_LEN_MAX + 256 <= MESSAGE_LEN_MAX);
const _: () = assert!(DATAGRAM_MIN <= HELLO_LEN_FULL && HELLO_LEN_FULL <= HELLO_LEN_MAX);
const _: () = assert!(HELLO_LEN_MAX <= DATAGRAM_MAX);
const _: () = assert!(PAGES_FIRST as usize * MESSAGE_LEN_MAX <= STREAM_WINDOW as usize);
// A PING, the smallest packet, earns an answer.
const _: () = assert!(PATH_FRAMES_DATAGRAM as u64 <= UNPROVEN_FACTOR * (32 + 1 + 16));
const _: () = assert!(SPACE_MAX >> CHUNK_LOG2_MIN <= CHUNKS_END as u64 + 1);
