//! What a worker and the application share of one transfer: the event queue, the totals, the wish to cancel.

use crate::api::{Event, Latency, Outcome, Progress};
use crate::error::{Class, Error};
use crossbeam::channel::{Sender, TrySendError};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The shared part; the worker writes, the application reads.
pub(crate) struct Shared {
    events: Sender<Event>,
    progress: Mutex<Progress>,
    cancel: Mutex<Option<Error>>,
    wants_cancel: AtomicBool,
    finished: AtomicBool,
}

impl Shared {
    pub(crate) fn new(events: Sender<Event>) -> Self {
        Shared {
            events,
            progress: Mutex::new(Progress {
                paths: Vec::with_capacity(xfer_proto::limits::PATHS_MAX),
                ..Progress::default()
            }),
            cancel: Mutex::new(None),
            wants_cancel: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        }
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
        while let Some(event) = backlog.pop_front() {
            let last = matches!(event, Event::Finished(_));
            match self.events.try_send(event) {
                Ok(()) => {
                    if last {
                        self.finished.store(true, Ordering::Release);
                    }
                }
                Err(TrySendError::Full(event)) => return backlog.push_front(event),
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
    }
}
