//! The bench service: the node's end of a benchmark is a memory that is sent again and again, or a sink that forgets.

use crate::audit::Asked;
use crate::limits::{BENCH_BYTES_MAX, BENCH_TIME_MAX, BENCH_WAIT_MAX, TRANSFERS_MAX};
use crate::listen::Peer;
use crate::pb::{self, bench_service_server::BenchService};
use crate::registry::{New, Record, State};
use crate::tickets::Shared;
use crate::{spawn::Counted, status};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tonic::{Code, Request, Response, Status};
use xfer_engine::meter::Meter;
use xfer_engine::sink::DiscardSink;
use xfer_engine::source::EndlessSource;
use xfer_engine::{Class, Error, Role};

/// A benchmark that the node took part in.
#[derive(Clone)]
struct Measured {
    record: Arc<Record>,
    meter: Arc<Meter>,
    /// Memory that it sends.
    bytes: u64,
}

/// Benchmarks of a node.
#[derive(Default)]
struct Benches {
    /// The newest [`TRANSFERS_MAX`].
    newest: Mutex<VecDeque<Measured>>,
    /// Held while one is made, so that no two count on the same memory.
    making: Mutex<()>,
}

/// The service.
pub(crate) struct Bench {
    shared: Arc<Shared>,
    /// `None` where the node serves files, so that its clients cannot make it work for nothing.
    benches: Option<Arc<Benches>>,
}

impl Bench {
    /// The service of a node that serves benchmarks, or of one that does not.
    pub(crate) fn new(shared: Arc<Shared>, serves: bool) -> Self {
        Bench { shared, benches: serves.then(Arc::default) }
    }

