//! One connection and the transfer on it: turns protocol events into jobs for storage, and storage's answers into messages,
//! grants and offers. Runs on the worker, so nothing here may wait.

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod buffers;
mod ending;
mod latency;
mod outcome;
mod receive;
mod report;
mod send;
mod shards;
mod stored;
mod table;
mod verdict;

use crate::api::{Event, PathPair, Role, Stage as Limit, TransferConfig};
use crate::crypto::AwsCrypto;
use crate::error::{Class, Error};
use crate::limits;
use crate::report::Shared;
use crate::source::ChunkPlan;
use crate::storage::{Answer, StorageHandle};
use crate::worker::Occupation;
use ending::{Farewell, HeldReply};
use latency::Latencies;
use outcome::{Totals, failed, file_ended};
use receive::Receiving;
use send::Sending;
use shards::Shards;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use verdict::{Account, Limits};
use xfer_io::borrows::Slot;
use xfer_io::clock::monotonic_ns;
use xfer_io::pool::ChunkPool;
use xfer_proto::connection::{Connection, Dropped, Event as ProtoEvent, Received, Transmit};
use xfer_proto::path::Address;
use xfer_proto::space::{Piece, Space};
use xfer_proto::time::Time;
use xfer_proto::wire::{Accept, Durability, Message, PathId, TransferId};

pub(crate) use buffers::Buffers;
pub(crate) use outcome::role_side;
pub(crate) use send::tell_listing;
pub(crate) use stored::Stored;

/// The one transfer of a connection.
pub(crate) const TRANSFER: TransferId = TransferId(1);

/// What every part of a driver works with during one call.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) key: u32,
    pub(crate) storage: &'a StorageHandle,
    pub(crate) connection: &'a mut Connection<AwsCrypto>,
    pub(crate) totals: &'a mut Totals,
    pub(crate) events: &'a mut VecDeque<Event>,
    pub(crate) pool: &'a ChunkPool,
}

enum Half {
    Sending(Box<Sending>),
    Receiving(Box<Receiving>),
}

/// How far the transfer is.
enum Stage {
    Running,
    /// Storage has been asked to let go; the last event follows its answer.
    Aborting(Option<Error>),
    /// The last event is queued.
    Ended,
}

/// What a driver is made of.
pub(crate) struct DriverStart {
    pub(crate) connection: Connection<AwsCrypto>,
    pub(crate) role: Role,
    pub(crate) config: TransferConfig,
    pub(crate) shared: Arc<Shared>,
    pub(crate) opener: bool,
    pub(crate) slot: Slot,
    pub(crate) pool: ChunkPool,
    /// Pairs of the opener, the handshake's first.
    pub(crate) pairs: Vec<PathPair>,
    /// Pairs for when one of them dies.
    pub(crate) standby: Vec<PathPair>,
    /// Of the acceptor, whose REPLY is still to be sent: bytes of control stream that fit it.
    pub(crate) reply_room: Option<usize>,
    /// The first listing was asked for already; whether the HELLO carried what came of it.
    pub(crate) listing: Option<bool>,
}

/// A connection with its transfer.
pub(crate) struct Driver {
    connection: Connection<AwsCrypto>,
    half: Half,
    config: TransferConfig,
    shared: Arc<Shared>,
    /// Other workers that carry paths of the connection, if the engine has others.
    shards: Option<Shards>,
    opener: bool,
    started: bool,
    /// The application knows that the peer is there.
    connected: bool,
    stage: Stage,
    reply: Option<HeldReply>,
    farewell: Option<Farewell>,
    /// Nothing is left to do but to close.
    parting: bool,
    totals: Totals,
    events: VecDeque<Event>,
    pool: ChunkPool,
    pairs: Vec<PathPair>,
    /// Paths that this end opened: one that was never proved is not reported any more when it is given up.
    opened: Vec<(PathId, PathPair)>,
    /// Pairs that were not used yet.
    standby: VecDeque<PathPair>,
    published: Time,
    account: Account,
    /// What the peer sees holding the transfer up, and what it was told that this end sees.
    peer: Limits,
    told: Limits,
    latencies: Latencies,
    /// How the worker was occupied so far.
    occupation: Occupation,
    /// Content bytes that were acknowledged when totals were published last.
    delivered: u64,
    durability: Option<Durability>,
}

