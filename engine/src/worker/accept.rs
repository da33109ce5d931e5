//! Connections that are offered: tickets that wait, HELLOs, half-open handshakes.

use super::{CRYPTO, Handshake, Mail, Mailbox, Worker, connection_id, random};
use crate::api::{Event, Latency, Outcome, Role, TransferConfig};
use crate::error::{Class, Error};
use crate::limits;
use crate::report::Shared;
use crate::transfer::{Driver, DriverStart};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use xfer_io::pool::ChunkPool;
use xfer_proto::connection::{Connection, Established, Side};
use xfer_proto::crypto::{Ticket, TicketId};
use xfer_proto::handshake::{Acceptor, Fresh, HalfOpen, HelloOutcome, Payload};
use xfer_proto::path::Address;
use xfer_proto::stream::SendStream;
use xfer_proto::time::Time;

/// A ticket with what shall happen on its connection.
pub(crate) struct Admitted {
    pub(crate) ticket: Ticket,
    pub(crate) lifetime: Duration,
    pub(crate) role: Role,
    pub(crate) config: TransferConfig,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: ChunkPool,
}

struct Waiting {
    admitted: Admitted,
    expires: Time,
}

/// A handshake that was answered, or will be as soon as its driver says what the REPLY carries.
struct Shaking {
    half_open: HalfOpen,
    /// What the REPLY tells of this end, its stream left out; `None` once it was sent.
    payload: Option<Payload>,
    queue: usize,
    remote: SocketAddr,
    local: Option<IpAddr>,
}

/// The accepting side of the engine; worker 0 has all of it, since HELLOs carry connection id 0.
pub(super) struct Accepting {
    acceptor: Acceptor,
    waiting: HashMap<TicketId, Waiting>,
    /// Half-open handshakes by the connection id that their packets will carry.
    half_open: HashMap<u32, Shaking>,
}

impl Accepting {
    pub(super) fn new() -> Self {
        Accepting {
            acceptor: Acceptor::new(limits::HALF_OPEN, random()),
            waiting: HashMap::new(),
            half_open: HashMap::new(),
        }
    }

    pub(super) fn admit(&mut self, now: Time, admitted: Admitted) {
        let expires = now + admitted.lifetime;
        match self.acceptor.admit(admitted.ticket.clone(), expires) {
            Ok(id) => {
                self.waiting.insert(id, Waiting { admitted, expires });
            }
            Err(why) => {
                refuse(&admitted, Error::new(Class::Temporary, "the ticket was not admitted").because(why))
            }
        }
    }

    /// When the next ticket's time is over; half-open handshakes are looked at once a second.
    pub(super) fn next_timeout(&self, now: Time) -> Time {
        let tickets = self.waiting.values().map(|w| w.expires).min().unwrap_or(Time::NEVER);
        if self.half_open.is_empty() { tickets } else { tickets.min(now + Duration::from_secs(1)) }
    }

    /// Ends tickets and handshakes whose time is over.
    pub(super) fn expire(&mut self, now: Time) {
        if self.waiting.is_empty() && self.half_open.is_empty() {
            return;
        }
        for dead in self.acceptor.expire(now) {
            self.half_open.retain(|_, shaking| shaking.half_open != dead);
        }
        let acceptor = &mut self.acceptor;
        self.waiting.retain(|id, waiting| {
            let over = now >= waiting.expires;
            if over {
                acceptor.revoke(*id);
                let text = "the peer did not connect before its ticket expired";
                refuse(&waiting.admitted, Error::new(Class::Temporary, text));
            }
            !over
        });
    }

    /// Ends tickets whose application wants no connection any more.
    pub(super) fn cancel(&mut self) {
        let acceptor = &mut self.acceptor;
        self.waiting.retain(|id, waiting| match waiting.admitted.shared.take_cancel() {
            Some(error) => {
                acceptor.revoke(*id);
                refuse(&waiting.admitted, error);
                false
            }
            None => true,
        });
    }

    /// A packet under the new keys arrived for connection `id`, on whatever worker: tells the acceptor, which is worker 0's.
    #[expect(clippy::indexing_slicing, reason = "there is always worker 0")]
    pub(super) fn established(&mut self, id: u32, peers: &[Mailbox]) {
        if let Some(shaking) = self.half_open.remove(&id) {
            self.acceptor.established(shaking.half_open);
        } else {
            peers[0].send(Mail::Confirmed(id));
        }
    }

    /// Another worker heard of connection `id`.
    pub(super) fn confirmed(&mut self, id: u32) {
        if let Some(shaking) = self.half_open.remove(&id) {
            self.acceptor.established(shaking.half_open);
        }
    }

