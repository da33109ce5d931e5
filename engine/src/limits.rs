//! Every bound of the engine, by name.

use std::time::Duration;
use xfer_proto::limits::{CHUNK_LOG2_MAX, MESSAGE_LEN_MAX, PAGE_ENTRIES_MAX, WINDOW_CHUNKS_MAX};
use xfer_proto::wire::Page;

/// Workers of an engine: each needs a place in the borrow table of chunk buffers.
pub const WORKERS_MAX: usize = 8;
/// I/O threads of an engine: they take the other places of that table.
pub const IO_THREADS_MAX: usize = 8;
/// Jobs that wait for an I/O thread, and answers that wait for a worker. More wait with their worker: of each transfer its window of chunks, and
/// [`READS_AHEAD`], [`ENDS_MAX`], [`WITHDRAWALS_MAX`] and [`PAGES_UNDECIDED_MAX`].
pub const JOBS_MAX: usize = 8_192;
/// Ends of objects that a sender's storage is told of at once.
pub const ENDS_MAX: usize = 256;
/// Withdrawals that a receiver's storage is told of at once: before these are dealt with, no more of the peer's messages are taken.
pub const WITHDRAWALS_MAX: usize = 64;
/// Pages that a sender lists ahead of their decisions, whatever its peer allows.
pub const PAGES_UNDECIDED_MAX: usize = 64;
/// Files of a sender that were listed and have not ended, before it lists no more.
pub const FILES_OPEN_MAX: usize = 1 << 18;
/// Bytes that files which were decided and have not ended take at a receiver, before it lets no more pages come ...
pub const FILES_OPEN_BYTES_MAX: u64 = 64 << 20;
/// ... and those of one such file, its name left out, of which there are two copies.
pub const FILE_OPEN_BYTES: u64 = 512;
/// Bytes that a sink keeps until the end of a transfer: names and attributes of directories, of hard links and of what these may link to ...
pub const SINK_KEPT_BYTES_MAX: u64 = 1 << 30;
/// ... and those of one of them, its names left out.
pub const SINK_KEPT_BYTES: u64 = 128;
/// Commands that wait for a worker.
pub const COMMANDS_MAX: usize = 1_024;
/// Datagrams that wait for the worker which their connection belongs to; more are dropped.
pub const HANDED_OVER_MAX: usize = 256;
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
/// How often a worker that panicked starts over: one that does so again and again is broken.
pub const RESTARTS_MAX: usize = 64;
/// Log lines of one kind that peers may cause, a line for each object ...
pub const LINES_MAX: u32 = 100;
/// ... in this time; more are counted.
pub const LINES_EVERY: Duration = Duration::from_secs(10);
/// How long an engine that is dropped waits for its workers and for its I/O threads.
pub const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Rate of `fixed` congestion control that was told none, bytes a second: 1 Gbit/s.
pub const FIXED_RATE_DEFAULT: u64 = 125_000_000;

/// Chunk reads under way for one transfer.
pub const READS_AHEAD: usize = 4;
/// Time in which what was read of a source that ends by time can be sent, one chunk left out.
pub const TIMED_AHEAD: Duration = Duration::from_millis(20);
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
pub const SYNC_BYTES: u64 = 32 << 20;
/// ... or time, whichever comes first.
pub const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Content that no journal counts, with which no more is granted: what comes while the one before is synced has the same room.
pub const UNJOURNALED_MAX: u64 = 2 * SYNC_BYTES;
/// How often totals are published for the application.
pub const REPORT_EVERY: Duration = Duration::from_millis(50);
/// How long the end of a transfer waits until the peer has heard why.
pub const CANCEL_HEARD: Duration = Duration::from_secs(1);
/// Share of a window's active time, in percent, that a worker works at least when it is what holds a transfer up.
pub const BUSY_PERCENT: u32 = 90;
/// Share of the time in which a worker was ready to run, in percent, that it runs at least where a lack of processors holds it up.
pub const STARVED_PERCENT: u32 = 1;
/// Share of a window's active time, in percent, that a worker waits for a processor at least when that, and not the path, held it up.
pub const WAITED_PERCENT: u32 = 33;
/// A transfer that was active for less has nothing that held it up.
pub const VERDICT_MIN: Duration = Duration::from_millis(100);
/// Longer latencies count as this.
pub const LATENCY_MAX: Duration = Duration::from_secs(60);
/// A HELLO is repeated after this, doubling twice.
pub const HELLO_RESEND: Duration = Duration::from_millis(250);
/// A HELLO waits this long for the first page of what is sent, so that it can carry it.
pub const HELLO_HOLD: Duration = Duration::from_millis(20);
/// A REPLY waits this long for storage's answers, so that it can carry what came of the HELLO. Less than a repeated HELLO.
pub const REPLY_HOLD: Duration = Duration::from_millis(100);
/// An adaptive worker spins this long before it sleeps.
pub const SPIN: Duration = Duration::from_micros(30);
/// Bursts received from one queue before the worker turns to something else.
pub const BURSTS: usize = 4;
/// Trains sent for one connection before the worker turns to something else.
pub const TRAINS: usize = 16;