impl Driver {
    pub(crate) fn new(now: Time, start: DriverStart) -> Self {
        let account = Account::new(now, matches!(start.role, Role::Send(_)));
        let half = match start.role {
            Role::Send(source) => {
                let mut sending = Sending::new(source, start.slot);
                start.listing.into_iter().for_each(|told| sending.listing_ahead(told));
                Half::Sending(Box::new(sending))
            }
            Role::Receive(sink) => Half::Receiving(Box::new(Receiving::new(sink, start.slot, now))),
        };
        let mut driver = Driver {
            connection: start.connection,
            half,
            totals: Totals::new(),
            config: start.config,
            shared: start.shared,
            shards: None,
            opener: start.opener,
            started: false,
            connected: false,
            stage: Stage::Running,
            reply: start.reply_room.map(|room| HeldReply { room, until: now + limits::REPLY_HOLD }),
            farewell: None,
            parting: false,
            events: VecDeque::new(),
            pool: start.pool,
            pairs: start.pairs,
            opened: Vec::new(),
            standby: start.standby.into(),
            published: now,
            account,
            peer: Limits::default(),
            told: Limits::default(),
            latencies: Latencies::new(),
            occupation: Occupation::default(),
            delivered: 0,
            durability: None,
        };
        if driver.opener {
            driver.start_half();
        }
        driver
    }

