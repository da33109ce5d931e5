//! Where things are: the workspace root, the target folder, what cargo builds, the toolchain and its registry.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{Doing, Failure, Outcome, Step, output};

/// The folder of the workspace's Cargo.toml.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The words by which cargo builds the tool and libxfer. Always both, with the same features of what they share, so that none of it is
/// compiled twice in a profile.
fn shared(profile: &str, client: bool) -> Vec<&str> {
    let mut words =
        vec!["build", "--locked", "--profile", profile, "--package", "xferctl", "--package", "libxfer"];
    words.extend(if client { ["--features", "libxfer/client"].as_slice() } else { &[] });
    words
}

/// A cargo that builds the libraries of [`programs_and_libraries`] alone.
pub(crate) fn libraries(profile: &str, client: bool) -> Command {
    let cargo = std::env::var_os(crate::python::CARGO_VARIABLE).unwrap_or_else(cargo);
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(shared(profile, client)).arg("--lib");
    command
}

/// Builds xferctl and libxfer, with or without its client.
///
/// # Errors
/// The build failed.
pub(crate) fn programs_and_libraries(profile: &str, client: bool) -> Outcome {
    Step::cargo("xferctl and libxfer", shared(profile, client)).run()
}

/// The folder of a profile below the target folder.
pub(crate) fn profile_folder(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

/// The target folder this program was built into: `target/debug/xtask` lies two levels below it.
///
/// # Errors
/// The program's own path is unknown.
pub(crate) fn target_dir() -> Outcome<PathBuf> {
    let exe = std::env::current_exe().doing("find the path of xtask")?;
    let target = exe.ancestors().nth(2).map(Path::to_path_buf);
    target.ok_or_else(|| Failure::new(format!("no target folder above {}", exe.display())))
}

/// The product's and the lab's release programs.
pub(crate) struct Programs {
    pub(crate) xferctl: PathBuf,
    pub(crate) lab: PathBuf,
}

/// Builds `packages` in the release profile and returns where their programs are.
///
/// # Errors
/// The build failed, or did not leave a program that was asked for.
pub(crate) fn build_release(packages: &[&str]) -> Outcome<Programs> {
    let picked = packages.iter().flat_map(|package| ["-p", package]);
    Step::cargo("build", ["build", "--release", "--bins"].into_iter().chain(picked)).run()?;
    programs()
}

/// The release programs, built before.
///
/// # Errors
/// The target folder is unknown.
pub(crate) fn programs() -> Outcome<Programs> {
    let release = target_dir()?.join("release");
    Ok(Programs { xferctl: release.join("xferctl"), lab: release.join("lab") })
}

/// The folder of the active Rust toolchain.
///
/// # Errors
/// rustc does not run.
pub(crate) fn sysroot() -> Outcome<PathBuf> {
    output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root())).map(PathBuf::from)
}

/// Cargo's folder of downloaded and unpacked crates.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

/// `commit` of the checkout, with `+` when files differ from it.
///
/// # Errors
/// git does not run or this is no checkout.
pub(crate) fn commit() -> Outcome<String> {
    let git = |args: &[&str]| output(Command::new("git").args(args).current_dir(root()));
    let changed = !git(&["status", "--porcelain"])?.is_empty();
    Ok(format!("{}{}", git(&["rev-parse", "--short=10", "HEAD"])?, if changed { "+" } else { "" }))
}
