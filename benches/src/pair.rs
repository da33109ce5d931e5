//! Two connections that hand each other their packets: all that the protocol does for content, ciphers left out.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use xfer_proto::cc::Algorithm;
use xfer_proto::connection::{
    ChunkBytes, ChunkMemory, Config, Connection, Established, Event, Received, Side,
};
use xfer_proto::crypto::{Secrets, Suite};
use xfer_proto::limits;
use xfer_proto::path::Address;
use xfer_proto::stream::SendStream;
use xfer_proto::time::Time;
use xfer_proto::wire::{Chunk, Codec, ConnectionId, Header, Kind, Message, TransferId};

use crate::hollow::Hollow;

const TRANSFER: TransferId = TransferId(1);
const CHUNK_LOG2: u8 = 20;
/// Chunks of a run, and chunk buffers of the receiver.
const CHUNKS: u32 = 4;
const BUFFERS: u32 = 16;
/// Content bytes of a run.
pub(crate) const BYTES: u64 = (CHUNKS as u64) << CHUNK_LOG2;
/// Time from one turn to the next, and the rate of the sender, bytes a second: two trains a turn.
const TURN: Duration = Duration::from_micros(200);
const RATE: u64 = 125_000_000;
/// Of so many packets of content one is lost.
const LOSS: u64 = 50;
/// Turns after which a run that is not over is stuck.
const TURNS_MAX: u32 = 100_000;

/// Memory that nobody looks into.
struct Blank(Vec<u8>);

impl ChunkBytes for Blank {
    fn read<R>(&self, _: TransferId, _: u32, range: Range<u32>, read: impl FnOnce(&[u8]) -> R) -> R {
        read(&self.0[..range.len()])
    }
}

impl ChunkMemory for Blank {
    fn write<R>(&mut self, _: TransferId, _: u32, range: Range<u32>, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        fill(&mut self.0[..range.len()])
    }
}

struct Pair {
    now: Time,
    ends: [Connection<Hollow>; 2],
    offered: u32,
    granted: u32,
    accepted: u32,
    data: u64,
    loss: u64,
    frame: Vec<u8>,
    memory: Blank,
    content: Blank,
}

pub(crate) fn no_loss() -> Box<dyn FnMut()> {
    let mut pair = Pair::new(u64::MAX);
    Box::new(move || pair.run())
}

pub(crate) fn lossy() -> Box<dyn FnMut()> {
    let mut pair = Pair::new(LOSS);
    Box::new(move || pair.run())
}

fn address(side: usize) -> Address {
    Address { remote: SocketAddr::from(([10, 77, 0, side as u8 + 1], 4_000)), local: None }
}

fn end(now: Time, side: usize) -> Connection<Hollow> {
    let config = Config {
        algorithm: Algorithm::Fixed { bytes_per_second: RATE },
        rate_max: None,
        datagram_max: 1_472,
        peer_buffer: 4 << 20,
        idle: limits::IDLE,
        rekey_after: None,
    };
    let established = Established {
        side: [Side::Opener, Side::Acceptor][side],
        secrets: Secrets { open: [1; 32], accept: [2; 32] },
        suite: Suite::Aes128Gcm,
        local_id: ConnectionId(side as u32),
        remote_id: ConnectionId(1 - side as u32),
        address: address(1 - side),
        rtt: Some(TURN),
        stream: SendStream::new(limits::STREAM_WINDOW),
        carried: None,
        peer_stream: Vec::new(),
        seed: [side as u8; 32],
    };
    Connection::new(now, Hollow, config, established)
}

impl Pair {
    fn new(loss: u64) -> Self {
        let now = Time::from_nanos(1_000_000_000);
        let mut ends = [end(now, 0), end(now, 1)];
        ends[0].start_sending(TRANSFER, CHUNK_LOG2);
        ends[1].start_receiving(TRANSFER, CHUNK_LOG2);
        Pair {
            now,
            ends,
            offered: 0,
            granted: 0,
            accepted: 0,
            data: 0,
            loss,
            frame: vec![0; limits::DATAGRAM_MAX],
            memory: Blank(vec![0; limits::DATAGRAM_MAX]),
            content: Blank(vec![0; limits::DATAGRAM_MAX]),
        }
    }

    /// Moves the chunks of one run.
    fn run(&mut self) {
        let goal = self.accepted + CHUNKS;
        for _ in 0..TURNS_MAX {
            if self.accepted >= goal {
                return;
            }
            self.now = self.now + TURN;
            self.turn(1);
            self.turn(0);
        }
        panic!("{} of {goal} chunks", self.accepted);
    }

    fn turn(&mut self, side: usize) {
        let Pair { now, ends, data, loss, frame, memory, content, .. } = self;
        let [first, second] = ends;
        let (from, to) = if side == 0 { (first, second) } else { (second, first) };
        if from.next_timeout() <= *now {
            from.handle_timeout(*now);
        }
        while let Some(transmit) = from.poll_transmit(*now, None, frame, &*content) {
            for datagram in frame[..transmit.len].chunks(transmit.segment) {
                let header = Header::decode(datagram).expect("it was just written");
                *data += u64::from(header.kind == Kind::Data);
                if header.kind == Kind::Data && data.is_multiple_of(*loss) {
                    continue;
                }
                let arrival =
                    Received { now: *now, from: address(side), ce: false, header: &header, datagram };
                let taken = to.receive(&arrival, memory);
                assert!(taken.is_ok(), "{taken:?}");
            }
        }
        self.apply();
    }

    fn apply(&mut self) {
        let [sender, receiver] = &mut self.ends;
        while let Some(event) = receiver.poll_event() {
            if let Event::ChunkFull(transfer, chunk) = event {
                receiver.incoming(transfer).expect("it receives").accept(chunk);
                self.accepted += 1;
            }
        }
        while sender.poll_event().is_some() {}
        let incoming = receiver.incoming(TRANSFER).expect("it receives");
        while self.granted < self.accepted + BUFFERS && incoming.can_grant() {
            incoming.grant(1 << CHUNK_LOG2);
            self.granted += 1;
        }
        let limit = sender.outgoing(TRANSFER).expect("it sends").limit();
        while self.offered < limit {
            let (chunk, stored_len) = (self.offered, 1 << CHUNK_LOG2);
            sender.outgoing(TRANSFER).expect("it sends").offer(chunk, 0, stored_len);
            let (attempt, codec, digests) = (0, Codec::Plain, Vec::new());
            let entry = Chunk { transfer: TRANSFER, chunk, attempt, codec, stored_len, digests };
            sender.send(&Message::Chunk(entry));
            self.offered += 1;
        }
    }
}
