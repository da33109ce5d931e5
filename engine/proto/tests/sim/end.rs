//! One end: handshake, connection, applications, and the worker that serves its socket with the gaps of a real loop.

mod shaking;
mod sharded;
mod taking;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;

use xfer_netem::Rng;
use xfer_proto::connection::{Config, Connection, Dropped, Established, Event, PathReport, Received, Side};
use xfer_proto::crypto::{Direction, Secrets, Ticket, epoch};
use xfer_proto::handshake::{Acceptor, HelloOutcome, Opener, Payload};
use xfer_proto::limits;
use xfer_proto::path::{Address, PathState};
use xfer_proto::stream::SendStream;
use xfer_proto::time::Time;
use xfer_proto::wire::{
    Accept, CloseCode, ConnectionId, Header, Kind, Message, Open, PathId, Role, TransferId,
};

use crate::attack::is_somebody;
use crate::clock::{Clock, MS, SECOND};
use crate::content::{Sink, Source};
use crate::lies::{Lie, Making, Sent};
use crate::plan::Plan;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::watch::Witnessed;
use shaking::Shaking;
use sharded::Sharded;

/// The transfer from the opener to the acceptor, and the one back.
pub(crate) const TRANSFERS: [TransferId; 2] = [TransferId(11), TransferId(12)];
/// Datagrams that a worker takes in one burst.
const BURST: usize = 64;
/// Datagrams that a socket coalesces.
const TRAIN: usize = 64;
/// Of both ends.
const NAMES: [&str; 2] = ["opener", "acceptor"];
/// Trains that a worker sends before it looks at its socket again.
const TRAINS: usize = 16;
/// Marks on a path that the peer is to hear of.
const MARKS_MANY: u64 = 50;
/// Rounds of timeout and drain after which an end that still wants to be called at once is caught in a loop.
const ROUNDS_MAX: u32 = 4;

/// A datagram with the address it came from or goes to.
pub(crate) struct Datagram {
    pub(crate) peer: SocketAddr,
    /// It met a queue on its way.
    pub(crate) marked: bool,
    pub(crate) bytes: Vec<u8>,
}

impl Datagram {
    /// As the connection, or its shard, takes it.
    fn received<'a>(&'a self, now: Time, header: &'a Header) -> Received<'a> {
        let from = Address { remote: self.peer, local: None };
        Received { now, from, ce: self.marked, header, datagram: &self.bytes }
    }
}

/// What an acceptor heard from an address, and sent there, since it last was proven.
#[derive(Default)]
struct Talk {
    heard: u64,
    said: u64,
}

/// Watches over the cap of all paths: content bytes beyond it.
#[derive(Default)]
struct Meter {
    at: u64,
    beyond: u64,
}

impl Meter {
    fn add(&mut self, plan: &Plan, at: u64, train: &[u8]) {
        let Some(cap) = plan.rate_max else { return };
        if !Header::decode(train).is_ok_and(|h| h.kind == Kind::Data) {
            return;
        }
        let drained = u128::from(at - self.at) * u128::from(cap + cap / 1_000 + 1) / u128::from(SECOND);
        self.at = at;
        self.beyond = self.beyond.saturating_sub(drained as u64) + train.len() as u64;
        // A train at once, and what a late worker makes up for.
        let most = limits::DATAGRAM_MAX as u64 + cap / 200;
        assert!(self.beyond <= most, "{} bytes beyond a cap of {cap} bytes a second", self.beyond);
    }
}

