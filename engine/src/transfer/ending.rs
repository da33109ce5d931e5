//! How a driver's part ends: what its REPLY carries, why its transfer ends early, the last event, the close.

use super::{Driver, Half, Stage, TRANSFER, role_side};
use crate::api::{Event, Outcome, Progress};
use crate::error::{Class, Error};
use crate::limits;
use crate::storage::StorageHandle;
use xfer_proto::time::Time;
use xfer_proto::wire::{CloseCode, Message};

/// The close of a connection whose peer is first to hear why.
pub(super) struct Farewell {
    code: CloseCode,
    text: String,
    /// By then it closes, heard or not.
    pub(super) until: Time,
}

/// A REPLY that is held until storage has answered.
#[derive(Clone, Copy)]
pub(super) struct HeldReply {
    pub(super) room: usize,
    /// By then it goes.
    pub(super) until: Time,
}

impl Driver {
    /// Whether an engine that shuts down may leave it: the application has its last event, and the peer was told all. What it sends after
    /// that is not answered any more; it knows, or finds out by silence.
    pub(crate) fn may_leave(&self) -> bool {
        let ended = matches!(self.stage, Stage::Ended) && self.events.is_empty();
        ended && self.farewell.is_none() && self.connection.may_leave()
    }

    /// What the REPLY carries of this end's control stream, once: when storage has answered all that it was asked, when no more fits, or when
    /// it was held long enough.
    pub(crate) fn take_reply(&mut self, now: Time) -> Option<Vec<u8>> {
        let HeldReply { room, until } = *self.reply.as_ref()?;
        let waits = match &self.half {
            _ if !matches!(self.stage, Stage::Running) => false,
            Half::Sending(s) => s.waits_for_storage(),
            Half::Receiving(r) => r.waits_for_storage(),
        };
        if waits && now < until && self.connection.stream_backlog() < room {
            return None;
        }
        self.reply = None;
        Some(self.connection.carry(room))
    }

    /// The engine shuts down.
    pub(crate) fn shut_down(&mut self, now: Time, key: u32, storage: &StorageHandle) {
        let error = Error::new(Class::Temporary, "the node is shutting down");
        self.abort(now, key, storage, Some(error), true);
        if let Some(farewell) = &mut self.farewell {
            farewell.until = now;
        }
        self.close_when_heard(now);
    }

    pub(super) fn closed(
        &mut self,
        now: Time,
        key: u32,
        storage: &StorageHandle,
        code: CloseCode,
        text: &str,
        by_peer: bool,
    ) {
        if !matches!(self.stage, Stage::Running) {
            return;
        }
        let completed = match &self.half {
            Half::Sending(s) => s.completed(),
            Half::Receiving(_) => None,
        };
        if code == CloseCode::Done && completed.is_some() {
            // What is still on its way to or from storage is waited for.
            return;
        }
        let class = match code {
            CloseCode::Idle | CloseCode::Shutdown | CloseCode::Internal => Class::Temporary,
            CloseCode::Cancelled => Class::Interrupted,
            CloseCode::Name => Class::Refused,
            _ => Class::Other,
        };
        let who = if by_peer { "the peer closed the connection" } else { "connection lost" };
        let error = Error::new(class, who).because(format!("{code:?}: {text}"));
        self.abort(now, key, storage, Some(error), false);
    }

    /// Ends the transfer early. `tell`: the peer does not know yet.
    pub(super) fn abort(
        &mut self,
        now: Time,
        key: u32,
        storage: &StorageHandle,
        error: Option<Error>,
        tell: bool,
    ) {
        if !matches!(self.stage, Stage::Running) {
            return;
        }
        if tell {
            let mut until = now;
            if self.started
                && let Some(error) = &error
            {
                let side = role_side(matches!(self.half, Half::Sending(_)));
                let error = error.to_wire(side);
                self.connection.send(&Message::Cancel { transfer: TRANSFER, error });
                until = now + limits::CANCEL_HEARD;
            }
            let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
            let temporary = error.as_ref().is_some_and(|e| e.class == Class::Temporary);
            let code = if temporary { CloseCode::Shutdown } else { CloseCode::Cancelled };
            self.farewell = Some(Farewell { code, text, until });
            self.close_when_heard(now);
        }
        self.stage = Stage::Aborting(error);
        match &mut self.half {
            // Its buffers stay: what is leased of them is sent until the connection closes.
            Half::Sending(_) => self.finish(),
            Half::Receiving(r) => r.abort(key, storage),
        }
    }

    /// Closes once the peer has the message that says why, or takes too long: a CLOSE has no room for the error itself, and its sender
    /// sends nothing else any more.
    pub(super) fn close_when_heard(&mut self, now: Time) {
        let heard = self.connection.stream_backlog() == 0;
        if let Some(farewell) = self.farewell.take_if(|farewell| heard || now >= farewell.until) {
            self.connection.close(now, farewell.code, &farewell.text);
        }
    }

    /// Closes when all is done. A receiver's last messages go with it: its result stands, whether or not they are heard.
    pub(super) fn part(&mut self, now: Time) {
        if !self.parting {
            return;
        }
        self.parting = match &self.half {
            Half::Sending(_) => {
                self.connection.close(now, CloseCode::Done, "");
                false
            }
            Half::Receiving(_) => !self.connection.part(now),
        };
    }

    /// Queues the last event.
    pub(super) fn finish(&mut self) {
        let error = match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Running => None,
            Stage::Aborting(error) => error,
            Stage::Ended => return,
        };
        self.end_window();
        let mut progress = Progress::default();
        self.report(&mut progress);
        progress.limited_by = self.limits().all;
        self.shared.conclude(progress.clone());
        let verified = self.config.digests && error.is_none();
        let outcome = Outcome {
            error,
            progress,
            verified,
            durability: self.durability,
            latency: self.latencies.report(),
        };
        self.events.push_back(Event::Finished(Box::new(outcome)));
    }
}
