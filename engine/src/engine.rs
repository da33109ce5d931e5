//! The engine's handle: starts workers and I/O threads, takes admissions and connections, hands out transfers.

use crate::api::{
    Admission, Connect, Direction, EngineConfig, EngineSize, Event, Progress, QueueReport, Role, Suite,
    Ticket, TransferConfig, WorkerReport,
};
use crate::datapath::{AnyQueue, Datapath};
use crate::error::{Class, Error, panic_text};
use crate::limits;
use crate::queues::{QueueOptions, QueueReports};
use crate::report::Shared;
use crate::storage::Storage;
use crate::worker::{Admitted, Counters, DialStart, Mail, Mailbox, Registry, Worker, WorkerStart, post};
use crossbeam::channel::{Receiver, bounded};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use xfer_io::memory::Backing;
use xfer_io::pool::ChunkPool;
use xfer_io::queue::Queue;
use xfer_io::signal::Signal;
use xfer_io::thread::join_by;
use xfer_io::udp::{UdpQueue, steer};
use xfer_io::wake::Poller;
use xfer_io::xdp::Fates;
use xfer_proto::cc::Algorithm;
use xfer_proto::connection::Config;

/// A running engine. Dropping it ends its transfers and joins its threads.
pub struct Engine {
    addresses: Vec<SocketAddr>,
    workers: Vec<JoinHandle<Option<()>>>,
    mailboxes: Arc<Vec<Mailbox>>,
    counters: Vec<Arc<Counters>>,
    queues: QueueReports,
    next_worker: AtomicUsize,
    /// Local addresses that every worker has a queue on.
    opened: Mutex<Vec<IpAddr>>,
    options: QueueOptions,
    datapath: Datapath,
    memory_max: u64,
    signal: Option<Arc<Signal>>,
    /// Ends after the workers.
    _storage: Storage,
}

/// One transfer of an engine.
pub struct Transfer {
    events: Receiver<Event>,
    shared: Arc<Shared>,
    mailboxes: Arc<Vec<Mailbox>>,
}

impl Engine {
    /// Opens the sockets and starts workers and I/O threads.
    ///
    /// # Errors
    /// `Fatal` when an address cannot be bound or a thread not be pinned, naming it; `Usage` for cores outside the affinity mask.
    pub fn start(config: EngineConfig) -> Result<Engine, Error> {
        Engine::start_signalling(config, None)
    }