pub(crate) struct End<C: Witnessed> {
    pub(crate) side: usize,
    plan: Plan,
    crypto: C,
    clock: Clock,
    shaking: Shaking,
    half_open: Option<xfer_proto::handshake::HalfOpen>,
    pub(crate) connection: Option<Connection<C>>,
    /// What another worker carries of it.
    sharded: Option<Sharded<C>>,
    pub(crate) sender: Option<Sender>,
    pub(crate) receiver: Option<Receiver>,
    source: Source,
    sink: Sink,
    rng: Rng,
    pub(crate) socket: VecDeque<Datagram>,
    pub(crate) socket_bytes: usize,
    /// Datagrams that the socket had no room for.
    pub(crate) overflowed: u64,
    /// Packets that were taken as a train.
    pub(crate) taken_in_trains: usize,
    pub(crate) wake_at: Option<u64>,
    pub(crate) stalled_until: u64,
    /// Its applications do nothing before.
    pub(crate) idle_until: u64,
    /// Its process is gone.
    pub(crate) is_dead: bool,
    /// What it took that no honest peer sends.
    pub(crate) lied_to: Option<Lie>,
    pub(crate) closed: Option<(CloseCode, String, bool)>,
    /// When it had all it wanted and closed, or heard that it is over.
    pub(crate) closed_ns: u64,
    /// When it first knew that the peer is there.
    pub(crate) established_ns: u64,
    pub(crate) events: Vec<(u64, Event)>,
    opened_paths: Vec<(usize, Option<PathId>, u64)>,
    frame: Vec<u8>,
    meter: Meter,
    talks: HashMap<SocketAddr, Talk>,
    /// Highest number that was accepted on each path.
    highest: HashMap<PathId, u64>,
    /// When it had seen [`MARKS_MANY`] marks on a path.
    pub(crate) marked_ns: HashMap<PathId, u64>,
    /// Content packets that were accepted.
    accepted: HashSet<(PathId, u64)>,
    sent: Sent,
    secrets: Option<Secrets>,
    pub(crate) trace: bool,
}

pub(crate) fn remote_of(side: usize, wire: usize) -> SocketAddr {
    let host = if side == 0 { 2 } else { 1 };
    SocketAddr::from(([10, 77, wire as u8, host], 4_000))
}

/// Takes note of the numbers of what is about to leave.
fn note_sent(sent: &mut Sent, train: &[u8], segment: usize) {
    train
        .chunks(segment)
        .filter_map(|packet| Header::decode(packet).ok())
        .for_each(|header| sent.note(&header));
}

fn seed32(rng: &mut Rng) -> [u8; 32] {
    let mut seed = [0; 32];
    seed.chunks_mut(8).for_each(|c| c.copy_from_slice(&rng.next_u64().to_le_bytes()));
    seed
}

pub(crate) fn ticket(plan: &Plan) -> Ticket {
    let mut rng = Rng::stream(plan.seed, 3);
    Ticket::new(seed32(&mut rng), plan.suite, Direction::Both)
}

impl<C: Witnessed> End<C> {
    pub(crate) fn new(plan: &Plan, side: usize, crypto: C) -> Self {
        let mut rng = Rng::stream(plan.seed, 10 + side as u64);
        let clock = plan.clocks[side];
        let now = clock.read(0);
        let shaking = if side == 0 {
            Self::opener(plan, now, &mut rng)
        } else {
            Shaking::Acceptor(Box::new(Self::acceptor(plan, now, &mut rng)))
        };
        let plan_of = |sends: bool| if sends { &plan.transfers[side] } else { &plan.transfers[1 - side] };
        let sender = plan_of(true).as_ref().map(|t| Sender::new(plan.seed, TRANSFERS[side], t));
        let receiver = plan_of(false).as_ref().map(|t| Receiver::new(plan.seed, TRANSFERS[1 - side], t));
        End {
            side,
            plan: plan.clone(),
            crypto,
            clock,
            shaking,
            half_open: None,
            connection: None,
            sharded: None,
            sender,
            receiver,
            source: Source::default(),
            sink: Sink::default(),
            rng,
            socket: VecDeque::new(),
            socket_bytes: 0,
            overflowed: 0,
            taken_in_trains: 0,
            wake_at: Some(0),
            stalled_until: 0,
            idle_until: 0,
            is_dead: false,
            lied_to: None,
            closed: None,
            closed_ns: 0,
            established_ns: 0,
            events: Vec::new(),
            opened_paths: Vec::new(),
            frame: vec![0; limits::DATAGRAM_MAX],
            meter: Meter::default(),
            talks: HashMap::new(),
            highest: HashMap::new(),
            marked_ns: HashMap::new(),
            accepted: HashSet::new(),
            sent: Sent::default(),
            secrets: None,
            trace: false,
        }
    }

