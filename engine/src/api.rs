//! What an application says to an engine and hears from it: values only. `Engine` carries them out.

use crate::error::Error;
pub use crate::sink::Ended as FileEnd;
use crate::sink::Sink;
use crate::source::Source;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
pub use xfer_io::queue::Capabilities;
pub use xfer_io::xdp::XdpMode;
use xfer_proto::wire::Durability;

/// Ciphers of a connection (PROTOCOL.md#tickets).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// AES-128-GCM.
    Aes128Gcm,
    /// ChaCha20-Poly1305, for CPUs without AES instructions.
    ChaCha20Poly1305,
    /// AES-128-GCM for control, plain content: private fabrics only.
    Plain,
}

/// Who sends content on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The end that connects.
    OpenerSends,
    /// The end that admitted the ticket.
    OpenerReceives,
}

/// The secret of one connection and what it permits. Both ends hold the same.
#[derive(Clone)]
pub struct Ticket {
    /// 32 random bytes.
    pub secret: [u8; 32],
    /// Ciphers.
    pub suite: Suite,
    /// Who sends.
    pub direction: Direction,
}

impl std::fmt::Debug for Ticket {
    /// Never shows the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket")
            .field("suite", &self.suite)
            .field("direction", &self.direction)
            .finish_non_exhaustive()
    }
}

/// How workers wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Poll {
    /// Spin a short bounded time, then sleep until something is due.
    #[default]
    Adaptive,
    /// Spin while a connection lives, and let the kernel poll the device in receive calls where it may.
    Busy,
}

/// How packets leave and enter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// By kernel UDP.
    #[default]
    Udp,
    /// By AF_XDP sockets, with kernel UDP for what they cannot carry.
    Xdp(XdpOptions),
    /// By kernel UDP, behind the XDP program, which drops what is malformed and what belongs to no connection before the kernel has work
    /// with it.
    Filtered(XdpOptions),
}

/// What the XDP program is used on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpOptions {
    /// Names of interfaces; empty: those that have the addresses which are listened on and connected from.
    pub interfaces: Vec<String>,
    /// Where the XDP program runs.
    pub mode: XdpMode,
}

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Addresses to receive on; empty for an engine that only connects. A port of 0 lets the kernel choose.
    pub listen: Vec<SocketAddr>,
    /// Worker threads; `None`: one a queue up to the size of the affinity mask.
    pub workers: Option<usize>,
    /// Cores to pin workers to, of those in the affinity mask; empty: all of the mask.
    pub cores: Vec<usize>,
    /// How workers wait.
    pub poll: Poll,
    /// Memory for chunk buffers, in bytes.
    pub memory_max: u64,
    /// How packets leave and enter.
    pub backend: Backend,
    /// Segmented sends (GSO) and coalesced receives (GRO), where the kernel has them.
    pub offloads: bool,
    /// Sending without copying, to destinations for which the kernel reports that it does not copy.
    pub zero_copy: bool,
    /// Let the kernel give each packet to the worker that its connection belongs to. Without, workers hand them over.
    pub steering: bool,
}

/// The threads of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineSize {
    /// Cores that workers may be pinned to.
    pub cores: usize,
    /// Workers: each connection is one's.
    pub workers: usize,
    /// Threads that read, hash and write.
    pub io_threads: usize,
}

/// What a queue of the engine obtained of the kernel.
#[derive(Clone, Debug)]
pub struct QueueReport {
    /// The worker that owns it.
    pub worker: usize,
    /// Address that it receives on.
    pub local: SocketAddr,
    /// What it can do, by now.
    pub capabilities: Capabilities,
}

/// What one worker did since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerReport {
    /// Packets and trains that it sent.
    pub trains: u64,
    /// Datagrams that its queues got.
    pub datagrams: u64,
    /// Those of them that belong to another worker and were given to it.
    pub handed_over: u64,
    /// Those of them that were lost, since too many waited there.
    pub dropped: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            listen: Vec::new(),
            workers: None,
            cores: Vec::new(),
            poll: Poll::Adaptive,
            memory_max: 64 << 20,
            backend: Backend::Udp,
            offloads: true,
            zero_copy: true,
            steering: true,
        }
    }
}

