//! Set-up of the machine: installs what a verb needs and is missing, and gets the right to make network namespaces.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::step::{Doing, Failure, Outcome, Step, output};

/// Where Debian keeps programs that are not on an ordinary user's PATH.
const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Something the machine must have, and the Debian package that brings it.
#[derive(Clone, Copy)]
pub(crate) struct Need {
    probe: Probe,
    package: &'static str,
}

#[derive(Clone, Copy)]
enum Probe {
    /// A program on PATH.
    Program(&'static str),
    /// A module that a Python 3 can import.
    PythonModule(&'static str),
}

/// What the lab runs.
pub(crate) const LAB: &[Need] = &[
    Need { probe: Probe::Program("ip"), package: "iproute2" },
    Need { probe: Probe::Program("nsenter"), package: "util-linux" },
];

/// What the tests run besides the lab: the independent reference of the protocol.
pub(crate) const REFERENCE: &[Need] = &[
    Need { probe: Probe::Program("python3"), package: "python3" },
    Need { probe: Probe::PythonModule("cryptography"), package: "python3-cryptography" },
];

/// What makes an environment for the Python package.
pub(crate) const PYTHON: &[Need] = &[
    Need { probe: Probe::Program("python3"), package: "python3" },
    Need { probe: Probe::PythonModule("ensurepip"), package: "python3-venv" },
];

/// What finds the installed library.
pub(crate) const INSTALL: &[Need] = &[
    Need { probe: Probe::Program("c++"), package: "g++" },
    Need { probe: Probe::Program("cmake"), package: "cmake" },
    Need { probe: Probe::Program("pkg-config"), package: "pkg-config" },
];

/// What makes the packages.
pub(crate) const DIST: &[Need] = &[
    Need { probe: Probe::Program("dpkg-deb"), package: "dpkg" },
    Need { probe: Probe::Program("readelf"), package: "binutils" },
    Need { probe: Probe::Program("strip"), package: "binutils" },
    Need { probe: Probe::Program("xz"), package: "xz-utils" },
];

/// What compares the shared library's interface with the committed one, and looks on while C programs run.
pub(crate) const ABI: &[Need] = &[
    Need { probe: Probe::Program("abidiff"), package: "abigail-tools" },
    Need { probe: Probe::Program("valgrind"), package: "valgrind" },
];

/// What counts instructions.
pub(crate) const COUNTS: &[Need] = &[Need { probe: Probe::Program("valgrind"), package: "valgrind" }];

/// What libFuzzer, which comes as a crate, is built with.
pub(crate) const FUZZ: &[Need] = &[Need { probe: Probe::Program("g++"), package: "g++" }];

/// What reads the profiles of instrumented programs.
pub(crate) const COVERAGE: &[Need] = &[
    Need { probe: Probe::Program("llvm-profdata-19"), package: "llvm-19" },
    Need { probe: Probe::Program("llvm-cov-19"), package: "llvm-19" },
];

/// The compiler of eBPF programs: Debian 12 and 13 both have this version.
pub(crate) const CLANG: &str = "clang-19";
/// What takes debug information out of their objects.
pub(crate) const LLVM_STRIP: &str = "llvm-strip-19";

/// What compiles eBPF programs.
pub(crate) const EBPF: &[Need] = &[
    Need { probe: Probe::Program(CLANG), package: "clang-19" },
    Need { probe: Probe::Program(LLVM_STRIP), package: "llvm-19" },
];

/// What the lab's targets are measured beside.
pub(crate) const PEERS: &[Need] = &[Need { probe: Probe::Program("iperf3"), package: "iperf3" }];

/// Installs what is missing of `needs`; does nothing, and asks for no right, when nothing is.
///
/// # Errors
/// Something is missing and cannot be installed: says what, and by which command the user can.
pub(crate) fn ensure(needs: &[Need]) -> Outcome {
    let mut missing: Vec<&str> =
        needs.iter().filter(|need| !present(need)).map(|need| need.package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if find_program("apt-get").is_none() {
        return Err(Failure::new(format!(
            "missing: {list} (Debian's package names); there is no apt-get here, install them by hand"
        )));
    }
    let blocked = |_| Failure::new(format!("missing: {list}; as root run: apt-get install {list}"));
    for (name, args) in [("apt update", vec!["update", "-qq"]), ("apt install", install_args(&missing))] {
        let apt = as_root("apt-get").map_err(blocked)?.env("DEBIAN_FRONTEND", "noninteractive");
        apt.named(name).args(args).run()?;
    }
    match needs.iter().find(|need| !present(need)) {
        None => Ok(()),
        Some(need) => Err(Failure::new(format!("installed {list}, but {} is still missing", need.package))),
    }
}

fn install_args<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    ["install", "-qq", "-y", "--no-install-recommends"].into_iter().chain(packages.iter().copied()).collect()
}

fn present(need: &Need) -> bool {
    match need.probe {
        Probe::Program(name) => find_program(name).is_some(),
        Probe::PythonModule(module) => python_with(module).is_some(),
    }
}

/// The Python that can import `module`: the first on PATH, else Debian's own.
pub(crate) fn python_with(module: &str) -> Option<PathBuf> {
    let imports = |python: &Path| {
        let mut command = Command::new(python);
        command.args(["-c", &format!("import {module}")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let candidates = [find_program("python3"), Some(PathBuf::from("/usr/bin/python3"))];
    candidates.into_iter().flatten().find(|python| imports(python))
}

/// The file that `name` runs, looked for on PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

/// Starts this program again with the sbin folders on PATH, if they are not there yet: an ordinary user's PATH, which
/// `su` hands on to root, lacks them, and the lab needs what is in them.
///
/// # Errors
/// This program cannot be started again.
pub(crate) fn put_sbin_on_path() -> Outcome {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(longer) = with_sbin(&path) else { return Ok(()) };
    let exe = std::env::current_exe().doing("find the path of xtask")?;
    let cause = Command::new(&exe).args(std::env::args_os().skip(1)).env("PATH", longer).exec();
    Err(Failure::new(format!("start {} again: {cause}", exe.display())))
}

/// `path` and the sbin folders that it lacks; none when it has all.
fn with_sbin(path: &OsStr) -> Option<OsString> {
    let mut folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    let before = folders.len();
    for folder in SBIN.map(PathBuf::from) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    if folders.len() == before { None } else { std::env::join_paths(folders).ok() }
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// The words that run a command as root: none when this is root, else `sudo` with the environment that cargo set up.
///
/// # Errors
/// Not root and no sudo: says which right is missing.
pub(crate) fn root_prefix() -> Outcome<Vec<String>> {
    if is_root() {
        return Ok(Vec::new());
    }
    let Some(sudo) = find_program("sudo") else {
        return Err(Failure::new(
            "needs root, and there is no sudo: log in as root and run the same command",
        ));
    };
    let kept = [
        "PATH",
        "HOME",
        "CARGO",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
        "CARGO_TARGET_DIR",
        "TERM",
    ];
    let mut words = vec![sudo.display().to_string(), "env".to_owned()];
    words.extend(kept.iter().filter_map(|key| Some(format!("{key}={}", std::env::var(key).ok()?))));
    Ok(words)
}

/// A step that runs `program` as root.
///
/// # Errors
/// As [`root_prefix`].
pub(crate) fn as_root(program: &str) -> Outcome<Step> {
    let mut words = root_prefix()?;
    words.push(program.to_owned());
    Ok(Step::new(program, &words[0]).args(&words[1..]))
}

/// Checks that root may do here what the lab does, since a container's root often may not.
///
/// # Errors
/// Names the right that is missing and why it is needed.
pub(crate) fn check_namespaces() -> Outcome {
    let mut probe = root_prefix()?;
    // In a chroot, whose root is no mount point, only an unchanged propagation works.
    let words = ["unshare", "--net", "--mount", "--propagation", "unchanged", "true"];
    probe.extend(words.map(str::to_owned));
    let made = Command::new(&probe[0]).args(&probe[1..]).stderr(Stdio::null()).status();
    if made.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    Err(Failure::new(
        "the lab needs CAP_SYS_ADMIN and CAP_NET_ADMIN, because each of its hosts is a network and mount namespace; \
         this user does not have them (in a container: run it with --privileged)",
    ))
}

/// The target that this machine builds for.
///
/// # Errors
/// rustc does not run, or names none.
pub(crate) fn host() -> Outcome<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::new("rustc -vV names no host"))
}

/// The variable by which cargo runs test programs through another program.
///
/// # Errors
/// As [`host`].
pub(crate) fn runner_variable() -> Outcome<String> {
    Ok(format!("CARGO_TARGET_{}_RUNNER", host()?.to_uppercase().replace('-', "_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_and_missing_ones_are_not() {
        assert!(find_program("sh").is_some());
        assert!(find_program("xfer-no-such-program").is_none());
        assert!(!is_program(Path::new("/proc/version")));
    }

    #[test]
    fn sbin_is_added_once() {
        let longer = with_sbin(OsStr::new("/bin:/usr/sbin")).unwrap();
        assert_eq!(longer, "/bin:/usr/sbin:/usr/local/sbin:/sbin");
        assert_eq!(with_sbin(&longer), None);
    }

    #[test]
    fn nothing_missing_needs_no_right() {
        let shell = Need { probe: Probe::Program("sh"), package: "dash" };
        assert!(ensure(&[shell]).is_ok());
    }

    #[test]
    fn apt_is_asked_for_the_packages_only() {
        assert_eq!(
            install_args(&["iproute2", "python3"])[1..],
            ["-qq", "-y", "--no-install-recommends", "iproute2", "python3"]
        );
    }
}
