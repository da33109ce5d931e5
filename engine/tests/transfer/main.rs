//! Two engines over loopback: whole transfers through sockets, workers and I/O threads, memory to memory.

mod open;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use xfer_engine::codec::Compression;
use xfer_engine::sink::{Action, Decided, Ended, MemorySink, Sink, Verdict};
use xfer_engine::source::{ChunkPlan, Encoding, MemoryObject, MemorySource, Source};
use xfer_engine::{
    Admission, Connect, Direction, Durability, Engine, EngineConfig, Error, Event, Outcome, PathPair, Role,
    Suite, Ticket, Transfer, TransferConfig,
};
use xfer_io::file::Timestamp;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(60);

fn engine(listens: bool) -> Engine {
    let listen = if listens { vec![SocketAddr::new(LOOPBACK, 0)] } else { Vec::new() };
    Engine::start(EngineConfig { listen, workers: Some(1), ..EngineConfig::default() }).expect("starts")
}

fn content(len: usize, seed: u64) -> Arc<[u8]> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn objects(sizes: &[usize]) -> Vec<(Vec<u8>, Arc<[u8]>)> {
    let named = |(i, len): (usize, &usize)| (format!("o{i:05}").into_bytes(), content(*len, i as u64));
    sizes.iter().enumerate().map(named).collect()
}

fn source(objects: &[(Vec<u8>, Arc<[u8]>)]) -> MemorySource {
    let objects = objects.iter().map(|(name, content)| MemoryObject {
        name: name.clone(),
        bytes: Arc::new(content.clone()),
        mode: 0o644,
        mtime: Timestamp { seconds: 0, nanoseconds: 0 },
    });
    MemorySource::new(objects.collect(), Compression::None, true, true).expect("names are good")
}

fn outcome(transfer: &Transfer) -> Outcome {
    loop {
        match transfer.events().recv_timeout(PATIENCE).expect("the transfer ends") {
            Event::Finished(outcome) => return *outcome,
            event => drop(event),
        }
    }
}

/// Moves objects of these sizes; the opener sends or receives.
fn moves(sizes: &[usize], direction: Direction, suite: Suite, chunk_log2: u8) {
    let objects = objects(sizes);
    let sink = Arc::new(MemorySink::new(1 << 32, true));
    let ends = run(Arc::new(source(&objects)), sink.clone(), direction, suite, chunk_log2);
    check(&ends, sizes);
    for (name, content) in objects {
        assert!(sink.take(&name).as_deref() == Some(&content[..]), "{}", name.escape_ascii());
    }
}

fn check(ends: &[Outcome; 2], sizes: &[usize]) {
    for end in ends {
        assert!(end.error.is_none(), "{:?}", end.error);
        assert_eq!(end.progress.files, sizes.len() as u64);
        assert_eq!(end.progress.bytes, sizes.iter().sum::<usize>() as u64);
    }
}

/// One transfer between two engines; how it ended for the opener and for the acceptor.
fn run(
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    direction: Direction,
    suite: Suite,
    chunk_log2: u8,
) -> [Outcome; 2] {
    let config = TransferConfig { chunk_log2, ..TransferConfig::default() };
    let ticket = Ticket { secret: [7; 32], suite, direction };
    let (acceptor, opener) = (engine(true), engine(false));
    let (here, there): (Role, Role) = match direction {
        Direction::OpenerSends => (Role::Send(source), Role::Receive(sink)),
        Direction::OpenerReceives => (Role::Receive(sink), Role::Send(source)),
    };
    let admission =
        Admission { ticket: ticket.clone(), lifetime: PATIENCE, role: there, config: config.clone() };
    let accepted = acceptor.admit(admission).expect("admits");
    let pair = PathPair { local: LOOPBACK, remote: acceptor.addresses()[0] };
    let connect = Connect {
        ticket,
        paths: vec![pair],
        standby: Vec::new(),
        role: here,
        config,
        timeout: Duration::from_secs(5),
    };
    let connected = opener.connect(connect).expect("connects");
    [outcome(&connected), outcome(&accepted)]
}

