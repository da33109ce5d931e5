//! The worker's queues: which one a path's packets leave by, and bursts in both directions.

use crate::datapath::{AnyQueue, Datapath};
use crate::limits;
use crate::queues::{QueueOptions, QueueReports};
use crate::transfer::Driver;
use std::net::{IpAddr, SocketAddr};
use xfer_io::error::IoError;
use xfer_io::queue::{Ecn, Meta, Queue, Transmit, ZeroCopy};
use xfer_io::wake::{Interest, Poller};
use xfer_proto::connection::Transmit as Train;
use xfer_proto::time::Time;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    Yes,
    /// There was nothing to write.
    Nothing,
    /// The queue is full, and the wire takes no more now.
    NoRoom,
}

struct Socket {
    queue: AnyQueue,
    /// The address it is bound to; `None` when it serves every address of its family.
    local: Option<IpAddr>,
    /// Where its report is, and what that says of sending without copying.
    report: usize,
    zero_copy: ZeroCopy,
}

/// The queues of one worker.
pub(crate) struct Sockets {
    worker: usize,
    sockets: Vec<Socket>,
    options: QueueOptions,
    datapath: Datapath,
    reports: QueueReports,
    /// A queue had no frame for a driver that had something to send.
    blocked: Option<usize>,
    oversized: Vec<(SocketAddr, usize)>,
    trains: u64,
    /// The local addresses of the driver at hand; kept for its memory.
    locals: Vec<IpAddr>,
}

#[expect(clippy::indexing_slicing, reason = "sockets are only ever added, and queues are numbered by them")]
fn at(sockets: &mut [Socket], queue: usize) -> &mut Socket {
    &mut sockets[queue]
}

impl Sockets {
    pub(crate) fn new(
        worker: usize,
        queues: Vec<AnyQueue>,
        poller: &Poller,
        (options, datapath): (QueueOptions, Datapath),
        reports: QueueReports,
    ) -> Result<Self, IoError> {
        let mut sockets = Sockets {
            worker,
            datapath,
            sockets: Vec::new(),
            options,
            reports,
            blocked: None,
            oversized: Vec::new(),
            trains: 0,
            locals: Vec::new(),
        };
        for queue in queues {
            sockets.add(queue, poller)?;
        }
        Ok(sockets)
    }

    /// Sends and receives by one more queue.
    pub(crate) fn add(&mut self, queue: AnyQueue, poller: &Poller) -> Result<usize, IoError> {
        let index = self.sockets.len();
        poller.add(&queue, index as u64, Interest::Read)?;
        let ip = queue.local_addr().ip();
        let local = (!ip.is_unspecified()).then_some(ip);
        let (report, zero_copy) = (self.reports.add(self.worker, &queue), queue.capabilities().zero_copy);
        self.sockets.push(Socket { queue, local, report, zero_copy });
        Ok(index)
    }

