//! Trials: each package is installed, used and removed in a root of its own. In: the folder of packages. Out: what the scripts print, and a
//! failure where something does not work or stays behind.
//!
//! A root is this machine's system, or one that lies in a folder, below layers in memory: what is installed goes into the layers, so the
//! system is not touched and what stays behind is seen. It has its own processes, mounts and network, of which only the loopback is up.
//! What this machine has is there too; whether the packages ask for all that they need is seen on a bare Debian in a folder.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::python;
use crate::setup;
use crate::step::{Doing, Failure, Outcome, Step, output};
use crate::workspace;

use super::{TRY, files};

/// Folders of the system with a layer each.
const LAYERED: [&str; 3] = ["usr", "etc", "var"];
/// Links to folders of `usr`, or folders of their own on old systems.
const MERGED: [&str; 5] = ["bin", "sbin", "lib", "lib32", "lib64"];
/// Folders that begin empty.
const EMPTY: [&str; 10] = ["dev", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp"];
/// Of these, those that have to be empty in the end.
const STAY_EMPTY: [&str; 5] = ["home", "mnt", "opt", "root", "srv"];
/// Records and caches of the system, and its users, who stay as Debian has it: below these paths may be what was not there before.
const KEPT: [&str; 15] = [
    "etc/.pwd.lock",
    "etc/group",
    "etc/gshadow",
    "etc/ld.so.cache",
    "etc/passwd",
    "etc/shadow",
    "etc/subgid",
    "etc/subuid",
    "var/cache/ldconfig",
    "var/cache/man",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/status",
    "var/lib/dpkg/triggers",
    "var/log",
    "var/lib/systemd",
];
/// What a trial runs: a script of the folder below, with what it sources.
const TRIALS: [&str; 3] = ["deb", "tarball", "wheel"];
const SCRIPTS: &str = "tools/xtask/dist";

/// Gathers what needs the network, or the checkout, beside the packages.
///
/// # Errors
/// Something cannot be fetched or copied.
pub(super) fn prepare(work: &Path) -> Outcome {
    python::fetch_needs(&work.join("python"))?;
    let root = workspace::root();
    for folder in [SCRIPTS, "ffi/package/test"] {
        let to = work.join("trial").join(folder.rsplit('/').next().unwrap_or(folder));
        fs::create_dir_all(&to).doing(format_args!("make {}", to.display()))?;
        let from = root.join(folder);
        for entry in fs::read_dir(&from).doing(format_args!("list {}", from.display()))?.flatten() {
            let to = to.join(entry.file_name());
            fs::copy(entry.path(), &to).doing(format_args!("copy to {}", to.display()))?;
        }
    }
    Ok(())
}

/// Runs the trials as root, in namespaces of their own.
///
/// # Errors
/// There are no such namespaces here, or a trial failed.
pub(super) fn enter(out: &Path, system: &Path) -> Outcome {
    let exe = std::env::current_exe().doing("find the path of xtask")?;
    let mut words = setup::root_prefix()?;
    // Mounts are not to be seen outside; in a chroot, whose root is no mount point, that cannot be asked for.
    let private = probe(&words, "private");
    let propagation = if private { "private" } else { "unchanged" };
    let namespaces =
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", propagation];
    words.extend(namespaces.map(str::to_owned));
    words.extend([exe.display().to_string(), "dist".to_owned(), TRY.to_owned()]);
    words.extend([out, system].map(|path| path.display().to_string()));
    Step::new("packages in clean roots", &words[0]).args(&words[1..]).run()
}

fn probe(prefix: &[String], propagation: &str) -> bool {
    let mut words = prefix.to_vec();
    words.extend(["unshare", "--mount", "--propagation", propagation, "true"].map(str::to_owned));
    output(Command::new(&words[0]).args(&words[1..])).is_ok()
}

/// All trials of the packages in `out` upon the system whose root is `system`, in the namespaces that [`enter`] made.
///
/// # Errors
/// A root cannot be made, or a trial failed.
pub(super) fn run(out: &Path, system: &Path) -> Outcome {
    output(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    for trial in TRIALS {
        let place = out.join("work/root");
        let root = Root::make(&place, system, out)?;
        let done = root.run(trial).and_then(|()| root.is_as_before());
        let gone = root.unmount();
        done?;
        gone?;
        println!("{trial}: the root is as before");
    }
    Ok(())
}

/// A root in memory.
struct Root {
    /// Where it is mounted: `root`, and the layers' `upper` and `work` beside it.
    place: PathBuf,
    /// The root of the system below.
    system: PathBuf,
}

impl Root {
    fn make(place: &Path, system: &Path, packages: &Path) -> Outcome<Root> {
        make(place)?;
        mount(&["-t", "tmpfs", "-o", "mode=755", "xfer-trial"], place)?;
        let root = Root { place: place.to_path_buf(), system: system.to_path_buf() };
        root.fill(packages).inspect_err(|_| drop(root.unmount()))?;
        Ok(root)
    }

    fn fill(&self, packages: &Path) -> Outcome {
        for name in LAYERED {
            self.layer(name)?;
        }
        for name in MERGED {
            let (from, to) = (self.system.join(name), self.root().join(name));
            if from.is_symlink() {
                let target = fs::read_link(&from).doing(format_args!("read {}", from.display()))?;
                symlink(target, &to).doing(format_args!("link {}", to.display()))?;
            } else if from.is_dir() {
                self.layer(name)?;
            }
        }
        EMPTY.iter().try_for_each(|name| make(&self.root().join(name)))?;
        files::set_mode(&self.root().join("tmp"), 0o1777)?;
        mount(&["-t", "proc", "proc"], &self.root().join("proc"))?;
        mount(&["-t", "sysfs", "-o", "ro", "sysfs"], &self.root().join("sys"))?;
        mount(&["--rbind", "/dev"], &self.root().join("dev"))?;
        let given = self.root().join("packages");
        make(&given)?;
        let packages = packages.as_os_str().to_string_lossy();
        mount(&["--bind", &packages], &given)
    }

    /// A folder of the system that takes changes in memory.
    fn layer(&self, name: &str) -> Outcome {
        let [to, upper, work] = ["root", "upper", "work"].map(|layer| self.place.join(layer).join(name));
        for dir in [&to, &upper, &work] {
            make(dir)?;
        }
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            self.system.join(name).display(),
            upper.display(),
            work.display()
        );
        mount(&["-t", "overlay", "-o", &layers, "overlay"], &to)
    }

    fn root(&self) -> PathBuf {
        self.place.join("root")
    }

    /// Runs a script inside.
    fn run(&self, trial: &str) -> Outcome {
        Step::new(trial, "chroot")
            .args([&self.root()])
            .args([
                "env",
                "-i",
                "HOME=/tmp",
                "LANG=C.UTF-8",
                "DEBIAN_FRONTEND=noninteractive",
                "PYTHONDONTWRITEBYTECODE=1",
            ])
            .args(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
            .args(["sh", "-eu", &format!("/packages/work/trial/dist/{trial}.sh")])
            .run()
    }

    /// Nothing stayed behind but what the system keeps.
    fn is_as_before(&self) -> Outcome {
        let mut found = Vec::new();
        for name in LAYERED.into_iter().chain(MERGED) {
            let upper = self.place.join("upper").join(name);
            if upper.is_dir() {
                differences(&upper, &self.system, Path::new(name), &mut found)?;
            }
        }
        for name in STAY_EMPTY {
            let dir = self.root().join(name);
            let entries = fs::read_dir(&dir).doing(format_args!("list {}", dir.display()))?.flatten();
            found.extend(entries.map(|entry| format!("{name}/{}", entry.file_name().to_string_lossy())));
        }
        found.retain(|path| !KEPT.iter().any(|kept| path.starts_with(kept)));
        if found.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!("after the removal these differ from before: {}", found.join(", "))))
    }

    fn unmount(&self) -> Outcome {
        output(Command::new("umount").args(["--recursive", "--lazy"]).arg(&self.place)).map(|_| ())
    }
}

