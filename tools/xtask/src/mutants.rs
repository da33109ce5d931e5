//! `long mutants`: bugs that are planted one after the other, and whether the tests find them. In: the patches in `tools/mutants`.
//! Out: for each the seed or the test that found it.
//!
//! The tree itself is never touched: patches go into a copy below the target folder, which is built into a target folder of its own.

mod copy;
mod patch;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::sim;
use crate::step::{Doing, Failure, Outcome, Step};
use crate::workspace;

use patch::Patch;
pub(crate) use patch::stale;

/// A mutant's tests that run longer are stopped: it hangs, so it is found.
const RUN_MAX: Duration = Duration::from_secs(900);
/// How often a running test is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How the simulation says which seed failed first.
const FOUND: &str = "first seed that fails: ";

/// What became of a mutant.
#[derive(Debug, PartialEq)]
enum Fate {
    /// A seed of the simulation fails with it.
    Seed(u64),
    /// Its test fails, in so many words.
    Test(String),
    Hangs,
    NotFound,
}

/// `long mutants [NAME...]`: all of them, or those whose name holds a NAME.
///
/// # Errors
/// A patch does not apply or build, the tests fail without any, or a mutant is not found.
pub(crate) fn run(names: &[String]) -> Outcome {
    let root = workspace::root();
    let stale = stale(root)?;
    if let Some((patch, why)) = stale.first() {
        return Err(Failure::new(format!("{patch}: {why}")));
    }
    let all = patch::load(root)?;
    let picked = |p: &Patch| names.is_empty() || names.iter().any(|name| p.name.contains(name.as_str()));
    let patches: Vec<Patch> = all.into_iter().filter(picked).collect();
    if patches.is_empty() {
        return Err(Failure::usage("usage: cargo xtask long mutants [NAME...]"));
    }
    let target = workspace::target_dir()?.join("mutants");
    let field = Field { tree: target.join("tree"), target: target.join("target"), log: target.join("log") };
    copy::refresh(root, &field.tree)?;
    field.check_without(&patches)?;
    let mut rows = Vec::new();
    for patch in &patches {
        let fate = field.with(patch)?;
        eprintln!("==> {}: {fate:?}", patch.name);
        rows.push((patch, fate));
    }
    println!("\n| mutant | what it does | found by |\n|---|---|---|");
    rows.iter().for_each(|(patch, fate)| println!("{}", row(patch, fate)));
    let lost: Vec<&str> = rows.iter().filter(|r| r.1 == Fate::NotFound).map(|r| r.0.name.as_str()).collect();
    if lost.is_empty() { Ok(()) } else { Err(Failure::new(format!("not found: {}", lost.join(", ")))) }
}

fn row(patch: &Patch, fate: &Fate) -> String {
    let by = match fate {
        Fate::Seed(seed) => format!("seed {seed}"),
        Fate::Test(words) => format!("`{words}`"),
        Fate::Hangs => "a test that does not end".to_owned(),
        Fate::NotFound => "nothing".to_owned(),
    };
    format!("| {} | {} | {by} |", patch.name, patch.what)
}

/// Where mutants are built and run.
struct Field {
    tree: PathBuf,
    target: PathBuf,
    log: PathBuf,
}

impl Field {
    /// The tests that are to find the mutants pass without them.
    fn check_without(&self, patches: &[Patch]) -> Outcome {
        let mut tests: Vec<&[String]> = patches.iter().map(|patch| patch.test.as_slice()).collect();
        tests.sort();
        tests.dedup();
        for test in tests {
            self.build("without a planted bug", test)?;
            let fate = self.test(test)?;
            if fate != Fate::NotFound {
                let test = test.join(" ");
                return Err(Failure::new(format!("cargo {test} fails without a planted bug: {fate:?}")));
            }
        }
        Ok(())
    }

    fn with(&self, patch: &Patch) -> Outcome<Fate> {
        patch.apply(&self.tree)?;
        let fate = self.build(&patch.name, &patch.test).and_then(|()| self.test(&patch.test));
        patch.take_back(&self.tree)?;
        fate
    }

