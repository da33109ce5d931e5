//! `ebpf`: which programs run on which interface, what ours count, and how they come and go.

mod stats;
mod status;

use crate::args::{EbpfAttachArgs, EbpfCommand, EbpfDetachArgs, EbpfLookArgs};
use crate::json;
use crate::output::{self, Stdout};
use serde::Serialize;
use xfer_client::{Class, Error};
use xfer_ebpf::{Census, EbpfError, Point};

/// A line of `detach --json`.
#[derive(Serialize)]
struct Detached<'a> {
    interface: &'a str,
}

/// Runs `ebpf`.
pub(crate) fn run(command: &EbpfCommand) -> Result<u8, Error> {
    match command {
        EbpfCommand::Status(args) => look(args, status::write),
        EbpfCommand::Stats(args) => look(args, stats::write),
        EbpfCommand::Attach(args) => attach(args),
        EbpfCommand::Detach(args) => detach(args),
    }
}

/// Writes what was found, then what was hidden: without rights something may be missing, and the exit code says so.
fn look(
    args: &EbpfLookArgs,
    write: fn(&mut Stdout, &Census, bool) -> Result<(), Error>,
) -> Result<u8, Error> {
    let census = xfer_ebpf::census(args.interface.as_deref()).map_err(failed)?;
    let mut stdout = Stdout::new();
    write(&mut stdout, &census, args.json)?;
    stdout.flush()?;
    census.hidden.map_or(Ok(0), |error| Err(failed(error)))
}

fn attach(args: &EbpfAttachArgs) -> Result<u8, Error> {
    let mode = args.xdp_mode.into();
    xfer_ebpf::attach_pinned(&args.interface, mode, args.user.as_deref()).map_err(failed)?;
    Ok(0)
}

fn detach(args: &EbpfDetachArgs) -> Result<u8, Error> {
    let names = match &args.interface {
        Some(name) => vec![name.clone()],
        None => xfer_ebpf::pinned().map_err(failed)?,
    };
    let mut stdout = Stdout::new();
    let mut any = false;
    for interface in &names {
        if !xfer_ebpf::detach(interface).map_err(failed)? {
            continue;
        }
        any = true;
        if args.json {
            stdout.write(json::line("detached", &Detached { interface }).as_bytes())?;
        } else {
            output::tell(&format!("xferctl: took the XDP program off {interface}"));
        }
    }
    stdout.flush()?;
    if let (false, Some(name)) = (any, &args.interface) {
        refuse_owned(name)?;
    }
    if !any {
        output::tell("xferctl: nothing is pinned");
    }
    Ok(0)
}

/// A program of a process that lives is not ours to take off.
fn refuse_owned(interface: &str) -> Result<(), Error> {
    let census = xfer_ebpf::census(Some(interface)).map_err(failed)?;
    match census.hooks.iter().find(|hook| hook.point == Point::Xdp && hook.ours) {
        Some(hook) => {
            let text = format!("take the XDP program off {interface}: it belongs to a running process");
            let cause = format!("{} (id {}) goes when that process ends", hook.program, hook.id);
            Err(Error::new(Class::Temporary, text).because(cause))
        }
        None => Ok(()),
    }
}

/// What failed as an error of the tool.
fn failed(error: EbpfError) -> Error {
    let class = match &error {
        EbpfError::NoInterface { .. } => Class::NoSource,
        EbpfError::NoUser { .. } => Class::Usage,
        EbpfError::NoRight { .. } => Class::Denied,
        EbpfError::Occupied { .. } | EbpfError::InUse { .. } => Class::Temporary,
        EbpfError::System { cause, .. } => cause.raw_os_error().map_or(Class::Fatal, Class::of_errno),
        _ => Class::Fatal,
    };
    Error::new(class, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_their_exit_codes() {
        let interface = || "eth0".to_owned();
        let system = |errno| EbpfError::System {
            interface: interface(),
            what: "look",
            cause: std::io::Error::from_raw_os_error(errno),
        };
        for (error, code) in [
            (EbpfError::NoInterface { interface: interface() }, 4),
            (EbpfError::NoUser { interface: interface(), user: "x".to_owned() }, 2),
            (EbpfError::NoRight { interface: interface(), what: "look", missing: "CAP_BPF".to_owned() }, 13),
            (EbpfError::Occupied { interface: interface(), program: "p".to_owned(), id: 3 }, 5),
            (EbpfError::InUse { interface: interface() }, 5),
            (system(13), 13),
            (system(16), 5),
        ] {
            let text = error.to_string();
            let error = failed(error);
            assert_eq!((error.class.exit_code(), error.message), (code, text));
        }
    }
}
