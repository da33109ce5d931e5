//! Connections on their way: HELLO, its repetitions, and the answers.

use super::{CRYPTO, Handshake, Worker, connection_id, random};
use crate::api::{Connect, Event, Latency, Outcome, PathPair};
use crate::error::{Class, Error};
use crate::limits;
use crate::report::Shared;
use crate::transfer::{Driver, DriverStart, TRANSFER};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use xfer_io::pool::ChunkPool;
use xfer_proto::connection::{Connection, Established, Side};
use xfer_proto::crypto::{Suite, Ticket};
use xfer_proto::handshake::{Opener, Payload, ReplyError, hello_stream_room};
use xfer_proto::path::Address;
use xfer_proto::stream::SendStream;
use xfer_proto::time::Time;
use xfer_proto::wire::{ConnectionId, Kind, Message, Open, Role};

/// A connection that an application wants.
pub(crate) struct DialStart {
    pub(crate) connect: Connect,
    pub(crate) ticket: Ticket,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: ChunkPool,
}

/// A connection whose handshake is under way.
pub(super) struct Dial {
    start: DialStart,
    opener: Opener,
    suite: Suite,
    local_id: ConnectionId,
    stream: SendStream,
    carried: Option<(u64, u16)>,
    /// The pairs that have a socket, in the order in which they are tried, and their queues.
    ways: Vec<(PathPair, usize)>,
    sends: u32,
    first_sent: Time,
    resend_at: Time,
    deadline: Time,
}

impl Dial {
    pub(super) fn next_timeout(&self) -> Time {
        self.resend_at.min(self.deadline)
    }

    /// The way of the next HELLO: each repetition tries another, since the first may be dead.
    fn way(&self) -> (PathPair, usize) {
        self.ways[self.sends as usize % self.ways.len()]
    }

    /// The way that a datagram came by.
    fn way_of(&self, handshake: &Handshake) -> Option<PathPair> {
        let came = |(pair, queue): &&(PathPair, usize)| {
            let local = handshake.meta.destination.is_none_or(|local| local == pair.local);
            pair.remote == handshake.meta.source && *queue == handshake.queue && local
        };
        self.ways.iter().find(came).map(|(pair, _)| *pair)
    }

    /// Ends it without a connection.
    pub(super) fn give_up(self, error: Error) {
        give_up(&self.start.shared, error);
    }

    fn unanswered(&self) -> Error {
        let seconds = self.start.connect.timeout.as_secs();
        let mut error = Error::new(Class::Temporary, format!("no path answered within {seconds} s"));
        for pair in self.start.connect.paths.iter().chain(&self.start.connect.standby) {
            let port = pair.remote.port();
            error = error.because(format!(
                "UDP {port} to {} from {} is not answered; open it, or serve with --data IP:PORT",
                pair.remote.ip(),
                pair.local
            ));
        }
        if !self.opener.versions_hint().is_empty() {
            let theirs = self.opener.versions_hint();
            error.class = Class::Refused;
            error =
                error.because(format!("the peer speaks protocol versions {theirs:?}, this end version 1"));
        }
        error
    }
}

fn give_up(shared: &Shared, error: Error) {
    let progress = shared.progress();
    let outcome = Outcome {
        error: Some(error),
        progress,
        verified: false,
        durability: None,
        latency: Latency::default(),
    };
    shared.deliver(&mut VecDeque::from([Event::Finished(Box::new(outcome))]));
}

impl Worker {
    /// Sends the first HELLO.
    pub(super) fn dial(&mut self, now: Time, start: DialStart) {
        let ways = match self.open_ways(&start.connect) {
            Ok(ways) => ways,
            Err(error) => return give_up(&start.shared, error),
        };
        let local_id = connection_id(self.index);
        let mut stream = SendStream::new(xfer_proto::limits::STREAM_WINDOW);
        stream.push(&Message::Open(Open {
            transfer: TRANSFER,
            role: match start.connect.role {
                crate::api::Role::Send(_) => Role::Sender,
                crate::api::Role::Receive(_) => Role::Receiver,
            },
            chunk_log2: start.connect.config.chunk_log2,
            digests: start.connect.config.digests,
        }));
        let mut bytes = Vec::new();
        let room = hello_stream_room(xfer_proto::limits::DATAGRAM_MIN);
        let carried = stream.take(room, |_, first, second| {
            bytes.extend_from_slice(first);
            bytes.extend_from_slice(second);
        });
        let payload = Payload {
            connection: local_id,
            datagram_max: limits::DATAGRAM_MAX,
            receive_buffer: self.sockets.receive_buffer(ways[0].1),
            stream_credit: xfer_proto::limits::STREAM_WINDOW as u32,
            stream: bytes,
        };
        let opener = Opener::new(&start.ticket, random(), &payload).expect("the stream was cut to fit");
        let deadline = now + start.connect.timeout;
        let suite = start.ticket.suite();
        self.dials.push(Dial {
            start,
            opener,
            suite,
            local_id,
            stream,
            carried,
            ways,
            sends: 0,
            first_sent: now,
            resend_at: now,
            deadline,
        });
        self.dial_timeouts(now);
    }