    /// Packets and trains that were queued so far, handshakes left out.
    pub(crate) fn trains(&self) -> u64 {
        self.trains
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    #[expect(clippy::indexing_slicing, reason = "as `at`")]
    fn socket(&self, queue: usize) -> &Socket {
        &self.sockets[queue]
    }

    fn socket_mut(&mut self, queue: usize) -> &mut Socket {
        at(&mut self.sockets, queue)
    }

    /// The address that queue `queue` is bound to, when it is one.
    pub(crate) fn local(&self, queue: usize) -> Option<IpAddr> {
        self.socket(queue).local
    }

    /// The receive buffer of queue `queue`, in bytes.
    pub(crate) fn receive_buffer(&self, queue: usize) -> u32 {
        u32::try_from(self.socket(queue).queue.capabilities().receive_buffer).unwrap_or(u32::MAX)
    }

    /// The queue for packets from `local`, opened when there is none yet.
    pub(crate) fn open(&mut self, local: IpAddr, poller: &Poller) -> Result<usize, IoError> {
        if let Some(found) = self.find(local) {
            return Ok(found);
        }
        let queue = self.datapath.open(self.worker, &self.options, local)?;
        self.add(queue, poller)
    }

    /// The queue for packets from `local`; any where that does not matter.
    pub(crate) fn queue_of(&self, local: Option<IpAddr>) -> Option<usize> {
        local.map_or((!self.sockets.is_empty()).then_some(0), |local| self.find(local))
    }

    fn find(&self, local: IpAddr) -> Option<usize> {
        let exact = self.sockets.iter().position(|s| s.local == Some(local));
        exact.or_else(|| {
            let same_family = |s: &Socket| s.queue.local_addr().is_ipv6() == local.is_ipv6();
            let dual = |s: &Socket| s.queue.local_addr().is_ipv6();
            let any =
                |f: &dyn Fn(&Socket) -> bool| self.sockets.iter().position(|s| s.local.is_none() && f(s));
            any(&same_family).or_else(|| any(&dual))
        })
    }

    pub(crate) fn receive(&mut self, queue: usize) -> Result<usize, IoError> {
        self.socket_mut(queue).queue.receive()
    }

    pub(crate) fn received(&mut self, queue: usize, frame: usize) -> (Meta, &mut [u8]) {
        self.socket_mut(queue).queue.received(frame)
    }

    /// Whether a queue holds frames that the wire did not take yet.
    pub(crate) fn has_queued(&self) -> bool {
        self.sockets.iter().any(|s| s.queue.queued() > 0)
    }

    /// Whether a queue that had no frame for a driver has one again; told once.
    pub(crate) fn take_unblocked(&mut self) -> bool {
        let free = self.blocked.is_some_and(|queue| self.socket_mut(queue).queue.reserve().is_some());
        if free {
            self.blocked = None;
        }
        free
    }

    /// Sends what the driver has, a bounded number of trains. Returns how many.
    pub(crate) fn transmit(&mut self, now: Time, driver: &mut Driver) -> Result<usize, IoError> {
        if self.sockets.len() == 1 {
            let mut sent = 0;
            for _ in 0..limits::TRAINS {
                let before = sent;
                sent += usize::from(self.transmit_on(now, 0, None, driver)?);
                sent += driver.plan_for_shards(now);
                if sent == before {
                    break;
                }
            }
            return Ok(sent);
        }
        let mut locals = std::mem::take(&mut self.locals);
        driver.locals(&mut locals);
        let sent = self.transmit_in_turn(now, driver, &locals);
        self.locals = locals;
        sent
    }

    /// Lets the addresses send one train each, again and again: where there is less to send than all could carry, all get a share.
    fn transmit_in_turn(
        &mut self,
        now: Time,
        driver: &mut Driver,
        locals: &[IpAddr],
    ) -> Result<usize, IoError> {
        let mut sent = 0;
        for _ in 0..limits::TRAINS {
            let before = sent;
            for local in locals {
                if let Some(queue) = self.find(*local)
                    && self.transmit_on(now, queue, Some(*local), driver)?
                {
                    sent += 1;
                }
            }
            sent += driver.plan_for_shards(now);
            if sent == before {
                break;
            }
        }
        Ok(sent)
    }

    /// Sends one train from `local`, if there is one.
    fn transmit_on(
        &mut self,
        now: Time,
        queue: usize,
        local: Option<IpAddr>,
        driver: &mut Driver,
    ) -> Result<bool, IoError> {
        Ok(self.fill(queue, |frame| driver.transmit(now, local, frame))? == Filled::Yes)
    }

    /// Lets `fill` write a packet or train into a frame of queue `queue`, and queues it.
    pub(crate) fn fill(
        &mut self,
        queue: usize,
        fill: impl FnOnce(&mut [u8]) -> Option<Train>,
    ) -> Result<Filled, IoError> {
        if self.socket_mut(queue).queue.reserve().is_none() {
            self.flush_queue(queue)?;
        }
        let Some(frame) = self.socket_mut(queue).queue.reserve() else {
            self.blocked = Some(queue);
            return Ok(Filled::NoRoom);
        };
        let Some(train) = fill(frame) else { return Ok(Filled::Nothing) };
        self.socket_mut(queue).queue.commit(Transmit {
            destination: train.address.remote,
            source: train.address.local,
            len: train.len,
            segment: train.segment,
            ecn: Some(Ecn::Ect0),
        });
        self.trains += 1;
        Ok(Filled::Yes)
    }

    /// Queues one datagram; a full queue drops it, since handshakes repeat.
    #[expect(clippy::indexing_slicing, reason = "handshakes are shorter than a frame")]
    pub(crate) fn send_single(
        &mut self,
        queue: usize,
        remote: SocketAddr,
        local: Option<IpAddr>,
        bytes: &[u8],
    ) {
        let socket = at(&mut self.sockets, queue);
        if let Some(frame) = socket.queue.reserve() {
            frame[..bytes.len()].copy_from_slice(bytes);
            socket.queue.commit(Transmit {
                destination: remote,
                source: local,
                len: bytes.len(),
                segment: 0,
                ecn: None,
            });
        }
    }

    /// Hands all that is queued to the wire.
    pub(crate) fn flush(&mut self) -> Result<(), IoError> {
        (0..self.sockets.len()).try_for_each(|queue| self.flush_queue(queue))
    }

    fn flush_queue(&mut self, queue: usize) -> Result<(), IoError> {
        let Socket { queue, report, zero_copy, .. } = at(&mut self.sockets, queue);
        if queue.queued() == 0 {
            return Ok(());
        }
        let flushed = queue.flush()?;
        let found = queue.capabilities().zero_copy;
        if flushed.fell_back {
            let why = queue.capabilities().notes.last().map_or("", String::as_str);
            tracing::warn!(socket = %queue.local_addr(), why, "AF_XDP is given up; kernel UDP goes on");
        }
        if flushed.gso_lost || flushed.fell_back || *zero_copy != found {
            *zero_copy = found;
            self.reports.renew(*report, queue);
        }
        if flushed.gso_lost {
            tracing::warn!(socket = %queue.local_addr(), "segmented sends do not work here; trains are split");
        }
        if flushed.failures > 0 {
            for failure in queue.failures() {
                if failure.errno == libc::EMSGSIZE {
                    self.oversized.push((failure.destination, failure.size));
                }
                tracing::debug!(errno = failure.errno, to = %failure.destination, "a frame was not sent");
            }
        }
        Ok(())
    }

    /// Destinations and sizes of datagrams that did not fit their wire.
    pub(crate) fn take_oversized(&mut self) -> Vec<(SocketAddr, usize)> {
        std::mem::take(&mut self.oversized)
    }
}
