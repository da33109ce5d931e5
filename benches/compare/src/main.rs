//! xferctl beside other tools: two hosts of the lab, each on one core, every tool once a round, medians and spread.
//!
//! In: the programs on PATH and `xferctl`. Out: tables on stdout, `benches/results`, `benches/charts` and the generated part of
//! `benches/RESULTS.md`. Needs root, for the lab. `cargo xtask bench compare` builds and starts it.

mod account;
mod chart;
mod content;
mod copies;
mod failure;
mod flows;
mod host;
mod limit;
mod limits;
mod line;
mod packages;
mod peers;
mod process;
mod record;
mod report;
mod scratch;
mod stage;
mod statistics;
mod table;
mod targets;
mod workloads;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::signal::{SigSet, Signal};

use crate::failure::{Doing, Failure, Outcome};
use crate::limits::END_TIMEOUT;
use crate::peers::Peer;
use crate::record::Run;
use crate::scratch::Scratch;
use crate::workloads::{Scale, Setting, Workload};

/// A signal has come: no more figures.
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Compares xferctl with other tools on this machine
#[derive(Parser)]
#[command(name = "compare")]
struct Args {
    /// Smaller files, shorter flows, three rounds
    #[arg(long)]
    quick: bool,
    /// What is recorded: all workloads within 35 minutes
    #[arg(long, conflicts_with = "quick")]
    record: bool,
    /// Measure nothing: write report and charts again from the results
    #[arg(long)]
    report: bool,
    /// Only these workloads; --list names them
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    only: Vec<String>,
    /// Only tools with one of these words in their name
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    peers: Vec<String>,
    /// Rounds of each case
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Size of the big file, MiB
    #[arg(long, value_name = "MIB")]
    size: Option<u64>,
    /// Name workloads and tools, and what is missing
    #[arg(long)]
    list: bool,
    /// Install nothing
    #[arg(long)]
    no_install: bool,
    /// Write nothing: tables on stdout alone
    #[arg(long)]
    no_write: bool,
    /// Where RESULTS.md, results and charts are
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The program to compare
    #[arg(long, value_name = "FILE", env = "XFERCTL_BIN")]
    xferctl: Option<PathBuf>,
}

impl Args {
    fn scale(&self) -> Scale {
        match (self.quick, self.record) {
            (true, _) => Scale::Quick,
            (false, true) => Scale::Record,
            (false, false) => Scale::Full,
        }
    }

    /// Where what is written goes.
    fn out(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("compare: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Outcome {
    if args.report {
        return report::write(&args.out());
    }
    peers::xfer::set_program(xferctl(args)?)?;
    let all = peers::all();
    let chosen: Vec<&dyn Peer> =
        all.iter().map(AsRef::as_ref).filter(|peer| is_chosen(args, *peer)).collect();
    let workloads = chosen_workloads(&args.only)?;
    if args.list {
        return list(&workloads, &chosen);
    }
    if !args.no_install {
        packages::install(&chosen)?;
    }
    let mut scratch = Scratch::mount()?;
    clean_up_at_signals(scratch.dir().to_path_buf())?;
    scratch.keep_memory()?;
    let setting = Setting {
        dir: scratch.dir(),
        peers: chosen,
        names: &args.peers,
        scale: args.scale(),
        rounds: args.runs,
        size: args.size.map(|mib| mib << 20),
    };
    let out = args.out();
    for workload in &workloads {
        eprintln!("{}: {}", workload.name, workload.about);
        let started = Instant::now();
        let result = (workload.run)(&setting);
        if IS_ENDING.load(Ordering::SeqCst) {
            // What is taken down under a workload spoils its figures; the other thread ends the process.
            std::thread::sleep(END_TIMEOUT);
        }
        let records = result?;
        eprintln!("{}: took {} s", workload.name, started.elapsed().as_secs());
        for (case, records) in table::cases(&records) {
            print!("{}", table::plain(&case, &records));
        }
        if !args.no_write {
            record::save(&out.join("results"), &describe(workload, args, started.elapsed()), &records)?;
            report::write(&out)?;
        }
    }
    Ok(())
}

/// The program to compare: named, or beside this one.
fn xferctl(args: &Args) -> Outcome<PathBuf> {
    let own = std::env::current_exe().doing("find the path of this program")?;
    let path = args.xferctl.clone().unwrap_or_else(|| own.with_file_name("xferctl"));
    let full = path.canonicalize();
    full.doing(format_args!("find {} (cargo build --release -p xferctl)", path.display()))
}

fn is_chosen(args: &Args, peer: &dyn Peer) -> bool {
    [peer.name(), peer.tree_name()].iter().any(|name| workloads::is_wanted(&args.peers, name))
}

fn chosen_workloads(only: &[String]) -> Outcome<Vec<&'static Workload>> {
    let known = workloads::ALL.iter();
    if only.is_empty() {
        return Ok(known.collect());
    }
    let find = |name: &String| {
        let found = known.clone().find(|workload| workload.name == name);
        found.ok_or_else(|| Failure::new(format!("there is no workload {name:?}; --list names them")))
    };
    only.iter().map(find).collect()
}

fn list(workloads: &[&Workload], peers: &[&dyn Peer]) -> Outcome {
    for workload in workloads {
        println!("workload {:<10} {}", workload.name, workload.about);
    }
    for peer in peers {
        let state = peer.available().err().unwrap_or_else(|| "is here".into());
        println!("tool {:<32} {state}", peer.name());
    }
    Ok(())
}

/// How a workload's figures came to be.
fn describe(workload: &Workload, args: &Args, took: Duration) -> Run {
    let mut command = format!("cargo xtask bench compare --only {}", workload.name);
    match args.scale() {
        Scale::Quick => command += " --quick",
        Scale::Record => command += " --record",
        Scale::Full => {}
    }
    if !args.peers.is_empty() {
        command += &format!(" --peers {}", args.peers.join(","));
    }
    for (option, value) in [("runs", args.runs.map(|runs| runs as u64)), ("size", args.size)] {
        if let Some(value) = value {
            command += &format!(" --{option} {value}");
        }
    }
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    Run {
        workload: workload.name.into(),
        command,
        day: host::day(),
        seconds: took.as_secs(),
        machine: host::machine(),
        commit: host::commit(checkout),
    }
}

/// Takes everything down when this process is asked to end. Programs that it starts have no signals blocked.
fn clean_up_at_signals(scratch: PathBuf) -> Outcome {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block().doing("block signals")?;
    std::thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            IS_ENDING.store(true, Ordering::SeqCst);
            eprintln!("compare: {signal}: taking everything down");
            stage::abandon(&scratch);
            std::process::exit(128 + signal as i32);
        }
    });
    Ok(())
}
