//! A connection: operations on their way to the engine, and the engine's events on their way to completions.

use crate::completion::{NOTHING, Out, Told, set_digest};
use crate::engine::Engine;
use crate::input;
use crate::receiving::Receiving;
use crate::sending::Sending;
use crate::status::{Detail, Failure, Outcome, XFER_ERR_BUSY, XFER_ERR_UNSUPPORTED};
use crate::structs::*;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use xfer_engine::codec::Compression;
use xfer_engine::sink::LiveSink;
use xfer_engine::source::LiveSource;
use xfer_engine::{
    Admission, CongestionControl, Connect, Direction, Error, Event, FileEnd, PathPair as Pair, Role, Suite,
    Ticket, Transfer, TransferConfig,
};

/// Operations that may be outstanding, where the application does not say.
const DEPTH: u32 = 4_096;
/// ... and where it does.
const DEPTH_MAX: u32 = 65_536;
/// Pairs of addresses of one connection.
const PAIRS_MAX: u32 = 64;
/// How long no path may answer before connecting fails, where the application does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a secret waits for its connection, where the application does not say.
const ADMIT_LIFETIME: Duration = Duration::from_secs(60);

/// One connection.
pub(crate) struct Connection {
    pub(crate) engine: Arc<Engine>,
    /// Its handle's number, once it is entered.
    number: OnceLock<usize>,
    user: u64,
    transfer: Transfer,
    half: Half,
    detail: Detail,
    taking: Mutex<Taking>,
    /// Completions wait in `taking` for room.
    has_ready: AtomicBool,
    /// Its last completion was taken.
    over: AtomicBool,
}

enum Half {
    Sends(Sending),
    Receives(Receiving),
}

#[derive(Default)]
struct Taking {
    ready: VecDeque<Told>,
    /// How it ended, until all else is told.
    outcome: Option<Option<Error>>,
}

/// Operations that have no completion yet, and how many there may be.
pub(crate) struct Outstanding {
    count: AtomicUsize,
    max: usize,
}

