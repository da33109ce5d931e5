//! Two engines over loopback and a transfer between them, for tests that run whole ones.

#![allow(dead_code, reason = "each test uses its part")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use xfer_engine::codec::Compression;
use xfer_engine::sink::Sink;
use xfer_engine::source::{MemoryObject, MemorySource, Source};
use xfer_engine::{
    Admission, Connect, Direction, Engine, EngineConfig, Event, Outcome, PathPair, Role, Suite, Ticket,
    Transfer, TransferConfig,
};
use xfer_io::file::Timestamp;

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An engine that listens on loopback.
pub(crate) fn listener(config: EngineConfig) -> Engine {
    let listen = vec![SocketAddr::new(LOOPBACK, 0)];
    Engine::start(EngineConfig { listen, ..config }).expect("starts")
}

/// An engine that only connects.
pub(crate) fn connector(config: EngineConfig) -> Engine {
    Engine::start(config).expect("starts")
}

/// The settings of an engine with this many workers.
pub(crate) fn workers(count: usize) -> EngineConfig {
    EngineConfig { workers: Some(count), ..EngineConfig::default() }
}

/// `len` bytes without a pattern.
pub(crate) fn noise(len: usize, seed: u64) -> Arc<[u8]> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// One object of these bytes.
pub(crate) fn source(
    name: &str,
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    compression: Compression,
) -> MemorySource {
    let mtime = Timestamp { seconds: 0, nanoseconds: 0 };
    let object = MemoryObject { name: name.into(), bytes, mode: 0o644, mtime };
    MemorySource::new(vec![object], compression, true, true).expect("the name is good")
}

/// Both ends of a transfer.
pub(crate) struct Ends {
    pub(crate) sender: Transfer,
    pub(crate) receiver: Transfer,
}

/// Starts a transfer from `from`, which connects, to `to`, which listens.
pub(crate) fn start(
    (from, source): (&Engine, Arc<dyn Source>),
    (to, sink): (&Engine, Arc<dyn Sink>),
    secret: u8,
    config: &TransferConfig,
) -> Ends {
    start_over(1, (from, source), (to, sink), secret, config)
}

/// The same over so many pairs of loopback addresses.
pub(crate) fn start_over(
    paths: u8,
    (from, source): (&Engine, Arc<dyn Source>),
    (to, sink): (&Engine, Arc<dyn Sink>),
    secret: u8,
    config: &TransferConfig,
) -> Ends {
    let local = |last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let paths = (1..=paths).map(|last| PathPair { local: local(last), remote: to.addresses()[0] });
    let ticket = Ticket { secret: [secret; 32], suite: Suite::Aes128Gcm, direction: Direction::OpenerSends };
    let role = Role::Receive(sink);
    let admission = Admission { ticket: ticket.clone(), lifetime: PATIENCE, role, config: config.clone() };
    let receiver = to.admit(admission).expect("admits");
    let connect = Connect {
        ticket,
        paths: paths.collect(),
        standby: Vec::new(),
        role: Role::Send(source),
        config: config.clone(),
        timeout: Duration::from_secs(5),
    };
    let sender = from.connect(connect).expect("connects");
    Ends { sender, receiver }
}

/// How a transfer ended.
pub(crate) fn outcome(transfer: &Transfer) -> Outcome {
    loop {
        match transfer.events().recv_timeout(PATIENCE).expect("the transfer ends") {
            Event::Finished(outcome) => return *outcome,
            event => drop(event),
        }
    }
}

impl Ends {
    /// How the sender and the receiver ended; both must have succeeded.
    pub(crate) fn succeed(&self) -> (Outcome, Outcome) {
        let ends = (outcome(&self.sender), outcome(&self.receiver));
        for end in [&ends.0, &ends.1] {
            assert!(end.error.is_none(), "{:?}", end.error);
        }
        ends
    }
}