/// How a path's rate is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CongestionControl {
    /// BBR version 3 with tolerance for random loss.
    #[default]
    Bbr,
    /// CUBIC (RFC 9438).
    Cubic,
    /// Yields to all others (RFC 6817).
    Ledbat,
    /// The rate that the operator asserts.
    Fixed,
}

/// What both ends set for a transfer, each for itself.
#[derive(Clone, Debug)]
pub struct TransferConfig {
    /// log2 of the chunk size; the opener's counts.
    pub chunk_log2: u8,
    /// Whether content is verified by BLAKE3 digests; the opener's counts.
    pub digests: bool,
    /// How the rate of paths is found.
    pub congestion: CongestionControl,
    /// Cap of the whole transfer in bits a second (with [`CongestionControl::Fixed`]: the rate of each path).
    pub rate_max: Option<u64>,
}

impl Default for TransferConfig {
    fn default() -> Self {
        TransferConfig { chunk_log2: 20, digests: true, congestion: CongestionControl::Bbr, rate_max: None }
    }
}

/// What this end does in a transfer.
pub enum Role {
    /// Sends content.
    Send(Arc<dyn Source>),
    /// Receives content.
    Receive(Arc<dyn Sink>),
}

/// A ticket that the engine shall admit one connection with.
pub struct Admission {
    /// The ticket.
    pub ticket: Ticket,
    /// How long the ticket waits for its connection; 60 s at most.
    pub lifetime: Duration,
    /// What this end does.
    pub role: Role,
    /// Settings of this end.
    pub config: TransferConfig,
}

/// A pair of addresses that a path shall use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathPair {
    /// Address of this end.
    pub local: IpAddr,
    /// Address of the other end.
    pub remote: SocketAddr,
}

/// A connection to be made.
pub struct Connect {
    /// The ticket.
    pub ticket: Ticket,
    /// Pairs to use at once, the first one first; at least one.
    pub paths: Vec<PathPair>,
    /// Pairs to use when one of `paths` dies.
    pub standby: Vec<PathPair>,
    /// What this end does.
    pub role: Role,
    /// Settings of the transfer.
    pub config: TransferConfig,
    /// How long no path may answer before connecting fails (`Temporary`, naming each pair).
    pub timeout: Duration,
}

/// An object that a receiving application is told of before it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its number in the manifest.
    pub object: u32,
    /// Its name in the manifest.
    pub name: Vec<u8>,
    /// Its bytes; `None` for an object of open length.
    pub size: Option<u64>,
    /// All of its content, verified, when that came along: nothing is to be decided then.
    pub content: Option<Vec<u8>>,
}

/// What happened in a transfer. Delivered in order by a bounded queue: whoever does not read it slows the transfer down.
#[derive(Clone, Debug)]
pub enum Event {
    /// The connection stands; at the end that admitted it: it was opened, and what came with that is acted on.
    Connected,
    /// A path became usable.
    PathUp(PathPair),
    /// A path stopped answering or lost its link; its chunks go over the others.
    PathDown(PathPair, String),
    /// An object arrives, and the application decides about it ([`crate::sink::LiveSink`]).
    Offered(Offer),
    /// An object ended.
    File(FileEnd),
    /// Something was left out or is degraded.
    Warning {
        /// The object, if it is about one.
        name: Option<Vec<u8>>,
        /// What and why.
        text: String,
    },
    /// The transfer ended; nothing follows.
    Finished(Box<Outcome>),
}

/// The stage that held a transfer up (PRODUCT.md, `limited_by`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are PRODUCT.md's")]
pub enum Stage {
    Source,
    Hash,
    SenderCpu,
    Path,
    ReceiverCpu,
    Sink,
    RateLimit,
    #[default]
    None,
}

