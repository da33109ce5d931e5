//! One host of a lab: a network namespace with a home of its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sched::{CloneFlags, setns};

use crate::error::LabError;
use crate::{names, state, tool};

/// Directory variables of a host and where in its home they point.
const DIRECTORIES: [(&str, &str); 5] = [
    ("XDG_CONFIG_HOME", ".config"),
    ("XDG_STATE_HOME", ".local/state"),
    ("XDG_DATA_HOME", ".local/share"),
    ("XDG_CACHE_HOME", ".cache"),
    ("XDG_RUNTIME_DIR", ".run"),
];

/// One host of a lab.
#[derive(Clone, Debug)]
pub struct Host {
    lab: String,
    index: usize,
}

impl Host {
    pub(crate) fn new(lab: &str, index: usize) -> Self {
        Self { lab: lab.into(), index }
    }

    /// Its letter: `a`, `b`, ...
    #[must_use]
    pub fn name(&self) -> String {
        names::host(self.index)
    }

    /// Its network namespace, as `ip netns` names it.
    #[must_use]
    pub fn namespace(&self) -> String {
        names::namespace(&self.lab, self.index)
    }

    /// Its home directory, gone when the lab is down.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        state::directory(&self.lab).join(self.name())
    }

    /// Its address on wire `wire`, from 1, a /24.
    #[must_use]
    pub fn ipv4(&self, wire: usize) -> Ipv4Addr {
        names::ipv4(wire, self.index)
    }

    /// Its address on wire `wire`, from 1, a /64.
    #[must_use]
    pub fn ipv6(&self, wire: usize) -> Ipv6Addr {
        names::ipv6(wire, self.index)
    }

    /// A command that runs `program` on this host, with its HOME and XDG directories. The process started
    /// is the program's own: its number, signals and exit status are what they seem. `/sys` is this machine's,
    /// which does not show the host's interfaces.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let home = self.home();
        let mut command = tool::inside(&self.namespace());
        command.arg(program).env("HOME", &home);
        command.envs(DIRECTORIES.map(|(variable, place)| (variable, home.join(place))));
        command
    }

    /// Runs `work` on a thread of this process that is in the host's network namespace: sockets made
    /// there belong to the host, wherever they are used later.
    ///
    /// # Errors
    /// Where the namespace cannot be entered.
    ///
    /// # Panics
    /// With the panic of `work`.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let path = tool::namespace_file(&self.namespace());
        let namespace = File::open(&path).map_err(LabError::io("open", &path))?;
        let inside = || {
            setns(&namespace, CloneFlags::CLONE_NEWNET)
                .map_err(|error| LabError::io("enter", &path)(error.into()))?;
            Ok(work())
        };
        std::thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    pub(crate) fn make_home(&self) -> Result<(), LabError> {
        let home = self.home();
        for place in DIRECTORIES.iter().map(|(_, place)| home.join(place)) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&place)
                .map_err(LabError::io("make", &place))?;
        }
        Ok(())
    }
}
