//! What may fail, on which interface, and why.

use std::io;

use aya::maps::MapError;
use aya::pin::PinError;
use aya::programs::ProgramError;
use aya::programs::links::LinkError;
use nix::libc::{EACCES, EPERM};

/// A program could not be loaded, attached or reached.
#[derive(Debug, thiserror::Error)]
pub enum EbpfError {
    /// There is no such interface.
    #[error("{interface}: there is no such interface")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// A right is missing.
    #[error(
        "{what} on {interface}: not permitted; it needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, of which this process lacks {missing}"
    )]
    NoRight {
        /// The interface.
        interface: String,
        /// What was attempted.
        what: &'static str,
        /// The capabilities that are not there.
        missing: String,
    },
    /// The limit of locked memory is too low, as it may be on kernels before 5.11.
    #[error("load the programs for {interface}: the limit of locked memory is too low (ulimit -l): {cause}")]
    LockedMemory {
        /// The interface.
        interface: String,
        /// The kernel's word.
        cause: io::Error,
    },
    /// The kernel's verifier refuses the program.
    #[error("load the program for {interface}: the kernel's verifier refuses it: {cause}\n{log}")]
    Verifier {
        /// The interface.
        interface: String,
        /// The kernel's word.
        cause: io::Error,
        /// What the verifier says, line by line.
        log: String,
    },
    /// The interface runs another program, which stays.
    #[error(
        "attach to {interface}: it runs another XDP program, {program} (id {id}); that one is left alone"
    )]
    Occupied {
        /// The interface.
        interface: String,
        /// The name of the program, or `?` where this process may not ask.
        program: String,
        /// The program's id; 0 where it went before it was asked for.
        id: u32,
    },
    /// The interface cannot do what was asked for.
    #[error("attach to {interface} in {mode} mode: {cause}")]
    Unsupported {
        /// The interface.
        interface: String,
        /// `native` or `generic`.
        mode: &'static str,
        /// The kernel's word.
        cause: io::Error,
    },
    /// There is no such user.
    #[error("pin the XDP program on {interface} for {user}: there is no such user")]
    NoUser {
        /// The interface.
        interface: String,
        /// The user's name.
        user: String,
    },
    /// What is pinned for the interface is another process's.
    #[error("take over the pinned XDP program on {interface}: another process uses it")]
    InUse {
        /// The interface.
        interface: String,
    },
    /// There is room for no more.
    #[error("{what} on {interface}: there is room for {limit}")]
    Full {
        /// The interface.
        interface: String,
        /// What was attempted.
        what: &'static str,
        /// How many there may be.
        limit: u32,
    },
    /// A call to the kernel failed otherwise.
    #[error("{what} on {interface}: {cause}")]
    System {
        /// The interface.
        interface: String,
        /// What was attempted.
        what: &'static str,
        /// The kernel's word.
        cause: io::Error,
    },
    /// The objects that this program carries do not fit it, or those that are pinned are of another version.
    #[error("{what} on {interface}: {cause}")]
    Object {
        /// The interface.
        interface: String,
        /// What was attempted.
        what: &'static str,
        /// What does not fit.
        cause: String,
    },
}

/// What an operation on an interface was, for the errors that it may have.
#[derive(Clone, Copy)]
pub(crate) struct Doing<'a> {
    pub(crate) interface: &'a str,
    pub(crate) what: &'static str,
}

impl Doing<'_> {
    pub(crate) fn system(self, cause: io::Error) -> EbpfError {
        if matches!(cause.raw_os_error(), Some(EPERM | EACCES)) {
            let missing = crate::rights::missing();
            if !missing.is_empty() {
                return EbpfError::NoRight { interface: self.interface.into(), what: self.what, missing };
            }
        }
        EbpfError::System { interface: self.interface.into(), what: self.what, cause }
    }

    pub(crate) fn object(self, cause: impl ToString) -> EbpfError {
        EbpfError::Object { interface: self.interface.into(), what: self.what, cause: cause.to_string() }
    }

    pub(crate) fn map(self, error: MapError) -> EbpfError {
        match error {
            MapError::SyscallError(error) => self.system(error.io_error),
            MapError::PinError { error, .. } => self.pin(error),
            MapError::CreateError { io_error, .. } => self.created(io_error),
            other => self.object(other),
        }
    }

    pub(crate) fn program(self, error: ProgramError) -> EbpfError {
        match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                self.refused(io_error, verifier_log.to_string())
            }
            ProgramError::SyscallError(error) => self.system(error.io_error),
            ProgramError::MapError(error) => self.map(error),
            ProgramError::UnknownInterface { name } => EbpfError::NoInterface { interface: name },
            other => self.object(chain(&other)),
        }
    }

    pub(crate) fn link(self, error: LinkError) -> EbpfError {
        match error {
            LinkError::SyscallError(error) => self.system(error.io_error),
            other => self.object(chain(&other)),
        }
    }

    pub(crate) fn pin(self, error: PinError) -> EbpfError {
        match error {
            PinError::SyscallError(error) => self.system(error.io_error),
            other => self.object(chain(&other)),
        }
    }

    pub(crate) fn load(self, error: aya::EbpfError) -> EbpfError {
        match error {
            aya::EbpfError::MapError(error) => self.map(error),
            aya::EbpfError::ProgramError(error) => self.program(error),
            other => self.object(chain(&other)),
        }
    }

    /// A map could not be made. Without a missing right, EPERM is the limit of locked memory.
    fn created(self, cause: io::Error) -> EbpfError {
        match self.system(cause) {
            EbpfError::System { interface, cause, .. } if cause.raw_os_error() == Some(EPERM) => {
                EbpfError::LockedMemory { interface, cause }
            }
            other => other,
        }
    }

    /// A program could not be loaded: for want of a right, of memory, or of the verifier's consent, which has a log.
    fn refused(self, cause: io::Error, log: String) -> EbpfError {
        if log.trim().is_empty() || lacks_rights(&cause) {
            return self.created(cause);
        }
        EbpfError::Verifier { interface: self.interface.into(), cause, log }
    }
}

/// Whether a right is missing; then the verifier refuses what it takes of others.
fn lacks_rights(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(EPERM | EACCES)) && !crate::rights::missing().is_empty()
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOING: Doing<'_> = Doing { interface: "eth0", what: "admit a connection" };

    #[test]
    fn errors_name_interface_and_cause() {
        let error = DOING.system(io::Error::from_raw_os_error(16));
        assert!(error.to_string().starts_with("admit a connection on eth0: "), "{error}");
    }

    #[test]
    fn a_refusal_with_a_log_is_the_verifiers() {
        let refused = |log: &str| DOING.refused(io::Error::from_raw_os_error(22), log.to_owned());
        assert!(matches!(refused("R1 invalid"), EbpfError::Verifier { log, .. } if log == "R1 invalid"));
        assert!(matches!(refused(" "), EbpfError::System { .. }));
    }
}
