//! Sleeping and being woken: a worker waits on its queues, its timer and other threads at once.
//!
//! When to sleep and when to spin is the caller's decision. Waiting is level-triggered, with nanosecond deadlines.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use crate::clock::monotonic_ns;
use crate::error::{IoError, check, check_size};
use crate::limits::{POLL_EVENTS, POLL_TOKENS_MAX};
use crate::sync::{AtomicBool, Ordering};

/// Token of the poller's own waker.
const WAKE_TOKEN: u64 = POLL_TOKENS_MAX + 1;

struct Event {
    fd: OwnedFd,
    /// A wake is under way: set before the descriptor is written, cleared after it is read.
    pending: AtomicBool,
}

/// Wakes one [`Poller`] from any thread. What was published before the wake is visible to the poller's thread after
/// the wait. Waking again before the poller has seen the first costs no system call.
#[derive(Clone)]
pub struct Waker {
    event: Arc<Event>,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Waker { event: Arc::new(Event { fd, pending: AtomicBool::new(false) }) })
    }

    /// Ends the poller's present or next wait.
    pub fn wake(&self) {
        if self.event.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        let one = 1u64;
        // SAFETY: the kernel reads 8 bytes from `one`, which lives until the call returns.
        let written =
            unsafe { libc::write(self.event.fd.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
        let written = check_size(written);
        // The counter cannot overflow: it is written at most once between two reads.
        assert!(written.is_ok(), "write to an eventfd: {written:?}");
    }

    /// The descriptor, readable while a wake is under way.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.fd.as_fd()
    }

    /// Whether a wake is under way.
    pub(crate) fn is_raised(&self) -> bool {
        self.event.pending.load(Ordering::SeqCst)
    }

    /// Takes a wake back.
    pub(crate) fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: the kernel writes 8 bytes to `count`, which lives until the call returns.
        let read =
            unsafe { libc::read(self.event.fd.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
        let read = check_size(read).or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Ok(0),
            _ => Err(error),
        });
        assert!(read.is_ok(), "read of an eventfd: {read:?}");
        self.event.pending.swap(false, Ordering::AcqRel);
    }
}

/// What to wait for on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read.
    Read,
    /// Something to read, or room to write.
    ReadWrite,
}

impl Interest {
    fn bits(self) -> u32 {
        match self {
            Interest::Read => libc::EPOLLIN as u32,
            Interest::ReadWrite => (libc::EPOLLIN | libc::EPOLLOUT) as u32,
        }
    }
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Token it was registered with.
    pub token: u64,
    /// There is something to read, or an error to be read.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

/// What one thread sleeps on.
pub struct Poller {
    epoll: OwnedFd,
    waker: Waker,
    events: Box<[libc::epoll_event]>,
    ready: Vec<Ready>,
}

/// A poller can be waited for by another: it is readable while something that it waits for is ready.
impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Poller {
    /// Makes a poller with its waker.
    pub fn new() -> Result<Self, IoError> {
        let fail = |error: io::Error| IoError::new("make", "poller", &error);
        // SAFETY: epoll_create1 takes no pointers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map_err(fail)?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let waker = Waker::new().map_err(fail)?;
        let poller = Poller {
            epoll,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; POLL_EVENTS].into_boxed_slice(),
            ready: Vec::with_capacity(POLL_EVENTS),
            waker,
        };
        let own = poller.waker.descriptor();
        poller.control(libc::EPOLL_CTL_ADD, own, WAKE_TOKEN, Interest::Read).map_err(fail)?;
        Ok(poller)
    }

