//! `bench stages`: what each stage costs here, alone on one core, and the limit that follows for transfers of each kind.

use crate::args::{BenchStagesArgs, DigestArg};
use crate::json;
use crate::output::Stdout;
use crate::units::show_size;
use serde::Serialize;
use xfer_client::forecast::Wire;
use xfer_client::stages::{Bench, Case, Cost, Costs, Origin, Scratch, Step};
use xfer_client::{Class, Error, Suite, affinity, best_suite, pin_current};

/// A stage as JSON.
#[derive(Serialize)]
struct StageLine {
    stage: &'static str,
    what: &'static str,
    s_per_gb: f64,
    gb_per_s: f64,
}

/// What all stages allow.
#[derive(Serialize)]
struct SummaryLine {
    mtu: u32,
    /// Bytes of the file that is read, and of the one that is written.
    size: u64,
    /// Bytes of content in a packet.
    payload: usize,
    suite: &'static str,
    digest: &'static str,
    dir: String,
    /// Cores that were used: one for all stages but the receiver's end of the wire.
    cores: Vec<usize>,
    cases: Vec<CaseLine>,
    /// Of the first case.
    limit_gbps: Option<f64>,
    limited_side: Option<&'static str>,
    exit: u8,
    error: Option<json::Failure>,
}

/// A kind of transfer and its limit.
#[derive(Serialize)]
struct CaseLine {
    case: &'static str,
    encrypted: bool,
    verified: bool,
    send: SideLine,
    receive: SideLine,
    limited_side: &'static str,
    limit_gbps: f64,
}

/// What one end does with a byte.
#[derive(Serialize)]
struct SideLine {
    stages: Vec<&'static str>,
    s_per_gb: f64,
}

impl CaseLine {
    /// `None` when a stage of it was not measured.
    fn new(case: Case, costs: &Costs) -> Option<CaseLine> {
        let side = |steps: Vec<Step>| {
            let s_per_gb = costs.sum(&steps)?;
            Some(SideLine { stages: steps.into_iter().map(Step::name).collect(), s_per_gb })
        };
        let (send, receive) = (side(case.sender())?, side(case.receiver())?);
        let limited_side = if send.s_per_gb >= receive.s_per_gb { "send" } else { "receive" };
        let Case { encrypted, verified, .. } = case;
        let limit_gbps = case.limit(costs)? / 1e9;
        Some(CaseLine { case: name(case.from), encrypted, verified, send, receive, limited_side, limit_gbps })
    }

    /// The same for people.
    fn text(&self) -> String {
        let how = match (self.encrypted, self.verified) {
            (true, true) => "encrypted, verified",
            (true, false) => "encrypted",
            (false, true) => "plain, verified",
            (false, false) => "plain",
        };
        let side = |name: &str, side: &SideLine| {
            format!("  {name:<8} {:.3} s/GB  {}\n", side.s_per_gb, side.stages.join(" + "))
        };
        format!(
            "{}, {how}: at most {:.1} Gbit/s ({})\n{}{}",
            self.case,
            self.limit_gbps,
            self.limited_side,
            side("send", &self.send),
            side("receive", &self.receive)
        )
    }
}

fn name(from: Origin) -> &'static str {
    match from {
        Origin::Chunks => "file to file",
        Origin::Cache => "memory to memory",
        Origin::Memory => "memory to memory, source of 256 MiB",
    }
}

/// The kinds of transfers that are told of: the one that was asked for first.
fn cases(encrypted: bool, verified: bool) -> Vec<Case> {
    let mut cases = vec![Case { from: Origin::Chunks, encrypted, verified }];
    let mut add = |from, encrypted| {
        let case = Case { from, encrypted, verified: false };
        if !cases.contains(&case) {
            cases.push(case);
        }
    };
    add(Origin::Chunks, false);
    if encrypted {
        add(Origin::Cache, true);
        add(Origin::Memory, true);
    }
    add(Origin::Cache, false);
    cases
}

