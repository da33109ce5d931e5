//! Errors of the destination's file system, as a transfer tells them.

use crate::error::{Class, Error, Side, errno_text};
use xfer_io::file::FileError;

/// What a file operation's failure is to the object that the user calls `name`.
pub(super) fn fault(name: &[u8], error: &FileError) -> Error {
    let class = match error.errno {
        libc::ELOOP | libc::EXDEV => Class::Refused,
        libc::ENOMEM => Class::Fatal,
        errno => Class::of_errno(errno),
    };
    Error {
        offset: error.offset,
        errno: Some(error.errno),
        ..Error::new(class, error.op).on(Side::Destination).object(name).because(errno_text(error.errno))
    }
}

/// Whether the whole destination is affected, so that no other object could do better.
pub(super) fn ends_transfer(errno: i32) -> bool {
    matches!(
        errno,
        libc::ENOSPC
            | libc::EDQUOT
            | libc::EIO
            | libc::EROFS
            | libc::EMFILE
            | libc::ENFILE
            | libc::ENOMEM
            | libc::ESTALE
            | libc::ENODEV
    )
}

/// An error that is the object's own or the whole transfer's.
#[derive(Debug)]
pub(super) enum Fault {
    /// The object fails, others go on.
    Object(Error),
    /// Nothing can be written any more.
    Transfer(Error),
}

impl Fault {
    /// Sorts a file operation's failure.
    pub(super) fn of(name: &[u8], error: &FileError) -> Self {
        let told = fault(name, error);
        if ends_transfer(error.errno) { Fault::Transfer(told) } else { Fault::Object(told) }
    }
}

/// An error of the destination that no system call reported.
pub(super) fn refusal(class: Class, name: &[u8], message: impl Into<String>) -> Error {
    Error::new(class, message).on(Side::Destination).object(name)
}

/// Something was to be done after the transfer ended early.
pub(super) fn has_ended() -> Error {
    Error::new(Class::Interrupted, "the transfer has ended").on(Side::Destination)
}

/// The other end lists something that the plan or decision does not fit: a bug, told rather than written anywhere.
pub(super) fn inconsistent(what: &str) -> Error {
    Error::new(Class::Other, format!("inconsistent plan: {what}")).on(Side::Destination)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_operation_object_offset_cause() {
        let error = FileError {
            op: "write",
            name: b"x".as_slice().into(),
            offset: Some(4_194_304),
            errno: libc::ENOSPC,
        };
        let told = fault(b"a/b", &error);
        assert_eq!(told.to_string(), "dst: write a/b at byte 4194304: No space left on device");
        assert_eq!(told.class, Class::Fatal);
        assert!(matches!(Fault::of(b"a/b", &error), Fault::Transfer(_)));
    }

    #[test]
    fn a_symlink_in_the_way_is_refused_and_no_permission_is_the_objects_own() {
        let error = |errno| FileError { op: "open", name: [].into(), offset: None, errno };
        assert_eq!(fault(b"a", &error(libc::ELOOP)).class, Class::Refused);
        assert!(
            matches!(Fault::of(b"a", &error(libc::EACCES)), Fault::Object(e) if e.class == Class::Denied)
        );
    }
}
