//! The end under test: its connection, its memory, and the rounds of timers, events and packets after each operation.

use super::Role;
use super::memory::Memory;
use super::peer::{END_ID, PEER_ID, Peer, Seen};
use super::receiver::Receiver;
use super::sender::Sender;
use super::stand_in::StandIn;
use std::net::SocketAddr;
use std::time::Duration;
use xfer_proto::cc::Algorithm;
use xfer_proto::connection::{Config, Connection, Established, Event, Received, Side};
use xfer_proto::crypto::{Secrets, Suite};
use xfer_proto::limits;
use xfer_proto::path::{Address, PathState};
use xfer_proto::stream::SendStream;
use xfer_proto::time::Time;
use xfer_proto::wire::{CloseCode, Header, Kind, Message, TransferId};

/// The transfer of all scripts.
pub(super) const TRANSFER: TransferId = TransferId(1);
/// Its chunks have 64 KiB.
pub(super) const CHUNK_LOG2: u8 = limits::CHUNK_LOG2_MIN;
/// Rounds of timeout and drain after which an end that still wants to be called at once is caught in a loop.
const ROUNDS_MAX: usize = 4;
/// Trains that leave in a round.
const TRAINS_MAX: usize = 64;

/// How the end was set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) role: Role,
    pub(super) side: Side,
    pub(super) suite: Suite,
    pub(super) algorithm: Algorithm,
    pub(super) rekey_after: Option<u32>,
}

pub(super) struct End {
    pub(super) setup: Setup,
    pub(super) now: Time,
    pub(super) connection: Connection<StandIn>,
    pub(super) memory: Memory,
    pub(super) peer: Peer,
    pub(super) receiver: Receiver,
    pub(super) sender: Sender,
    closed: bool,
    frame: Vec<u8>,
}

pub(super) fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 4_000))
}

impl End {
    /// The `run`th connection, which has keys of its own.
    pub(super) fn new(setup: Setup, now: Time, run: u8) -> Self {
        let secrets = Secrets { open: [run + 1; 32], accept: [run + 101; 32] };
        let peer = Peer::new(setup.suite, &secrets, setup.side == Side::Opener);
        let config = Config {
            algorithm: setup.algorithm,
            rate_max: None,
            datagram_max: 1_452,
            peer_buffer: 1 << 20,
            idle: limits::IDLE,
            rekey_after: setup.rekey_after,
        };
        let established = Established {
            side: setup.side,
            secrets,
            suite: setup.suite,
            local_id: END_ID,
            remote_id: PEER_ID,
            address: Address { remote: address(1), local: None },
            rtt: Some(Duration::from_millis(10)),
            stream: SendStream::new(limits::STREAM_WINDOW),
            carried: None,
            peer_stream: Vec::new(),
            seed: [run; 32],
        };
        let mut connection = Connection::new(now, StandIn, config, established);
        match setup.role {
            Role::Receiver => {
                connection.start_receiving(TRANSFER, CHUNK_LOG2);
                connection.incoming(TRANSFER).expect("it was started").allow_pages(4);
            }
            Role::Sender => connection.start_sending(TRANSFER, CHUNK_LOG2),
        }
        End {
            setup,
            now,
            connection,
            memory: Memory::default(),
            peer,
            receiver: Receiver::default(),
            sender: Sender::default(),
            closed: false,
            frame: vec![0; limits::DATAGRAM_MAX],
        }
    }

    /// A datagram, or a train of datagrams of `segment` bytes, arrives.
    pub(super) fn arrive(&mut self, datagram: &[u8], segment: usize, from: u8, ce: bool) {
        let Ok(header) = Header::decode(datagram) else { return };
        if !matches!(header.kind, Kind::Data | Kind::Control) || header.connection != END_ID {
            return;
        }
        let from = Address { remote: address(from), local: None };
        let whole = Received { now: self.now, from, ce, header: &header, datagram };
        self.peer.ways.entry(header.path.0).or_default().bytes_in += datagram.len() as u64;
        let mut rest = datagram;
        if datagram.len() > segment {
            let taken = self.connection.receive_train(&whole, segment, &mut self.memory);
            for packet in datagram.chunks(segment).take(taken) {
                self.accepted(packet);
            }
            rest = &datagram[(taken * segment).min(datagram.len())..];
        }
        for packet in rest.chunks(segment) {
            let Ok(header) = Header::decode(packet) else { continue };
            let one = Received { header: &header, datagram: packet, ..whole };
            if self.connection.receive(&one, &mut self.memory).is_ok() {
                self.accepted(packet);
            }
        }
    }

