//! What goes wrong with a source, as errors that name the object as the user knows it.

use crate::error::{Class, Error, Side, errno_text};
use xfer_io::file::FileError;

/// An operation on a member of a source failed.
pub(super) fn failed(error: &FileError, shown: &[u8]) -> Error {
    let base = system(error.op, error.errno, shown);
    match error.offset {
        Some(offset) => base.at(offset),
        None => base,
    }
}

/// A named source could not be reached; one that is not there has its own class.
pub(super) fn named(error: &FileError, shown: &[u8]) -> Error {
    let failed = failed(error, shown);
    match error.errno {
        libc::ENOENT | libc::ENOTDIR => Error { class: Class::NoSource, ..failed },
        libc::EXDEV | libc::ELOOP => Error { class: Class::Refused, ..failed },
        _ => failed,
    }
}

/// A system call failed.
pub(super) fn system(op: &str, errno: i32, shown: &[u8]) -> Error {
    let error =
        Error::new(Class::of_errno(errno), op).on(Side::Source).object(shown).because(errno_text(errno));
    Error { errno: Some(errno), ..error }
}

/// The object is not what was listed any more.
pub(super) fn changed(shown: &[u8]) -> Error {
    Error::new(Class::Digest, "source changed while sending").on(Side::Source).object(shown)
}

/// A directory was named, but directories are not to be walked.
pub(super) fn directory(shown: &[u8]) -> Error {
    Error::new(Class::Usage, "not recursive, but a directory is named:").on(Side::Source).object(shown)
}
