//! A running node: its sockets, its engine, its services, and how they stop.

use crate::address::{self, Own};
use crate::audit::{Audit, AuditTo};
use crate::bench::Bench;
use crate::calls::Counted;
use crate::clients::{Caps, Clients};
use crate::files::Files;
use crate::gate::Gate;
use crate::identity::{self, Identity};
use crate::limits::{
    AUDIT_PATIENCE, BLOCKING_THREADS, CALLS_PER_CONNECTION_MAX, DRAIN_PATIENCE, HEADERS_LEN_MAX, KEEP_ALIVE,
    KEEP_ALIVE_TIMEOUT, PORT, REQUEST_LEN_MAX, RUNTIME_THREADS, SHUT_DOWN_PATIENCE,
};
use crate::listen::{self, TokenCheck};
use crate::metrics::{self, Network};
use crate::pb::bench_service_server::BenchServiceServer;
use crate::pb::file_service_server::FileServiceServer;
use crate::pb::transfer_service_server::TransferServiceServer;
use crate::policy::Policy;
use crate::registry::{Registry, State};
use crate::roots::{OpenRoots, Roots};
use crate::tickets::{Shared, Tickets};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::interceptor::InterceptorLayer;
use tonic::transport::Server;
use xfer_engine::{Class, Engine, EngineConfig, Error};

/// The services and their messages, for reflection.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// What it serves.
    pub roots: Roots,
    /// TCP addresses for control; empty: port 7700 of every address, IPv6 and IPv4.
    pub listen: Vec<SocketAddr>,
    /// UDP addresses for data, port 0 for that of control; empty: as `listen`.
    pub data: Vec<SocketAddr>,
    /// Nothing is written beneath the roots.
    pub read_only: bool,
    /// Clients may ask for unencrypted content.
    pub allow_plain: bool,
    /// Clients may ask for transfers without digests.
    pub allow_unverified: bool,
    /// Where identity and token are kept.
    pub state_dir: PathBuf,
    /// What clients may have at once and how often they may call.
    pub caps: Caps,
    /// Where a line for each transfer goes; `None`: nowhere.
    pub audit: Option<AuditTo>,
    /// TCP address of the metrics; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Programs in the kernel count what comes and goes on the interfaces of data.
    pub watch_network: bool,
    /// The engine; its `listen` is set from `data`.
    pub engine: EngineConfig,
}

/// A running node. Dropped without [`Node::shut_down`], it stops as it does there.
pub struct Node {
    link: String,
    control: Vec<SocketAddr>,
    data: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<Result<(), tonic::transport::Error>>>,
    runtime: Option<Runtime>,
    // The lock on the state directory is the last to go.
    _state: identity::State,
}

impl Node {
    /// Opens roots and sockets, and serves.
    ///
    /// # Errors
    /// `Fatal` when a port or the state directory is in use; `NoSource` when a root is missing; `Denied` by file permissions.
    pub fn start(config: NodeConfig) -> Result<Node, Error> {
        let roots = Arc::new(OpenRoots::open(&config.roots)?);
        let state = identity::State::lock(&config.state_dir)?;
        let identity = Identity::load_or_create(&config.state_dir)?;
        let audit = Arc::new(Audit::open(config.audit.as_ref(), identity.fingerprint())?);
        let listeners = bind(&config.listen)?;
        let control = listeners.iter().map(local_address).collect::<Result<Vec<_>, _>>()?;
        let engine =
            Engine::start(EngineConfig { listen: data_addresses(&config.data, &control), ..config.engine })?;
        let data = engine.addresses().to_vec();
        let own = Own::now()?;
        let named: Vec<String> =
            address::reachable(&control, &own, false).iter().map(SocketAddr::to_string).collect();
        let policy = Policy {
            read_only: config.read_only,
            allow_plain: config.allow_plain,
            allow_unverified: config.allow_unverified,
        };
        let registry = Registry::new(run_name()?, config.caps);
        let shared = Arc::new(Shared { roots, policy, registry, audit, engine: RwLock::new(Some(engine)) });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(|e| Error::new(Class::Fatal, "the system gives no threads for control").because(e))?;
        let (stop, stopped) = oneshot::channel();
        let benches = config.roots == Roots::Bench;
        let server = runtime.block_on(serve(listeners, &identity, shared.clone(), stopped, benches))?;
        let network = if config.watch_network { Network::start(&data) } else { Network::default() };
        let metrics = runtime.block_on(observe(config.metrics, &shared, Arc::new(network)))?;
        tracing::info!(control = ?control, data = ?data, read_only = config.read_only, "node starts");
        Ok(Node {
            link: identity.link(&named),
            control,
            data,
            metrics,
            shared,
            stop: Some(stop),
            server: Some(server),
            runtime: Some(runtime),
            _state: state,
        })
    }

    /// The link that gives access to this node: a secret.
    pub fn link(&self) -> &str {
        &self.link
    }

    /// TCP addresses that control listens on, ports filled in.
    pub fn control_addresses(&self) -> &[SocketAddr] {
        &self.control
    }

    /// UDP addresses that data comes to, ports filled in.
    pub fn data_addresses(&self) -> &[SocketAddr] {
        &self.data
    }

