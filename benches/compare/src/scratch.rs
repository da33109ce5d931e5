//! The file system that all content is on: a tmpfs of this process alone, gone with it.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::sysinfo::sysinfo;
use xfer_lab::memory::KeptMemory;

use crate::failure::{Doing, Outcome};
use crate::limits::KEPT_BYTES_MAX;

/// Where they are made; each is called `PREFIX` and the process's number.
const PLACE: &str = "/run";
const PREFIX: &str = "xfer-compare-";

/// A mounted tmpfs. Unmounted when dropped, also by the next comparison where this one was killed.
pub(crate) struct Scratch {
    kept: Option<KeptMemory>,
    dir: PathBuf,
}

impl Scratch {
    /// Mounts one, after those of processes that are no more are gone.
    pub(crate) fn mount() -> Outcome<Scratch> {
        clear_orphans()?;
        let dir = Path::new(PLACE).join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&dir).doing(format_args!("make {}", dir.display()))?;
        let scratch = Scratch { kept: None, dir };
        // Everyone may read it, because some peers serve as another user.
        let options = Some("mode=0755,size=90%");
        mount(Some("xfer-compare"), &scratch.dir, Some("tmpfs"), MsFlags::MS_NODEV, options)
            .doing(format_args!("mount a tmpfs at {}", scratch.dir.display()))?;
        Ok(scratch)
    }

    /// Keeps memory for what comes, so that no tool waits until the host of a virtual machine gives it.
    pub(crate) fn keep_memory(&mut self) -> Outcome {
        let half = sysinfo().doing("ask for the size of memory")?.ram_total() / 2;
        let bytes = half.min(KEPT_BYTES_MAX);
        self.kept = Some(KeptMemory::touch(&self.dir, bytes).doing("keep memory for what comes")?);
        Ok(())
    }

    /// Its root.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.kept = None;
        if let Err(failure) = clear(&self.dir) {
            eprintln!("compare: {failure}");
        }
    }
}

/// Unmounts and removes the scratch directory at `dir`; what is still open there lives until it is closed.
pub(crate) fn clear(dir: &Path) -> Outcome {
    match umount2(dir, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::errno::Errno::EINVAL) => {}
        Err(cause) => return Err(cause).doing(format_args!("unmount {}", dir.display())),
    }
    fs::remove_dir(dir).doing(format_args!("remove {}", dir.display()))
}

fn clear_orphans() -> Outcome {
    let entries = fs::read_dir(PLACE).doing(format_args!("list {PLACE}"))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(Ok(pid)) = name.strip_prefix(PREFIX).map(str::parse::<u32>) else { continue };
        if !Path::new("/proc").join(pid.to_string()).exists() {
            clear(&entry.path())?;
        }
    }
    Ok(())
}
