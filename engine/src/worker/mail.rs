//! What others put into a worker's bounded mailbox.

use super::{Admitted, DialStart};
use crate::limits;
use crate::storage::Answer;
use crate::transfer::Driver;
use crossbeam::channel::{Receiver, Sender, bounded};
use xfer_io::wake::Waker;

/// One letter.
pub(crate) enum Mail {
    /// Storage's answer to a driver's job.
    Answer(u32, Answer),
    /// A ticket to admit.
    Admit(Box<Admitted>),
    /// A connection to make.
    Dial(Box<DialStart>),
    /// A connection that belongs here.
    Adopt(Box<Driver>),
    /// A packet under new keys arrived for the connection with this id on another worker.
    Confirmed(u32),
    /// Some transfer's wishes changed.
    Wake,
    /// End everything.
    ShutDown,
}

/// The sending end; cheap to clone.
#[derive(Clone)]
pub(crate) struct Mailbox {
    letters: Sender<Mail>,
    waker: Waker,
}

/// The receiving end.
pub(crate) struct Post {
    letters: Receiver<Mail>,
}

/// A worker's mailbox.
pub(crate) fn post(waker: Waker) -> (Mailbox, Post) {
    let (sender, letters) = bounded(limits::JOBS_MAX + limits::COMMANDS_MAX);
    (Mailbox { letters: sender, waker }, Post { letters })
}

impl Mailbox {
    /// Puts a letter in and wakes the worker; waits while the box is full. False when the worker is gone.
    pub(crate) fn send(&self, mail: Mail) -> bool {
        let sent = self.letters.send(mail).is_ok();
        self.waker.wake();
        sent
    }
}

impl Post {
    /// The next letter.
    pub(crate) fn take(&self) -> Option<Mail> {
        self.letters.try_recv().ok()
    }
}
