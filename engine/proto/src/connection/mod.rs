//! A connection after its handshake: paths, control stream, transfers. Decides what every packet holds and what every received
//! one means; the caller moves datagrams, owns the chunk memory, tells the time and drains `poll_transmit` and `poll_event` after each call.

mod close;
mod fate;
mod paths;
mod place;
mod plan;
mod proving;
mod receive;
mod shards;
mod table;
mod tail;
#[cfg(test)]
mod tests;
mod timers;
mod train;
mod transmit;

use crate::cc::Algorithm;
use crate::crypto::{Crypto, Secrets, Suite};
use crate::incoming::Incoming;
use crate::limits;
use crate::outgoing::Outgoing;
use crate::pacing::Pacer;
use crate::path::{Address, Path, PathStart, PathState, mix};
use crate::stream::{RecvStream, SendStream, StreamError};
use crate::time::Time;
use crate::wire::{Accept, CloseCode, ConnectionId, Message, PathId, TransferId, Window, WindowWords};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use close::Closing;
pub use paths::{Held, PathReport};
pub(crate) use place::{Buffer, Opener, Place, Scratch, on_grid, place_of};
pub use plan::SendPlan;
pub(crate) use receive::check_size;
pub use receive::{Dropped, Received};
use table::Paths;
pub use transmit::Transmit;

/// Which end of the handshake this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It sent the first packet.
    Opener,
    /// It answered.
    Acceptor,
}

/// Settings of a connection that do not come from the ticket.
#[derive(Clone, Debug)]
pub struct Config {
    /// Congestion control of each path.
    pub algorithm: Algorithm,
    /// Cap over all paths, datagram bytes per second.
    pub rate_max: Option<u64>,
    /// Largest datagram to send: the smaller of this end's and the peer's.
    pub datagram_max: u16,
    /// The peer's receive buffer, bytes: what arrives while its thread is elsewhere has to fit.
    pub peer_buffer: u32,
    /// How long a silent peer is waited for.
    pub idle: Duration,
    /// Packets of a path after which it changes its keys, by leaving out numbers of the epoch when nothing is in flight; `None` uses all
    /// (PROTOCOL.md#keys). Only where DATA is sealed.
    pub rekey_after: Option<u32>,
}

/// What a handshake hands over to a connection.
pub struct Established {
    /// Which end this is.
    pub side: Side,
    /// The two traffic secrets.
    pub secrets: Secrets,
    /// Ciphers.
    pub suite: Suite,
    /// Id in packets to this end.
    pub local_id: ConnectionId,
    /// Id in packets to the peer on path 0.
    pub remote_id: ConnectionId,
    /// Addresses of path 0.
    pub address: Address,
    /// Round trip that the handshake measured.
    pub rtt: Option<Duration>,
    /// This end's control stream; what the handshake carried of it is taken already.
    pub stream: SendStream,
    /// The piece of it that the handshake carried.
    pub carried: Option<(u64, u16)>,
    /// The peer's first control stream bytes.
    pub peer_stream: Vec<u8>,
    /// 32 random bytes: challenges and left-out numbers come from them.
    pub seed: [u8; 32],
}

/// What the application must know, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A packet under the new keys arrived: the peer is there.
    Established,
    /// A message of the control stream. WINDOW and entries of chunks were taken note of already.
    Message(Message),
    /// The receiver granted more chunks or pages.
    WindowGrew(TransferId),
    /// The receiver accepted a chunk that was offered: its bytes are not needed any more.
    ChunkAccepted(TransferId, u32),
    /// All stored bytes of a granted chunk are here, and its entry.
    ChunkFull(TransferId, u32),
    /// A path may carry.
    PathUp(PathId),
    /// A path stopped answering.
    PathDown(PathId),
    /// The connection is over; nothing follows.
    Closed {
        /// Why.
        code: CloseCode,
        /// In words.
        text: String,
        /// Whether the peer closed.
        by_peer: bool,
    },
}

