//! Content for benchmarks: small objects on a live connection, each sent when the one before was accepted.

use super::endless::entry;
use super::open::lock;
use super::{ChunkPlan, Listing, ReadChunk, Source};
use crate::api::Quantiles;
use crate::digest::{self, Digest};
use crate::error::{Class, Error, Side};
use crate::meter::Meter;
use crate::quantiles;
use hdrhistogram::Histogram;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use xfer_proto::wire::{Decision, Entry, Inline};

/// The name of each message.
const NAME: &[u8] = b"message";

/// Objects whose content travels with their entry, one at a time, and how long each took: from when it was listed until it was told
/// accepted. The first one goes with the handshake and is not counted; the time begins when it was accepted.
pub struct MessageSource {
    content: Inline,
    time: Duration,
    state: Mutex<State>,
    next: Condvar,
    meter: Arc<Meter>,
}

struct State {
    /// When the present message was listed; `None` while none is under way.
    sent: Option<Instant>,
    until: Option<Instant>,
    stopped: bool,
    took: Histogram<u64>,
}

impl MessageSource {
    /// Messages of `bytes`, at most what an entry holds (1,024), for `time`. `meter` is told when the time begins, and of the end.
    ///
    /// # Errors
    /// `Usage` for longer ones.
    pub fn new(bytes: usize, time: Duration, digests: bool, meter: Arc<Meter>) -> Result<Self, Error> {
        if bytes > xfer_proto::limits::INLINE_LEN_MAX {
            return Err(Error::new(Class::Usage, "a message has at most 1 KiB").on(Side::Source));
        }
        let content = vec![0x5a; bytes];
        let digest = if digests { digest::root(&content) } else { [0; 32] };
        let state = State { sent: None, until: None, stopped: false, took: quantiles::histogram() };
        Ok(MessageSource {
            content: Inline { content, digest },
            time,
            state: Mutex::new(state),
            next: Condvar::new(),
            meter,
        })
    }

    /// Lists nothing more: whoever waits for the next message is let go.
    pub fn stop(&self) {
        lock(&self.state).stopped = true;
        self.next.notify_all();
    }

    /// How long messages took.
    pub fn latency(&self) -> Quantiles {
        quantiles::of(&lock(&self.state).took)
    }
}

impl State {
    fn is_over(&self, now: Instant) -> bool {
        self.stopped || self.until.is_some_and(|until| now >= until)
    }
}

impl Source for MessageSource {
    /// Waits until the message before was accepted.
    fn list(&self, _: u32) -> Result<Listing, Error> {
        let mut state = lock(&self.state);
        while state.sent.is_some() && !state.stopped {
            state = self.next.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let now = Instant::now();
        let last = state.is_over(now);
        if !last {
            state.sent = Some(now);
        }
        let message = Entry {
            size: self.content.content.len() as u64,
            inline: Some(self.content.clone()),
            ..entry(NAME)
        };
        let entries = if last { Vec::new() } else { vec![message] };
        Ok(Listing { entries, last, notices: Vec::new(), errors: Vec::new() })
    }

    fn decided(&self, _: u32, _: &[Decision]) {}

    fn read(&self, _: &ChunkPlan, _: u8, _: &mut [u8]) -> Result<ReadChunk, Error> {
        Err(Error::new(Class::Other, "a message has no chunks").on(Side::Source))
    }

    fn open_size(&self, _: u32) -> Option<u64> {
        None
    }

    fn end(&self, _: u32) -> Result<Option<Digest>, Error> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let sent = state.sent.take();
        match (state.until, sent) {
            (None, _) => {
                self.meter.begin();
                state.until = Some(now + self.time);
            }
            (Some(_), Some(sent)) => {
                state.took.saturating_record(quantiles::ns(now.duration_since(sent)));
            }
            (Some(_), None) => {}
        }
        if state.is_over(now) {
            self.meter.end();
        }
        drop(state);
        self.next.notify_all();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(bytes: usize, time: Duration) -> MessageSource {
        MessageSource::new(bytes, time, true, Arc::default()).unwrap()
    }

    #[test]
    fn a_message_fits_its_entry() {
        for bytes in [0, 1, 1_024] {
            let listing = source(bytes, Duration::ZERO).list(0).unwrap();
            let inline = listing.entries[0].inline.clone().unwrap();
            assert_eq!((inline.content.len(), inline.digest), (bytes, digest::root(&vec![0x5a; bytes])));
            assert!(!listing.last);
        }
        let long = MessageSource::new(1_025, Duration::ZERO, true, Arc::default());
        assert_eq!(long.err().unwrap().class, Class::Usage);
    }

    #[test]
    fn the_first_message_is_not_counted() {
        let source = source(1, Duration::from_secs(3_600));
        for count in 0..3 {
            assert_eq!(source.list(0).unwrap().entries.len(), 1);
            source.end(0).unwrap();
            assert_eq!(source.latency().count, count);
        }
    }

    #[test]
    fn the_next_one_waits_for_the_one_before() {
        let source = source(1, Duration::from_secs(3_600));
        source.list(0).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| source.list(1).unwrap().entries.len());
            source.end(0).unwrap();
            assert_eq!(waits.join().unwrap(), 1);
            let waits = scope.spawn(|| source.list(2).unwrap());
            source.stop();
            let listing = waits.join().unwrap();
            assert!(listing.last && listing.entries.is_empty());
        });
    }

    #[test]
    fn when_the_time_is_over_nothing_follows() {
        let source = source(1, Duration::ZERO);
        source.list(0).unwrap();
        source.end(0).unwrap();
        assert!(source.list(1).unwrap().last);
        assert_eq!(source.latency().count, 0);
    }
}