    /// The same; `signal` is raised whenever a transfer has events.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn start_signalling(config: EngineConfig, signal: Option<Arc<Signal>>) -> Result<Engine, Error> {
        let cores = cores(&config)?;
        let workers = workers(&config, &cores);
        // Reading and hashing take about as much time as sealing and sending: half of the cores are left to them.
        let spread = if config.workers.is_some() { workers } else { workers.div_ceil(2) };
        let datapath = Datapath::start(&config)?;
        let (queues, addresses) = open_queues(&config, workers, &datapath)?;
        datapath.check(&queues)?;
        let storage = Storage::start(io_threads(workers))?;
        let mut posts = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in 0..workers {
            let poller = Poller::new().map_err(fatal("start a worker"))?;
            let (mailbox, mail) = post(poller.waker());
            mailboxes.push(mailbox);
            posts.push((poller, mail));
        }
        let mailboxes = Arc::new(mailboxes);
        let next_worker = Arc::new(AtomicUsize::new(0));
        let counters: Vec<Arc<Counters>> = (0..workers).map(|_| Arc::default()).collect();
        let reports = QueueReports::default();
        let mut threads = Vec::new();
        for (index, ((poller, mail), queues)) in posts.into_iter().zip(queues).enumerate() {
            let registry = Registry::default();
            let start = WorkerStart {
                index,
                queues,
                mail,
                poller,
                storage: storage.handle(mailboxes[index].clone()),
                poll: config.poll,
                options: QueueOptions::of(&config),
                datapath: datapath.clone(),
                reports: reports.clone(),
                peers: mailboxes.clone(),
                spread,
                next_worker: next_worker.clone(),
                registry: registry.clone(),
                counters: counters[index].clone(),
            };
            let worker = Worker::new(start).map_err(fatal("start a worker"))?;
            let core = cores[index % cores.len()];
            let name = format!("xfer-worker-{index}");
            let thread = xfer_io::thread::spawn(&name, Some(core), move || guard(worker, &registry))
                .map_err(fatal("start a worker"))?;
            threads.push(thread);
        }
        Ok(Engine {
            addresses,
            workers: threads,
            mailboxes,
            counters,
            queues: reports,
            next_worker: AtomicUsize::new(0),
            opened: Mutex::new(config.listen.iter().map(SocketAddr::ip).collect()),
            options: QueueOptions::of(&config),
            datapath,
            memory_max: config.memory_max,
            signal,
            _storage: storage,
        })
    }

    /// Addresses that the engine receives on, ports filled in.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What the queues opened so far obtained of the kernel, in the order they were opened.
    pub fn queues(&self) -> Vec<QueueReport> {
        self.queues.all()
    }

    /// What each worker did, in the order of their numbers.
    pub fn workers(&self) -> Vec<WorkerReport> {
        let read = |c: &Arc<Counters>| WorkerReport {
            trains: c.trains.load(Ordering::Relaxed),
            datagrams: c.datagrams.load(Ordering::Relaxed),
            handed_over: c.handed_over.load(Ordering::Relaxed),
            dropped: c.dropped.load(Ordering::Relaxed),
        };
        self.counters.iter().map(read).collect()
    }

    /// What the XDP program did with packets to the engine's ports, by interface; empty without AF_XDP.
    pub fn fates(&self) -> Vec<(String, Fates)> {
        self.datapath.fates()
    }

    /// Admits one connection with the ticket. The transfer's first event is `Connected`, or `Finished` with a `Temporary` error when
    /// the ticket's time is over.
    ///
    /// # Errors
    /// `Temporary` when the engine has stopped, `Usage` when the role does not fit the ticket's direction.
    pub fn admit(&self, admission: Admission) -> Result<Transfer, Error> {
        let sends = admission.ticket.direction == Direction::OpenerReceives;
        check_role(&admission.role, sends)?;
        let (shared, events) = self.shared();
        let admitted = Admitted {
            ticket: admission.ticket.to_proto(),
            lifetime: admission.lifetime.min(limits::TICKET_LIFETIME_MAX),
            role: admission.role,
            pool: self.pool(&admission.config)?,
            config: admission.config,
            shared: shared.clone(),
        };
        self.post(0, Mail::Admit(Box::new(admitted)))?;
        Ok(Transfer { events, shared, mailboxes: self.mailboxes.clone() })
    }

    /// Connects with the ticket and runs the transfer.
    ///
    /// # Errors
    /// As [`Engine::admit`]; what fails later is in the transfer's last event.
    pub fn connect(&self, connect: Connect) -> Result<Transfer, Error> {
        if connect.paths.is_empty() {
            return Err(Error::new(Class::Usage, "a connection needs at least one pair of addresses"));
        }
        check_role(&connect.role, connect.ticket.direction == Direction::OpenerSends)?;
        let (shared, events) = self.shared();
        connect.paths.iter().try_for_each(|pair| self.datapath.cover(pair.local))?;
        // From the last worker down, while those that come in begin with the first: two engines on one host then begin on different cores.
        let turn = self.next_worker.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
        let worker = self.mailboxes.len() - 1 - turn;
        self.open_for(worker, &connect);
        let start = DialStart {
            ticket: connect.ticket.to_proto(),
            pool: self.pool(&connect.config)?,
            connect,
            shared: shared.clone(),
        };
        self.post(worker, Mail::Dial(Box::new(start)))?;
        Ok(Transfer { events, shared, mailboxes: self.mailboxes.clone() })
    }

    /// Stops taking connections, syncs the journals of running transfers and ends them with `Temporary`, within `patience`.
    pub fn shut_down(mut self, patience: Duration) {
        self.stop(patience);
    }

    fn stop(&mut self, patience: Duration) {
        for mailbox in self.mailboxes.iter() {
            mailbox.send(Mail::ShutDown);
        }
        let deadline = Instant::now() + patience;
        for thread in self.workers.drain(..) {
            match join_by(thread, deadline) {
                Some(Ok(_)) => {}
                None => tracing::warn!("a worker did not end in time"),
                Some(Err(_)) => tracing::error!("a worker panicked while it stopped"),
            }
        }
    }

    /// Gives every worker a queue on one port for each local address of the connection, so that all may carry its paths. What cannot be
    /// opened is told by the worker that tries to connect.
    fn open_for(&self, home: usize, connect: &Connect) {
        let pairs = || connect.paths.iter().chain(&connect.standby);
        if self.mailboxes.len() < 2 || pairs().nth(1).is_none() {
            return;
        }
        let mut opened = self.opened.lock().unwrap_or_else(|e| e.into_inner());
        for pair in pairs() {
            if opened.contains(&pair.local) {
                continue;
            }
            let open = |local| open_group(local, self.mailboxes.len(), &self.options, true);
            let Ok((queues, _)) = self.datapath.bind(home, pair.local, open) else { continue };
            opened.push(pair.local);
            for (worker, (mailbox, udp)) in self.mailboxes.iter().zip(queues).enumerate() {
                match self.datapath.queue(worker, udp) {
                    Ok(queue) => drop(mailbox.send(Mail::Queue(Box::new(queue)))),
                    Err(error) => tracing::warn!(%error, worker, "a worker has no queue on an address"),
                }
            }
        }
    }

    fn shared(&self) -> (Arc<Shared>, Receiver<Event>) {
        let (sender, events) = bounded(limits::EVENTS_MAX);
        (Arc::new(Shared::new(sender, self.signal.clone())), events)
    }

    fn post(&self, worker: usize, mail: Mail) -> Result<(), Error> {
        if self.mailboxes[worker].send(mail) {
            return Ok(());
        }
        Err(Error::new(Class::Temporary, "the engine has stopped"))
    }

    fn pool(&self, config: &TransferConfig) -> Result<ChunkPool, Error> {
        let (min, max) = (xfer_proto::limits::CHUNK_LOG2_MIN, xfer_proto::limits::CHUNK_LOG2_MAX);
        if !(min..=max).contains(&config.chunk_log2) {
            return Err(Error::new(Class::Usage, "a chunk has 64 KiB to 64 MiB, a power of two"));
        }
        let bytes = 1usize << config.chunk_log2;
        let chunks = (self.memory_max >> config.chunk_log2) as usize;
        ChunkPool::new(bytes, chunks.clamp(limits::CHUNKS_MIN, limits::CHUNKS_MAX), Backing::default())
            .map_err(fatal("reserve chunk buffers"))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop(limits::STOP_PATIENCE);
    }
}