    pub(super) fn shut_down(&mut self) {
        for (id, waiting) in self.waiting.drain() {
            self.acceptor.revoke(id);
            refuse(&waiting.admitted, Error::new(Class::Temporary, "the node is shutting down"));
        }
    }
}

fn refuse(admitted: &Admitted, error: Error) {
    let outcome = Outcome {
        error: Some(error),
        progress: admitted.shared.progress(),
        verified: false,
        durability: None,
        latency: Latency::default(),
    };
    admitted.shared.deliver(&mut VecDeque::from([Event::Finished(Box::new(outcome))]));
}

impl Worker {
    pub(super) fn take_hello(&mut self, now: Time, handshake: &Handshake) {
        let remote = handshake.meta.source;
        let local = handshake.meta.destination.or(self.sockets.local(handshake.queue));
        let outcome = self.accepting.acceptor.handle_hello(now, remote, &handshake.bytes, random());
        let answer = match outcome {
            HelloOutcome::Drop(why) => {
                tracing::trace!(?why, %remote, "dropped a HELLO");
                return;
            }
            HelloOutcome::Cookie(bytes) => bytes.to_vec(),
            HelloOutcome::Versions(bytes) => bytes.to_vec(),
            HelloOutcome::Repeat(bytes) => bytes.to_vec(),
            HelloOutcome::Fresh(fresh) => return self.accept(now, handshake, fresh),
        };
        self.send_handshake(handshake.queue, remote, local, &answer);
    }

    /// Makes a connection of a fresh handshake, which acts on what the HELLO carried; its driver says when the REPLY goes.
    fn accept(&mut self, now: Time, handshake: &Handshake, fresh: Fresh) {
        let Some(Waiting { admitted, .. }) = self.accepting.waiting.remove(&fresh.ticket) else {
            self.accepting.acceptor.refuse(fresh.half_open);
            return;
        };
        let worker = self.choose_worker(handshake.meta.source);
        let local_id = connection_id(worker);
        let local = handshake.meta.destination.or(self.sockets.local(handshake.queue));
        let payload = Payload {
            connection: local_id,
            datagram_max: limits::DATAGRAM_MAX,
            receive_buffer: self.sockets.receive_buffer(handshake.queue),
            stream_credit: xfer_proto::limits::STREAM_WINDOW as u32,
            stream: Vec::new(),
        };
        let shaking = Shaking {
            half_open: fresh.half_open,
            payload: Some(payload),
            queue: handshake.queue,
            remote: handshake.meta.source,
            local,
        };
        self.accepting.half_open.insert(local_id.0, shaking);
        let settings = admitted.config.connection(&fresh.payload);
        let established = Established {
            side: Side::Acceptor,
            secrets: fresh.secrets,
            suite: fresh.suite,
            local_id,
            remote_id: fresh.payload.connection,
            address: Address { remote: handshake.meta.source, local },
            rtt: None,
            stream: SendStream::new(u64::from(fresh.payload.stream_credit)),
            carried: None,
            peer_stream: fresh.payload.stream,
            seed: random(),
        };
        let connection = Connection::new(now, CRYPTO, settings, established);
        let driver = Driver::new(
            now,
            DriverStart {
                connection,
                role: admitted.role,
                config: admitted.config,
                shared: admitted.shared,
                opener: false,
                slot: self.slot,
                pool: admitted.pool,
                pairs: Vec::new(),
                standby: Vec::new(),
                reply_room: Some(fresh.reply_stream_room),
                listing: None,
            },
        );
        self.place(now, worker, driver);
    }

    /// Sends the REPLY of connection `id` with `stream`, by the worker that has the handshake.
    #[expect(clippy::indexing_slicing, reason = "there is always worker 0")]
    pub(super) fn send_reply(&mut self, id: u32, stream: Vec<u8>) {
        if self.index != 0 {
            self.peers[0].send(Mail::Reply(id, stream));
            return;
        }
        let Accepting { acceptor, half_open, .. } = &mut self.accepting;
        let Some(shaking) = half_open.get_mut(&id) else { return };
        let Some(payload) = shaking.payload.take() else { return };
        match acceptor.reply(shaking.half_open, &Payload { stream, ..payload }) {
            Ok(reply) => self.sockets.send_single(shaking.queue, shaking.remote, shaking.local, reply),
            // Its time was over; the connection finds out by silence.
            Err(why) => tracing::debug!(%why, remote = %shaking.remote, "a handshake is not answered"),
        }
    }
}
