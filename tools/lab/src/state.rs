//! What a lab leaves on disk while it is up, so that other processes find it and a crash can be cleared.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::control::Cut;
use crate::error::LabError;

/// A process that cannot be mistaken for a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pid: i32,
    /// When it started, in ticks since boot: field 22 of `/proc/PID/stat`.
    started: u64,
}

impl Process {
    /// The process of this number, if there is one that has not ended.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything; the fields count from behind it, state first.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let started = fields.get(19)?.parse().ok()?;
        (fields[0] != "Z").then_some(Self { pid: i32::try_from(pid).ok()?, started })
    }

    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid as u32) == Some(self)
    }

    /// Asks it to end, if it is still the same.
    pub(crate) fn terminate(self) -> Result<(), LabError> {
        self.signal(Signal::SIGTERM)
    }

    /// Kills it, if it is still the same.
    pub(crate) fn kill(self) -> Result<(), LabError> {
        self.signal(Signal::SIGKILL)
    }

    fn signal(self, signal: Signal) -> Result<(), LabError> {
        match self.is_alive().then(|| kill(Pid::from_raw(self.pid), signal)) {
            None | Some(Ok(()) | Err(nix::errno::Errno::ESRCH)) => Ok(()),
            Some(Err(error)) => Err(LabError::io("end process", self.pid.to_string())(error.into())),
        }
    }
}

/// A lab that is up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) config: Config,
    /// The process whose end is the lab's end; none for a lab made by hand.
    pub(crate) owner: Option<Process>,
    pub(crate) emulator: Option<Process>,
    /// How each wire without emulator is cut.
    pub(crate) cuts: Vec<Option<Cut>>,
}

/// Directory of all labs: `XFER_LAB_DIR` or `/run/xfer-lab`.
fn root() -> PathBuf {
    std::env::var_os("XFER_LAB_DIR").map_or_else(|| "/run/xfer-lab".into(), PathBuf::from)
}

/// Directory of lab `name`.
pub(crate) fn directory(name: &str) -> PathBuf {
    root().join(name)
}

/// Makes the directory of lab `name`, which is also its lock.
pub(crate) fn create(name: &str) -> Result<PathBuf, LabError> {
    let directory = directory(name);
    let root = root();
    fs::create_dir_all(&root).map_err(LabError::io("make", &root))?;
    match fs::DirBuilder::new().mode(0o755).create(&directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(LabError::IsUp { name: name.into() }),
        made => made.map(|()| directory.clone()).map_err(LabError::io("make", directory)),
    }
}

/// Removes the directory of lab `name`, if it is there.
pub(crate) fn remove(name: &str) -> Result<(), LabError> {
    let directory = directory(name);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(LabError::io("remove", directory)(error)),
        _ => Ok(()),
    }
}

impl State {
    fn path(directory: &Path) -> PathBuf {
        directory.join("lab.json")
    }

    /// Writes the state, whole or not at all.
    pub(crate) fn save(&self) -> Result<(), LabError> {
        let path = Self::path(&directory(&self.config.name));
        let fresh = path.with_extension("new");
        let bytes = serde_json::to_vec_pretty(self).expect("the state is plain values");
        fs::write(&fresh, bytes).map_err(LabError::io("write", &fresh))?;
        fs::rename(&fresh, &path).map_err(LabError::io("rename", fresh))
    }

    /// The state of lab `name`; `None` where there is none that can be read, as after a crash.
    pub(crate) fn load(name: &str) -> Option<Self> {
        let bytes = fs::read(Self::path(&directory(name))).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

/// Labs whose owner is gone.
pub(crate) fn orphans() -> Vec<String> {
    let Ok(entries) = fs::read_dir(root()) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let is_orphan = |name: &String| {
        State::load(name).and_then(|state| state.owner).is_some_and(|owner| !owner.is_alive())
    };
    names.filter(is_orphan).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_until_it_ends() {
        let me = Process::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Process { started: me.started + 1, ..me }.is_alive());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        process.kill().unwrap();
        child.wait().unwrap();
        assert!(!process.is_alive());
        process.kill().unwrap();
    }
}
