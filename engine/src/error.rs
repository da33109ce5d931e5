//! The one error of transfers: what failed, on which end, at which object and offset, why, and its class.

use std::any::Any;
use std::fmt;
use xfer_proto::wire::ErrorBody;

/// What kind of failure it is; its number is the exit code (PRODUCT.md, exit codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Anything without a class of its own.
    Other = 1,
    /// The request makes no sense.
    Usage = 2,
    /// A destination directory or its parent is missing.
    NoDestination = 3,
    /// A named source is missing.
    NoSource = 4,
    /// It may work later: unreachable, retries used up, target busy.
    Temporary = 5,
    /// Refused by policy.
    Refused = 6,
    /// Fatal on an end: no space, quota, I/O error, port or state directory in use.
    Fatal = 7,
    /// `--max-transfer` was reached.
    TransferLimit = 8,
    /// Nothing to do, and that was asked to be an error.
    NothingToDo = 9,
    /// `--max-duration` was exceeded.
    DurationLimit = 11,
    /// Wrong token, fingerprint or credential, or a file permission.
    Denied = 13,
    /// A digest was wrong even after fetching again, or the source changed while it was sent.
    Digest = 15,
    /// Some files succeeded and some failed.
    Partial = 16,
    /// Ended by a signal or by the application.
    Interrupted = 20,
}

impl Class {
    /// The exit code of the class.
    pub const fn exit_code(self) -> u8 {
        self as u8
    }

    /// The class of an exit code; [`Class::Other`] for numbers that are none.
    pub const fn from_exit_code(code: u8) -> Self {
        match code {
            2 => Class::Usage,
            3 => Class::NoDestination,
            4 => Class::NoSource,
            5 => Class::Temporary,
            6 => Class::Refused,
            7 => Class::Fatal,
            8 => Class::TransferLimit,
            9 => Class::NothingToDo,
            11 => Class::DurationLimit,
            13 => Class::Denied,
            15 => Class::Digest,
            16 => Class::Partial,
            20 => Class::Interrupted,
            _ => Class::Other,
        }
    }

    /// The class of an operating system error.
    pub fn of_errno(errno: i32) -> Self {
        match errno {
            libc::ENOSPC | libc::EDQUOT | libc::EIO | libc::EADDRINUSE | libc::EMFILE | libc::ENFILE => {
                Class::Fatal
            }
            libc::EACCES | libc::EPERM => Class::Denied,
            libc::EROFS => Class::Refused,
            libc::EAGAIN | libc::EBUSY | libc::ETXTBSY | libc::ETIMEDOUT | libc::ECONNREFUSED => {
                Class::Temporary
            }
            _ => Class::Other,
        }
    }
}

/// The end of a transfer that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where the content comes from (`src`).
    Source,
    /// Where the content goes (`dst`).
    Destination,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Source => "src",
            Side::Destination => "dst",
        })
    }
}

/// A failed operation of a transfer. Displays as `src n1 (10.0.0.2): read /a/b at 4 MiB: Input/output error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure it is.
    pub class: Class,
    /// Which end failed, when one did.
    pub side: Option<Side>,
    /// The failing end's name and address, when known.
    pub node: Option<String>,
    /// The object, as the user knows it (raw bytes of its name).
    pub name: Option<Vec<u8>>,
    /// Byte offset in the object.
    pub offset: Option<u64>,
    /// The operating system's error number.
    pub errno: Option<i32>,
    /// What failed.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
}

impl Error {
    /// An error of `class` that says `message`.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Error {
            class,
            side: None,
            node: None,
            name: None,
            offset: None,
            errno: None,
            message: message.into(),
            causes: Vec::new(),
        }
    }

    /// Names the end.
    pub fn on(mut self, side: Side) -> Self {
        self.side.get_or_insert(side);
        self
    }

    /// Names the object.
    pub fn object(mut self, name: impl Into<Vec<u8>>) -> Self {
        self.name.get_or_insert(name.into());
        self
    }

    /// Names the failing end's node.
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node.get_or_insert(node.into());
        self
    }

    /// Names the offset.
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Appends a cause.
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Appends the system's reason and keeps its number.
    pub fn because_of_errno(mut self, errno: i32) -> Self {
        self.errno = Some(errno);
        self.because(errno_text(errno))
    }

    /// As it goes to the peer; `side` is what the error's own end is when it names none.
    pub fn to_wire(&self, side: Side) -> ErrorBody {
        let mut text = self.message.clone();
        for cause in &self.causes {
            text.push('\n');
            text.push_str(cause);
        }
        ErrorBody {
            class: self.class.exit_code(),
            side: if self.side.unwrap_or(side) == Side::Source { 1 } else { 2 },
            errno: self.errno.and_then(|e| u16::try_from(e).ok()).unwrap_or(0),
            offset: self.offset,
            name: self.name.clone().unwrap_or_default(),
            text,
        }
    }

    /// As it came from the peer.
    pub fn from_wire(body: &ErrorBody) -> Self {
        let mut lines = body.text.lines().map(str::to_owned);
        Error {
            class: Class::from_exit_code(body.class),
            side: Some(if body.side == 1 { Side::Source } else { Side::Destination }),
            node: None,
            name: (!body.name.is_empty()).then(|| body.name.clone()),
            offset: body.offset,
            errno: (body.errno != 0).then_some(i32::from(body.errno)),
            message: lines.next().unwrap_or_default(),
            causes: lines.collect(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(side) = self.side {
            write!(f, "{side}")?;
            if let Some(node) = &self.node {
                write!(f, " {node}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        if let Some(name) = &self.name {
            write!(f, " {}", name.escape_ascii())?;
        }
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The system's text for an error number, without the number.
pub(crate) fn errno_text(errno: i32) -> String {
    let full = std::io::Error::from_raw_os_error(errno).to_string();
    match full.rfind(" (os error") {
        Some(end) => full[..end].to_owned(),
        None => full,
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{catch_unwind, panic_any};

    #[test]
    fn a_panic_says_what_it_was_given() {
        let said = |panic: fn()| panic_text(&*catch_unwind(panic).expect_err("it panics"));
        assert_eq!(said(|| panic!("plain")), "plain");
        assert_eq!(said(|| panic!("formatted {}", 7)), "formatted 7");
        assert_eq!(said(|| panic_any(7)), "no message");
    }

    #[test]
    fn an_errno_is_told_without_its_number() {
        assert_eq!(errno_text(libc::ENOSPC), "No space left on device");
        assert_eq!(errno_text(99_999), "Unknown error 99999");
    }
}
