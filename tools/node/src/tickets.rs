//! The transfer service: checks a request, prepares the node's end, issues the ticket, follows the transfer to its end.

use crate::address::{self, Own};
use crate::audit::{Asked, Audit};
use crate::limits::{
    END_PATIENCE, HOLDER_INTERVAL, HOLDER_PATIENCE, HOLDER_SETTLE, STRANGER_LINES_EVERY, STRANGER_LINES_MAX,
    TICKET_LIFETIME, TRANSFERS_MAX, WATCH_INTERVAL,
};
use crate::listen::Peer;
use crate::pb::{self, create_transfer_request::What, transfer_service_server::TransferService};
use crate::policy::{Policy, Terms};
use crate::registry::{Conflict, New, Record, Registry, State};
use crate::roots::OpenRoots;
use crate::spawn::Counted;
use crate::{follow, status, transfer};
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use xfer_engine::{Admission, Class, Engine, Error, Role, Sparing, Suite, Ticket};

static TAKEN_OVER: Sparing = Sparing::new(STRANGER_LINES_MAX, STRANGER_LINES_EVERY);

/// Transfers in one answer unless asked for another number.
const PAGE_SIZE: usize = 100;

/// What all calls share.
pub(crate) struct Shared {
    pub(crate) roots: Arc<OpenRoots>,
    pub(crate) policy: Policy,
    pub(crate) registry: Registry,
    pub(crate) audit: Arc<Audit>,
    /// `None` once the node stops.
    pub(crate) engine: RwLock<Option<Engine>>,
}

/// The service.
#[derive(Clone)]
pub(crate) struct Tickets {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl TransferService for Tickets {
    type WatchTransferStream = ReceiverStream<Result<pb::Transfer, Status>>;

    async fn create_transfer(
        &self,
        request: Request<pb::CreateTransferRequest>,
    ) -> Result<Response<pb::CreateTransferResponse>, Status> {
        let peer = Peer::of(&request);
        let (shared, counted, request) = (self.shared.clone(), Counted::of(&request), request.into_inner());
        counted.blocking(move || shared.create(&request, peer)).await.map(Response::new)
    }

    async fn get_transfer(
        &self,
        request: Request<pb::GetTransferRequest>,
    ) -> Result<Response<pb::Transfer>, Status> {
        Ok(Response::new(self.find(&request.get_ref().name)?.told()))
    }

    async fn list_transfers(
        &self,
        request: Request<pb::ListTransfersRequest>,
    ) -> Result<Response<pb::ListTransfersResponse>, Status> {
        let request = request.get_ref();
        let size = match request.page_size {
            0 => PAGE_SIZE,
            size => (size as usize).min(TRANSFERS_MAX),
        };
        let before = match request.page_token.as_str() {
            "" => u64::MAX,
            token => token
                .parse()
                .map_err(|_| status::of(&Error::new(Class::Usage, "the page_token is none of this node")))?,
        };
        let records = self.shared.registry.newest(before, size);
        let full = records.len() == size;
        let next_page_token =
            records.last().filter(|_| full).map(|r| r.number.to_string()).unwrap_or_default();
        let transfers = records.iter().map(|record| record.told()).collect();
        Ok(Response::new(pb::ListTransfersResponse { transfers, next_page_token }))
    }

