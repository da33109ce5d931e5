//! Status codes, and the boundary that no panic passes.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use xfer_engine::Error;

/// It worked.
pub const XFER_OK: i32 = 0;
/// An argument is wrong: a null pointer, a size, an address, a name, memory that overlaps memory in use.
pub const XFER_ERR_ARGUMENT: i32 = -1;
/// The handle is closed, is none, or is of another kind.
pub const XFER_ERR_HANDLE: i32 = -2;
/// It is in use: a handle with live children is to be closed, or another thread polls the engine.
pub const XFER_ERR_BUSY: i32 = -3;
/// As many operations as the connection takes are outstanding: poll, and try again.
pub const XFER_ERR_FULL: i32 = -4;
/// Nothing may follow: the connection was finished, was cancelled or has ended.
pub const XFER_ERR_ENDED: i32 = -5;
/// This library does not know the field, flag or operation, or was built without it.
pub const XFER_ERR_UNSUPPORTED: i32 = -6;
/// A bug of the library: it panicked. What was asked for may have been done in part; close the handles.
pub const XFER_ERR_PANIC: i32 = -7;
/// The process was forked after the engine was opened: its threads are not here.
pub const XFER_ERR_FORKED: i32 = -8;
/// Codes of failed transfers, objects and calls are this less the exit code that `xferctl` has for the same failure.
pub const XFER_ERR_BASE: i32 = -100;
/// A failure without a code of its own.
pub const XFER_ERR_OTHER: i32 = -101;
/// The request makes no sense.
pub const XFER_ERR_USAGE: i32 = -102;
/// The destination, or its parent, is not there.
pub const XFER_ERR_NO_DESTINATION: i32 = -103;
/// The source is not there.
pub const XFER_ERR_NO_SOURCE: i32 = -104;
/// It may work later: unreachable, out of time, shutting down.
pub const XFER_ERR_TEMPORARY: i32 = -105;
/// The other end refused it.
pub const XFER_ERR_REFUSED: i32 = -106;
/// Fatal on an end: no space, an input or output error, an address in use.
pub const XFER_ERR_FATAL: i32 = -107;
/// Wrong credential, or a permission of the file system.
pub const XFER_ERR_DENIED: i32 = -113;
/// A digest was wrong even after fetching again: the source changed while it was sent.
pub const XFER_ERR_DIGEST: i32 = -115;
/// Some objects succeeded and some failed.
pub const XFER_ERR_PARTIAL: i32 = -116;
/// Ended by either application.
pub const XFER_ERR_INTERRUPTED: i32 = -120;

/// Why a call failed: its status, and the text that the handle keeps.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: i32,
    pub(crate) text: String,
}

pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(status: i32, text: impl Into<String>) -> Self {
        Failure { status, text: text.into() }
    }

    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Failure::new(XFER_ERR_ARGUMENT, text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::new(status_of(&error), error.to_string())
    }
}

/// The text of the last call that failed on a handle.
#[derive(Default)]
pub(crate) struct Detail(Mutex<String>);

impl Detail {
    pub(crate) fn keep(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// Empty where none failed.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The status of a failed transfer, object or call.
pub(crate) fn status_of(error: &Error) -> i32 {
    XFER_ERR_BASE - i32::from(error.class.exit_code())
}

/// Runs the body of an exported function. What it fails by goes to `keep`, its status to the caller; a panic ends here.
pub(crate) fn guard(keep: impl FnOnce(String), body: impl FnOnce() -> Outcome<c_int>) -> c_int {
    let done = catch_unwind(AssertUnwindSafe(body));
    let failure = match done {
        Ok(Ok(value)) => return value,
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Failure::new(XFER_ERR_PANIC, format!("libxfer panicked: {}", text.unwrap_or_default()))
        }
    };
    // Keeping it takes a lock at most; what panics there is not told.
    match catch_unwind(AssertUnwindSafe(|| keep(failure.text))) {
        Ok(()) => failure.status,
        Err(_) => XFER_ERR_PANIC,
    }
}

/// What a status means, in a few words.
pub(crate) const fn text_of(status: i32) -> &'static std::ffi::CStr {
    match status {
        XFER_OK => c"success",
        XFER_ERR_ARGUMENT => c"wrong argument",
        XFER_ERR_HANDLE => c"closed or wrong handle",
        XFER_ERR_BUSY => c"in use",
        XFER_ERR_FULL => c"queue full",
        XFER_ERR_ENDED => c"the connection takes nothing more",
        XFER_ERR_UNSUPPORTED => c"not supported by this library",
        XFER_ERR_PANIC => c"bug in libxfer",
        XFER_ERR_FORKED => c"the engine belongs to the parent process",
        XFER_ERR_OTHER => c"failed",
        XFER_ERR_USAGE => c"the request makes no sense",
        XFER_ERR_NO_DESTINATION => c"no such destination",
        XFER_ERR_NO_SOURCE => c"no such source",
        XFER_ERR_TEMPORARY => c"temporary failure",
        XFER_ERR_REFUSED => c"refused",
        XFER_ERR_FATAL => c"fatal on one end",
        XFER_ERR_DENIED => c"permission denied",
        XFER_ERR_DIGEST => c"wrong digest: the source changed",
        XFER_ERR_PARTIAL => c"some objects failed",
        XFER_ERR_INTERRUPTED => c"ended by the application",
        _ => c"unknown status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_engine::Class;

    #[test]
    fn a_panic_becomes_a_status() {
        let mut kept = String::new();
        let status = guard(|text| kept = text, || panic!("on purpose"));
        assert_eq!((status, kept.as_str()), (XFER_ERR_PANIC, "libxfer panicked: on purpose"));
        assert_eq!(guard(|_| panic!("again"), || Err(Failure::argument("x"))), XFER_ERR_PANIC);
    }

    #[test]
    fn statuses_are_the_exit_codes() {
        for (class, status) in [
            (Class::Other, XFER_ERR_OTHER),
            (Class::Temporary, XFER_ERR_TEMPORARY),
            (Class::Digest, XFER_ERR_DIGEST),
            (Class::Interrupted, XFER_ERR_INTERRUPTED),
        ] {
            assert_eq!(status_of(&Error::new(class, "x")), status);
        }
    }
}
