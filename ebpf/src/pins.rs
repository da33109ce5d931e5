//! Programs that outlive their loader: pinned in the kernel's file system of eBPF objects, for a node that may not load any itself.
//!
//! A privileged step ([`attach_pinned`]) loads and attaches, pins link and maps and gives them to a user; a node of that user takes
//! them over ([`adopt`]). What is pinned stays until [`detach`], also when the node died; it passes everything meanwhile.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use aya::maps::{Map, MapData, MapError};
use aya::programs::links::PinnedLink;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::unistd::User;

use crate::attach::{self, Attached};
use crate::clock::now_ns;
use crate::error::{Doing, EbpfError};
use crate::interface::{self, XdpMode};
use crate::limits::{BEAT_NS_MAX, PINS_MAX};
use crate::maps::XdpMaps;

/// Where the kernel's file system of eBPF objects is.
const FILE_SYSTEM: &str = "/sys/fs/bpf";
/// Our folder in it.
const FOLDER: &str = "xfer";
/// Name of the pinned link; maps have their own names.
const LINK: &str = "link";

/// Attaches as [`attach()`](crate::attach()) does, without ports, and pins it, so that it stays when this process ends. `owner`, a user's
/// name or number, may take it over: the pins become that user's, and the folders above searchable.
///
/// # Errors
/// As [`attach()`](crate::attach()), where there is no place for pins, and where there is no such user.
pub fn attach_pinned(interface: &str, mode: XdpMode, owner: Option<&str>) -> Result<(), EbpfError> {
    let doing = Doing { interface, what: "pin the XDP program" };
    let owner = owner.map(|user| user_id(user, interface)).transpose()?;
    let folder = make_folder(interface).map_err(|error| doing.system(error))?;
    let done = attach::attach_and_pin(interface, mode, &folder, LINK).and_then(|()| {
        owner.map_or(Ok(()), |owner| give(&folder, owner).map_err(|error| doing.system(error)))
    });
    if done.is_err() {
        remove(&folder).map_err(|error| doing.system(error))?;
    }
    done
}

/// Takes over what is pinned for `interface`, with these ports and no connections. None when nothing is.
///
/// Dropped, it leaves the program attached, which passes everything from then on.
///
/// # Errors
/// Another process uses it, the pins are not this user's, or the program is not on the interface any more.
pub fn adopt(interface: &str, ports: &[u16]) -> Result<Option<Attached>, EbpfError> {
    let doing = Doing { interface, what: "take over the pinned XDP program" };
    let folder = folder(interface).map_err(|error| doing.system(error))?;
    match folder.join(LINK).try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        // Nothing there was given to this user.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
        Err(error) => return Err(doing.system(error)),
    }
    let index = interface::index(interface)
        .ok_or_else(|| EbpfError::NoInterface { interface: interface.to_owned() })?;
    let running = interface::running(index).map_err(|error| doing.system(error))?;
    let link = PinnedLink::from_pin(folder.join(LINK)).map_err(|error| doing.link(error))?;
    let info = aya::programs::links::FdLink::from(link).info().map_err(|error| doing.link(error))?;
    let running = running.filter(|running| running.id == info.program_id()).ok_or_else(|| {
        doing.object("it is not on the interface any more; `xferctl ebpf detach` removes what is left of it")
    })?;
    let maps = XdpMaps::new(|name| open_map(&folder.join(name))).map_err(|error| doing.map(error))?;
    let beat = maps.beat_ns().map_err(|error| doing.map(error))?;
    if now_ns().saturating_sub(beat) < BEAT_NS_MAX {
        return Err(EbpfError::InUse { interface: interface.to_owned() });
    }
    let mode = running.mode.unwrap_or(XdpMode::Native);
    Attached::adopted(interface, index, mode, running.id, maps, ports).map(Some)
}

/// Removes what is pinned for `interface`, in this network namespace, and thereby takes the program off. Whether there was something.
///
/// # Errors
/// The pins may not be removed.
pub fn detach(interface: &str) -> Result<bool, EbpfError> {
    let doing = Doing { interface, what: "remove the pinned XDP program" };
    let folder = folder(interface).map_err(|error| doing.system(error))?;
    remove(&folder).map_err(|error| doing.system(error))
}

/// The interfaces of this network namespace for which something is pinned, ascending.
///
/// # Errors
/// The folder may not be read.
pub fn pinned() -> Result<Vec<String>, EbpfError> {
    let doing = Doing { interface: "any interface", what: "list what is pinned" };
    let list = || {
        let mut names = Vec::new();
        let ending = format!("@{}", network()?);
        let entries = match fs::read_dir(Path::new(FILE_SYSTEM).join(FOLDER)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(names),
            other => other?,
        };
        for entry in entries.take(PINS_MAX) {
            let name = entry?.file_name().to_string_lossy().into_owned();
            names.extend(name.strip_suffix(&ending).map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    };
    list().map_err(|error| doing.system(error))
}

/// A user's number, by name or number.
fn user_id(user: &str, interface: &str) -> Result<u32, EbpfError> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    let missing = || EbpfError::NoUser { interface: interface.to_owned(), user: user.to_owned() };
    let found = User::from_name(user).ok().flatten().ok_or_else(missing)?;
    Ok(found.uid.as_raw())
}

fn open_map(path: &Path) -> Result<Map, MapError> {
    Map::from_map_data(MapData::from_pin(path)?)
}

/// The number of this thread's network namespace: names of interfaces are one namespace's own, the file system may be common.
fn network() -> io::Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.ino())
}

fn folder(interface: &str) -> io::Result<PathBuf> {
    Ok(Path::new(FILE_SYSTEM).join(FOLDER).join(format!("{interface}@{}", network()?)))
}

/// The folder of an interface's pins, empty; the file system is mounted where it is not yet. What an earlier program left that is on no
/// interface any more goes.
fn make_folder(interface: &str) -> io::Result<PathBuf> {
    let root = Path::new(FILE_SYSTEM);
    if statfs(root)?.filesystem_type() != BPF_FS_MAGIC {
        mount(Some("bpf"), root, Some("bpf"), MsFlags::empty(), None::<&str>)?;
    }
    let ours = root.join(FOLDER);
    let made = |path: &Path| match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        done => done,
    };
    made(&ours)?;
    let folder = folder(interface)?;
    let on = interface::index(interface).and_then(|index| interface::running(index).ok().flatten());
    if on.is_none() {
        remove(&folder)?;
    }
    made(&folder)?;
    Ok(folder)
}

/// Removes the pins and their folder; whether there was one.
fn remove(folder: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    for entry in entries.take(PINS_MAX) {
        fs::remove_file(entry?.path())?;
    }
    fs::remove_dir(folder)?;
    Ok(true)
}

/// Makes the pins `owner`'s, and lets everybody search the folders above: each pin has rights of its own.
fn give(folder: &Path, owner: u32) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.take(PINS_MAX) {
        chown(entry?.path(), Some(owner), None)?;
    }
    chown(folder, Some(owner), None)?;
    for path in [Path::new(FILE_SYSTEM), &Path::new(FILE_SYSTEM).join(FOLDER)] {
        let mut rights = fs::metadata(path)?.permissions();
        rights.set_mode(rights.mode() | 0o111);
        fs::set_permissions(path, rights)?;
    }
    Ok(())
}
