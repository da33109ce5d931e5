//! The worker: one pinned thread that owns queues and connections and runs their loop (stages 3 to 7).
//!
//! A turn takes mail, receives bursts, lets drivers do what is due and sends trains. It never waits for storage or for another
//! worker; it sleeps only when nothing is due.

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

mod accept;
mod admittance;
mod dial;
mod mail;
mod occupied;
mod random;
mod seat;
mod shard;
mod sockets;

use crate::api::Poll;
use crate::crypto::AwsCrypto;
use crate::datapath::{AnyQueue, Datapath};
use crate::limits;
use crate::queues::{QueueOptions, QueueReports};
use crate::report::Shared;
use crate::storage::{Answer, StorageHandle};
use crate::transfer::Driver;
use accept::Accepting;
use admittance::Admittance;
use dial::Dial;
use occupied::Occupied;
use sockets::Sockets;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use xfer_io::borrows::Slot;
use xfer_io::clock::monotonic_ns;
use xfer_io::queue::{Meta, Queue};
use xfer_io::route::{LinkChange, LinkWatch};
use xfer_io::wake::{Interest, Poller};
use xfer_proto::connection::Received;
use xfer_proto::path::Address;
use xfer_proto::time::Time;
use xfer_proto::wire::{Header, Kind};

pub(crate) use accept::Admitted;
pub(crate) use dial::DialStart;
pub(crate) use mail::{Foreign, Mail, Mailbox, Post, post};
pub(crate) use occupied::Occupation;
pub(crate) use random::{connection_id, random};
use seat::{Owner, Seat};
use shard::ShardSeat;
pub(crate) use shard::{News, Order, Rings, ShardStart, Stray};

/// Transfers that live on one worker, for the case that it dies.
pub(crate) type Registry = Arc<Mutex<Vec<Weak<Shared>>>>;

const WATCH_TOKEN: u64 = 1 << 32;

/// What a worker is made of.
pub(crate) struct WorkerStart {
    pub(crate) index: usize,
    pub(crate) queues: Vec<AnyQueue>,
    pub(crate) mail: Post,
    pub(crate) poller: Poller,
    pub(crate) storage: StorageHandle,
    pub(crate) poll: Poll,
    pub(crate) options: QueueOptions,
    pub(crate) datapath: Datapath,
    pub(crate) reports: QueueReports,
    pub(crate) peers: Arc<Vec<Mailbox>>,
    /// Workers that may carry paths of one connection.
    pub(crate) spread: usize,
    pub(crate) next_worker: Arc<AtomicUsize>,
    pub(crate) registry: Registry,
    pub(crate) counters: Arc<Counters>,
}

/// What a worker counts.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) trains: AtomicU64,
    pub(crate) datagrams: AtomicU64,
    pub(crate) handed_over: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

/// One worker.
pub(crate) struct Worker {
    index: usize,
    slot: Slot,
    sockets: Sockets,
    mail: Post,
    poller: Poller,
    watch: Option<LinkWatch>,
    storage: StorageHandle,
    poll: Poll,
    peers: Arc<Vec<Mailbox>>,
    spread: usize,
    next_worker: Arc<AtomicUsize>,
    registry: Registry,
    counters: Arc<Counters>,
    seats: BTreeMap<u32, Seat>,
    by_id: HashMap<u32, u32>,
    /// Parts of connections that live elsewhere, by the id in packets to them.
    shards: HashMap<u32, ShardSeat>,
    admitted: Admittance,
    next_key: u32,
    dials: Vec<Dial>,
    accepting: Accepting,
    shutting_down: bool,
    idle_since: Option<Time>,
    /// It slept since then.
    slept: bool,
    occupied: Occupied,
}

/// A datagram that is part of a handshake; rare, so it is copied out of its burst.
struct Handshake {
    meta: Meta,
    queue: usize,
    header: Header,
    bytes: Vec<u8>,
}

