//! Places for large files in progress: each keeps two descriptors open, partial file and journal, from its first chunk until it has its name.
//!
//! A peer may begin any number of files and end none. What one transfer and what all of the process have at once is bounded by what the
//! process may have open.

use crate::limits::{SINK_CLAIMS_MAX, SINK_CLAIMS_MIN, SINK_CLAIMS_PROCESS_SHARE, SINK_CLAIMS_SHARE};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Places of the process that are taken.
static PROCESS: AtomicUsize = AtomicUsize::new(0);

/// The places of one transfer.
#[derive(Debug)]
pub(super) struct Places {
    taken: AtomicUsize,
    max: usize,
    process_max: usize,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Places {
    /// Those of a process that may have so many descriptors.
    pub(super) fn new(descriptors: u64) -> Arc<Places> {
        let share = |of: u64| usize::try_from(descriptors / of / 2).unwrap_or(usize::MAX);
        Arc::new(Places {
            taken: AtomicUsize::new(0),
            max: share(SINK_CLAIMS_SHARE).clamp(SINK_CLAIMS_MIN, SINK_CLAIMS_MAX),
            process_max: share(SINK_CLAIMS_PROCESS_SHARE).max(SINK_CLAIMS_MIN),
        })
    }

    /// A place, if one is free.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        if !count(&self.taken, self.max) {
            return None;
        }
        if !count(&PROCESS, self.process_max) {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place(Arc::clone(self)))
    }
}

/// Counts one more unless there are `max`.
fn count(taken: &AtomicUsize, max: usize) -> bool {
    let more = |now| (now < max).then_some(now + 1);
    taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        PROCESS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_by_what_may_be_open() {
        let cases = [
            (0, SINK_CLAIMS_MIN),
            (1_024, 64),
            (16 * 65 - 1, 64),
            (16 * 65, 65),
            (u64::MAX, SINK_CLAIMS_MAX),
        ];
        for (descriptors, expected) in cases {
            assert_eq!(Places::new(descriptors).max, expected, "{descriptors}");
        }
        let places = Places::new(0);
        let mut all: Vec<Place> = (0..SINK_CLAIMS_MIN).map(|_| places.take().unwrap()).collect();
        assert!(places.take().is_none());
        all.pop();
        assert!(places.take().is_some_and(|place| Arc::ptr_eq(&place.0, &places)));
    }

    #[test]
    fn all_transfers_share_those_of_the_process() {
        let lone = Arc::new(Places { taken: AtomicUsize::new(0), max: 9, process_max: 0 });
        assert!(lone.take().is_none());
        assert_eq!(lone.taken.load(Ordering::Relaxed), 0);
    }
}
