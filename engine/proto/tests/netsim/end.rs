//! One end of a flow: its connection, an application that never waits, and a worker that wakes up as late as real ones do.
//!
//! The content is all zeros, so that of a DATA packet only the header travels.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use xfer_netem::Rng;
use xfer_proto::cc::Algorithm;
use xfer_proto::connection::{
    ChunkBytes, ChunkMemory, Config, Connection, Established, Event, PathReport, Received, Side,
};
use xfer_proto::crypto::{Secrets, Suite};
use xfer_proto::limits;
use xfer_proto::path::Address;
use xfer_proto::stream::SendStream;
use xfer_proto::time::Time;
use xfer_proto::wire::{Chunk, Codec, ConnectionId, HEADER_LEN, Header, Kind, Message, TransferId};

use crate::hollow::Hollow;

/// The one transfer of a flow, and its chunks: as the product has them.
const TRANSFER: TransferId = TransferId(1);
const CHUNK_LOG2: u8 = 20;
/// Chunk buffers of the receiver: more than any wire here holds.
const BUFFERS: u32 = 96;
/// What a socket of the product has where the system allows it.
const SOCKET_BYTES: usize = 4 << 20;
/// Datagrams that a worker takes in one burst, and trains that it sends before it looks at its socket again.
const BURST: usize = 64;
const TRAINS: usize = 16;
/// A turn that left work behind is followed by the next one after this, ns.
const AGAIN_NS: u64 = 20_000;
/// A sleeping worker takes from this to so much more to run, ns.
const WAKE_NS: [u64; 2] = [5_000, 45_000];
/// Bytes of a receiver's content are counted in so many steps a second.
pub(crate) const STEPS: u64 = 1_000;

/// A datagram under way: all its bytes, or the header alone of one that carries content.
pub(crate) struct Datagram {
    pub(crate) bytes: Vec<u8>,
    pub(crate) len: u32,
}

/// What an end needs to know to begin.
pub(crate) struct Start {
    pub(crate) at: u64,
    pub(crate) sends: bool,
    pub(crate) algorithm: Algorithm,
    pub(crate) rtt: Duration,
    /// Chunks to move; `None` never ends.
    pub(crate) chunks: Option<u32>,
    pub(crate) seed: u64,
}

struct Zeros(Vec<u8>);

impl ChunkBytes for Zeros {
    fn read<R>(&self, _: TransferId, _: u32, range: Range<u32>, read: impl FnOnce(&[u8]) -> R) -> R {
        read(&self.0[..range.len()])
    }
}

/// Counts what is placed, step by step.
struct Counter {
    step: usize,
    steps: Vec<u64>,
    scratch: Vec<u8>,
}

impl ChunkMemory for Counter {
    fn write<R>(&mut self, _: TransferId, _: u32, range: Range<u32>, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        if self.steps.len() <= self.step {
            self.steps.resize(self.step + 1, 0);
        }
        self.steps[self.step] += range.len() as u64;
        fill(&mut self.scratch[..range.len()])
    }
}

pub(crate) struct End {
    connection: Connection<Hollow>,
    peer: Address,
    sends: bool,
    origin_ns: u64,
    chunks: u32,
    /// Chunks that were offered, or granted.
    begun: u32,
    /// Chunks that were accepted.
    pub(crate) ended: u32,
    zeros: Zeros,
    counter: Counter,
    frame: Vec<u8>,
    /// A DATA datagram but for its header.
    arrival: Vec<u8>,
    socket: VecDeque<Datagram>,
    socket_bytes: usize,
    rng: Rng,
    pub(crate) wake_at: Option<u64>,
    /// When the first content left.
    pub(crate) first_data_ns: Option<u64>,
    /// When the last chunk was accepted.
    pub(crate) done_ns: Option<u64>,
}

impl End {
    pub(crate) fn new(start: &Start) -> Self {
        let (side, host) = if start.sends { (Side::Opener, 1) } else { (Side::Acceptor, 2) };
        let mut rng = Rng::stream(start.seed, u64::from(host));
        let origin_ns = u64::from(host) * 5_000_000_000;
        let now = Time::from_nanos(origin_ns + start.at);
        let peer = Address { remote: SocketAddr::from(([10, 77, 0, host], 4_000)), local: None };
        let config = Config {
            algorithm: start.algorithm,
            rate_max: None,
            datagram_max: 1_472,
            peer_buffer: SOCKET_BYTES as u32,
            idle: limits::IDLE,
            rekey_after: None,
        };
        let mut seed = [0; 32];
        seed.chunks_mut(8).for_each(|c| c.copy_from_slice(&rng.next_u64().to_le_bytes()));
        let established = Established {
            side,
            secrets: Secrets { open: [1; 32], accept: [2; 32] },
            suite: Suite::Aes128Gcm,
            local_id: ConnectionId(u32::from(host)),
            remote_id: ConnectionId(u32::from(3 - host)),
            address: peer,
            rtt: start.sends.then_some(start.rtt),
            stream: SendStream::new(limits::STREAM_WINDOW),
            carried: None,
            peer_stream: Vec::new(),
            seed,
        };
        let mut connection = Connection::new(now, Hollow, config, established);
        if start.sends {
            connection.start_sending(TRANSFER, CHUNK_LOG2);
        } else {
            connection.start_receiving(TRANSFER, CHUNK_LOG2);
        }
        End {
            connection,
            peer,
            sends: start.sends,
            origin_ns,
            chunks: start.chunks.unwrap_or(limits::CHUNKS_END),
            begun: 0,
            ended: 0,
            zeros: Zeros(vec![0; limits::DATAGRAM_MAX]),
            counter: Counter { step: 0, steps: Vec::new(), scratch: vec![0; limits::DATAGRAM_MAX] },
            frame: vec![0; limits::DATAGRAM_MAX],
            arrival: vec![0; limits::DATAGRAM_MAX],
            socket: VecDeque::new(),
            socket_bytes: 0,
            rng,
            wake_at: Some(start.at),
            first_data_ns: None,
            done_ns: None,
        }
    }

