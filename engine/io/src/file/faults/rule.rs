//! Which calls a fault applies to, and what it is.

use std::ffi::{CStr, OsStr};
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::call::Call;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Opens what is there, or looks a directory up.
    Open,
    /// Opens what was not there.
    Create,
    /// Reads content.
    Read,
    /// Writes content.
    Write,
    /// Sets the size.
    Truncate,
    /// Takes room or makes a hole.
    Allocate,
    /// fdatasync.
    SyncData,
    /// fsync, of a directory too.
    Sync,
    /// syncfs.
    SyncFileSystem,
    /// Asks for the state of something.
    Stat,
    /// Reads a directory.
    List,
    /// Makes a directory.
    MakeDir,
    /// Renames; told by its new name.
    Rename,
    /// Makes another name; told by that.
    Link,
    /// Removes a name, of a directory too.
    Remove,
    /// Makes a symlink.
    Symlink,
    /// Sets a file's mode.
    SetMode,
    /// Sets a file's modification time.
    SetTime,
}

/// What happens instead of a call, or before it.
#[derive(Clone)]
pub enum Fault {
    /// It fails with this error number and does nothing. With [`Rule::at`], content up to there is still read or written.
    Errno(i32),
    /// It moves at most so many bytes, of more than one.
    Short(usize),
    /// This runs, then the call is made.
    First(Arc<dyn Fn() + Send + Sync>),
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Errno(errno) => write!(f, "Errno({errno})"),
            Fault::Short(len) => write!(f, "Short({len})"),
            Fault::First(_) => write!(f, "First"),
        }
    }
}

/// Calls of one kind, and what becomes of them.
#[derive(Clone, Debug)]
pub struct Rule {
    verb: Verb,
    fault: Fault,
    ending: Vec<u8>,
    skip: u64,
    times: u64,
    offset: Option<u64>,
}

impl Rule {
    /// All calls of this kind.
    pub fn new(verb: Verb, fault: Fault) -> Rule {
        Rule { verb, fault, ending: Vec::new(), skip: 0, times: u64::MAX, offset: None }
    }

    /// Only on paths that end so.
    pub fn on(mut self, ending: &str) -> Rule {
        self.ending = ending.into();
        self
    }

    /// Not the first `skip` of them.
    pub fn after(mut self, skip: u64) -> Rule {
        self.skip = skip;
        self
    }

    /// So many of them, then none.
    pub fn times(mut self, times: u64) -> Rule {
        self.times = times;
        self
    }

    /// Only reads, writes and the like of the byte at `offset`.
    pub fn at(mut self, offset: u64) -> Rule {
        self.offset = Some(offset);
        self
    }
}

/// A rule that has seen calls.
#[derive(Debug)]
pub(super) struct Armed {
    rule: Rule,
    seen: u64,
}

/// What becomes of a call.
pub(super) enum Strike {
    Fail(i32),
    Short(usize),
    First(Arc<dyn Fn() + Send + Sync>),
}

impl Armed {
    pub(super) fn new(rule: Rule) -> Armed {
        Armed { rule, seen: 0 }
    }

    /// Counts the call if it is one of the rule's, and tells what becomes of it.
    pub(super) fn strike(&mut self, verb: Verb, call: &Call<'_>, path: &Path) -> Option<Strike> {
        let Rule { fault, ending, skip, times, offset, .. } = &self.rule;
        if verb != self.rule.verb || !path.as_os_str().as_bytes().ends_with(ending) {
            return None;
        }
        let range = range(call);
        let before = match (offset, &range) {
            (None, _) => 0,
            (Some(offset), Some((start, len))) if (*start..start + len).contains(offset) => offset - start,
            _ => return None,
        };
        self.seen += 1;
        if self.seen <= *skip || self.seen - skip > *times {
            return None;
        }
        Some(match fault {
            Fault::Errno(_) if before > 0 && matches!(verb, Verb::Read | Verb::Write) => {
                // The next call begins there and fails: this one counts for both.
                self.seen -= 1;
                Strike::Short(before as usize)
            }
            Fault::Errno(errno) => Strike::Fail(*errno),
            Fault::Short(len) => Strike::Short((*len).max(1)),
            Fault::First(act) => Strike::First(Arc::clone(act)),
        })
    }
}

/// First byte and number of bytes of calls on a part of a file.
fn range(call: &Call<'_>) -> Option<(u64, u64)> {
    let (offset, len) = match call {
        Call::Read { offset, len, .. } => (*offset, *len as u64),
        Call::Write { offset, bytes, .. } => (*offset, bytes.len() as u64),
        Call::Allocate { offset, len, .. } => (*offset, *len as u64),
        _ => return None,
    };
    Some((offset as u64, len))
}

pub(super) fn verb(call: &Call<'_>) -> Verb {
    match call {
        Call::Open { flags, .. } if flags & libc::O_CREAT != 0 => Verb::Create,
        Call::Open { .. } => Verb::Open,
        Call::Read { .. } => Verb::Read,
        Call::Write { .. } => Verb::Write,
        Call::Truncate { .. } => Verb::Truncate,
        Call::Allocate { .. } => Verb::Allocate,
        Call::SyncData { .. } => Verb::SyncData,
        Call::Sync { .. } => Verb::Sync,
        Call::SyncFileSystem { .. } => Verb::SyncFileSystem,
        Call::Stat { .. } => Verb::Stat,
        Call::List { .. } => Verb::List,
        Call::MakeDir { .. } => Verb::MakeDir,
        Call::Rename { .. } => Verb::Rename,
        Call::Link { .. } => Verb::Link,
        Call::Remove { .. } => Verb::Remove,
        Call::Symlink { .. } => Verb::Symlink,
        Call::SetMode { .. } => Verb::SetMode,
        Call::SetTime { .. } => Verb::SetTime,
    }
}

/// Where what is called on lies. `None` when the system does not tell.
pub(super) fn path(call: &Call<'_>) -> Option<PathBuf> {
    match call {
        Call::Open { dir, name, .. }
        | Call::Stat { dir, name }
        | Call::MakeDir { dir, name }
        | Call::Remove { dir, name }
        | Call::Symlink { dir, name, .. }
        | Call::Rename { to_dir: dir, to: name, .. }
        | Call::Link { to_dir: dir, to: name, .. } => beneath(*dir, name),
        Call::Read { file, .. }
        | Call::Write { file, .. }
        | Call::Truncate { file, .. }
        | Call::Allocate { file, .. }
        | Call::SyncData { file }
        | Call::Sync { file }
        | Call::SyncFileSystem { file }
        | Call::List { dir: file }
        | Call::SetMode { file, .. }
        | Call::SetTime { file, .. } => opened(*file),
    }
}

fn opened(file: BorrowedFd<'_>) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

fn beneath(dir: BorrowedFd<'_>, name: &CStr) -> Option<PathBuf> {
    let dir = opened(dir)?;
    match name.to_bytes() {
        b"" | b"." => Some(dir),
        name => Some(dir.join(OsStr::from_bytes(name))),
    }
}
