//! What others put into a worker's bounded mailbox.

use super::{Admitted, DialStart, ShardStart};
use crate::datapath::AnyQueue;
use crate::limits;
use crate::storage::Answer;
use crate::transfer::Driver;
use crossbeam::channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use xfer_io::queue::Meta;
use xfer_io::wake::Waker;
use xfer_proto::wire::Header;

/// One letter.
#[allow(
    clippy::large_enum_variant,
    reason = "answers are what most letters are, and boxing them would allocate"
)]
pub(crate) enum Mail {
    /// Storage's answer to a driver's job.
    Answer(u32, Answer),
    /// A ticket to admit.
    Admit(Box<Admitted>),
    /// A connection to make.
    Dial(Box<DialStart>),
    /// A connection that belongs here.
    Adopt(Box<Driver>),
    /// Part of a connection that lives on another worker.
    Shard(Box<ShardStart>),
    /// A queue to send and receive by.
    Queue(Box<AnyQueue>),
    /// A datagram that arrived at another worker.
    Datagram(Box<Foreign>),
    /// A packet under new keys arrived for the connection with this id on another worker.
    Confirmed(u32),
    /// What the REPLY carries of the control stream of the connection with this id, which is on another worker.
    Reply(u32, Vec<u8>),
    /// Some transfer's wishes changed.
    Wake,
    /// End everything.
    ShutDown,
}

/// A datagram of a connection that belongs to another worker than the one whose queue got it.
pub(crate) struct Foreign {
    pub(crate) meta: Meta,
    /// The queue's number, the same on every worker that listens.
    pub(crate) queue: usize,
    pub(crate) header: Header,
    pub(crate) bytes: Vec<u8>,
}

/// The sending end; cheap to clone.
#[derive(Clone)]
pub(crate) struct Mailbox {
    letters: Sender<Mail>,
    waker: Waker,
    /// Datagrams that wait.
    foreign: Arc<AtomicUsize>,
}

/// The receiving end.
pub(crate) struct Post {
    letters: Receiver<Mail>,
    foreign: Arc<AtomicUsize>,
}

/// A worker's mailbox.
pub(crate) fn post(waker: Waker) -> (Mailbox, Post) {
    let (sender, letters) = bounded(limits::JOBS_MAX + limits::COMMANDS_MAX);
    let foreign = Arc::new(AtomicUsize::new(0));
    (Mailbox { letters: sender, waker, foreign: foreign.clone() }, Post { letters, foreign })
}

impl Mailbox {
    /// Puts a letter in and wakes the worker; waits while the box is full. False when the worker is gone.
    pub(crate) fn send(&self, mail: Mail) -> bool {
        let sent = self.letters.send(mail).is_ok();
        self.waker.wake();
        sent
    }

    /// Ends the worker's sleep: something changed that it looks at by itself.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Hands a datagram over; never waits. False when too many wait already, or the worker is gone: the datagram is lost then.
    pub(crate) fn hand_over(&self, foreign: Foreign) -> bool {
        if self.foreign.load(Ordering::Relaxed) >= limits::HANDED_OVER_MAX {
            return false;
        }
        self.foreign.fetch_add(1, Ordering::Relaxed);
        let sent = self.letters.try_send(Mail::Datagram(Box::new(foreign))).is_ok();
        if sent {
            self.waker.wake();
        } else {
            self.foreign.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }
}

impl Post {
    /// The next letter.
    pub(crate) fn take(&self) -> Option<Mail> {
        let mail = self.letters.try_recv().ok()?;
        if matches!(mail, Mail::Datagram(_)) {
            self.foreign.fetch_sub(1, Ordering::Relaxed);
        }
        Some(mail)
    }

    /// Fails every transfer that is still sent here, until the engine shuts down: the worker is gone.
    pub(crate) fn fail_all(self, why: &str) {
        while let Ok(mail) = self.letters.recv() {
            match mail {
                Mail::Admit(admitted) => admitted.shared.fail(why),
                Mail::Dial(start) => start.shared.fail(why),
                Mail::Adopt(driver) => driver.shared().fail(why),
                Mail::ShutDown => return,
                Mail::Answer(..)
                | Mail::Shard(_)
                | Mail::Queue(_)
                | Mail::Datagram(_)
                | Mail::Confirmed(_)
                | Mail::Reply(..)
                | Mail::Wake => {}
            }
        }
    }
}
