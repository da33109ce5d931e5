//! The link emulator: one process, one thread, all emulated wires of a lab.
//!
//! In: super-frames that the hosts' kernels send into their TAP devices. They are cut into packets at
//! once, each packet is offered to its link and kept until it is due. Out: those packets, written into
//! the TAP device of the receiving host. Requests come as datagrams on a Unix socket, between packets.

mod checksum;
mod frame;
mod late;
mod pool;
mod segment;
mod tap;
mod train;
mod wire;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

use crate::config::Config;
use crate::control::{EmulatorInfo, Reply, Request, socket_path};
use crate::error::LabError;
use crate::limits::{CONTROL_BYTES_MAX, READ_BURST, ROUND_NS, SUPER_FRAME_BYTES_MAX};
use crate::names;
use frame::{VNET_BYTES, Vnet};
use late::Lateness;
use pool::Pool;
use segment::segment;
use tap::Tap;
use train::Packet;
use wire::EmulatedWire;

struct Emulator {
    started: Instant,
    wires: Vec<EmulatedWire>,
    pool: Pool,
    buffer: Vec<u8>,
    /// The packets of the super-frame at hand, kept for its memory.
    cut: Vec<Packet>,
    late: Lateness,
    bad_frames: u64,
    udp_trains: bool,
    spin_ns: u64,
    /// When deliveries may be made again.
    next_round_ns: u64,
}

/// Runs the emulator of the lab in `state` until it is told to stop; says `ready` on standard output when
/// the hub namespace, which it must be started in, holds its devices.
///
/// # Errors
/// What it failed at; a running emulator ends by a broken control socket only.
pub(crate) fn run(state: &Path, config: &Config) -> Result<(), LabError> {
    pin(&config.cores).map_err(LabError::io("pin to its cores", "the emulator"))?;
    // The default slack of 50 us would be most of the lateness of each packet.
    nix::sys::prctl::set_timerslack(1)
        .map_err(|error| LabError::io("set the timer slack of", "the emulator")(error.into()))?;
    let mut taps = Vec::new();
    let mut wires = Vec::new();
    for index in (0..config.wires.len()).filter(|index| config.is_emulated(*index)) {
        let mut queues = Vec::new();
        for host in 0..config.hosts {
            let first = taps.len();
            taps.extend(tap::open(&names::hub_port(index + 1, host), config.queues, wires.len(), host)?);
            queues.push(first..taps.len());
        }
        wires.push(EmulatedWire::new(index + 1, queues, &config.wires[index], config.seed, config.trains));
    }
    let path = socket_path(state);
    let control = UnixDatagram::bind(&path).map_err(LabError::io("bind", &path))?;
    control.set_nonblocking(true).map_err(LabError::io("set up", &path))?;
    writeln!(std::io::stdout(), "ready").map_err(LabError::io("write to", "standard output"))?;
    let emulator = Emulator {
        started: Instant::now(),
        wires,
        pool: Pool::default(),
        buffer: vec![0; SUPER_FRAME_BYTES_MAX],
        cut: Vec::new(),
        late: Lateness::default(),
        bad_frames: 0,
        udp_trains: taps.iter().all(|tap| tap.udp_trains),
        spin_ns: config.spin_ns,
        next_round_ns: 0,
    };
    emulator.run(&taps, &control)
}

/// Keeps this process on `cores`; none is all.
fn pin(cores: &[usize]) -> std::io::Result<()> {
    if cores.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    cores.iter().try_for_each(|core| set.set(*core))?;
    sched_setaffinity(Pid::from_raw(0), &set).map_err(Into::into)
}

