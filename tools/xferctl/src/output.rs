//! Where the tool writes: data on stdout, everything else on stderr, there without tearing bars apart.

use crate::args::ColorArg;
use indicatif::MultiProgress;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use xfer_client::{Class, Error};

/// Data on stdout.
pub(crate) struct Stdout {
    writer: BufWriter<io::Stdout>,
    wrote: bool,
}

impl Stdout {
    pub(crate) fn new() -> Self {
        Stdout { writer: BufWriter::new(io::stdout()), wrote: false }
    }

    /// Whether something was written.
    pub(crate) fn wrote(&self) -> bool {
        self.wrote
    }

    /// # Errors
    /// What the kernel says; see [`is_closed_pipe`].
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.wrote = true;
        self.writer.write_all(bytes).map_err(|e| failed(&e))
    }

    /// # Errors
    /// As [`Stdout::write`].
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush().map_err(|e| failed(&e))
    }
}

fn failed(cause: &io::Error) -> Error {
    let mut error =
        Error::new(cause.raw_os_error().map_or(Class::Other, Class::of_errno), "write to standard output");
    error.errno = cause.raw_os_error();
    let closed = cause.kind() == ErrorKind::BrokenPipe;
    error.because(if closed { CLOSED_PIPE.to_owned() } else { cause.to_string() })
}

const CLOSED_PIPE: &str = "its reader has gone";

/// Whether whoever read stdout has gone (`xferctl ls n1: | head`): an end, not a failure.
pub(crate) fn is_closed_pipe(error: &Error) -> bool {
    error.causes.iter().any(|cause| cause == CLOSED_PIPE)
}

/// The bars on stderr, when there are some.
static BARS: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Shows bars on stderr; what is written with [`write_stderr`] appears above them.
pub(crate) fn set_bars(bars: Option<MultiProgress>) {
    *BARS.lock().unwrap_or_else(PoisonError::into_inner) = bars;
}

/// Writes whole lines to stderr.
///
/// # Errors
/// What the kernel says.
pub(crate) fn write_stderr(bytes: &[u8]) -> io::Result<()> {
    let bars = BARS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bars {
        Some(bars) => bars.suspend(|| io::stderr().write_all(bytes)),
        None => io::stderr().write_all(bytes),
    }
}

/// Tells a person something on stderr: one line.
pub(crate) fn tell(text: &str) {
    // A person who closed stderr does not want to be told.
    write_stderr(format!("{text}\n").as_bytes()).unwrap_or_default();
}

/// Whether stderr takes colours.
pub(crate) fn colors(choice: ColorArg) -> bool {
    match choice {
        ColorArg::Always => true,
        ColorArg::Never => false,
        ColorArg::Auto => {
            let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            io::stderr().is_terminal() && !refused
        }
    }
}
