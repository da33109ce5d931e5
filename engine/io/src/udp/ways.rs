//! Where sending without copying pays: each way, a pair of addresses, is tried and judged by what the kernel reports.
//!
//! A device or a peer on the same host may make the kernel copy after all, which costs more than copying at once. So a way
//! has a trial of [`ZERO_COPY_TRIALS`] messages, and is given up when more than half of them were copied; those that pass
//! are judged again and again by as many. A way that failed is tried anew after [`ZERO_COPY_RETRY`] messages.

use std::net::IpAddr;

use crate::limits::{ZERO_COPY_RETRY, ZERO_COPY_TRIALS, ZERO_COPY_WAYS_MAX};
use crate::queue::{Transmit, ZeroCopy};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// On trial: messages lent so far.
    Trial(u32),
    /// Most are not copied.
    Proven,
    /// Most are copied: messages until the next trial.
    Refused(u32),
}

struct Way {
    source: Option<IpAddr>,
    destination: IpAddr,
    verdict: Verdict,
    /// Messages of this trial that the kernel is done with, copied ones among them, and those it did not take for want of room.
    done: u32,
    copied: u32,
    no_room: u32,
    /// It was told once that frames are copied here.
    told: bool,
}

/// The ways of one queue.
pub(super) struct Ways {
    ways: Vec<Way>,
    /// A way failed, or passed; not yet told.
    news: Option<u8>,
}

impl Ways {
    pub(super) fn new() -> Self {
        Ways { ways: Vec::with_capacity(ZERO_COPY_WAYS_MAX), news: None }
    }

    /// The way of a message that is worth sending without a copy; `None` when it is to be copied.
    pub(super) fn choose(&mut self, transmit: &Transmit) -> Option<u8> {
        let (source, destination) = (transmit.source, transmit.destination.ip());
        let known = self.ways.iter().position(|way| way.destination == destination && way.source == source);
        let index = known.or_else(|| self.add(source, destination))?;
        let way = &mut self.ways[index];
        match &mut way.verdict {
            Verdict::Trial(lent) => (*lent < ZERO_COPY_TRIALS).then_some(index as u8),
            Verdict::Proven => Some(index as u8),
            Verdict::Refused(left) => {
                *left -= 1;
                if *left == 0 {
                    way.start(Verdict::Trial(0));
                }
                None
            }
        }
    }

    fn add(&mut self, source: Option<IpAddr>, destination: IpAddr) -> Option<usize> {
        if self.ways.len() == ZERO_COPY_WAYS_MAX {
            return None;
        }
        let verdict = Verdict::Trial(0);
        self.ways.push(Way { source, destination, verdict, done: 0, copied: 0, no_room: 0, told: false });
        Some(self.ways.len() - 1)
    }

    /// The kernel took a message of the way without copying it so far.
    pub(super) fn lent(&mut self, way: u8) {
        if let Verdict::Trial(lent) = &mut self.ways[usize::from(way)].verdict {
            *lent += 1;
        }
    }

    /// The kernel is done with a message of the way.
    pub(super) fn completed(&mut self, way: u8, copied: bool) {
        self.judge(way, copied);
    }

    /// The kernel did not take a message of the way without copying it.
    pub(super) fn turned_away(&mut self, way: u8) {
        self.ways[usize::from(way)].no_room += 1;
        self.judge(way, true);
    }

    fn judge(&mut self, index: u8, copied: bool) {
        let way = &mut self.ways[usize::from(index)];
        way.done += 1;
        way.copied += u32::from(copied);
        if matches!(way.verdict, Verdict::Refused(_)) {
            return;
        }
        if way.copied * 2 > ZERO_COPY_TRIALS {
            way.verdict = Verdict::Refused(ZERO_COPY_RETRY);
            self.news = Some(index);
        } else if way.done >= ZERO_COPY_TRIALS {
            way.start(Verdict::Proven);
            self.news = Some(index);
        }
    }

    /// What there is to say of a way that was judged since the last call: nothing, if it passed.
    pub(super) fn take_news(&mut self) -> Option<Option<String>> {
        let way = &mut self.ways[usize::from(self.news.take()?)];
        if !matches!(way.verdict, Verdict::Refused(_)) || std::mem::replace(&mut way.told, true) {
            return Some(None);
        }
        let (destination, copied, no_room) = (way.destination, way.copied - way.no_room, way.no_room);
        Some(Some(match no_room {
            0 => format!(
                "frames to {destination} are copied: the kernel reports that it copied {copied} of {} sent without",
                way.done
            ),
            _ => format!(
                "frames to {destination} are copied: of {} sent without, {no_room} found no room (net.core.optmem_max, \
                 locked memory) and {copied} were copied by the kernel",
                way.done
            ),
        }))
    }

