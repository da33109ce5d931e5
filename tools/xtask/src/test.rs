//! `test`: every correctness test. In: an optional filter on test names. Out: what the test programs print.
//!
//! Nothing is skipped: where a test cannot run, its step fails and says what is missing.

use std::path::Path;

use crate::install;
use crate::python;
use crate::setup;
use crate::sim;
use crate::step::{Doing, Failure, Outcome, Step};
use crate::tidy;
use crate::workspace;

/// The protocol's independent reference and its tests.
const REFERENCE: &str = "engine/proto/tests/vectors";
/// The program without std that links the protocol.
const NO_STD: &str = "engine/proto/tests/no_std";

/// `test [FILTER]`.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run(args: &[String]) -> Outcome {
    let filter = match args {
        [] => None,
        [filter] if !filter.starts_with('-') => Some(filter.as_str()),
        _ => return Err(Failure::usage("usage: cargo xtask test [FILTER]")),
    };
    setup::ensure(setup::LAB)?;
    setup::ensure(setup::REFERENCE)?;
    setup::check_namespaces()?;
    tidy::run(&[])?;
    setup::ensure(setup::ABI)?;
    workspace_tests(filter)?;
    if filter.is_none() {
        bare_library()?;
        python::test()?;
    }
    network_simulation(filter)?;
    if filter.is_none() {
        install::check()?;
        no_std()?;
        reference()?;
    }
    ebpf_tests(filter)?;
    lab_tests(filter)
}

/// The eBPF programs in the kernel, which takes them of root alone.
fn ebpf_tests(filter: Option<&str>) -> Outcome {
    tests_as_root("eBPF programs", "xfer-ebpf", filter.as_slice(), &[], &[])
}

/// All tests that need neither root nor network, the simulation among them, in the profile with debug assertions.
fn workspace_tests(filter: Option<&str>) -> Outcome {
    let seeds = std::env::var(sim::SEEDS_VARIABLE).unwrap_or_else(|_| sim::SEEDS.to_string());
    Step::cargo("workspace tests", ["test", "--workspace", "--no-fail-fast"])
        .args(["--exclude", "xfer-lab", "--exclude", "xfer-ebpf", "--features", "libxfer/client"])
        .args(filter)
        .env(sim::SEEDS_VARIABLE, seeds)
        .run()
}

/// libxfer without the client of nodes, which its tests have.
fn bare_library() -> Outcome {
    Step::cargo("libxfer without its client", ["check", "--locked", "-p", "libxfer"]).run()
}

/// The protocol over modelled wires against its committed figures: a minute of processor time, in the release profile only.
fn network_simulation(filter: Option<&str>) -> Outcome {
    Step::cargo("network simulation", ["test", "-p", "xfer-proto", "--release", "--test", "netsim"])
        .args(filter)
        .env("INSTA_UPDATE", "no")
        .run()
}

/// Builds and runs the program without std: a use of std by the protocol fails the build.
fn no_std() -> Outcome {
    no_std_cargo("protocol without std", "run")?.run()
}

/// Format and lints of the program without std, which is not a member of the workspace.
///
/// # Errors
/// It has findings.
pub(crate) fn lint_no_std() -> Outcome {
    let dir = workspace::root().join(NO_STD);
    Step::cargo("format of the program without std", ["fmt", "--check"]).dir(&dir).run()?;
    no_std_cargo("lints of the program without std", "clippy")?.args(["--", "-D", "warnings"]).run()
}

/// A cargo command on the program without std; its profile aborts on panic, so it has a target folder of its own.
fn no_std_cargo(name: &str, verb: &str) -> Outcome<Step> {
    let target = workspace::target_dir()?.join("no-std");
    let step = Step::cargo(name, [verb, "--locked", "--target-dir"]).args([&target]);
    Ok(step.dir(&workspace::root().join(NO_STD)))
}

/// The Python reference over the golden vectors.
fn reference() -> Outcome {
    let dir = workspace::root().join(REFERENCE);
    let scripts = python_files(&dir)?;
    if scripts.is_empty() {
        eprintln!("==> python reference: there is none in {REFERENCE}");
        return Ok(());
    }
    if !scripts.iter().any(|name| name.starts_with("test_")) {
        return Err(Failure::new(format!("{REFERENCE} has Python files, but no test_*.py to run")));
    }
    let python = setup::python_with("cryptography").unwrap_or_else(|| "python3".into());
    Step::new("python reference", python)
        .args(["-B", "-m", "unittest", "discover", "-v", "-p", "test_*.py", "-s"])
        .args([&dir])
        .run()
}

/// Names of the Python files in a folder; none where there is no such folder.
fn python_files(dir: &Path) -> Outcome<Vec<String>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(dir).doing(format_args!("list {}", dir.display()))?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| name.ends_with(".py")).collect())
}

/// The tests in the lab, as root, one at a time: its hosts and wires have fixed names.
fn lab_tests(filter: Option<&str>) -> Outcome {
    in_lab(filter.as_slice(), &[])?;
    let selection: Vec<&str> = ["--test", "smoke"].into_iter().chain(filter).collect();
    tests_as_root("comparison in the lab", "xfer-compare", &selection, &["--ignored"], &[])
}

/// Runs tests of the lab: `selection` goes to cargo, `options` to the test programs.
pub(crate) fn in_lab(selection: &[&str], options: &[&str]) -> Outcome {
    in_lab_with(selection, options, &[])
}

/// The same, with settings that the tests read from their environment.
pub(crate) fn in_lab_with(
    selection: &[&str],
    options: &[&str],
    settings: &[(&'static str, String)],
) -> Outcome {
    tests_as_root("lab tests", "xfer-lab", selection, options, settings)
}

/// Runs tests of `package` as root, with the release programs at hand and `settings` in their environment, one at a time.
fn tests_as_root(
    name: &str,
    package: &str,
    selection: &[&str],
    options: &[&str],
    settings: &[(&'static str, String)],
) -> Outcome {
    let programs = workspace::build_release(&["xferctl", "xfer-lab"])?;
    let mut step = Step::cargo(name, ["test", "-p", package])
        .args(selection)
        .args(["--", "--test-threads=1"])
        .args(options)
        .env("XFERCTL_BIN", &programs.xferctl)
        .env("XFER_LAB_BIN", &programs.lab);
    for (variable, value) in settings {
        step = step.env(*variable, value);
    }
    let mut prefix = setup::root_prefix()?;
    if !prefix.is_empty() {
        prefix.push(format!("XFERCTL_BIN={}", programs.xferctl.display()));
        prefix.push(format!("XFER_LAB_BIN={}", programs.lab.display()));
        prefix.extend(settings.iter().map(|(variable, value)| format!("{variable}={value}")));
        step = step.env(setup::runner_variable()?, prefix.join(" "));
    }
    step.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_variable_names_the_host() {
        let name = setup::runner_variable().unwrap();
        assert!(name.starts_with("CARGO_TARGET_") && name.ends_with("_RUNNER"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'), "{name}");
    }

    #[test]
    fn python_files_are_found_where_there_are_some() {
        let dir = std::env::temp_dir().join(format!("xtask-python-{}", std::process::id()));
        assert!(python_files(&dir).unwrap().is_empty());
        std::fs::create_dir(&dir).unwrap();
        for name in ["test_keys.py", "keys.bin"] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        assert_eq!(python_files(&dir).unwrap(), ["test_keys.py"]);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
