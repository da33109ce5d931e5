//! The demo's clean-up, in a process of its own, so that it happens after success, failure, Ctrl-C and SIGKILL alike.
//!
//! The demo tells the guard through a pipe what there is to remove. When the pipe closes, because the demo closes it
//! or because the demo is gone, the guard kills what still runs from the scratch folder, takes the lab down and
//! removes the folder. It is in its own process group, which a terminal's Ctrl-C does not reach.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::step::{Doing, Failure, Outcome, ended};

/// The hidden verb that runs the guard.
pub(crate) const GUARD_VERB: &str = "demo-guard";

/// The variable by which the guard knows the demo's programs; its value is the scratch folder.
pub(crate) const SCRATCH_VARIABLE: &str = "DEMO_SCRATCH";

/// What the demo writes once `lab up` is about to run.
const LAB_LINE: &str = "lab\n";
/// How often processes are looked for and killed before the guard gives up.
const KILL_ROUNDS: usize = 50;

/// The demo's end of the pipe.
pub(crate) struct Guard {
    scratch: PathBuf,
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Makes the scratch folder and starts the guard over it.
    ///
    /// # Errors
    /// The folder cannot be made or the guard not started.
    pub(crate) fn start(lab: &Path) -> Outcome<Guard> {
        let scratch = std::env::temp_dir().join(format!("xfer-demo.{}", std::process::id()));
        let exe = std::env::current_exe().doing("find the path of xtask")?;
        fs::create_dir(&scratch).doing(format_args!("create {}", scratch.display()))?;
        let mut command = Command::new(exe);
        command.arg(GUARD_VERB).arg(&scratch).arg(lab).stdin(Stdio::piped()).process_group(0);
        let mut child = command.spawn().doing("start the guard of the demo")?;
        let pipe = child.stdin.take();
        Ok(Guard { scratch, child, pipe })
    }

    /// The folder that goes away with the demo.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// From now on the lab is taken down too.
    ///
    /// # Errors
    /// The guard is gone.
    pub(crate) fn lab_may_be_up(&mut self) -> Outcome {
        let pipe =
            self.pipe.as_mut().ok_or_else(|| Failure::new("the guard was told to clean up already"))?;
        pipe.write_all(LAB_LINE.as_bytes()).doing("tell the guard of the lab")
    }

    /// Has everything removed and waits for it.
    ///
    /// # Errors
    /// Something could not be removed; the guard has said what.
    pub(crate) fn finish(mut self) -> Outcome {
        self.pipe = None;
        let status = self.child.wait().doing("wait for the guard of the demo")?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("the clean-up {}", ended(status)))) }
    }
}

/// The guard's own process: `demo-guard SCRATCH LAB`.
///
/// # Errors
/// Names the first thing that could not be removed, after trying all.
pub(crate) fn run(args: &[String]) -> Outcome {
    let [scratch, lab] = args else { return Err(Failure::usage("demo-guard SCRATCH LAB is run by demo")) };
    let mut told = String::new();
    std::io::stdin().read_to_string(&mut told).doing("read what the demo says")?;
    clean(Path::new(scratch), (told == LAB_LINE).then_some(Path::new(lab)))
}

fn clean(scratch: &Path, lab: Option<&Path>) -> Outcome {
    let killed = kill_users_of(scratch);
    let down = lab.map_or(Ok(()), take_down);
    let removed = fs::remove_dir_all(scratch).doing(format_args!("remove {}", scratch.display()));
    killed.and(down).and(removed)
}

fn take_down(lab: &Path) -> Outcome {
    let status = Command::new(lab).arg("down").stdin(Stdio::null()).status().doing("start lab down")?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("lab down {}", ended(status)))) }
}

/// Kills the processes whose command line or environment names the scratch folder, until there are none.
fn kill_users_of(scratch: &Path) -> Outcome {
    for _ in 0..KILL_ROUNDS {
        let users = users_of(scratch)?;
        if users.is_empty() {
            return Ok(());
        }
        for pid in users {
            let script = format!("kill -KILL {pid} 2>/dev/null; sleep 0.1");
            Command::new("sh").args(["-c", &script]).status().doing("start sh")?;
        }
    }
    Err(Failure::new(format!("processes that use {} do not end", scratch.display())))
}

/// The processes, this one excepted, with an argument or a variable that names `scratch`.
fn users_of(scratch: &Path) -> Outcome<Vec<u32>> {
    let needle = scratch.as_os_str().as_encoded_bytes();
    let mut users = Vec::new();
    for entry in fs::read_dir("/proc").doing("list /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let names_it = |file: &str| {
            let words = fs::read(entry.path().join(file)).unwrap_or_default();
            words.windows(needle.len()).any(|part| part == needle)
        };
        if pid != std::process::id() && (names_it("cmdline") || names_it("environ")) {
            users.push(pid);
        }
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_ends_processes_takes_the_lab_down_and_removes_the_folder() {
        let scratch = std::env::temp_dir().join(format!("xtask-guard-{}", std::process::id()));
        fs::create_dir(&scratch).unwrap();
        let lab = scratch.join("lab");
        fs::copy("/bin/true", &lab).unwrap();
        let tail = || {
            let mut command = Command::new("tail");
            command.args(["-f", "/dev/null"]).stdin(Stdio::null());
            command
        };
        let mut by_argument = tail().arg(scratch.join("lab")).stdout(Stdio::null()).spawn().unwrap();
        let mut by_variable = tail().env(SCRATCH_VARIABLE, &scratch).spawn().unwrap();
        // A process that was started just now has no words yet.
        while users_of(&scratch).unwrap().len() < 2 {
            std::thread::yield_now();
        }
        clean(&scratch, Some(&lab)).unwrap();
        assert!(!scratch.exists());
        assert!(!by_argument.wait().unwrap().success());
        assert!(!by_variable.wait().unwrap().success());
    }

    #[test]
    fn a_lab_that_fails_to_go_is_reported_and_the_folder_still_removed() {
        let scratch = std::env::temp_dir().join(format!("xtask-guard-fails-{}", std::process::id()));
        fs::create_dir(&scratch).unwrap();
        let failure = clean(&scratch, Some(Path::new("/bin/false"))).unwrap_err();
        assert_eq!(failure.to_string(), "lab down ended with status 1");
        assert!(!scratch.exists());
    }
}
