//! Control connections that have proved nothing yet: how many there may be, how long, and when they go.
//!
//! A connection is a stranger until a call with the node's token came over it. Where there are too many strangers, the one that came first
//! goes: a client proves itself within a few round trips, so that one that has waited long is none.

use crate::clients::{Clients, Connected, Excess};
use crate::limits::{REFUSED_LIFE, STRANGERS_MAX};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// All connections of a node, strangers and others.
pub(crate) struct Gate {
    strangers: Mutex<Strangers>,
    /// Where those that proved themselves have their places.
    clients: Arc<Clients>,
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
    host: IpAddr,
    number: u64,
    standing: Mutex<Standing>,
}

enum Standing {
    Stranger,
    Refused,
    Proven { _place: Connected },
}

impl Gate {
    /// Nobody is there.
    pub(crate) fn new(clients: Arc<Clients>) -> Arc<Gate> {
        Arc::new(Gate { strangers: Mutex::default(), clients })
    }

    /// A connection comes from `host`; the stranger that has waited longest goes when there are too many.
    pub(crate) fn enter(self: &Arc<Self>, host: IpAddr) -> (Guest, Verdict) {
        let (keep, verdict) = oneshot::channel();
        let mut strangers = self.strangers();
        let number = strangers.next;
        strangers.next += 1;
        strangers.waiting.insert(number, keep);
        if strangers.waiting.len() > STRANGERS_MAX {
            strangers.waiting.pop_first();
        }
        drop(strangers);
        (Guest { gate: self.clone(), host, number, standing: Mutex::new(Standing::Stranger) }, verdict)
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
    /// A call with the token came.
    ///
    /// # Errors
    /// There are as many connections of that kind as there may be.
    pub(crate) fn prove(&self) -> Result<(), Excess> {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*standing, Standing::Proven { .. }) {
            return Ok(());
        }
        *standing = Standing::Proven { _place: self.gate.clients.connect(self.host)? };
        if let Some(keep) = self.gate.strangers().waiting.remove(&self.number) {
            // An error means that the connection ends just now.
            keep.send(()).unwrap_or_default();
        }
        Ok(())
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
    use crate::clients::Caps;
    use tokio::sync::oneshot::error::TryRecvError;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn gate(connections: usize) -> Arc<Gate> {
        let caps = Caps { connections, connections_per_client: connections, ..Caps::default() };
        Gate::new(Clients::new(caps))
    }

    #[test]
    fn the_oldest_stranger_makes_room() {
        let gate = gate(9);
        let mut all: Vec<_> = (0..STRANGERS_MAX).map(|_| gate.enter(HOST)).collect();
        assert_eq!(all[0].1.try_recv(), Err(TryRecvError::Empty));
        assert!(all[1].0.prove().is_ok());
        assert_eq!(all[1].1.try_recv(), Ok(()));
        let one = gate.enter(HOST);
        assert_eq!(all[0].1.try_recv(), Err(TryRecvError::Empty), "one proved itself");
        let another = gate.enter(HOST);
        assert_eq!(all[0].1.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(all[2].1.try_recv(), Err(TryRecvError::Empty));
        drop((one, another));
        assert_eq!(gate.strangers().waiting.len(), STRANGERS_MAX - 2);
    }

    #[test]
    fn connections_that_proved_themselves_are_bounded() {
        let gate = gate(9);
        let mut all: Vec<_> = (0..9).map(|_| gate.enter(HOST).0).collect();
        assert!(all.iter().all(|guest| guest.prove().is_ok()));
        let more = gate.enter(HOST).0;
        assert_eq!(more.prove(), Err(Excess::Connections));
        drop(all.pop());
        assert!(more.prove().is_ok() && more.prove().is_ok());
    }

    #[test]
    fn one_that_is_dismissed_goes_unless_it_proved_itself() {
        let gate = gate(9);
        let (guest, mut verdict) = gate.enter(HOST);
        gate.dismiss(guest.number);
        assert_eq!(verdict.try_recv(), Err(TryRecvError::Closed));
        let (guest, mut verdict) = gate.enter(HOST);
        assert!(guest.prove().is_ok());
        gate.dismiss(guest.number);
        assert_eq!(verdict.try_recv(), Ok(()));
    }
}