    /// TCP address that tells the metrics, port filled in.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Takes no more transfers, lets running ones sync their journals for 5 s, ends calls. Returns within 10 s.
    pub fn shut_down(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let engine = self.shared.engine.write().unwrap_or_else(PoisonError::into_inner).take();
        let running = self.shared.registry.running().len();
        tracing::info!(running, "node stops");
        if let Some(stop) = self.stop.take()
            && stop.send(()).is_err()
        {
            tracing::error!("the control server had stopped before");
        }
        if let Some(engine) = engine {
            engine.shut_down(SHUT_DOWN_PATIENCE);
            runtime.block_on(self.until_followed());
        }
        if let Some(server) = self.server.take() {
            match runtime.block_on(async { tokio::time::timeout(DRAIN_PATIENCE, server).await }) {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => tracing::error!(%error, "the control server failed"),
                Ok(Err(error)) => tracing::error!(%error, "the control server ended by a bug"),
                Err(_) => tracing::warn!("some calls were cut off"),
            }
        }
        runtime.shutdown_timeout(DRAIN_PATIENCE);
        tracing::info!("node stopped");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Node {
    /// Waits, at most [`AUDIT_PATIENCE`], until the end of each transfer was written down.
    async fn until_followed(&self) {
        let all = async {
            for record in self.shared.registry.running() {
                let mut state = record.watch();
                // The record is held here, so that its state does not go.
                drop(state.wait_for(|state| matches!(state, State::Ended { .. })).await);
            }
        };
        if tokio::time::timeout(AUDIT_PATIENCE, all).await.is_err() {
            tracing::warn!("the ends of some transfers were not written down");
        }
    }
}

/// Starts what looks after the figures; the metrics' address, port filled in.
async fn observe(
    address: Option<SocketAddr>,
    shared: &Arc<Shared>,
    network: Arc<Network>,
) -> Result<Option<SocketAddr>, Error> {
    if !network.watched().is_empty() {
        tokio::spawn(Network::sweep(network.clone()));
    }
    address.map(|address| metrics::start(address, shared.clone(), network)).transpose()
}

/// Names of runs must differ, no more.
fn run_name() -> Result<String, Error> {
    let mut run = [0; 4];
    aws_lc_rs::rand::fill(&mut run)
        .map_err(|_| Error::new(Class::Other, "the system gives no random bytes"))?;
    Ok(format!("{:08x}", u32::from_ne_bytes(run)))
}

fn bind(addresses: &[SocketAddr]) -> Result<Vec<StdListener>, Error> {
    if !addresses.is_empty() {
        return addresses.iter().map(|address| listen::bind(*address)).collect();
    }
    match listen::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT))) {
        Ok(listener) => Ok(vec![listener]),
        Err(e) if e.errno == Some(EAFNOSUPPORT) => {
            tracing::info!("this host has no IPv6");
            Ok(vec![listen::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))?])
        }
        Err(e) => Err(e),
    }
}

/// Linux: address family not supported.
const EAFNOSUPPORT: i32 = 97;

fn local_address(listener: &StdListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|e| Error::new(Class::Other, "read a socket's address").because(e))
}

fn data_addresses(data: &[SocketAddr], control: &[SocketAddr]) -> Vec<SocketAddr> {
    if data.is_empty() {
        return control.to_vec();
    }
    let port = control.first().map_or(PORT, SocketAddr::port);
    let filled = |a: &SocketAddr| SocketAddr::new(a.ip(), if a.port() == 0 { port } else { a.port() });
    data.iter().map(filled).collect()
}

/// Starts to accept and to answer; `benches`: also what measures.
async fn serve(
    listeners: Vec<StdListener>,
    identity: &Identity,
    shared: Arc<Shared>,
    stopped: oneshot::Receiver<()>,
    benches: bool,
) -> Result<JoinHandle<Result<(), tonic::transport::Error>>, Error> {
    let tls = listen::tls(identity)?;
    let (ready, connections) = mpsc::channel(1);
    let clients = Clients::new(shared.registry.caps());
    let gate = Gate::new(clients.clone());
    for listener in listeners {
        let listener = TcpListener::from_std(listener)
            .map_err(|e| Error::new(Class::Fatal, "watch a listening socket").because(e))?;
        tokio::spawn(listen::accept(listener, tls.clone(), gate.clone(), ready.clone()));
    }
    drop(ready);
    let broken =
        |e: tonic_reflection::server::Error| Error::new(Class::Other, "describe the services").because(e);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(broken)?;
    let files = FileServiceServer::new(Files { roots: shared.roots.clone(), audit: shared.audit.clone() });
    let bench = BenchServiceServer::new(Bench::new(shared.clone(), benches));
    let tickets = TransferServiceServer::new(Tickets { shared });
    let (health, health_server) = tonic_health::server::health_reporter();
    health.set_serving::<FileServiceServer<Files>>().await;
    health.set_serving::<TransferServiceServer<Tickets>>().await;
    if benches {
        health.set_serving::<BenchServiceServer<Bench>>().await;
    }
    let router = Server::builder()
        .layer(InterceptorLayer::new(TokenCheck::new(identity.token(), clients)))
        .layer(Counted)
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(HEADERS_LEN_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .add_service(files.max_decoding_message_size(REQUEST_LEN_MAX))
        .add_service(tickets.max_decoding_message_size(REQUEST_LEN_MAX))
        .add_service(bench.max_decoding_message_size(REQUEST_LEN_MAX))
        .add_service(health_server)
        .add_service(reflection);
    let connections = ReceiverStream::new(connections);
    Ok(tokio::spawn(async move {
        router
            .serve_with_incoming_shutdown(connections, async {
                // An error means that the node was dropped: the same.
                stopped.await.unwrap_or_default();
            })
            .await
    }))
}