/// Runs a worker. Whatever ends it early ends its transfers with an error that says so; then it starts over, a bounded number of times.
fn guard(mut worker: Worker, registry: &Mutex<Vec<std::sync::Weak<Shared>>>) {
    let mut starts = 0;
    let why = loop {
        let why = match catch_unwind(AssertUnwindSafe(|| worker.run())) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("panic: {}", panic_text(&*panic)),
        };
        starts += 1;
        let last = starts > limits::RESTARTS_MAX;
        tracing::error!(why, last, "a worker stopped");
        let transfers = std::mem::take(&mut *registry.lock().unwrap_or_else(|e| e.into_inner()));
        for shared in transfers.iter().filter_map(std::sync::Weak::upgrade) {
            shared.fail(&why);
        }
        // What is let go of may be what broke it.
        if last || catch_unwind(AssertUnwindSafe(|| worker.start_over())).is_err() {
            break why;
        }
    };
    worker.into_post().fail_all(&why);
}

fn fatal<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::new(Class::Fatal, what).because(error)
}

fn check_role(role: &Role, sends: bool) -> Result<(), Error> {
    if matches!(role, Role::Send(_)) == sends {
        return Ok(());
    }
    Err(Error::new(Class::Usage, "the role does not fit the direction of the ticket"))
}

fn workers(config: &EngineConfig, cores: &[usize]) -> usize {
    config.workers.unwrap_or(cores.len()).clamp(1, limits::WORKERS_MAX)
}

fn io_threads(workers: usize) -> usize {
    workers.max(2)
}

impl EngineConfig {
    /// How many threads an engine of this configuration has, and on how many cores.
    ///
    /// # Errors
    /// `Usage` for cores outside the affinity mask.
    pub fn size(&self) -> Result<EngineSize, Error> {
        let cores = cores(self)?;
        let workers = workers(self, &cores);
        Ok(EngineSize { cores: cores.len(), workers, io_threads: io_threads(workers) })
    }
}

/// The cores to pin workers to.
fn cores(config: &EngineConfig) -> Result<Vec<usize>, Error> {
    let mask = xfer_io::thread::affinity().map_err(fatal("read the affinity mask"))?;
    if let Some(outside) = config.cores.iter().find(|core| !mask.contains(core)) {
        let text = format!("core {outside} is not in the affinity mask {mask:?}");
        return Err(Error::new(Class::Usage, text));
    }
    Ok(if config.cores.is_empty() { mask } else { config.cores.clone() })
}