/// Orders that wait for a worker which carries paths of a connection: trains, and grants for all of a window.
pub const ORDERS_MAX: usize = 2_048;
/// Trains among them: what a worker sends in a few hundred microseconds.
pub const PLANS_AHEAD: usize = 8;
/// News of such a worker that wait for the connection's own.
pub const NEWS_MAX: usize = 1_024;

/// Datagrams among them that there is memory for from the start, and the size of each.
pub const STRAYS_ROOM: usize = 64;
/// Bytes of such a datagram: what carries frames of an ordinary path.
pub const STRAY_BYTES: usize = 2_048;

const _: () = assert!(WAITED_PERCENT < BUSY_PERCENT);
const _: () = assert!(STRAYS_ROOM <= NEWS_MAX);
const _: () = assert!(ORDERS_MAX >= PLANS_AHEAD + WINDOW_CHUNKS_MAX as usize);
const _: () = assert!(WORKERS_MAX <= xfer_proto::limits::SHARDS_MAX);
const _: () = assert!(WORKERS_MAX + IO_THREADS_MAX <= xfer_io::limits::BORROW_SLOTS);
const _: () = assert!(PAGES_AHEAD >= xfer_proto::limits::PAGES_FIRST);
const _: () = assert!(REPLY_HOLD.as_millis() < HELLO_RESEND.as_millis());
// Whole files may wait for the next batch, which comes when they are this many: a receiver that waits for them must not keep them from it.
const _: () = assert!(
    FILES_OPEN_BYTES_MAX
        > SINK_PENDING_MAX as u64 * (FILE_OPEN_BYTES + 2 * xfer_proto::limits::NAME_LEN_MAX as u64)
);
const _: () = assert!(PAGES_UNDECIDED_MAX > PAGES_AHEAD as usize);
const _: () = assert!(GRANTS_INITIAL >= CHUNKS_MIN && CHUNKS_MAX <= 1_024);
// The largest error is 4,095 bytes of name and 1,024 of text.
const _: () = assert!(DONE_OBJECTS * (4_095 + 1_024 + 64) + DONE_MESSAGE * 13 <= 65_535);
const _: () = assert!(DECISIONS_BYTES + 4_096 * 8 < 65_535 - 64);

/// Chaining values of an object that may wait for one before them: what a window of chunks can bring out of order, twice over.
pub const DIGEST_REORDER_CHUNKS_MAX: usize = 2 * WINDOW_CHUNKS_MAX as usize;
/// Records of a tree's digest that may wait for one before them: a window of chunks that are all packed with the objects of a page.
pub const TREE_REORDER_RECORDS_MAX: usize = WINDOW_CHUNKS_MAX as usize * PAGE_ENTRIES_MAX;

/// Zstandard level of compressed chunks: the fastest of the regular ones.
pub const ZSTD_LEVEL: i32 = 1;
/// Chunks that `auto` compresses, each codec in turn, before it decides.
pub const AUTO_PROBE_CHUNKS: u32 = 16;
/// Chunks of a probe after which it ends early when none of them shrank.
pub const AUTO_HOPELESS_CHUNKS: u32 = 4;
/// Chunks from one probe of `auto` to the next.
pub const AUTO_PERIOD_CHUNKS: u32 = 256;

/// Bytes of one listing's entries, so that a page with its head fits one message.
pub const LISTING_BYTES_MAX: usize = 48 << 10;
/// Notices and errors of one listing.
pub const LISTING_REPORTS_MAX: usize = 2_000;
/// Directories that a source keeps open for the files it reads.
pub const SOURCE_DIRS_OPEN_MAX: usize = 32;
/// Files of more than one chunk that a source keeps open.
pub const SOURCE_FILES_OPEN_MAX: usize = 32;
/// Files with several names whose first name is remembered while the others are looked for; more are sent as files of their own.
pub const HARD_LINKS_MAX: usize = 1 << 20;
/// Extents of a sparse file that are looked at to find out how much data it has.
pub const EXTENTS_COUNTED_MAX: usize = 4_096;
/// Bytes read at once where a digest is wanted of a file that is not sent.
pub const HASH_READ_BYTES: usize = 1 << 20;

