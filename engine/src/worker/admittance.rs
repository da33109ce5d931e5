//! Which connection ids of a worker the XDP programs let through.

use super::Worker;
use crate::datapath::Datapath;
use crate::limits;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use xfer_proto::time::Time;

/// The ids that a worker admitted, and when it told that it lives. Without AF_XDP nothing is kept and nothing happens.
pub(super) struct Admittance {
    worker: usize,
    datapath: Datapath,
    ids: HashSet<u32>,
    beat_at: Option<Time>,
}

impl Admittance {
    pub(super) fn new(worker: usize, datapath: Datapath) -> Self {
        Admittance { worker, datapath, ids: HashSet::new(), beat_at: None }
    }

    /// Lets packets to an id through, before anybody can send one.
    pub(super) fn admit(&mut self, id: u32) {
        if self.datapath.is_xdp() && self.ids.insert(id) {
            self.datapath.admit(self.worker, id);
            self.datapath.beat();
        }
    }

    /// The queue by which the packets of a peer arrive, as its port tells.
    pub(super) fn queue_of(&self, port: u16) -> Option<usize> {
        self.datapath.has_sockets().then(|| usize::from(port % limits::PORT_RESIDUES))
    }

    /// Tells, when it is time, that the worker lives, and drops what comes to ids that are not `known` any more.
    pub(super) fn keep(&mut self, now: Time, known: impl Fn(&u32) -> bool) {
        if self.ids.is_empty() || self.beat_at.is_some_and(|at| now < at) {
            return;
        }
        self.beat_at = Some(now + limits::HEARTBEAT);
        self.datapath.beat();
        self.ids.retain(|id| {
            let stays = known(id);
            if !stays {
                self.datapath.retire(*id);
            }
            stays
        });
    }
}

impl Worker {
    /// The worker that the next connection goes to: with AF_XDP the one that the peer's port names, since its packets will arrive there.
    pub(super) fn choose_worker(&self, remote: SocketAddr) -> usize {
        if let Some(queue) = self.admitted.queue_of(remote.port()) {
            return queue % self.peers.len();
        }
        self.next_worker.fetch_add(1, Ordering::Relaxed) % self.peers.len()
    }

    /// Tells XDP programs now and then that this worker lives, and which connections do not any more.
    pub(super) fn keep_admitted(&mut self, now: Time) {
        let Worker { admitted, by_id, shards, dials, .. } = self;
        admitted.keep(now, |id| {
            by_id.contains_key(id) || shards.contains_key(id) || dials.iter().any(|dial| dial.is(*id))
        });
    }
}