impl Outstanding {
    /// Counts one more.
    pub(crate) fn add(&self) -> Outcome<()> {
        let more = |count| (count < self.max).then_some(count + 1);
        let added = self.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more);
        let text = || format!("{} operations are outstanding", self.max);
        added.map(drop).map_err(|_| Failure::new(crate::status::XFER_ERR_FULL, text()))
    }

    /// Counts one less.
    pub(crate) fn remove(&self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

pub(crate) fn unsupported(what: &str) -> Failure {
    Failure::new(XFER_ERR_UNSUPPORTED, format!("{what} that this library does not know"))
}

impl Connection {
    /// Admits the secret.
    pub(crate) fn admit(engine: &Arc<Engine>, options: &ConnectionOptions) -> Outcome<Arc<Connection>> {
        let parts = Parts::of(engine, options)?;
        let lifetime = input::duration(options.timeout_ms, ADMIT_LIFETIME);
        let sends = parts.ticket.direction == Direction::OpenerReceives;
        let (half, role) = parts.half(engine, options, sends);
        let Parts { ticket, config, .. } = parts;
        let transfer = engine.running()?.admit(Admission { ticket, lifetime, role, config })?;
        Ok(Connection::new(engine, options.user, transfer, half))
    }

    /// Makes a connection.
    pub(crate) fn connect(engine: &Arc<Engine>, options: &ConnectionOptions) -> Outcome<Arc<Connection>> {
        let parts = Parts::of(engine, options)?;
        let paths = pairs(options)?;
        let timeout = input::duration(options.timeout_ms, CONNECT_TIMEOUT);
        let sends = parts.ticket.direction == Direction::OpenerSends;
        let (half, role) = parts.half(engine, options, sends);
        let Parts { ticket, config, .. } = parts;
        let connect = Connect { ticket, paths, standby: Vec::new(), role, config, timeout };
        let transfer = engine.running()?.connect(connect)?;
        Ok(Connection::new(engine, options.user, transfer, half))
    }

    fn new(engine: &Arc<Engine>, user: u64, transfer: Transfer, half: Half) -> Arc<Connection> {
        engine.children.fetch_add(1, Ordering::AcqRel);
        Arc::new(Connection {
            engine: engine.clone(),
            number: OnceLock::new(),
            user,
            transfer,
            half,
            detail: Detail::default(),
            taking: Mutex::default(),
            has_ready: AtomicBool::new(false),
            over: AtomicBool::new(false),
        })
    }

    /// Its handle's number is known: its events may be taken.
    pub(crate) fn entered(self: &Arc<Self>, number: usize) {
        self.number.get_or_init(|| number);
        let mut connections = self.engine.connections.write().unwrap_or_else(PoisonError::into_inner);
        connections.push(self.clone());
        drop(connections);
        // What happened before was told to nobody.
        self.engine.signal.raise();
    }

    /// Lets go of it, after its last completion.
    pub(crate) fn check_over(&self) -> Outcome<()> {
        if self.over.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(Failure::new(
            XFER_ERR_BUSY,
            "the connection has not told XFER_EVENT_FINISHED; cancel it, and poll",
        ))
    }

    pub(crate) fn left(self: &Arc<Self>) {
        let mut connections = self.engine.connections.write().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|other| !Arc::ptr_eq(other, self));
        drop(connections);
        self.engine.children.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn detail(&self) -> &Detail {
        &self.detail
    }

    /// Takes one operation. The worker is to be told by [`Connection::nudge`], once for many.
    pub(crate) fn submit(&self, operation: &Operation) -> Outcome<()> {
        match (operation.kind, &self.half) {
            (XFER_OP_SEND | XFER_OP_SEND_FILE | XFER_OP_SEND_STREAM, Half::Sends(sending)) => {
                sending.submit(&self.engine, operation)
            }
            (XFER_OP_ACCEPT | XFER_OP_ACCEPT_FILE, Half::Receives(receiving)) => {
                receiving.accept(&self.engine, operation)
            }
            (XFER_OP_REFUSE, Half::Receives(receiving)) => receiving.refuse(operation),
            (XFER_OP_FINISH, Half::Sends(sending)) => {
                sending.finish();
                Ok(())
            }
            (XFER_OP_CANCEL, half) => {
                let why = reason(operation)?.unwrap_or_else(|| "cancelled by the application".to_owned());
                if let Half::Sends(sending) = half {
                    sending.finish();
                }
                self.transfer.cancel(&why);
                Ok(())
            }
            (XFER_OP_SEND..=XFER_OP_CANCEL, _) => {
                Err(Failure::argument("an operation of the other direction: this end does not do that"))
            }
            _ => Err(unsupported("an operation")),
        }
    }

    /// Tells the worker what was submitted.
    pub(crate) fn nudge(&self) {
        self.transfer.nudge();
    }

    /// Whether there is something to take.
    pub(crate) fn is_ready(&self) -> bool {
        let freed = matches!(&self.half, Half::Sends(sending) if sending.has_freed());
        !self.transfer.events().is_empty() || freed || self.has_ready.load(Ordering::Acquire)
    }

    fn handle(&self) -> *mut ConnectionHandle {
        std::ptr::without_provenance_mut(self.number.get().copied().unwrap_or(0))
    }

    fn bare(&self, kind: u32) -> Completion {
        Completion { user: self.user, connection: self.handle(), kind, ..NOTHING }
    }

    /// Fills in what happened, as far as there is room.
    pub(crate) fn take(&self, out: &mut Out<'_>) {
        if self.over.load(Ordering::Relaxed) {
            return;
        }
        let mut taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let taking = &mut *taking;
        if let Half::Sends(sending) = &self.half {
            sending.take_freed(self.handle(), &mut taking.ready);
        }
        loop {
            while !out.is_full()
                && let Some(told) = taking.ready.pop_front()
            {
                out.push_told(told);
                self.outstanding().remove();
            }
            if out.is_full() {
                break;
            }
            match self.transfer.take_event() {
                Some(event) => self.event(event, out, taking),
                None => break,
            }
        }
        self.has_ready.store(!taking.ready.is_empty(), Ordering::Release);
        if taking.ready.is_empty()
            && self.outstanding().count() == 0
            && !out.is_full()
            && let Some(error) = taking.outcome.take()
        {
            self.over.store(true, Ordering::Release);
            out.push_with(self.bare(XFER_EVENT_FINISHED), None, None, error.as_ref());
        }
    }

    fn outstanding(&self) -> &Outstanding {
        match &self.half {
            Half::Sends(sending) => &sending.outstanding,
            Half::Receives(receiving) => &receiving.outstanding,
        }
    }

    fn event(&self, event: Event, out: &mut Out<'_>, taking: &mut Taking) {
        match event {
            Event::Connected => out.push(self.bare(XFER_EVENT_CONNECTED)),
            Event::PathUp(pair) => {
                let text = out.text(&shown(pair));
                out.push(Completion { text, ..self.bare(XFER_EVENT_PATH_UP) });
            }
            Event::PathDown(pair, why) => {
                let text = out.text(&format!("{}: {why}", shown(pair)));
                out.push(Completion { text, ..self.bare(XFER_EVENT_PATH_DOWN) });
            }
            Event::Warning { name, text } => {
                let text = out.text(&text);
                out.push_with(Completion { text, ..self.bare(XFER_EVENT_WARNING) }, name, None, None);
            }
            Event::Offered(offer) => {
                let Half::Receives(receiving) = &self.half else { return };
                receiving.offered(&offer);
                let mut completion = self.bare(XFER_EVENT_OFFERED);
                completion.object = u64::from(offer.object);
                completion.bytes = offer.size.unwrap_or(XFER_SIZE_OPEN);
                if offer.content.is_some() {
                    completion.flags |= XFER_COMPLETION_WHOLE;
                }
                out.push_with(completion, Some(offer.name), offer.content, None);
            }
            Event::File(end) => self.ended(end, out),
            Event::Finished(outcome) => {
                let lost = |error: Option<&Error>| {
                    let cut = || Error::new(xfer_engine::Class::Interrupted, "the connection ended");
                    error.cloned().unwrap_or_else(cut)
                };
                let why = lost(outcome.error.as_ref());
                match &self.half {
                    Half::Sends(sending) => sending.end_all(self.handle(), &why, &mut taking.ready),
                    Half::Receives(receiving) => receiving.end_all(self.handle(), &why, &mut taking.ready),
                }
                taking.outcome = Some(outcome.error);
            }
        }
    }

    /// An object ended.
    fn ended(&self, end: FileEnd, out: &mut Out<'_>) {
        let told = match &self.half {
            Half::Sends(sending) => sending.ended(self.handle(), &end),
            Half::Receives(receiving) => receiving.ended(&end).map(|user| {
                let mut bare = Completion { user, ..self.bare(XFER_EVENT_RECEIVED) };
                bare.object = u64::from(end.object);
                bare.bytes = end.bytes;
                set_digest(&mut bare, end.digest);
                Told { bare, name: None, error: end.error }
            }),
        };
        if let Some(told) = told {
            out.push_told(told);
            self.outstanding().remove();
        }
    }

    pub(crate) fn statistics(&self) -> ConnectionStatistics {
        let progress = self.transfer.progress();
        let stage = |stage| xfer_engine::Stage::ACTIVE.iter().position(|other| *other == stage);
        ConnectionStatistics {
            size: size_of::<ConnectionStatistics>() as u32,
            limited_by: stage(progress.limited_by).map_or(XFER_STAGE_NONE, |at| at as u32 + 1),
            bytes: progress.bytes,
            bytes_named: progress.total_bytes,
            objects: progress.files,
            failed: progress.failed,
            wire_bytes: progress.wire_bytes,
            retransmitted_bytes: progress.retransmitted_bytes,
            outstanding: self.outstanding().count() as u32,
            paths: progress.paths.len() as u32,
        }
    }

    pub(crate) fn paths(&self) -> Vec<PathReport> {
        self.transfer.progress().paths.iter().map(report).collect()
    }
}

fn shown(pair: Pair) -> String {
    format!("{} to {}", pair.local, pair.remote)
}

fn report(path: &xfer_engine::PathReport) -> PathReport {
    let text = |address: String| {
        let mut room = [0; 64];
        // An address has 55 characters at most.
        for (to, byte) in room.iter_mut().take(63).zip(address.bytes()) {
            *to = byte.cast_signed();
        }
        room
    };
    PathReport {
        local: text(path.pair.local.to_string()),
        remote: text(path.pair.remote.to_string()),
        up: u32::from(path.up),
        mtu: u32::from(path.mtu),
        bytes: path.bytes,
        rtt_ns: u64::try_from(path.rtt.as_nanos()).unwrap_or(u64::MAX),
        window: path.window,
        packets_sent: path.packets_sent,
        packets_received: path.packets_received,
        loss_ppm: (path.loss * 1e6) as u32,
        reserved: 0,
    }
}

/// The text of an operation that refuses or cancels.
pub(crate) fn reason(operation: &Operation) -> Outcome<Option<String>> {
    let name = name(operation)?;
    Ok(name.map(|name| String::from_utf8_lossy(name).into_owned()))
}

/// The name in an operation.
pub(crate) fn name(operation: &Operation) -> Outcome<Option<&[u8]>> {
    if operation.name.is_null() {
        return Ok(None);
    }
    input::array(operation.name.cast(), operation.name_len as usize).map(Some)
}

/// What options of both kinds say.
struct Parts {
    ticket: Ticket,
    config: TransferConfig,
    depth: usize,
}

impl Parts {
    fn of(engine: &Arc<Engine>, options: &ConnectionOptions) -> Outcome<Parts> {
        engine.running()?;
        let known = XFER_CONNECTION_NO_DIGESTS | XFER_CONNECTION_COMPRESS;
        if options.flags & !known != 0 || options.reserved != 0 {
            return Err(unsupported("a flag or reserved field of the connection's options"));
        }
        let suite = match options.suite {
            0 | XFER_SUITE_AES_128_GCM => Suite::Aes128Gcm,
            XFER_SUITE_CHACHA20_POLY1305 => Suite::ChaCha20Poly1305,
            XFER_SUITE_PLAIN => Suite::Plain,
            _ => return Err(unsupported("a suite")),
        };
        let direction = match options.direction {
            XFER_DIRECTION_OPENER_SENDS => Direction::OpenerSends,
            XFER_DIRECTION_OPENER_RECEIVES => Direction::OpenerReceives,
            0 => return Err(Failure::argument("no direction")),
            _ => return Err(unsupported("a direction")),
        };
        let congestion = match options.congestion {
            0 | XFER_CONGESTION_BBR => CongestionControl::Bbr,
            XFER_CONGESTION_CUBIC => CongestionControl::Cubic,
            XFER_CONGESTION_LEDBAT => CongestionControl::Ledbat,
            XFER_CONGESTION_FIXED => CongestionControl::Fixed,
            _ => return Err(unsupported("a congestion control")),
        };
        let secret = input::array(options.secret, 32)?.try_into();
        let secret = secret.map_err(|_| Failure::argument("no secret"))?;
        let chunk_log2 = if options.chunk_log2 == 0 { 20 } else { options.chunk_log2.min(255) as u8 };
        let depth = if options.depth == 0 { DEPTH } else { options.depth.min(DEPTH_MAX) } as usize;
        let digests = options.flags & XFER_CONNECTION_NO_DIGESTS == 0;
        let rate_max = (options.rate_max > 0).then_some(options.rate_max);
        let config = TransferConfig { chunk_log2, digests, congestion, rate_max };
        Ok(Parts { ticket: Ticket { secret, suite, direction }, config, depth })
    }

    /// What this end does: for the application, and for the engine.
    fn half(&self, engine: &Arc<Engine>, options: &ConnectionOptions, sends: bool) -> (Half, Role) {
        let outstanding = Outstanding { count: AtomicUsize::new(0), max: self.depth };
        let digests = self.config.digests;
        if sends {
            let compress = options.flags & XFER_CONNECTION_COMPRESS != 0;
            let compression = if compress { Compression::Auto } else { Compression::None };
            let source = Arc::new(LiveSource::new(self.depth, compression, digests));
            let sending = Sending::new(source.clone(), digests, outstanding, engine.signal.clone());
            (Half::Sends(sending), Role::Send(source))
        } else {
            let sink = Arc::new(LiveSink::new(digests));
            let chunk_bytes = 1u64.checked_shl(u32::from(self.config.chunk_log2)).unwrap_or(u64::MAX);
            let receiving = Receiving::new(sink.clone(), chunk_bytes, outstanding);
            (Half::Receives(receiving), Role::Receive(sink))
        }
    }
}

/// The pairs of addresses to connect by.
fn pairs(options: &ConnectionOptions) -> Outcome<Vec<Pair>> {
    if options.path_count > PAIRS_MAX {
        return Err(Failure::argument(format!("more than {PAIRS_MAX} pairs of addresses")));
    }
    let given: &[PathPair] = input::array(options.paths, options.path_count as usize)?;
    given.iter().map(pair).collect()
}

fn pair(given: &PathPair) -> Outcome<Pair> {
    let text = input::text(given.remote, "remote address")?;
    let remote: SocketAddr =
        text.parse().map_err(|_| Failure::argument(format!("{text:?} is no address with a port")))?;
    let local = if given.local.is_null() {
        route(remote)?
    } else {
        let text = input::text(given.local, "local address")?;
        text.parse().map_err(|_| Failure::argument(format!("{text:?} is no address")))?
    };
    Ok(Pair { local, remote })
}

/// The address that the kernel sends from to `remote`. Nothing is sent for it.
fn route(remote: SocketAddr) -> Outcome<IpAddr> {
    let any = if remote.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let asked = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(remote)?;
        socket.local_addr()
    });
    asked.map(|local| local.ip()).map_err(|error| {
        let text = format!("no route to {remote}: {error}");
        Failure::new(crate::status::XFER_ERR_TEMPORARY, text)
    })
}