/// The chunk buffers that received content goes into.
pub trait ChunkMemory {
    /// Lets `fill` write `range` of the buffer of granted chunk `chunk`.
    fn write<R>(
        &mut self,
        transfer: TransferId,
        chunk: u32,
        range: Range<u32>,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R;
}

/// The chunk buffers that content is sent from.
pub trait ChunkBytes {
    /// Lets `read` see `range` of the stored bytes of offered chunk `chunk`.
    fn read<R>(
        &self,
        transfer: TransferId,
        chunk: u32,
        range: Range<u32>,
        read: impl FnOnce(&[u8]) -> R,
    ) -> R;
}

#[derive(Debug)]
enum State {
    /// An acceptor that has not heard a packet under the new keys.
    Unconfirmed,
    Open,
    /// This end closes.
    Closing(Closing),
    /// The peer closed: one CLOSE answers it, by the path with this index.
    Answering(usize),
    Over,
}

/// Totals that are not a path's.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Counters {
    pub failed_opens: u64,
    pub duplicates: u64,
    pub misplaced: u64,
}

/// What a WINDOW said that overtook the OPEN of its transfer: a first grant, nothing is accepted yet.
#[derive(Clone, Copy, Debug)]
struct EarlyWindow {
    transfer: TransferId,
    pages: u32,
    limit: u32,
}

/// One end of an established (or nearly established) connection.
#[derive(Debug)]
pub struct Connection<C: Crypto> {
    crypto: C,
    side: Side,
    secrets: Secrets,
    suite: Suite,
    config: Config,
    local_id: ConnectionId,
    /// Ids in packets to the shards, this end's own first: path `n` has the one at `n` modulo their count.
    shard_ids: Vec<ConnectionId>,
    remote_id: ConnectionId,
    state: State,
    paths: Paths<C>,
    /// The opener's next path id.
    next_path: u16,
    /// Bit per path id that was used: none is used for a second path.
    used_paths: [u64; limits::PATH_ID_END as usize / 64],
    abandoned: Vec<PathId>,
    send_stream: SendStream,
    recv_stream: RecvStream,
    credit_owed: bool,
    carried: Option<(u64, u16)>,
    outgoing: Vec<Outgoing>,
    incoming: Vec<Incoming>,
    early_windows: Vec<EarlyWindow>,
    cap: Option<Pacer>,
    events: VecDeque<Event>,
    /// Messages are left in the stream until the events were taken.
    messages_wait: bool,
    seed: u64,
    draws: u64,
    rotation: usize,
    last_heard: Time,
    last_sent: Time,
    /// A packet with an unknown path id may open a path from then on.
    unknown_paths_from: Time,
    scratch: Scratch,
    rtt_sample: Option<Duration>,
    ack_due: Option<Time>,
    counters: Counters,
}

impl<C: Crypto> Connection<C> {
    /// A connection whose handshake is done (opener) or answered (acceptor).
    pub fn new(now: Time, crypto: C, mut config: Config, established: Established) -> Self {
        config.datagram_max = config.datagram_max.min(limits::PATH_DATAGRAM_MAX);
        let seed = crate::crypto::draw(&established.seed, 0);
        let mut connection = Connection {
            crypto,
            side: established.side,
            secrets: established.secrets,
            suite: established.suite,
            local_id: established.local_id,
            shard_ids: alloc::vec![established.local_id],
            remote_id: established.remote_id,
            state: match established.side {
                Side::Opener => State::Open,
                Side::Acceptor => State::Unconfirmed,
            },
            paths: Paths::new(),
            next_path: 1,
            used_paths: [0; limits::PATH_ID_END as usize / 64],
            abandoned: Vec::new(),
            send_stream: established.stream,
            recv_stream: RecvStream::new(),
            credit_owed: false,
            carried: established.carried,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            early_windows: Vec::new(),
            cap: config.rate_max.map(|rate| Pacer::new(Some(rate))),
            events: VecDeque::with_capacity(limits::EVENTS_ROOM),
            messages_wait: false,
            seed,
            draws: 0,
            rotation: 0,
            last_heard: now,
            last_sent: now,
            unknown_paths_from: Time::from_nanos(0),
            scratch: Scratch::new(),
            rtt_sample: None,
            ack_due: None,
            counters: Counters::default(),
            config,
        };
        let mut first =
            connection.new_path(now, PathId(0), established.address, PathState::Live, established.rtt);
        first.ping_owed = established.side == Side::Opener;
        connection.paths.push(first);
        connection.use_path_id(PathId(0));
        if established.side == Side::Opener {
            connection.confirm_carried();
            connection.events.push_back(Event::Established);
        }
        if connection.recv_stream.receive(0, &established.peer_stream).is_err() {
            connection.fail(now, CloseCode::Flow, "handshake carries more than the credit");
        }
        connection.take_messages(now, limits::EVENTS_WAITING_MAX);
        connection
    }

