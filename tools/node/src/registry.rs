//! Transfers of a node: what they are, how they go, who holds which target. The newest [`TRANSFERS_MAX`] are remembered.

use crate::clients::{Caps, Excess};
use crate::limits::{ANSWERS_REMEMBERED_LEN, PATHS_REMEMBERED_LEN, TRANSFERS_MAX};
use crate::{pb, status};
use jiff::Timestamp;
use prost::Message as _;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;
use xfer_engine::{Class, Error, Progress, Transfer};

/// What a transfer is about to do or did.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// The ticket waits for its connection.
    Waiting,
    /// The connection stands.
    Running,
    /// It ended, perhaps by an error.
    Ended { at_ns: i64, error: Option<Error>, progress: Box<Progress> },
}

/// One transfer. Its engine's transfer is there once it was admitted.
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) peer: SocketAddr,
    pub(crate) upload: bool,
    /// Paths as the client knows them.
    pub(crate) paths: Vec<Vec<u8>>,
    /// Places that it writes, each a root's name and a path; empty for downloads, and once it ended.
    targets: Mutex<Vec<(String, Vec<u8>)>>,
    /// Its objects are what a benchmark is made of, which nobody wants to hear of.
    pub(crate) bench: bool,
    /// A single file was named, whose digest is the transfer's.
    pub(crate) one_file: bool,
    /// The first component of names is replaced by the destination's.
    pub(crate) renamed: bool,
    pub(crate) created: Timestamp,
    state: watch::Sender<State>,
    /// The engine's end of it, from when it was admitted until it ended: its queue of events takes a quarter of a MiB.
    transfer: Mutex<Option<Arc<Transfer>>>,
}

impl Record {
    /// Hands over the engine's transfer, once.
    pub(crate) fn admitted(&self, transfer: Transfer) {
        *self.held() = Some(Arc::new(transfer));
    }

    /// The engine's transfer, as long as it runs.
    pub(crate) fn transfer(&self) -> Option<Arc<Transfer>> {
        self.held().clone()
    }

    fn held(&self) -> MutexGuard<'_, Option<Arc<Transfer>>> {
        self.transfer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its totals as the engine tells them.
    fn live_progress(&self) -> Progress {
        self.transfer().map(|transfer| transfer.progress()).unwrap_or_default()
    }

    /// Follows the state.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Sets the state; an end is final.
    pub(crate) fn set(&self, state: State) {
        self.state.send_if_modified(|now| {
            let open = !matches!(now, State::Ended { .. });
            if open {
                *now = state;
            }
            open
        });
        if self.has_ended() {
            *self.targets() = Vec::new();
            *self.held() = None;
        }
    }

    fn targets(&self) -> MutexGuard<'_, Vec<(String, Vec<u8>)>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first of its targets that is among `others`.
    pub(crate) fn shares(&self, others: &[(String, Vec<u8>)]) -> Option<(String, Vec<u8>)> {
        self.targets().iter().find(|target| others.contains(target)).cloned()
    }

    /// Ends it before it was admitted, or without its engine.
    pub(crate) fn fail(&self, error: Error) {
        let progress = self.live_progress();
        self.set(State::Ended { at_ns: now_ns(), error: Some(error), progress: Box::new(progress) });
    }

    /// Whether it ended.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(*self.state.borrow(), State::Ended { .. })
    }

    /// Packets that came from its peer; `None` before a connection stands.
    pub(crate) fn packets_received(&self) -> Option<u64> {
        if !matches!(*self.state.borrow(), State::Running) {
            return None;
        }
        let progress = self.transfer()?.progress();
        Some(progress.paths.iter().map(|path| path.packets_received).sum())
    }

    /// Its totals by now, or at its end.
    pub(crate) fn progress(&self) -> Progress {
        match &*self.state.borrow() {
            State::Ended { progress, .. } => (**progress).clone(),
            State::Waiting | State::Running => self.live_progress(),
        }
    }

    /// As a message.
    pub(crate) fn told(&self) -> pb::Transfer {
        let progress = self.progress();
        let (told, ended_ns, error) = match &*self.state.borrow() {
            State::Waiting => (pb::TransferState::Waiting, 0, None),
            State::Running => (pb::TransferState::Running, 0, None),
            State::Ended { at_ns, error, .. } => {
                let state = if error.is_some() { pb::TransferState::Failed } else { pb::TransferState::Done };
                (state, *at_ns, error.clone())
            }
        };
        pb::Transfer {
            name: self.name.clone(),
            state: told.into(),
            peer: self.peer.to_string(),
            upload: self.upload,
            paths: self.paths.clone(),
            bytes: progress.bytes,
            reused_bytes: progress.reused_bytes,
            skipped_bytes: progress.skipped_bytes,
            total_bytes: progress.total_bytes,
            files: progress.files,
            skipped: progress.skipped,
            failed: progress.failed,
            created_ns: i64::try_from(self.created.as_nanosecond()).unwrap_or(i64::MAX),
            ended_ns,
            error: error.as_ref().map(status::info),
        }
    }
}

