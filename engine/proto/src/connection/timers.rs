//! What is due when: losses, probes, challenges, idleness, the end of a close.

use super::{Connection, Event, State};
use crate::crypto::Crypto;
use crate::limits;
use crate::path::PathState;
use crate::sent::Content;
use crate::time::Time;
use crate::wire::CloseCode;

impl<C: Crypto> Connection<C> {
    /// When [`Connection::handle_timeout`] or `poll_transmit` has something to do at the latest.
    pub fn next_timeout(&self) -> Time {
        if let Some(close) = self.close_timeout() {
            return close;
        }
        if matches!(self.state, State::Unconfirmed) {
            return self.last_heard + self.config.idle;
        }
        let mut next = self.last_heard + self.config.idle;
        for i in 0..self.paths.len() {
            next = next.min(self.path_timeout(i));
        }
        next
    }

    fn path_timeout(&self, i: usize) -> Time {
        let path = &self.paths[i];
        let ack = path.received.due(path.rtt.smoothed()).filter(|_| self.may_speak(i));
        let mut next = ack.unwrap_or(Time::NEVER);
        let mut sooner = |time: Option<Time>| next = next.min(time.unwrap_or(Time::NEVER));
        sooner(path.challenge.map(|c| c.timer()));
        match path.state {
            PathState::Unproven => {}
            PathState::Suspect => sooner(Some(path.next_probe)),
            PathState::Live => {
                sooner(Some(path.last_eliciting + limits::KEEP_ALIVE));
                sooner(path.loss_timer);
                sooner(path.probe_timeout_at());
                if path.window_open() {
                    let release = path.pacer.next_release(self.last_sent);
                    sooner(path.mtu_timer().map(|at| at.max(release.unwrap_or_default())));
                    if self.has_content(i) || (self.carries_shared(i) && self.send_stream.has_something()) {
                        let capped = self.cap.as_ref().and_then(|cap| cap.next_release(self.last_sent));
                        sooner(release.max(capped));
                    }
                }
            }
        }
        next
    }

    /// Does what is due at `now`. Drain `poll_transmit` and `poll_event` afterwards.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.close_timed_out(now) {
            return;
        }
        if now.since(self.last_heard) >= self.config.idle {
            let text = "the peer was silent";
            self.events.push_back(Event::Closed { code: CloseCode::Idle, text: text.into(), by_peer: false });
            self.state = State::Over;
            return;
        }
        for i in 0..self.paths.len() {
            self.path_timed_out(now, i);
        }
        self.give_up_challenges(now);
    }

    fn path_timed_out(&mut self, now: Time, i: usize) {
        match self.paths[i].state {
            PathState::Unproven => {}
            PathState::Suspect => {
                let path = &mut self.paths[i];
                if now >= path.next_probe {
                    let fast = now.since(path.suspect_since) < limits::DEAD_PROBE_FAST_FOR;
                    let wait = if fast { limits::DEAD_PROBE_EVERY } else { limits::DEAD_PROBE_EVERY_LATER };
                    path.next_probe = now + wait;
                    path.ping_owed = true;
                }
            }
            PathState::Live => {
                if now.since(self.paths[i].last_eliciting) >= limits::KEEP_ALIVE {
                    self.paths[i].ping_owed = true;
                }
                if self.paths[i].loss_timer.is_some_and(|at| now >= at) {
                    self.detect_loss(now, i);
                }
                if self.paths[i].probe_timeout_at().is_some_and(|at| now >= at) {
                    self.probe_timeout(now, i);
                }
            }
        }
    }

    /// Nothing made progress for a probe timeout (RFC 9002 section 6.2): hand over, or probe with the oldest content.
    fn probe_timeout(&mut self, now: Time, i: usize) {
        if self.paths[i].sent.pending().all(|(train, _)| train.content == Content::MtuProbe) {
            // Nothing but a probe of the MTU is missing, which says nothing about the path; a small packet will.
            self.with_losses(now, i, |sent, visit| sent.forsake(visit));
            self.paths[i].ping_owed = true;
            return;
        }
        let path = &mut self.paths[i];
        path.counters.probe_timeouts += 1;
        path.probe_timeouts += 1;
        path.last_probe = now;
        if self.another_lives(i) {
            return self.suspect(now, i);
        }
        let path = &mut self.paths[i];
        path.ping_owed = true;
        if path.probe_timeouts >= limits::PROBE_TIMEOUTS_FORSAKE {
            let lost = self.with_losses(now, i, |sent, visit| sent.forsake(visit));
            let path = &mut self.paths[i];
            path.loss_timer = None;
            return path.on_outage(now, lost.bytes);
        }
        let Some((train, pending)) = path.sent.oldest_pending() else { return };
        match train.content {
            Content::Data(data) => {
                let first = pending & pending.wrapping_neg();
                let lease = path.leases.iter_mut().find(|l| l.is_of(&data));
                if let Some(lease) = lease {
                    train.data_runs(data, first).for_each(|run| lease.lose(run));
                }
            }
            Content::Control(control, _) => {
                if let Some(piece) = control.stream {
                    self.send_stream.on_lost(piece);
                }
            }
            Content::MtuProbe | Content::Skipped => {}
        }
    }
}
