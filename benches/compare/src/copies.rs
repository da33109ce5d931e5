//! Copies of a case: every tool once a round, each with its serving side freshly started, the content compared after each.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::account::{self, Cost};
use crate::content;
use crate::failure::{Doing, Failure, Outcome};
use crate::limits::{COLD_POLL, SAMPLE_EVERY, TRY_BYTES, TRY_TIMEOUT};
use crate::peers::{Ends, Job, Peer, What};
use crate::process::{Server, Timed};
use crate::record::{Record, Unit};
use crate::stage::Stage;
use crate::statistics::{digits, median};
use crate::workloads::Rounds;

/// What is copied, how often, and what counts.
pub(crate) struct Case<'a> {
    pub(crate) workload: &'static str,
    pub(crate) name: String,
    pub(crate) what: What,
    pub(crate) source: &'a Path,
    /// Bytes of content.
    pub(crate) bytes: u64,
    /// `Millis` counts until the target is there with all its bytes, the others until the copy has ended.
    pub(crate) unit: Unit,
    pub(crate) rounds: usize,
    /// What all rounds may take.
    pub(crate) budget: Option<Duration>,
    /// A copy is cut after this.
    pub(crate) limit: Duration,
    /// A copy that is cut counts with what had arrived at the interface by then; else it has failed.
    pub(crate) may_be_cut: bool,
}

/// One copy.
struct Copied {
    wall: Duration,
    /// Until the target was there with all its bytes.
    placed: Option<Duration>,
    client: Cost,
    server: Cost,
    /// Bytes that host b or host a received, whichever were more, where the copy was cut.
    cut_at: Option<u64>,
    client_line: String,
    server_lines: Vec<String>,
}

/// Runs `peers` over `case`.
pub(crate) fn compare(
    stage: &Stage,
    dir: &Path,
    peers: &[&dyn Peer],
    case: &Case<'_>,
) -> Outcome<Vec<Record>> {
    let fits = peers.iter().filter(|peer| peer.takes(case.what));
    let mut lanes: Vec<Lane<'_>> = fits.map(|peer| Lane::new(*peer, case)).collect();
    try_out(stage, dir, &mut lanes, case)?;
    for round in Rounds::new(case.rounds, case.budget) {
        // Each round begins with another, so that none always follows the same one.
        let count = lanes.len().max(1);
        for at in 0..lanes.len() {
            let lane = &mut lanes[(at + round) % count];
            if lane.record.note.is_empty() || lane.was_cut {
                let result = copy(stage, dir, lane.peer, case.what, case.source, case.limit, case.unit);
                lane.note(case, result);
            }
        }
    }
    Ok(lanes.into_iter().map(Lane::finish).collect())
}

/// One tool's way through a case.
struct Lane<'a> {
    peer: &'a dyn Peer,
    record: Record,
    costs: Vec<[f64; 2]>,
    was_cut: bool,
}

impl<'a> Lane<'a> {
    fn new(peer: &'a dyn Peer, case: &Case<'_>) -> Self {
        let guards = peer.guards();
        let name = if case.what == What::Tree { peer.tree_name() } else { peer.name() };
        let record = Record {
            workload: case.workload.into(),
            case: case.name.clone(),
            peer: name.into(),
            ours: name.starts_with("xferctl"),
            encrypted: guards.encrypted,
            verified: guards.verified,
            unit: case.unit,
            values: Vec::new(),
            client_cpu_s: 0.0,
            server_cpu_s: 0.0,
            bytes: case.bytes,
            client_rss_kib: 0,
            server_rss_kib: 0,
            client: String::new(),
            servers: Vec::new(),
            note: peer.available().err().unwrap_or_default(),
        };
        Self { peer, record, costs: Vec::new(), was_cut: false }
    }

    fn note(&mut self, case: &Case<'_>, result: Outcome<Copied>) {
        let record = &mut self.record;
        let copied = match result {
            Ok(copied) if copied.cut_at.is_some() && !case.may_be_cut => {
                record.note = format!("took longer than {:?}", case.limit);
                return eprintln!("  {}: {}", record.peer, record.note);
            }
            Ok(copied) => copied,
            Err(failure) => {
                record.note = failure.to_string();
                return eprintln!("  {}: {failure}", record.peer);
            }
        };
        let bytes = copied.cut_at.unwrap_or(case.bytes);
        let value = match case.unit {
            Unit::Gbit => bytes as f64 * 8.0 / copied.wall.as_secs_f64() / 1e9,
            Unit::Mbit => bytes as f64 * 8.0 / copied.wall.as_secs_f64() / 1e6,
            Unit::Seconds => copied.wall.as_secs_f64(),
            Unit::Millis => copied.placed.unwrap_or(copied.wall).as_secs_f64() * 1e3,
        };
        eprintln!("  {}: {} {}", record.peer, digits(value), case.unit.name());
        record.values.push(value);
        if copied.cut_at.is_some() {
            self.was_cut = true;
            record.note =
                format!("cut after {:?}; its figure counts what had come over the wire", case.limit);
        }
        self.costs.push([copied.client.cpu_s, copied.server.cpu_s]);
        record.client_rss_kib = record.client_rss_kib.max(copied.client.rss_kib);
        record.server_rss_kib = record.server_rss_kib.max(copied.server.rss_kib);
        (record.client, record.servers) = (copied.client_line, copied.server_lines);
    }