impl Worker {
    #[expect(clippy::expect_used, reason = "workers are counted before they are started")]
    pub(crate) fn new(start: WorkerStart) -> Result<Self, xfer_io::error::IoError> {
        let asked = (start.options, start.datapath.clone());
        let sockets = Sockets::new(start.index, start.queues, &start.poller, asked, start.reports)?;
        let watch = LinkWatch::open().ok();
        if let Some(watch) = &watch {
            start.poller.add(watch, WATCH_TOKEN, Interest::Read)?;
        }
        Ok(Worker {
            index: start.index,
            slot: Slot::new(start.index).expect("bounded by WORKERS_MAX"),
            sockets,
            mail: start.mail,
            poller: start.poller,
            watch,
            storage: start.storage,
            poll: start.poll,
            peers: start.peers,
            spread: start.spread,
            next_worker: start.next_worker,
            registry: start.registry,
            counters: start.counters,
            seats: BTreeMap::new(),
            by_id: HashMap::new(),
            shards: HashMap::new(),
            admitted: Admittance::new(start.index, start.datapath),
            next_key: 0,
            dials: Vec::new(),
            accepting: Accepting::new(),
            shutting_down: false,
            idle_since: None,
            slept: false,
            occupied: Occupied::new(),
        })
    }

    /// Runs until the engine shuts down and every transfer has ended.
    pub(crate) fn run(&mut self) -> Result<(), xfer_io::error::IoError> {
        self.occupied.begin();
        loop {
            let now = Time::from_nanos(monotonic_ns());
            let worked = self.turn(now)?;
            if worked {
                self.occupied.worked(Time::from_nanos(monotonic_ns()).since(now));
            }
            if self.shutting_down
                && self.seats.values().all(|s| s.driver.may_leave())
                && self.dials.is_empty()
            {
                return Ok(());
            }
            if worked {
                self.end_spinning(now);
                self.idle_since = None;
                self.slept = false;
            } else {
                self.rest(now)?;
            }
        }
    }

    fn turn(&mut self, now: Time) -> Result<bool, xfer_io::error::IoError> {
        let mut worked = self.take_mail(now);
        self.storage.flush();
        // What was received may have come after the turn began, if the processor was away meanwhile.
        let received = self.receive()?;
        worked |= received.is_some();
        let now = received.unwrap_or(now);
        worked |= self.dial_timeouts(now);
        self.accepting.expire(now);
        worked |= self.work_for_others()?;
        worked |= self.drive(now)?;
        self.retire();
        self.keep_admitted(now);
        Ok(worked)
    }

    /// Nothing is due: spin a little, then sleep until something is.
    fn rest(&mut self, now: Time) -> Result<(), xfer_io::error::IoError> {
        let idle_since = *self.idle_since.get_or_insert(now);
        let serves = !self.seats.is_empty() || !self.shards.is_empty();
        if serves && (self.poll == Poll::Busy || now.since(idle_since) < limits::SPIN) {
            std::hint::spin_loop();
            return Ok(());
        }
        let mut deadline = self.seats.values().map(|s| s.driver.next_timeout()).min().unwrap_or(Time::NEVER);
        deadline = self.dials.iter().map(Dial::next_timeout).min().unwrap_or(Time::NEVER).min(deadline);
        deadline = deadline.min(self.accepting.next_timeout(now));
        if self.sockets.has_queued() || self.storage.flush() {
            deadline = deadline.min(now + Duration::from_millis(1));
        }
        let deadline = (deadline != Time::NEVER).then(|| deadline.as_nanos());
        self.end_spinning(now);
        self.slept = true;
        let ready = self.poller.wait(deadline)?;
        if ready.iter().any(|r| r.token == WATCH_TOKEN) {
            self.links_changed();
        }
        Ok(())
    }

    /// Accounts for the time in which the worker looked for something to do, once.
    fn end_spinning(&mut self, now: Time) {
        if let Some(since) = self.idle_since.filter(|_| !self.slept) {
            self.occupied.spun(now.since(since));
        }
    }

