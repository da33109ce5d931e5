//! A directory that names cannot leave: opening, creating, renaming, removing beneath it.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::error::FileError;
use super::handle::File;
use super::listing::Listing;
use super::stat::{Kind, Space, Stat, Timestamp};
use super::{name, sys};
use crate::limits::NAME_BYTES_MAX;

const BENEATH: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
/// What turns out to be a FIFO or a terminal neither waits nor becomes ours.
const UNBLOCKED: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

/// What to do with symlinks on the way and at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Refuse them with `ELOOP`: the rule for everything that changes files.
    Never,
    /// Follow those that stay inside the root, refuse others with `EXDEV`: the rule for reading.
    Inside,
}

impl Follow {
    fn resolve(self) -> u64 {
        match self {
            Follow::Never => BENEATH | libc::RESOLVE_NO_SYMLINKS,
            Follow::Inside => BENEATH,
        }
    }
}

/// Whether a rename may take the place of an existing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// It may, at once for all onlookers.
    Yes,
    /// It fails with `EEXIST`.
    No,
}

/// An open directory and all beneath it. Names are relative to it; the empty name is the directory itself where a
/// directory is asked for. Names of more than [`NAME_BYTES_MAX`] bytes are walked in parts; in a part after the
/// first, a symlink must stay inside that part's own directory.
#[derive(Clone, Debug)]
pub struct Root {
    dir: Arc<OwnedFd>,
    /// Where it lies beneath the outermost root, for errors.
    prefix: Box<[u8]>,
}

/// Where a last component is to be looked up: a directory, and its name there.
struct Place {
    dir: Option<OwnedFd>,
    last: CString,
}

