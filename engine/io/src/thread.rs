//! Threads: the processors this process may use, named workers, pinned to one of them.
//!
//! Made of two system calls and not of the crate core_affinity, which hides why a pin failed.

use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{IoError, check};
use crate::limits::CORES_MAX;

/// How often [`join_by`] looks whether its thread has ended.
const JOIN_POLL: Duration = Duration::from_millis(2);

/// Numbers of the processors that the calling thread may run on, in ascending order.
pub fn affinity() -> Result<Vec<usize>, IoError> {
    let set = get_affinity().map_err(|error| IoError::new("read", "processor affinity", &error))?;
    // SAFETY: CPU_ISSET reads one bit of a whole set; the number is below its size.
    Ok((0..CORES_MAX).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect())
}

fn get_affinity() -> io::Result<libc::cpu_set_t> {
    // SAFETY: all zeroes is a valid set: the empty one.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes at most the size given, that of `set`, which outlives the call.
    check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) })?;
    Ok(set)
}

/// Keeps the calling thread on one processor.
pub fn pin_current(core: usize) -> Result<(), IoError> {
    let object = || format!("thread to processor {core}");
    if core >= CORES_MAX {
        return Err(IoError { op: "pin", object: object(), errno: libc::EINVAL });
    }
    // SAFETY: all zeroes is a valid set: the empty one.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: CPU_SET sets one bit of a whole set; the number is below its size.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the kernel reads the size given, that of `set`, which outlives the call.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })
        .map(drop)
        .map_err(|error| IoError::new("pin", object(), &error))
}

/// Lets the calling thread's sleeps end within a nanosecond of their deadline instead of the usual 50 us.
pub fn wake_precisely() -> Result<(), IoError> {
    // What the option does not use is passed all the same: valgrind looks at it.
    let [slack, none]: [libc::c_ulong; 2] = [1, 0];
    // SAFETY: this option takes a number, no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack, none, none, none) })
        .map(drop)
        .map_err(|error| IoError::new("set", "timer slack", &error))
}

/// How long a thread waited for a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Time that it was ready and did not run.
    pub time: Duration,
    /// How often it got a processor.
    pub count: u64,
}

/// How long a thread had to wait for a processor, as the kernel counts it (`/proc/thread-self/schedstat`).
#[derive(Debug)]
pub struct RunDelay(File);

impl RunDelay {
    /// Of the calling thread; `None` where the kernel does not tell.
    pub fn of_this_thread() -> Option<RunDelay> {
        let delay = RunDelay(File::open("/proc/thread-self/schedstat").ok()?);
        delay.read().is_some().then_some(delay)
    }

    /// All since the thread started. A system call.
    pub fn read(&self) -> Option<Waits> {
        let mut text = [0; 96];
        let len = self.0.read_at(&mut text, 0).ok()?;
        let mut fields = std::str::from_utf8(text.get(..len)?).ok()?.split_ascii_whitespace().skip(1);
        let mut next = || fields.next()?.parse().ok();
        Some(Waits { time: Duration::from_nanos(next()?), count: next()? })
    }
}

/// Starts a thread and, if a core is given, pins it before `run` begins; returns when both have succeeded. Names
/// are cut to 15 bytes by the kernel. The handle gives `Some` of what `run` returned, or its panic.
pub fn spawn<T: Send + 'static>(
    name: &str,
    core: Option<usize>,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<Option<T>>, IoError> {
    let (tell, told) = mpsc::sync_channel(1);
    let start = move || {
        let pinned = core.map_or(Ok(()), pin_current).and_then(|()| wake_precisely());
        let ready = pinned.is_ok();
        // The other end waits for exactly this message, so it is there.
        let heard = tell.send(pinned).is_ok();
        (ready && heard).then(run)
    };
    let fail = |error: io::Error| IoError::new("start", format!("thread {name}"), &error);
    let handle = Builder::new().name(name.to_owned()).spawn(start).map_err(fail)?;
    told.recv().unwrap_or_else(|_| Err(fail(io::Error::other("thread ended"))))?;
    Ok(handle)
}

/// Waits for the end of a thread until `deadline`. `None`: it still runs, and is left to itself.
pub fn join_by<T>(thread: JoinHandle<T>, deadline: Instant) -> Option<std::thread::Result<T>> {
    while !thread.is_finished() && Instant::now() < deadline {
        std::thread::sleep(JOIN_POLL);
    }
    thread.is_finished().then(|| thread.join())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_named_and_pinned_before_it_runs() {
        let core = *affinity().unwrap().last().unwrap();
        let work = move || (std::thread::current().name().map(str::to_owned), affinity().unwrap());
        let handle = spawn("worker 0", Some(core), work).unwrap();
        let (name, cores) = handle.join().unwrap().unwrap();
        assert_eq!((name.as_deref(), cores), (Some("worker 0"), vec![core]));
    }

    #[test]
    fn a_core_that_is_not_there_is_an_error_and_nothing_runs() {
        for core in [CORES_MAX - 1, CORES_MAX, usize::MAX] {
            let error = spawn("w", Some(core), || unreachable!("ran unpinned")).unwrap_err();
            assert_eq!((error.op, error.errno), ("pin", libc::EINVAL), "{error}");
        }
    }

    /// Two threads that want one processor wait for each other.
    #[test]
    fn waiting_for_a_processor_counts() {
        let core = affinity().unwrap()[0];
        let spin = move || {
            let delay = RunDelay::of_this_thread().expect("this kernel counts how long threads wait");
            let start = std::time::Instant::now();
            while start.elapsed() < Duration::from_millis(200) {}
            delay.read().expect("it still does")
        };
        let threads = [(); 2].map(|()| spawn("w", Some(core), spin).unwrap());
        let waited = threads.map(|thread| thread.join().unwrap().unwrap());
        let time = waited.iter().map(|waits| waits.time).sum::<Duration>();
        assert!(time >= Duration::from_millis(100), "{waited:?}");
        assert!(waited.iter().all(|waits| waits.count > 0), "{waited:?}");
    }

    #[test]
    fn a_panic_is_found_in_the_handle() {
        let handle = spawn("w", None, || panic!("on purpose")).unwrap();
        assert!(handle.join().is_err());
    }
}
