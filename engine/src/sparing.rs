//! Log lines that somebody else can cause: some are written, the others counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets a number of lines of one kind pass in each span of time.
#[derive(Debug)]
pub struct Sparing {
    lines: u32,
    every: Duration,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Sparing {
    /// At most `lines` lines in each `every`.
    pub const fn new(lines: u32, every: Duration) -> Self {
        Sparing { lines, every, window: Mutex::new(Window { since: None, written: 0, left_out: 0 }) }
    }

    /// Whether a line may be written at `now`: then how many were left out since the last one, to be told with it.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.since.is_none_or(|since| now.saturating_duration_since(since) >= self.every) {
            (window.since, window.written) = (Some(now), 0);
        }
        if window.written >= self.lines {
            window.left_out += 1;
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_lines_pass_and_the_others_are_counted() {
        let sparing = Sparing::new(2, Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let told: Vec<_> = [0, 1, 2, 9, 10, 11, 12].map(|s| sparing.admit(at(s))).into();
        assert_eq!(told, [Some(0), Some(0), None, None, Some(2), Some(0), None]);
        assert_eq!(sparing.admit(at(100)), Some(1));
    }
}