    /// The next event. Messages of the peer wait in the stream, and their credit with them, while the caller leaves
    /// [`limits::EVENTS_WAITING_MAX`] events where they are.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.messages_wait && self.events.is_empty() {
            self.take_messages(self.last_heard, limits::EVENTS_WAITING_MAX);
        }
        self.events.pop_front()
    }

    /// Whether a packet under the new keys was heard.
    pub const fn is_established(&self) -> bool {
        !matches!(self.state, State::Unconfirmed)
    }

    /// Whether the connection is over and its id may be forgotten.
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Id in packets to this end.
    pub const fn local_id(&self) -> ConnectionId {
        self.local_id
    }

    /// The ciphers.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// Totals that are not a path's.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Sends a message. Watch [`Connection::stream_backlog`]: messages wait here until the peer has them.
    pub fn send(&mut self, message: &Message) {
        self.send_stream.push(message);
    }

    /// Takes back the digest list of a chunk's message that was dealt with.
    pub fn recycle(&mut self, digests: Vec<[u8; 32]>) {
        self.recv_stream.recycle(digests);
    }

    /// Bytes of messages that wait to be sent or acknowledged.
    pub fn stream_backlog(&self) -> usize {
        self.send_stream.backlog()
    }

    /// Begins to send a transfer's content in chunks of `1 << chunk_log2` bytes.
    pub fn start_sending(&mut self, transfer: TransferId, chunk_log2: u8) {
        assert!(self.outgoing.len() < limits::TRANSFERS_MAX);
        let mut outgoing = Outgoing::new(transfer, chunk_log2);
        if let Some(i) = self.early_windows.iter().position(|w| w.transfer == transfer) {
            let EarlyWindow { pages, limit, .. } = self.early_windows.swap_remove(i);
            let window = Window { transfer, pages, base: 0, limit, accepted: WindowWords::Memory(&[]) };
            outgoing.on_window(&window, |_| {});
            if self.is_running() {
                self.events.push_back(Event::WindowGrew(transfer));
            }
        }
        self.outgoing.push(outgoing);
    }

    /// Begins to receive a transfer's content in chunks of `1 << chunk_log2` bytes.
    pub fn start_receiving(&mut self, transfer: TransferId, chunk_log2: u8) {
        assert!(self.incoming.len() < limits::TRANSFERS_MAX);
        self.incoming.push(Incoming::new(transfer, chunk_log2));
    }

    /// The sending half of `transfer`.
    pub fn outgoing(&mut self, transfer: TransferId) -> Option<&mut Outgoing> {
        self.outgoing.iter_mut().find(|o| o.id() == transfer)
    }

    /// The receiving half of `transfer`.
    pub fn incoming(&mut self, transfer: TransferId) -> Option<&mut Incoming> {
        self.incoming.iter_mut().find(|i| i.id() == transfer)
    }

    /// Takes a chunk's leases off all paths: its stored bytes are not valid any more.
    pub fn revoke_leases(&mut self, transfer: TransferId, chunk: u32) {
        for path in self.paths.iter_mut() {
            path.leases.retain(|lease| lease.transfer != transfer || lease.chunk != chunk);
        }
        if let Some(outgoing) = self.outgoing(transfer) {
            outgoing.revoke(chunk);
        }
    }

    /// Takes the first bytes of this end's control stream, at most `room`, for the REPLY that is sent now. Once, by an acceptor; they count
    /// as arrived with the first packet under the new keys.
    pub fn carry(&mut self, room: usize) -> Vec<u8> {
        assert!(matches!(self.state, State::Unconfirmed | State::Closing(_)) && self.carried.is_none());
        let mut bytes = Vec::new();
        self.carried = self.send_stream.take(room, |_, first, second| {
            bytes.extend_from_slice(first);
            bytes.extend_from_slice(second);
        });
        bytes
    }

    /// Neither closing nor over.
    const fn is_running(&self) -> bool {
        matches!(self.state, State::Open | State::Unconfirmed)
    }

    /// A broken rule of the peer's ends the connection.
    fn fail(&mut self, now: Time, code: CloseCode, text: &str) {
        if self.is_running() {
            self.close(now, code, text);
            self.events.push_back(Event::Closed { code, text: text.into(), by_peer: false });
        }
    }

    /// Takes messages from the stream while fewer than `events_max` events wait.
    fn take_messages(&mut self, now: Time, events_max: usize) {
        self.messages_wait = false;
        while self.is_running() {
            if self.events.len() >= events_max {
                self.messages_wait = true;
                break;
            }
            match self.recv_stream.next_message() {
                Ok(None) => break,
                Ok(Some(message)) => {
                    if !self.note_message(&message) {
                        self.fail(now, CloseCode::Protocol, "chunk entry that no chunk was granted for");
                        return;
                    }
                    self.events.push_back(Event::Message(message));
                }
                Err(StreamError::Flow) => {
                    return self.fail(now, CloseCode::Flow, "control stream beyond its credit");
                }
                Err(StreamError::Malformed(bad)) => {
                    let code =
                        if bad.what.starts_with("name") { CloseCode::Name } else { CloseCode::Protocol };
                    return self.fail(now, code, bad.what);
                }
            }
        }
        self.credit_owed |= self.recv_stream.credit_due();
        self.collect_full();
    }

    fn note_message(&mut self, message: &Message) -> bool {
        match message {
            Message::Chunk(chunk) => self
                .incoming(chunk.transfer)
                .is_some_and(|i| i.on_entry(chunk.chunk, chunk.attempt, chunk.stored_len)),
            Message::Accept(accept) => {
                let Accept { transfer, limit } = *accept;
                let window =
                    Window { transfer, pages: 0, base: 0, limit, accepted: WindowWords::Memory(&[]) };
                if self.outgoing(transfer).is_some_and(|o| o.on_window(&window, |_| {})) {
                    self.events.push_back(Event::WindowGrew(transfer));
                }
                true
            }
            _ => true,
        }
    }

    fn collect_full(&mut self) {
        for incoming in &mut self.incoming {
            while let Some(chunk) = incoming.next_full() {
                self.events.push_back(Event::ChunkFull(incoming.id(), chunk));
            }
        }
    }

    /// A packet under the new keys came: whose address the HELLO named is there.
    fn confirmed(&mut self) {
        if matches!(self.state, State::Unconfirmed) {
            self.state = State::Open;
            self.confirm_carried();
            self.events.push_back(Event::Established);
        }
    }

    /// The peer has what the handshake carried.
    fn confirm_carried(&mut self) {
        if let Some(piece) = self.carried.take() {
            self.send_stream.on_acked(piece);
        }
    }

    fn new_path(
        &mut self,
        now: Time,
        id: PathId,
        address: Address,
        state: PathState,
        rtt: Option<Duration>,
    ) -> Path<C> {
        let (seal_secret, open_secret) = self.direction_secrets();
        let start = PathStart {
            id,
            address,
            destination: self.remote_id,
            state,
            suite: self.suite,
            seal_secret,
            open_secret,
            algorithm: self.config.algorithm,
            datagram_max: self.config.datagram_max,
            peer_buffer: self.config.peer_buffer,
            rekey_after: self.config.rekey_after,
            rtt,
            seed: mix(self.seed ^ u64::from(id.0)),
        };
        Path::new(now, &self.crypto, &start)
    }

    /// What this end seals with, and what it opens with.
    const fn direction_secrets(&self) -> (&[u8; 32], &[u8; 32]) {
        match self.side {
            Side::Opener => (&self.secrets.open, &self.secrets.accept),
            Side::Acceptor => (&self.secrets.accept, &self.secrets.open),
        }
    }

    fn path_index(&self, id: PathId) -> Option<usize> {
        self.paths.iter().position(|p| p.id == id)
    }

    fn draw(&mut self) -> u64 {
        self.draws += 1;
        mix(mix(self.seed) ^ self.draws)
    }
}
