//! The verbs of the program `lab`.
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage; `exec` gives the status of its command.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Queue, WireShape};
use crate::control::Cut;
use crate::error::LabError;
use crate::lab::{Info, Lab};
use crate::state::State;
use crate::{emulator, state, units};

#[derive(Parser)]
#[command(name = "lab", about = "Hosts in network namespaces, joined by emulated wires", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build hosts a, b, ... and the wires between them
    Up(Up),
    /// Run a command on a host
    Exec {
        #[command(flatten)]
        lab: Name,
        /// Letter of the host
        host: String,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Change what a wire does; what is not named stays
    Set {
        #[command(flatten)]
        lab: Name,
        /// The wire, from 1
        wire: usize,
        /// Only for packets that this host sends
        #[arg(long, value_name = "HOST")]
        from: Option<String>,
        #[command(flatten)]
        shape: ShapeArgs,
    },
    /// Cut a wire
    Cut {
        #[command(flatten)]
        lab: Name,
        /// The wire, from 1
        wire: usize,
        /// Swallow everything silently (the default)
        #[arg(long, conflicts_with = "carrier")]
        blackhole: bool,
        /// Take the carrier off both ends
        #[arg(long)]
        carrier: bool,
        /// Only for packets that this host sends
        #[arg(long, value_name = "HOST")]
        from: Option<String>,
    },
    /// Undo every cut of a wire
    Restore {
        #[command(flatten)]
        lab: Name,
        /// The wire, from 1
        wire: usize,
    },
    /// Show hosts, wires and counters
    Info {
        #[command(flatten)]
        lab: Name,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take the lab down, and what a crash left of it
    Down {
        #[command(flatten)]
        lab: Name,
    },
    #[command(hide = true)]
    Emulate { name: String },
}

#[derive(Args)]
struct Name {
    /// Name of the lab
    #[arg(long = "name", value_name = "NAME", default_value = "xfer", env = "XFER_LAB_NAME")]
    name: String,
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    lab: Name,
    /// Number of hosts
    #[arg(long, value_name = "N", default_value_t = 2)]
    hosts: usize,
    /// Number of wires
    #[arg(long, value_name = "N", default_value_t = 1)]
    wires: usize,
    /// MTU of the interfaces, bytes
    #[arg(long, value_name = "N", default_value_t = 1500)]
    mtu: u32,
    /// Receive and transmit queues of each interface
    #[arg(long, value_name = "N", default_value_t = 1)]
    queues: usize,
    /// Seed of all faults
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// CPUs of the emulator, as 1 or 0,2-3
    #[arg(long, value_name = "LIST", value_parser = cores)]
    cores: Option<Cores>,
    /// Emulate wires that do nothing, too, so that `set` can change them
    #[arg(long)]
    emulate: bool,
    /// Deliver each packet alone, not as trains
    #[arg(long)]
    single: bool,
    /// Busy-poll so long before a packet is due
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "0")]
    spin: u64,
    #[command(flatten)]
    shape: ShapeArgs,
}

#[derive(Clone)]
struct Cores(Vec<usize>);

/// A rate, or none.
#[derive(Clone, Copy)]
struct Rate(Option<u64>);

#[derive(Args)]
struct ShapeArgs {
    /// Rate of each direction, as 1Gbit or 50MiB; `none` is without limit
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<Rate>,
    /// What may wait for the rate: bytes, or BDP (rate x 2 x delay, the default)
    #[arg(long, value_name = "BYTES|BDP", value_parser = queue)]
    queue: Option<Queue>,
    /// Delay of each direction, half of the RTT
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    delay: Option<u64>,
    /// The delay wanders by plus and minus this
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    jitter: Option<u64>,
    /// Packets lost at random
    #[arg(long, value_name = "PERCENT", value_parser = units::percent)]
    loss: Option<f64>,
    /// Packets lost in bursts
    #[arg(long, value_name = "PERCENT", value_parser = units::percent)]
    burst_loss: Option<f64>,
    /// Mean length of a burst, packets
    #[arg(long, value_name = "N")]
    burst_packets: Option<f64>,
    /// Packets held back, so that others overtake them
    #[arg(long, value_name = "PERCENT", value_parser = units::percent)]
    reorder: Option<f64>,
    /// How long those are held back
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    reorder_delay: Option<u64>,
    /// Packets that arrive twice
    #[arg(long, value_name = "PERCENT", value_parser = units::percent)]
    duplicate: Option<f64>,
    /// Packets that arrive with a flipped bit
    #[arg(long, value_name = "PERCENT", value_parser = units::percent)]
    corrupt: Option<f64>,
    /// IP packets longer than this vanish; 0 lets all through
    #[arg(long, value_name = "BYTES")]
    path_mtu: Option<u32>,
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "none" { Ok(Rate(None)) } else { units::rate(text).map(|bits| Rate(Some(bits))) }
}

fn queue(text: &str) -> Result<Queue, String> {
    if text.eq_ignore_ascii_case("bdp") { Ok(Queue::Bdp) } else { units::size(text).map(Queue::Bytes) }
}

