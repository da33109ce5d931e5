//! Every bound of the engine, by name.

use std::time::Duration;

/// Workers of an engine: each needs a place in the borrow table of chunk buffers.
pub const WORKERS_MAX: usize = 8;
/// I/O threads of an engine: they take the other places of that table.
pub const IO_THREADS_MAX: usize = 8;
/// Jobs that wait for an I/O thread, and answers that wait for a worker.
pub const JOBS_MAX: usize = 8_192;
/// Commands that wait for a worker.
pub const COMMANDS_MAX: usize = 1_024;
/// Transfers of one engine at once.
pub const TRANSFERS_MAX: usize = 256;
/// Events that an application leaves unread before its transfer waits.
pub const EVENTS_MAX: usize = 1_024;
/// Events that a transfer holds back before it takes no more from its peer.
pub const BACKLOG_MAX: usize = 4_096;
/// Half-open handshakes of an engine.
pub const HALF_OPEN: usize = 256;

/// Largest datagram that an engine takes and sends: 9,000-byte Ethernet under IPv4.
pub const DATAGRAM_MAX: u16 = 8_972;
/// A ticket waits for its connection this long at most.
pub const TICKET_LIFETIME_MAX: Duration = Duration::from_secs(60);
/// How long an engine that is dropped waits for its workers.
pub const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Rate of `fixed` congestion control that was told none, bytes a second: 1 Gbit/s.
pub const FIXED_RATE_DEFAULT: u64 = 125_000_000;

/// Chunk reads under way for one transfer.
pub const READS_AHEAD: usize = 4;
/// Chunk buffers that a receiver grants before it knows the rate.
pub const GRANTS_INITIAL: usize = 16;
/// Chunk buffers that a transfer always may have.
pub const CHUNKS_MIN: usize = 4;
/// Chunk buffers of a transfer at most.
pub const CHUNKS_MAX: usize = 512;
/// Pages that a receiver takes ahead of its decisions.
pub const PAGES_AHEAD: u32 = 4;
/// Messages are held back while more than this waits in the control stream.
pub const STREAM_BACKLOG_MAX: usize = 192 * 1024;
/// Bytes of decisions in one message, the last one left out.
pub const DECISIONS_BYTES: usize = 24 * 1024;
/// Failed objects in one DONE message, each with its error ...
pub const DONE_OBJECTS: usize = 8;
/// ... and objects in all.
pub const DONE_MESSAGE: usize = 1_024;

/// Content after which the sink is synced and journaled ...
pub const SYNC_BYTES: u64 = 64 << 20;
/// ... or time, whichever comes first.
pub const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How often totals are published for the application.
pub const REPORT_EVERY: Duration = Duration::from_millis(50);
/// A HELLO is repeated after this, doubling.
pub const HELLO_RESEND: Duration = Duration::from_millis(250);
/// An adaptive worker spins this long before it sleeps.
pub const SPIN: Duration = Duration::from_micros(30);
/// Bursts received from one queue before the worker turns to something else.
pub const BURSTS: usize = 4;
/// Trains sent for one connection before the worker turns to something else.
pub const TRAINS: usize = 16;

const _: () = assert!(WORKERS_MAX + IO_THREADS_MAX <= xfer_io::limits::BORROW_SLOTS);
const _: () = assert!(GRANTS_INITIAL >= CHUNKS_MIN && CHUNKS_MAX <= 1_024);
// The largest error is 4,095 bytes of name and 1,024 of text.
const _: () = assert!(DONE_OBJECTS * (4_095 + 1_024 + 64) + DONE_MESSAGE * 13 <= 65_535);
const _: () = assert!(DECISIONS_BYTES + 4_096 * 8 < 65_535 - 64);
