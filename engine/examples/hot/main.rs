//! Memory to memory: what the engine makes of one core an end, beside a bare loop over the same queues.
//!
//! Two processes, the receiver first, each with all of its threads on the core it is started on (`taskset`):
//!
//! ```text
//! hot receive ADDRESS:PORT [plain] [digest]
//! hot send ADDRESS:PORT LOCAL GIB [plain] [digest] [cold] [paths=N]
//! hot bare-receive ADDRESS:PORT [plain]
//! hot bare-send ADDRESS:PORT LOCAL GIB [plain] [cold]
//! ```
//!
//! Content is 1 MiB that stays in cache, sent again and again, or with `cold` 256 MiB. Each end prints its rate and its processor time.

mod bare;
mod endless;

use endless::Endless;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use xfer_engine::sink::MemorySink;
use xfer_engine::{
    Admission, Connect, Direction, Engine, EngineConfig, Event, PathPair, Role, Suite, Ticket, Transfer,
    TransferConfig,
};

const HOT_BYTES: usize = 1 << 20;
const COLD_BYTES: usize = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// What the command line asks for.
struct Options {
    remote: SocketAddr,
    local: Option<IpAddr>,
    bytes: u64,
    plain: bool,
    digests: bool,
    memory: usize,
}

impl Options {
    fn parse(words: &[String]) -> Option<Self> {
        let (places, words): (Vec<_>, Vec<_>) =
            words.iter().partition(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let has = |name: &str| words.iter().any(|word| *word == name);
        let gib: u64 = places.get(2).map_or(Some(0), |gib| gib.parse().ok())?;
        Some(Options {
            remote: places.first()?.parse().ok()?,
            local: places.get(1).map_or(Some(None), |local| local.parse().ok().map(Some))?,
            bytes: gib << 30,
            plain: has("plain"),
            digests: has("digest"),
            memory: if has("cold") { COLD_BYTES } else { HOT_BYTES },
        })
    }

    fn ticket(&self) -> Ticket {
        let suite = if self.plain { Suite::Plain } else { Suite::Aes128Gcm };
        Ticket { secret: [7; 32], suite, direction: Direction::OpenerSends }
    }

    fn config(&self) -> TransferConfig {
        TransferConfig { digests: self.digests, ..TransferConfig::default() }
    }
}

fn engine(listen: Vec<SocketAddr>) -> Engine {
    Engine::start(EngineConfig { listen, workers: Some(1), ..EngineConfig::default() }).expect("starts")
}

fn receive(options: &Options) {
    let engine = engine(vec![options.remote]);
    let sink = Arc::new(MemorySink::discarding(options.digests));
    let (ticket, config) = (options.ticket(), options.config());
    let admission = Admission { ticket, lifetime: PATIENCE, role: Role::Receive(sink), config };
    finish("receive", &engine.admit(admission).expect("admits"));
}

fn send(options: &Options) {
    let engine = engine(Vec::new());
    let source = Arc::new(Endless::new(options.memory, options.bytes, options.digests));
    let local = options.local.expect("a local address");
    let connect = Connect {
        ticket: options.ticket(),
        paths: vec![PathPair { local, remote: options.remote }],
        standby: Vec::new(),
        role: Role::Send(source),
        config: options.config(),
        timeout: Duration::from_secs(5),
    };
    finish("send", &engine.connect(connect).expect("connects"));
}

/// Prints how a transfer went, from its connection to its end.
fn finish(end: &str, transfer: &Transfer) {
    let mut begin = Instant::now();
    loop {
        match transfer.events().recv_timeout(PATIENCE).expect("the transfer ends") {
            Event::Connected => begin = Instant::now(),
            Event::Finished(outcome) => {
                if let Some(error) = &outcome.error {
                    eprintln!("{end}: {error}");
                    std::process::exit(1);
                }
                let progress = &outcome.progress;
                let limit = progress.limited_by.name();
                let again = progress.retransmitted_bytes as f64 / progress.bytes.max(1) as f64;
                tell(end, progress.bytes, begin.elapsed());
                println!("  limited by {limit}, {:.3} % sent again", 100.0 * again);
                return;
            }
            _ => {}
        }
    }
}

/// Prints a rate, and the processor time of the process a gigabyte.
fn tell(end: &str, bytes: u64, took: Duration) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let mut fields = stat.split_whitespace().skip(13).map(|ticks| ticks.parse().unwrap_or(0.0) / 100.0);
    let mut per_gb = || fields.next().unwrap_or(0.0) / (bytes as f64 / 1e9);
    let gbps = bytes as f64 * 8e-9 / took.as_secs_f64();
    println!("{end}: {gbps:.2} Gbit/s, {:.3} + {:.3} s/GB user and system", per_gb(), per_gb());
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = words.get(1..).and_then(Options::parse);
    let (Some(command), Some(options)) = (words.first(), options) else {
        eprintln!("see the head of examples/hot/main.rs");
        std::process::exit(2);
    };
    match command.as_str() {
        "receive" => receive(&options),
        "send" => send(&options),
        "bare-receive" => bare::receive(options.remote, options.plain),
        "bare-send" => {
            let local = options.local.expect("a local address");
            bare::send(options.remote, local, options.bytes, options.plain, options.memory);
        }
        other => panic!("no command {other}"),
    }
}
