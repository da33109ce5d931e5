//! Paths of a connection: opening, dying and coming back.

use super::{Connection, Event, Side, State};
use crate::cc::Algorithm;
use crate::crypto::Crypto;
use crate::limits;
use crate::outgoing::Lease;
use crate::path::{Address, Path, PathCounters, PathState};
use crate::sent::Content;
use crate::time::Time;
use crate::wire::{Header, Kind, PathId};
use alloc::vec::Vec;
use core::time::Duration;

/// What is known of a path.
#[derive(Clone, Copy, Debug)]
pub struct PathReport {
    /// Its id.
    pub id: PathId,
    /// Its addresses.
    pub address: Address,
    /// Whether it carries.
    pub state: PathState,
    /// Smoothed round trip.
    pub rtt: Duration,
    /// The least of the last seconds.
    pub rtt_min: Duration,
    /// Congestion window in bytes.
    pub window: u64,
    /// Rate that the controller allows, bytes per second.
    pub pacing_rate: Option<u64>,
    /// Datagram bytes in flight.
    pub in_flight: u64,
    /// Largest datagram in bytes.
    pub mtu: u16,
    /// Counters.
    pub counters: PathCounters,
}

/// What keeps content from going out just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// There is nothing to send.
    Nothing,
    /// Nothing keeps it: some path would take it.
    No,
    /// Windows or pacing of the paths.
    Paths,
    /// The cap over all paths, or the rate that was asserted for each.
    Rate,
}

impl<C: Crypto> Connection<C> {
    /// What keeps offered content from going out at `now`.
    pub fn held(&self, now: Time) -> Held {
        let live = |p: &Path<C>| p.state == PathState::Live;
        if !(0..self.paths.len()).any(|i| self.has_content(i)) {
            return Held::Nothing;
        }
        if self.cap.as_ref().is_some_and(|cap| cap.next_release(now).is_some()) {
            return Held::Rate;
        }
        if self.paths.iter().any(|p| p.is_willing(now)) {
            return Held::No;
        }
        let asserted = matches!(self.config.algorithm, Algorithm::Fixed { .. });
        let paced = self.paths.iter().any(|p| live(p) && p.window_open());
        if asserted && paced { Held::Rate } else { Held::Paths }
    }

    /// The caller stops sending for now although paths would go on: what they deliver says nothing about them, only about its processor.
    pub fn note_late(&mut self, now: Time) {
        for i in 0..self.paths.len() {
            if self.paths[i].is_willing(now) && self.has_content(i) {
                let in_flight = self.paths[i].sent.in_flight();
                self.paths[i].controller.app_limited(in_flight);
            }
        }
    }

    /// The round trip that the last ACKs measured, once.
    pub fn take_rtt_sample(&mut self) -> Option<Duration> {
        self.rtt_sample.take()
    }

    /// When the ACK that the last packets carried was due, once.
    pub fn take_ack_due(&mut self) -> Option<Time> {
        self.ack_due.take()
    }

    /// Opens a path; only the opener may. `None` when there are too many.
    pub fn open_path(&mut self, now: Time, address: Address) -> Option<PathId> {
        if self.side != Side::Opener
            || self.paths.len() >= limits::PATHS_MAX
            || self.next_path >= limits::PATH_ID_END
        {
            return None;
        }
        let id = PathId(self.next_path);
        self.next_path += 1;
        let path = self.new_path(now, id, address, PathState::Unproven, None);
        let i = self.paths.push(path);
        self.challenge_chosen(now, i, address);
        Some(id)
    }

    /// The path's link went down: its content goes over others at once.
    pub fn path_failed(&mut self, now: Time, id: PathId) {
        if let Some(i) = self.path_index(id)
            && self.paths[i].state == PathState::Live
            && self.is_running()
        {
            self.suspect(now, i);
        }
    }

    /// The path's link is back: it is probed at once.
    pub fn path_restored(&mut self, now: Time, id: PathId) {
        if let Some(i) = self.path_index(id) {
            self.paths[i].next_probe = now;
        }
    }

    /// A datagram did not fit its path; `limit` is what the system says would.
    pub fn datagram_too_big(&mut self, now: Time, id: PathId, limit: Option<u16>) {
        if let Some(i) = self.path_index(id) {
            self.paths[i].mtu.on_too_big(now, limit);
            self.paths[i].on_mtu();
        }
    }

