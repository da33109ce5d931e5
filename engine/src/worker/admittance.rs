//! Which connection ids of a worker the XDP programs let through.

use crate::datapath::Datapath;
use crate::limits;
use std::collections::HashSet;
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
        self.datapath.is_xdp().then(|| usize::from(port % limits::PORT_RESIDUES))
    }

    /// Tells, when it is time, that the worker lives, and drops what comes to ids that are not `known` any more.
    pub(super) fn keep(&mut self, now: Time, known: impl Fn(&u32) -> bool) {
        if !self.datapath.is_xdp() || self.beat_at.is_some_and(|at| now < at) {
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