    /// The process is gone, and says nothing.
    pub(crate) fn die(&mut self) {
        (self.is_dead, self.wake_at) = (true, None);
    }

    /// A datagram arrived at the socket.
    pub(crate) fn arrive(&mut self, at: u64, datagram: Datagram) {
        if self.is_dead {
            return;
        }
        if self.socket_bytes + datagram.bytes.len() > self.plan.socket_bytes {
            self.overflowed += 1;
            return;
        }
        self.socket_bytes += datagram.bytes.len();
        if self.socket.is_empty() {
            let wake = at + self.latency();
            self.wake_at = Some(self.wake_at.map_or(wake, |before| before.min(wake)));
        }
        self.socket.push_back(datagram);
    }

    /// How long a sleeping worker takes to run.
    fn latency(&mut self) -> u64 {
        let late = self.rng.below(1_000_000) < u64::from(self.plan.late_ppm[self.side]);
        5_000 + self.rng.below(45_000) + if late { self.rng.below(4 * MS) } else { 0 }
    }

    /// One turn of the worker's loop; `send` takes what goes out.
    pub(crate) fn run(&mut self, at: u64, send: &mut impl FnMut(Datagram)) {
        if at < self.stalled_until {
            self.wake_at = Some(self.stalled_until);
            return;
        }
        let now = self.clock.read(at);
        self.shake(now, send);
        self.shard_sends(at, send);
        for _ in 0..BURST {
            let Some(datagram) = self.socket.pop_front() else { break };
            self.socket_bytes -= datagram.bytes.len();
            if !self.plan.trains_in[self.side] || !self.take_train(at, &datagram) {
                self.take(at, &datagram, send);
            }
        }
        self.hear_shard(at);
        let mut again = !self.socket.is_empty();
        for round in 0.. {
            let Some(connection) = &mut self.connection else { break };
            if connection.next_timeout() <= now {
                connection.handle_timeout(now);
            }
            self.apply(at);
            self.tell_shard(at);
            let mut trains = 0;
            while trains < TRAINS && self.plan_for_shard(at) {
                trains += 1;
            }
            let Some(connection) = &mut self.connection else { break };
            while trains < TRAINS
                && let Some(transmit) = connection.poll_transmit(now, None, &mut self.frame, &self.source)
            {
                trains += 1;
                if self.trace {
                    let (path, len, segment) = (transmit.path.0, transmit.len, transmit.segment);
                    println!("{:>12} {} sends {len} by {segment} on {path}", at / 1_000, NAMES[self.side]);
                }
                let train = &self.frame[..transmit.len];
                self.meter.add(&self.plan, at, train);
                note_sent(&mut self.sent, train, transmit.segment);
                let to = transmit.address.remote;
                // Whoever somebody on the wire pretends to be proves nothing.
                let proven = |p: PathReport| {
                    is_somebody(to) && p.address.remote == to && p.state != PathState::Unproven
                };
                if connection.path_reports().any(proven) {
                    self.talks.remove(&to);
                } else if self.side == 1 {
                    let talk = self.talks.entry(to).or_default();
                    talk.said += train.len() as u64;
                    assert!(talk.said <= 3 * talk.heard, "{} bytes to {to} for {}", talk.said, talk.heard);
                }
                for bytes in train.chunks(transmit.segment) {
                    send(Datagram { marked: false, peer: transmit.address.remote, bytes: bytes.to_vec() });
                }
            }
            again |= trains == TRAINS;
            if again || (trains == 0 && connection.next_timeout() > now) {
                break;
            }
            assert!(round < ROUNDS_MAX, "{}: asks to be called at once, again and again", self.name());
        }
        self.note_marks(at);
        self.check();
        self.wake_at = if again { Some(at + 20_000) } else { self.sleep_until(at) };
    }