    /// Puts the driver on another worker's place in the borrow tables.
    pub(crate) fn set_slot(&mut self, slot: Slot) {
        match &mut self.half {
            Half::Sending(sending) => sending.buffers.set_slot(slot),
            Half::Receiving(receiving) => receiving.buffers.set_slot(slot),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn local_id(&self) -> u32 {
        self.connection.local_id().0
    }

    pub(crate) fn is_established(&self) -> bool {
        self.connection.is_established()
    }

    /// Whether the driver may be forgotten: the connection is over and the application has its last event.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.is_over() && matches!(self.stage, Stage::Ended) && self.events.is_empty()
    }

    /// When [`Driver::pump`] has something to do at the latest.
    pub(crate) fn next_timeout(&self) -> Time {
        let mut next = self.connection.next_timeout();
        if matches!(self.stage, Stage::Running) && self.started {
            next = next.min(self.published + limits::REPORT_EVERY * 2);
        }
        if !self.events.is_empty() {
            next = next.min(self.published + limits::REPORT_EVERY);
        }
        if let Some(farewell) = &self.farewell {
            next = next.min(farewell.until);
        }
        if let Some(reply) = &self.reply {
            next = next.min(reply.until);
        }
        next
    }

    /// Writes the local addresses of its paths into `locals`, each once, first that of the path that sent least.
    pub(crate) fn locals(&self, locals: &mut Vec<IpAddr>) {
        locals.clear();
        loop {
            let others = self.connection.path_reports().filter_map(|p| Some((p.address.local?, p.counters)));
            let next = others
                .filter(|(local, _)| !locals.contains(local))
                .min_by_key(|(_, counters)| counters.bytes_sent);
            let Some((local, _)) = next else { break };
            locals.push(local);
        }
    }

    /// Takes one datagram.
    pub(crate) fn receive(&mut self, arrival: &Received<'_>) -> Result<(), Dropped> {
        let taken = match &mut self.half {
            Half::Receiving(r) => self.connection.receive(arrival, &mut r.buffers),
            Half::Sending(s) => self.connection.receive(arrival, &mut s.buffers),
        };
        if let Some(rtt) = self.connection.take_rtt_sample() {
            self.latencies.answered(rtt);
        }
        taken
    }

    /// Takes at once what it can from the front of a train, see [`Connection::receive_train`].
    pub(crate) fn receive_train(&mut self, train: &Received<'_>, segment: usize) -> usize {
        match &mut self.half {
            Half::Receiving(r) => self.connection.receive_train(train, segment, &mut r.buffers),
            Half::Sending(_) => 0,
        }
    }

    /// Writes the next packet or train of the paths with local address `local` into `frame`.
    pub(crate) fn transmit(
        &mut self,
        now: Time,
        local: Option<IpAddr>,
        frame: &mut [u8],
    ) -> Option<Transmit> {
        let train = match &self.half {
            Half::Sending(s) => self.connection.poll_transmit(now, local, frame, &s.buffers),
            Half::Receiving(r) => self.connection.poll_transmit(now, local, frame, &r.buffers),
        };
        if let Some(due) = self.connection.take_ack_due() {
            // The turn may have begun long before.
            self.latencies.ack_sent(Time::from_nanos(monotonic_ns()).since(due));
        }
        train
    }

    /// Takes storage's answer to a job.
    pub(crate) fn answer(&mut self, now: Time, key: u32, storage: &StorageHandle, answer: Answer) {
        match answer {
            Answer::Aborted => self.finish(),
            Answer::Panicked(text) => {
                let error = Error::new(Class::Other, "a source or sink panicked").because(text);
                self.abort(now, key, storage, Some(error), true);
            }
            answer => {
                let ended = self.with_half(now, key, storage, |half, cx| match half {
                    Half::Sending(s) => s.answer(cx, answer),
                    Half::Receiving(r) => r.answer(cx, answer),
                });
                if let Err(error) = ended {
                    self.abort(now, key, storage, Some(error), true);
                }
            }
        }
    }

    /// Does all that is due: timers, events, cancelling, new jobs, reports.
    pub(crate) fn pump(&mut self, now: Time, key: u32, storage: &StorageHandle) {
        self.shared.take_nudge();
        self.take_news(now, key, storage);
        if now >= self.connection.next_timeout() {
            self.connection.handle_timeout(now);
        }
        if let Some(error) = self.shared.take_cancel() {
            self.abort(now, key, storage, Some(error), true);
        }
        while self.takes_events()
            && let Some(event) = self.connection.poll_event()
        {
            self.protocol_event(now, key, storage, event);
        }
        if self.started && matches!(self.stage, Stage::Running) && self.events.len() < limits::BACKLOG_MAX {
            let done = self.with_half(now, key, storage, |half, cx| match half {
                Half::Sending(s) => s.pump(cx),
                Half::Receiving(r) => r.pump(cx),
            });
            match done {
                Ok(None) => {}
                Ok(Some(durability)) => {
                    self.durability = Some(durability);
                    self.parting = true;
                    self.finish();
                }
                Err(error) => self.abort(now, key, storage, Some(error), true),
            }
        }
        self.part(now);
        self.close_when_heard(now);
        self.tell_shards();
        self.shared.deliver(&mut self.events);
    }

    /// Whether what the peer says is listened to: not while the application, or storage, is behind with what it said. Its messages wait in the
    /// control stream then, which has no more credit than it holds.
    fn takes_events(&self) -> bool {
        let behind = match &self.half {
            Half::Sending(_) => false,
            Half::Receiving(r) => r.is_behind(),
        };
        !matches!(self.stage, Stage::Running) || !behind && self.events.len() < limits::BACKLOG_MAX
    }

    /// Ends a turn in which all was sent that could be: notes what the transfer waits for, and publishes totals when that is due.
    /// `occupation` is the worker's so far.
    pub(crate) fn rest(&mut self, now: Time, occupation: Occupation) {
        self.occupation = occupation;
        if let Half::Receiving(receiving) = &mut self.half {
            receiving.buffers.release();
        }
        self.wake_shards();
        let stage = match &self.half {
            _ if !self.started || !matches!(self.stage, Stage::Running) => Limit::None,
            Half::Sending(s) => s.waits_for(now, &self.connection),
            Half::Receiving(r) => r.waits_for(),
        };
        if stage == Limit::SenderCpu {
            self.connection.note_late(now);
        }
        self.account.note(now, stage);
        if self.is_report_due(now) {
            self.publish(now);
        }
    }

    /// Whether totals are to be published.
    pub(crate) fn is_report_due(&self, now: Time) -> bool {
        now.since(self.published) >= limits::REPORT_EVERY && !matches!(self.stage, Stage::Ended)
    }

    /// A local interface lost or got its carrier.
    pub(crate) fn link_changed(&mut self, now: Time, addresses: &[IpAddr], up: bool) {
        let affected: Vec<PathId> = self
            .connection
            .path_reports()
            .filter(|p| p.address.local.is_some_and(|local| addresses.contains(&local)))
            .map(|p| p.id)
            .collect();
        for id in affected {
            if up {
                self.connection.path_restored(now, id);
            } else {
                self.connection.path_failed(now, id);
            }
        }
    }

    /// A datagram of `size` bytes to `remote` did not fit the wire.
    pub(crate) fn too_big(&mut self, now: Time, remote: std::net::SocketAddr, size: usize) {
        let affected: Vec<PathId> =
            self.connection.path_reports().filter(|p| p.address.remote == remote).map(|p| p.id).collect();
        let below = u16::try_from(size).unwrap_or(u16::MAX).saturating_sub(1);
        for id in affected {
            self.connection.datagram_too_big(now, id, Some(below));
        }
    }

    fn protocol_event(&mut self, now: Time, key: u32, storage: &StorageHandle, event: ProtoEvent) {
        match event {
            ProtoEvent::Established => self.established(now),
            ProtoEvent::PathUp(id) => {
                if let Some(pair) = self.pair(id) {
                    self.events.push_back(Event::PathUp(pair));
                }
            }
            ProtoEvent::PathDown(id) => {
                if let Some(pair) = self.pair(id) {
                    self.events.push_back(Event::PathDown(pair, "it does not answer".into()));
                }
                self.open_standby(now);
            }
            ProtoEvent::Closed { code, text, by_peer } => {
                self.closed(now, key, storage, code, &text, by_peer)
            }
            ProtoEvent::Message(Message::Cancel { error, .. }) => {
                self.abort(now, key, storage, Some(Error::from_wire(&error)), false);
            }
            ProtoEvent::Message(Message::Open(open)) => self.opened(now, key, storage, &open),
            ProtoEvent::Message(Message::Limit { now, all, .. }) => self.peer = Limits::told(now, all),
            event if !matches!(self.stage, Stage::Running) => drop(event),
            event => {
                let taken = self.with_half(now, key, storage, |half, cx| match half {
                    Half::Sending(s) => s.event(cx, event),
                    Half::Receiving(r) => r.event(cx, event),
                });
                if let Err(error) = taken {
                    self.abort(now, key, storage, Some(error), true);
                }
            }
        }
    }

    /// Tells the application, once, that there is a peer.
    fn connected(&mut self) {
        if !std::mem::replace(&mut self.connected, true) {
            self.events.push_back(Event::Connected);
        }
    }

    fn established(&mut self, now: Time) {
        if matches!(self.stage, Stage::Ended) {
            return;
        }
        self.connected();
        if let Some(pair) = self.pair(PathId(0)) {
            self.events.push_back(Event::PathUp(pair));
        }
        if self.opener {
            for pair in std::mem::take(&mut self.pairs).into_iter().skip(1) {
                self.open(now, pair);
            }
        }
    }

    /// Opens a path; false when there are too many.
    fn open(&mut self, now: Time, pair: PathPair) -> bool {
        let address = Address { remote: pair.remote, local: Some(pair.local) };
        match self.connection.open_path(now, address) {
            Some(id) => self.opened.push((id, pair)),
            None => self.events.push_back(Event::PathDown(pair, "there are too many paths".into())),
        }
        self.opened.last().is_some_and(|(_, last)| *last == pair)
    }

    /// A path died: the next pair on standby takes its place.
    fn open_standby(&mut self, now: Time) {
        while matches!(self.stage, Stage::Running)
            && let Some(pair) = self.standby.pop_front()
        {
            if self.open(now, pair) {
                return;
            }
        }
    }

    fn opened(&mut self, now: Time, key: u32, storage: &StorageHandle, open: &xfer_proto::wire::Open) {
        let we_send = matches!(self.half, Half::Sending(_));
        let they_send = open.role == xfer_proto::wire::Role::Sender;
        if self.opener || self.started || open.transfer != TRANSFER || we_send == they_send {
            let error =
                Error::new(Class::Refused, "the peer opened a transfer that its ticket does not permit");
            return self.abort(now, key, storage, Some(error), true);
        }
        if open.digests != self.config.digests {
            let error = Error::new(Class::Refused, "the peer's digest setting is not the ticket's");
            return self.abort(now, key, storage, Some(error), true);
        }
        if 1 << open.chunk_log2 != self.pool.chunk_bytes() {
            let error = Error::new(Class::Refused, "the peer's chunk size is not the ticket's");
            return self.abort(now, key, storage, Some(error), true);
        }
        // A HELLO that opens is acted on before its peer is heard again.
        self.connected();
        self.start_half();
        let limit = if we_send { 0 } else { limits::GRANTS_INITIAL.min(self.pool.chunks()) as u32 };
        self.connection.send(&Message::Accept(Accept { transfer: TRANSFER, limit }));
    }

    fn start_half(&mut self) {
        self.started = true;
        let (chunk_log2, chunks) = (self.pool.chunk_bytes().trailing_zeros() as u8, self.pool.chunks());
        match &mut self.half {
            Half::Sending(s) => {
                self.connection.start_sending(TRANSFER, chunk_log2);
                if let Some(outgoing) = self.connection.outgoing(TRANSFER) {
                    outgoing.reserve(chunks);
                }
                s.start(chunk_log2, chunks);
            }
            Half::Receiving(r) => {
                self.connection.start_receiving(TRANSFER, chunk_log2);
                if let Some(incoming) = self.connection.incoming(TRANSFER) {
                    incoming.reserve(chunks);
                }
                (0..chunks).for_each(|_| self.connection.recycle(Vec::with_capacity(1)));
                r.start(chunk_log2, chunks);
            }
        }
    }

    fn with_half<R>(
        &mut self,
        now: Time,
        key: u32,
        storage: &StorageHandle,
        act: impl FnOnce(&mut Half, &mut Context<'_>) -> R,
    ) -> R {
        let Driver { connection, half, totals, events, pool, .. } = self;
        act(half, &mut Context { now, key, storage, connection, totals, events, pool })
    }

    fn pair(&self, id: PathId) -> Option<PathPair> {
        let now = self.connection.path_reports().find(|p| p.id == id).and_then(|p| pair_of(&p.address));
        now.or_else(|| self.opened.iter().find(|(opened, _)| *opened == id).map(|(_, pair)| *pair))
    }
}

/// What chunk `chunk` holds; the list of its pieces is one of the spare ones, if there is any.
fn plan(space: &Space, chunk: u32, spare: &mut Vec<Vec<Piece>>) -> ChunkPlan {
    let mut pieces = spare.pop().unwrap_or_default();
    pieces.clear();
    pieces.extend(space.pieces(chunk));
    ChunkPlan { chunk, plain_len: space.plain_len(chunk), pieces }
}

fn pair_of(address: &Address) -> Option<PathPair> {
    Some(PathPair { local: address.local?, remote: address.remote })
}