    fn benches(&self) -> Result<Arc<Benches>, Status> {
        self.benches.clone().ok_or_else(|| {
            let error = Error::new(Class::Refused, "the node serves files and no benchmarks")
                .because("start one with `xferctl bench serve` there");
            status::with_code(Code::Unimplemented, &error)
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Benches {
    /// Whether there is room for `bytes` besides what those send that have not ended.
    fn has_room(&self, bytes: u64) -> Result<(), Error> {
        let newest = lock(&self.newest);
        let taken: u64 =
            newest.iter().filter(|bench| !bench.record.has_ended()).map(|bench| bench.bytes).sum();
        if taken.saturating_add(bytes) <= BENCH_BYTES_MAX {
            return Ok(());
        }
        Err(Error::new(Class::Temporary, "the node sends as much memory as it may")
            .because("try again when other benchmarks have ended"))
    }

    fn keep(&self, measured: Measured) {
        let mut newest = lock(&self.newest);
        newest.truncate(TRANSFERS_MAX - 1);
        newest.push_front(measured);
    }

    fn find(&self, name: &str) -> Result<Measured, Error> {
        let found = lock(&self.newest).iter().find(|bench| bench.record.name == name).cloned();
        found.ok_or_else(|| Error::new(Class::NoSource, format!("the node knows no benchmark {name:?}")))
    }

    /// Makes the node's end of what is asked for, and its ticket.
    fn create(
        &self,
        shared: &Arc<Shared>,
        request: pb::CreateBenchRequest,
        peer: SocketAddr,
    ) -> Result<pb::CreateTransferResponse, Error> {
        let (upload, bench) = (request.send.is_none(), true);
        self.make(shared, request, peer).inspect_err(|error| {
            shared.audit.refused(&Asked { peer, upload, bench, names: &[] }, error);
        })
    }

    fn make(
        &self,
        shared: &Arc<Shared>,
        request: pb::CreateBenchRequest,
        peer: SocketAddr,
    ) -> Result<pb::CreateTransferResponse, Error> {
        let making = lock(&self.making);
        self.has_room(request.send.map_or(0, |memory| memory.bytes))?;
        let (answer, measured) = create(shared, request, peer)?;
        self.keep(measured);
        drop(making);
        Ok(answer)
    }
}

#[tonic::async_trait]
impl BenchService for Bench {
    async fn create_bench(
        &self,
        request: Request<pb::CreateBenchRequest>,
    ) -> Result<Response<pb::CreateTransferResponse>, Status> {
        let peer = Peer::of(&request);
        let (shared, benches, counted) = (self.shared.clone(), self.benches()?, Counted::of(&request));
        let request = request.into_inner();
        counted.blocking(move || benches.create(&shared, request, peer)).await.map(Response::new)
    }

    async fn get_bench(&self, request: Request<pb::GetBenchRequest>) -> Result<Response<pb::Bench>, Status> {
        let (benches, request) = (self.benches()?, request.into_inner());
        let bench = benches.find(&request.name).map_err(|error| status::of(&error))?;
        let wait = Duration::from_millis(request.wait_ms.into()).min(BENCH_WAIT_MAX);
        let mut state = bench.record.watch();
        let ended = state.wait_for(|state| matches!(state, State::Ended { .. }));
        // Whether it ended or the time is over, what is known is told.
        drop(tokio::time::timeout(wait, ended).await);
        Ok(Response::new(bench.told()))
    }
}

impl Measured {
    fn told(&self) -> pb::Bench {
        let transfer = self.record.told();
        let measured = self.meter.measured();
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        pb::Bench {
            name: transfer.name,
            state: transfer.state,
            bytes: transfer.bytes,
            time_ns: ns(measured.time),
            cpu_ns: ns(measured.cpu),
            limited_by: self.record.progress().limited_by.name().to_owned(),
            error: transfer.error,
        }
    }
}

/// The node's end of what is asked for, and its ticket.
fn create(
    shared: &Arc<Shared>,
    request: pb::CreateBenchRequest,
    peer: SocketAddr,
) -> Result<(pb::CreateTransferResponse, Measured), Error> {
    use pb::create_transfer_request::What;
    let bytes = request.send.map_or(0, |memory| memory.bytes);
    let send = request.send.map(checked).transpose()?;
    let upload = send.is_none();
    let what = if upload { What::Upload(Default::default()) } else { What::Download(Default::default()) };
    let terms = shared.policy.terms(&pb::CreateTransferRequest {
        what: Some(what),
        options: request.options,
        versions: request.versions,
        ..Default::default()
    })?;
    let meter = Arc::new(Meter::default());
    let digests = terms.config.digests;
    let role = match send {
        Some((bytes, time)) => Role::Send(Arc::new(EndlessSource::new(bytes, time, digests, meter.clone()))),
        None => Role::Receive(Arc::new(DiscardSink::new(digests, meter.clone()))),
    };
    let new = new(peer, upload);
    let record = shared.register(new)?;
    let answer = shared.admit(&record, &terms, role).inspect_err(|error| record.fail(error.clone()))?;
    Ok((answer, Measured { record, meter, bytes }))
}

fn new(peer: SocketAddr, upload: bool) -> New {
    let (paths, targets) = (Vec::new(), Vec::new());
    New { peer, upload, paths, targets, bench: true, one_file: false, renamed: false }
}

/// What the node shall send, within its bounds.
fn checked(memory: pb::Memory) -> Result<(usize, Duration), Error> {
    let usage = |why: &str| Error::new(Class::Usage, why);
    let bytes = usize::try_from(memory.bytes).ok().filter(|_| (1..=BENCH_BYTES_MAX).contains(&memory.bytes));
    let bytes = bytes.ok_or_else(|| usage("a benchmark sends a memory of 1 byte to 1 GiB"))?;
    let time = Duration::from_millis(memory.time_ms.into());
    if time.is_zero() || time > BENCH_TIME_MAX {
        return Err(usage("a benchmark sends for 1 ms to a day"));
    }
    Ok((bytes, time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Caps;
    use crate::registry::Registry;

    #[test]
    fn memory_is_bounded_until_benchmarks_end() {
        let registry = Registry::new("r".to_owned(), Caps::default());
        let benches = Benches::default();
        let taken = |bytes| {
            let peer = "127.0.0.1:9".parse().unwrap();
            let Ok(record) = registry.register(new(peer, false)) else { panic!("full") };
            benches.keep(Measured { record: record.clone(), meter: Arc::default(), bytes });
            record
        };
        assert!(benches.has_room(BENCH_BYTES_MAX).is_ok());
        taken(1);
        let most = taken(BENCH_BYTES_MAX - 2);
        assert!(benches.has_room(1).is_ok());
        assert_eq!(benches.has_room(2).unwrap_err().class, Class::Temporary);
        assert_eq!(benches.has_room(u64::MAX).unwrap_err().class, Class::Temporary);
        most.fail(Error::new(Class::Temporary, "x"));
        assert!(benches.has_room(BENCH_BYTES_MAX - 1).is_ok());
        assert!(benches.has_room(BENCH_BYTES_MAX).is_err());
        assert!(benches.find(&most.name).is_ok(), "what ended is told of");
        assert_eq!(benches.find("x").err().unwrap().class, Class::NoSource);
    }

    #[test]
    fn what_is_sent_has_bounds() {
        let day = BENCH_TIME_MAX.as_millis() as u32;
        let class =
            |bytes, time_ms| checked(pb::Memory { bytes, time_ms }).map(|_| ()).map_err(|error| error.class);
        for (bytes, time_ms) in [(1, 1), (BENCH_BYTES_MAX, day)] {
            assert_eq!(class(bytes, time_ms), Ok(()));
        }
        for (bytes, time_ms) in [(0, 1), (BENCH_BYTES_MAX + 1, 1), (u64::MAX, 1), (1, 0), (1, day + 1)] {
            assert_eq!(class(bytes, time_ms), Err(Class::Usage), "{bytes} {time_ms}");
        }
    }
}
