//! Where listed files are, so that they can be opened long after they were listed without keeping a descriptor for each.

use super::failure;
use super::spec::Location;
use crate::error::Error;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xfer_io::file::{FileError, Follow, Kind, Root};

/// A directory that the user's naming leads to: where a walk starts, or what a named file lies in.
pub(super) enum Anchor {
    Path(PathBuf),
    Beneath(Arc<Root>, Box<[u8]>),
}

impl Anchor {
    fn open(&self) -> Result<Root, FileError> {
        match self {
            Anchor::Path(path) => Root::open(path),
            Anchor::Beneath(root, name) => root.enter(name, Follow::Inside),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Anchor::Path(path) => path.as_os_str().as_bytes(),
            Anchor::Beneath(_, name) => name,
        }
    }
}

/// A directory with listed files.
pub(super) struct Dir {
    /// Different for each directory of a source.
    pub(super) id: u64,
    anchor: Arc<Anchor>,
    below: Box<[u8]>,
    /// As the user knows it.
    pub(super) shown: Box<[u8]>,
}

impl Dir {
    pub(super) fn new(id: u64, anchor: Anchor, shown: &[u8]) -> Self {
        Dir { id, anchor: Arc::new(anchor), below: Box::default(), shown: shown.into() }
    }

    /// The directory `name` in this one.
    pub(super) fn child(&self, id: u64, name: &[u8]) -> Self {
        Dir {
            id,
            anchor: Arc::clone(&self.anchor),
            below: join(&self.below, name).into(),
            shown: join(&self.shown, name).into(),
        }
    }

    /// Opens it; below its anchor no symlink is followed.
    pub(super) fn open(&self) -> Result<Root, FileError> {
        let root = self.anchor.open()?;
        if self.below.is_empty() { Ok(root) } else { root.enter(&self.below, Follow::Never) }
    }

    /// Path of a member relative to the named source.
    pub(super) fn relative(&self, name: &[u8]) -> Vec<u8> {
        join(&self.below, name)
    }

    /// Path of a member: absolute, or from the served root on.
    pub(super) fn path(&self, name: &[u8]) -> Vec<u8> {
        join(&join(self.anchor.bytes(), &self.below), name)
    }
}

/// `a/b`, or the one that is not empty.
pub(super) fn join(a: &[u8], b: &[u8]) -> Vec<u8> {
    match (a, b) {
        (b"", only) | (only, b"") => only.to_vec(),
        _ if a.ends_with(b"/") => [a, b].concat(),
        _ => [a, b"/", b].concat(),
    }
}

/// What a named source turned out to be.
pub(super) enum Found {
    /// A directory to walk.
    Directory(Anchor),
    /// Something in a directory; `followed` when its name leads there over symlinks.
    Leaf { anchor: Anchor, name: Vec<u8>, followed: bool },
    /// Neither: bytes that come as they come.
    Stream,
}

/// Finds out what a named source is. `follow` says whether a symlink stands for what it leads to.
pub(super) fn find(location: &Location, follow: bool, shown: &[u8]) -> Result<Found, Error> {
    match location {
        Location::Path(path) => find_path(path, follow).map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            failure::named(&FileError { op: "stat", name: Box::default(), offset: None, errno }, shown)
        }),
        Location::Beneath(root, name) => {
            find_beneath(root, name, follow).map_err(|error| failure::named(&error, shown))
        }
        Location::Stream(_) => Ok(Found::Stream),
    }
}

fn find_path(path: &Path, follow: bool) -> std::io::Result<Found> {
    // The system itself follows a name that ends in a slash.
    let meta = if follow { path.metadata()? } else { path.symlink_metadata()? };
    if meta.is_dir() {
        return Ok(Found::Directory(Anchor::Path(path.to_owned())));
    }
    let path = if follow { path.canonicalize()? } else { path.to_owned() };
    let parent = path.parent().unwrap_or_else(|| Path::new("/"));
    let name = path.file_name().unwrap_or(OsStr::new("")).as_bytes().to_vec();
    Ok(Found::Leaf { anchor: Anchor::Path(parent.to_owned()), name, followed: false })
}

fn find_beneath(root: &Arc<Root>, name: &[u8], follow: bool) -> Result<Found, FileError> {
    let trimmed = name.strip_suffix(b"/").unwrap_or(name);
    let directory = || Ok(Found::Directory(Anchor::Beneath(Arc::clone(root), trimmed.into())));
    if trimmed.is_empty() {
        return directory();
    }
    if follow || trimmed.len() < name.len() {
        if root.stat_followed(trimmed)?.kind == Kind::Dir {
            return directory();
        }
        let anchor = Anchor::Beneath(Arc::clone(root), Box::default());
        return Ok(Found::Leaf { anchor, name: trimmed.to_vec(), followed: true });
    }
    let slash = trimmed.iter().rposition(|b| *b == b'/');
    let (parent, last) = slash.map_or((&b""[..], trimmed), |i| (&trimmed[..i], &trimmed[i + 1..]));
    if root.enter(parent, Follow::Inside)?.stat(last)?.kind == Kind::Dir {
        return directory();
    }
    let anchor = Anchor::Beneath(Arc::clone(root), parent.into());
    Ok(Found::Leaf { anchor, name: last.to_vec(), followed: false })
}