/// A sink that lets small objects end in batches, as one that syncs many files at once does: what a page ended is
/// told with the answer to the next page, or at the end.
struct Batches {
    inner: MemorySink,
    held: Mutex<Vec<Ended>>,
}

impl Sink for Batches {
    fn decide(&self, page: &xfer_proto::wire::Page) -> Result<Decided, Error> {
        let mut decided = self.inner.decide(page)?;
        std::mem::swap(&mut decided.ended, &mut *self.held.lock().expect("not poisoned"));
        assert!(decided.ended.iter().all(|end| end.action == Action::Copied));
        Ok(decided)
    }

    fn write(&self, plan: &ChunkPlan, encoding: &Encoding, stored: &[u8]) -> Result<Verdict, Error> {
        self.inner.write(plan, encoding, stored)
    }

    fn withdraw(&self, object: u32, error: Error) -> Vec<Ended> {
        self.inner.withdraw(object, error)
    }

    fn end_open(&self, object: u32, size: u64) -> Vec<Ended> {
        self.inner.end_open(object, size)
    }

    fn sync(&self) -> Result<Vec<Ended>, Error> {
        self.inner.sync()
    }

    fn finish(&self) -> Result<(Vec<Ended>, Durability), Error> {
        let (ended, durability) = self.inner.finish()?;
        let held = std::mem::take(&mut *self.held.lock().expect("not poisoned"));
        Ok((held.into_iter().chain(ended).collect(), durability))
    }

    fn abort(&self) {
        self.inner.abort();
    }
}

#[test]
fn objects_that_end_with_a_later_page_are_counted() {
    // Three pages of objects that end without a chunk.
    let sizes = [0; 5_000];
    let sink = Batches { inner: MemorySink::new(1 << 32, true), held: Mutex::default() };
    let source = Arc::new(source(&objects(&sizes)));
    check(&run(source, Arc::new(sink), Direction::OpenerSends, Suite::Aes128Gcm, 20), &sizes);
}

#[test]
fn one_object_goes_up_and_comes_down() {
    moves(&[5_000_000], Direction::OpenerSends, Suite::Aes128Gcm, 20);
    moves(&[5_000_000], Direction::OpenerReceives, Suite::Aes128Gcm, 20);
}

#[test]
fn objects_around_the_edges_of_chunks_arrive() {
    let chunk = 1 << 16;
    let edges = [0, 1, 15, 16, 17, chunk / 4, chunk / 4 + 1, chunk - 1, chunk, chunk + 1, 3 * chunk + 5];
    moves(&edges, Direction::OpenerSends, Suite::ChaCha20Poly1305, 16);
    moves(&edges, Direction::OpenerReceives, Suite::Plain, 16);
}

#[test]
fn a_transfer_of_nothing_is_complete() {
    moves(&[], Direction::OpenerSends, Suite::Aes128Gcm, 20);
    moves(&[], Direction::OpenerReceives, Suite::Aes128Gcm, 20);
}

#[test]
fn thousands_of_small_objects_arrive() {
    let sizes: Vec<usize> = (0..5_000).map(|i| i * 7 % 3_000).collect();
    moves(&sizes, Direction::OpenerSends, Suite::Aes128Gcm, 20);
}

#[test]
fn nobody_there_is_a_temporary_error_that_names_the_pair() {
    let opener = engine(false);
    let silent = std::net::UdpSocket::bind((LOOPBACK, 0)).expect("binds");
    let remote = silent.local_addr().expect("bound");
    let connect = Connect {
        ticket: Ticket { secret: [9; 32], suite: Suite::Aes128Gcm, direction: Direction::OpenerReceives },
        paths: vec![PathPair { local: LOOPBACK, remote }],
        standby: Vec::new(),
        role: Role::Receive(Arc::new(MemorySink::discarding(true))),
        config: TransferConfig::default(),
        timeout: Duration::from_millis(300),
    };
    let error = outcome(&opener.connect(connect).expect("starts")).error.expect("fails");
    assert_eq!(error.class, xfer_engine::Class::Temporary);
    assert!(error.to_string().contains(&remote.ip().to_string()), "{error}");
}
