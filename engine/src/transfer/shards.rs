//! Home's side of a connection's shards: which worker carries which path, and the rings to and from them.

use super::buffers::Buffers;
use super::{Driver, Half, TRANSFER};
use crate::crypto::AwsCrypto;
use crate::error::{Class, Error};
use crate::limits;
use crate::storage::StorageHandle;
use crate::worker::{Mail, Mailbox, News, Order, Rings, ShardStart, Stray, connection_id};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use xfer_proto::connection::{Connection, Received};
use xfer_proto::incoming::Grant;
use xfer_proto::shard::Shard;
use xfer_proto::time::Time;
use xfer_proto::wire::{ConnectionId, PathId};

/// The workers that may carry paths of a connection, home first, and what they were told.
pub(super) struct Shards {
    workers: Vec<Mailbox>,
    ids: Vec<ConnectionId>,
    handles: Vec<Handle>,
    paths: Vec<Carried>,
    /// All shards that run are told of all grants.
    shares: bool,
}

/// A path that a shard carries.
struct Carried {
    path: PathId,
    shard: u8,
    told: bool,
}

/// A shard that has something to carry.
struct Handle {
    shard: u8,
    rings: Arc<Rings>,
    worker: Mailbox,
    /// It has orders that it may sleep over.
    ordered: bool,
}

impl Handle {
    /// Gives an order for which there is room.
    fn order(&mut self, order: Order) {
        self.ordered = true;
        let taken = self.rings.orders.push(order).is_ok();
        assert!(taken, "who orders looks for room first");
    }

    fn has_room(&self) -> bool {
        self.rings.orders.len() < limits::ORDERS_MAX
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.rings.over.store(true, Ordering::Release);
        self.worker.wake();
    }
}

impl Shards {
    /// `count` shards, home's part counted, for a connection that lives on worker `home`: path `n` goes to the worker `n` after it, round
    /// and round.
    #[expect(clippy::indexing_slicing, reason = "a remainder is below the length")]
    pub(super) fn new(
        home: usize,
        workers: &[Mailbox],
        count: usize,
        connection: &mut Connection<AwsCrypto>,
    ) -> Self {
        let worker = |shard: usize| (home + shard) % workers.len();
        let mut ids = vec![connection.local_id()];
        ids.extend((1..count).map(|shard| connection_id(worker(shard))));
        connection.set_shards(ids.clone());
        let workers = (0..count).map(|shard| workers[worker(shard)].clone()).collect();
        Shards { workers, ids, handles: Vec::new(), paths: Vec::new(), shares: true }
    }

    /// Whether some shard has told something.
    fn has_news(&self) -> bool {
        self.handles.iter().any(|handle| !handle.rings.news.is_empty())
    }

    /// Whether a shard's worker has stopped.
    fn lost_one(&self) -> bool {
        self.handles.iter().any(|handle| handle.rings.over.load(Ordering::Acquire))
    }

    /// Gives new paths to shards, and takes them away that are no more.
    fn place_paths(&mut self, connection: &mut Connection<AwsCrypto>, chunk_log2: u8) {
        while let Some((path, shard)) = connection.assign() {
            if shard > 0 {
                self.start(shard, connection, chunk_log2);
                self.paths.push(Carried { path, shard, told: false });
            }
        }
        let Shards { handles, paths, .. } = self;
        paths.retain_mut(|carried| {
            let Some(handle) = handles.iter_mut().find(|h| h.shard == carried.shard) else { return false };
            let known = connection.knows_path(carried.path);
            if known == carried.told || !handle.has_room() {
                return true;
            }
            handle.order(if known {
                Order::Path(Box::new(connection.shard_path(carried.path)))
            } else {
                Order::Forget(carried.path)
            });
            carried.told = known;
            known
        });
    }

    /// Starts a shard, unless it runs.
    #[expect(
        clippy::indexing_slicing,
        reason = "the connection gives a path to one of as many shards as it was told of"
    )]
    fn start(&mut self, shard: u8, connection: &mut Connection<AwsCrypto>, chunk_log2: u8) {
        if self.handles.iter().any(|handle| handle.shard == shard) {
            return;
        }
        let (rings, worker) = (Arc::new(Rings::new()), self.workers[usize::from(shard)].clone());
        let start = ShardStart {
            id: self.ids[usize::from(shard)].0,
            rings: rings.clone(),
            home: self.workers[0].clone(),
            shard: Shard::new(AwsCrypto, connection.suite(), TRANSFER, chunk_log2),
        };
        worker.send(Mail::Shard(Box::new(start)));
        self.handles.push(Handle { shard, rings, worker, ordered: false });
        self.shares = false;
    }

    /// Tells all shards which chunks have a place.
    fn tell_grants(&mut self, connection: &mut Connection<AwsCrypto>, buffers: &Buffers) {
        if !self.shares && connection.incoming(TRANSFER).is_some() {
            self.shares = true;
            connection.share_grants(TRANSFER);
        }
        while self.handles.iter().all(Handle::has_room) {
            let Some((chunk, grant)) = connection.next_grant_news(TRANSFER) else { break };
            for handle in &mut self.handles {
                handle.order(grant_order(chunk, grant.as_ref(), buffers));
            }
        }
    }
}

