//! What a driver tells of itself a few times a second: totals for the application, the connection's rate for the source.

use super::verdict::Limits;
use super::{Driver, Half, Stage, TRANSFER, pair_of};
use crate::api::{Progress, Stage as Limit};
use std::time::Duration;
use xfer_proto::path::PathState;
use xfer_proto::time::Time;

impl Driver {
    pub(super) fn publish(&mut self, now: Time) {
        self.tell_rate(now.since(self.published));
        self.published = now;
        self.end_window();
        self.tell_limits();
        let shared = self.shared.clone();
        shared.publish(|progress| self.report(progress));
    }

    /// Accounts for the time since totals were published last.
    pub(super) fn end_window(&mut self) {
        let live = self.connection.path_reports().filter(|path| path.state == PathState::Live);
        let rtt = live.map(|path| path.rtt_min).min().unwrap_or_default();
        self.account.end_window(self.occupation, rtt);
    }

    /// Tells the peer what holds the transfer up, when that has changed and the transfer is not about to end.
    fn tell_limits(&mut self) {
        let completed = matches!(&self.half, Half::Sending(s) if s.completed().is_some());
        let goes_on = self.started && !completed && matches!(self.stage, Stage::Running);
        let limits = self.account.limits();
        if goes_on && self.is_established() && limits != self.told {
            self.told = limits;
            self.connection.send(&limits.message(TRANSFER));
        }
    }

    /// What holds the transfer up, of what both ends see.
    pub(super) fn limits(&self) -> Limits {
        self.account.limits().with(self.peer, matches!(self.half, Half::Sending(_)))
    }

    /// Tells the source what the connection could carry: what it does carry where it is what holds the transfer up, else at least that
    /// and the windows' worth.
    fn tell_rate(&mut self, span: Duration) {
        let Half::Sending(sending) = &self.half else { return };
        let acked: u64 = self.connection.path_reports().map(|p| p.counters.content_acked).sum();
        let bytes = acked.saturating_sub(self.delivered);
        self.delivered = acked;
        let mut rate = per_second(bytes, span);
        if !matches!(self.account.of_window(), Limit::Path | Limit::RateLimit) && rate > 0 {
            let live = self.connection.path_reports().filter(|p| p.state == PathState::Live);
            let windows: u64 = live.map(|p| per_second(p.window, p.rtt)).fold(0, u64::saturating_add);
            let cap = self.config.rate_max.map_or(u64::MAX, |bits| bits / 8);
            rate = rate.max(windows.min(cap));
        }
        if rate > 0 {
            sending.tell_rate(rate);
        }
    }

    /// Writes the totals by now into `progress`, whose list of paths is reused.
    pub(super) fn report(&self, progress: &mut Progress) {
        self.totals.report(progress);
        progress.limited_by = self.limits().now;
        let sending = matches!(self.half, Half::Sending(_));
        for path in self.connection.path_reports() {
            progress.wire_bytes += path.counters.bytes_sent + path.counters.bytes_received;
            progress.retransmitted_bytes += path.counters.content_resent;
            let Some(pair) = pair_of(&path.address) else { continue };
            let counters = path.counters;
            let bytes = if sending { counters.content_acked } else { counters.content_received };
            progress.paths.push(crate::api::PathReport {
                pair,
                up: path.state == PathState::Live,
                bytes,
                rtt: path.rtt,
                loss: counters.packets_lost as f64 / counters.packets_sent.max(1) as f64,
                mtu: path.mtu,
                window: path.window,
                packets_sent: counters.packets_sent,
                packets_received: counters.packets_received,
            });
        }
    }
}

fn per_second(bytes: u64, span: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000_000 / span.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}
