//! Panics of a worker and of an I/O thread: the transfers on it end with an error that says so, others complete.

#[path = "../pair/mod.rs"]
mod pair;

use pair::{Ends, LOOPBACK, PATIENCE, connector, listener, noise, outcome, start, start_over, workers};
use std::sync::Arc;
use std::time::{Duration, Instant};
use xfer_engine::codec::Compression;
use xfer_engine::sink::MemorySink;
use xfer_engine::source::{ChunkPlan, Listing, MemorySource, ReadChunk, Source};
use xfer_engine::{
    Admission, Connect, Direction, Engine, Error, Event, PathPair, Role, Suite, Ticket, TransferConfig,
};
use xfer_proto::wire::Decision;

/// Where a [`Broken`] source panics.
#[derive(Clone, Copy, PartialEq)]
enum Panics {
    Nowhere,
    /// In what the worker calls.
    Worker,
    /// In what an I/O thread calls.
    Storage,
}

struct Broken(MemorySource, Panics);

impl Source for Broken {
    fn list(&self, first_object: u32) -> Result<Listing, Error> {
        self.0.list(first_object)
    }

    fn decided(&self, first_object: u32, decisions: &[Decision]) {
        self.0.decided(first_object, decisions);
    }

    fn read(&self, plan: &ChunkPlan, attempt: u8, buffer: &mut [u8]) -> Result<ReadChunk, Error> {
        assert!(self.1 != Panics::Storage || plan.chunk < 12, "broken storage");
        self.0.read(plan, attempt, buffer)
    }

    fn rate(&self, _: u64) {
        assert!(self.1 != Panics::Worker, "broken worker");
    }

    fn open_size(&self, object: u32) -> Option<u64> {
        self.0.open_size(object)
    }

    fn end(&self, object: u32) -> Result<Option<[u8; 32]>, Error> {
        self.0.end(object)
    }
}

fn source(name: &str, bytes: Arc<[u8]>, panics: Panics) -> Broken {
    Broken(pair::source(name, Arc::new(bytes), Compression::None), panics)
}

/// A transfer that takes about half a second.
fn begin(from: &Engine, to: &Engine, secret: u8, panics: Panics) -> Ends {
    let config = TransferConfig { rate_max: Some(400_000_000), ..TransferConfig::default() };
    let source = source("a", noise(24 << 20, u64::from(secret)), panics);
    start((from, Arc::new(source)), (to, Arc::new(MemorySink::discarding(true))), secret, &config)
}

/// Waits until both ends of a transfer are connected, so that each is on its worker.
fn connected(ends: &Ends) {
    for end in [&ends.sender, &ends.receiver] {
        let event = end.events().recv_timeout(PATIENCE).expect("connects");
        assert!(matches!(event, Event::Connected), "{event:?}");
    }
}

/// How the sender failed, and how long after content began to move: the rate is told with the first report.
fn failure(ends: &Ends) -> (Error, Duration) {
    while ends.sender.progress().bytes == 0 && ends.sender.events().is_empty() {
        std::thread::yield_now();
    }
    let began = Instant::now();
    let error = outcome(&ends.sender).error.expect("fails");
    (error, began.elapsed())
}

#[test]
fn a_panic_of_a_worker_ends_its_transfers_and_no_others() {
    let (to, from) = (listener(workers(1)), connector(workers(2)));
    // The first and the third are on one worker.
    let on_the_same_worker = begin(&from, &to, 1, Panics::Nowhere);
    connected(&on_the_same_worker);
    let whole = begin(&from, &to, 2, Panics::Nowhere);
    connected(&whole);
    let broken = begin(&from, &to, 3, Panics::Worker);
    connected(&broken);
    let (error, took) = failure(&broken);
    assert!(error.to_string().contains("a worker of this engine stopped: panic: broken worker"), "{error}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let error = outcome(&on_the_same_worker.sender).error.expect("fails");
    assert!(error.to_string().contains("worker"), "{error}");
    whole.succeed();
    // The worker started over: both take transfers again.
    let after = [begin(&from, &to, 4, Panics::Nowhere), begin(&from, &to, 5, Panics::Nowhere)];
    after.iter().for_each(|ends| drop(ends.succeed()));
}

/// The listener's first worker takes in all connections; tickets that wait there end with it.
#[test]
fn a_listener_whose_worker_panicked_takes_connections_again() {
    let (to, from) = (listener(workers(1)), connector(workers(1)));
    let config = TransferConfig { rate_max: Some(400_000_000), ..TransferConfig::default() };
    let ticket = Ticket { secret: [1; 32], suite: Suite::Aes128Gcm, direction: Direction::OpenerReceives };
    let broken = source("a", noise(24 << 20, 1), Panics::Worker);
    let waits = Ticket { secret: [2; 32], ..ticket.clone() };
    let admit = |ticket: &Ticket, source| {
        let role = Role::Send(Arc::new(source));
        let admission =
            Admission { ticket: ticket.clone(), lifetime: PATIENCE, role, config: config.clone() };
        to.admit(admission).expect("admits")
    };
    let sender = admit(&ticket, broken);
    let waiting = admit(&waits, source("b", noise(1, 1), Panics::Nowhere));
    let connect = Connect {
        ticket,
        paths: vec![PathPair { local: LOOPBACK, remote: to.addresses()[0] }],
        standby: Vec::new(),
        role: Role::Receive(Arc::new(MemorySink::discarding(true))),
        config: config.clone(),
        timeout: PATIENCE,
    };
    let receiver = from.connect(connect).expect("connects");
    for transfer in [&sender, &waiting] {
        let error = outcome(transfer).error.expect("fails");
        assert!(error.to_string().contains("panic: broken worker"), "{error}");
    }
    begin(&from, &to, 3, Panics::Nowhere).succeed();
    drop(receiver);
}

/// The first transfer lives on the last worker, and the first worker carries its second path; the second transfer lives there.
#[test]
fn a_panic_of_a_worker_ends_a_transfer_that_it_only_carries_a_path_of() {
    let (to, from) = (listener(workers(1)), connector(workers(2)));
    let config = TransferConfig { rate_max: Some(100_000_000), ..TransferConfig::default() };
    let bytes = source("a", noise(48 << 20, 1), Panics::Nowhere);
    let sink = Arc::new(MemorySink::discarding(true));
    let carried = start_over(2, (&from, Arc::new(bytes)), (&to, sink), 1, &config);
    let mut up = 0;
    while up < 2 {
        let event = carried.sender.events().recv_timeout(PATIENCE).expect("goes on");
        assert!(!matches!(event, Event::Finished(_)), "{event:?}");
        up += usize::from(matches!(event, Event::PathUp(_)));
    }
    let broken = begin(&from, &to, 2, Panics::Worker);
    failure(&broken);
    let began = Instant::now();
    let error = outcome(&carried.sender).error.expect("fails");
    assert!(error.to_string().contains("a worker of this engine stopped: it carried a path"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_panic_of_an_io_thread_ends_its_transfer_and_no_others() {
    let (to, from) = (listener(workers(1)), connector(workers(1)));
    let broken = begin(&from, &to, 1, Panics::Storage);
    let whole = begin(&from, &to, 2, Panics::Nowhere);
    let (error, took) = failure(&broken);
    assert!(error.to_string().contains("a source or sink panicked: broken storage"), "{error}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let error = outcome(&broken.receiver).error.expect("fails");
    assert!(error.to_string().contains("panicked"), "{error}");
    whole.succeed();
}