    fn finish(mut self) -> Record {
        let side = |index: usize| median(&self.costs.iter().map(|cost| cost[index]).collect::<Vec<_>>());
        (self.record.client_cpu_s, self.record.server_cpu_s) = (side(0), side(1));
        if self.was_cut {
            self.record.bytes = 0;
        }
        self.record
    }
}

/// Lets every tool copy something small, uncounted: it shows that the tool works here, and warms its program up.
fn try_out(stage: &Stage, dir: &Path, lanes: &mut [Lane<'_>], case: &Case<'_>) -> Outcome {
    let source = dir.join("src/try").join(case.source.file_name().unwrap_or_default());
    let parent = source.parent().unwrap_or(dir);
    if parent.exists() {
        fs::remove_dir_all(parent).doing(format_args!("clear {}", parent.display()))?;
    }
    fs::create_dir_all(parent).doing(format_args!("make {}", parent.display()))?;
    match case.what {
        What::File => content::write_file(&source, TRY_BYTES, 1)?,
        What::Tree => content::write_tree(&source, 3, content::Sizes::Mixed).map(drop)?,
    }
    for lane in lanes.iter_mut().filter(|lane| lane.record.note.is_empty()) {
        let tried = copy(stage, dir, lane.peer, case.what, &source, TRY_TIMEOUT, case.unit);
        let failed = match tried {
            Ok(copied) => copied.cut_at.map(|_| format!("did not copy a small file in {TRY_TIMEOUT:?}")),
            Err(failure) => Some(failure.to_string()),
        };
        if let Some(cause) = failed {
            eprintln!("  {}: left out: {cause}", lane.record.peer);
            lane.record.note = format!("left out: {cause}");
        }
    }
    Ok(())
}

/// One copy, from the start of the timed command to the end of the copy; the content is compared afterwards.
fn copy(
    stage: &Stage,
    dir: &Path,
    peer: &dyn Peer,
    what: What,
    source: &Path,
    limit: Duration,
    unit: Unit,
) -> Outcome<Copied> {
    let run = dir.join("run");
    if run.exists() {
        fs::remove_dir_all(&run).doing(format_args!("clear {}", run.display()))?;
    }
    let into = run.join("dst");
    fs::create_dir_all(&into).doing(format_args!("make {}", into.display()))?;
    let target = into.join(source.file_name().unwrap_or_default());
    let job = Job {
        what,
        source,
        target,
        dir: run,
        node: stage.node_address(1),
        client: stage.client_address(1),
        port: stage.fresh_port(),
    };
    let servings = peer.serve(&job)?;
    let mut servers = Vec::new();
    for (index, serving) in servings.iter().enumerate() {
        let log = job.dir.join(format!("server-{index}"));
        servers.push(Server::start(&stage.node, &serving.line, &serving.ready, &log)?);
    }
    let told: Vec<String> = servers.iter().map(Server::output).collect();
    let line = peer.copy(&job, &told)?;
    let wanted = source.metadata().doing(format_args!("look at {}", source.display()))?.len();
    let is_placed = || {
        unit == Unit::Millis
            && job.target.metadata().is_ok_and(|found| found.is_dir() || found.len() == wanted)
    };
    let every = if unit == Unit::Millis { COLD_POLL } else { SAMPLE_EVERY };
    let received = || Ok::<_, Failure>([stage.client.received_bytes()?, stage.node.received_bytes()?]);
    let received_before = received()?;
    let before: Vec<Cost> = servers.iter().map(Server::cost).collect();
    let ran = Timed { line: &line, dir: &job.dir, limit, every, watch: &is_placed }.run(&stage.client)?;
    let mut wall = ran.wall;
    let mut server = Cost::default();
    if peer.ends() == Ends::WithServers && !ran.cut {
        let cpu_before = account::ended_children_s();
        for one in &mut servers {
            one.wait_end(ran.started + limit)?;
        }
        wall = Instant::now() - ran.started;
        server.cpu_s = account::ended_children_s() - cpu_before;
    } else {
        for (one, before) in servers.iter().zip(&before) {
            let after = one.cost();
            server.cpu_s += after.cpu_s - before.cpu_s;
            server.rss_kib = server.rss_kib.max(after.rss_kib);
        }
    }
    let received_after = received()?;
    drop(servers);
    if !ran.cut {
        content::check_same(source, &job.target)?;
    }
    let carried = received_after.iter().zip(received_before).map(|(after, before)| after - before).max();
    let hidden = crate::peers::xfer::hidden(&told, dir);
    let copied = Copied {
        wall,
        placed: ran.seen,
        client: ran.cost,
        server,
        cut_at: carried.filter(|_| ran.cut),
        client_line: line.show(&hidden),
        server_lines: servings.iter().map(|serving| serving.line.show(&hidden)).collect(),
    };
    fs::remove_dir_all(&job.dir).doing(format_args!("clear {}", job.dir.display()))?;
    Ok(copied)
}
