//! A challenge that one end sends to an address that proved nothing yet: when it goes again, when it is given up, and how many
//! bytes may go to that address meanwhile (PROTOCOL.md#paths).
//!
//! Bytes from and to the address in; permission out. Absent on purpose: frames and packets.

use crate::limits;
use crate::path::Address;
use crate::time::Time;
use core::time::Duration;

/// What an address that was not chosen by this end has earned.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    received: u64,
    sent: u64,
}

/// A challenge that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Challenge {
    pub(crate) token: [u8; 8],
    /// The address to prove.
    pub(crate) address: Address,
    /// `None`: this end chose the address itself, and may send what it likes.
    budget: Option<Budget>,
    first_sent: Option<Time>,
    last_sent: Option<Time>,
    sends: u32,
    /// Sends since the peer was heard from there last.
    tries: u32,
    resend_at: Time,
}

impl Challenge {
    /// A challenge to an address that this end chose.
    pub(crate) fn chosen(now: Time, token: [u8; 8], address: Address) -> Self {
        Challenge {
            token,
            address,
            budget: None,
            first_sent: None,
            last_sent: None,
            sends: 0,
            tries: 0,
            resend_at: now,
        }
    }

    /// A challenge to an address that a packet came from.
    pub(crate) fn to_stranger(now: Time, token: [u8; 8], address: Address) -> Self {
        Challenge { budget: Some(Budget::default()), ..Self::chosen(now, token, address) }
    }

    /// An authentic datagram of `bytes` came from the address.
    pub(crate) fn heard(&mut self, bytes: u64) {
        if let Some(budget) = &mut self.budget {
            budget.received = budget.received.saturating_add(bytes);
        }
    }

    /// Bytes of datagrams that may go to the address now.
    pub(crate) fn room(&self) -> u64 {
        self.budget
            .map_or(u64::MAX, |b| b.received.saturating_mul(limits::UNPROVEN_FACTOR).saturating_sub(b.sent))
    }

    /// A datagram of `bytes` went to the address.
    pub(crate) fn spent(&mut self, bytes: u64) {
        if let Some(budget) = &mut self.budget {
            budget.sent += bytes;
        }
    }

    /// Whether it should go now.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.resend_at <= now && self.tries < limits::CHALLENGES_MAX && self.has_room()
    }

    /// It goes now.
    pub(crate) fn on_sent(&mut self, now: Time) {
        self.first_sent.get_or_insert(now);
        self.last_sent = Some(now);
        self.sends += 1;
        self.back_off(now);
    }

    /// The peer was heard from the address again: it is asked again, at most once a round trip.
    pub(crate) fn ask_again(&mut self, now: Time, rtt: Duration) {
        if self.last_sent.is_some_and(|last| now.since(last) >= rtt) {
            (self.tries, self.resend_at) = (0, now);
        }
    }

    /// Lets a turn pass for which there was no room.
    pub(crate) fn pass(&mut self, now: Time) {
        if self.resend_at <= now && self.tries < limits::CHALLENGES_MAX && !self.has_room() {
            self.back_off(now);
        }
    }

    /// When it should go again, or is given up.
    pub(crate) const fn timer(&self) -> Time {
        self.resend_at
    }

    /// Whether it waits for its first answer: no other address is challenged for the path meanwhile, so that one who sends from many gets
    /// one challenge a round trip.
    pub(crate) fn is_fresh(&self, now: Time, rtt: Duration) -> bool {
        self.first_sent.is_none_or(|sent| now.since(sent) < rtt)
    }

    /// Whether it went often enough.
    pub(crate) fn is_unanswered(&self, now: Time) -> bool {
        self.tries >= limits::CHALLENGES_MAX && now >= self.resend_at
    }

    /// The round trip that an answer at `now` shows; `None` when nobody knows which send it answers.
    pub(crate) fn rtt(&self, now: Time) -> Option<Duration> {
        self.first_sent.filter(|_| self.sends == 1).map(|sent| now.since(sent))
    }

    fn has_room(&self) -> bool {
        self.room() >= limits::PATH_FRAMES_DATAGRAM as u64
    }

    fn back_off(&mut self, now: Time) {
        self.resend_at = now + limits::CHALLENGE_RESEND * (1 << self.tries.min(limits::CHALLENGES_MAX));
        self.tries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    fn stranger() -> Challenge {
        let address = Address { remote: SocketAddr::from(([10, 0, 0, 1], 9)), local: None };
        Challenge::to_stranger(at(0), [7; 8], address)
    }

    #[test]
    fn a_stranger_gets_three_times_what_it_sent() {
        let mut challenge = stranger();
        assert!(challenge.room() == 0 && !challenge.is_due(at(0)));
        challenge.heard(400);
        assert_eq!(challenge.room(), 1_200);
        challenge.spent(1_200);
        assert_eq!(challenge.room(), 0);
        challenge.heard(1);
        assert_eq!(challenge.room(), 3);
        assert_eq!(Challenge::chosen(at(0), [7; 8], challenge.address).room(), u64::MAX);
    }

    #[test]
    fn it_goes_again_later_each_time_and_ends() {
        let mut challenge = stranger();
        challenge.heard(1_000_000);
        let mut sent = 0;
        while !challenge.is_unanswered(challenge.timer()) {
            let now = challenge.timer();
            assert!(challenge.is_due(now));
            challenge.on_sent(now);
            sent += 1;
        }
        assert_eq!((sent, challenge.timer()), (limits::CHALLENGES_MAX, at(250 * 63)));
    }

    #[test]
    fn it_ends_without_room_too() {
        let mut challenge = stranger();
        (0..limits::CHALLENGES_MAX).for_each(|_| challenge.pass(challenge.timer()));
        assert!(challenge.is_unanswered(challenge.timer()));
    }

    #[test]
    fn being_heard_again_asks_again_after_a_round_trip() {
        let mut challenge = stranger();
        challenge.heard(5_000);
        challenge.on_sent(at(0));
        assert_eq!(challenge.rtt(at(40)), Some(Duration::from_millis(40)));
        let rtt = Duration::from_millis(50);
        challenge.ask_again(at(49), rtt);
        assert!(!challenge.is_due(at(49)));
        challenge.ask_again(at(50), rtt);
        assert!(challenge.is_due(at(50)));
        challenge.on_sent(at(50));
        assert_eq!(challenge.rtt(at(90)), None);
    }
}