/// One queue for each address and worker.
fn open_queues(
    config: &EngineConfig,
    workers: usize,
    datapath: &Datapath,
) -> Result<(Vec<Vec<AnyQueue>>, Vec<SocketAddr>), Error> {
    let mut queues: Vec<Vec<AnyQueue>> = (0..workers).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    let options = QueueOptions::of(config);
    for address in &config.listen {
        let (group, local) = open_group(*address, workers, &options, config.steering)?;
        for (worker, (of_worker, udp)) in queues.iter_mut().zip(group).enumerate() {
            of_worker.push(datapath.queue(worker, udp).map_err(fatal("receive on a UDP address"))?);
        }
        addresses.push(local);
    }
    Ok((queues, addresses))
}

/// A queue for each worker on one address; several share its port and are steered by connection id.
fn open_group(
    mut local: SocketAddr,
    workers: usize,
    options: &QueueOptions,
    steering: bool,
) -> Result<(Vec<UdpQueue>, SocketAddr), Error> {
    let mut queues = Vec::new();
    for _ in 0..workers {
        let mut udp = options.socket(local);
        udp.reuse_port = workers > 1;
        let queue = UdpQueue::open(&udp).map_err(fatal("receive on a UDP address"))?;
        local = queue.local_addr();
        queues.push(queue);
    }
    if let (true, [first, _, ..]) = (steering, &queues[..]) {
        steer::by_worker(first).map_err(fatal("steer connections to workers"))?;
    }
    Ok((queues, local))
}

impl Ticket {
    pub(crate) fn to_proto(&self) -> xfer_proto::crypto::Ticket {
        use xfer_proto::crypto;
        let suite = match self.suite {
            Suite::Aes128Gcm => crypto::Suite::Aes128Gcm,
            Suite::ChaCha20Poly1305 => crypto::Suite::ChaCha20Poly1305,
            Suite::Plain => crypto::Suite::Plain,
        };
        let direction = match self.direction {
            Direction::OpenerSends => crypto::Direction::OpenerSends,
            Direction::OpenerReceives => crypto::Direction::OpenerReceives,
        };
        crypto::Ticket::new(self.secret, suite, direction)
    }
}

impl TransferConfig {
    /// The protocol's settings of a connection with a peer that said `peer` of itself.
    pub(crate) fn connection(&self, peer: &xfer_proto::handshake::Payload) -> Config {
        use crate::api::CongestionControl;
        let bytes_per_second = self.rate_max.map(|bits| (bits / 8).max(1));
        let algorithm = match self.congestion {
            CongestionControl::Bbr => Algorithm::Bbr,
            CongestionControl::Cubic => Algorithm::Cubic,
            CongestionControl::Ledbat => Algorithm::Ledbat,
            CongestionControl::Fixed => {
                Algorithm::Fixed { bytes_per_second: bytes_per_second.unwrap_or(limits::FIXED_RATE_DEFAULT) }
            }
        };
        let fixed = self.congestion == CongestionControl::Fixed;
        Config {
            algorithm,
            rate_max: bytes_per_second.filter(|_| !fixed),
            datagram_max: peer.datagram_max.min(limits::DATAGRAM_MAX),
            peer_buffer: peer.receive_buffer,
            idle: xfer_proto::limits::IDLE,
            rekey_after: None,
        }
    }
}

impl Transfer {
    /// What happens, in order; ends with `Finished`. Bounded: read it.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// The next event, if there is one. Where the worker waits for room, it is told that there is some.
    pub fn take_event(&self) -> Option<Event> {
        let event = self.events.try_recv().ok();
        if event.is_none() && self.shared.take_held_up() {
            self.nudge();
        }
        event
    }

    /// Tells the worker that the application has something new: objects, decisions, room for events. Cheap; never waits.
    pub fn nudge(&self) {
        if let Some(mailbox) = self.shared.nudge().and_then(|home| self.mailboxes.get(home)) {
            mailbox.wake();
        }
    }

    /// Totals by now; cheap, from any thread.
    pub fn progress(&self) -> Progress {
        self.shared.progress()
    }

    /// Ends the transfer: journals are synced, the last event says `Interrupted` with `reason`. Returns at once.
    pub fn cancel(&self, reason: &str) {
        self.end(Error::new(Class::Interrupted, reason));
    }

    /// The same with an error of any class, which the peer is told too.
    pub fn end(&self, error: Error) {
        self.shared.request_cancel(error);
        for mailbox in self.mailboxes.iter() {
            mailbox.send(Mail::Wake);
        }
    }
}
