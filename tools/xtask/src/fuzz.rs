//! `long fuzz`: each fuzz target for a while, with coverage. In: the committed inputs, and what earlier runs found. Out: a row for each.
//!
//! Stable Rust and a C++ compiler are enough: the compiler's own pass counts edges in the crates of this workspace, and libFuzzer comes as
//! a crate. Inputs that are new stay below the target folder; `--keep` adds those to the committed ones that reach what none of them does.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::setup;
use crate::step::{Doing, Failure, Outcome, Step, ended};
use crate::workspace;

/// The committed inputs: a folder for each target.
const INPUTS: &str = "tools/fuzz/inputs";
/// Compiles this workspace's crates so that libFuzzer sees what runs.
const WRAPPER: &str = "tools/fuzz/instrument.sh";
/// Names the target to the program.
const TARGET_VARIABLE: &str = "XFER_FUZZ_TARGET";
/// How long a target runs unless asked for another time.
const MINUTES: u64 = 30;
/// Bytes of an input.
const LEN_MAX: usize = 4_096;
/// An input that takes longer is a finding.
const INPUT_SECONDS_MAX: usize = 10;
/// A target that takes more memory has found something.
const MEMORY_MIB_MAX: usize = 1_024;
const USAGE: &str = "usage: cargo xtask long fuzz [TARGET...] [--minutes M] [--keep]";

#[derive(Debug, PartialEq)]
struct Plan {
    targets: Vec<String>,
    minutes: u64,
    keep: bool,
}

/// What libFuzzer said at the end.
#[derive(Debug, Default, PartialEq)]
struct Stats {
    executions: u64,
    executions_a_second: u64,
    new_inputs: u64,
}

/// One target's run.
struct Ran {
    target: String,
    stats: Stats,
    /// Why it ended early.
    crash: Option<String>,
}

/// `long fuzz [TARGET...] [--minutes M] [--keep]`.
///
/// # Errors
/// A wrong command line, a build that fails, or a target that found something; its input and how to run that again are printed.
pub(crate) fn run(args: &[String]) -> Outcome {
    let plan = parse(args, &targets()?)?;
    setup::ensure(setup::FUZZ)?;
    let field = Field::build()?;
    let mut rows = Vec::new();
    for target in &plan.targets {
        let ran = field.fuzz(target, plan.minutes)?;
        eprintln!("{}", row(&ran));
        if plan.keep {
            field.keep(target)?;
        }
        rows.push(ran);
    }
    println!("\n| target | executions | executions/s | new inputs | crashes |\n|---|---|---|---|---|");
    rows.iter().for_each(|ran| println!("{}", row(ran)));
    let crashes: Vec<&str> = rows.iter().filter_map(|ran| ran.crash.as_deref()).collect();
    if crashes.is_empty() { Ok(()) } else { Err(Failure::new(crashes.join("; "))) }
}

fn row(ran: &Ran) -> String {
    let Stats { executions, executions_a_second, new_inputs } = ran.stats;
    let crashes = u8::from(ran.crash.is_some());
    format!("| {} | {executions} | {executions_a_second} | {new_inputs} | {crashes} |", ran.target)
}

/// Every target has a folder of inputs; the fuzz crate's own test says so.
fn targets() -> Outcome<Vec<String>> {
    let folder = workspace::root().join(INPUTS);
    let entries = fs::read_dir(&folder).doing(format_args!("list {INPUTS}"))?.flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn parse(args: &[String], known: &[String]) -> Outcome<Plan> {
    let mut plan = Plan { targets: Vec::new(), minutes: MINUTES, keep: false };
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--minutes" => {
                let minutes = rest.next().and_then(|word| word.parse().ok());
                plan.minutes =
                    minutes.filter(|m| (1..=10_000).contains(m)).ok_or_else(|| Failure::usage(USAGE))?;
            }
            "--keep" => plan.keep = true,
            name if known.iter().any(|target| target == name) => plan.targets.push(name.to_owned()),
            name => {
                let known = known.join(", ");
                return Err(Failure::usage(format!("no target `{name}`; there are {known}\n{USAGE}")));
            }
        }
    }
    if plan.targets.is_empty() {
        plan.targets = known.to_vec();
    }
    Ok(plan)
}

/// Where targets are built and run.
struct Field {
    program: PathBuf,
    /// What earlier runs found, logs, and inputs of crashes.
    folder: PathBuf,
}