/// The wall clock in nanoseconds since 1970.
pub(crate) fn now_ns() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Why a transfer cannot be registered.
pub(crate) enum Conflict {
    /// This one writes one of the targets.
    Held(Arc<Record>),
    /// Too many run.
    Full(Excess),
}

/// A request that was answered.
struct Answered {
    id: String,
    /// SHA-256 of the request.
    request: Vec<u8>,
    answer: pb::CreateTransferResponse,
    len: usize,
    until: Instant,
}

#[derive(Default)]
struct Inner {
    next: u64,
    records: BTreeMap<u64, Arc<Record>>,
    /// In the order of their ends.
    answered: VecDeque<Answered>,
    answered_len: usize,
}

/// All transfers.
pub(crate) struct Registry {
    /// Tells this process's transfers from those of one before.
    run: String,
    caps: Caps,
    inner: Mutex<Inner>,
}

/// What a new transfer is.
#[derive(Clone)]
pub(crate) struct New {
    pub(crate) peer: SocketAddr,
    pub(crate) upload: bool,
    pub(crate) paths: Vec<Vec<u8>>,
    pub(crate) targets: Vec<(String, Vec<u8>)>,
    pub(crate) bench: bool,
    pub(crate) one_file: bool,
    pub(crate) renamed: bool,
}

impl Registry {
    /// An empty registry of the run named `run`.
    pub(crate) fn new(run: String, caps: Caps) -> Self {
        Registry { run, caps, inner: Mutex::default() }
    }

    /// What the operator grants.
    pub(crate) fn caps(&self) -> Caps {
        self.caps
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a transfer unless one of its targets is held or too many run; forgets the oldest that ended.
    #[expect(clippy::expect_used, reason = "fewer may run than are remembered")]
    pub(crate) fn register(&self, new: New) -> Result<Arc<Record>, Conflict> {
        let mut inner = self.lock();
        let running = inner.records.values().filter(|record| !record.has_ended());
        let (mut count, mut of_host) = (0, 0);
        for record in running {
            count += 1;
            of_host += usize::from(record.peer.ip() == new.peer.ip());
            if record.shares(&new.targets).is_some() {
                return Err(Conflict::Held(record.clone()));
            }
        }
        if count >= self.caps.transfers {
            return Err(Conflict::Full(Excess::Transfers));
        }
        if of_host >= self.caps.transfers_per_client {
            return Err(Conflict::Full(Excess::ClientTransfers));
        }
        if inner.records.len() >= TRANSFERS_MAX {
            let oldest = inner.records.values().find(|record| record.has_ended()).map(|record| record.number);
            let oldest = oldest.expect("fewer run than are remembered");
            inner.records.remove(&oldest);
        }
        inner.next += 1;
        let number = inner.next;
        let record = Arc::new(Record {
            number,
            name: format!("transfers/{}-{number}", self.run),
            peer: new.peer,
            upload: new.upload,
            paths: remembered(new.paths),
            targets: Mutex::new(new.targets),
            bench: new.bench,
            one_file: new.one_file,
            renamed: new.renamed,
            created: Timestamp::now(),
            state: watch::Sender::new(State::Waiting),
            transfer: Mutex::default(),
        });
        inner.records.insert(number, record.clone());
        Ok(record)
    }

    /// The transfer of that name.
    ///
    /// # Errors
    /// `NoSource` when there is none, or none any more.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Record>, Error> {
        let number = name.strip_prefix("transfers/").and_then(|id| id.rsplit_once('-'));
        let record = number
            .filter(|(run, _)| *run == self.run)
            .and_then(|(_, number)| number.parse::<u64>().ok())
            .and_then(|number| self.lock().records.get(&number).cloned());
        record.ok_or_else(|| Error::new(Class::NoSource, format!("the node knows no {name:?}")))
    }