    fn accepted(&mut self, packet: &[u8]) {
        let header = Header::decode(packet).expect("it was accepted");
        self.peer.ways.entry(header.path.0).or_default().accepted.insert(header.number);
    }

    /// Lets the end do what is due until it has nothing left to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if self.connection.next_timeout() <= self.now {
                self.connection.handle_timeout(self.now);
            }
            self.drain_events();
            self.act();
            let trains = self.drain_packets();
            self.check();
            if trains == TRAINS_MAX || (trains == 0 && self.connection.next_timeout() > self.now) {
                return;
            }
        }
        panic!("the end asks to be called at once, again and again");
    }

    fn drain_events(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            assert!(!self.closed, "{event:?} after the end");
            match event {
                Event::Message(message) => self.on_message(&message),
                Event::ChunkFull(_, chunk) => {
                    self.receiver.on_full(chunk, &mut self.connection, &mut self.memory);
                }
                Event::ChunkAccepted(_, chunk) => self.sender.on_accepted(chunk, &mut self.memory),
                Event::Closed { .. } => self.closed = true,
                _ => {}
            }
        }
    }

    fn on_message(&mut self, message: &Message) {
        if message.transfer() != TRANSFER {
            return self.refuse();
        }
        let taken = match self.setup.role {
            Role::Receiver => self.receiver.on_message(message, &mut self.connection, &mut self.memory),
            Role::Sender => self.sender.on_message(message, &mut self.connection, &mut self.memory),
        };
        if !taken {
            self.refuse();
        }
    }

    /// What the messages mean together is a breach: the application ends the connection.
    fn refuse(&mut self) {
        self.connection.close(self.now, CloseCode::Cancelled, "a breach of the transfer's rules");
    }

    fn act(&mut self) {
        if self.closed {
            return;
        }
        match self.setup.role {
            Role::Receiver => self.receiver.act(&mut self.connection, &mut self.memory),
            Role::Sender => self.sender.act(&mut self.connection, &mut self.memory),
        }
    }

    fn drain_packets(&mut self) -> usize {
        let mut seen = Seen::default();
        let mut trains = 0;
        while trains < TRAINS_MAX
            && let Some(transmit) =
                self.connection.poll_transmit(self.now, None, &mut self.frame, &self.memory)
        {
            trains += 1;
            assert!(transmit.len > 0 && transmit.segment > 0 && transmit.len <= self.frame.len());
            for packet in self.frame[..transmit.len].chunks(transmit.segment) {
                self.peer.hear(packet, &mut seen);
            }
            let way = self.peer.ways.entry(transmit.path.0).or_default();
            way.bytes_out += transmit.len as u64;
        }
        self.receiver.check_windows(&seen.windows);
        self.sender.check_data(&seen.data);
        trains
    }

    /// What holds whenever the end is at rest.
    fn check(&self) {
        let mut paths = 0;
        for path in self.connection.path_reports() {
            paths += 1;
            let way = self.peer.ways.get(&path.id.0);
            if path.state == PathState::Unproven
                && self.setup.side == Side::Acceptor
                && let Some(way) = way
            {
                assert!(
                    way.bytes_out <= limits::UNPROVEN_FACTOR * way.bytes_in,
                    "an unproven path amplifies"
                );
            }
        }
        assert!(paths <= limits::PATHS_MAX);
        assert!(self.connection.stream_backlog() <= 4 << 20, "the control stream grows");
        self.receiver.check(&self.memory);
    }

    /// Whether nothing more can come of it.
    pub(super) fn is_over(&self) -> bool {
        self.connection.is_over()
    }
}