impl Field {
    /// Builds the program in the profile of tests, so that overflows and broken assertions are found, but optimised.
    fn build() -> Outcome<Self> {
        let target = workspace::target_dir()?;
        let program =
            ["build", "--locked", "-p", "xfer-fuzz", "--features", "libfuzzer", "--bin", "xfer-fuzz"];
        Step::cargo("build the fuzz targets", program)
            .args(["--target-dir"])
            .args([&target])
            .env("RUSTC_WORKSPACE_WRAPPER", workspace::root().join(WRAPPER))
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "3")
            .run()?;
        let folder = target.join("fuzz");
        fs::create_dir_all(&folder).doing(format_args!("create {}", folder.display()))?;
        Ok(Field { program: target.join("debug/xfer-fuzz"), folder })
    }

    fn fuzz(&self, target: &str, minutes: u64) -> Outcome<Ran> {
        let found = self.found(target)?;
        let log = self.folder.join(format!("{target}.log"));
        let crash = self.folder.join(format!("{target}-"));
        eprintln!("==> {target}: {minutes} min, log in {}", log.display());
        let file = File::create(&log).doing(format_args!("create {}", log.display()))?;
        let errors = file.try_clone().doing("share the log")?;
        let status = self
            .command(target)
            .args([&found, &workspace::root().join(INPUTS).join(target)])
            .arg(format!("-max_total_time={}", minutes * 60))
            .arg(format!("-max_len={LEN_MAX}"))
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
            .arg(format!("-artifact_prefix={}", crash.display()))
            .arg("-print_final_stats=1")
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .status()
            .doing(format_args!("start {}", self.program.display()))?;
        let said = fs::read(&log).doing(format_args!("read {}", log.display()))?;
        let said = String::from_utf8_lossy(&said);
        let crash = (!status.success()).then(|| self.describe(target, &said, &ended(status)));
        Ok(Ran { target: target.to_owned(), stats: stats(&said), crash })
    }

    /// What happened, and how to see it again.
    fn describe(&self, target: &str, said: &str, ended: &str) -> String {
        let panicked = said.lines().skip_while(|line| !line.contains("panicked at"));
        let why: Vec<&str> = panicked.take(2).map(str::trim).collect();
        let written = said.lines().rev().find_map(|line| line.split_once("Test unit written to "));
        let input = written.map_or("no input was written", |(_, input)| input);
        eprintln!("again: {TARGET_VARIABLE}={target} {} {input}", self.program.display());
        format!("{target} {ended}: {} ({input})", why.join(" "))
    }

    /// Adds to the committed inputs the fewest of those that were found that reach what the committed ones do not.
    fn keep(&self, target: &str) -> Outcome {
        let committed = workspace::root().join(INPUTS).join(target);
        let status = self
            .command(target)
            .args(["-set_cover_merge=1", "-use_counters=0"])
            .arg(format!("-max_len={LEN_MAX}"))
            .args([&committed, &self.found(target)?])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .doing(format_args!("start {}", self.program.display()))?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::new(format!("merge of {target}: {}", ended(status))))
        }
    }

    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env(TARGET_VARIABLE, target).current_dir(&self.folder);
        command
    }

    /// The folder with what earlier runs of a target found.
    fn found(&self, target: &str) -> Outcome<PathBuf> {
        let found = self.folder.join(target);
        fs::create_dir_all(&found).doing(format_args!("create {}", found.display()))?;
        Ok(found)
    }
}

/// Reads `stat::name: number` lines.
fn stats(said: &str) -> Stats {
    let number = |name: &str| {
        let lines = said.lines().rev();
        let found = lines.filter_map(|line| line.trim().strip_prefix("stat::")?.strip_prefix(name)).next();
        found.and_then(|rest| rest.trim_start_matches(':').trim().parse().ok()).unwrap_or(0)
    };
    Stats {
        executions: number("number_of_executed_units"),
        executions_a_second: number("average_exec_per_sec"),
        new_inputs: number("new_units_added"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Outcome<Plan> {
        let known = ["frames".to_owned(), "header".to_owned()];
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), &known)
    }

    #[test]
    fn targets_and_minutes_are_read_in_any_order() {
        let all = vec!["frames".to_owned(), "header".to_owned()];
        assert_eq!(plan("").unwrap(), Plan { targets: all, minutes: MINUTES, keep: false });
        let one = Plan { targets: vec!["header".to_owned()], minutes: 3, keep: true };
        assert_eq!(plan("--keep header --minutes 3").unwrap(), one);
        for wrong in ["nothing", "--minutes", "--minutes 0", "--minutes x", "-h"] {
            assert_eq!(plan(wrong).unwrap_err().code(), 2, "{wrong}");
        }
    }

    #[test]
    fn the_last_numbers_count() {
        let said = "x\nstat::number_of_executed_units: 12\nstat::average_exec_per_sec:     3\nstat::new_units_added:          4\n";
        assert_eq!(stats(said), Stats { executions: 12, executions_a_second: 3, new_inputs: 4 });
        assert_eq!(stats(""), Stats::default());
    }

    #[test]
    fn a_row_tells_whether_there_was_a_crash() {
        let stats = Stats { executions: 12, executions_a_second: 3, new_inputs: 4 };
        let ran = Ran { target: "frames".to_owned(), stats, crash: Some("x".to_owned()) };
        assert_eq!(row(&ran), "| frames | 12 | 3 | 4 | 1 |");
    }
}
