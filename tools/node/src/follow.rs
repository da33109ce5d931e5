//! Follows a transfer to its end: keeps its record, writes what belongs in an audit to the log.

use crate::limits::TRANSFER_LINES_MAX;
use crate::registry::{Record, State, now_ns};
use crossbeam::channel::Receiver;
use std::sync::Arc;
use std::thread;
use xfer_engine::{Class, Durability, Error, Event, FileEnd, Outcome};

/// Reads the transfer's events on a thread of its own until it ended.
///
/// # Errors
/// `Temporary` when the system gives no thread.
pub(crate) fn to_its_end(record: Arc<Record>, events: Receiver<Event>) -> Result<(), Error> {
    let name = format!("transfer-{}", record.number);
    let spawned = thread::Builder::new().name(name).spawn(move || read(&record, &events));
    spawned
        .map(drop)
        .map_err(|e| Error::new(Class::Temporary, "the system gives no thread for a transfer").because(e))
}

fn read(record: &Record, events: &Receiver<Event>) {
    let (task, peer, side) = (&record.name, record.peer, side(record));
    // A transfer of one file is logged with its digest.
    let mut digests = Digests::default();
    let mut lines = Lines::default();
    for event in events {
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
                digests.tell(&file);
                if (!file.is_directory || file.error.is_some()) && lines.more(record) {
                    log_file(record, &file);
                }
            }
            Event::Warning { name, text } if lines.more(record) => {
                let file = name.map(|name| name.escape_ascii().to_string());
                tracing::warn!(%task, %peer, side, file, text, "left out or degraded");
            }
            Event::PathDown(..) | Event::Warning { .. } => {}
            Event::Finished(outcome) => return finish(record, *outcome, &digests),
        }
    }
    let error = Error::new(Class::Temporary, "the node's engine stopped");
    tracing::error!(%task, %peer, side, %error, "transfer ended");
    record.fail(error);
}

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

/// The digest of the only file, if there was but one.
#[derive(Default)]
struct Digests {
    files: u64,
    last: Option<[u8; 32]>,
}

impl Digests {
    fn tell(&mut self, file: &FileEnd) {
        if !file.is_directory {
            self.files += 1;
            self.last = file.digest;
        }
    }

    fn only(&self) -> Option<String> {
        self.last.filter(|_| self.files == 1).map(hex)
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

#[expect(clippy::expect_used, reason = "a string takes all that is written to it")]
fn hex(digest: [u8; 32]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

fn log_file(record: &Record, file: &FileEnd) {
    let (task, peer, side) = (&record.name, record.peer, side(record));
    let (name, action, digest) = (file.name.escape_ascii(), file.action.name(), file.digest.map(hex));
    match &file.error {
        None => tracing::info!(%task, %peer, side, file = %name, action, bytes = file.bytes, digest, "file"),
        Some(error) => tracing::warn!(%task, %peer, side, file = %name, action, %error, "file"),
    }
}

fn finish(record: &Record, outcome: Outcome, digests: &Digests) {
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
        digest = digests.only(),
        error = error.as_ref().map(Error::to_string),
        "transfer ended"
    );
    record.set(State::Ended { at_ns: now_ns(), error, progress: Box::new(progress) });
}
