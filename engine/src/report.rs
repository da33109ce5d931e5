//! What a worker and the application share of one transfer: the event queue, the totals, the wish to cancel.

use crate::api::{Event, Latency, Outcome, Progress};
use crate::error::{Class, Error};
use crossbeam::channel::{Sender, TrySendError};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use xfer_io::signal::Signal;

/// The shared part; the worker writes, the application reads.
pub(crate) struct Shared {
    events: Sender<Event>,
    progress: Mutex<Progress>,
    cancel: Mutex<Option<Error>>,
    wants_cancel: AtomicBool,
    finished: AtomicBool,
    /// Raised when there are events.
    signal: Option<Arc<Signal>>,
    /// Events wait for room in the queue.
    held_up: AtomicBool,
    /// The application has something new for the worker.
    nudged: AtomicBool,
    /// The worker that it is for; [`NOBODY`] until there is a connection.
    home: AtomicUsize,
}

const NOBODY: usize = usize::MAX;

impl Shared {
    pub(crate) fn new(events: Sender<Event>, signal: Option<Arc<Signal>>) -> Self {
        Shared {
            events,
            progress: Mutex::new(Progress {
                paths: Vec::with_capacity(xfer_proto::limits::PATHS_MAX),
                ..Progress::default()
            }),
            cancel: Mutex::new(None),
            wants_cancel: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            signal,
            held_up: AtomicBool::new(false),
            nudged: AtomicBool::new(false),
            home: AtomicUsize::new(NOBODY),
        }
    }

    /// The connection lives on worker `index`.
    pub(crate) fn set_home(&self, index: usize) {
        self.home.store(index, Ordering::Release);
    }

    /// Notes that the application has something new. The worker to wake for it, unless one that did not look since then was woken before.
    pub(crate) fn nudge(&self) -> Option<usize> {
        if self.nudged.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(self.home.load(Ordering::Acquire)).filter(|home| *home != NOBODY)
    }

    /// Whether the application has something new.
    pub(crate) fn is_nudged(&self) -> bool {
        self.nudged.load(Ordering::Relaxed)
    }

    /// The worker looks at all that is new from here on.
    pub(crate) fn take_nudge(&self) {
        if self.is_nudged() {
            self.nudged.swap(false, Ordering::AcqRel);
        }
    }

    /// Whether events waited for room in the queue, once.
    pub(crate) fn take_held_up(&self) -> bool {
        self.held_up.load(Ordering::Relaxed) && self.held_up.swap(false, Ordering::AcqRel)
    }

    /// The totals as last published.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Publishes totals as `report` writes them over the last ones, unless the application looks at these just now.
    pub(crate) fn publish(&self, report: impl FnOnce(&mut Progress)) {
        if let Ok(mut progress) = self.progress.try_lock() {
            report(&mut progress);
        }
    }

    /// Publishes the last totals.
    pub(crate) fn conclude(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(|e| e.into_inner()) = progress;
    }

    /// Asks the worker to end the transfer with `error`.
    pub(crate) fn request_cancel(&self, error: Error) {
        self.cancel.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
        self.wants_cancel.store(true, Ordering::Release);
    }

    /// The wish to cancel, once.
    pub(crate) fn take_cancel(&self) -> Option<Error> {
        if !self.wants_cancel.swap(false, Ordering::AcqRel) {
            return None;
        }
        self.cancel.lock().unwrap_or_else(|e| e.into_inner()).take()
    }

    /// Moves events from `backlog` to the application as far as its queue has room. Events for nobody are dropped.
    pub(crate) fn deliver(&self, backlog: &mut VecDeque<Event>) {
        if backlog.is_empty() {
            return;
        }
        self.deliver_some(backlog);
        if let Some(signal) = &self.signal {
            signal.raise();
        }
    }

    fn deliver_some(&self, backlog: &mut VecDeque<Event>) {
        let mut noted = false;
        while let Some(event) = backlog.pop_front() {
            let last = matches!(event, Event::Finished(_));
            match self.events.try_send(event) {
                Ok(()) => {
                    if last {
                        self.finished.store(true, Ordering::Release);
                    }
                }
                Err(TrySendError::Full(event)) => {
                    backlog.push_front(event);
                    // Tried once more after that: who emptied the queue before it was noted does not tell.
                    if std::mem::replace(&mut noted, true) {
                        return;
                    }
                    self.held_up.store(true, Ordering::SeqCst);
                }
                Err(TrySendError::Disconnected(_)) => {
                    backlog.clear();
                    self.finished.store(true, Ordering::Release);
                }
            }
        }
    }

    /// The worker is gone: the last event says so, unless it was delivered already.
    pub(crate) fn fail(&self, why: &str) {
        if self.finished.swap(true, Ordering::AcqRel) {
            return;
        }
        let error = Error::new(Class::Other, "a worker of this engine stopped").because(why);
        let outcome = Outcome {
            error: Some(error),
            progress: self.progress(),
            verified: false,
            durability: None,
            latency: Latency::default(),
        };
        let patience = Duration::from_millis(500);
        if self.events.send_timeout(Event::Finished(Box::new(outcome)), patience).is_err() {
            tracing::debug!("nobody reads the events of a transfer whose worker stopped");
        }
        if let Some(signal) = &self.signal {
            signal.raise();
        }
    }
}
