//! Control connections that have proved nothing yet: how many there may be, how long, and when they go.
//!
//! A connection is a stranger until a call with the node's token came over it. Where there are too many strangers, the one that came first
//! goes: a client proves itself within a few round trips, so that one that has waited long is none.

use crate::limits::{CONNECTIONS_MAX, REFUSED_LIFE, STRANGERS_MAX};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// All connections of a node, strangers and others.
pub(crate) struct Gate {
    strangers: Mutex<Strangers>,
    /// A permit for each connection that proved itself.
    slots: Arc<Semaphore>,
}

#[derive(Default)]
struct Strangers {
    next: u64,
    /// In the order in which they came. Sending says that one is none any more, dropping that it has to go.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// What a stranger's connection waits for: `Ok` when it proved itself, an error when it has to go.
pub(crate) type Verdict = oneshot::Receiver<()>;

/// What is known of one connection; it leaves the gate when this is dropped.
pub(crate) struct Guest {
    gate: Arc<Gate>,
    number: u64,
    standing: Mutex<Standing>,
}

enum Standing {
    Stranger,
    Refused,
    Proven { _slot: OwnedSemaphorePermit },
}

impl Gate {
    /// Nobody is there.
    pub(crate) fn new() -> Arc<Gate> {
        Arc::new(Gate { strangers: Mutex::default(), slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)) })
    }

    /// A connection comes; the stranger that has waited longest goes when there are too many.
    pub(crate) fn enter(self: &Arc<Self>) -> (Guest, Verdict) {
        let (keep, verdict) = oneshot::channel();
        let mut strangers = self.strangers();
        let number = strangers.next;
        strangers.next += 1;
        strangers.waiting.insert(number, keep);
        if strangers.waiting.len() > STRANGERS_MAX {
            strangers.waiting.pop_first();
        }
        drop(strangers);
        (Guest { gate: self.clone(), number, standing: Mutex::new(Standing::Stranger) }, verdict)
    }

    /// A stranger has to go.
    fn dismiss(&self, number: u64) {
        self.strangers().waiting.remove(&number);
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// A call with the token came. False when there are as many connections of that kind as there may be.
    pub(crate) fn prove(&self) -> bool {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*standing, Standing::Proven { .. }) {
            return true;
        }
        let Ok(slot) = self.gate.slots.clone().try_acquire_owned() else { return false };
        *standing = Standing::Proven { _slot: slot };
        if let Some(keep) = self.gate.strangers().waiting.remove(&self.number) {
            // An error means that the connection ends just now.
            keep.send(()).unwrap_or_default();
        }
        true
    }

    /// A call was refused: a stranger's connection ends as soon as the answer had time to leave. Whether it is the first one.
    pub(crate) fn refuse(&self) -> bool {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*standing, Standing::Stranger) {
            return false;
        }
        *standing = Standing::Refused;
        let (gate, number) = (Arc::downgrade(&self.gate), self.number);
        tokio::spawn(async move {
            tokio::time::sleep(REFUSED_LIFE).await;
            if let Some(gate) = gate.upgrade() {
                gate.dismiss(number);
            }
        });
        true
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.gate.dismiss(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot::error::TryRecvError;

    #[test]
    fn the_oldest_stranger_makes_room() {
        let gate = Gate::new();
        let mut all: Vec<_> = (0..STRANGERS_MAX).map(|_| gate.enter()).collect();
        assert_eq!(all[0].1.try_recv(), Err(TryRecvError::Empty));
        assert!(all[1].0.prove());
        assert_eq!(all[1].1.try_recv(), Ok(()));
        let one = gate.enter();
        assert_eq!(all[0].1.try_recv(), Err(TryRecvError::Empty), "one proved itself");
        let another = gate.enter();
        assert_eq!(all[0].1.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(all[2].1.try_recv(), Err(TryRecvError::Empty));
        drop((one, another));
        assert_eq!(gate.strangers().waiting.len(), STRANGERS_MAX - 2);
    }

    #[test]
    fn connections_that_proved_themselves_are_bounded() {
        let gate = Gate::new();
        let mut all: Vec<_> = (0..CONNECTIONS_MAX).map(|_| gate.enter().0).collect();
        assert!(all.iter().all(Guest::prove));
        let more = gate.enter().0;
        assert!(!more.prove());
        drop(all.pop());
        assert!(more.prove() && more.prove());
    }

    #[test]
    fn one_that_is_dismissed_goes_unless_it_proved_itself() {
        let gate = Gate::new();
        let (guest, mut verdict) = gate.enter();
        gate.dismiss(guest.number);
        assert_eq!(verdict.try_recv(), Err(TryRecvError::Closed));
        let (guest, mut verdict) = gate.enter();
        assert!(guest.prove());
        gate.dismiss(guest.number);
        assert_eq!(verdict.try_recv(), Ok(()));
    }
}
