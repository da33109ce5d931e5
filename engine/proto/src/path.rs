//! One path: its packet numbers, keys, RTT, loss, window, pacing and MTU. It knows no frames and no transfers, only what it
//! sent, what was answered, and which leases it holds.

use crate::ack::AckRecorder;
use crate::cc::{self, AckSample, Algorithm, Controller};
use crate::challenge::Challenge;
use crate::crypto::{Crypto, EPOCH_PACKETS, OpenRing, SealRing, Suite, next_epoch};
use crate::limits;
use crate::mtu::MtuSearch;
use crate::outgoing::Lease;
use crate::pacing::Pacer;
use crate::rtt::Rtt;
use crate::sent::{Acked, Content, Lost, SentLog, Train};
use crate::time::Time;
use crate::wire::{ConnectionId, PathId};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

/// In flight is at most so many times what the path holds at the rate at which the peer took the last round.
const FLIGHT: u64 = 2;
/// The same in start-up: the last round's rate is up to one and a half rounds old by then, while the window grows by 2.15 each. More than 4
/// brings nothing; 2 takes a round trip longer to 90 % of 1 Gbit/s at 50 ms.
const FLIGHT_STARTUP: u64 = 4;

/// Where packets of a path go and come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The peer's address.
    pub remote: SocketAddr,
    /// This end's address; `None` lets the system choose.
    pub local: Option<IpAddr>,
}

impl Address {
    /// Whether this is another pair of addresses; where one of the two does not know its own end, the other end decides.
    pub(crate) fn differs(&self, from: &Address) -> bool {
        let moved = matches!((self.local, from.local), (Some(a), Some(b)) if a != b);
        self.remote != from.remote || moved
    }
}

/// Whether a path may carry content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathState {
    /// This end's challenge was not answered yet.
    Unproven,
    /// It carries.
    Live,
    /// It stopped answering; it is probed and carries nothing.
    Suspect,
}

/// Counters of a path, for reports.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PathCounters {
    pub packets_sent: u64,
    pub packets_received: u64,
    pub packets_lost: u64,
    /// Packets received with a congestion mark.
    pub marks_received: u64,
    /// Congestion marks that the peer told of.
    pub marks_told: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Content bytes acknowledged.
    pub content_acked: u64,
    /// Content bytes placed.
    pub content_received: u64,
    /// Content bytes sent again.
    pub content_resent: u64,
    pub probe_timeouts: u64,
}

/// What a path needs to start.
pub(crate) struct PathStart<'a> {
    pub(crate) id: PathId,
    pub(crate) address: Address,
    pub(crate) destination: ConnectionId,
    pub(crate) state: PathState,
    pub(crate) suite: Suite,
    pub(crate) seal_secret: &'a [u8; 32],
    pub(crate) open_secret: &'a [u8; 32],
    pub(crate) algorithm: Algorithm,
    pub(crate) datagram_max: u16,
    pub(crate) peer_buffer: u32,
    pub(crate) rekey_after: Option<u32>,
    pub(crate) rtt: Option<Duration>,
    pub(crate) seed: u64,
}

/// How fast the peer acknowledges: the faster of the last two rounds.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    since: Time,
    bytes: u64,
    /// Bytes a second of the last round and of the one before.
    rates: [u64; 2],
}

impl Flow {
    fn rate(&self) -> u64 {
        self.rates[0].max(self.rates[1])
    }

    fn add(&mut self, now: Time, bytes: u64, rtt: Duration) {
        self.bytes += bytes;
        let span = now.since(self.since);
        if span < rtt.max(limits::TIMER_GRANULARITY) {
            return;
        }
        let rate = u128::from(self.bytes) * 1_000_000_000 / span.as_nanos();
        *self =
            Flow { since: now, bytes: 0, rates: [u64::try_from(rate).unwrap_or(u64::MAX), self.rates[0]] };
    }
}

