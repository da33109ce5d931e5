//! Totals of a transfer: what was listed, moved, reused, skipped and failed.

use crate::api::{Event, FileEnd, Progress};
use crate::error::{Error, Side};
use crate::sink::Action;
use std::collections::VecDeque;

/// Counters of one end. Sizes are what the peer says, and their sums stop at the largest number.
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
        self.progress.total_bytes = self.progress.total_bytes.saturating_add(size);
    }

    /// Nothing more will be listed.
    pub(crate) fn listing_ended(&mut self) {
        self.progress.scanning = false;
    }

    /// Content was accepted by the receiver's storage.
    pub(crate) fn moved(&mut self, bytes: u64) {
        self.progress.bytes = self.progress.bytes.saturating_add(bytes);
    }

    /// Something that was never listed failed: a source that could not be read.
    pub(crate) fn unlisted_failure(&mut self) {
        self.progress.failed += 1;
    }

    /// An object ended.
    pub(crate) fn file_ended(&mut self, end: &FileEnd) {
        self.progress.reused_bytes = self.progress.reused_bytes.saturating_add(end.reused);
        self.progress.skipped_bytes = self.progress.skipped_bytes.saturating_add(end.skipped);
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

/// Tells the application of an ended object and counts it.
pub(super) fn file_ended(totals: &mut Totals, events: &mut VecDeque<Event>, end: FileEnd) {
    totals.file_ended(&end);
    events.push_back(Event::File(end));
}

/// The failure of one object, as the application hears it.
pub(super) fn failed(object: u32, name: Vec<u8>, is_directory: bool, error: Error) -> FileEnd {
    FileEnd {
        object,
        name,
        is_directory,
        action: Action::Failed,
        bytes: 0,
        reused: 0,
        skipped: 0,
        digest: None,
        error: Some(error.on(Side::Source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_claimed_sizes_stop_at_the_largest_number() {
        let mut totals = Totals::new();
        (0..3).for_each(|_| totals.listed(false, u64::MAX / 2));
        (0..3).for_each(|_| totals.moved(u64::MAX / 2));
        let end = failed(0, Vec::new(), false, Error::new(crate::error::Class::Other, "x"));
        (0..3).for_each(|_| totals.file_ended(&FileEnd { skipped: u64::MAX / 2, ..end.clone() }));
        let mut progress = Progress::default();
        totals.report(&mut progress);
        let sums = (progress.total_bytes, progress.bytes, progress.skipped_bytes, progress.failed);
        assert_eq!(sums, (u64::MAX, u64::MAX, u64::MAX, 3));
    }
}
