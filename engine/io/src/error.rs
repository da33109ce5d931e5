//! What failed, on what, and why: errors of sockets, threads and memory. Files have [`crate::file::FileError`].

use std::io;

/// A system call on something that is not a file failed.
#[derive(Debug, thiserror::Error)]
#[error("{op} {object}: {}", text(.errno))]
pub struct IoError {
    /// What was attempted, as a verb: `bind`, `receive from`.
    pub op: &'static str,
    /// What it was attempted on: an address, an interface, a thread.
    pub object: String,
    /// Error number of the system.
    pub errno: i32,
}

impl IoError {
    /// Takes the error number from `cause`; errors without one become `EIO`.
    pub fn new(op: &'static str, object: impl ToString, cause: &io::Error) -> Self {
        IoError { op, object: object.to_string(), errno: cause.raw_os_error().unwrap_or(libc::EIO) }
    }
}

/// The system's text for an error number, without the number.
pub(crate) fn text(errno: &i32) -> String {
    let full = io::Error::from_raw_os_error(*errno).to_string();
    match full.rfind(" (os error") {
        Some(end) => full[..end].to_owned(),
        None => full,
    }
}

/// Turns the -1 convention of system calls into a result.
pub(crate) fn check(returned: libc::c_int) -> io::Result<libc::c_int> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

/// As [`check`], for calls that return a size.
pub(crate) fn check_size(returned: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}

/// Repeats a call that a signal interrupted.
pub(crate) fn restart<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_verb_object_cause() {
        let cause = io::Error::from_raw_os_error(libc::EADDRINUSE);
        let error = IoError::new("bind", "10.0.0.1:7700", &cause);
        assert_eq!(error.to_string(), "bind 10.0.0.1:7700: Address already in use");
    }

    #[test]
    fn a_cause_without_number_is_an_input_output_error() {
        assert_eq!(IoError::new("x", "y", &io::Error::other("z")).errno, libc::EIO);
    }
}
