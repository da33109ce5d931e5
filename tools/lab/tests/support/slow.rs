//! Things that are slow on purpose: a core that others want, a disk that lets so many bytes a second through.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Niceness of programs whose shares of a core a test is about: whatever else runs on this machine gets little.
pub(crate) const AHEAD: &str = "-20";

/// Two cores that this process may use: one end is slowed down beside another.
pub(crate) fn cores() -> [usize; 2] {
    let cores = xfer_engine::io::thread::affinity().unwrap();
    let &[one, other, ..] = &cores[..] else { panic!("this test needs two cores") };
    [one, other]
}

/// This session ahead of all others. Where the kernel gives each session a share of its own (`sched_autogroup_enabled`), niceness
/// counts only among the programs of one.
pub(crate) struct Ahead {
    /// The session's niceness before; `None` where sessions have no shares.
    before: Option<String>,
}

const SESSION: &str = "/proc/self/autogroup";

impl Ahead {
    pub(crate) fn of_others() -> Ahead {
        // `/autogroup-7 nice 0`
        let before = fs::read_to_string(SESSION).ok();
        let before = before.and_then(|text| Some(text.split_whitespace().nth(2)?.to_owned()));
        if before.is_some() {
            fs::write(SESSION, AHEAD).expect("root sets the session's niceness");
        }
        Ahead { before }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            fs::write(SESSION, before).expect("root sets the session's niceness");
        }
    }
}

/// Programs that want all of a core.
pub(crate) struct Busy(Vec<Child>);

impl Busy {
    pub(crate) fn on(core: usize, count: usize) -> Busy {
        let mut spin = Command::new("nice");
        spin.args(["-n", AHEAD, "taskset", "-c", &core.to_string(), "sh", "-c", "while :; do :; done"]);
        Busy((0..count).map(|_| spin.spawn().unwrap()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().and_then(|()| child.wait().map(drop)).expect("it ends");
        }
    }
}

/// The kernel's control groups that limit input and output, mounted for one test: not every root has them in place.
struct Groups {
    mount: PathBuf,
    /// Version 2, where the controller is not taken by version 1.
    unified: bool,
}

impl Groups {
    fn mount(mount: PathBuf) -> Groups {
        fs::create_dir(&mount).unwrap();
        let first = Command::new("mount").args(["-t", "cgroup", "-o", "blkio", "none"]).arg(&mount).output();
        let unified = !first.unwrap().status.success();
        if unified {
            must(Command::new("mount").args(["-t", "cgroup2", "none"]).arg(&mount));
            fs::write(mount.join("cgroup.subtree_control"), "+io")
                .expect("the controller of input and output");
        }
        Groups { mount, unified }
    }

    /// A group whose processes may read or write (`what`) so many bytes a second of a device.
    fn add(&self, what: &str, device: &str, rate: u64) -> PathBuf {
        let name = format!("xfer-{what}-{}-{}", std::process::id(), device.replace(':', "-"));
        let group = self.mount.join(name);
        fs::create_dir(&group).unwrap();
        let (limit, text) = match self.unified {
            true => ("io.max".to_owned(), format!("{device} {}bps={rate}", &what[..1])),
            false => (format!("blkio.throttle.{what}_bps_device"), format!("{device} {rate}")),
        };
        fs::write(group.join(limit), text).unwrap();
        group
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        must(Command::new("umount").arg(&self.mount));
    }
}

/// A file system on a loop device, and the groups whose processes get so many bytes a second of it.
pub(crate) struct SlowDisk {
    mount: PathBuf,
    device: String,
    groups: [PathBuf; 2],
    _mounted: Groups,
}

impl SlowDisk {
    /// `size` bytes beneath `directory`; each process of a group reads or writes `rate` bytes a second.
    pub(crate) fn new(directory: &Path, size: u64, rate: u64) -> SlowDisk {
        let (image, mount) = (directory.join("image"), directory.join("mount"));
        fs::File::create(&image).unwrap().set_len(size).unwrap();
        fs::create_dir(&mount).unwrap();
        must(Command::new("mkfs.ext4").arg("-q").arg(&image));
        let device = must(Command::new("losetup").args(["--find", "--show"]).arg(&image)).trim().to_owned();
        let number = fs::metadata(&device).unwrap().rdev();
        let number = format!("{}:{}", number >> 8 & 0xfff, number & 0xff);
        let mounted = Groups::mount(directory.join("groups"));
        let groups = ["read", "write"].map(|what| mounted.add(what, &number, rate));
        let disk = SlowDisk { mount, device, groups, _mounted: mounted };
        disk.attach();
        disk
    }

    fn attach(&self) {
        must(Command::new("mount").arg(&self.device).arg(&self.mount));
    }

    /// Its root, which everybody may write to.
    pub(crate) fn root(&self) -> PathBuf {
        self.mount.clone()
    }

    /// What is on it is in no memory afterwards.
    pub(crate) fn forget(&mut self) {
        must(Command::new("umount").arg(&self.mount));
        self.attach();
    }

    /// Words before a program that reads slowly.
    pub(crate) fn reading(&self) -> Vec<OsString> {
        self.within(0)
    }

    /// Words before a program that writes slowly.
    pub(crate) fn writing(&self) -> Vec<OsString> {
        self.within(1)
    }

    fn within(&self, group: usize) -> Vec<OsString> {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.groups[group].display());
        ["sh", "-c", &enter, "sh"].map(OsString::from).into()
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        must(Command::new("umount").arg(&self.mount));
        must(Command::new("losetup").arg("--detach").arg(&self.device));
        for group in &self.groups {
            fs::remove_dir(group).expect("nothing runs in it");
        }
    }
}

/// Runs a program that must succeed; what it prints.
fn must(command: &mut Command) -> String {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.stderr.escape_ascii());
    String::from_utf8(output.stdout).unwrap()
}
