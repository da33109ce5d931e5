//! What a copy came to (PRODUCT.md, "Summary"), over all of its attempts.

use super::attempt::Ended;
use super::explain::Compared;
use std::time::Duration;
use xfer_engine::{Class, Durability, Error, PathReport, Progress, Side, Stage};

/// How a copy ended.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Content bytes written by this run.
    pub bytes: u64,
    /// Content bytes taken over from partial files of earlier runs.
    pub reused_bytes: u64,
    /// Content bytes that were there already.
    pub skipped_bytes: u64,
    /// The sum of these three.
    pub total_bytes: u64,
    /// Files completed by this run.
    pub files: u64,
    /// Files that were there already.
    pub skipped: u64,
    /// Files that failed.
    pub failed: u64,
    /// From the start of the process.
    pub seconds: f64,
    /// `bytes` x 8 / 1e9 / `seconds`.
    pub gbps: f64,
    /// Bytes of all datagrams.
    pub wire_bytes: u64,
    /// Content bytes sent again.
    pub retransmitted_bytes: u64,
    /// Each path of the last attempt.
    pub paths: Vec<PathReport>,
    /// BLAKE3 of the file, or of the tree; `None` when it is not known.
    pub digest: Option<[u8; 32]>,
    /// Whether all content was verified.
    pub verified: bool,
    /// What the receiver promised.
    pub durability: Option<Durability>,
    /// The stage that held the copy up.
    pub limited_by: Stage,
    /// The end that this stage is on.
    pub limited_side: Option<Side>,
    /// What was expected of it, when it was asked to explain itself and knew.
    pub expected: Option<Compared>,
    /// Why it failed.
    pub error: Option<Error>,
}

impl Summary {
    /// Of a copy that moved nothing.
    pub(crate) fn of_nothing(elapsed: Duration, error: Option<Error>) -> Self {
        Summary { seconds: elapsed.as_secs_f64(), error, ..Summary::default() }
    }

    pub(super) fn new(ended: Ended, progress: Progress, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64();
        let error = overall(ended.error, ended.first_failure, &progress);
        Summary {
            bytes: progress.bytes,
            reused_bytes: progress.reused_bytes,
            skipped_bytes: progress.skipped_bytes,
            total_bytes: progress.bytes + progress.reused_bytes + progress.skipped_bytes,
            files: progress.files,
            skipped: progress.skipped,
            failed: progress.failed,
            seconds,
            gbps: if seconds > 0.0 { progress.bytes as f64 * 8.0 / 1e9 / seconds } else { 0.0 },
            wire_bytes: progress.wire_bytes,
            retransmitted_bytes: progress.retransmitted_bytes,
            paths: progress.paths,
            digest: ended.digest.filter(|_| error.is_none()),
            verified: ended.verified && error.is_none(),
            durability: ended.durability.filter(|_| error.is_none()),
            limited_by: progress.limited_by,
            limited_side: side_of(progress.limited_by),
            expected: ended.forecast.and_then(|forecast| Compared::of(&forecast, progress.bytes)),
            error,
        }
    }

    /// The exit code of the tool.
    pub fn exit_code(&self) -> u8 {
        self.error.as_ref().map_or(0, |error| error.class.exit_code())
    }
}

/// The error of the copy as a whole, or 16 when some files failed and some did not, or that of the files.
fn overall(error: Option<Error>, first_failure: Option<Error>, progress: &Progress) -> Option<Error> {
    if error.is_some() || progress.failed == 0 {
        return error;
    }
    let first = first_failure.unwrap_or_else(|| Error::new(Class::Other, "a file failed"));
    if progress.files + progress.skipped == 0 {
        return Some(first);
    }
    let total = progress.files + progress.skipped + progress.failed;
    let text = format!("{} of {total} files failed; the first one", progress.failed);
    Some(Error::new(Class::Partial, text).because(first))
}

/// The end that a stage is on.
pub(crate) fn side_of(stage: Stage) -> Option<Side> {
    match stage {
        Stage::Source | Stage::Hash | Stage::SenderCpu | Stage::RateLimit => Some(Side::Source),
        Stage::ReceiverCpu | Stage::Sink => Some(Side::Destination),
        Stage::Path | Stage::None => None,
    }
}

