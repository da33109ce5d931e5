//! A descriptor by which the engine's threads tell the application that something waits for it, for event loops and for threads that wait.
//!
//! Whoever has something to tell publishes it first and raises the signal then; whoever waits lowers it first and looks then. Raising costs
//! no system call while nobody waits and no event loop watches.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::clock::monotonic_ns;
use crate::error::{IoError, check};
use crate::sync::{AtomicBool, AtomicUsize, Ordering, fence};
use crate::wake::Waker;

/// One signal; any thread may raise, lower and wait for it.
pub struct Signal {
    waker: Waker,
    /// An event loop has the descriptor.
    watched: AtomicBool,
    /// Threads in [`Signal::wait`].
    waiting: AtomicUsize,
}

impl Signal {
    /// A signal that is not raised.
    ///
    /// # Errors
    /// No descriptor is to be had.
    pub fn new() -> Result<Self, IoError> {
        let waker = Waker::new().map_err(|error| IoError::new("make", "event descriptor", &error))?;
        Ok(Signal { waker, watched: AtomicBool::new(false), waiting: AtomicUsize::new(0) })
    }

    /// A descriptor that is readable while the signal is raised, for an event loop that does not read it. From the first call on, raising
    /// writes to it.
    pub fn watch(&self) -> BorrowedFd<'_> {
        self.watched.store(true, Ordering::SeqCst);
        self.waker.descriptor()
    }

    /// Whether an event loop has the descriptor.
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::SeqCst)
    }

    /// Tells whoever waits, or watches, that there is something.
    pub fn raise(&self) {
        // Of this and a thread that begins to wait one sees the other: what was published, or that it is waited for.
        fence(Ordering::SeqCst);
        if self.is_watched() || self.waiting.load(Ordering::Relaxed) > 0 {
            self.waker.wake();
        }
    }

    /// Takes the signal back, before looking at what there is.
    pub fn lower(&self) {
        // Who raises it notes that before the descriptor is written: where an event loop watches, what was noted is not asked.
        if self.is_watched() || self.waker.is_raised() {
            self.waker.clear();
        }
    }

    /// Sleeps until the signal is raised or `deadline_ns` of [`monotonic_ns`] has passed (`None`: for ever), unless `ready` says that there is
    /// something already. False when a signal of the operating system ended it.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub fn wait(&self, deadline_ns: Option<u64>, ready: impl FnOnce() -> bool) -> Result<bool, IoError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let slept = if ready() { Ok(false) } else { self.sleep(deadline_ns) };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        if matches!(slept, Ok(true)) {
            self.waker.clear();
        }
        match slept {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(IoError::new("wait on", "event descriptor", &error)),
            Ok(_) => Ok(true),
        }
    }

    /// Whether the descriptor is readable.
    fn sleep(&self, deadline_ns: Option<u64>) -> io::Result<bool> {
        let left = deadline_ns.map(|deadline| deadline.saturating_sub(monotonic_ns()));
        let time = left.map(|ns| libc::timespec {
            tv_sec: libc::time_t::try_from(ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
            tv_nsec: (ns % 1_000_000_000) as libc::c_long,
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let fd = self.waker.descriptor().as_fd().as_raw_fd();
        let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd; `time` is null or a timespec that outlives the call; no signal mask is given.
        check(unsafe { libc::ppoll(&raw mut one, 1, time, std::ptr::null()) }).map(|count| count > 0)
    }
}

impl std::fmt::Debug for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signal").field("raised", &self.waker.is_raised()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn raising_writes_only_where_somebody_waits_or_watches() {
        let signal = Signal::new().unwrap();
        signal.raise();
        assert!(!signal.waker.is_raised());
        signal.watch();
        signal.raise();
        assert!(signal.waker.is_raised());
        signal.lower();
        assert!(!signal.waker.is_raised());
        signal.raise();
        signal.wait(None, || false).unwrap();
        assert!(!signal.waker.is_raised());
        signal.wait(Some(0), || false).unwrap();
    }

    #[test]
    fn what_is_ready_is_not_waited_for() {
        Signal::new().unwrap().wait(None, || true).unwrap();
    }

    #[test]
    fn no_signal_is_lost() {
        let signal = Arc::new(Signal::new().unwrap());
        let published = Arc::new(AtomicU64::new(0));
        let to = 20_000;
        let writer = std::thread::spawn({
            let (signal, published) = (signal.clone(), published.clone());
            move || {
                for value in 1..=to {
                    published.store(value, Ordering::Release);
                    signal.raise();
                }
            }
        });
        let mut seen = 0;
        while seen < to {
            let deadline = monotonic_ns() + 10_000_000_000;
            signal.lower();
            signal.wait(Some(deadline), || published.load(Ordering::Acquire) > seen).unwrap();
            assert!(monotonic_ns() < deadline, "a signal was lost");
            seen = published.load(Ordering::Acquire);
        }
        writer.join().unwrap();
    }
}
