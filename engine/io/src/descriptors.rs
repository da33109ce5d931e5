//! How many descriptors this process may have open (`RLIMIT_NOFILE`).

/// Descriptors that may be open now.
pub fn limit() -> u64 {
    get().rlim_cur
}

/// Lets the process have as many as it may without asking anybody, and tells how many that are. For programs, not for libraries: children
/// inherit it, and `select` knows 1,024 only.
pub fn raise() -> u64 {
    let limits = get();
    let raised = libc::rlimit { rlim_cur: limits.rlim_max, ..limits };
    // SAFETY: `raised` is a valid `rlimit` for the time of the call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) };
    limit()
}

fn get() -> libc::rlimit {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limits` is a valid `rlimit` that nobody else has; the call fails for no other reason.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limits) };
    assert_eq!(got, 0, "every process has this limit");
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_as_high_as_it_may_be_after_it_was_raised() {
        let before = limit();
        assert!(before > 0);
        assert_eq!(raise(), get().rlim_max);
        assert!(limit() >= before);
    }
}
