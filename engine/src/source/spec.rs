//! What a file source is told: which files, under which names, in which form. Values only.

use super::filter::Filter;
use crate::codec::Compression;
use crate::digest::Digest;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use xfer_io::file::{Root, Stat, Timestamp};

/// Where a named source is.
pub enum Location {
    /// Absolute path of this machine. Symlinks on the way to it are followed.
    Path(PathBuf),
    /// Path beneath a served root: components joined by `/`, none of them `..`; empty is the root itself. Symlinks on the way are
    /// followed as long as they stay inside.
    Beneath(Arc<Root>, Vec<u8>),
    /// Bytes until their end, for an object whose length is not known. It is the last item.
    Stream(Mutex<Box<dyn Read + Send>>),
}

/// One source that the user named.
pub struct SourceItem {
    /// Where it is.
    pub location: Location,
    /// First components of its names in the manifest; `.` for a directory whose contents alone are meant.
    pub name: Vec<u8>,
    /// How the user wrote it, for errors.
    pub shown: Vec<u8>,
}

/// What is kept of files besides content, mode and modification time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preserve {
    /// Owner and group.
    pub owner: bool,
    /// Extended attributes in the name space `user`.
    pub xattr: bool,
    /// POSIX access control lists.
    pub acl: bool,
    /// Which names are the same file.
    pub links: bool,
}

/// All that a file source is told.
pub struct SourceSpec {
    /// What the user named, in order.
    pub items: Vec<SourceItem>,
    /// Whether directories are walked and named symlinks copied as symlinks.
    pub recursive: bool,
    /// Which members of directories are taken.
    pub filter: Filter,
    /// What is kept besides content, mode and time.
    pub preserve: Preserve,
    /// How chunks are compressed.
    pub compression: Compression,
    /// Whether chunks carry digests.
    pub digests: bool,
    /// Files up to this many bytes travel in the manifest; 0: none, 1,024 at most.
    pub inline_max: usize,
    /// Whether files are listed with the BLAKE3 root of their content, for a receiver that compares by it: each is read while it is listed, unless it is known from before.
    pub list_digests: bool,
    /// Whether skipped and resumed files too end with their BLAKE3 root, for which they are read; all others end with it anyway.
    pub want_digests: bool,
    /// Where digests of files that are not sent may be known from before.
    pub cache: Option<Arc<dyn DigestCache>>,
}

/// What tells that a file is still the one that was listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of stat(2)")]
pub struct Identity {
    pub size: u64,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub ino: u64,
    pub dev: u64,
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Identity { size: stat.size, mtime: stat.mtime, ctime: stat.ctime, ino: stat.ino, dev: stat.dev }
    }
}

/// Remembers digests of files from one run to the next. Called from I/O threads; a miss costs reading the file, nothing else.
pub trait DigestCache: Send + Sync {
    /// The BLAKE3 root of the file at `path`, if it was put when the file was the same.
    fn get(&self, path: &[u8], identity: &Identity) -> Option<Digest>;
    /// Remembers a root that was just computed.
    fn put(&self, path: &[u8], identity: &Identity, digest: &Digest);
}