    /// A handle that ends this poller's wait.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn control(&self, op: i32, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.bits(), u64: token };
        // SAFETY: the kernel reads `event`, which lives until the call returns.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), op, fd.as_raw_fd(), &raw mut event) })
            .map(drop)
    }

    /// Waits for `fd` from now on; closing it ends that. `token` is up to [`POLL_TOKENS_MAX`].
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> Result<(), IoError> {
        assert!(token <= POLL_TOKENS_MAX, "token {token} is the waker's");
        self.control(libc::EPOLL_CTL_ADD, fd.as_fd(), token, interest)
            .map_err(|error| IoError::new("wait on", format!("descriptor {token}"), &error))
    }

    /// Changes what is waited for on `fd`.
    pub fn change(&self, fd: impl AsFd, token: u64, interest: Interest) -> Result<(), IoError> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_fd(), token, interest)
            .map_err(|error| IoError::new("wait on", format!("descriptor {token}"), &error))
    }

    /// Waits no longer for `fd`.
    pub fn remove(&self, fd: impl AsFd) -> Result<(), IoError> {
        self.control(libc::EPOLL_CTL_DEL, fd.as_fd(), 0, Interest::Read)
            .map_err(|error| IoError::new("stop waiting on", "descriptor", &error))
    }

    /// Sleeps until a descriptor is ready, the waker was used, or `deadline_ns` of [`monotonic_ns`] has passed
    /// (`None`: for ever; a deadline in the past only looks). Returns what is ready, the waker left out; a signal
    /// and the waker end the wait with fewer or none.
    pub fn wait(&mut self, deadline_ns: Option<u64>) -> Result<&[Ready], IoError> {
        let left = deadline_ns.map(|deadline| deadline.saturating_sub(monotonic_ns()));
        let count = match self.sleep(left) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(IoError::new("wait on", "poller", &error)),
        };
        self.ready.clear();
        for event in &self.events[..count] {
            let (bits, token) = (event.events as i32, event.u64);
            if token == WAKE_TOKEN {
                self.waker.clear();
                continue;
            }
            let failed = bits & (libc::EPOLLERR | libc::EPOLLHUP) != 0;
            let readable = failed || bits & libc::EPOLLIN != 0;
            self.ready.push(Ready { token, readable, writable: bits & libc::EPOLLOUT != 0 });
        }
        Ok(&self.ready)
    }

    fn sleep(&mut self, left_ns: Option<u64>) -> io::Result<usize> {
        let time = left_ns.map(timespec);
        match self.epoll_pwait2(time.as_ref()) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => self.ppoll_then_look(time.as_ref()),
            done => done,
        }
    }

    fn epoll_pwait2(&mut self, time: Option<&libc::timespec>) -> io::Result<usize> {
        let time = time.map_or(std::ptr::null(), std::ptr::from_ref);
        let (to, count) = (self.events.as_mut_ptr(), self.events.len());
        let (fd, none) = (self.epoll.as_raw_fd(), std::ptr::null::<libc::sigset_t>());
        // SAFETY: the kernel writes at most `count` events, all of them inside `events`; `time` is null or a valid timespec that outlives the call; no signal mask is given.
        let returned = unsafe { libc::syscall(libc::SYS_epoll_pwait2, fd, to, count, time, none, 0usize) };
        check(returned as libc::c_int).map(|count| count as usize)
    }

    /// For kernels before 5.11: sleep on the epoll descriptor itself, which has nanoseconds, then look.
    fn ppoll_then_look(&mut self, time: Option<&libc::timespec>) -> io::Result<usize> {
        let time = time.map_or(std::ptr::null(), std::ptr::from_ref);
        let mut one = libc::pollfd { fd: self.epoll.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd; `time` is null or a valid timespec that outlives the call; no signal mask is given.
        check(unsafe { libc::ppoll(&raw mut one, 1, time, std::ptr::null()) })?;
        let (to, count) = (self.events.as_mut_ptr(), self.events.len() as libc::c_int);
        // SAFETY: the kernel writes at most `count` events, all of them inside `events`.
        check(unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), to, count, 0) }).map(|count| count as usize)
    }
}

fn timespec(ns: u64) -> libc::timespec {
    let seconds = i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX);
    libc::timespec { tv_sec: seconds as libc::time_t, tv_nsec: (ns % 1_000_000_000) as libc::c_long }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn a_passed_deadline_only_looks() {
        let mut poller = Poller::new().unwrap();
        assert!(poller.wait(Some(0)).unwrap().is_empty());
        assert!(poller.ppoll_then_look(Some(&timespec(0))).unwrap() == 0);
    }

    #[test]
    fn a_wait_lasts_until_its_deadline() {
        let mut poller = Poller::new().unwrap();
        let deadline = monotonic_ns() + 300_000;
        assert!(poller.wait(Some(deadline)).unwrap().is_empty());
        assert!(monotonic_ns() >= deadline);
    }

    #[test]
    fn tells_which_descriptor_is_ready_for_what() {
        let (mut far, near) = UnixStream::pair().unwrap();
        let mut poller = Poller::new().unwrap();
        poller.add(&near, 7, Interest::Read).unwrap();
        assert!(poller.wait(Some(0)).unwrap().is_empty());
        far.write_all(b"x").unwrap();
        assert_eq!(poller.wait(None).unwrap(), [Ready { token: 7, readable: true, writable: false }]);
        poller.change(&near, 8, Interest::ReadWrite).unwrap();
        assert_eq!(poller.wait(None).unwrap(), [Ready { token: 8, readable: true, writable: true }]);
        assert_eq!(poller.ppoll_then_look(None).unwrap(), 1);
        poller.remove(&near).unwrap();
        assert!(poller.wait(Some(0)).unwrap().is_empty());
    }

    fn wait_for_wake(poller: &mut Poller) {
        let deadline = monotonic_ns() + 10_000_000_000;
        assert!(poller.wait(Some(deadline)).unwrap().is_empty());
        assert!(monotonic_ns() < deadline, "a wake was lost");
    }

    #[test]
    fn many_wakes_are_one_and_none_is_lost() {
        let mut poller = Poller::new().unwrap();
        for _ in 0..3 {
            poller.waker().wake();
        }
        wait_for_wake(&mut poller);
        assert_eq!(poller.sleep(Some(0)).unwrap(), 0);
        poller.waker().wake();
        wait_for_wake(&mut poller);
    }

    #[test]
    fn what_was_published_before_a_wake_is_seen_after_the_wait() {
        let mut poller = Poller::new().unwrap();
        let waker = poller.waker();
        let published = Arc::new(AtomicU64::new(0));
        let seen_to = 20_000;
        let writer = std::thread::spawn({
            let published = published.clone();
            move || {
                for value in 1..=seen_to {
                    published.store(value, Ordering::Relaxed);
                    waker.wake();
                }
            }
        });
        while published.load(Ordering::Relaxed) < seen_to {
            wait_for_wake(&mut poller);
        }
        writer.join().unwrap();
    }
}
