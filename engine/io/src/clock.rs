//! The clock of the engine: nanoseconds of `CLOCK_MONOTONIC` since the process first asked. And what the process and each of its
//! threads cost so far.

use crate::error::check;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

static START: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds since the first call in this process. Never goes back; about 20 ns a call, without a system call.
pub fn monotonic_ns() -> u64 {
    since(*START.get_or_init(Instant::now), Instant::now())
}

fn since(start: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}

/// Processor time of all threads of this process so far, in user space and in the kernel on its behalf. Interrupts are not in it.
pub fn process_cpu() -> Duration {
    time_of(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The same of the calling thread. A system call.
pub fn thread_cpu() -> Duration {
    time_of(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn time_of(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec, that of `time`, which outlives the call.
    let told = check(unsafe { libc::clock_gettime(clock, &raw mut time) });
    told.expect("every Linux has this clock");
    // Both are what the kernel counted up from 0, the second one below 10^9.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
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
    #[test]
    fn work_costs_processor_time() {
        let before = process_cpu();
        let mut after = before;
        // Bounded: each turn is work.
        for _ in 0..100_000_000 {
            after = process_cpu();
            if after > before {
                break;
            }
        }
        assert!(after > before);
    }
}