    /// What is known of each path.
    pub fn path_reports(&self) -> impl Iterator<Item = PathReport> + '_ {
        self.paths.iter().map(|p| PathReport {
            id: p.id,
            address: p.address,
            state: p.state,
            rtt: p.rtt.smoothed(),
            rtt_min: p.rtt.min(),
            window: p.controller.window(),
            pacing_rate: p.controller.pacing_rate(),
            in_flight: p.sent.in_flight(),
            mtu: p.mtu.current(),
            counters: p.counters,
        })
    }

    /// Whether a packet with an unknown path id may open that path.
    pub(super) fn may_open(&self, now: Time, header: &Header) -> bool {
        self.side == Side::Acceptor
            && header.kind == Kind::Control
            && !self.is_used(header.path)
            && self.paths.len() < limits::PATHS_MAX
            && matches!(self.state, State::Open)
            && self.unknown_paths_from <= now
    }

    /// Whether path `id` was used already, or never may be. First packets of several paths may overtake each other.
    fn is_used(&self, id: PathId) -> bool {
        let word = self.used_paths.get(usize::from(id.0 / 64));
        word.is_none_or(|word| word >> (id.0 % 64) & 1 != 0)
    }

    #[expect(clippy::indexing_slicing, reason = "`may_open` let no id through for which there is no bit")]
    pub(super) fn use_path_id(&mut self, id: PathId) {
        self.used_paths[usize::from(id.0 / 64)] |= 1 << (id.0 % 64);
    }

    /// Counts an attempt to open a path: as many at once as there may be paths, then one in each [`limits::UNKNOWN_PATH_EVERY`].
    pub(super) fn count_unknown_path(&mut self, now: Time) {
        let burst = limits::UNKNOWN_PATH_EVERY * limits::PATHS_MAX as u32;
        let earliest = Time::from_nanos(now.as_nanos().saturating_sub(burst.as_nanos() as u64));
        self.unknown_paths_from = self.unknown_paths_from.max(earliest) + limits::UNKNOWN_PATH_EVERY;
    }

    pub(super) fn take_abandon(&mut self, now: Time, id: PathId) {
        if let Some(i) = self.path_index(id)
            && self.paths.len() > 1
        {
            self.return_leases(i);
            self.with_losses(now, i, |sent, visit| sent.forsake(visit));
            self.paths.remove(i);
            self.events.push_back(Event::PathDown(id));
        }
    }

    /// Whether a path other than `i` carries.
    pub(super) fn another_lives(&self, i: usize) -> bool {
        self.paths.iter().enumerate().any(|(j, p)| j != i && p.state == PathState::Live)
    }

    /// The path does not answer while another lives: its content goes there, and it is only probed.
    pub(super) fn suspect(&mut self, now: Time, i: usize) {
        self.return_leases(i);
        self.with_losses(now, i, |sent, visit| sent.forsake(visit));
        let path = &mut self.paths[i];
        path.state = PathState::Suspect;
        path.suspect_since = now;
        path.next_probe = now;
        path.loss_timer = None;
        let id = path.id;
        self.events.push_back(Event::PathDown(id));
        // The others are counted on now; an idle one may have died unnoticed.
        for other in self.paths.iter_mut().filter(|p| p.state == PathState::Live && p.sent.in_flight() == 0) {
            other.ping_owed = true;
        }
    }

    /// A suspect path answered what was sent at `sent`. One that answers what it was suspected for was only late: what was measured
    /// of it holds. Any other starts over.
    pub(super) fn revive(&mut self, now: Time, i: usize, sent: Option<Time>) {
        let path = &mut self.paths[i];
        if sent.is_some_and(|sent| sent < path.suspect_since) {
            path.go_on(now);
        } else {
            path.restart(now);
        }
        let id = self.paths[i].id;
        self.events.push_back(Event::PathUp(id));
    }

    /// Takes leases of earlier attempts away from the paths, before they read bytes that are not held any more.
    pub(super) fn drop_replaced(&mut self) {
        let Connection { outgoing, paths, .. } = self;
        for outgoing in outgoing {
            let (id, replaced) = (outgoing.id(), outgoing.take_replaced());
            for path in paths.iter_mut().filter(|_| !replaced.is_empty()) {
                path.leases.retain(|l| l.transfer != id || !replaced.contains(&l.chunk));
            }
        }
    }

    /// Gives the leases of path `i` back, what is in flight included: another path sends it, though late originals still count.
    fn return_leases(&mut self, i: usize) {
        self.drop_replaced();
        let mut leases: Vec<Lease> = core::mem::take(&mut self.paths[i].leases);
        for (train, pending) in self.paths[i].sent.pending() {
            if let Content::Data(data) = train.content
                && let Some(lease) = leases.iter_mut().find(|l| l.is_of(&data))
            {
                train.data_runs(data, pending).for_each(|run| lease.lose(run));
            }
        }
        for lease in leases {
            if let Some(outgoing) = self.outgoing(lease.transfer) {
                outgoing.give_back(lease);
            }
        }
    }
}