fn grant_order(chunk: u32, grant: Option<&Grant>, buffers: &Buffers) -> Order {
    match (grant, buffers.get(chunk)) {
        (Some(grant), Some(buffer)) => Order::Grant(grant.clone(), buffer.clone()),
        _ => Order::Ungrant(chunk),
    }
}

impl Driver {
    /// The connection lives on worker `home` of `workers`; its paths may be carried by `count` of them.
    pub(crate) fn spread(&mut self, home: usize, workers: &[Mailbox], count: usize) {
        if count > 1 {
            self.shards = Some(Shards::new(home, workers, count, &mut self.connection));
        }
    }

    /// Whether shards have told something.
    pub(crate) fn has_news(&self) -> bool {
        self.shared.is_nudged() || self.shards.as_ref().is_some_and(Shards::has_news)
    }

    /// Takes what shards tell.
    #[expect(clippy::indexing_slicing, reason = "handles are only ever added")]
    pub(super) fn take_news(&mut self, now: Time, key: u32, storage: &StorageHandle) {
        let Some(shards) = &self.shards else { return };
        if shards.lost_one() {
            let error = Error::new(Class::Other, "a worker of this engine stopped");
            let error = error.because("it carried a path of the transfer");
            return self.abort(now, key, storage, Some(error), true);
        }
        for i in 0..shards.handles.len() {
            for _ in 0..limits::NEWS_MAX {
                let Some(news) = self.shards.as_ref().and_then(|s| s.handles[i].rings.news.pop()) else {
                    break;
                };
                self.take_one(now, i, news);
            }
        }
    }

    #[expect(clippy::indexing_slicing, reason = "handles are only ever added")]
    fn take_one(&mut self, now: Time, handle: usize, news: News) {
        match news {
            News::Arrived(arrival) => self.connection.arrived(&arrival),
            News::TooBig(remote, size) => self.too_big(now, remote, size),
            News::Datagram(Stray { at, from, ce, header, bytes }) => {
                let arrival = Received { now: at, from, ce, header: &header, datagram: &bytes };
                if let Err(why) = self.receive(&arrival) {
                    tracing::trace!(?why, "dropped a datagram");
                }
                let spare = self.shards.as_ref().map(|shards| &shards.handles[handle].rings.spare);
                // A full list of spare memory lets this one go.
                let _full = spare.map(|spare| spare.push(bytes));
            }
        }
    }

    /// Tells shards what they need to know before anything of it can arrive.
    pub(super) fn tell_shards(&mut self) {
        let Some(shards) = &mut self.shards else { return };
        let chunk_log2 = self.pool.chunk_bytes().trailing_zeros() as u8;
        shards.place_paths(&mut self.connection, chunk_log2);
        if let Half::Receiving(r) = &mut self.half {
            if !shards.handles.is_empty() {
                r.buffers.share();
            }
            shards.tell_grants(&mut self.connection, &r.buffers);
        }
    }

    /// Plans one train for each shard that has little before it. Returns how many.
    #[expect(clippy::expect_used, reason = "bytes stay until their chunk is accepted")]
    pub(crate) fn plan_for_shards(&mut self, now: Time) -> usize {
        let (Some(shards), Half::Sending(sending)) = (&mut self.shards, &self.half) else { return 0 };
        let mut planned = 0;
        for handle in shards.handles.iter_mut().filter(|h| h.rings.orders.len() < limits::PLANS_AHEAD) {
            let Some(plan) = self.connection.poll_plan(now, handle.shard) else { continue };
            let buffer = sending.buffers.get(plan.chunk().1);
            let buffer = buffer.expect("offered chunks keep their buffers until they are accepted");
            handle.order(Order::Send(plan, buffer.clone()));
            planned += 1;
        }
        planned
    }

    /// Wakes shards that have orders.
    pub(super) fn wake_shards(&mut self) {
        for handle in self.shards.iter_mut().flat_map(|shards| &mut shards.handles) {
            if std::mem::take(&mut handle.ordered) {
                handle.worker.wake();
            }
        }
    }
}
