//! Where received content goes: memory of the application, or a file descriptor. Each is closed before the completion, so that nothing of the
//! engine reaches the application's memory or file after it.

use crate::engine::Counters;
use crate::memory::Use;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use xfer_engine::io::registered::Registered;
use xfer_engine::sink::Place;
use xfer_engine::{Class, Error};

/// A place that can be closed.
pub(crate) trait Target: Place {
    /// Waits for those who put something, and keeps out all who come later.
    fn close(&self);
}

fn closed() -> Error {
    Error::new(Class::Interrupted, "the application ended it")
}

fn failed(what: &str, error: &io::Error) -> Error {
    let told = Error::new(Class::Fatal, what);
    match error.raw_os_error() {
        Some(errno) => told.because_of_errno(errno),
        None => told.because(error),
    }
}

/// Memory of the application. Either content is opened in it, or it is copied there: one of both, decided when it is asked for.
pub(crate) struct MemoryPlace {
    memory: Use,
    counters: Arc<Counters>,
    /// Content is opened there; only where the object is large enough.
    lent: OnceLock<Registered>,
    may_lend: bool,
    /// Write-locked while something is copied, by one thread at a time.
    open: RwLock<bool>,
    one: Mutex<()>,
}

impl MemoryPlace {
    pub(crate) fn new(memory: Use, counters: Arc<Counters>, may_lend: bool) -> Self {
        let (lent, open, one) = (OnceLock::new(), RwLock::new(true), Mutex::new(()));
        MemoryPlace { memory, counters, lent, may_lend, open, one }
    }
}

impl Place for MemoryPlace {
    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if !*open || self.lent.get().is_some() {
            return Err(closed());
        }
        let end = usize::try_from(offset).ok().and_then(|at| Some((at, at.checked_add(bytes.len())?)));
        let Some((at, _)) = end.filter(|(_, end)| *end <= self.memory.len()) else {
            return Err(Error::new(Class::Fatal, "the object is longer than its memory"));
        };
        let one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the offset lies within the memory, as was just checked.
        let to = unsafe { self.memory.start().add(at) };
        // SAFETY: the bytes fit behind it. The memory is the engine's until `close`, which waits for `open`; `one` keeps other copies out,
        // it is not lent, and `Use` keeps other operations away.
        unsafe { to.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        drop(one);
        self.counters.copied.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn memory(&self) -> Option<Registered> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if !*open || !self.may_lend {
            return None;
        }
        // SAFETY: the memory is the engine's until `close`, which revokes this; `put` refuses from here on, and `Use` keeps other operations
        // away.
        let registered = unsafe { Registered::lend(self.memory.start(), self.memory.len()) }.ok()?;
        self.lent.set(registered.clone()).ok()?;
        self.counters.in_place.fetch_add(self.memory.len() as u64, Ordering::Relaxed);
        Some(registered)
    }
}

impl Target for MemoryPlace {
    fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = false;
        if let Some(registered) = self.lent.get() {
            registered.revoke();
        }
    }
}

/// A regular file, from an offset on.
pub(crate) struct FilePlace {
    file: File,
    start: u64,
    counters: Arc<Counters>,
    open: RwLock<bool>,
}

impl FilePlace {
    pub(crate) fn new(file: File, start: u64, counters: Arc<Counters>) -> Self {
        FilePlace { file, start, counters, open: RwLock::new(true) }
    }
}

impl Place for FilePlace {
    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if !*open {
            return Err(closed());
        }
        let at = self.start.checked_add(offset).ok_or_else(closed)?;
        self.file.write_all_at(bytes, at).map_err(|error| failed("write", &error).at(offset))?;
        self.counters.copied.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl Target for FilePlace {
    fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

/// A pipe or socket, which takes content in order. What comes before its turn is kept: a window of chunks at most.
pub(crate) struct PipePlace {
    state: Mutex<Pipe>,
    counters: Arc<Counters>,
    /// Seen while a reader lets the writer wait.
    ended: AtomicBool,
}

struct Pipe {
    file: File,
    written: u64,
    waiting: BTreeMap<u64, Vec<u8>>,
}

impl PipePlace {
    pub(crate) fn new(file: File, counters: Arc<Counters>) -> Self {
        let state = Mutex::new(Pipe { file, written: 0, waiting: BTreeMap::new() });
        PipePlace { state, counters, ended: AtomicBool::new(false) }
    }

    /// Writes all, as fast as the reader takes it, unless the place is closed.
    fn write(&self, pipe: &mut Pipe, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.ended.load(Ordering::Acquire) {
                return Err(closed());
            }
            if !crate::stream::wait(&pipe.file, libc::POLLOUT)
                .map_err(|e| failed("wait for the reader", &e))?
            {
                continue;
            }
            // No more than a pipe that is ready takes at once.
            match pipe.file.write(&bytes[..bytes.len().min(libc::PIPE_BUF)]) {
                Ok(count) => bytes = &bytes[count..],
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(failed("write", &error).at(pipe.written)),
            }
        }
        Ok(())
    }
}

impl Place for PipePlace {
    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut pipe = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.ended.load(Ordering::Acquire) {
            return Err(closed());
        }
        if offset != pipe.written {
            pipe.waiting.insert(offset, bytes.to_vec());
            return Ok(());
        }
        self.write(&mut pipe, bytes)?;
        pipe.written += bytes.len() as u64;
        let at = pipe.written;
        let mut next = pipe.waiting.remove(&at);
        while let Some(bytes) = next {
            self.write(&mut pipe, &bytes)?;
            pipe.written += bytes.len() as u64;
            let at = pipe.written;
            next = pipe.waiting.remove(&at);
        }
        self.counters.copied.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl Target for PipePlace {
    fn close(&self) {
        self.ended.store(true, Ordering::Release);
        drop(self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
