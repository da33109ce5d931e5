//! Flows from memory to memory: no files, a number of seconds, the rate that the receiver saw.

mod iperf;
mod ours;
mod quic;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use iperf::Iperf;
pub(crate) use ours::{Ours, has_verb};
pub(crate) use quic::Quic;

use crate::account::Cost;
use crate::failure::{Doing, Failure, Outcome};
use crate::limits::{COPY_TIMEOUT, SAMPLE_EVERY};
use crate::line::Line;
use crate::peers::{Guards, Serving};
use crate::process::{Server, Timed};
use crate::record::{Record, Unit};
use crate::stage::Stage;
use crate::statistics::{digits, median};
use crate::workloads::Rounds;

/// A tool that moves bytes from host a's memory to host b's.
pub(crate) trait Flow {
    /// What the tables call it.
    fn name(&self) -> String;

    /// What it does for the content besides moving it.
    fn guards(&self) -> Guards;

    /// Says what is missing, where it cannot run.
    fn available(&self) -> Result<(), String>;

    /// The program to start on host b.
    fn serve(&self, job: &Job) -> Serving;

    /// The command for host a. `told` is what the serving program has written so far.
    fn send(&self, job: &Job, told: &[String]) -> Outcome<Line>;

    /// The rate of content in the command's output, bits per second, without the seconds to skip.
    fn read(&self, job: &Job, output: &str) -> Outcome<f64>;
}

/// One flow to measure.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) dir: PathBuf,
    /// Host b's addresses, wire by wire.
    pub(crate) nodes: Vec<Ipv4Addr>,
    /// Host a's addresses, wire by wire.
    pub(crate) clients: Vec<Ipv4Addr>,
    pub(crate) port: u16,
    /// Seconds that count.
    pub(crate) seconds: u64,
    /// Seconds before those: start-up.
    pub(crate) skip: u64,
}

/// What is measured, and how often.
pub(crate) struct Case {
    pub(crate) workload: &'static str,
    pub(crate) name: String,
    pub(crate) wires: usize,
    pub(crate) unit: Unit,
    pub(crate) rounds: usize,
    /// What all rounds may take.
    pub(crate) budget: Option<Duration>,
    pub(crate) seconds: u64,
    pub(crate) skip: u64,
}

/// Runs `flows` over `case`, every one once a round.
pub(crate) fn compare(
    stage: &Stage,
    dir: &Path,
    flows: &[Box<dyn Flow>],
    case: &Case,
) -> Outcome<Vec<Record>> {
    let mut lanes: Vec<(Record, Vec<[f64; 2]>)> =
        flows.iter().map(|flow| (empty_record(flow.as_ref(), case), Vec::new())).collect();
    for round in Rounds::new(case.rounds, case.budget) {
        for at in 0..flows.len() {
            let at = (at + round) % flows.len();
            let (record, costs) = &mut lanes[at];
            if !record.note.is_empty() {
                continue;
            }
            match run(stage, dir, flows[at].as_ref(), case, record) {
                Ok(cost) => costs.push(cost),
                Err(failure) => {
                    eprintln!("  {}: {failure}", record.peer);
                    record.note = failure.to_string();
                }
            }
        }
    }
    let finish = |(mut record, costs): (Record, Vec<[f64; 2]>)| {
        let side = |index: usize| median(&costs.iter().map(|cost| cost[index]).collect::<Vec<_>>());
        // Costs are seconds for 10^9 bytes here.
        (record.client_cpu_s, record.server_cpu_s, record.bytes) = (side(0), side(1), 1_000_000_000);
        record
    };
    Ok(lanes.into_iter().map(finish).collect())
}

fn empty_record(flow: &dyn Flow, case: &Case) -> Record {
    let (name, guards) = (flow.name(), flow.guards());
    Record {
        workload: case.workload.into(),
        case: case.name.clone(),
        ours: name.starts_with("xferctl"),
        peer: name,
        encrypted: guards.encrypted,
        verified: guards.verified,
        unit: case.unit,
        values: Vec::new(),
        client_cpu_s: 0.0,
        server_cpu_s: 0.0,
        bytes: 0,
        client_rss_kib: 0,
        server_rss_kib: 0,
        client: String::new(),
        servers: Vec::new(),
        note: flow.available().err().unwrap_or_default(),
    }
}

/// One run; notes its figure and gives seconds of CPU for 10^9 bytes, of host a and host b.
fn run(stage: &Stage, dir: &Path, flow: &dyn Flow, case: &Case, record: &mut Record) -> Outcome<[f64; 2]> {
    let dir_of_run = dir.join("run");
    if dir_of_run.exists() {
        fs::remove_dir_all(&dir_of_run).doing(format_args!("clear {}", dir_of_run.display()))?;
    }
    fs::create_dir_all(&dir_of_run).doing(format_args!("make {}", dir_of_run.display()))?;
    let wires = 1..=case.wires;
    let job = Job {
        dir: dir_of_run,
        nodes: wires.clone().map(|wire| stage.node_address(wire)).collect(),
        clients: wires.map(|wire| stage.client_address(wire)).collect(),
        port: stage.fresh_port(),
        seconds: case.seconds,
        skip: case.skip,
    };
    let serving = flow.serve(&job);
    let log = job.dir.join("server-0");
    let server = Server::start(&stage.node, &serving.line, &serving.ready, &log)?;
    let told = [server.output()];
    let line = flow.send(&job, &told)?;
    let before: Cost = server.cost();
    let limit = COPY_TIMEOUT + Duration::from_secs(case.seconds + case.skip);
    let timed = Timed { line: &line, dir: &job.dir, limit, every: SAMPLE_EVERY, watch: &|| false };
    let ran = timed.run(&stage.client)?;
    if ran.cut {
        return Err(Failure::new(format!("did not end in {limit:?}")));
    }
    let after = server.cost();
    let bits = flow.read(&job, &ran.output)?;
    let value = if case.unit == Unit::Mbit { bits / 1e6 } else { bits / 1e9 };
    eprintln!("  {}: {} {}", record.peer, digits(value), case.unit.name());
    record.values.push(value);
    record.client_rss_kib = record.client_rss_kib.max(ran.cost.rss_kib);
    record.server_rss_kib = record.server_rss_kib.max(after.rss_kib);
    let hidden = crate::peers::xfer::hidden(&told, dir);
    (record.client, record.servers) = (line.show(&hidden), vec![serving.line.show(&hidden)]);
    // What was skipped is taken to be as fast as the rest.
    let gigabytes = bits / 8e9 * (case.seconds + case.skip) as f64;
    Ok([ran.cost.cpu_s / gigabytes, (after.cpu_s - before.cpu_s) / gigabytes])
}
