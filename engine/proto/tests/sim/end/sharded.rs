//! The part of a connection that another worker carries: what goes between the two takes as long as that worker takes to run.

use std::collections::VecDeque;

use xfer_proto::incoming::Grant;
use xfer_proto::shard::{Arrival, Shard, Taken};

use super::*;

/// A shard with the rings to and from it, each entry with the time at which the other end sees it.
pub(super) struct Sharded<C: Witnessed> {
    shard: Shard<C>,
    /// Trains that were planned and sealed.
    trains: VecDeque<(u64, SocketAddr, Vec<Vec<u8>>)>,
    grants: VecDeque<(u64, u32, Option<Grant>)>,
    news: VecDeque<(u64, News)>,
    paths: Vec<PathId>,
    shares: bool,
    /// Entries of a ring stay in order.
    latest: u64,
    rng: Rng,
}

enum News {
    Arrived(Arrival),
    Datagram(Datagram),
}

impl<C: Witnessed> Sharded<C> {
    fn due(&mut self, at: u64) -> u64 {
        let late = if self.rng.below(50) == 0 { self.rng.below(4 * MS) } else { 0 };
        self.latest = self.latest.max(at + self.rng.below(100_000) + late);
        self.latest
    }

    pub(super) fn next(&self) -> Option<u64> {
        let fronts = [
            self.trains.front().map(|x| x.0),
            self.grants.front().map(|x| x.0),
            self.news.front().map(|x| x.0),
        ];
        fronts.into_iter().flatten().min()
    }
}

impl<C: Witnessed> End<C> {
    pub(super) const fn shard_id(&self) -> u32 {
        200 + self.side as u32
    }

    /// Gives the connection a second worker, if the plan has one.
    pub(super) fn spread(&mut self) {
        let Some(connection) = self.connection.as_mut().filter(|_| self.plan.sharded[self.side]) else {
            return;
        };
        connection.set_shards(vec![connection.local_id(), ConnectionId(200 + self.side as u32)]);
        let chunk_log2 = self.plan.transfers[1 - self.side].as_ref().map_or(16, |t| t.chunk_log2);
        self.sharded = Some(Sharded {
            shard: Shard::new(self.crypto.clone(), self.plan.suite, TRANSFERS[1 - self.side], chunk_log2),
            trains: VecDeque::new(),
            grants: VecDeque::new(),
            news: VecDeque::new(),
            paths: Vec::new(),
            shares: false,
            latest: 0,
            rng: Rng::stream(self.plan.seed, 40 + self.side as u64),
        });
    }

    /// The shard's worker takes a datagram.
    pub(super) fn shard_takes(&mut self, at: u64, header: &Header, datagram: &Datagram) {
        let now = self.clock.read(at);
        let Some(sharded) = &mut self.sharded else { return };
        while sharded.grants.front().is_some_and(|(due, ..)| *due <= at)
            && let Some((_, chunk, grant)) = sharded.grants.pop_front()
        {
            sharded.shard.set_grant(chunk, grant);
        }
        let taken = sharded.shard.receive(&datagram.received(now, header), &mut self.sink);
        let news = match taken {
            Ok(Taken::Arrived(arrival)) => {
                if let Some((_, News::Arrived(run))) = sharded.news.back_mut()
                    && run.extend(&arrival)
                {
                    return;
                }
                News::Arrived(arrival)
            }
            Ok(Taken::Home) => {
                let Datagram { peer, marked, bytes } = datagram;
                News::Datagram(Datagram { peer: *peer, marked: *marked, bytes: bytes.clone() })
            }
            Err(_) => return,
        };
        let due = sharded.due(at);
        sharded.news.push_back((due, news));
    }

    /// The connection hears of what its shard took.
    pub(super) fn hear_shard(&mut self, at: u64) {
        let now = self.clock.read(at);
        let End { sharded: Some(sharded), connection: Some(connection), sink, .. } = self else { return };
        while sharded.news.front().is_some_and(|(due, _)| *due <= at)
            && let Some((_, news)) = sharded.news.pop_front()
        {
            match news {
                News::Arrived(arrival) => connection.arrived(&arrival),
                News::Datagram(datagram) => {
                    let Ok(header) = Header::decode(&datagram.bytes) else { continue };
                    // Why it was dropped matters as little as on the connection's own worker.
                    let _dropped = connection.receive(&datagram.received(now, &header), sink);
                }
            }
        }
    }

    /// Tells the shard of paths and grants, before anything that builds on them can arrive.
    pub(super) fn tell_shard(&mut self, at: u64) {
        let End { sharded: Some(sharded), connection: Some(connection), side, .. } = self else { return };
        while let Some((path, shard)) = connection.assign() {
            if shard > 0 {
                sharded.shard.add_path(connection.shard_path(path));
                sharded.paths.push(path);
            }
        }
        let Sharded { shard, paths, .. } = sharded;
        paths.retain(|path| {
            let known = connection.knows_path(*path);
            if !known {
                shard.remove_path(*path);
            }
            known
        });
        let incoming = TRANSFERS[1 - *side];
        if !sharded.shares && connection.incoming(incoming).is_some() {
            sharded.shares = true;
            connection.share_grants(incoming);
        }
        while let Some((chunk, grant)) = connection.next_grant_news(incoming) {
            let due = sharded.due(at);
            sharded.grants.push_back((due, chunk, grant));
        }
    }

    /// Plans a train for the shard. False when none may go.
    pub(super) fn plan_for_shard(&mut self, at: u64) -> bool {
        let now = self.clock.read(at);
        let End {
            sharded: Some(sharded),
            connection: Some(connection),
            source,
            frame,
            meter,
            sent,
            plan,
            trace,
            side,
            ..
        } = self
        else {
            return false;
        };
        let Some(planned) = connection.poll_plan(now, 1) else { return false };
        let transmit = sharded.shard.seal(&planned, frame, source).expect("the path was told");
        if *trace {
            let (path, len, segment) = (transmit.path.0, transmit.len, transmit.segment);
            println!("{:>12} {} plans {len} by {segment} on {path}", at / 1_000, NAMES[*side]);
        }
        meter.add(plan, at, &frame[..transmit.len]);
        note_sent(sent, &frame[..transmit.len], transmit.segment);
        let packets = frame[..transmit.len].chunks(transmit.segment).map(<[u8]>::to_vec).collect();
        let due = sharded.due(at);
        sharded.trains.push_back((due, transmit.address.remote, packets));
        true
    }

    /// The shard's worker sends.
    pub(super) fn shard_sends(&mut self, at: u64, send: &mut impl FnMut(Datagram)) {
        let Some(sharded) = &mut self.sharded else { return };
        while sharded.trains.front().is_some_and(|(due, ..)| *due <= at)
            && let Some((_, peer, packets)) = sharded.trains.pop_front()
        {
            for bytes in packets {
                send(Datagram { marked: false, peer, bytes });
            }
        }
    }
}