impl Stage {
    /// As `limited_by` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Source => "source",
            Stage::Hash => "hash",
            Stage::SenderCpu => "sender_cpu",
            Stage::Path => "path",
            Stage::ReceiverCpu => "receiver_cpu",
            Stage::Sink => "sink",
            Stage::RateLimit => "rate_limit",
            Stage::None => "none",
        }
    }

    /// The stages that can hold a transfer up.
    pub const ACTIVE: [Stage; 7] = [
        Stage::Source,
        Stage::Hash,
        Stage::SenderCpu,
        Stage::Path,
        Stage::ReceiverCpu,
        Stage::Sink,
        Stage::RateLimit,
    ];

    /// Its number on the wire (PROTOCOL.md#stages).
    pub(crate) fn number(self) -> u8 {
        Stage::ACTIVE.iter().position(|stage| *stage == self).map_or(0, |at| at as u8 + 1)
    }

    /// The stage with that number; none for numbers that mean nothing.
    pub(crate) fn from_number(number: u8) -> Stage {
        let at = usize::from(number).checked_sub(1);
        at.and_then(|at| Stage::ACTIVE.get(at)).copied().unwrap_or_default()
    }

    /// The verdict on a transfer, of what its two ends found. The sender cannot tell why its peer is slow to take content, the receiver
    /// not why content is slow to come.
    pub fn of_both(sender: Stage, receiver: Stage) -> Stage {
        let receiver_knows = matches!(receiver, Stage::ReceiverCpu | Stage::Sink);
        match sender {
            Stage::Path | Stage::Sink if receiver_knows => receiver,
            Stage::None => receiver,
            sender => sender,
        }
    }
}

/// Counters of one path.
#[derive(Clone, Debug)]
pub struct PathReport {
    /// Addresses.
    pub pair: PathPair,
    /// Whether it carries now.
    pub up: bool,
    /// Content bytes that were acknowledged (sender) or received (receiver) on it.
    pub bytes: u64,
    /// Smoothed round trip.
    pub rtt: Duration,
    /// Packets declared lost, as a fraction of those sent.
    pub loss: f64,
    /// Largest datagram in bytes.
    pub mtu: u16,
    /// Congestion window in bytes.
    pub window: u64,
    /// Packets sent and received.
    pub packets_sent: u64,
    /// Packets received.
    pub packets_received: u64,
}

/// Totals of a transfer so far.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Content bytes moved by this run (accepted by the receiver).
    pub bytes: u64,
    /// Content bytes taken over from partial files.
    pub reused_bytes: u64,
    /// Content bytes of objects that were there already.
    pub skipped_bytes: u64,
    /// Content bytes listed so far.
    pub total_bytes: u64,
    /// Files that ended: copied or resumed.
    pub files: u64,
    /// Files that were there already.
    pub skipped: u64,
    /// Files that failed.
    pub failed: u64,
    /// Files listed so far.
    pub total_files: u64,
    /// Whether listing goes on.
    pub scanning: bool,
    /// Bytes of all datagrams sent and received.
    pub wire_bytes: u64,
    /// Content bytes sent again.
    pub retransmitted_bytes: u64,
    /// Each path, in the order they were opened.
    pub paths: Vec<PathReport>,
    /// What holds the transfer up just now.
    pub limited_by: Stage,
}

/// Quantiles of a latency, each within a hundredth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// How often it was measured.
    pub count: u64,
    /// Half of them were at most this.
    pub p50: Duration,
    /// 99 % were at most this.
    pub p99: Duration,
    /// 99.9 % were at most this.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
}

/// Latencies of a connection, as this end measured them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// From when an ACK was due until it was handed to the queue.
    pub ack_delay: Quantiles,
    /// Round trips, the peer's delay included.
    pub rtt: Quantiles,
}

/// How a transfer ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Why it failed as a whole; files' own failures are events.
    pub error: Option<Error>,
    /// Totals.
    pub progress: Progress,
    /// Whether all content was verified by digest.
    pub verified: bool,
    /// What the receiver promised about durability, when it completed.
    pub durability: Option<Durability>,
    /// Latencies of the connection.
    pub latency: Latency,
}