    /// Up to `max` transfers before number `before`, newest first.
    pub(crate) fn newest(&self, before: u64, max: usize) -> Vec<Arc<Record>> {
        self.lock().records.range(..before).rev().take(max).map(|(_, record)| record.clone()).collect()
    }

    /// Those that have not ended.
    pub(crate) fn running(&self) -> Vec<Arc<Record>> {
        self.lock().records.values().filter(|record| !record.has_ended()).cloned().collect()
    }

    /// The answer that a request with this id already got.
    ///
    /// # Errors
    /// `Usage` when that request was another one.
    pub(crate) fn answer(
        &self,
        request: &pb::CreateTransferRequest,
        now: Instant,
    ) -> Result<Option<pb::CreateTransferResponse>, Error> {
        let mut inner = self.lock();
        inner.forget_answers(|inner| inner.answered.front().is_some_and(|oldest| oldest.until <= now));
        match inner.answered.iter().find(|answered| answered.id == request.request_id) {
            None => Ok(None),
            Some(answered) if answered.request == digest(request) => Ok(Some(answered.answer.clone())),
            Some(_) => Err(Error::new(Class::Usage, "another request had the same request_id")),
        }
    }

    /// Remembers the answer to a request that has an id, until its ticket ends or too much is remembered. `until` is not before that of
    /// any earlier answer.
    pub(crate) fn remember(
        &self,
        request: &pb::CreateTransferRequest,
        answer: pb::CreateTransferResponse,
        until: Instant,
    ) {
        if request.request_id.is_empty() {
            return;
        }
        let (id, request) = (request.request_id.clone(), digest(request));
        let len = answer.encoded_len() + id.len() + request.len() + size_of::<Answered>();
        let mut inner = self.lock();
        inner.answered_len += len;
        inner.answered.push_back(Answered { id, request, answer, len, until });
        inner.forget_answers(|inner| inner.answered_len > ANSWERS_REMEMBERED_LEN);
    }
}

impl Inner {
    /// Forgets the oldest answers as long as `must`.
    fn forget_answers(&mut self, must: impl Fn(&Inner) -> bool) {
        while must(self)
            && let Some(oldest) = self.answered.pop_front()
        {
            self.answered_len -= oldest.len;
        }
    }
}

fn digest(request: &pb::CreateTransferRequest) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &request.encode_to_vec()).as_ref().to_vec()
}

