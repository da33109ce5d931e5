//! The one error of the comparison: what was being done, to what, and the cause, in one line for the reader.

use std::fmt;

/// Something could not be done.
#[derive(Debug)]
pub(crate) struct Failure(String);

/// What nearly everything here returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Adds to an error what was done to what.
pub(crate) trait Doing<T> {
    /// Names the operation and its object: `read /a/b`.
    fn doing(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|cause| Failure(format!("{what}: {cause}")))
    }
}
