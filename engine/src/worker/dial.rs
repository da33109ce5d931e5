//! Connections on their way: HELLO, its repetitions, and the answers.

use super::{CRYPTO, Handshake, Worker, connection_id, random};
use crate::api::{self, Connect, Event, Latency, Outcome, PathPair};
use crate::error::{Class, Error};
use crate::limits;
use crate::report::Shared;
use crate::source::Now;
use crate::storage::{Answer, Job};
use crate::transfer::{Driver, DriverStart, TRANSFER, tell_listing};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use xfer_io::pool::ChunkPool;
use xfer_proto::connection::{Connection, Established, Side};
use xfer_proto::crypto::Ticket;
use xfer_proto::handshake::{
    DropReason, Established as Shaken, Opener, Payload, ReplyError, hello_stream_room,
};
use xfer_proto::limits::{DATAGRAM_MIN, HELLO_LEN_FULL, STREAM_WINDOW};
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

/// A HELLO, and the piece of the control stream that it carries.
struct Hello {
    opener: Opener,
    carried: Option<(u64, u16)>,
}

/// A connection whose handshake is under way.
pub(super) struct Dial {
    start: DialStart,
    /// What storage's answer names, here and later at the driver.
    key: u32,
    local_id: ConnectionId,
    /// The first page of what is sent was asked for, so that the HELLO can carry it.
    lists: bool,
    listed: Option<Answer>,
    /// The HELLO carries the page.
    told: bool,
    /// Empty before the first one is sent. The first carries most; the other, smaller one goes along when it is repeated, for paths that do
    /// not carry the first.
    hellos: Vec<Hello>,
    stream: SendStream,
    /// The pairs that have a socket, in the order in which they are tried, and their queues.
    ways: Vec<(PathPair, usize)>,
    sends: u32,
    first_sent: Time,
    resend_at: Time,
    deadline: Time,
}

impl Dial {
    /// Whether answers to it carry that connection id.
    pub(super) fn is(&self, id: u32) -> bool {
        self.local_id.0 == id
    }

    pub(super) fn next_timeout(&self) -> Time {
        self.resend_at.min(self.deadline)
    }

