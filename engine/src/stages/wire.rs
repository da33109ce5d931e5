//! Stages 5 and 6: trains from one thread to another by the engine's own queues, over loopback.
//!
//! What is timed is the queue's work alone: waiting for the other end is not. The sender keeps no more on its way than the receive
//! buffer holds.

use super::cipher::Train;
use super::failed;
use super::stopwatch::{Cost, Stopwatch, timed};
use crate::error::{Class, Error};
use crate::limits::{RECEIVE_BUFFER_SHARE, STAGE_PATIENCE, STAGE_STALL};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use xfer_io::error::IoError;
use xfer_io::limits::SEND_FRAMES;
use xfer_io::queue::{Ecn, Queue, Transmit};
use xfer_io::udp::{UdpConfig, UdpQueue};

/// What the two ends of a wire cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wire {
    /// Trains to the kernel, the wire's own work in the kernel included where there is no other machine.
    pub send: Cost,
    /// Trains from the kernel.
    pub receive: Cost,
}

/// What both threads know.
#[derive(Default)]
struct Shared {
    /// Bytes that arrived.
    arrived: AtomicUsize,
    over: AtomicBool,
}

/// Ends the receiver when it is dropped: also when the sender could not be started.
struct Over(Arc<Shared>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

/// Sends for `time`, with packets of `payload` bytes of content: the sender on the first of `cores`, the receiver on the second, if
/// there is one.
///
/// # Errors
/// When there is no loopback, or no thread; `Other` when nothing arrived.
pub fn wire(payload: usize, sealed: bool, time: Duration, cores: &[usize]) -> Result<Wire, Error> {
    let config = UdpConfig { zero_copy: false, ..UdpConfig::new((Ipv4Addr::LOCALHOST, 0).into()) };
    let open = || UdpQueue::open(&config).map_err(failed("open a socket on loopback"));
    let (from, to) = (open()?, open()?);
    let (train, shared) = (Train::new(payload, sealed), Arc::<Shared>::default());
    let window = to.capabilities().receive_buffer / RECEIVE_BUFFER_SHARE;
    let destination = to.local_addr();
    let core = |nth: usize| cores.get(nth).or(cores.last()).copied();
    let receiver = {
        let shared = shared.clone();
        let run = move || receive(to, train, &shared, time);
        xfer_io::thread::spawn("xfer-receive", core(1), run).map_err(failed("start a thread"))?
    };
    let over = Over(shared.clone());
    let run = move || {
        let sent = send(from, destination, train, window, &shared, time);
        drop(over);
        sent
    };
    let sender = xfer_io::thread::spawn("xfer-send", core(0), run).map_err(failed("start a thread"));
    let send = sender.and_then(joined);
    let receive = joined(receiver);
    Ok(Wire { send: send?, receive: receive? })
}

fn joined(thread: JoinHandle<Option<Result<Cost, IoError>>>) -> Result<Cost, Error> {
    let ended = thread.join().ok().flatten();
    let ended = ended.ok_or_else(|| Error::new(Class::Other, "a measuring thread panicked"))?;
    ended.map_err(failed("measure loopback"))
}

fn send(
    mut queue: UdpQueue,
    destination: SocketAddr,
    train: Train,
    window: usize,
    shared: &Shared,
    time: Duration,
) -> Result<Cost, IoError> {
    let mut watch = Stopwatch::start(time);
    let burst = (window / train.len()).clamp(1, SEND_FRAMES);
    let (mut sent, started) = (0, Instant::now());
    let mut waits_since = None;
    while watch.goes_on() && started.elapsed() < time + STAGE_PATIENCE {
        let on_its_way = sent - shared.arrived.load(Ordering::Acquire).min(sent);
        if on_its_way > 0 && on_its_way + burst * train.len() > window {
            if waits_since.get_or_insert_with(Instant::now).elapsed() > STAGE_STALL {
                // Lost: nobody sends it again.
                shared.arrived.fetch_add(on_its_way, Ordering::AcqRel);
            }
            std::thread::yield_now();
            continue;
        }
        waits_since = None;
        let (flushed, cpu) = timed(|| {
            for _ in 0..burst {
                if queue.reserve().is_none() {
                    break;
                }
                let (len, segment) = (train.len(), train.packet);
                queue.commit(Transmit { destination, source: None, len, segment, ecn: Some(Ecn::Ect0) });
            }
            queue.flush()
        });
        let flushed = flushed?;
        sent += flushed.bytes;
        watch.add(flushed.datagrams * train.payload, cpu);
    }
    Ok(watch.cost())
}

fn receive(mut queue: UdpQueue, train: Train, shared: &Shared, time: Duration) -> Result<Cost, IoError> {
    let mut watch = Stopwatch::start(time);
    while !shared.over.load(Ordering::Acquire) {
        let (frames, cpu) = timed(|| queue.receive());
        let mut bytes = 0;
        for frame in 0..frames? {
            bytes += queue.received(frame).1.len();
        }
        if bytes == 0 {
            std::thread::yield_now();
            continue;
        }
        shared.arrived.fetch_add(bytes, Ordering::AcqRel);
        watch.add(bytes.div_ceil(train.packet) * train.payload, cpu);
    }
    Ok(watch.cost())
}
