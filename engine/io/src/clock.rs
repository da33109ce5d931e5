//! The clock of the engine: nanoseconds of `CLOCK_MONOTONIC` since the process first asked. And the processor time of a thread, for
//! measurements.

use std::mem;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

static START: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds since the first call in this process. Never goes back; about 20 ns a call, without a system call.
pub fn monotonic_ns() -> u64 {
    since(*START.get_or_init(Instant::now), Instant::now())
}

/// Processor time that the calling thread has used, in the kernel too (`CLOCK_THREAD_CPUTIME_ID`). A system call.
pub fn thread_cpu() -> Duration {
    // SAFETY: all zeroes is a valid time.
    let mut time: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes one time, to `time`, which outlives the call.
    let returned = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(returned, 0, "every thread has this clock");
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn since(start: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_its_own_time() {
        let before = thread_cpu();
        let other = std::thread::spawn(|| {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(20) {}
            thread_cpu()
        });
        let other = other.join().unwrap();
        assert!(other > Duration::ZERO);
        assert!(thread_cpu() - before < Duration::from_millis(20), "waiting for it counted");
    }

    #[test]
    fn never_goes_back() {
        let mut last = monotonic_ns();
        for _ in 0..1_000 {
            let now = monotonic_ns();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn counts_nanoseconds_and_stops_at_zero() {
        let start = Instant::now();
        assert_eq!(since(start, start + Duration::from_nanos(1)), 1);
        assert_eq!(since(start, start + Duration::from_secs(5)), 5_000_000_000);
        assert_eq!(since(start + Duration::from_secs(1), start), 0);
    }
}