    /// What has been found so far.
    pub(super) fn found(&self) -> ZeroCopy {
        let any = |verdict: fn(&Verdict) -> bool| self.ways.iter().any(|way| verdict(&way.verdict));
        if any(|verdict| *verdict == Verdict::Proven) {
            ZeroCopy::Used
        } else if any(|verdict| matches!(verdict, Verdict::Refused(_))) {
            ZeroCopy::Refused
        } else {
            ZeroCopy::Untried
        }
    }
}

impl Way {
    fn start(&mut self, verdict: Verdict) {
        (self.verdict, self.done, self.copied, self.no_room) = (verdict, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(destination: &str) -> Transmit {
        let destination = destination.parse().unwrap();
        Transmit { destination, source: None, len: 60_000, segment: 1_400, ecn: None }
    }

    /// Lends `count` messages and completes each at once.
    fn trial(ways: &mut Ways, transmit: &Transmit, count: u32, copied: impl Fn(u32) -> bool) {
        for n in 0..count {
            let way = ways.choose(transmit).unwrap();
            ways.lent(way);
            ways.completed(way, copied(n));
        }
    }

    #[test]
    fn a_way_where_the_kernel_copies_is_given_up_after_half_its_trial() {
        let (mut ways, near) = (Ways::new(), to("127.0.0.1:9"));
        trial(&mut ways, &near, ZERO_COPY_TRIALS / 2, |_| true);
        assert!(ways.take_news().is_none());
        trial(&mut ways, &near, 1, |_| true);
        let note = ways.take_news().unwrap().unwrap();
        assert!(note.contains("127.0.0.1") && note.contains("17 of 17"), "{note}");
        assert_eq!((ways.found(), ways.choose(&near)), (ZeroCopy::Refused, None));
    }

    #[test]
    fn ways_are_judged_each_for_itself() {
        let (mut ways, near, far) = (Ways::new(), to("127.0.0.1:9"), to("192.0.2.1:9"));
        trial(&mut ways, &near, ZERO_COPY_TRIALS / 2 + 1, |_| true);
        trial(&mut ways, &far, ZERO_COPY_TRIALS, |n| n % 2 == 0);
        assert_eq!((ways.found(), ways.take_news()), (ZeroCopy::Used, Some(None)));
        assert!(ways.choose(&near).is_none());
        let other_way_out = Transmit { source: "192.0.2.9".parse().ok(), ..near };
        assert!(ways.choose(&other_way_out).is_some());
        // A way that passed can still fail.
        trial(&mut ways, &far, ZERO_COPY_TRIALS / 2 + 1, |_| true);
        assert_eq!((ways.found(), ways.choose(&far)), (ZeroCopy::Refused, None));
    }

    #[test]
    fn a_trial_waits_for_its_verdict() {
        let (mut ways, far) = (Ways::new(), to("192.0.2.1:9"));
        for _ in 0..ZERO_COPY_TRIALS {
            let way = ways.choose(&far).unwrap();
            ways.lent(way);
        }
        assert_eq!((ways.choose(&far), ways.found()), (None, ZeroCopy::Untried));
        (0..ZERO_COPY_TRIALS).for_each(|_| ways.completed(0, false));
        assert_eq!((ways.choose(&far), ways.found()), (Some(0), ZeroCopy::Used));
    }

    #[test]
    fn a_way_that_failed_is_tried_again_seldom_and_told_once() {
        let (mut ways, near) = (Ways::new(), to("127.0.0.1:9"));
        for round in 0..2 {
            trial(&mut ways, &near, ZERO_COPY_TRIALS / 2 + 1, |_| true);
            assert_eq!(ways.take_news().unwrap().is_some(), round == 0);
            (0..ZERO_COPY_RETRY).for_each(|_| assert!(ways.choose(&near).is_none()));
        }
        assert!(ways.choose(&near).is_some());
    }

    #[test]
    fn want_of_room_ends_a_way_too_and_is_named() {
        let (mut ways, far) = (Ways::new(), to("192.0.2.1:9"));
        for _ in 0..=ZERO_COPY_TRIALS / 2 {
            let way = ways.choose(&far).unwrap();
            ways.turned_away(way);
        }
        assert!(ways.take_news().unwrap().unwrap().contains("17 found no room (net.core.optmem_max"));
    }

    #[test]
    fn more_ways_than_are_judged_are_copied() {
        let mut ways = Ways::new();
        for n in 0..=ZERO_COPY_WAYS_MAX {
            let chosen = ways.choose(&to(&format!("192.0.2.{n}:9")));
            assert_eq!(chosen.is_some(), n < ZERO_COPY_WAYS_MAX, "{n}");
        }
    }
}
