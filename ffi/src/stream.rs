//! A descriptor whose bytes come as they come: read by an I/O thread that can be told to let go.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How long a thread waits for a descriptor before it looks whether it is still wanted.
const LOOK_EVERY_MS: i32 = 50;

/// Waits a little for the descriptor. Whether it is ready, or broken, which the next call on it tells.
pub(crate) fn wait(file: &File, events: i16) -> io::Result<bool> {
    let mut one = libc::pollfd { fd: file.as_raw_fd(), events, revents: 0 };
    // SAFETY: one valid pollfd that lives until the call returns.
    match unsafe { libc::poll(&raw mut one, 1, LOOK_EVERY_MS) } {
        0 => Ok(false),
        count if count > 0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
    }
}

/// Reads until the end, or until the connection has ended.
pub(crate) struct StreamReader {
    pub(crate) file: File,
    pub(crate) ended: Arc<AtomicBool>,
}

impl Read for StreamReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.ended.load(Ordering::Acquire) {
                return Err(io::Error::from_raw_os_error(libc::ECANCELED));
            }
            if wait(&self.file, libc::POLLIN)? {
                match self.file.read(out) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    done => return done,
                }
            }
        }
    }
}