    /// A datagram arrived at the socket.
    pub(crate) fn arrive(&mut self, at: u64, datagram: Datagram) {
        if self.socket_bytes + datagram.len as usize > SOCKET_BYTES {
            return;
        }
        self.socket_bytes += datagram.len as usize;
        if self.socket.is_empty() {
            let wake = at + self.latency();
            self.wake_at = Some(self.wake_at.map_or(wake, |before| before.min(wake)));
        }
        self.socket.push_back(datagram);
    }

    fn latency(&mut self) -> u64 {
        WAKE_NS[0] + self.rng.below(WAKE_NS[1])
    }

    /// One turn of the worker's loop; `send` takes what goes out.
    pub(crate) fn turn(&mut self, at: u64, mut send: impl FnMut(Datagram)) {
        let now = Time::from_nanos(self.origin_ns + at);
        self.counter.step = (at / (1_000_000_000 / STEPS)) as usize;
        for _ in 0..BURST {
            let Some(datagram) = self.socket.pop_front() else { break };
            self.take(now, &datagram);
        }
        if self.connection.next_timeout() <= now {
            self.connection.handle_timeout(now);
        }
        self.apply(at);
        let mut trains = 0;
        while trains < TRAINS
            && let Some(transmit) = self.connection.poll_transmit(now, None, &mut self.frame, &self.zeros)
        {
            trains += 1;
            for datagram in self.frame[..transmit.len].chunks(transmit.segment) {
                let data = Header::decode(datagram).is_ok_and(|header| header.kind == Kind::Data);
                if data {
                    self.first_data_ns.get_or_insert(at);
                }
                let kept = if data { HEADER_LEN } else { datagram.len() };
                send(Datagram { bytes: datagram[..kept].to_vec(), len: datagram.len() as u32 });
            }
        }
        let again = !self.socket.is_empty() || trains == TRAINS;
        let timer = self.connection.next_timeout().as_nanos().saturating_sub(self.origin_ns);
        self.wake_at = Some(if again { at + AGAIN_NS } else { timer.max(at) + self.latency() });
    }

    fn take(&mut self, now: Time, datagram: &Datagram) {
        self.socket_bytes -= datagram.len as usize;
        let header = Header::decode(&datagram.bytes).expect("nothing is damaged");
        let bytes = if header.kind == Kind::Data {
            self.arrival[..HEADER_LEN].copy_from_slice(&datagram.bytes);
            &self.arrival[..datagram.len as usize]
        } else {
            &datagram.bytes
        };
        let arrival = Received { now, from: self.peer, ce: false, header: &header, datagram: bytes };
        let taken = self.connection.receive(&arrival, &mut self.counter);
        taken.unwrap_or_else(|dropped| panic!("{dropped:?}: {header:?}"));
    }

    fn apply(&mut self, at: u64) {
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::ChunkFull(transfer, chunk) => {
                    self.connection.incoming(transfer).expect("it receives").accept(chunk);
                    self.ended += 1;
                }
                Event::ChunkAccepted(..) => {
                    self.ended += 1;
                    if self.ended == self.chunks {
                        self.done_ns = Some(at);
                    }
                }
                Event::Closed { code, text, .. } => panic!("closed with {code:?}: {text}"),
                _ => {}
            }
        }
        if self.sends { self.offer() } else { self.grant() }
    }

    fn offer(&mut self) {
        let limit = self.connection.outgoing(TRANSFER).expect("it sends").limit().min(self.chunks);
        while self.begun < limit {
            let (chunk, stored_len) = (self.begun, 1 << CHUNK_LOG2);
            self.connection.outgoing(TRANSFER).expect("it sends").offer(chunk, 0, stored_len);
            let (attempt, codec, digests) = (0, Codec::Plain, Vec::new());
            let entry = Chunk { transfer: TRANSFER, chunk, attempt, codec, stored_len, digests };
            self.connection.send(&Message::Chunk(entry));
            self.begun += 1;
        }
    }

    fn grant(&mut self) {
        let incoming = self.connection.incoming(TRANSFER).expect("it receives");
        while self.begun < self.chunks && self.begun - self.ended < BUFFERS && incoming.can_grant() {
            incoming.grant(1 << CHUNK_LOG2);
            self.begun += 1;
        }
    }

    /// Content bytes that were placed in each step.
    pub(crate) fn steps(&self) -> &[u64] {
        &self.counter.steps
    }

    /// What is known of the one path.
    pub(crate) fn report(&self) -> PathReport {
        self.connection.path_reports().next().expect("the only path stays")
    }
}