const _: () = assert!(AUTO_HOPELESS_CHUNKS < AUTO_PROBE_CHUNKS && AUTO_PROBE_CHUNKS < AUTO_PERIOD_CHUNKS);
const _: () = assert!(LISTING_BYTES_MAX + Page::HEAD_LEN <= MESSAGE_LEN_MAX);
const _: () = assert!(CHUNK_LOG2_MAX < 31, "chunk bytes and chunk offsets are u32");

/// Directories of a destination that are kept open: a descriptor each, three with a partial directory.
pub const SINK_DIRECTORIES_MAX: usize = 64;
/// Finished files that wait to be made durable and named; one more and the thread that brings it does so first.
pub const SINK_PENDING_MAX: usize = 4_096;
/// As [`SINK_PENDING_MAX`], for directories that such files are in: three descriptors each. At least this many ...
pub const SINK_PENDING_DIRECTORIES_MIN: usize = 64;
/// ... and where the process may have many descriptors, up to this many: each batch costs two syncs of the file system ...
pub const SINK_PENDING_DIRECTORIES_MAX: usize = 1_024;
/// ... for which one transfer takes this share of all descriptors.
pub const SINK_DESCRIPTORS_SHARE: u64 = 16;
/// As [`SINK_PENDING_MAX`], for files that stay open because they are synced one by one or locked.
pub const SINK_PENDING_OPEN_MAX: usize = 128;
/// Large files in progress of one transfer: two descriptors each. Of all descriptors that the process may have this share, ...
pub const SINK_CLAIMS_SHARE: u64 = 8;
/// ... at least these many files ...
pub const SINK_CLAIMS_MIN: usize = 64;
/// ... and at most these; a window of chunks brings no more of a sender that goes on where it was.
pub const SINK_CLAIMS_MAX: usize = 1_024;
/// As [`SINK_CLAIMS_SHARE`], for all transfers of the process.
pub const SINK_CLAIMS_PROCESS_SHARE: u64 = 4;
/// Files or directories that are synced one by one; more are synced with their whole file system.
pub const SYNC_EACH_MAX: usize = 8;
/// Seconds after which a partial file that nobody holds is removed.
pub const PARTIAL_AGE_S_MAX: u64 = 7 * 24 * 3_600;
/// Attempts to open a partial directory or file that others create, lock and remove at the same time.
pub const PARTIAL_ATTEMPTS: usize = 100;
/// Bytes of the text in a journal that says who writes it.
pub const HOLDER_LEN_MAX: usize = 128;

const _: () = assert!(SINK_CLAIMS_MAX >= CHUNKS_MAX && SINK_CLAIMS_PROCESS_SHARE < SINK_CLAIMS_SHARE);

/// The queue that the XDP program is told for workers without an AF_XDP socket: no packet arrives by it, so the kernel's gets them.
pub const QUEUE_NONE: u32 = u32::MAX;
/// Source ports tell the queue that their packets are to arrive by: its number is what is left of the port divided by this.
pub const PORT_RESIDUES: u16 = 64;
/// First port that such a socket is bound to, and how many are tried.
pub const PORT_FIRST: u16 = 32_768;
/// Ports that are tried for a socket before the kernel chooses one.
pub const PORT_ATTEMPTS: u16 = 256;
/// How often a worker with connections tells XDP programs that it lives; they wait for 2 s.
pub const HEARTBEAT: Duration = Duration::from_millis(500);

/// Content that one sample of a stage's cost is taken over.
pub const SAMPLE_BYTES: usize = 1 << 20;
/// Samples of one stage.
pub const SAMPLES_MAX: usize = 1 << 16;
/// How much longer than it was asked for a measurement of the wire may take.
pub const STAGE_PATIENCE: Duration = Duration::from_millis(250);
/// Trains of a measurement that did not arrive in this time are lost.
pub const STAGE_STALL: Duration = Duration::from_millis(20);
/// Share of a receive buffer that a measurement of the wire fills: the kernel counts its own bytes around each train too.
pub const RECEIVE_BUFFER_SHARE: usize = 4;
