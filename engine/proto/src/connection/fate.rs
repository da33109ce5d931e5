//! The fate of what was sent: acknowledged or lost, and what follows from it for content, control and the path.

use super::Connection;
use crate::crypto::Crypto;
use crate::limits;
use crate::path::{Path, PathState};
use crate::sent::{Content, ControlContent, Lost, Train};
use crate::time::Time;
use crate::wire::{Ack, CloseCode};
use core::time::Duration;

impl<C: Crypto> Connection<C> {
    /// Takes an ACK of one of this end's paths.
    pub(super) fn take_ack(&mut self, now: Time, ack: &Ack<'_>) {
        let Some(i) = self.path_index(ack.path) else { return };
        let Connection { paths, send_stream, .. } = self;
        let (before, rest) = paths.split_at_mut(i);
        let Some((path, after)) = rest.split_first_mut() else { return };
        let mut content = 0;
        let mut mtu_grew = false;
        let mut named = None;
        let Path { sent, mtu, leases, .. } = path;
        let taken = sent.acknowledge(ack, |train, mask| match train.content {
            Content::Data(data) => {
                content += train.data_runs(data, mask).map(|r| u64::from(r.end - r.start)).sum::<u64>();
                if let Some(lease) = leases.iter_mut().find(|l| !l.lost.is_empty() && l.is_of(&data)) {
                    train.data_runs(data, mask).for_each(|run| lease.have(run));
                }
                mtu.on_packet_acked(train.sizes.0, train.first);
            }
            Content::Control(control, _) => {
                if let Some(piece) = control.stream {
                    send_stream.on_acked(piece);
                }
                named = named.or(control.ack);
                mtu.on_packet_acked(train.sizes.0, train.first);
            }
            Content::MtuProbe => mtu_grew |= mtu.on_probe_acked(now, train.first),
            Content::Skipped => {}
        });
        let Ok(news) = taken else {
            return self.fail(now, CloseCode::AckUnsent, "an ACK names a packet that was not sent");
        };
        if let Some((about, below)) = named {
            let mut all = before.iter_mut().chain(after).chain(core::iter::once(&mut *path));
            if let Some(other) = all.find(|p| p.id == about) {
                other.received.forget_below(below);
            }
        }
        if mtu_grew {
            path.on_mtu();
        }
        path.counters.content_acked += content;
        if news.bytes > 0 && path.state == PathState::Suspect {
            self.revive(now, i, news.newest.map(|(sent, _)| sent));
        }
        if let Some(sent) = news.rtt_from {
            self.rtt_sample = Some(now.since(sent));
        }
        let lost = self.detect_loss(now, i);
        let idle = !self.has_content(i);
        let delay = Duration::from_micros(u64::from(ack.delay_us)).min(limits::ACK_DELAY_MAX);
        self.paths[i].on_acked(now, &news, &lost, delay, ack.arrival_stamp, ack.ce_count, idle);
    }

    /// Declares what is overdue on path `i` as lost and puts its content where it will be sent again.
    pub(super) fn detect_loss(&mut self, now: Time, i: usize) -> Lost {
        let delay = self.paths[i].loss_delay();
        let (lost, again) = self.with_losses(now, i, |sent, visit| sent.detect(now, delay, visit));
        self.paths[i].loss_timer = again;
        self.paths[i].on_lost(now, &lost);
        lost
    }

    /// Runs `declare` over the log of path `i` and requeues what it declares lost.
    pub(super) fn with_losses<R>(
        &mut self,
        now: Time,
        i: usize,
        declare: impl FnOnce(&mut crate::sent::SentLog, &mut dyn FnMut(&Train, u64)) -> R,
    ) -> R {
        let Connection { paths, send_stream, incoming, credit_owed, abandoned, .. } = self;
        let Path { sent, mtu, leases, counters, controller, .. } = &mut paths[i];
        let datagram = mtu.current();
        let declared = declare(sent, &mut |train, mask| {
            counters.packets_lost += u64::from(mask.count_ones());
            match train.content {
                Content::Data(data) => {
                    mtu.on_packet_lost(now, train.sizes.0, train.first);
                    let lease = leases.iter_mut().find(|l| l.is_of(&data));
                    if let Some(lease) = lease {
                        train.data_runs(data, mask).for_each(|run| lease.lose(run));
                    }
                }
                Content::Control(ControlContent { stream, window, credit, abandon, .. }, _) => {
                    mtu.on_packet_lost(now, train.sizes.0, train.first);
                    if let Some(piece) = stream {
                        send_stream.on_lost(piece);
                    }
                    if let Some(incoming) = incoming.iter_mut().find(|x| Some(x.id()) == window) {
                        incoming.set_dirty();
                    }
                    *credit_owed |= credit;
                    abandoned.extend(abandon);
                }
                Content::MtuProbe => mtu.on_probe_lost(now, train.first),
                Content::Skipped => {}
            }
        });
        if mtu.current() != datagram {
            controller.on_mtu(u64::from(mtu.current()));
        }
        declared
    }
}