/// One path of a connection.
#[derive(Debug)]
pub(crate) struct Path<C: Crypto> {
    pub(crate) id: PathId,
    pub(crate) address: Address,
    pub(crate) destination: ConnectionId,
    pub(crate) state: PathState,
    /// The shard that carries its content, 0 for the connection itself; not known while it is new.
    pub(crate) shard: Option<u8>,
    pub(crate) seal: SealRing<C>,
    pub(crate) open: OpenRing<C>,
    pub(crate) sent: SentLog,
    pub(crate) received: AckRecorder,
    pub(crate) rtt: Rtt,
    pub(crate) controller: Box<dyn Controller>,
    pub(crate) pacer: Pacer,
    pub(crate) mtu: MtuSearch,
    pub(crate) leases: Vec<Lease>,
    pub(crate) challenge: Option<Challenge>,
    pub(crate) response: Option<([u8; 8], Address)>,
    /// An ACK that went out on this path while it was suspect goes on another one too.
    pub(crate) ack_copy_owed: bool,
    pub(crate) ping_owed: bool,
    pub(crate) loss_timer: Option<Time>,
    pub(crate) probe_timeouts: u32,
    pub(crate) suspect_since: Time,
    pub(crate) next_probe: Time,
    pub(crate) counters: PathCounters,
    algorithm: Algorithm,
    seed: u64,
    /// When congestion control began, or started over: the fate of what was sent before is none of its business.
    controlled_since: Time,
    last_progress: Time,
    /// When something left on it that is to be acknowledged.
    pub(crate) last_eliciting: Time,
    /// When a probe timeout made the path send last.
    pub(crate) last_probe: Time,
    reorder_eighths: u32,
    skip_at: u64,
    skips: u64,
    peer_ce: u32,
    first_lag: Option<u32>,
    peer_buffer: u32,
    rekey_after: Option<u32>,
    flow: Flow,
    /// Live paths, which may all lead to one receive buffer.
    pub(crate) sharers: u64,
    /// Content bytes planned, as others count them that wait for a processor too.
    pub(crate) turn: u64,
    /// It waited for one when it was looked at last.
    pub(crate) waited: bool,
}

impl<C: Crypto> Path<C> {
    pub(crate) fn new(now: Time, crypto: &C, start: &PathStart<'_>) -> Self {
        let ipv6 = start.address.remote.is_ipv6();
        let mtu = MtuSearch::new(ipv6, start.datagram_max);
        let initial = start.rtt.unwrap_or(limits::INITIAL_RTT);
        let window = cc::INITIAL_WINDOW_PACKETS;
        let datagram = u64::from(mtu.current());
        let controller = cc::new(start.algorithm, window, datagram, start.rtt, start.seed);
        let pacer = Pacer::new(controller.pacing_rate());
        let mut rtt = Rtt::new(initial);
        if let Some(first) = start.rtt {
            rtt.sample(now, first, Duration::ZERO);
        }
        let mut path = Path {
            id: start.id,
            address: start.address,
            destination: start.destination,
            state: start.state,
            shard: None,
            seal: SealRing::new(crypto, start.seal_secret, start.suite, start.id),
            open: OpenRing::new(crypto, start.open_secret, start.suite, start.id),
            sent: SentLog::default(),
            received: AckRecorder::new(),
            rtt,
            controller,
            pacer,
            mtu,
            leases: Vec::with_capacity(limits::LEASES_ROOM),
            challenge: None,
            response: None,
            ack_copy_owed: false,
            ping_owed: false,
            loss_timer: None,
            probe_timeouts: 0,
            suspect_since: now,
            next_probe: now,
            counters: PathCounters::default(),
            algorithm: start.algorithm,
            seed: start.seed,
            controlled_since: now,
            last_progress: now,
            last_eliciting: now,
            last_probe: now,
            reorder_eighths: 1,
            skip_at: 0,
            skips: 0,
            peer_ce: 0,
            first_lag: None,
            peer_buffer: start.peer_buffer,
            rekey_after: start.rekey_after.filter(|_| start.suite.seals_data()),
            flow: Flow::default(),
            sharers: 1,
            turn: 0,
            waited: false,
        };
        path.plan_skip();
        path
    }

    /// Whether a shard carries its content.
    pub(crate) fn is_away(&self) -> bool {
        self.shard.is_some_and(|shard| shard > 0)
    }

    /// Whether the next number is to be left out (PROTOCOL.md#ack); then it is logged as such. Changes keys first, if that is due.
    pub(crate) fn skip_number_if_due(&mut self, now: Time) {
        self.rekey_if_due();
        if self.sent.next_number() >= self.skip_at {
            self.sent.push(Train::new(self.sent.next_number(), 1, now, (0, 0), Content::Skipped));
            self.plan_skip();
        }
    }

    /// Leaves out most of what remains of the epoch's numbers. Only while nothing is in flight, since the peer remembers numbers for no more
    /// than [`limits::NUMBERS_REMEMBERED`]; and the peer must have followed into this epoch, or it could lose sight of the next.
    fn rekey_if_due(&mut self) {
        let Some(packets) = self.rekey_after.filter(|_| self.sent.in_flight() == 0) else { return };
        let number = self.sent.next_number();
        let end = next_epoch(number);
        let (start, last) = (end - EPOCH_PACKETS, end - limits::REKEY_RUN);
        if number - start >= u64::from(packets) && number < last && self.sent.acked_end() > start {
            self.sent.leap(last);
        }
    }

