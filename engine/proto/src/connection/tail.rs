//! The tail of a slow path: what an idle fast path sends instead of it, or once more, so that the end does not wait (DESIGN section 6).
//!
//! Only where a path has nothing else to send, and only what a much slower path would deliver much later; each lease once.

use super::Connection;
use crate::crypto::Crypto;
use crate::limits;
use crate::outgoing::Lease;
use crate::path::{Path, PathState};
use crate::ranges::RangeSet;
use crate::sent::{Content, SentLog};
use core::time::Duration;

impl<C: Crypto> Connection<C> {
    /// Gives idle path `i` what a path that is slower by [`limits::TAIL_FACTOR`] has not sent yet of a chunk, and a copy of what of it is
    /// in flight there. Returns the new lease's place.
    pub(super) fn lease_tail(&mut self, i: usize) -> Option<usize> {
        let slow = self.slowest_other(i)?;
        let tail = loop {
            let Path { leases, sent, .. } = &mut self.paths[slow];
            let lease = leases.iter_mut().find(|l| !l.doubled)?;
            lease.doubled = true;
            let tail = take_tail(lease, sent);
            if tail.has_something() {
                break tail;
            }
        };
        let leases = &mut self.paths[i].leases;
        leases.push(tail);
        Some(leases.len() - 1)
    }

    /// The live path that will take longest to deliver what it holds, where that is much longer than path `i` would need for a chunk.
    fn slowest_other(&self, i: usize) -> Option<usize> {
        let others =
            self.paths.iter().enumerate().filter(|(j, p)| {
                *j != i && p.state == PathState::Live && p.leases.iter().any(|l| !l.doubled)
            });
        let (slow, wait) = others.map(|(j, p)| (j, p.time_to_deliver(0))).max_by_key(|(_, wait)| *wait)?;
        let chunk = self.paths[slow].leases.iter().find(|l| !l.doubled).map_or(0, |l| l.len);
        (wait > self.paths[i].time_to_deliver(u64::from(chunk)) * limits::TAIL_FACTOR).then_some(slow)
    }
}

/// Takes what `lease` has not sent and copies what of it is in flight.
fn take_tail(lease: &mut Lease, sent: &SentLog) -> Lease {
    let mut tail = lease.clone();
    lease.next = lease.len;
    lease.lost = RangeSet::new();
    for (train, pending) in sent.pending() {
        if let Content::Data(data) = train.content
            && tail.is_of(&data)
        {
            train.data_runs(data, pending).for_each(|run| tail.lose(run));
        }
    }
    tail
}

impl<C: Crypto> Path<C> {
    /// An estimate of the time until all that the path holds, and `more` bytes, are delivered.
    fn time_to_deliver(&self, more: u64) -> Duration {
        let unsent: u64 = self.leases.iter().map(|l| u64::from(l.len - l.next)).sum();
        let bytes = u128::from(unsent + self.sent.in_flight() + more);
        let rtt = self.rtt.smoothed();
        let ns = match self.controller.pacing_rate() {
            Some(rate) => bytes * 1_000_000_000 / u128::from(rate.max(1)),
            None => bytes * rtt.as_nanos() / u128::from(self.controller.window().max(1)),
        };
        rtt.saturating_add(Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)))
    }
}