    pub(crate) fn name(&self) -> &'static str {
        NAMES[self.side]
    }

    /// Whether its transfers are complete.
    pub(crate) fn is_through(&self) -> bool {
        self.sender.as_ref().is_none_or(|s| s.complete) && self.receiver.as_ref().is_none_or(|r| r.complete)
    }

    pub(crate) fn is_established(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| c.is_established())
    }

    /// For a report of what went wrong.
    pub(crate) fn state(&self) -> String {
        let Some(connection) = &self.connection else { return "no connection".into() };
        let mut state = format!("backlog {}, ", connection.stream_backlog());
        if let Some(sender) = &self.sender {
            state += &format!("accepted {}, held {}, ", sender.accepted, self.source.held.len());
        }
        if let Some(receiver) = &self.receiver {
            state += &format!("{} bytes, {} buffers, ", receiver.bytes, self.sink.buffers.len());
        }
        for path in connection.path_reports() {
            let (id, state_of, flight) = (path.id.0, path.state, path.in_flight);
            state += &format!("path {id} {state_of:?} {flight} in flight of {}, ", path.window);
        }
        state
    }

    /// The system reports the link of a wire down.
    pub(crate) fn link_down(&mut self, at: u64, wire: usize) {
        let now = self.clock.read(at);
        let Some(connection) = self.connection.as_mut().filter(|_| !self.is_dead) else { return };
        let remote = remote_of(self.side, wire).ip();
        let paths: Vec<PathId> =
            connection.path_reports().filter(|p| p.address.remote.ip() == remote).map(|p| p.id).collect();
        paths.into_iter().for_each(|id| connection.path_failed(now, id));
        self.wake_at = Some(at);
    }

    fn sleep_until(&mut self, at: u64) -> Option<u64> {
        let timer = match (&self.connection, &self.shaking) {
            (Some(connection), _) => self.clock.when(connection.next_timeout()),
            (None, Shaking::Opener { next, .. }) => self.clock.when(*next),
            _ => None,
        };
        let apps =
            [self.sender.as_ref().and_then(|s| s.next()), self.receiver.as_ref().and_then(|r| r.next())];
        let apps = apps.into_iter().flatten().chain(Some(self.idle_until).filter(|until| *until > at));
        let apps = apps.map(|when| when.max(self.idle_until));
        let paths = self.opened_paths.iter().filter(|p| p.1.is_none()).map(|p| p.2);
        let early = self.plan.closes_early.filter(|(when, _)| *when > at).map(|(when, _)| when);
        let alive = self.connection.as_ref().is_some_and(|c| !c.is_over());
        let shard = self.sharded.as_ref().and_then(Sharded::next);
        let others = apps.chain(shard).chain(paths).chain(early).filter(|_| alive);
        let next = others.chain(timer).min()?;
        Some(next.max(at) + self.latency())
    }

    fn note_marks(&mut self, at: u64) {
        let reports = self.connection.iter().flat_map(|c| c.path_reports());
        for path in reports.filter(|path| path.counters.marks_received >= MARKS_MANY) {
            self.marked_ns.entry(path.id).or_insert(at);
        }
    }

    fn check(&self) {
        let buffers = self.plan.transfers[1 - self.side].as_ref().map_or(0, |t| t.buffers);
        assert!(self.sink.buffers.len() <= buffers, "more buffers than granted");
        let held = self.plan.transfers[self.side].as_ref().map_or(0, |t| t.held_max);
        assert!(self.source.held.len() <= held, "more chunks held than bounded");
        if let Some(connection) = &self.connection {
            assert!(connection.stream_backlog() < 1 << 20, "control stream backlog");
        }
    }

    /// Lets the applications act on all events and all that is due.
    fn apply(&mut self, at: u64) {
        let now = self.clock.read(at);
        loop {
            let Some(connection) = &mut self.connection else { return };
            let mut did = false;
            while let Some(event) = connection.poll_event() {
                did = true;
                if self.trace && !matches!(event, Event::Message(Message::Page(_))) {
                    println!("{:>12} {}: {event:?}", at / 1_000, ["opener", "acceptor"][self.side]);
                }
                assert!(self.closed.is_none(), "{event:?} after the end");
                Self::take_event(
                    at,
                    self.side,
                    &event,
                    connection,
                    &self.plan,
                    &mut self.sender,
                    &mut self.receiver,
                    &mut self.source,
                    &mut self.sink,
                );
                match &event {
                    Event::Established => self.established_ns = at,
                    Event::Closed { code, text, by_peer } => {
                        self.closed = Some((*code, text.clone(), *by_peer));
                        self.closed_ns = at;
                    }
                    Event::PathDown(id) => {
                        let gone = !connection.path_reports().any(|p| p.id == *id);
                        for path in self.opened_paths.iter_mut().filter(|p| gone && p.1 == Some(*id)) {
                            *path = (path.0, None, at + SECOND / 2);
                        }
                    }
                    _ => {}
                }
                if !matches!(event, Event::Message(_) | Event::WindowGrew(_)) {
                    self.events.push((at, event));
                }
            }
            if self.closed.is_some() || connection.is_over() {
                return;
            }
            let awake = at >= self.idle_until;
            if let Some(sender) = self.sender.as_mut().filter(|_| awake) {
                did |= sender.tick(at, connection, &mut self.source);
            }
            if let Some(receiver) = self.receiver.as_mut().filter(|_| awake) {
                did |= receiver.tick(at, connection, &mut self.sink);
            }
            for path in self.opened_paths.iter_mut().filter(|p| p.1.is_none() && p.2 <= at) {
                let address = Address { remote: remote_of(0, path.0), local: None };
                path.1 = Some(connection.open_path(now, address).expect("few paths"));
            }
            let early = self.plan.closes_early.is_some_and(|(when, who)| who == self.side && when <= at);
            if early {
                connection.close(now, CloseCode::Cancelled, "enough");
                self.closed = Some((CloseCode::Cancelled, String::new(), false));
                return;
            }
            if !did {
                break;
            }
        }
        self.close_when_done(at);
    }

    fn close_when_done(&mut self, at: u64) {
        let now = self.clock.read(at);
        let through = self.is_through();
        let Some(connection) = &mut self.connection else { return };
        let finished = through && connection.stream_backlog() == 0;
        if self.side == 0 && finished {
            connection.close(now, CloseCode::Done, "done");
            self.closed_ns = at;
            self.closed = Some((CloseCode::Done, String::new(), false));
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one end")]
    fn take_event(
        at: u64,
        side: usize,
        event: &Event,
        connection: &mut Connection<C>,
        plan: &Plan,
        sender: &mut Option<Sender>,
        receiver: &mut Option<Receiver>,
        source: &mut Source,
        sink: &mut Sink,
    ) {
        match event {
            Event::Message(Message::Open(open)) => {
                assert_eq!(side, 1);
                if !plan.carry || *open == first_open(plan) {
                    if !plan.carry {
                        connection.send(&Message::Accept(Accept { transfer: open.transfer, limit: 0 }));
                    }
                } else {
                    connection.send(&Message::Accept(Accept { transfer: open.transfer, limit: 0 }));
                }
                match open.role {
                    Role::Sender => receiver.as_mut().expect("planned").begin(connection),
                    Role::Receiver => connection.start_sending(open.transfer, open.chunk_log2),
                }
            }
            Event::Message(message) => {
                let ours = message.transfer() == TRANSFERS[side];
                match (sender, receiver) {
                    (Some(sender), _) if ours => sender.on_message(at, message, connection, source),
                    (_, Some(receiver)) if !ours => receiver.on_message(message, connection, sink),
                    _ => panic!("{message:?} for nobody"),
                }
            }
            Event::ChunkAccepted(_, chunk) => {
                sender.as_mut().expect("a sender").on_accepted(*chunk, source);
            }
            Event::ChunkFull(_, chunk) => receiver.as_mut().expect("a receiver").on_full(at, *chunk),
            _ => {}
        }
    }
}

/// The OPEN that the handshake carries and answers.
fn first_open(plan: &Plan) -> Open {
    let i = usize::from(plan.transfers[0].is_none());
    let role = if i == 0 { Role::Sender } else { Role::Receiver };
    let chunk_log2 = plan.transfers[i].as_ref().expect("a transfer").chunk_log2;
    Open { transfer: TRANSFERS[i], role, chunk_log2, digests: false }
}