    fn plan_skip(&mut self) {
        self.skips += 1;
        let random = mix(self.seed ^ mix(self.skips));
        self.skip_at = self.sent.next_number() + 1 + random % (2 * limits::SKIP_EVERY);
    }

    /// Bytes that may be sent now as one train: window, pacing and the log's bound. At most 64 KiB.
    pub(crate) fn send_budget(&mut self, now: Time) -> u64 {
        let in_flight = self.sent.in_flight();
        let window = self.window();
        if self.state != PathState::Live || in_flight >= window || !self.sent.has_room() {
            return 0;
        }
        self.pacer.budget(now, u64::from(self.mtu.current())).min(window - in_flight)
    }

    /// Bytes that may be in flight: the controller's window, but no more than what the path holds at a few times the rate at which the peer
    /// took the last round, and a path's share of half of the peer's receive buffer. More would overrun a peer whose thread waits for a
    /// processor.
    pub(crate) fn window(&self) -> u64 {
        // LEDBAT is to yield: it has no use for the end of a queue.
        let grows = self.controller.in_startup() && self.algorithm != Algorithm::Ledbat;
        let times = if grows { FLIGHT_STARTUP } else { FLIGHT };
        let held = self.flow.rate().saturating_mul(times).saturating_mul(self.rtt.min().as_micros() as u64)
            / 1_000_000;
        let bound = held.saturating_add(u64::from(self.peer_buffer / 2) / self.sharers);
        self.controller.window().min(bound.max(cc::INITIAL_WINDOW_PACKETS * u64::from(self.mtu.current())))
    }

    /// Size of the MTU probe that should go now, if any. Probes count as in flight, so that one that does not fit beside the rest would
    /// hold up content until it is lost.
    pub(crate) fn mtu_probe_due(&mut self, now: Time) -> Option<u16> {
        let budget = self.send_budget(now);
        self.mtu.probe_due(now).filter(|size| budget > 0 && self.has_window_for(*size))
    }

    fn has_window_for(&self, size: u16) -> bool {
        self.sent.in_flight() + u64::from(size) <= self.window()
    }

    /// When the next MTU probe is due; `None` also while there is no room for it.
    pub(crate) fn mtu_timer(&self) -> Option<Time> {
        let at = self.mtu.next_timer()?;
        let fits = self.mtu.probe_due(at).is_some_and(|size| self.has_window_for(size));
        fits.then_some(at)
    }

    /// Whether window and log let something go, if the pacer did.
    pub(crate) fn window_open(&self) -> bool {
        self.state == PathState::Live && self.sent.in_flight() < self.window() && self.sent.has_room()
    }

    /// Whether it would send content now, if a processor let it.
    pub(crate) fn is_willing(&self, now: Time) -> bool {
        self.window_open() && self.pacer.next_release(now).is_none()
    }

    /// Logs what was just sent. `paced`: the next train waits for it.
    pub(crate) fn log(&mut self, now: Time, mut train: Train, paced: bool) {
        let bytes = train.bytes(u64::MAX >> (64 - u32::from(train.count)));
        if train.is_in_flight_kind() {
            if self.sent.in_flight() == 0 {
                self.last_progress = now;
            }
            self.last_eliciting = now;
            train.snapshot = self.controller.on_sent(now, bytes, self.sent.in_flight());
        }
        if paced {
            self.pacer.on_sent(now, bytes);
        }
        self.counters.packets_sent += u64::from(train.count);
        self.counters.bytes_sent += bytes;
        self.sent.push(train);
    }

    /// How long after a later packet was acknowledged a packet counts as lost.
    pub(crate) fn loss_delay(&self) -> Duration {
        let rtt = self.rtt.smoothed().max(self.rtt.latest());
        (rtt + rtt / 8 * self.reorder_eighths).max(limits::TIMER_GRANULARITY)
    }

