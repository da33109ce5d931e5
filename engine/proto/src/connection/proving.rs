//! Proving addresses: challenges to new ones, and what may be sent there before they are answered (PROTOCOL.md#paths).

use super::{Connection, Event, Side};
use crate::challenge::Challenge;
use crate::crypto::Crypto;
use crate::limits;
use crate::path::{Address, PathState};
use crate::time::Time;
use crate::wire::ConnectionId;
use core::time::Duration;

/// Where a control packet goes, and what it may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) address: Address,
    /// It is padded, so that its arrival proves the size too.
    pub(super) padded: bool,
    /// Bytes that the datagram may have.
    pub(super) most: usize,
    /// It does not go to the path's own address: only what proves addresses does.
    pub(super) elsewhere: bool,
}

impl<C: Crypto> Connection<C> {
    /// Starts to prove an address that this end chose.
    pub(super) fn challenge_chosen(&mut self, now: Time, i: usize, address: Address) {
        let token = self.draw().to_le_bytes();
        self.paths[i].challenge = Some(Challenge::chosen(now, token, address));
    }

    /// Starts to prove an address that a datagram of `bytes` came from.
    fn challenge_stranger(&mut self, now: Time, i: usize, from: Address, bytes: u64) {
        let token = self.draw().to_le_bytes();
        let mut challenge = Challenge::to_stranger(now, token, from);
        challenge.heard(bytes);
        self.paths[i].challenge = Some(challenge);
    }

    /// An acceptor that was challenged on a new path challenges back.
    pub(super) fn challenge_back(&mut self, now: Time, i: usize) {
        let path = &self.paths[i];
        if self.side == Side::Acceptor && path.state == PathState::Unproven && path.challenge.is_none() {
            let address = path.address;
            self.challenge_stranger(now, i, address, 0);
        }
    }

    pub(super) fn take_response(&mut self, now: Time, i: usize, token: [u8; 8], connection: ConnectionId) {
        let datagram_max = self.config.datagram_max;
        let path = &mut self.paths[i];
        let Some(challenge) = path.challenge.filter(|c| c.token == token) else { return };
        path.challenge = None;
        path.destination = connection;
        let moved = path.address.differs(&challenge.address);
        let was_live = path.state == PathState::Live;
        if moved {
            path.moved(challenge.address, datagram_max);
        }
        if let Some(rtt) = challenge.rtt(now) {
            path.rtt.sample(now, rtt, Duration::ZERO);
        }
        if moved || path.state == PathState::Unproven {
            let id = path.id;
            path.restart(now);
            if !was_live {
                self.events.push_back(Event::PathUp(id));
            }
        }
    }

    /// An authentic datagram of `bytes` came from `from` on path `i`; `highest`: its number is the highest so far.
    pub(super) fn heard_from(&mut self, now: Time, i: usize, from: Address, bytes: u64, highest: bool) {
        let path = &mut self.paths[i];
        let rtt = path.rtt.smoothed();
        let known = !path.address.differs(&from);
        if let Some(challenge) = path.challenge.as_mut().filter(|c| !c.address.differs(&from)) {
            challenge.heard(bytes);
            if highest && !known {
                challenge.ask_again(now, rtt);
            }
            return;
        }
        if !highest || known || path.challenge.is_some_and(|c| c.is_fresh(now, rtt)) {
            return;
        }
        match (path.state, self.side) {
            // Nothing was proven of the address before: the new one takes its place.
            (PathState::Unproven, Side::Acceptor) => {
                path.address = from;
                self.challenge_stranger(now, i, from, bytes);
            }
            (PathState::Unproven, Side::Opener) => {}
            _ => self.challenge_stranger(now, i, from, bytes),
        }
    }

    pub(super) fn challenge_due(&self, now: Time, i: usize) -> bool {
        self.paths[i].challenge.is_some_and(|c| c.is_due(now))
    }

    /// Whether anything may be said to the address of path `i`, if there is something.
    pub(super) fn may_speak(&self, i: usize) -> bool {
        let path = &self.paths[i];
        path.state != PathState::Unproven
            || self.side == Side::Opener
            || path.challenge.is_some_and(|c| c.room() >= limits::DATAGRAM_MIN as u64)
    }

    /// Where the next control packet of path `i` goes.
    pub(super) fn route(&self, i: usize, challenge_due: bool) -> Route {
        let path = &self.paths[i];
        let to = match (&path.challenge, &path.response) {
            (Some(challenge), _) if challenge_due => challenge.address,
            (_, Some((_, from))) => *from,
            _ => path.address,
        };
        let elsewhere = path.address.differs(&to);
        let proves = challenge_due || path.response.is_some();
        let mtu = usize::from(path.mtu_now());
        if !elsewhere && (path.state != PathState::Unproven || self.side == Side::Opener) {
            return Route { address: to, padded: proves, most: mtu, elsewhere };
        }
        let asked = path.challenge.filter(|c| !c.address.differs(&to));
        // An answer is no longer than the challenge was.
        let earned = asked.map_or(limits::PATH_FRAMES_DATAGRAM as u64, |c| c.room());
        let most = usize::try_from(earned).unwrap_or(mtu).min(mtu);
        Route { address: to, padded: proves && most >= limits::DATAGRAM_MIN, most, elsewhere }
    }

    /// A control packet of `bytes` left for `to`.
    pub(super) fn spoke_to(&mut self, i: usize, to: Address, bytes: u64) {
        if let Some(challenge) = self.paths[i].challenge.as_mut().filter(|c| !c.address.differs(&to)) {
            challenge.spent(bytes);
        }
    }

    /// A path whose challenges were never answered is forgotten, and the peer is told; one that only seemed to have moved stays.
    pub(super) fn give_up_challenges(&mut self, now: Time) {
        let Connection { paths, events, abandoned, .. } = self;
        paths.retain_mut(|path| {
            let Some(challenge) = &mut path.challenge else { return true };
            challenge.pass(now);
            if !challenge.is_unanswered(now) {
                return true;
            }
            path.challenge = None;
            if path.state == PathState::Unproven {
                events.push_back(Event::PathDown(path.id));
                abandoned.push(path.id);
            }
            path.state != PathState::Unproven
        });
    }
}
