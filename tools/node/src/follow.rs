//! Follows a transfer to its end: keeps its record, writes what belongs there to log and audit, ends one in which nothing moves.

use crate::audit::Audit;
use crate::limits::{
    AUDIT_DIGEST_BYTES_MAX, TRANSFER_LINES_MAX, TRANSFER_STALL_LOOK_MAX, TRANSFER_STALL_LOOK_MIN,
};
use crate::registry::{Record, State, now_ns};
use crossbeam::channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use xfer_engine::{Class, CopyDigest, Durability, Error, Event, FileEnd, Latency, Outcome};

/// Reads the transfer's events on a thread of its own until it ended; ends it when nothing of it moves for `stall`.
///
/// # Errors
/// `Temporary` when the system gives no thread.
pub(crate) fn to_its_end(
    record: Arc<Record>,
    events: Receiver<Event>,
    audit: Arc<Audit>,
    stall: Duration,
) -> Result<(), Error> {
    let name = format!("transfer-{}", record.number);
    let spawned = thread::Builder::new().name(name).spawn(move || read(&record, &events, &audit, stall));
    spawned
        .map(drop)
        .map_err(|e| Error::new(Class::Temporary, "the system gives no thread for a transfer").because(e))
}

fn read(record: &Record, events: &Receiver<Event>, audit: &Audit, stall: Duration) {
    let (task, peer, side) = (&record.name, record.peer, side(record));
    let mut digest = CopyDigest::within(AUDIT_DIGEST_BYTES_MAX, record.renamed);
    let mut lines = Lines::default();
    let mut motion = Motion::new(stall);
    loop {
        motion.look(record, Instant::now());
        let event = match events.recv_deadline(motion.next) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        match event {
            Event::Connected => {
                record.set(State::Running);
                tracing::info!(%task, %peer, side, paths = paths(record), "transfer starts");
            }
            Event::PathUp(pair) => {
                tracing::debug!(%task, %peer, side, local = %pair.local, remote = %pair.remote, "path up");
            }
            Event::PathDown(pair, why) if lines.more(record) => {
                tracing::warn!(%task, %peer, side, local = %pair.local, remote = %pair.remote, why, "path down");
            }
            Event::File(_) if record.bench => {}
            Event::File(file) => {
                digest.tell(&file);
                if (!file.is_directory || file.error.is_some()) && lines.more(record) {
                    log_file(record, &file);
                }
            }
            Event::Warning { name, text } if lines.more(record) => {
                let file = name.map(|name| name.escape_ascii().to_string());
                tracing::warn!(%task, %peer, side, file, text, "left out or degraded");
            }
            Event::PathDown(..) | Event::Warning { .. } | Event::Offered(_) => {}
            Event::Finished(outcome) => return finish(record, *outcome, &digest, audit),
        }
    }
    let error = Error::new(Class::Temporary, "the node's engine stopped");
    tracing::error!(%task, %peer, side, %error, "transfer ended");
    let outcome = Outcome {
        error: Some(error.clone()),
        progress: record.progress(),
        verified: false,
        durability: None,
        latency: Latency::default(),
    };
    audit.ended(record, &outcome, None);
    record.fail(error);
}

/// Whether a transfer moves. One whose peer only says that it lives does not.
struct Motion {
    stall: Duration,
    /// Content, and files that ended.
    seen: (u64, u64),
    since: Option<Instant>,
    /// When to look again.
    next: Instant,
}

impl Motion {
    fn new(stall: Duration) -> Self {
        Motion { stall, seen: (0, 0), since: None, next: Instant::now() }
    }

    /// Ends the transfer when it has not moved for too long. The time counts from when its connection stood.
    fn look(&mut self, record: &Record, now: Instant) {
        if now < self.next {
            return;
        }
        self.next = now + (self.stall / 4).clamp(TRANSFER_STALL_LOOK_MIN, TRANSFER_STALL_LOOK_MAX);
        if record.packets_received().is_none() {
            return;
        }
        let progress = record.progress();
        let moved: u64 = progress.paths.iter().map(|path| path.bytes).sum();
        let ended = progress.files + progress.skipped + progress.failed + progress.total_files;
        let seen = (moved + progress.bytes + progress.reused_bytes, ended);
        let since = *self.since.get_or_insert(now);
        if seen != self.seen {
            (self.seen, self.since) = (seen, Some(now));
        } else if now.saturating_duration_since(since) >= self.stall
            && let Some(transfer) = record.transfer()
        {
            tracing::warn!(task = %record.name, peer = %record.peer, side = side(record), "nothing moves; transfer is ended");
            transfer.end(
                Error::new(Class::Temporary, "nothing of the transfer moved for too long").because(STALLED),
            );
            self.since = Some(now);
        }
    }
}

/// What the peer of such a transfer may do.
const STALLED: &str = "run the same command to go on; the node is served with --max-stall";

/// The end that the node is.
fn side(record: &Record) -> &'static str {
    if record.upload { "dst" } else { "src" }
}

/// The log lines that a transfer caused: its peer may list for ever.
#[derive(Default)]
struct Lines(u32);

impl Lines {
    /// Whether there may be one more; that there will be no more is a line too.
    fn more(&mut self, record: &Record) -> bool {
        self.0 = self.0.saturating_add(1);
        if self.0 == TRANSFER_LINES_MAX {
            tracing::warn!(task = %record.name, peer = %record.peer, "no more is logged of this transfer until its end");
        }
        self.0 < TRANSFER_LINES_MAX
    }
}

/// What the client named; `None`: the root.
fn paths(record: &Record) -> Option<String> {
    let named: Vec<_> = record.paths.iter().filter(|path| !path.is_empty()).collect();
    let shown: Vec<String> = named.iter().take(3).map(|path| path.escape_ascii().to_string()).collect();
    let more = named.len() - shown.len();
    match (shown.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(shown.join(" ")),
        (false, _) => Some(format!("{} and {more} more", shown.join(" "))),
    }
}

fn hex(digest: [u8; 32]) -> String {
    blake3::Hash::from(digest).to_string()
}

fn log_file(record: &Record, file: &FileEnd) {
    let (task, peer, side) = (&record.name, record.peer, side(record));
    let (name, action, digest) = (file.name.escape_ascii(), file.action.name(), file.digest.map(hex));
    match &file.error {
        None => tracing::info!(%task, %peer, side, file = %name, action, bytes = file.bytes, digest, "file"),
        Some(error) => tracing::warn!(%task, %peer, side, file = %name, action, %error, "file"),
    }
}

fn finish(record: &Record, outcome: Outcome, digest: &CopyDigest, audit: &Audit) {
    let is_whole = outcome.error.is_none() && !record.bench;
    let digest = digest.finish(record.one_file).filter(|_| is_whole).map(hex);
    audit.ended(record, &outcome, digest.clone());
    let Outcome { error, progress, verified, durability, latency } = outcome;
    tracing::info!(
        task = %record.name,
        peer = %record.peer,
        side = side(record),
        paths = paths(record),
        files = progress.files,
        skipped = progress.skipped,
        failed = progress.failed,
        bytes = progress.bytes,
        reused_bytes = progress.reused_bytes,
        skipped_bytes = progress.skipped_bytes,
        verified,
        durability = durability.map(Durability::name),
        limited_by = progress.limited_by.name(),
        rtt_us_p50 = latency.rtt.p50.as_micros(),
        rtt_us_p99 = latency.rtt.p99.as_micros(),
        digest,
        error = error.as_ref().map(Error::to_string),
        "transfer ended"
    );
    record.set(State::Ended { at_ns: now_ns(), error, progress: Box::new(progress) });
}