/// As many of the paths as are remembered.
fn remembered(mut paths: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut len = 0;
    let fits = paths.iter().take_while(|path| {
        len += path.len();
        len <= PATHS_REMEMBERED_LEN
    });
    let count = fits.count().max(1);
    paths.truncate(count);
    paths.shrink_to_fit();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_remembered_has_a_bound() {
        let registry = Registry::new("r".to_owned(), Caps::default());
        let now = Instant::now();
        let until = now + Duration::from_secs(60);
        let request = |i: u32| pb::CreateTransferRequest { request_id: i.to_string(), ..Default::default() };
        let source = pb::SourceInfo { name: vec![0; 1 << 20], ..Default::default() };
        let answer = pb::CreateTransferResponse { sources: vec![source; 4], ..Default::default() };
        (0..8).for_each(|i| registry.remember(&request(i), answer.clone(), until));
        let known: Vec<bool> = (0..8).map(|i| registry.answer(&request(i), now).unwrap().is_some()).collect();
        assert_eq!(known, [false, false, false, false, false, true, true, true]);
        let paths = |count: usize, len: usize| remembered(vec![vec![0; len]; count]).len();
        assert_eq!([paths(0, 0), paths(1, 1 << 20), paths(5, 4_096), paths(4, 4_096)], [0, 1, 4, 4]);
    }

    fn new(target: &str) -> New {
        New {
            peer: "127.0.0.1:9".parse().unwrap(),
            upload: true,
            paths: Vec::new(),
            targets: vec![(String::new(), target.as_bytes().to_vec())],
            bench: false,
            one_file: false,
            renamed: false,
        }
    }

    fn registered(registry: &Registry, target: &str) -> Arc<Record> {
        registry.register(new(target)).unwrap_or_else(|_| panic!("{target}"))
    }

    fn end(record: &Record) {
        record.fail(Error::new(Class::Temporary, "x"));
    }

    #[test]
    fn a_target_has_one_writer() {
        let registry = Registry::new("r".to_owned(), Caps::default());
        let first = registered(&registry, "a");
        registered(&registry, "b");
        let Err(Conflict::Held(holder)) = registry.register(new("a")) else { panic!() };
        assert_eq!(holder.name, first.name);
        end(&first);
        registered(&registry, "a");
    }

    #[test]
    fn the_oldest_ended_is_forgotten() {
        let registry = Registry::new("r".to_owned(), Caps::default());
        let kept = registered(&registry, "kept");
        let second = registered(&registry, "1");
        end(&second);
        for i in 2..TRANSFERS_MAX {
            end(&registered(&registry, &i.to_string()));
        }
        assert!(registry.find(&second.name).is_ok());
        end(&registered(&registry, "one more"));
        assert_eq!(registry.find(&second.name).err().unwrap().class, Class::NoSource);
        assert!(registry.find(&kept.name).is_ok());
        assert_eq!(registry.newest(u64::MAX, 2).len(), 2);
        assert_eq!(registry.newest(kept.number, 2).len(), 0);
        assert_eq!(registry.running().len(), 1);
        for name in ["", "transfers/", "transfers/r-0", "transfers/x-1", "transfers/r-x"] {
            assert!(registry.find(name).is_err(), "{name}");
        }
    }

    #[test]
    fn running_ones_are_bounded() {
        let registry = Registry::new("r".to_owned(), Caps::default());
        let of = |host: u8, target: usize| New {
            peer: SocketAddr::from(([10, 0, 0, host], 9)),
            ..new(&target.to_string())
        };
        let Caps { transfers, transfers_per_client: each, .. } = Caps::default();
        let met = |host, target| match registry.register(of(host, target)) {
            Err(Conflict::Full(excess)) => Some(excess),
            Err(Conflict::Held(_)) => panic!("each has a target of its own"),
            Ok(_) => None,
        };
        for i in 0..transfers {
            assert_eq!(met((i / each) as u8, i), None);
            if i + 1 == each {
                assert_eq!(met(0, 1_000), Some(Excess::ClientTransfers), "one client has its share");
            }
        }
        assert_eq!(met(100, 1_000), Some(Excess::Transfers));
    }

    #[test]
    fn an_end_is_final() {
        let registry = Registry::new("r".to_owned(), Caps::default());
        let record = registered(&registry, "a");
        record.set(State::Running);
        assert_eq!(record.told().state(), pb::TransferState::Running);
        end(&record);
        record.set(State::Running);
        let told = record.told();
        assert_eq!(told.state(), pb::TransferState::Failed);
        assert_eq!(told.error.unwrap().exit_code, 5);
        assert!(told.ended_ns > 0);
    }

    #[test]
    fn a_request_is_answered_once() {
        let registry = Registry::new("r".to_owned(), Caps::default());
        let start = Instant::now();
        let until = start + Duration::from_secs(60);
        let request = pb::CreateTransferRequest { request_id: "i".to_owned(), ..Default::default() };
        let answer = pb::CreateTransferResponse { name: "n".to_owned(), ..Default::default() };
        assert_eq!(registry.answer(&request, start).unwrap(), None);
        registry.remember(&request, answer.clone(), until);
        assert_eq!(registry.answer(&request, start).unwrap(), Some(answer));
        let other = pb::CreateTransferRequest { replaces: "x".to_owned(), ..request.clone() };
        assert_eq!(registry.answer(&other, start).unwrap_err().class, Class::Usage);
        assert_eq!(registry.answer(&other, until).unwrap(), None);
        registry.remember(
            &pb::CreateTransferRequest::default(),
            pb::CreateTransferResponse::default(),
            until,
        );
        assert_eq!(registry.answer(&pb::CreateTransferRequest::default(), start).unwrap(), None);
    }
}