    /// Takes the news of one ACK: RTT, congestion control, progress. `lost` was declared by the same ACK.
    #[allow(clippy::too_many_arguments, reason = "the fields of an ACK frame")]
    pub(crate) fn on_acked(
        &mut self,
        now: Time,
        news: &Acked,
        lost: &Lost,
        delay: Duration,
        arrival_stamp: u32,
        ce_count: u32,
        idle: bool,
    ) {
        if news.bytes == 0 {
            return;
        }
        self.last_progress = now;
        self.flow.add(now, news.bytes, self.rtt.smoothed());
        self.probe_timeouts = 0;
        let mut measured = None;
        if let Some(sent) = news.rtt_from {
            let rtt = now.since(sent);
            self.rtt.sample(now, rtt, delay);
            measured = Some(rtt.saturating_sub(delay).max(Duration::from_micros(1)));
        }
        if news.spurious_bytes > 0 {
            self.reorder_eighths = (self.reorder_eighths * 2).min(limits::REORDER_EIGHTHS_MAX);
        }
        // An ACK that was overtaken counts fewer.
        let marks = ce_count.wrapping_sub(self.peer_ce);
        let ce_marked = marks != 0 && marks < 1 << 31;
        if ce_marked {
            self.peer_ce = ce_count;
            self.counters.marks_told += u64::from(marks);
        }
        let newest = news.newest.filter(|(sent, _)| *sent >= self.controlled_since);
        let Some((newest_sent_time, snapshot)) = newest else { return };
        if news.spurious_bytes > 0 {
            self.controller.on_spurious_loss(now, news.spurious_bytes);
        }
        // Differences of the two clocks count, not the clocks: the first one seen is the origin, shifted so that later ones stay positive.
        let lag = arrival_stamp.wrapping_sub(newest_sent_time.as_stamp());
        let origin = *self.first_lag.get_or_insert(lag.wrapping_sub(1 << 31));
        let one_way_delay = news.rtt_from.map(|_| Duration::from_micros(u64::from(lag.wrapping_sub(origin))));
        self.controller.on_ack(&AckSample {
            now,
            acked_bytes: news.bytes,
            lost_bytes: lost.bytes,
            in_flight: self.sent.in_flight(),
            rtt: measured,
            one_way_delay,
            ce_marked,
            newest_sent_time,
            snapshot,
            app_limited_now: idle,
        });
        self.pacer.set_rate(self.controller.pacing_rate());
    }

    /// Takes a loss.
    pub(crate) fn on_lost(&mut self, now: Time, lost: &Lost) {
        if lost.bytes > 0 && lost.newest >= self.controlled_since {
            self.controller.on_loss(now, lost.bytes, self.sent.in_flight(), lost.newest);
            self.pacer.set_rate(self.controller.pacing_rate());
        }
    }

    /// All that was in flight over several probe timeouts is lost.
    pub(crate) fn on_outage(&mut self, now: Time, lost_bytes: u64) {
        self.controller.on_persistent_congestion(now, lost_bytes);
        self.pacer.set_rate(self.controller.pacing_rate());
    }

    /// When the path is probed if nothing makes progress; `None` while nothing is in flight.
    pub(crate) fn probe_timeout_at(&self) -> Option<Time> {
        if self.sent.in_flight() == 0 {
            return None;
        }
        let oldest = self.sent.oldest_pending().map_or(self.last_progress, |(train, _)| train.time);
        let wait = self.rtt.probe_timeout(limits::ACK_DELAY_MAX);
        let backed_off = wait * (1 << self.probe_timeouts.min(limits::PROBE_BACKOFF_MAX));
        // A dead path is probed no less often because it is the only one.
        let wait = backed_off.min(wait.max(limits::DEAD_PROBE_EVERY));
        Some(self.last_progress.max(oldest).max(self.last_probe) + wait)
    }

    /// Largest datagram to send now: the least one while nothing is heard, or where large ones vanish they would for ever.
    pub(crate) fn mtu_now(&self) -> u16 {
        if self.probe_timeouts > 0 { crate::mtu::BASE } else { self.mtu.current() }
    }

    /// The path leads elsewhere: nothing that was measured holds.
    pub(crate) fn moved(&mut self, address: Address, datagram_max: u16) {
        self.address = address;
        self.rtt = Rtt::new(self.rtt.smoothed());
        self.mtu = MtuSearch::new(address.remote.is_ipv6(), datagram_max);
        self.first_lag = None;
    }

    /// The path answers again, or at a new address: congestion control starts over.
    pub(crate) fn restart(&mut self, now: Time) {
        let rtt = self.rtt.has_sample().then(|| self.rtt.min());
        let datagram = u64::from(self.mtu.current());
        self.controller = cc::new(
            self.algorithm,
            cc::INITIAL_WINDOW_PACKETS,
            datagram,
            rtt,
            mix(self.seed ^ now.as_nanos()),
        );
        self.pacer = Pacer::new(self.controller.pacing_rate());
        self.controlled_since = now;
        self.go_on(now);
    }

    /// The path carries again.
    pub(crate) fn go_on(&mut self, now: Time) {
        self.probe_timeouts = 0;
        self.last_progress = now;
        self.state = PathState::Live;
    }

    /// The path's MTU changed.
    pub(crate) fn on_mtu(&mut self) {
        self.controller.on_mtu(u64::from(self.mtu.current()));
    }
}

/// A bijection that leaves no visible pattern (the finaliser of splitmix64).
pub(crate) const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}