impl Emulator {
    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn run(mut self, taps: &[Tap], control: &UnixDatagram) -> Result<(), LabError> {
        let mut fds: Vec<PollFd> =
            taps.iter().map(|tap| PollFd::new(tap.file.as_fd(), PollFlags::POLLIN)).collect();
        fds.push(PollFd::new(control.as_fd(), PollFlags::POLLIN));
        loop {
            self.deliver(taps);
            match ppoll(&mut fds, self.timeout(), None) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(LabError::io("poll", "the wires")(error.into())),
            }
            let is_ready = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
            for (tap, _) in taps.iter().zip(&fds).filter(|(_, fd)| is_ready(fd)) {
                self.receive(tap);
            }
            if fds.last().is_some_and(is_ready) && !self.serve(taps, control)? {
                return Ok(());
            }
        }
    }

    /// How long to wait for packets: until the next one is due, less the time that is spun away.
    fn timeout(&self) -> Option<TimeSpec> {
        let due_ns = self.wires.iter().filter_map(EmulatedWire::next_due_ns).min()?.max(self.next_round_ns);
        let wait_ns = due_ns.saturating_sub(self.now_ns()).saturating_sub(self.spin_ns);
        Some(TimeSpec::from_duration(Duration::from_nanos(wait_ns)))
    }

    fn deliver(&mut self, taps: &[Tap]) {
        let now_ns = self.now_ns();
        if now_ns < self.next_round_ns {
            return;
        }
        self.next_round_ns = if self.spin_ns > 0 { 0 } else { now_ns + ROUND_NS };
        for wire in &mut self.wires {
            wire.deliver(now_ns, taps, &mut self.pool, |late_ns| self.late.record(late_ns));
        }
    }

    /// Reads a burst of super-frames from one queue and puts their packets on the wire.
    fn receive(&mut self, tap: &Tap) {
        for _ in 0..READ_BURST {
            let len = match (&tap.file).read(&mut self.buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Empty, or the interface is down: the next poll tells.
                Err(_) => return,
            };
            let now_ns = self.now_ns();
            let (wire, pool) = (&mut self.wires[tap.wire], &mut self.pool);
            let mut packets = std::mem::take(&mut self.cut);
            let cut = Vnet::parse(&self.buffer[..len]).and_then(|vnet| {
                segment(vnet, &self.buffer[VNET_BYTES..len], pool, |frame, sound| {
                    packets.push(Packet { frame, sound });
                })
            });
            self.bad_frames += u64::from(cut.is_err());
            packets.drain(..).for_each(|packet| wire.accept(tap.host, packet, now_ns, pool));
            self.cut = packets;
        }
    }

    /// Answers one request; `false` says that it was the last.
    fn serve(&mut self, taps: &[Tap], control: &UnixDatagram) -> Result<bool, LabError> {
        let mut buffer = vec![0; CONTROL_BYTES_MAX];
        let (len, asker) = match control.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(LabError::io("read", "the control socket")(error)),
        };
        let request = serde_json::from_slice(&buffer[..len]);
        let stop = matches!(request, Ok(Request::Stop));
        let reply = match request {
            Ok(request) => self.answer(request, taps).unwrap_or_else(Reply::Failed),
            Err(error) => Reply::Failed(format!("cannot read the request: {error}")),
        };
        let bytes = serde_json::to_vec(&reply).expect("replies are plain values");
        let sent = asker.as_pathname().map(|path| control.send_to(&bytes, path));
        if let Some(Err(error)) = sent {
            eprintln!("lab: the emulator could not answer: {error}");
        }
        Ok(!stop)
    }

    fn answer(&mut self, request: Request, taps: &[Tap]) -> Result<Reply, String> {
        let now_ns = self.now_ns();
        match request {
            Request::Stop => {}
            Request::Info => return Ok(Reply::Info(self.info(now_ns))),
            Request::Set { wire, from, shape } => self.wire(wire, from)?.set(from, &shape, now_ns),
            Request::Restore { wire } => self.wire(wire, None)?.restore(now_ns, taps)?,
            Request::Cut { wire, from, cut } => {
                let mut pool = std::mem::take(&mut self.pool);
                let done =
                    self.wire(wire, from).and_then(|wire| wire.cut(from, cut, now_ns, taps, &mut pool));
                self.pool = pool;
                done?;
            }
        }
        Ok(Reply::Done)
    }

    /// Wire `number`, if it is emulated and has host `from`.
    fn wire(&mut self, number: usize, from: Option<usize>) -> Result<&mut EmulatedWire, String> {
        let wire = self.wires.iter_mut().find(|wire| wire.number() == number);
        wire.filter(|wire| from.is_none_or(|host| host < wire.hosts()))
            .ok_or_else(|| format!("wire {number} is not emulated, or has no host {from:?}"))
    }

    fn info(&self, now_ns: u64) -> EmulatorInfo {
        let cpu = nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID)
            .map_or(0.0, |spent| Duration::from(spent).as_secs_f64());
        EmulatorInfo {
            pid: std::process::id(),
            cpu_seconds: cpu,
            udp_trains: self.udp_trains,
            late_us_p50: self.late.quantile_us(0.5),
            late_us_p99: self.late.quantile_us(0.99),
            late_us_max: self.late.max_us(),
            bad_frames: self.bad_frames,
            directions: self.wires.iter().flat_map(|wire| wire.directions(now_ns)).collect(),
        }
    }
}
