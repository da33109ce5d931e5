//! What changed the disk, call by call: enough to make it again, or as much of it as a crash would leave.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use super::super::call::Call;
use super::super::stat::{Kind, Timestamp};
use super::super::sys;

/// A call that changed something, or made changes durable. Files and directories are told by their inodes; that of something removed may
/// come back by a later [`Op::Create`] or [`Op::MakeDir`] as something new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A new, empty file got a name.
    Create {
        /// Inode of the directory.
        dir: u64,
        /// The name in it.
        name: Vec<u8>,
        /// Inode of the file.
        ino: u64,
    },
    /// Content was written.
    Write {
        /// Inode of the file.
        ino: u64,
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// The size was set.
    Truncate {
        /// Inode of the file.
        ino: u64,
        /// Its size now.
        len: u64,
    },
    /// A range became a hole.
    Punch {
        /// Inode of the file.
        ino: u64,
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Content, or a directory's names, became durable.
    Sync {
        /// Inode of the file or directory.
        ino: u64,
    },
    /// A sync failed: what it was to make durable may be lost, whatever later syncs say.
    SyncFailed {
        /// Inode of the file or directory.
        ino: u64,
    },
    /// Everything became durable.
    SyncFileSystem,
    /// A new directory got a name.
    MakeDir {
        /// Inode of the directory that it is in.
        dir: u64,
        /// The name in it.
        name: Vec<u8>,
        /// Inode of the new one.
        ino: u64,
    },
    /// A name was taken away and another given, at once.
    Rename {
        /// Directory and name before.
        from: (u64, Vec<u8>),
        /// Directory and name after.
        to: (u64, Vec<u8>),
        /// Inode of what has the name.
        ino: u64,
    },
    /// A file got one more name.
    Link {
        /// Inode of the directory.
        dir: u64,
        /// The name in it.
        name: Vec<u8>,
        /// Inode of the file.
        ino: u64,
    },
    /// A name was taken away.
    Remove {
        /// Inode of the directory.
        dir: u64,
        /// The name in it.
        name: Vec<u8>,
    },
    /// A symlink got a name.
    Symlink {
        /// Inode of the directory.
        dir: u64,
        /// The name in it.
        name: Vec<u8>,
        /// Its inode.
        ino: u64,
        /// Where it leads.
        target: Vec<u8>,
    },
    /// The modification time was set.
    SetTime {
        /// Inode of the file.
        ino: u64,
        /// The time.
        mtime: Timestamp,
    },
}

fn inode(dir: BorrowedFd<'_>, name: &CStr) -> u64 {
    sys::stat_unwatched(dir, name).map_or(0, |stat| stat.ino)
}

fn own(file: BorrowedFd<'_>) -> u64 {
    inode(file, c"")
}

/// Whether a call changes the disk, or makes changes durable.
pub(super) fn matters(call: &Call<'_>) -> bool {
    !matches!(call, Call::Read { .. } | Call::Stat { .. } | Call::List { .. } | Call::SetMode { .. })
}

/// What only the time before the call knows: the inode of what is renamed or linked.
pub(super) fn before(call: &Call<'_>) -> u64 {
    match call {
        Call::Rename { from_dir, from, .. } | Call::Link { from_dir, from, .. } => inode(*from_dir, from),
        _ => 0,
    }
}

/// The record of a call that was made; `None` when it changed nothing. `size`: bytes moved.
pub(super) fn after(call: &Call<'_>, before: u64, size: usize) -> Option<Op> {
    let named = |name: &CStr| name.to_bytes().to_vec();
    Some(match call {
        Call::Open { dir, name, flags } if flags & libc::O_CREAT != 0 => {
            Op::Create { dir: own(*dir), name: named(name), ino: inode(*dir, name) }
        }
        Call::Write { file, offset, bytes } => {
            Op::Write { ino: own(*file), offset: *offset as u64, bytes: bytes[..size].to_vec() }
        }
        Call::Truncate { file, len } => Op::Truncate { ino: own(*file), len: *len as u64 },
        Call::Allocate { file, mode, offset, len } if mode & libc::FALLOC_FL_PUNCH_HOLE != 0 => {
            Op::Punch { ino: own(*file), offset: *offset as u64, len: *len as u64 }
        }
        Call::SyncData { file } | Call::Sync { file } => Op::Sync { ino: own(*file) },
        Call::SyncFileSystem { .. } => Op::SyncFileSystem,
        Call::MakeDir { dir, name } => {
            Op::MakeDir { dir: own(*dir), name: named(name), ino: inode(*dir, name) }
        }
        Call::Rename { from_dir, from, to_dir, to } => {
            Op::Rename { from: (own(*from_dir), named(from)), to: (own(*to_dir), named(to)), ino: before }
        }
        Call::Link { to_dir, to, .. } => Op::Link { dir: own(*to_dir), name: named(to), ino: before },
        Call::Remove { dir, name } => Op::Remove { dir: own(*dir), name: named(name) },
        Call::Symlink { target, dir, name } => {
            Op::Symlink { dir: own(*dir), name: named(name), ino: inode(*dir, name), target: named(target) }
        }
        Call::SetTime { file, mtime } => {
            // Of a directory it does not matter which of its changes came last.
            sys::stat_unwatched(*file, c"").ok().filter(|stat| stat.kind == Kind::File)?;
            Op::SetTime { ino: own(*file), mtime: *mtime }
        }
        _ => return None,
    })
}

/// The record of a call that failed, where that changes what may be on the disk.
pub(super) fn failed(call: &Call<'_>) -> Option<Op> {
    match call {
        Call::SyncData { file } | Call::Sync { file } => Some(Op::SyncFailed { ino: own(*file) }),
        _ => None,
    }
}
