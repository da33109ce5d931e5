//! When a socket counts as stuck: frames are on their way, and for a second none came back.

use crate::limits::XDP_STALL_NS;

/// Since when nothing gets on.
#[derive(Default)]
pub(super) struct Stall {
    since_ns: Option<u64>,
}

impl Stall {
    /// Looks at a socket with so many frames on their way, after some came back, or none. Whether it is stuck.
    pub(super) fn look(&mut self, now_ns: u64, came_back: bool, outstanding: usize) -> bool {
        if came_back || outstanding == 0 {
            self.since_ns = None;
            return false;
        }
        let since = *self.since_ns.get_or_insert(now_ns);
        now_ns.saturating_sub(since) >= XDP_STALL_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_without_progress_is_a_stall() {
        let mut stall = Stall::default();
        assert!(!stall.look(5, false, 1));
        assert!(!stall.look(5 + XDP_STALL_NS - 1, false, 3));
        assert!(stall.look(5 + XDP_STALL_NS, false, 3));
    }

    #[test]
    fn one_frame_that_comes_back_begins_anew() {
        let mut stall = Stall::default();
        stall.look(0, false, 2);
        assert!(!stall.look(XDP_STALL_NS - 1, true, 1));
        assert!(!stall.look(XDP_STALL_NS, false, 1));
        assert!(!stall.look(2 * XDP_STALL_NS - 1, false, 1));
        assert!(stall.look(2 * XDP_STALL_NS, false, 1));
    }

    #[test]
    fn who_sends_nothing_is_not_stuck() {
        let mut stall = Stall::default();
        for now in [0, XDP_STALL_NS, 9 * XDP_STALL_NS] {
            assert!(!stall.look(now, false, 0));
        }
        assert!(!stall.look(9 * XDP_STALL_NS, false, 1));
    }
}