fn cores(text: &str) -> Result<Cores, String> {
    let wrong = |_| format!("{text:?} is not a list of CPUs; write it as 1 or 0,2-3");
    let mut list = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().map_err(wrong)?, last.parse().map_err(wrong)?);
        if last >= nix::sched::CpuSet::count() || first > last {
            return Err(format!("{part:?} is not a range of CPUs"));
        }
        list.extend(first..=last);
    }
    Ok(Cores(list))
}

impl ShapeArgs {
    fn apply(&self, shape: &mut WireShape) {
        fn put<T: Copy>(target: &mut T, value: Option<T>) {
            *target = value.unwrap_or(*target);
        }
        put(&mut shape.rate_bps, self.rate.map(|rate| rate.0));
        put(&mut shape.queue, self.queue);
        put(&mut shape.delay_ns, self.delay);
        put(&mut shape.jitter_ns, self.jitter);
        put(&mut shape.loss, self.loss);
        put(&mut shape.burst_loss, self.burst_loss);
        put(&mut shape.burst_packets, self.burst_packets);
        put(&mut shape.reorder, self.reorder);
        put(&mut shape.reorder_ns, self.reorder_delay);
        put(&mut shape.duplicate, self.duplicate);
        put(&mut shape.corrupt, self.corrupt);
        put(&mut shape.path_mtu, self.path_mtu.map(|mtu| (mtu > 0).then_some(mtu)));
    }
}

impl Up {
    fn config(self) -> Config {
        let mut shape = WireShape::default();
        self.shape.apply(&mut shape);
        Config {
            name: self.lab.name,
            hosts: self.hosts,
            mtu: self.mtu,
            queues: self.queues,
            seed: self.seed,
            cores: self.cores.map_or_else(Vec::new, |cores| cores.0),
            emulate: self.emulate,
            trains: !self.single,
            spin_ns: self.spin,
            ..Config::with_wires(self.wires, shape)
        }
    }
}

/// Runs the program with these arguments, the first being its own name.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run(cli.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error}");
            let usage = matches!(error, LabError::OutOfRange { .. } | LabError::BadName { .. });
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

fn run(verb: Verb) -> Result<(), LabError> {
    match verb {
        Verb::Up(up) => {
            let mut config = up.config();
            config.program = std::env::current_exe().ok();
            Lab::up_detached(&config)
        }
        Verb::Exec { lab, host, command } => {
            let host = Lab::open(&lab.name)?.find_host(&host)?;
            // Comes back only where it could not start.
            let error = host.command(&command[0]).args(&command[1..]).exec();
            Err(LabError::io("run", &command[0])(error))
        }
        Verb::Set { lab, wire, from, shape } => {
            let lab = Lab::open(&lab.name)?;
            let mut changed = lab.shape(wire, from.as_deref())?;
            shape.apply(&mut changed);
            lab.set(wire, from.as_deref(), &changed)
        }
        Verb::Cut { lab, wire, carrier, from, .. } => {
            let cut = if carrier { Cut::Carrier } else { Cut::Blackhole };
            Lab::open(&lab.name)?.cut(wire, from.as_deref(), cut)
        }
        Verb::Restore { lab, wire } => Lab::open(&lab.name)?.restore(wire),
        Verb::Info { lab, json } => Lab::open(&lab.name)?.info().and_then(|info| show(&info, json)),
        Verb::Down { lab } => Lab::down(&lab.name),
        Verb::Emulate { name } => {
            let state = State::load(&name).ok_or(LabError::NotUp { name: name.clone() })?;
            emulator::run(&state::directory(&name), &state.config)
        }
    }
}

fn show(info: &Info, json: bool) -> Result<(), LabError> {
    let text = if json { serde_json::to_string(info).expect("plain values") } else { describe(info) };
    writeln!(std::io::stdout(), "{}", text.trim_end()).map_err(LabError::io("write to", "standard output"))
}

fn describe(info: &Info) -> String {
    let mut text = String::new();
    for host in &info.hosts {
        let addresses: Vec<String> = host.addresses.iter().map(ToString::to_string).collect();
        text += &format!("host {}  {}  {}\n", host.name, host.namespace, addresses.join(" "));
    }
    for wire in &info.wires {
        let cut = wire.cut.map_or(String::new(), |cut| format!("  cut: {cut:?}"));
        text += &format!("wire {}  {}  {:?}  MTU {}{cut}\n", wire.wire, wire.interface, wire.kind, wire.mtu);
    }
    let Some(emulator) = &info.emulator else { return text };
    for one in &emulator.directions {
        let cut = one.cut.map_or(String::new(), |cut| format!("  cut: {cut:?}"));
        let lost = one.dropped_random + one.dropped_burst;
        text += &format!(
            "wire {} from {}: {} packets in, {} passed, {lost} lost, {} over the queue, {} cut{cut}\n",
            one.wire, one.from, one.offered, one.passed, one.dropped_queue, one.dropped_cut
        );
    }
    text += &format!(
        "emulator: process {}, {:.1} s of CPU, late by {} us at the median, {} at the 99th percentile, {} at worst\n",
        emulator.pid, emulator.cpu_seconds, emulator.late_us_p50, emulator.late_us_p99, emulator.late_us_max
    );
    text
}
