//! The other workers' part in a connection (stages 4 to 7 of paths that they carry): rings to and from the worker that the connection
//! lives on, its home. What is to be decided goes home; a full ring drops or waits, nothing grows.

use super::mail::Mailbox;
use super::sockets::{Filled, Sockets};
use crate::crypto::AwsCrypto;
use crate::limits;
use crate::transfer::{Buffers, Stored};
use crossbeam::queue::ArrayQueue;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use xfer_io::borrows::Slot;
use xfer_io::error::IoError;
use xfer_proto::connection::{ChunkBytes, Received, SendPlan};
use xfer_proto::incoming::Grant;
use xfer_proto::limits::WINDOW_CHUNKS_MAX;
use xfer_proto::path::Address;
use xfer_proto::shard::{Arrival, Shard, ShardPath, Taken};
use xfer_proto::time::Time;
use xfer_proto::wire::{Header, PathId, TransferId};

/// What home wants of a shard.
pub(crate) enum Order {
    /// Seal and send a train from the chunk's bytes.
    Send(SendPlan, Stored),
    /// Carry a path.
    Path(Box<ShardPath<AwsCrypto>>),
    /// Carry it no longer.
    Forget(PathId),
    /// Content of the chunk has a place, here.
    Grant(Grant, Stored),
    /// It has none.
    Ungrant(u32),
}

/// What a shard tells home.
pub(crate) enum News {
    /// Content is in its place.
    Arrived(Arrival),
    /// A datagram that is not plain content with a place.
    Datagram(Stray),
    /// A datagram of so many bytes did not fit the wire to that address.
    TooBig(SocketAddr, usize),
}

/// A datagram that a shard passes on.
pub(crate) struct Stray {
    pub(crate) at: Time,
    pub(crate) from: Address,
    pub(crate) ce: bool,
    pub(crate) header: Header,
    pub(crate) bytes: Vec<u8>,
}

/// The rings between home and one shard, each with one end that puts in and one that takes out.
pub(crate) struct Rings {
    pub(crate) orders: ArrayQueue<Order>,
    pub(crate) news: ArrayQueue<News>,
    /// Memory of datagrams that home is done with.
    pub(crate) spare: ArrayQueue<Vec<u8>>,
    /// One end has left.
    pub(crate) over: AtomicBool,
}

impl Rings {
    pub(crate) fn new() -> Self {
        let spare = ArrayQueue::new(limits::NEWS_MAX);
        for _ in 0..limits::STRAYS_ROOM {
            // Larger ones, probes of the MTU, are rare.
            let _full = spare.push(Vec::with_capacity(limits::STRAY_BYTES));
        }
        Rings {
            orders: ArrayQueue::new(limits::ORDERS_MAX),
            news: ArrayQueue::new(limits::NEWS_MAX),
            spare,
            over: AtomicBool::new(false),
        }
    }
}

/// What a shard is made of.
pub(crate) struct ShardStart {
    /// The connection's id in packets to this shard.
    pub(crate) id: u32,
    pub(crate) rings: Arc<Rings>,
    pub(crate) home: Mailbox,
    pub(crate) shard: Shard<AwsCrypto>,
}

/// A shard at work. It ends when home has left the rings.
pub(super) struct ShardSeat {
    rings: Arc<Rings>,
    home: Mailbox,
    shard: Shard<AwsCrypto>,
    slot: Slot,
    buffers: Buffers,
    /// A train that the wire did not take yet.
    held: Option<(SendPlan, Stored)>,
    /// A run of arrivals that may go on.
    run: Option<Arrival>,
    has_news: bool,
}

impl ShardSeat {
    pub(super) fn new(start: ShardStart, slot: Slot) -> Self {
        let ShardStart { rings, home, shard, .. } = start;
        let mut buffers = Buffers::new(slot);
        buffers.share();
        ShardSeat { rings, home, shard, slot, buffers, held: None, run: None, has_news: false }
    }

    /// Whether home is done with it.
    pub(super) fn is_over(&self) -> bool {
        self.rings.over.load(Ordering::Acquire)
    }