    /// Opens a socket for each pair; those that have none are left out, unless that leaves nothing.
    fn open_ways(&mut self, connect: &Connect) -> Result<Vec<(PathPair, usize)>, Error> {
        let mut ways = Vec::new();
        let mut failure = Error::new(Class::Usage, "there is no pair of addresses to connect by");
        for pair in connect.paths.iter().chain(&connect.standby) {
            match self.sockets.open(pair.local, &self.poller) {
                Ok(queue) => ways.push((*pair, queue)),
                Err(error) => {
                    let text = format!("open a socket on {}", pair.local);
                    tracing::debug!(%error, "{text}");
                    failure = Error::new(Class::Fatal, text).because(error);
                }
            }
        }
        if ways.is_empty() { Err(failure) } else { Ok(ways) }
    }

    /// Repeats HELLOs and gives up what was not answered in time.
    pub(super) fn dial_timeouts(&mut self, now: Time) -> bool {
        let mut worked = false;
        let mut i = 0;
        while i < self.dials.len() {
            if let Some(error) = self.dials[i].start.shared.take_cancel() {
                self.dials.swap_remove(i).give_up(error);
                continue;
            }
            if now >= self.dials[i].deadline {
                let dial = self.dials.swap_remove(i);
                let error = dial.unanswered();
                dial.give_up(error);
                continue;
            }
            if now >= self.dials[i].resend_at {
                worked = true;
                self.send_hello(now, i);
            }
            i += 1;
        }
        worked
    }

    fn send_hello(&mut self, now: Time, i: usize) {
        let Worker { dials, sockets, .. } = self;
        let dial = &mut dials[i];
        dial.resend_at = now + limits::HELLO_RESEND * (1 << dial.sends.min(2));
        if dial.sends == 0 {
            dial.first_sent = now;
        }
        let (pair, queue) = dial.way();
        dial.sends += 1;
        sockets.send_single(queue, pair.remote, Some(pair.local), dial.opener.hello());
    }

    /// Takes REPLY, COOKIE or VERSIONS.
    pub(super) fn take_answer(&mut self, now: Time, handshake: &Handshake) {
        let ours = |d: &Dial| {
            let named = d.local_id == handshake.header.connection;
            if named || handshake.header.kind != Kind::Reply { d.way_of(handshake) } else { None }
        };
        let found = self.dials.iter().enumerate().find_map(|(i, d)| Some((i, ours(d)?)));
        let Some((i, pair)) = found else { return };
        match handshake.header.kind {
            Kind::Cookie if self.dials[i].opener.handle_cookie(&handshake.bytes).is_ok() => {
                // The cookie holds for this address alone.
                let at = self.dials[i].ways.iter().position(|(way, _)| *way == pair).unwrap_or(0);
                self.dials[i].ways.rotate_left(at);
                self.dials[i].sends = self.dials[i].sends.next_multiple_of(self.dials[i].ways.len() as u32);
                self.send_hello(now, i);
            }
            Kind::Versions => {
                if let Err(why) = self.dials[i].opener.handle_versions(&handshake.bytes) {
                    tracing::trace!(?why, "dropped a VERSIONS packet");
                }
            }
            Kind::Reply => match self.dials[i].opener.handle_reply(&handshake.bytes) {
                Ok(reply) => {
                    let dial = self.dials.swap_remove(i);
                    self.dialled(now, dial, pair, reply);
                }
                Err(ReplyError::Dropped(why)) => tracing::trace!(?why, "dropped a REPLY"),
                Err(ReplyError::Peer(why)) => {
                    let error = Error::new(Class::Refused, "the peer's answer breaks the protocol");
                    self.dials.swap_remove(i).give_up(error.because(why));
                }
            },
            _ => {}
        }
    }

    /// The peer answered by `pair`, which becomes path 0.
    fn dialled(&mut self, now: Time, dial: Dial, pair: PathPair, reply: xfer_proto::handshake::Established) {
        let rtt = (dial.sends == 1).then(|| now.since(dial.first_sent).max(Duration::from_micros(1)));
        let mut stream = dial.stream;
        stream.on_credit(u64::from(reply.payload.stream_credit));
        let settings = dial.start.connect.config.connection(&reply.payload);
        let established = Established {
            side: Side::Opener,
            secrets: reply.secrets,
            suite: dial.suite,
            local_id: dial.local_id,
            remote_id: reply.payload.connection,
            address: Address { remote: pair.remote, local: Some(pair.local) },
            rtt,
            stream,
            carried: dial.carried,
            peer_stream: reply.payload.stream,
            seed: random(),
        };
        let Connect { mut paths, mut standby, role, config, .. } = dial.start.connect;
        paths.retain(|other| *other != pair);
        paths.insert(0, pair);
        standby.retain(|other| *other != pair);
        let connection = Connection::new(now, CRYPTO, settings, established);
        let driver = Driver::new(
            now,
            DriverStart {
                connection,
                role,
                config,
                shared: dial.start.shared,
                opener: true,
                slot: self.slot,
                pool: dial.start.pool,
                pairs: paths,
                standby,
            },
        );
        self.adopt(now, driver);
    }
}
