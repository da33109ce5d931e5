//! `long coverage`: which lines of the protocol and of `io` no test runs. In: their tests, instrumented, and `coverage.toml`. Out: the
//! share of lines that run, and each function with lines that do not and have no reason there.
//!
//! Third-party crates stay as they are: only the workspace's own are instrumented. Lines of test modules do not count.

mod lines;
mod reasons;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::folder;
use crate::setup;
use crate::sim;
use crate::step::{Doing, Failure, Outcome, Step, output};
use crate::workspace;

use lines::{Function, Lines};
use reasons::Reasons;

/// What is measured: the folder of its sources and the least share of lines that tests have to run, in percent.
const MEASURED: &[(&str, u64)] = &[("engine/proto/src/", 95), ("engine/io/src/", 85)];
/// Seeds of the simulation: enough that more of them run no other lines.
const SEEDS: u64 = 300;
/// The tools that read what instrumented programs write; Debian's default ones are too old for it.
const PROFDATA: &str = "llvm-profdata-19";
const COV: &str = "llvm-cov-19";

/// `long coverage`.
///
/// # Errors
/// A tool is missing and cannot be installed, a test fails, too few lines run, or a function with lines that do not has no reason.
pub(crate) fn run(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err(Failure::usage("long coverage takes no arguments"));
    }
    setup::ensure(setup::COVERAGE)?;
    let reasons = Reasons::load(workspace::root())?;
    let dir = workspace::target_dir()?.join("coverage");
    // What an earlier run left would count.
    folder::empty(&dir)?;
    run_tests(&dir)?;
    let lines = collect(&dir)?;
    judge(&lines, &reasons)
}

/// Runs the tests, each program with a profile of its own in `dir`.
fn run_tests(dir: &Path) -> Outcome {
    let wrapper = script(dir, "rustc", "exec \"$@\" -Cinstrument-coverage")?;
    let note = "echo \"$1\" >> \"$COVERAGE/programs\"";
    let profile = "LLVM_PROFILE_FILE=\"$COVERAGE/$(basename \"$1\")-%p.profraw\" exec \"$@\"";
    let runner = script(dir, "runner", &format!("{note}\n{profile}"))?;
    Step::cargo("instrumented tests", ["test", "-p", "xfer-proto", "-p", "xfer-io", "--lib", "--tests"])
        .env("RUSTC_WORKSPACE_WRAPPER", wrapper)
        .env(setup::runner_variable()?, runner)
        .env("COVERAGE", dir)
        // Programs that are built on the way, and would write where they stand.
        .env("LLVM_PROFILE_FILE", dir.join("other-%p.raw"))
        .env(sim::SEEDS_VARIABLE, SEEDS.to_string())
        .run()
}

/// A shell script in `dir`; its path comes back.
fn script(dir: &Path, name: &str, body: &str) -> Outcome<String> {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).doing(format_args!("write {}", path.display()))?;
    let runs = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&path, runs).doing(format_args!("make {} a program", path.display()))?;
    Ok(path.display().to_string())
}

/// How often each line ran, over all programs. Each is read by itself: a function may differ between them.
fn collect(dir: &Path) -> Outcome<Lines> {
    let programs = dir.join("programs");
    let programs = fs::read_to_string(&programs).doing(format_args!("read {}", programs.display()))?;
    let mut lines = Lines::default();
    for program in programs.lines() {
        let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let profile = dir.join(format!("{name}.profdata"));
        let raw = raw_profiles(dir, &name)?;
        output(Command::new(PROFDATA).args(["merge", "-sparse", "-o"]).arg(&profile).args(raw))?;
        let profile = format!("-instr-profile={}", profile.display());
        let told = output(Command::new(COV).args(["export", "-format=lcov", &profile, program]))?;
        lines.add(workspace::root(), &told);
    }
    Ok(lines)
}

fn raw_profiles(dir: &Path, name: &str) -> Outcome<Vec<std::path::PathBuf>> {
    let entries = fs::read_dir(dir).doing(format_args!("list {}", dir.display()))?.flatten();
    let ours = |path: &std::path::PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        file.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')) && file.ends_with(".profraw")
    };
    Ok(entries.map(|entry| entry.path()).filter(ours).collect())
}

/// Prints the shares and what has no reason.
fn judge(lines: &Lines, reasons: &Reasons) -> Outcome {
    let mut wrong = 0;
    println!("\n| sources | lines | run by tests | at least |\n|---|---|---|---|");
    let mut functions: BTreeMap<String, Function> = BTreeMap::new();
    for (folder, least) in MEASURED {
        let (all, run, uncovered) = lines.below(workspace::root(), folder)?;
        println!("| `{folder}` | {all} | {:.1} % | {least} % |", run as f64 * 100.0 / (all.max(1) as f64));
        wrong += usize::from(run * 100 < all * least || all == 0);
        functions.extend(uncovered);
    }
    println!();
    let findings = reasons.check(&functions);
    findings.iter().for_each(|finding| println!("{finding}"));
    reasons.unused(&functions).for_each(|at| println!("{at}: all its lines ran; has it still a reason?"));
    match wrong + findings.len() {
        0 => Ok(()),
        _ => Err(Failure::new(format!("coverage: {wrong} shares too low, {} findings", findings.len()))),
    }
}