    fn take_mail(&mut self, now: Time) -> bool {
        let mut worked = false;
        while let Some(mail) = self.mail.take() {
            worked = true;
            match mail {
                Mail::Answer(key, answer) => {
                    if let Some(seat) = self.seats.get_mut(&key) {
                        seat.driver.answer(now, key, &self.storage, answer);
                        seat.dirty = true;
                    } else {
                        self.dial_answer(now, key, answer);
                    }
                }
                Mail::Admit(admitted) => {
                    self.register(&admitted.shared);
                    self.accepting.admit(now, *admitted);
                }
                Mail::Dial(start) => {
                    self.register(&start.shared);
                    self.dial(now, *start);
                }
                Mail::Adopt(driver) => {
                    let key = self.next_key();
                    self.adopt(now, key, *driver, None);
                }
                Mail::Shard(start) => {
                    self.admitted.admit(start.id);
                    self.shards.insert(start.id, ShardSeat::new(*start, self.slot));
                }
                Mail::Queue(queue) => {
                    let local = queue.local_addr();
                    if let Err(error) = self.sockets.add(*queue, &self.poller) {
                        tracing::warn!(%error, %local, "a worker cannot use a queue");
                    }
                }
                Mail::Datagram(foreign) => self.take_foreign(now, *foreign),
                Mail::Confirmed(half_open) => self.accepting.confirmed(half_open),
                Mail::Reply(id, stream) => self.send_reply(id, stream),
                Mail::Wake => {
                    self.seats.values_mut().for_each(|s| s.dirty = true);
                    self.accepting.cancel();
                }
                Mail::ShutDown => self.shut_down(now),
            }
        }
        worked
    }

    /// What storage's answers to the next driver, or dial, will name.
    fn next_key(&mut self) -> u32 {
        self.next_key = self.next_key.wrapping_add(1);
        self.next_key
    }

    /// Takes a driver in, with the answer that storage gave before it was there.
    fn adopt(&mut self, now: Time, key: u32, mut driver: Driver, answer: Option<Answer>) {
        self.admitted.admit(driver.local_id());
        driver.set_slot(self.slot);
        driver.shared().set_home(self.index);
        driver.spread(self.index, &self.peers, self.spread);
        self.by_id.insert(driver.local_id(), key);
        self.register(driver.shared());
        if let Some(answer) = answer {
            driver.answer(now, key, &self.storage, answer);
        }
        // What the handshake carried comes first: packets of this burst may build on it.
        driver.pump(now, key, &self.storage);
        self.seats.insert(key, Seat { driver, dirty: true });
    }

    /// Remembers a transfer that ends when this worker does, once.
    fn register(&self, shared: &Arc<Shared>) {
        let mut registry = self.registry.lock().unwrap_or_else(|e| e.into_inner());
        registry
            .retain(|known| known.strong_count() > 0 && !std::ptr::eq(known.as_ptr(), Arc::as_ptr(shared)));
        registry.push(Arc::downgrade(shared));
    }

