//! Errors of file operations: what was attempted, on which name, where in it, and the system's reason.

use std::fmt;
use std::io;

/// A file operation failed. Reads as `read "a/b" at 4194304: Input/output error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// What was attempted, as a verb.
    pub op: &'static str,
    /// Name relative to the root, raw bytes; empty for the root itself.
    pub name: Box<[u8]>,
    /// Where in the file, for reads and writes.
    pub offset: Option<u64>,
    /// Error number of the system. `EXDEV` and `ELOOP` are what leads out of the root or over a symlink.
    pub errno: i32,
}

impl FileError {
    pub(super) fn new(op: &'static str, name: &[u8], cause: &io::Error) -> Self {
        FileError { op, name: name.into(), offset: None, errno: cause.raw_os_error().unwrap_or(libc::EIO) }
    }

    pub(super) fn at(self, offset: u64) -> Self {
        FileError { offset: Some(offset), ..self }
    }

    /// The cause as the standard library knows it.
    pub fn kind(&self) -> io::ErrorKind {
        io::Error::from_raw_os_error(self.errno).kind()
    }

    /// The name leads out of the root, or a write would go through a symlink.
    pub fn leaves_root(&self) -> bool {
        matches!(self.errno, libc::EXDEV | libc::ELOOP)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.name) {
            Ok(name) => write!(f, "{} {name:?}", self.op)?,
            Err(_) => write!(f, "{} \"{}\"", self.op, self.name.escape_ascii())?,
        }
        if let Some(offset) = self.offset {
            write!(f, " at {offset}")?;
        }
        write!(f, ": {}", crate::error::text(&self.errno))
    }
}

impl std::error::Error for FileError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_verb_name_place_cause() {
        let cause = io::Error::from_raw_os_error(libc::EIO);
        let error = FileError::new("read", b"a/b", &cause).at(4_194_304);
        assert_eq!(error.to_string(), "read \"a/b\" at 4194304: Input/output error");
        let error = FileError::new("open", b"a\n\xff", &io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(error.to_string(), "open \"a\\n\\xff\": No such file or directory");
    }
}
