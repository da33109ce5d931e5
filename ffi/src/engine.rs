//! An engine with its completion queue: what its connections and clients have to tell, taken by one poller at a time.

use crate::completion::{Out, ToldQueue};
use crate::connection::Connection;
use crate::input;
use crate::memory::Ranges;
use crate::status::{Detail, Failure, Outcome, XFER_ERR_BUSY, XFER_ERR_FORKED};
use crate::structs::{
    Completion, EngineOptions, EngineStatistics, XFER_ENGINE_BUSY, XFER_ENGINE_PLAIN_SOCKETS,
};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use xfer_engine::io::clock::monotonic_ns;
use xfer_engine::io::signal::Signal;
use xfer_engine::{EngineConfig, Poll};

/// One engine.
pub(crate) struct Engine {
    engine: xfer_engine::Engine,
    pub(crate) signal: Arc<Signal>,
    pub(crate) connections: RwLock<Vec<Arc<Connection>>>,
    /// What clients tell, in order.
    pub(crate) told: ToldQueue,
    pub(crate) ranges: Arc<Ranges>,
    pub(crate) counters: Arc<Counters>,
    /// Open handles of connections, clients and memory.
    pub(crate) children: AtomicUsize,
    poller: Mutex<Poller>,
    detail: Detail,
    process: u32,
}

/// What an engine's places count.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) in_place: AtomicU64,
    pub(crate) copied: AtomicU64,
}

#[derive(Default)]
struct Poller {
    /// What pointers of the last completions lead to.
    held: Vec<Vec<u8>>,
    /// The connection to begin with.
    turn: usize,
}

impl Engine {
    pub(crate) fn open(options: &EngineOptions) -> Outcome<Engine> {
        let config = config(options)?;
        let signal = Arc::new(Signal::new().map_err(|e| Failure::argument(e.to_string()))?);
        let engine = xfer_engine::Engine::start_signalling(config, Some(signal.clone()))?;
        Ok(Engine {
            engine,
            signal,
            connections: RwLock::default(),
            told: ToldQueue::default(),
            ranges: Arc::default(),
            counters: Arc::default(),
            children: AtomicUsize::new(0),
            poller: Mutex::default(),
            detail: Detail::default(),
            process: std::process::id(),
        })
    }

    /// The engine itself, where its threads are.
    pub(crate) fn running(&self) -> Outcome<&xfer_engine::Engine> {
        if std::process::id() != self.process {
            return Err(Failure::new(XFER_ERR_FORKED, "the process was forked after the engine was opened"));
        }
        Ok(&self.engine)
    }

    pub(crate) fn detail(&self) -> &Detail {
        &self.detail
    }

    pub(crate) fn address(&self, index: usize) -> Option<&SocketAddr> {
        self.engine.addresses().get(index)
    }

    /// The descriptor for event loops. It is readable at first, in case that something waits already.
    pub(crate) fn descriptor(&self) -> RawFd {
        let fd = self.signal.watch().as_raw_fd();
        self.signal.raise();
        fd
    }

    /// Fills `room` with what happened, waiting for the first until `timeout_ns` have passed: below 0 for ever.
    pub(crate) fn poll(&self, room: &mut [MaybeUninit<Completion>], timeout_ns: i64) -> Outcome<usize> {
        self.running()?;
        let mut poller = self
            .poller
            .try_lock()
            .map_err(|_| Failure::new(XFER_ERR_BUSY, "another thread polls the engine"))?;
        poller.held.clear();
        let deadline = u64::try_from(timeout_ns).ok().map(|ns| monotonic_ns().saturating_add(ns));
        loop {
            self.signal.lower();
            let count = self.take(&mut poller, room);
            if count == room.len() && self.is_ready() {
                // For an event loop that comes back for the rest.
                self.signal.raise();
            }
            let over = timeout_ns == 0 || deadline.is_some_and(|deadline| monotonic_ns() >= deadline);
            if count > 0 || over || room.is_empty() {
                return Ok(count);
            }
            let waited = self.signal.wait(deadline, || self.is_ready());
            if !waited.map_err(|error| Failure::argument(error.to_string()))? {
                return Ok(0);
            }
        }
    }

    fn take(&self, poller: &mut Poller, room: &mut [MaybeUninit<Completion>]) -> usize {
        let Poller { held, turn } = poller;
        let mut out = Out::new(room, held);
        let connections = self.connections.read().unwrap_or_else(PoisonError::into_inner);
        let count = connections.len();
        for at in 0..count {
            if out.is_full() {
                break;
            }
            let at = (*turn + at) % count;
            connections[at].take(&mut out);
            if out.is_full() {
                *turn = at + 1;
            }
        }
        drop(connections);
        self.told.take(&mut out);
        out.len()
    }

    /// Whether somebody has something to tell.
    fn is_ready(&self) -> bool {
        let connections = self.connections.read().unwrap_or_else(PoisonError::into_inner);
        self.told.has_some() || connections.iter().any(|connection| connection.is_ready())
    }

    /// Whether nothing is open that needs it.
    pub(crate) fn check_childless(&self) -> Outcome<()> {
        match self.children.load(Ordering::Acquire) {
            0 => Ok(()),
            children => {
                let text = format!("{children} connections, clients or pieces of registered memory are open");
                Err(Failure::new(XFER_ERR_BUSY, text))
            }
        }
    }

    pub(crate) fn statistics(&self) -> EngineStatistics {
        let workers = self.engine.workers();
        let sum = |of: fn(&xfer_engine::WorkerReport) -> u64| workers.iter().map(of).sum();
        EngineStatistics {
            size: size_of::<EngineStatistics>() as u32,
            workers: workers.len() as u32,
            children: self.children.load(Ordering::Relaxed) as u32,
            addresses: self.engine.addresses().len() as u32,
            trains: sum(|worker| worker.trains),
            datagrams: sum(|worker| worker.datagrams),
            handed_over: sum(|worker| worker.handed_over),
            dropped: sum(|worker| worker.dropped),
            bytes_in_place: self.counters.in_place.load(Ordering::Relaxed),
            bytes_copied: self.counters.copied.load(Ordering::Relaxed),
        }
    }
}

fn config(options: &EngineOptions) -> Outcome<EngineConfig> {
    let known = XFER_ENGINE_BUSY | XFER_ENGINE_PLAIN_SOCKETS;
    if options.flags & !known != 0 || options.reserved != 0 {
        return Err(crate::connection::unsupported("a flag or reserved field of the engine's options"));
    }
    let mut config = EngineConfig::default();
    for address in input::array(options.listen, options.listen_count as usize)? {
        let text = input::text(*address, "address to listen on")?;
        let address = text.parse();
        config
            .listen
            .push(address.map_err(|_| Failure::argument(format!("{text:?} is no address with a port")))?);
    }
    if options.workers > 0 {
        config.workers = Some(options.workers as usize);
    }
    if options.memory_max > 0 {
        config.memory_max = options.memory_max;
    }
    if options.flags & XFER_ENGINE_BUSY != 0 {
        config.poll = Poll::Busy;
    }
    if options.flags & XFER_ENGINE_PLAIN_SOCKETS != 0 {
        (config.offloads, config.zero_copy) = (false, false);
    }
    Ok(config)
}