    /// The way of the next HELLO: each repetition tries another, since the first may be dead.
    #[expect(
        clippy::indexing_slicing,
        reason = "a dial has a way at least, and a remainder is below the length"
    )]
    fn way(&self) -> (PathPair, usize) {
        self.ways[self.sends as usize % self.ways.len()]
    }

    /// The way that a datagram came by.
    fn way_of(&self, handshake: &Handshake) -> Option<PathPair> {
        let came = |(pair, queue): &&(PathPair, usize)| {
            let came_by = match handshake.meta.destination {
                Some(local) => local == pair.local,
                None => *queue == handshake.queue,
            };
            pair.remote == handshake.meta.source && came_by
        };
        self.ways.iter().find(came).map(|(pair, _)| *pair)
    }

    /// Writes the HELLOs: OPEN, and what was listed so far.
    #[expect(clippy::indexing_slicing, clippy::expect_used, reason = "the stream is cut to what fits")]
    fn write_hellos(&mut self, receive_buffer: u32) {
        self.stream.push(&Message::Open(Open {
            transfer: TRANSFER,
            role: match self.start.connect.role {
                api::Role::Send(_) => Role::Sender,
                api::Role::Receive(_) => Role::Receiver,
            },
            chunk_log2: self.start.connect.config.chunk_log2,
            digests: self.start.connect.config.digests,
        }));
        if let Some(Answer::Listed(Ok(listing))) = &mut self.listed {
            tell_listing(listing, 0, 0, &mut |message| self.stream.push(message));
            self.told = true;
        }
        let mut bytes = Vec::new();
        self.stream.take(hello_stream_room(HELLO_LEN_FULL), |_, first, second| {
            bytes.extend_from_slice(first);
            bytes.extend_from_slice(second);
        });
        for len in [HELLO_LEN_FULL, DATAGRAM_MIN] {
            let stream = &bytes[..bytes.len().min(hello_stream_room(len))];
            let payload = Payload {
                connection: self.local_id,
                datagram_max: limits::DATAGRAM_MAX,
                receive_buffer,
                stream_credit: STREAM_WINDOW as u32,
                stream: stream.to_vec(),
            };
            let opener = Opener::new(&self.start.ticket, random(), &payload);
            let mut opener = opener.expect("the stream was cut to fit");
            opener.pad(len);
            self.hellos.push(Hello { opener, carried: Some((0, stream.len() as u16)) });
        }
    }

    /// Takes a COOKIE: the HELLOs carry it from now on. False when it is dropped.
    fn take_cookie(&mut self, datagram: &[u8]) -> bool {
        !self.hellos.is_empty() && self.hellos.iter_mut().all(|h| h.opener.handle_cookie(datagram).is_ok())
    }

    /// Takes a REPLY to one of the HELLOs; which one it answers shows when it opens. Gives the piece of the stream that the peer has.
    #[expect(clippy::indexing_slicing, reason = "`i` counts the HELLOs")]
    fn take_reply(&mut self, datagram: &[u8]) -> Result<(Shaken, Option<(u64, u16)>), ReplyError> {
        let mut last = ReplyError::Dropped(DropReason::Connection);
        for i in 0..self.hellos.len() {
            match self.hellos[i].opener.handle_reply(datagram) {
                Ok(reply) => {
                    let (carried, most) = (self.hellos[i].carried, self.hellos[0].carried);
                    // What only the other one carried did not arrive.
                    if let (Some((_, len)), Some((_, most))) = (carried, most)
                        && len < most
                    {
                        self.stream.on_lost((u64::from(len), most - len));
                    }
                    return Ok((reply, carried));
                }
                Err(ReplyError::Dropped(why)) => last = ReplyError::Dropped(why),
                Err(peer) => return Err(peer),
            }
        }
        Err(last)
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
        let hints = self.hellos.iter().map(|hello| hello.opener.versions_hint());
        if let Some(theirs) = hints.into_iter().find(|hint| !hint.is_empty()) {
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
        let key = self.next_key();
        let (lists, listed) = match &start.connect.role {
            api::Role::Send(source) => match source.list_now(0) {
                Now::Ask => {
                    self.storage.submit(key, Job::List(source.clone(), 0));
                    (true, None)
                }
                Now::Later => (false, None),
                Now::Ready(listing) => (true, Some(Answer::Listed(listing))),
            },
            api::Role::Receive(_) => (false, None),
        };
        let waits = lists && listed.is_none();
        let deadline = now + start.connect.timeout;
        let local_id = connection_id(self.index);
        self.admitted.admit(local_id.0);
        self.dials.push(Dial {
            start,
            key,
            local_id,
            lists,
            listed,
            told: false,
            hellos: Vec::new(),
            stream: SendStream::new(STREAM_WINDOW),
            ways,
            sends: 0,
            first_sent: now,
            resend_at: if waits { now + limits::HELLO_HOLD } else { now },
            deadline,
        });
        self.dial_timeouts(now);
    }

    /// Storage answered the dial with key `key`, if there is one: the first HELLO need not wait any longer.
    pub(super) fn dial_answer(&mut self, now: Time, key: u32, answer: Answer) {
        let Some(dial) = self.dials.iter_mut().find(|dial| dial.key == key) else { return };
        dial.listed = Some(answer);
        if dial.sends == 0 {
            dial.resend_at = now;
        }
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
                    tracing::debug!(%error, local = %pair.local, "no socket on an address");
                    failure = Error::new(Class::Fatal, text).because(error);
                }
            }
        }
        if ways.is_empty() { Err(failure) } else { Ok(ways) }
    }

    /// Repeats HELLOs and gives up what was not answered in time.
    #[expect(clippy::indexing_slicing, reason = "`i` stays below the number of dials")]
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

    #[expect(
        clippy::indexing_slicing,
        reason = "callers name a dial that is there; it has two HELLOs once they are written"
    )]
    fn send_hello(&mut self, now: Time, i: usize) {
        let Worker { dials, sockets, .. } = self;
        let dial = &mut dials[i];
        let (pair, queue) = dial.way();
        dial.resend_at = now + limits::HELLO_RESEND * (1 << dial.sends.min(2));
        if dial.sends == 0 {
            dial.first_sent = now;
            dial.write_hellos(sockets.receive_buffer(queue));
        }
        let count = if dial.sends == 0 { 1 } else { dial.hellos.len() };
        dial.sends += 1;
        for hello in &dial.hellos[..count] {
            sockets.send_single(queue, pair.remote, Some(pair.local), hello.opener.hello());
        }
    }

    /// Takes REPLY, COOKIE or VERSIONS.
    /// False when no connection on its way waits for it.
    #[expect(clippy::indexing_slicing, reason = "the dial was found just before")]
    pub(super) fn take_answer(&mut self, now: Time, handshake: &Handshake) -> bool {
        let ours = |d: &Dial| {
            let named = d.local_id == handshake.header.connection;
            if named || handshake.header.kind != Kind::Reply { d.way_of(handshake) } else { None }
        };
        let found = self.dials.iter().enumerate().find_map(|(i, d)| Some((i, ours(d)?)));
        let Some((i, pair)) = found else { return false };
        match handshake.header.kind {
            Kind::Cookie if self.dials[i].take_cookie(&handshake.bytes) => {
                // The cookie holds for this address alone.
                let at = self.dials[i].ways.iter().position(|(way, _)| *way == pair).unwrap_or(0);
                self.dials[i].ways.rotate_left(at);
                self.dials[i].sends = self.dials[i].sends.next_multiple_of(self.dials[i].ways.len() as u32);
                self.send_hello(now, i);
            }
            Kind::Versions => {
                for hello in self.dials[i].hellos.iter_mut().take(1) {
                    if let Err(why) = hello.opener.handle_versions(&handshake.bytes) {
                        tracing::trace!(?why, "dropped a VERSIONS packet");
                    }
                }
            }
            Kind::Reply => match self.dials[i].take_reply(&handshake.bytes) {
                Ok((reply, carried)) => {
                    let dial = self.dials.swap_remove(i);
                    self.dialled(now, dial, pair, reply, carried);
                }
                Err(ReplyError::Dropped(why)) => tracing::trace!(?why, "dropped a REPLY"),
                Err(ReplyError::Peer(why)) => {
                    let error = Error::new(Class::Refused, "the peer's answer breaks the protocol");
                    self.dials.swap_remove(i).give_up(error.because(why));
                }
            },
            _ => {}
        }
        true
    }

    /// The peer answered by `pair`, which becomes path 0.
    fn dialled(&mut self, now: Time, dial: Dial, pair: PathPair, reply: Shaken, carried: Option<(u64, u16)>) {
        let rtt = (dial.sends == 1).then(|| now.since(dial.first_sent).max(Duration::from_micros(1)));
        let mut stream = dial.stream;
        stream.on_credit(u64::from(reply.payload.stream_credit));
        let settings = dial.start.connect.config.connection(&reply.payload);
        let established = Established {
            side: Side::Opener,
            secrets: reply.secrets,
            suite: dial.start.ticket.suite(),
            local_id: dial.local_id,
            remote_id: reply.payload.connection,
            address: Address { remote: pair.remote, local: Some(pair.local) },
            rtt,
            stream,
            carried,
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
                reply_room: None,
                listing: dial.lists.then_some(dial.told),
            },
        );
        self.adopt(now, dial.key, driver, dial.listed);
    }
}