    /// Takes orders and sends, a bounded number of trains. Whether there was anything to do.
    pub(super) fn work(&mut self, sockets: &mut Sockets) -> Result<bool, IoError> {
        let mut worked = false;
        let mut trains = 0;
        while trains < limits::TRAINS {
            if let Some((plan, buffer)) = self.held.take() {
                if !self.send(sockets, &plan, &buffer)? {
                    self.held = Some((plan, buffer));
                    break;
                }
                trains += 1;
                worked = true;
                continue;
            }
            let Some(order) = self.rings.orders.pop() else { break };
            worked = true;
            self.obey(order);
        }
        Ok(worked)
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Send(plan, buffer) => self.held = Some((plan, buffer)),
            Order::Path(path) => self.shard.add_path(*path),
            Order::Forget(id) => self.shard.remove_path(id),
            Order::Grant(grant, buffer) => {
                let chunk = grant.chunk;
                self.clear(chunk);
                self.buffers.insert(chunk, buffer);
                self.shard.set_grant(chunk, Some(grant));
            }
            Order::Ungrant(chunk) => {
                self.clear(chunk);
                self.shard.set_grant(chunk, None);
            }
        }
    }

    /// Lets go of the buffer in the chunk's place: its own, or that of the chunk before it there.
    fn clear(&mut self, chunk: u32) {
        self.buffers.remove(chunk);
        self.buffers.remove(chunk.wrapping_sub(WINDOW_CHUNKS_MAX));
    }

    /// Seals a train into a frame of its queue. False when there is no frame.
    fn send(&mut self, sockets: &mut Sockets, plan: &SendPlan, stored: &Stored) -> Result<bool, IoError> {
        let Some(queue) = sockets.queue_of(plan.address().local) else { return Ok(true) };
        let content = Planned { slot: self.slot, stored };
        let filled = sockets.fill(queue, |frame| self.shard.seal(plan, frame, &content))?;
        Ok(filled != Filled::NoRoom)
    }

    /// Takes one datagram.
    pub(super) fn receive(&mut self, arrival: &Received<'_>) {
        // Every claim of a range ends with news; two are what one datagram makes at most.
        if self.rings.news.len() + 2 > limits::NEWS_MAX {
            tracing::trace!("dropped a datagram: news wait");
            return;
        }
        match self.shard.receive(arrival, &mut self.buffers) {
            Ok(Taken::Arrived(arrival)) => {
                if !self.run.as_mut().is_some_and(|run| run.extend(&arrival)) {
                    self.end_run();
                    self.run = Some(arrival);
                }
            }
            Ok(Taken::Home) => {
                self.end_run();
                let Received { now, from, ce, header, datagram } = *arrival;
                let mut bytes = self.rings.spare.pop().unwrap_or_default();
                bytes.clear();
                bytes.extend_from_slice(datagram);
                self.tell(News::Datagram(Stray { at: now, from, ce, header: *header, bytes }));
            }
            Err(why) => tracing::trace!(?why, "dropped a datagram"),
        }
    }

    /// A datagram did not fit the wire.
    pub(super) fn too_big(&mut self, remote: SocketAddr, size: usize) {
        self.tell(News::TooBig(remote, size));
    }

    /// Ends a turn: home hears of what came.
    pub(super) fn rest(&mut self) {
        self.end_run();
        if std::mem::take(&mut self.has_news) {
            self.home.wake();
        }
    }

    fn end_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.tell(News::Arrived(run));
        }
    }

    fn tell(&mut self, news: News) {
        self.has_news = true;
        if self.rings.news.push(news).is_err() {
            tracing::debug!("a worker that carries paths lost news for the connection's own");
        }
    }
}

impl Drop for ShardSeat {
    fn drop(&mut self) {
        self.rings.over.store(true, Ordering::Release);
        self.home.wake();
    }
}

/// The one chunk that a planned train is read from.
struct Planned<'a> {
    slot: Slot,
    stored: &'a Stored,
}

impl ChunkBytes for Planned<'_> {
    #[expect(clippy::expect_used, reason = "a source does not take its bytes back")]
    fn read<R>(&self, _: TransferId, _: u32, range: Range<u32>, read: impl FnOnce(&[u8]) -> R) -> R {
        let range = range.start as usize..range.end as usize;
        self.stored.read(self.slot, range, read).expect("what is sent from is never taken back")
    }
}