    /// Forgets a transfer that ends with another worker.
    fn unregister(&self, shared: &Arc<Shared>) {
        let mut registry = self.registry.lock().unwrap_or_else(|e| e.into_inner());
        registry.retain(|known| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(shared)));
    }

    /// Gives a new driver to the worker that its connection id names.
    #[expect(clippy::indexing_slicing, reason = "connection ids are made of workers that are there")]
    fn place(&mut self, now: Time, worker: usize, driver: Driver) {
        if worker == self.index {
            let key = self.next_key();
            return self.adopt(now, key, driver, None);
        }
        let shared = driver.shared().clone();
        self.unregister(&shared);
        if !self.peers[worker].send(Mail::Adopt(Box::new(driver))) {
            shared.fail("the worker that the connection belongs to is gone");
        }
    }

    /// Lets go of all connections, to begin again with the same queues and mailbox. Keys go on: storage may still answer for what was.
    pub(crate) fn start_over(&mut self) {
        let Worker { seats, by_id, shards, dials, accepting, idle_since, .. } = self;
        *accepting = Accepting::new();
        *idle_since = None;
        by_id.clear();
        let gone = (std::mem::take(seats), std::mem::take(shards), std::mem::take(dials));
        drop(gone);
    }

    /// Lets go of everything but the mailbox.
    pub(crate) fn into_post(self) -> Post {
        self.mail
    }

    /// Takes what has arrived, each burst at the time when it was there; gives that of the last. A time from before would make round trips
    /// shorter than the path is, and the delays that ACKs tell longer than they were.
    fn receive(&mut self) -> Result<Option<Time>, xfer_io::error::IoError> {
        let mut last = None;
        let mut handshakes = Vec::new();
        for queue in 0..self.sockets.len() {
            for _ in 0..limits::BURSTS {
                let frames = self.sockets.receive(queue)?;
                if frames == 0 {
                    break;
                }
                let now = Time::from_nanos(monotonic_ns());
                last = Some(now);
                for frame in 0..frames {
                    self.take_frame(now, queue, frame, &mut handshakes);
                }
            }
        }
        if let Some(now) = last {
            handshakes.iter().for_each(|handshake| self.take_handshake(now, handshake));
        }
        Ok(last)
    }

    /// Hands each datagram of a frame to its connection.
    #[expect(
        clippy::indexing_slicing,
        reason = "ids of other workers were compared with their number, and a train is cut at its end"
    )]
    fn take_frame(&mut self, now: Time, queue: usize, frame: usize, handshakes: &mut Vec<Handshake>) {
        let Worker { index, sockets, seats, by_id, shards, accepting, peers, counters, .. } = self;
        let local = sockets.local(queue);
        let (meta, bytes) = sockets.received(queue, frame);
        let from = Address { remote: meta.source, local: meta.destination.or(local) };
        let ce = meta.ecn == Some(xfer_io::queue::Ecn::Ce);
        let count = bytes.len().div_ceil(meta.segment.max(1)) as u64;
        counters.datagrams.fetch_add(count, Ordering::Relaxed);
        // A train is one connection's.
        let mut owner: Option<(u32, Owner<'_>)> = None;
        let segment = meta.segment.max(1);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (datagram, behind) = rest.split_at(segment.min(rest.len()));
            let train = std::mem::replace(&mut rest, behind);
            let Ok(header) = Header::decode(datagram) else { continue };
            let is_new = matches!(header.kind, Kind::Hello);
            let belongs = (header.connection.0 & 0x3f) as usize;
            let foreign = belongs != *index && belongs < peers.len();
            let known = || by_id.contains_key(&header.connection.0);
            if foreign && (is_new || is_sealed(header.kind) && !known()) {
                let meta = Meta { destination: from.local, ..meta };
                let bytes = datagram.to_vec();
                let taken = peers[belongs].hand_over(Foreign { meta, queue, header, bytes });
                let counter = if taken { &counters.handed_over } else { &counters.dropped };
                counter.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if !is_sealed(header.kind) {
                let bytes = datagram.to_vec();
                handshakes.push(Handshake { meta, queue, header, bytes });
                continue;
            }
            if header.version != xfer_proto::wire::VERSION {
                continue;
            }
            let id = header.connection.0;
            if owner.as_ref().is_none_or(|(known, _)| *known != id) {
                owner = Some((id, Owner::of(id, by_id, seats, shards)));
            }
            let Some((_, owner)) = &mut owner else { continue };
            let arrival = Received { now, from, ce, header: &header, datagram };
            let taken = owner.receive_train(&Received { datagram: train, ..arrival }, segment);
            if taken > 0 {
                rest = &train[(taken * segment).min(train.len())..];
            } else if owner.receive(&arrival) {
                accepting.established(id, peers);
            }
        }
    }

    /// Takes a datagram that another worker's queue got.
    fn take_foreign(&mut self, now: Time, foreign: Foreign) {
        let Foreign { meta, queue, header, bytes } = foreign;
        if !is_sealed(header.kind) {
            let handshake = Handshake { meta, queue, header, bytes };
            match header.kind {
                Kind::Hello => self.take_hello(now, &handshake),
                // Who has it from another worker passes it on no further.
                _ => drop(self.take_answer(now, &handshake)),
            }
            return;
        }
        let from = Address { remote: meta.source, local: meta.destination };
        let ce = meta.ecn == Some(xfer_io::queue::Ecn::Ce);
        let Worker { seats, by_id, shards, accepting, peers, .. } = self;
        let id = header.connection.0;
        let arrival = Received { now, from, ce, header: &header, datagram: &bytes };
        if Owner::of(id, by_id, seats, shards).receive(&arrival) {
            accepting.established(id, peers);
        }
    }

    fn take_handshake(&mut self, now: Time, handshake: &Handshake) {
        match handshake.header.kind {
            Kind::Hello => self.take_hello(now, handshake),
            _ => {
                // COOKIE and VERSIONS name no connection: the one that waits may be another worker's on the same port.
                let unnamed = handshake.header.kind != Kind::Reply;
                if !self.take_answer(now, handshake) && unnamed {
                    self.pass_around(handshake);
                }
            }
        }
    }

    /// Hands a datagram to every other worker.
    fn pass_around(&self, handshake: &Handshake) {
        let Handshake { meta, queue, header, bytes } = handshake;
        let local = self.sockets.local(*queue);
        let meta = Meta { destination: meta.destination.or(local), ..*meta };
        for (index, peer) in self.peers.iter().enumerate().filter(|(index, _)| *index != self.index) {
            let foreign = Foreign { meta, queue: *queue, header: *header, bytes: bytes.clone() };
            if !peer.hand_over(foreign) {
                tracing::debug!(worker = index, "a handshake packet was lost on its way to a worker");
            }
        }
    }

    /// Does what connections on other workers want, and tells them what came.
    fn work_for_others(&mut self) -> Result<bool, xfer_io::error::IoError> {
        let mut worked = false;
        for shard in self.shards.values_mut() {
            worked |= shard.work(&mut self.sockets)?;
            shard.rest();
        }
        self.shards.retain(|_, shard| !shard.is_over());
        Ok(worked)
    }

    /// Lets drivers do what is due, and sends what they have.
    fn drive(&mut self, now: Time) -> Result<bool, xfer_io::error::IoError> {
        let mut worked = false;
        let mut replies = Vec::new();
        let unblocked = self.sockets.take_unblocked();
        for (key, seat) in &mut self.seats {
            let waits = !seat.dirty && !unblocked && !seat.driver.has_news();
            if waits && now < seat.driver.next_timeout() {
                continue;
            }
            seat.dirty = false;
            if seat.driver.is_report_due(now) {
                self.occupied.update();
            }
            seat.driver.pump(now, *key, &self.storage);
            replies.extend(seat.driver.take_reply(now).map(|stream| (seat.driver.local_id(), stream)));
            let sent = self.sockets.transmit(now, &mut seat.driver)?;
            if sent > 0 {
                worked = true;
                seat.dirty = true;
            }
            seat.driver.rest(now, self.occupied.total());
        }
        replies.into_iter().for_each(|(id, stream)| self.send_reply(id, stream));
        self.sockets.flush()?;
        self.counters.trains.store(self.sockets.trains(), Ordering::Relaxed);
        for failure in self.sockets.take_oversized() {
            for seat in self.seats.values_mut() {
                seat.driver.too_big(now, failure.0, failure.1);
            }
            for shard in self.shards.values_mut() {
                shard.too_big(failure.0, failure.1);
            }
        }
        Ok(worked)
    }

    /// Forgets drivers that have ended.
    fn retire(&mut self) {
        let by_id = &mut self.by_id;
        self.seats.retain(|_, seat| {
            let over = seat.driver.is_over();
            if over {
                by_id.remove(&seat.driver.local_id());
            }
            !over
        });
    }

    fn links_changed(&mut self) {
        let now = Time::from_nanos(monotonic_ns());
        let Some(watch) = &mut self.watch else { return };
        let Ok(interfaces) = xfer_io::route::interfaces() else { return };
        while let Ok(changes) = watch.changes() {
            if changes.is_empty() {
                break;
            }
            for change in changes {
                let (index, up) = match change {
                    LinkChange::Link { index, up, carrier } => (index, up && carrier),
                    LinkChange::Gone { index } => (index, false),
                    LinkChange::Address { .. } | LinkChange::Lost => continue,
                };
                let Some(interface) = interfaces.iter().find(|i| i.index == index) else { continue };
                for seat in self.seats.values_mut() {
                    seat.driver.link_changed(now, &interface.addresses, up);
                    seat.dirty = true;
                }
            }
        }
    }

    fn shut_down(&mut self, now: Time) {
        self.shutting_down = true;
        for (key, seat) in &mut self.seats {
            seat.driver.shut_down(now, *key, &self.storage);
            seat.dirty = true;
        }
        for dial in self.dials.drain(..) {
            dial.give_up(crate::Error::new(crate::Class::Temporary, "the engine is shutting down"));
        }
        self.accepting.shut_down();
    }

    /// Sends one handshake datagram.
    fn send_handshake(
        &mut self,
        queue: usize,
        remote: SocketAddr,
        local: Option<std::net::IpAddr>,
        bytes: &[u8],
    ) {
        self.sockets.send_single(queue, remote, local, bytes);
    }
}

/// Whether packets of the kind belong to a connection that stands.
const fn is_sealed(kind: Kind) -> bool {
    matches!(kind, Kind::Data | Kind::Control)
}

/// The engine's ciphers.
pub(crate) const CRYPTO: AwsCrypto = AwsCrypto;