    fn build(&self, name: &str, test: &[String]) -> Outcome {
        let selection = test.iter().take_while(|word| *word != "--").map(String::as_str);
        Step::cargo(format!("build {name}"), selection)
            .args(["--no-run", "--target-dir"])
            .args([&self.target])
            .dir(&self.tree)
            .run()
    }

    /// Runs a test and tells whether it failed, and how.
    fn test(&self, test: &[String]) -> Outcome<Fate> {
        let log = File::create(&self.log).doing(format_args!("create {}", self.log.display()))?;
        let errors = log.try_clone().doing("share the log")?;
        let mut command = Command::new(workspace::cargo());
        command.args(test).env("CARGO_TARGET_DIR", &self.target).current_dir(&self.tree);
        command.env(sim::SEEDS_VARIABLE, sim::SEEDS.to_string()).env(sim::FIRST_VARIABLE, "1");
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let Some(status) = run_for(&mut command, RUN_MAX)? else { return Ok(Fate::Hangs) };
        let said = std::fs::read(&self.log).doing(format_args!("read {}", self.log.display()))?;
        Ok(judge(status.success(), test, &String::from_utf8_lossy(&said)))
    }
}

/// Runs a command with all that it starts; `None` when it was stopped because it took longer than `most`.
fn run_for(command: &mut Command, most: Duration) -> Outcome<Option<ExitStatus>> {
    use std::os::unix::process::CommandExt;
    let mut child = command.process_group(0).spawn().doing("start a mutant's tests")?;
    let started = Instant::now();
    while started.elapsed() < most {
        if let Some(status) = child.try_wait().doing("wait for a mutant's tests")? {
            return Ok(Some(status));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    // The group: cargo does not take its test program with it.
    let group = format!("-{}", child.id());
    // Every shell knows `kill`; the program of that name is not on every system.
    Step::new("stop a mutant", "sh").args(["-c", "kill -s KILL -- \"$1\"", "sh", &group]).run()?;
    child.wait().doing("wait for a stopped mutant")?;
    Ok(None)
}

fn judge(passed: bool, test: &[String], said: &str) -> Fate {
    if passed {
        return Fate::NotFound;
    }
    let seed = said.lines().find_map(|line| line.trim().strip_prefix(FOUND)?.parse().ok());
    seed.map_or_else(|| Fate::Test(failed(test, said)), Fate::Seed)
}

/// The tests that failed, as cargo's test programs list them.
fn failed(test: &[String], said: &str) -> String {
    let names = said.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let names: Vec<&str> = names.collect();
    if names.is_empty() { format!("cargo {}", test.join(" ")) } else { names.join(", ") }
}

/// `path` as it is shown.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn fates_are_told_from_what_tests_say() {
        let sim = words("test --test sim");
        assert_eq!(judge(true, &sim, "first seed that fails: 5\n"), Fate::NotFound);
        assert_eq!(judge(false, &sim, "x\n  first seed that fails: 17\ny"), Fate::Seed(17));
        let said = "test a::b ... FAILED\ntest c ... ok\ntest d ... FAILED\n";
        assert_eq!(judge(false, &sim, said), Fate::Test("a::b, d".to_owned()));
        assert_eq!(judge(false, &sim, ""), Fate::Test("cargo test --test sim".to_owned()));
    }

    #[test]
    fn what_does_not_end_is_stopped_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000; true"]);
        assert!(run_for(&mut command, Duration::from_millis(20)).unwrap().is_none());
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        assert_eq!(run_for(&mut command, RUN_MAX).unwrap().unwrap().code(), Some(3));
    }

    #[test]
    fn every_patch_applies() {
        assert_eq!(stale(workspace::root()).unwrap(), []);
        let patches = patch::load(workspace::root()).unwrap();
        assert!(patches.len() >= 12, "only {} mutants", patches.len());
    }
}
