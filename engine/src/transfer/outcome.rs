//! Totals of a transfer: what was listed, moved, reused, skipped and failed.

use crate::api::{FileEnd, Progress};
use crate::error::Side;
use crate::sink::Action;

/// Counters of one end.
pub(crate) struct Totals {
    progress: Progress,
}

impl Totals {
    pub(crate) fn new() -> Self {
        Totals { progress: Progress { scanning: true, ..Progress::default() } }
    }

    /// An object was listed.
    pub(crate) fn listed(&mut self, is_directory: bool, size: u64) {
        self.progress.total_files += u64::from(!is_directory);
        self.progress.total_bytes += size;
    }

    /// Nothing more will be listed.
    pub(crate) fn listing_ended(&mut self) {
        self.progress.scanning = false;
    }

    /// Content was accepted by the receiver's storage.
    pub(crate) fn moved(&mut self, bytes: u64) {
        self.progress.bytes += bytes;
    }

    /// Something that was never listed failed: a source that could not be read.
    pub(crate) fn unlisted_failure(&mut self) {
        self.progress.failed += 1;
    }

    /// An object ended.
    pub(crate) fn file_ended(&mut self, end: &FileEnd) {
        self.progress.reused_bytes += end.reused;
        self.progress.skipped_bytes += end.skipped;
        if end.is_directory && end.action != Action::Failed {
            return;
        }
        match end.action {
            Action::Copied | Action::Resumed => self.progress.files += 1,
            Action::Skipped => self.progress.skipped += 1,
            Action::Failed => self.progress.failed += 1,
        }
    }

    /// Writes the totals into `progress`, without paths.
    pub(crate) fn report(&self, progress: &mut Progress) {
        let mut paths = std::mem::take(&mut progress.paths);
        paths.clear();
        *progress = Progress { paths, ..self.progress };
    }
}

/// Which side of a transfer an end is.
pub(crate) const fn role_side(sends: bool) -> Side {
    if sends { Side::Source } else { Side::Destination }
}