impl Root {
    /// Opens a directory of the user's own choice, symlinks followed. Fails with `ENOSYS` on kernels without
    /// openat2 (before Linux 5.6), where nothing could be confined.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let bytes = path.as_ref().as_os_str().as_bytes();
        let fail = |op| move |error: io::Error| FileError::new(op, bytes, &error);
        let path =
            CString::new(bytes).map_err(|_| fail("open")(io::Error::from_raw_os_error(libc::EINVAL)))?;
        let dir = sys::open(&path, libc::O_PATH | libc::O_DIRECTORY).map_err(fail("open"))?;
        sys::openat2(dir.as_fd(), name::HERE, libc::O_PATH, 0, BENEATH)
            .map_err(fail("confine names with openat2 to"))?;
        Ok(Root { dir: Arc::new(dir), prefix: Box::default() })
    }

    /// The directory `name` as a root of its own.
    pub fn enter(&self, name: &[u8], follow: Follow) -> Result<Self, FileError> {
        let dir = self.open_at("open", name, libc::O_PATH | libc::O_DIRECTORY, 0, follow)?;
        Ok(Root { dir: Arc::new(dir), prefix: self.full(name) })
    }

    fn full(&self, name: &[u8]) -> Box<[u8]> {
        match (self.prefix.is_empty(), name.is_empty()) {
            (true, _) => name.into(),
            (false, true) => self.prefix.clone(),
            (false, false) => [&self.prefix, &b"/"[..], name].concat().into(),
        }
    }

    fn fail(&self, op: &'static str, name: &[u8]) -> impl Fn(io::Error) -> FileError {
        let full = self.full(name);
        move |error| FileError::new(op, &full, &error)
    }

    /// Walks the part of `name` that is too long for one call; returns where, and what is left.
    fn walk<'n>(&self, name: &'n [u8], follow: Follow) -> io::Result<(Option<OwnedFd>, &'n [u8])> {
        let (mut dir, mut rest) = (None::<OwnedFd>, name);
        while let Some((part, behind)) = name::split_long(rest)? {
            let from = dir.as_ref().unwrap_or(&self.dir).as_fd();
            let part = name::c_string(part)?;
            dir = Some(sys::openat2(from, &part, libc::O_PATH | libc::O_DIRECTORY, 0, follow.resolve())?);
            rest = behind;
        }
        Ok((dir, rest))
    }

    fn open_at(
        &self,
        op: &'static str,
        name: &[u8],
        flags: i32,
        mode: u32,
        follow: Follow,
    ) -> Result<OwnedFd, FileError> {
        let open = || {
            let may_be_root = flags & (libc::O_DIRECTORY | libc::O_PATH) != 0;
            if !(may_be_root && name.is_empty()) {
                name::check(name)?;
            }
            let (dir, rest) = self.walk(name, follow)?;
            let from = dir.as_ref().unwrap_or(&self.dir).as_fd();
            sys::openat2(from, &name::c_string(rest)?, flags, mode, follow.resolve())
        };
        open().map_err(self.fail(op, name))
    }

    /// Finds the directory of a name's last component, no symlink followed.
    fn place(&self, name: &[u8]) -> io::Result<Place> {
        name::check(name)?;
        let (parent, last) = name::split_last(name);
        let last = name::c_string(last)?;
        if parent.is_empty() {
            return Ok(Place { dir: None, last });
        }
        let (dir, rest) = self.walk(parent, Follow::Never)?;
        let from = dir.as_ref().unwrap_or(&self.dir).as_fd();
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let dir = sys::openat2(from, &name::c_string(rest)?, flags, 0, Follow::Never.resolve())?;
        Ok(Place { dir: Some(dir), last })
    }

    fn dir_of<'a>(&'a self, place: &'a Place) -> BorrowedFd<'a> {
        place.dir.as_ref().unwrap_or(&self.dir).as_fd()
    }

    /// Runs `act` on the directory and the last component of `name`.
    fn at<T>(
        &self,
        op: &'static str,
        name: &[u8],
        act: impl FnOnce(BorrowedFd<'_>, &std::ffi::CStr) -> io::Result<T>,
    ) -> Result<T, FileError> {
        let run = || {
            let place = self.place(name)?;
            act(self.dir_of(&place), &place.last)
        };
        run().map_err(self.fail(op, name))
    }

    /// Opens a regular file for reading, symlinks inside the root followed. A directory fails with `EISDIR`, a
    /// FIFO, socket or device with `ENXIO`; none of them blocks.
    pub fn open_read(&self, name: &[u8]) -> Result<File, FileError> {
        if name.is_empty() {
            return Err(self.fail("open", name)(io::Error::from_raw_os_error(libc::EISDIR)));
        }
        let fd = self.open_at("open", name, libc::O_RDONLY | UNBLOCKED, 0, Follow::Inside)?;
        self.regular(fd, name)
    }

    /// Opens an existing regular file for reading and writing, no symlink followed.
    pub fn open_write(&self, name: &[u8]) -> Result<File, FileError> {
        let flags = libc::O_RDWR | libc::O_NOFOLLOW | UNBLOCKED;
        let fd = self.open_at("open for writing", name, flags, 0, Follow::Never)?;
        self.regular(fd, name)
    }

    fn regular(&self, fd: OwnedFd, name: &[u8]) -> Result<File, FileError> {
        let file = File::new(fd, self.full(name));
        let errno = match file.stat()?.kind {
            Kind::File => return Ok(file),
            Kind::Dir => libc::EISDIR,
            Kind::Symlink | Kind::Other => libc::ENXIO,
        };
        Err(self.fail("open", name)(io::Error::from_raw_os_error(errno)))
    }

    /// Creates a regular file that did not exist (`EEXIST` otherwise) for reading and writing. `mode` is cut by the
    /// umask; partial files take 0o600.
    pub fn create(&self, name: &[u8], mode: u32) -> Result<File, FileError> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        let fd = self.open_at("create", name, flags, mode, Follow::Never)?;
        Ok(File::new(fd, self.full(name)))
    }

    /// Opens a directory, to sync it or to reach its attributes.
    pub fn open_dir(&self, name: &[u8], follow: Follow) -> Result<File, FileError> {
        let fd = self.open_at("open", name, libc::O_RDONLY | libc::O_DIRECTORY, 0, follow)?;
        Ok(File::new(fd, self.full(name)))
    }

    /// The entries of a directory, in no order.
    pub fn list(&self, name: &[u8], follow: Follow) -> Result<Listing, FileError> {
        self.open_dir(name, follow).map(Listing::new)
    }

    /// State of what `name` stands for, a symlink itself included; no symlink on the way.
    pub fn stat(&self, name: &[u8]) -> Result<Stat, FileError> {
        if name.is_empty() {
            return sys::fstatat(self.dir.as_fd(), c"").map_err(self.fail("stat", name));
        }
        self.at("stat", name, sys::fstatat)
    }

    /// State of what `name` leads to, symlinks inside the root followed.
    pub fn stat_followed(&self, name: &[u8]) -> Result<Stat, FileError> {
        let fd = self.open_at("stat", name, libc::O_PATH, 0, Follow::Inside)?;
        sys::fstatat(fd.as_fd(), c"").map_err(self.fail("stat", name))
    }

    /// Creates a directory; `mode` is cut by the umask.
    pub fn make_dir(&self, name: &[u8], mode: u32) -> Result<(), FileError> {
        self.at("make directory", name, |dir, last| sys::mkdirat(dir, last, mode))
    }

    /// Renames `from` to `to` beneath `target`, which may be this root or another on the same file system.
    pub fn rename(&self, from: &[u8], target: &Root, to: &[u8], replace: Replace) -> Result<(), FileError> {
        let source = self.place(from).map_err(self.fail("rename", from))?;
        let flags = if replace == Replace::Yes { 0 } else { libc::RENAME_NOREPLACE };
        target.at("rename to", to, |dir, last| {
            sys::renameat2(self.dir_of(&source), &source.last, dir, last, flags)
        })
    }

    /// Gives the file `from` a second name `to` beneath `target`; a symlink is linked itself.
    pub fn hard_link(&self, from: &[u8], target: &Root, to: &[u8]) -> Result<(), FileError> {
        let source = self.place(from).map_err(self.fail("link", from))?;
        target.at("link to", to, |dir, last| sys::linkat(self.dir_of(&source), &source.last, dir, last))
    }

    /// Removes a name that is not a directory.
    pub fn remove_file(&self, name: &[u8]) -> Result<(), FileError> {
        self.at("remove", name, |dir, last| sys::unlinkat(dir, last, 0))
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, name: &[u8]) -> Result<(), FileError> {
        self.at("remove directory", name, |dir, last| sys::unlinkat(dir, last, libc::AT_REMOVEDIR))
    }

    /// Creates a symlink with any target text, which is not looked at.
    pub fn make_symlink(&self, name: &[u8], target: &[u8]) -> Result<(), FileError> {
        self.at("make symlink", name, |dir, last| {
            let target = CString::new(target).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
            sys::symlinkat(&target, dir, last)
        })
    }

    /// Target text of a symlink.
    pub fn read_symlink(&self, name: &[u8]) -> Result<Vec<u8>, FileError> {
        self.at("read symlink", name, |dir, last| {
            let mut target = vec![0; NAME_BYTES_MAX + 1];
            let len = sys::readlinkat(dir, last, &mut target)?;
            target.truncate(len);
            Ok(target)
        })
    }

    /// Sets the modification time, of a symlink itself too. The access time stays.
    pub fn set_mtime(&self, name: &[u8], mtime: Timestamp) -> Result<(), FileError> {
        self.at_or_self("set time of", name, |dir, last| sys::utimensat(dir, last, mtime))
    }

    /// Sets the 12 mode bits; a symlink has none and fails with `EOPNOTSUPP`.
    pub fn set_mode(&self, name: &[u8], mode: u32) -> Result<(), FileError> {
        self.at_or_self("set mode of", name, |dir, last| sys::fchmodat(dir, last, mode))
    }

    /// Sets owner and group, of a symlink itself too; needs the right to.
    pub fn set_owner(&self, name: &[u8], uid: u32, gid: u32) -> Result<(), FileError> {
        self.at_or_self("set owner of", name, |dir, last| sys::fchownat(dir, last, uid, gid))
    }

    fn at_or_self(
        &self,
        op: &'static str,
        name: &[u8],
        act: impl FnOnce(BorrowedFd<'_>, &std::ffi::CStr) -> io::Result<()>,
    ) -> Result<(), FileError> {
        if name.is_empty() {
            return act(self.dir.as_fd(), name::HERE).map_err(self.fail(op, name));
        }
        self.at(op, name, act)
    }

    /// Room on the file system of this directory.
    pub fn space(&self) -> Result<Space, FileError> {
        sys::fstatvfs(self.dir.as_fd()).map_err(self.fail("read free space of", b""))
    }

    /// Where this root lies beneath the one it was entered from.
    pub fn prefix(&self) -> &OsStr {
        OsStr::from_bytes(&self.prefix)
    }
}
