//! Talking to the running emulator: one datagram each way over a Unix socket, in JSON.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::WireShape;
use crate::error::LabError;
use crate::limits::{CONTROL_BYTES_MAX, CONTROL_TIMEOUT_MS};

/// How a wire is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// Everything vanishes; the hosts see nothing of it.
    Blackhole,
    /// Both ends lose their carrier.
    Carrier,
}

/// What the emulator can be asked. Wires count from 1, hosts from 0; without a host both directions are meant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// New shape for packets sent by `from`.
    Set { wire: usize, from: Option<usize>, shape: WireShape },
    /// Cut; what is under way is lost where both directions are cut.
    Cut { wire: usize, from: Option<usize>, cut: Cut },
    /// Undo every cut.
    Restore { wire: usize },
    /// Counters.
    Info,
    /// End.
    Stop,
}

/// What the emulator answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Done,
    Info(EmulatorInfo),
    Failed(String),
}

/// State and counters of the emulator.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EmulatorInfo {
    /// Its process.
    pub pid: u32,
    /// Seconds of CPU that it has used, the kernels' receive work for the packets it delivers included.
    pub cpu_seconds: f64,
    /// Whether the kernel hands over UDP trains.
    pub udp_trains: bool,
    /// Deliveries made later than due by at most this, us: median, 99th percentile (both rounded up to a
    /// power of two of ns) and the worst.
    pub late_us_p50: f64,
    /// See `late_us_p50`.
    pub late_us_p99: f64,
    /// See `late_us_p50`.
    pub late_us_max: f64,
    /// Super-frames that could not be understood.
    pub bad_frames: u64,
    /// One entry a wire and direction.
    pub directions: Vec<Direction>,
}

/// One direction of an emulated wire: the packets that one host sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Direction {
    /// The wire, from 1.
    pub wire: usize,
    /// The sending host.
    pub from: String,
    /// What the direction does now.
    pub shape: WireShape,
    /// How it is cut.
    pub cut: Option<Cut>,
    /// Packets that the host sent, trains counted by their packets.
    pub offered: u64,
    /// Bytes of those, Ethernet headers included.
    pub offered_bytes: u64,
    /// Packets that got through the model, duplicates not counted.
    pub passed: u64,
    /// Bytes of those.
    pub passed_bytes: u64,
    /// Packets that came twice.
    pub duplicated: u64,
    /// Arrivals with a flipped bit.
    pub corrupted: u64,
    /// Packets held back.
    pub reordered: u64,
    /// Dropped: cut, or a black hole.
    pub dropped_cut: u64,
    /// Packets under way towards this host, lost when the wire was cut.
    pub lost_towards: u64,
    /// Dropped: longer than the path's MTU.
    pub dropped_mtu: u64,
    /// Dropped: the queue was full.
    pub dropped_queue: u64,
    /// Dropped: in a burst.
    pub dropped_burst: u64,
    /// Dropped: at random.
    pub dropped_random: u64,
    /// Dropped: no such host, or the emulator's own memory was full.
    pub dropped_other: u64,
    /// Bytes waiting for the wire now.
    pub backlog_bytes: u64,
    /// Writes to this host's interface, trains counted once.
    pub delivered_writes: u64,
    /// Packets delivered to this host.
    pub delivered: u64,
    /// Packets that this host's interface refused, as when it is down.
    pub refused: u64,
}

/// Path of the emulator's socket in a lab's state directory.
pub(crate) fn socket_path(state: &Path) -> PathBuf {
    state.join("control.sock")
}

/// Asks the emulator of the lab in `state` and waits for its answer.
pub(crate) fn ask(state: &Path, request: &Request) -> Result<Reply, LabError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let own = state.join(format!("ask-{}-{number}.sock", std::process::id()));
    let reply = exchange(&own, &socket_path(state), request);
    std::fs::remove_file(&own).map_err(LabError::io("remove", &own))?;
    reply
}

fn exchange(own: &Path, emulator: &Path, request: &Request) -> Result<Reply, LabError> {
    let socket = UnixDatagram::bind(own).map_err(LabError::io("bind", own))?;
    let timeout = Some(Duration::from_millis(CONTROL_TIMEOUT_MS));
    socket.set_read_timeout(timeout).map_err(LabError::io("set a timeout on", own))?;
    let bytes = serde_json::to_vec(request).expect("requests are plain values");
    socket.send_to(&bytes, emulator).map_err(LabError::io("send to the emulator at", emulator))?;
    let mut buffer = vec![0; CONTROL_BYTES_MAX];
    let len = socket.recv(&mut buffer).map_err(LabError::io("wait for the emulator at", emulator))?;
    let reply = serde_json::from_slice(&buffer[..len])
        .map_err(|error| LabError::Emulator { what: "answers nonsense", cause: error.to_string() })?;
    match reply {
        Reply::Failed(cause) => Err(LabError::Emulator { what: "refuses", cause }),
        reply => Ok(reply),
    }
}
