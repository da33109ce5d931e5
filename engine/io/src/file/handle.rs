//! An open file or directory: reading and writing at offsets, room, durability, locks, attributes.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::error::FileError;
use super::extents::Extents;
use super::stat::{Stat, Timestamp};
use super::sys;
use crate::limits::XATTR_BYTES_MAX;

/// An open file; knows its name for errors. Closed on drop. May be used by several threads at once.
#[derive(Debug)]
pub struct File {
    fd: OwnedFd,
    name: Box<[u8]>,
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<File> for std::fs::File {
    fn from(file: File) -> Self {
        std::fs::File::from(file.fd)
    }
}

/// An offset as the system takes it.
fn signed(offset: u64) -> io::Result<i64> {
    i64::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))
}

impl File {
    pub(super) fn new(fd: OwnedFd, name: Box<[u8]>) -> Self {
        File { fd, name }
    }

    /// Name relative to the outermost root.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    pub(super) fn fail(&self, op: &'static str) -> impl Fn(io::Error) -> FileError {
        move |error| FileError::new(op, &self.name, &error)
    }

    fn fail_at(&self, op: &'static str, offset: u64) -> impl Fn(io::Error) -> FileError {
        move |error| FileError::new(op, &self.name, &error).at(offset)
    }

    /// Fills `buffer` from `offset`; fewer bytes than that only at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FileError> {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let read = signed(at).and_then(|at| sys::pread(self.as_fd(), &mut buffer[done..], at));
            match read.map_err(self.fail_at("read", at))? {
                0 => break,
                count => done += count,
            }
        }
        Ok(done)
    }

    /// Writes all of `buffer` at `offset`.
    pub fn write_at(&self, buffer: &[u8], offset: u64) -> Result<(), FileError> {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let written = signed(at).and_then(|at| sys::pwrite(self.as_fd(), &buffer[done..], at));
            match written.map_err(self.fail_at("write", at))? {
                0 => return Err(self.fail_at("write", at)(io::Error::from_raw_os_error(libc::EIO))),
                count => done += count,
            }
        }
        Ok(())
    }

    /// Takes room for a range without changing content or size. False where the file system cannot.
    pub fn allocate(&self, offset: u64, len: u64) -> Result<bool, FileError> {
        self.fallocate("allocate", libc::FALLOC_FL_KEEP_SIZE, offset, len)
    }

    /// Makes a range a hole that reads as zeroes. False where the file system cannot.
    pub fn punch_hole(&self, offset: u64, len: u64) -> Result<bool, FileError> {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        self.fallocate("punch hole in", mode, offset, len)
    }

    fn fallocate(&self, op: &'static str, mode: i32, offset: u64, len: u64) -> Result<bool, FileError> {
        if len == 0 {
            return Ok(true);
        }
        let call = || sys::fallocate(self.as_fd(), mode, signed(offset)?, signed(len)?);
        match call() {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
            Err(error) => Err(self.fail_at(op, offset)(error)),
        }
    }

    /// Sets the size; what is added is a hole.
    pub fn truncate(&self, len: u64) -> Result<(), FileError> {
        signed(len).and_then(|len| sys::ftruncate(self.as_fd(), len)).map_err(self.fail("set size of"))
    }

    /// The ranges of the file that hold data, from `start`, in order; the rest are holes.
    pub fn extents(&self, start: u64) -> Extents<'_> {
        Extents::new(self, start)
    }

    pub(super) fn seek(&self, offset: u64, whence: i32) -> Result<Option<u64>, FileError> {
        match signed(offset).and_then(|offset| sys::seek(self.as_fd(), offset, whence)) {
            Ok(found) => Ok(Some(found as u64)),
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            Err(error) => Err(self.fail_at("find data in", offset)(error)),
        }
    }

    /// Content and what is needed to find it are durable when this returns.
    pub fn sync_data(&self) -> Result<(), FileError> {
        sys::fdatasync(self.as_fd()).map_err(self.fail("sync"))
    }

    /// Content and state are durable when this returns; for a directory, its names.
    pub fn sync_all(&self) -> Result<(), FileError> {
        sys::fsync(self.as_fd()).map_err(self.fail("sync"))
    }

    /// Everything on the file system of this file is durable when this returns.
    pub fn sync_filesystem(&self) -> Result<(), FileError> {
        sys::syncfs(self.as_fd()).map_err(self.fail("sync file system of"))
    }

    /// Starts writing a range back; promises nothing (`sync_file_range`).
    pub fn start_writeback(&self, offset: u64, len: u64) -> Result<(), FileError> {
        let call = || sys::sync_file_range(self.as_fd(), signed(offset)?, signed(len)?);
        call().map_err(self.fail_at("write back", offset))
    }

    /// Tells the kernel that the file will be read from front to back.
    pub fn advise_sequential(&self) -> Result<(), FileError> {
        sys::fadvise(self.as_fd(), 0, 0, libc::POSIX_FADV_SEQUENTIAL).map_err(self.fail("advise on"))
    }

    /// Tells the kernel that a range will not be needed again.
    pub fn advise_done(&self, offset: u64, len: u64) -> Result<(), FileError> {
        let call = || sys::fadvise(self.as_fd(), signed(offset)?, signed(len)?, libc::POSIX_FADV_DONTNEED);
        call().map_err(self.fail_at("advise on", offset))
    }

    /// Takes the lock of this file until it is closed. False when another open file has it, shared or not; a shared
    /// one of this file is lost then.
    pub fn try_lock(&self) -> Result<bool, FileError> {
        sys::flock(self.as_fd(), libc::LOCK_EX).map_err(self.fail("lock"))
    }

    /// Takes the lock of this file together with others that do so, or gives up having it alone. False when another
    /// open file has it alone.
    pub fn try_lock_shared(&self) -> Result<bool, FileError> {
        sys::flock(self.as_fd(), libc::LOCK_SH).map_err(self.fail("lock"))
    }

    /// State of the file.
    pub fn stat(&self) -> Result<Stat, FileError> {
        sys::fstatat(self.as_fd(), c"").map_err(self.fail("stat"))
    }

    /// Sets the 12 mode bits.
    pub fn set_mode(&self, mode: u32) -> Result<(), FileError> {
        sys::fchmod(self.as_fd(), mode).map_err(self.fail("set mode of"))
    }

    /// Sets the modification time; the access time stays.
    pub fn set_mtime(&self, mtime: Timestamp) -> Result<(), FileError> {
        sys::futimens(self.as_fd(), mtime).map_err(self.fail("set time of"))
    }

    /// Sets owner and group; needs the right to.
    pub fn set_owner(&self, uid: u32, gid: u32) -> Result<(), FileError> {
        sys::fchownat(self.as_fd(), c"", uid, gid).map_err(self.fail("set owner of"))
    }

    /// Names of the extended attributes; none where the file system has no such thing.
    pub fn xattr_names(&self) -> Result<Vec<Vec<u8>>, FileError> {
        let mut names = vec![0; XATTR_BYTES_MAX];
        let len = match sys::flistxattr(self.as_fd(), &mut names) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => 0,
            listed => listed.map_err(self.fail("list attributes of"))?,
        };
        let names = names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(<[u8]>::to_vec).collect())
    }

    /// Value of an extended attribute, `None` if it has none of that name.
    pub fn xattr(&self, attribute: &[u8]) -> Result<Option<Vec<u8>>, FileError> {
        let mut value = vec![0; XATTR_BYTES_MAX];
        let call = |value: &mut [u8]| sys::fgetxattr(self.as_fd(), &attribute_name(attribute)?, value);
        match call(&mut value) {
            Ok(len) => {
                value.truncate(len);
                Ok(Some(value))
            }
            Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(None),
            Err(error) => Err(self.fail("read attribute of")(error)),
        }
    }

    /// Sets an extended attribute.
    pub fn set_xattr(&self, attribute: &[u8], value: &[u8]) -> Result<(), FileError> {
        let call = || sys::fsetxattr(self.as_fd(), &attribute_name(attribute)?, value);
        call().map_err(self.fail("set attribute of"))
    }
}

fn attribute_name(attribute: &[u8]) -> io::Result<CString> {
    CString::new(attribute).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