/// What earlier attempts of this run did.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    bytes: u64,
    /// Those of files that were completed.
    completed_bytes: u64,
    files: u64,
    wire_bytes: u64,
    retransmitted_bytes: u64,
}

impl Totals {
    /// An attempt ended and another one will follow; `completed_bytes` of what it moved are in files that it completed.
    pub(super) fn add(&mut self, progress: &Progress, completed_bytes: u64) {
        self.bytes += progress.bytes;
        self.completed_bytes += completed_bytes.min(progress.bytes);
        self.files += progress.files;
        self.wire_bytes += progress.wire_bytes;
        self.retransmitted_bytes += progress.retransmitted_bytes;
    }

    /// The run's totals. What earlier attempts wrote shows in this one as skipped or reused; it is this run's all the same. What they moved
    /// and lost again is in neither.
    pub(super) fn merged(&self, last: &Progress) -> Progress {
        let skipped_files = last.skipped.min(self.files);
        // Files completed before come back as skipped, parts of others as reused.
        let from_skipped = last.skipped_bytes.min(self.completed_bytes);
        let from_reused = last.reused_bytes.min(self.bytes - self.completed_bytes);
        // An attempt that failed before it learned anything says nothing about what is there.
        let unseen =
            if last.scanning || last.total_bytes == 0 { self.bytes - from_skipped - from_reused } else { 0 };
        Progress {
            bytes: last.bytes + from_skipped + from_reused + unseen,
            skipped_bytes: last.skipped_bytes - from_skipped,
            reused_bytes: last.reused_bytes - from_reused,
            files: last.files + if last.total_files == 0 { self.files } else { skipped_files },
            skipped: last.skipped - skipped_files,
            wire_bytes: last.wire_bytes + self.wire_bytes,
            retransmitted_bytes: last.retransmitted_bytes + self.retransmitted_bytes,
            ..last.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(bytes: u64, reused: u64, skipped: u64, files: u64, skipped_files: u64) -> Progress {
        Progress {
            bytes,
            reused_bytes: reused,
            skipped_bytes: skipped,
            total_bytes: bytes + reused + skipped,
            files,
            skipped: skipped_files,
            total_files: files + skipped_files,
            wire_bytes: bytes,
            ..Progress::default()
        }
    }

    fn shown(p: &Progress) -> [u64; 5] {
        [p.bytes, p.reused_bytes, p.skipped_bytes, p.files, p.skipped]
    }

    #[test]
    fn one_attempt_is_as_it_is() {
        let only = progress(5, 4, 3, 2, 1);
        assert_eq!(shown(&Totals::default().merged(&only)), shown(&only));
    }

    #[test]
    fn what_earlier_attempts_wrote_is_this_runs() {
        let mut totals = Totals::default();
        // 3 files of 10 bytes written, 7 bytes of a fourth.
        totals.add(&progress(37, 0, 0, 3, 0), 30);
        let merged = totals.merged(&progress(13, 7, 30, 2, 3));
        assert_eq!(shown(&merged), [50, 0, 0, 5, 0]);
        assert_eq!(merged.wire_bytes, 50);
    }

    #[test]
    fn what_was_there_before_stays_apart() {
        let mut totals = Totals::default();
        totals.add(&progress(17, 0, 100, 1, 5), 10);
        let merged = totals.merged(&progress(20, 7 + 5, 110, 1, 6));
        assert_eq!(shown(&merged), [37, 5, 100, 2, 5]);
    }

    #[test]
    fn an_attempt_that_learned_nothing_keeps_the_sums() {
        let mut totals = Totals::default();
        totals.add(&progress(10, 0, 0, 1, 0), 10);
        assert_eq!(shown(&totals.merged(&Progress::default())), [10, 0, 0, 1, 0]);
    }

    #[test]
    fn files_fail_alone_or_in_part() {
        let failure = || Some(Error::new(Class::Digest, "x"));
        let class = |files, failed, error| {
            let progress = Progress { files, failed, ..Progress::default() };
            overall(error, failure(), &progress).map(|e| e.class)
        };
        assert_eq!(class(1, 0, None), None);
        assert_eq!(class(0, 1, None), Some(Class::Digest));
        assert_eq!(class(1, 1, None), Some(Class::Partial));
        assert_eq!(class(1, 1, Some(Error::new(Class::Fatal, "y"))), Some(Class::Fatal));
    }
}
