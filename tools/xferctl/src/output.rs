//! Where the tool writes: data on stdout, everything else on stderr, there without tearing bars apart.

use crate::args::ColorArg;
use crate::progress::screen::Screen;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// The lines at the bottom of the terminal on stderr.
static SCREEN: Mutex<Screen> = Mutex::new(Screen::new());

/// Columns of the terminal on stderr.
fn width() -> usize {
    const USUAL: usize = 80;
    terminal_size::terminal_size_of(io::stderr()).map_or(USUAL, |(width, _)| usize::from(width.0))
}

/// Shows lines at the bottom of the terminal, made for its number of columns; what is written with [`write_stderr`] appears above them.
pub(crate) fn show_lines(lines: impl FnOnce(usize) -> Vec<String>) {
    let mut screen = SCREEN.lock().unwrap_or_else(PoisonError::into_inner);
    let width = width();
    let text = screen.show(&lines(width), width);
    // Without a terminal to draw on there is nothing to see.
    io::stderr().write_all(text.as_bytes()).unwrap_or_default();
}

/// Takes the lines away.
pub(crate) fn end_lines() {
    end(SCREEN.lock().unwrap_or_else(PoisonError::into_inner));
}

/// The same for a process that ends now, unless another thread is drawing: it may never end to.
pub(crate) fn abandon_lines() {
    if let Ok(screen) = SCREEN.try_lock() {
        end(screen);
    }
}

fn end(mut screen: MutexGuard<'_, Screen>) {
    let text = screen.end(width());
    io::stderr().write_all(text.as_bytes()).unwrap_or_default();
}

/// Writes whole lines to stderr.
///
/// # Errors
/// What the kernel says.
pub(crate) fn write_stderr(bytes: &[u8]) -> io::Result<()> {
    let mut screen = SCREEN.lock().unwrap_or_else(PoisonError::into_inner);
    let width = width();
    let mut text = screen.clear(width).into_bytes();
    text.extend_from_slice(bytes);
    text.extend_from_slice(screen.again(width).as_bytes());
    io::stderr().write_all(&text)
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