/// What a layer has that the system below does not: paths from the root. A file that was written again with the same content is none.
fn differences(upper: &Path, lower: &Path, name: &Path, found: &mut Vec<String>) -> Outcome {
    let below = lower.join(name);
    for entry in fs::read_dir(upper).doing(format_args!("list {}", upper.display()))? {
        let entry = entry.doing(format_args!("list {}", upper.display()))?;
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let before = below.join(entry.file_name());
        let meta = path.symlink_metadata().doing(format_args!("look at {}", path.display()))?;
        let old = before.symlink_metadata().ok();
        if meta.is_dir() {
            if !old.is_some_and(|old| old.is_dir()) {
                found.push(name.display().to_string());
            }
            differences(&path, lower, &name, found)?;
        } else if !same(&path, &meta, &before, old.as_ref())? {
            found.push(name.display().to_string());
        }
    }
    Ok(())
}

/// Whether a file of a layer is what is below it. A device of number 0 says that nothing is there any more.
fn same(path: &Path, meta: &fs::Metadata, before: &Path, old: Option<&fs::Metadata>) -> Outcome<bool> {
    let gone = meta.file_type().is_char_device() && meta.rdev() == 0;
    let Some(old) = old else { return Ok(gone) };
    if gone
        || meta.file_type() != old.file_type()
        || (meta.mode(), meta.uid(), meta.gid()) != (old.mode(), old.uid(), old.gid())
    {
        return Ok(false);
    }
    let doing = || format!("compare {}", path.display());
    if meta.is_symlink() {
        return Ok(fs::read_link(path).doing(doing())? == fs::read_link(before).doing(doing())?);
    }
    Ok(meta.len() == old.len() && fs::read(path).doing(doing())? == fs::read(before).doing(doing())?)
}

fn make(dir: &Path) -> Outcome {
    fs::create_dir_all(dir).doing(format_args!("make {}", dir.display()))
}

fn mount(words: &[&str], to: &Path) -> Outcome {
    output(Command::new("mount").args(words).arg(to)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_behind_is_found() {
        let dir = std::env::temp_dir().join(format!("xtask-trial-{}", std::process::id()));
        let (upper, lower) = (dir.join("upper/usr"), dir.join("lower"));
        for path in [upper.join("bin"), upper.join("new"), lower.join("usr/bin")] {
            fs::create_dir_all(path).unwrap();
        }
        for (name, before, after) in [("same", "1", "1"), ("changed", "1", "2"), ("longer", "1", "11")] {
            fs::write(lower.join("usr/bin").join(name), before).unwrap();
            fs::write(upper.join("bin").join(name), after).unwrap();
        }
        fs::write(upper.join("bin/more"), "").unwrap();
        symlink("there", upper.join("bin/link")).unwrap();
        symlink("there", lower.join("usr/bin/link")).unwrap();
        let mut found = Vec::new();
        differences(&upper, &lower, Path::new("usr"), &mut found).unwrap();
        found.sort();
        assert_eq!(found, ["usr/bin/changed", "usr/bin/longer", "usr/bin/more", "usr/new"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn each_trial_has_its_script() {
        for trial in TRIALS {
            assert!(workspace::root().join(SCRIPTS).join(format!("{trial}.sh")).exists(), "{trial}");
        }
    }
}
