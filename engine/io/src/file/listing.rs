//! Entries of a directory, fetched in parts (`linux_dirent64` of getdents(2)); names are raw bytes.

use std::os::fd::AsFd;

use super::error::FileError;
use super::handle::File;
use super::stat::Kind;
use super::sys;
use crate::limits::DIRENT_BYTES;

/// Fixed part of an entry: inode 8, offset 8, length 2, kind 1.
const INODE_AT: usize = 0;
const LEN_AT: usize = 16;
const KIND_AT: usize = 18;
const NAME_AT: usize = 19;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, one component.
    pub name: Vec<u8>,
    /// What it is, where the file system says so in its directories; a stat says it otherwise.
    pub kind: Option<Kind>,
    /// Number of the file on its device.
    pub ino: u64,
}

/// Iterates over a directory, `.` and `..` left out, in the file system's order. Ends after an error.
pub struct Listing {
    dir: File,
    buffer: Box<[u8]>,
    /// Bytes of the buffer that are filled, and how many of those are consumed.
    filled: usize,
    used: usize,
    ended: bool,
}

impl Listing {
    pub(super) fn new(dir: File) -> Self {
        Listing { dir, buffer: vec![0; DIRENT_BYTES].into_boxed_slice(), filled: 0, used: 0, ended: false }
    }

    fn fetch(&mut self) -> Result<(), FileError> {
        let filled = sys::getdents(self.dir.as_fd(), &mut self.buffer).map_err(self.dir.fail("list"));
        self.ended = !matches!(filled, Ok(1..));
        self.filled = filled?;
        self.used = 0;
        Ok(())
    }
}

impl Iterator for Listing {
    type Item = Result<Entry, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some((entry, len)) = parse(&self.buffer[self.used..self.filled]) {
                self.used += len;
                if entry.name != b"." && entry.name != b".." {
                    return Some(Ok(entry));
                }
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.fetch() {
                return Some(Err(error));
            }
        }
    }
}

/// The first entry and its length; `None` when nothing whole is left.
fn parse(bytes: &[u8]) -> Option<(Entry, usize)> {
    let len = usize::from(u16::from_ne_bytes(bytes.get(LEN_AT..KIND_AT)?.try_into().ok()?));
    let ino = u64::from_ne_bytes(bytes.get(INODE_AT..INODE_AT + 8)?.try_into().ok()?);
    let name = bytes.get(NAME_AT..len)?.split(|byte| *byte == 0).next()?;
    let kind = match bytes[KIND_AT] {
        libc::DT_REG => Some(Kind::File),
        libc::DT_DIR => Some(Kind::Dir),
        libc::DT_LNK => Some(Kind::Symlink),
        libc::DT_UNKNOWN => None,
        _ => Some(Kind::Other),
    };
    Some((Entry { name: name.to_vec(), kind, ino }, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_entries_are_none() {
        let mut bytes = vec![0; 24];
        bytes[LEN_AT] = 24;
        bytes[KIND_AT] = libc::DT_REG;
        bytes[NAME_AT] = b'a';
        assert_eq!(parse(&bytes), Some((Entry { name: b"a".to_vec(), kind: Some(Kind::File), ino: 0 }, 24)));
        for cut in 0..24 {
            assert_eq!(parse(&bytes[..cut]), None, "{cut}");
        }
        bytes[LEN_AT] = 3;
        assert_eq!(parse(&bytes), None);
    }
}
