//! What can go wrong, and what to do about it.

use std::io;
use std::path::PathBuf;

/// Why the lab could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The caller may not make network namespaces.
    #[error(
        "the lab makes network namespaces and needs root (uid 0); this is uid {uid}: run it with sudo or as root"
    )]
    NotRoot {
        /// Who asked.
        uid: u32,
    },
    /// A program is not installed.
    #[error("the program `{program}` is missing: install the package {package}")]
    MissingProgram {
        /// Its name.
        program: &'static str,
        /// Debian's package of it.
        package: &'static str,
    },
    /// The `lab` program, which runs the emulator, was not found.
    #[error(
        "the program `lab` is neither in XFER_LAB_BIN nor beside {beside}: build it with `cargo build -p xfer-lab`"
    )]
    MissingLab {
        /// Where it was looked for.
        beside: PathBuf,
    },
    /// A number outside its range.
    #[error("{what} is {value}; it must lie between {low} and {high}")]
    OutOfRange {
        /// What it counts.
        what: &'static str,
        /// The value.
        value: usize,
        /// Least allowed.
        low: usize,
        /// Most allowed.
        high: usize,
    },
    /// A name that does not do for namespaces.
    #[error("{name:?} is no name for a lab: letters, digits, `-` and `_`, at most 32")]
    BadName {
        /// The name.
        name: String,
    },
    /// A lab of this name is up.
    #[error("lab {name} is up already: `lab down --name {name}` takes it down")]
    IsUp {
        /// The lab.
        name: String,
    },
    /// No lab of this name is up.
    #[error("lab {name} is not up")]
    NotUp {
        /// The lab.
        name: String,
    },
    /// No such host.
    #[error("lab {lab} has no host {host:?}; it has {known}")]
    NoHost {
        /// The lab.
        lab: String,
        /// The host asked for.
        host: String,
        /// The hosts that are there.
        known: String,
    },
    /// No such wire.
    #[error("lab {lab} has no wire {wire}; its wires are 1 to {wires}")]
    NoWire {
        /// The lab.
        lab: String,
        /// The wire asked for.
        wire: usize,
        /// How many there are.
        wires: usize,
    },
    /// The wire has no emulator.
    #[error(
        "wire {wire} is bare, without the emulator, and cannot {what}: bring the lab up with a rate, a delay, a loss or --emulate"
    )]
    Bare {
        /// The wire.
        wire: usize,
        /// What was asked.
        what: &'static str,
    },
    /// An interface did not come up.
    #[error("interface x{wire} of host {host} does not come up")]
    LinkDown {
        /// The host.
        host: String,
        /// The wire.
        wire: usize,
    },
    /// A program of the system failed.
    #[error("{command}: {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// What it said.
        stderr: String,
    },
    /// The emulator did not start or died.
    #[error("the link emulator {what}: {cause}")]
    Emulator {
        /// What it failed at.
        what: &'static str,
        /// Its own words.
        cause: String,
    },
    /// A system call or file operation failed.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl LabError {
    /// For `map_err`: an I/O error of doing `what` on `path`.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