/// Runs the command.
pub(crate) fn run(args: &BenchStagesArgs) -> Result<u8, Error> {
    let (encrypted, verified) = (!args.no_encrypt, args.digest == DigestArg::Blake3);
    let suite = if encrypted { best_suite() } else { Suite::Plain };
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let payload = Wire { interface: 0, speed: None, mtu: args.mtu, ipv6: false }.payload() as usize;
    let cores =
        affinity().map_err(|e| Error::new(Class::Other, "ask for this process's cores").because(e))?;
    let first = *cores.first().ok_or_else(|| Error::new(Class::Other, "this process has no core"))?;
    pin_current(first).map_err(|e| Error::new(Class::Other, "measure on one core").because(e))?;
    let mut told = Told { stdout: Stdout::new(), json: args.json, costs: Costs::default() };
    let bench = Bench::new(suite, payload, args.seconds)?;
    measure(bench, Scratch::new(&dir, args.size)?, verified, &cores, payload, args, &mut told)?;
    let cases: Vec<CaseLine> =
        cases(encrypted, verified).into_iter().filter_map(|case| CaseLine::new(case, &told.costs)).collect();
    if !args.json {
        let head = format!(
            "\nEach side on one core; packets of {payload} bytes of content (MTU {}), files of {} in {}\n",
            args.mtu,
            show_size(args.size),
            dir.display()
        );
        told.stdout.write(head.as_bytes())?;
        cases.iter().try_for_each(|case| told.stdout.write(case.text().as_bytes()))?;
        told.stdout.flush()?;
        return Ok(0);
    }
    let summary = SummaryLine {
        mtu: args.mtu,
        size: args.size,
        payload,
        suite: suite_name(suite),
        digest: if verified { "blake3" } else { "none" },
        dir: dir.display().to_string(),
        cores: cores.into_iter().take(2).collect(),
        limit_gbps: cases.first().map(|case| case.limit_gbps),
        limited_side: cases.first().map(|case| case.limited_side),
        cases,
        exit: 0,
        error: None,
    };
    json::print(&mut told.stdout, "summary", &summary)?;
    Ok(0)
}

/// Measures the stages in the order of the way.
fn measure(
    mut bench: Bench,
    mut scratch: Scratch,
    verified: bool,
    cores: &[usize],
    payload: usize,
    args: &BenchStagesArgs,
    told: &mut Told,
) -> Result<(), Error> {
    told.tell(Step::Read, bench.read(&mut scratch)?)?;
    if verified {
        told.tell(Step::Hash, bench.hash())?;
    }
    for from in [Origin::Cache, Origin::Chunks, Origin::Memory] {
        if let Some(cost) = bench.seal(from) {
            told.tell(Step::Seal(from), cost)?;
        }
    }
    let wire = bench.wire(cores)?;
    told.tell(Step::Send, wire.send)?;
    told.tell(Step::Receive, wire.receive)?;
    if !args.no_encrypt {
        told.tell(Step::Open, bench.open())?;
    }
    told.tell(Step::Copy, Bench::new(Suite::Plain, payload, args.seconds)?.open())?;
    told.tell(Step::Write, bench.write(&mut scratch)?)
}

/// What was measured and told.
struct Told {
    stdout: Stdout,
    json: bool,
    costs: Costs,
}

impl Told {
    fn tell(&mut self, step: Step, cost: Cost) -> Result<(), Error> {
        self.costs.set(step, cost);
        let (s_per_gb, gb_per_s) = (cost.seconds_per_gb(), cost.bytes_per_second() / 1e9);
        if self.json {
            let line = StageLine { stage: step.name(), what: step.what(), s_per_gb, gb_per_s };
            return json::print(&mut self.stdout, "stage", &line);
        }
        let text = format!("{:<8} {s_per_gb:.3} s/GB {gb_per_s:>6.2} GB/s  {}\n", step.name(), step.what());
        self.stdout.write(text.as_bytes())?;
        self.stdout.flush()
    }
}

fn suite_name(suite: Suite) -> &'static str {
    match suite {
        Suite::Aes128Gcm => "aes-128-gcm",
        Suite::ChaCha20Poly1305 => "chacha20-poly1305",
        Suite::Plain => "plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_that_was_asked_for_comes_first_and_none_twice() {
        let shown = |encrypted, verified| -> Vec<(Origin, bool, bool)> {
            cases(encrypted, verified).iter().map(|c| (c.from, c.encrypted, c.verified)).collect()
        };
        let (file, hot, cold) = (Origin::Chunks, Origin::Cache, Origin::Memory);
        let plain = [(file, false, false), (hot, false, false)];
        assert_eq!(
            shown(true, true),
            [(file, true, true), plain[0], (hot, true, false), (cold, true, false), plain[1]]
        );
        assert_eq!(shown(false, true), [(file, false, true), plain[0], plain[1]]);
        assert_eq!(shown(false, false), plain);
    }

    #[test]
    fn people_see_sums_and_the_slower_side() {
        let mut costs = Costs::default();
        for step in Step::ALL {
            costs.set(step, Cost::of_seconds_per_gb(0.1));
        }
        let case = Case { from: Origin::Chunks, encrypted: true, verified: true };
        costs.set(Step::Write, Cost::of_seconds_per_gb(0.2));
        assert_eq!(
            CaseLine::new(case, &costs).unwrap().text(),
            "file to file, encrypted, verified: at most 16.0 Gbit/s (receive)\n  \
             send     0.400 s/GB  read + hash + seal + send\n  \
             receive  0.500 s/GB  receive + open + hash + write\n"
        );
        assert!(CaseLine::new(case, &Costs::default()).is_none());
    }
}