    async fn watch_transfer(
        &self,
        request: Request<pb::WatchTransferRequest>,
    ) -> Result<Response<Self::WatchTransferStream>, Status> {
        let record = self.find(&request.get_ref().name)?;
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let mut state = record.watch();
            loop {
                let ended = matches!(*state.borrow_and_update(), State::Ended { .. });
                if sender.send(Ok(record.told())).await.is_err() || ended {
                    return;
                }
                // A change or the interval, whichever comes first; the record keeps the sender alive.
                match tokio::time::timeout(WATCH_INTERVAL, state.changed()).await {
                    Ok(Ok(())) | Err(_) => {}
                    Ok(Err(_)) => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn cancel_transfer(
        &self,
        request: Request<pb::CancelTransferRequest>,
    ) -> Result<Response<pb::Transfer>, Status> {
        let request = request.into_inner();
        let record = self.find(&request.name)?;
        let reason = if request.reason.is_empty() { "cancelled" } else { &request.reason };
        if let Some(transfer) = record.transfer() {
            transfer.cancel(reason);
        }
        Ok(Response::new(record.told()))
    }
}

impl Tickets {
    fn find(&self, name: &str) -> Result<Arc<Record>, Status> {
        self.shared.registry.find(name).map_err(|error| status::of(&error))
    }
}

/// The node's end of a transfer, ready to be admitted.
struct Prepared {
    role: Role,
    new: New,
    sources: Vec<pb::SourceInfo>,
    renamed: bool,
    range: Option<pb::SentRange>,
}

impl Shared {
    /// Answers a request for a transfer.
    fn create(
        self: &Arc<Self>,
        request: &pb::CreateTransferRequest,
        peer: SocketAddr,
    ) -> Result<pb::CreateTransferResponse, Error> {
        if let Some(answer) = self.registry.answer(request, Instant::now())? {
            return Ok(answer);
        }
        self.issue(request, peer).inspect_err(|error| {
            let (upload, names) = match &request.what {
                Some(What::Upload(upload)) => (true, std::slice::from_ref(&upload.destination)),
                Some(What::Download(download)) => (false, &download.sources[..]),
                None => (false, &[][..]),
            };
            self.audit.refused(&Asked { peer, upload, bench: false, names }, error);
        })
    }

    /// A ticket for what is asked for.
    fn issue(
        self: &Arc<Self>,
        request: &pb::CreateTransferRequest,
        peer: SocketAddr,
    ) -> Result<pb::CreateTransferResponse, Error> {
        let terms = self.policy.terms(request)?;
        if !request.replaces.is_empty() {
            self.replace(&request.replaces)?;
        }
        let prepared = self.prepare(request, &terms, peer)?;
        let Prepared { role, new, sources, renamed, range } = prepared;
        let record = self.register(new)?;
        let answer = self.admit(&record, &terms, role).inspect_err(|e| record.fail(e.clone()))?;
        let answer = pb::CreateTransferResponse { sources, renamed, range, ..answer };
        self.registry.remember(request, answer.clone(), Instant::now() + TICKET_LIFETIME);
        Ok(answer)
    }

    fn prepare(
        &self,
        request: &pb::CreateTransferRequest,
        terms: &Terms,
        peer: SocketAddr,
    ) -> Result<Prepared, Error> {
        match &request.what {
            Some(What::Upload(upload)) => {
                let (served, destination) = self.policy.destination(&self.roots, upload)?;
                let end = transfer::sink(served, &destination, upload, terms, peer)?;
                let targets = end.places.into_iter().map(|place| (served.name.clone(), place)).collect();
                let paths = vec![upload.destination.clone()];
                let one_file = transfer::is_one_file(&upload.sources);
                let renamed = end.renamed;
                let new = New { peer, upload: true, paths, targets, bench: false, one_file, renamed };
                let role = Role::Receive(end.sink);
                Ok(Prepared { role, new, sources: Vec::new(), renamed: end.renamed, range: None })
            }
            Some(What::Download(download)) => {
                self.policy.download(download)?;
                let (source, sources, range) = transfer::source(&self.roots, download, terms)?;
                let paths = download.sources.clone();
                let one_file = transfer::is_one_file(&sources);
                let targets = Vec::new();
                let new = New { peer, upload: false, paths, targets, bench: false, one_file, renamed: false };
                Ok(Prepared { role: Role::Send(source), new, sources, renamed: false, range })
            }
            None => Err(Error::new(Class::Usage, "neither upload nor download")),
        }
    }

    /// Registers a transfer; a holder of its target whose peer is gone makes way.
    pub(crate) fn register(&self, new: New) -> Result<Arc<Record>, Error> {
        let targets = new.targets.clone();
        let holder = match self.registry.register(new.clone()) {
            Ok(record) => return Ok(record),
            Err(Conflict::Full(excess)) => return Err(excess.error()),
            Err(Conflict::Held(holder)) => holder,
        };
        if answers(&holder) {
            return Err(busy(&holder, &targets));
        }
        if let Some(others) = TAKEN_OVER.admit(Instant::now()) {
            tracing::warn!(task = %holder.name, peer = %holder.peer, others, "its peer does not answer; another run takes over");
        }
        end(&holder, "its peer does not answer; another run takes over");
        match self.registry.register(new) {
            Ok(record) => Ok(record),
            Err(Conflict::Full(excess)) => Err(excess.error()),
            Err(Conflict::Held(holder)) => Err(busy(&holder, &targets)),
        }
    }

    /// Ends the transfer that another one goes on with. One that is not known any more needs no end.
    fn replace(&self, name: &str) -> Result<(), Error> {
        match self.registry.find(name) {
            Ok(record) => {
                end(&record, "its client goes on with another one");
                Ok(())
            }
            Err(error) if error.class == Class::NoSource => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Issues the ticket for a transfer that is registered, and follows it to its end.
    #[expect(clippy::expect_used, reason = "a constant of a minute")]
    pub(crate) fn admit(
        self: &Arc<Self>,
        record: &Arc<Record>,
        terms: &Terms,
        role: Role,
    ) -> Result<pb::CreateTransferResponse, Error> {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret)
            .map_err(|_| Error::new(Class::Other, "the system gives no random bytes for a ticket"))?;
        let ticket = Ticket { secret, suite: terms.suite, direction: terms.direction };
        let own = Own::now()?;
        let engine = self.engine.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let engine = engine.as_ref().ok_or_else(stopping)?;
        let addresses = address::reachable(engine.addresses(), &own, own.has(record.peer.ip()));
        let admission = Admission { ticket, lifetime: TICKET_LIFETIME, role, config: terms.config.clone() };
        let admitted = engine.admit(admission)?;
        let events = admitted.events().clone();
        record.admitted(admitted);
        follow::to_its_end(record.clone(), events, self.audit.clone(), self.registry.caps().stall)?;
        Ok(pb::CreateTransferResponse {
            name: record.name.clone(),
            secret: secret.to_vec(),
            suite: told_suite(terms.suite).into(),
            lifetime_ms: u32::try_from(TICKET_LIFETIME.as_millis()).expect("a minute"),
            addresses: addresses.iter().map(SocketAddr::to_string).collect(),
            sources: Vec::new(),
            version: 1,
            renamed: false,
            range: None,
        })
    }
}

fn told_suite(suite: Suite) -> pb::Suite {
    match suite {
        Suite::Aes128Gcm => pb::Suite::Aes128Gcm,
        Suite::ChaCha20Poly1305 => pb::Suite::Chacha20Poly1305,
        Suite::Plain => pb::Suite::Plain,
    }
}

fn stopping() -> Error {
    Error::new(Class::Temporary, "the node stops").because("try again when it is back")
}

fn busy(holder: &Record, targets: &[(String, Vec<u8>)]) -> Error {
    let (root, path) = holder.shares(targets).unwrap_or_default();
    Error::new(Class::Temporary, "another transfer writes this target:")
        .on(xfer_engine::Side::Destination)
        .object(crate::tree::joined(root.as_bytes(), &path))
        .because(format!("{} from {} holds it", holder.name, holder.peer))
}

/// Whether a sign of life comes from a transfer's peer within [`HOLDER_PATIENCE`].
fn answers(holder: &Record) -> bool {
    // The engine tells its counters now and then: what came before now has to be in them, or it would pass for a sign of life.
    std::thread::sleep(HOLDER_SETTLE);
    let before = holder.packets_received().unwrap_or(0);
    let deadline = Instant::now() + HOLDER_PATIENCE;
    loop {
        if holder.has_ended() {
            return false;
        }
        if holder.packets_received().is_some_and(|received| received > before) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(HOLDER_INTERVAL);
    }
}

/// Ends a transfer and waits, at most [`END_PATIENCE`], until its journal is synced.
fn end(record: &Record, reason: &str) {
    let Some(transfer) = record.transfer() else { return };
    transfer.cancel(reason);
    let deadline = Instant::now() + END_PATIENCE;
    while !record.has_ended() && Instant::now() < deadline {
        std::thread::sleep(HOLDER_INTERVAL);
    }
}