/// Memory that an operation names: where it begins, its bytes, and the handle that it is of.
pub(crate) fn region(
    engine: &Arc<Engine>,
    operation: &Operation,
    len: usize,
) -> Outcome<(usize, Option<Arc<crate::memory::Memory>>)> {
    let number = operation.memory.addr();
    if number == 0 {
        return Ok((operation.data.expose_provenance(), None));
    }
    let memory = crate::handles::get::<crate::memory::Memory>(number)?;
    if !Arc::ptr_eq(&memory.engine, engine) {
        return Err(Failure::argument("memory that was registered with another engine"));
    }
    let offset = usize::try_from(operation.offset).ok();
    let start = offset.filter(|offset| offset.checked_add(len).is_some_and(|end| end <= memory.len));
    let start = start.ok_or_else(|| Failure::argument("a range that is not within the registered memory"))?;
    Ok((memory.start + start, Some(memory)))
}

/// Looks at bytes of the application that do not change during the call.
pub(crate) fn bytes_at<'a>(start: usize, len: usize) -> Outcome<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if start == 0 {
        return Err(Failure::argument("memory that is null"));
    }
    let start: *const u8 = std::ptr::with_exposed_provenance(start);
    // SAFETY: not null, and by the header's contract `len` bytes that the application does not change during the call.
    Ok(unsafe { slice::from_raw_parts(start, len) })
}
