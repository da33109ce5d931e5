//! One bottleneck in virtual time: flows send trains through a tail-drop queue, receivers acknowledge.
//!
//! Trains are events, packets are arithmetic: each packet of a train meets random loss, then the queue. ACKs come
//! as PROTOCOL.md has them (64 packets, a quarter RTT, a gap; 8 packets or 1 ms in start-up). Losses are declared by
//! time, as RACK does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use xfer_proto::cc::{self, AckSample, Algorithm, Controller, INITIAL_WINDOW_PACKETS, SendSnapshot};
use xfer_proto::pacing::Pacer;
use xfer_proto::rtt::Rtt;
use xfer_proto::time::Time;

/// UDP payload of a packet, and what it takes of the wire (IP and UDP headers; rate is counted at the IP layer).
pub(crate) const PAYLOAD: u64 = 1472;
pub(crate) const WIRE: u64 = 1500;

/// Mean time between two stalls of a sender.
const STALL_EVERY: Duration = Duration::from_millis(200);

/// A wire and its faults.
#[derive(Clone, Copy)]
pub(crate) struct Wire {
    pub(crate) bits_per_second: u64,
    pub(crate) rtt: Duration,
    /// Queue in hundredths of the bandwidth-delay product.
    pub(crate) queue_percent: u64,
    /// Packets lost of a million, in both directions.
    pub(crate) loss_ppm: u64,
    /// The worker's loop is late by up to this much.
    pub(crate) poll_late: Duration,
    /// A sender stands still for up to this long, about every [`STALL_EVERY`].
    pub(crate) stall: Duration,
    pub(crate) seed: u64,
}

/// A flow that has data from `start` on.
#[derive(Clone, Copy)]
pub(crate) struct FlowPlan {
    pub(crate) algorithm: Algorithm,
    pub(crate) start: Duration,
}

struct Train {
    sent: Time,
    packets: u64,
    snapshot: SendSnapshot,
}

#[derive(Debug)]
struct Arrival {
    train: u64,
    packets: u64,
    at: Time,
}

#[derive(Debug)]
enum Event {
    Send,
    /// What survived of a train reaches the receiver.
    Data(Arrival),
    AckTimer,
    Ack(Vec<Arrival>),
}

impl Event {
    fn is_at_the_sender(&self) -> bool {
        matches!(self, Event::Send | Event::Ack(_))
    }
}

struct Flow {
    control: Box<dyn Controller>,
    pacer: Pacer,
    rtt: Rtt,
    trains: VecDeque<Train>,
    first_train: u64,
    in_flight: u64,
    newest_acked: Time,
    last_ack: Time,
    wake: Option<Time>,
    pending: Vec<Arrival>,
    pending_packets: u64,
    ack_timer: bool,
    next_expected: u64,
    start: Time,
    /// The stall that comes next, or that is.
    stall: (Time, Time),
    /// Payload received in each millisecond.
    per_ms: Vec<u64>,
    sent: u64,
    lost: u64,
}

impl Flow {
    fn new(plan: &FlowPlan, wire: &Wire, index: u64) -> Self {
        let seed = wire.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + index + 1;
        let control = cc::new(plan.algorithm, INITIAL_WINDOW_PACKETS, PAYLOAD, Some(wire.rtt), seed);
        Flow {
            pacer: Pacer::new(control.pacing_rate()),
            control,
            rtt: Rtt::new(wire.rtt),
            trains: VecDeque::new(),
            first_train: 0,
            in_flight: 0,
            newest_acked: Time::from_nanos(0),
            last_ack: Time::from_nanos(0),
            wake: None,
            pending: Vec::new(),
            pending_packets: 0,
            ack_timer: false,
            next_expected: 0,
            start: Time::from_nanos(0) + plan.start,
            stall: (Time::from_nanos(0), Time::from_nanos(0)),
            per_ms: Vec::new(),
            sent: 0,
            lost: 0,
        }
    }

    /// Takes what the peer acknowledged off the books; the sample lacks its losses.
    fn credit(&mut self, now: Time, back: Duration, arrivals: &[Arrival]) -> AckSample {
        let mut acked = 0;
        let mut newest: Option<(Time, SendSnapshot)> = None;
        for arrival in arrivals {
            let Some(index) = arrival.train.checked_sub(self.first_train) else { continue };
            let Some(train) = self.trains.get_mut(index as usize) else { continue };
            let packets = arrival.packets.min(train.packets);
            train.packets -= packets;
            acked += packets * PAYLOAD;
            if packets > 0 && newest.is_none_or(|(sent, _)| train.sent >= sent) {
                newest = Some((train.sent, train.snapshot));
            }
        }
        self.in_flight -= acked;
        // The receiver reports how long it held the newest packet back.
        let held = arrivals.last().map_or(Duration::ZERO, |newest| (now - back).since(newest.at));
        let rtt = newest.map(|(sent, _)| now.since(sent) - held);
        if let Some(rtt) = rtt {
            self.rtt.sample(now, rtt, Duration::ZERO);
        }
        let (newest_sent_time, snapshot) = newest.unwrap_or_default();
        self.newest_acked = self.newest_acked.max(newest_sent_time);
        AckSample {
            now,
            acked_bytes: acked,
            lost_bytes: 0,
            in_flight: self.in_flight,
            rtt,
            one_way_delay: None,
            ce_marked: false,
            newest_sent_time,
            snapshot,
            app_limited_now: false,
        }
    }

    /// Declares lost what was sent long enough before the newest acknowledged train.
    fn declare_losses(&mut self, everything: bool) -> (u64, Time) {
        let reorder = self.rtt.min() / 8;
        let mut lost = 0;
        let mut newest = Time::from_nanos(0);
        while let Some(train) = self.trains.front() {
            if train.packets > 0 && !everything && train.sent + reorder > self.newest_acked {
                break;
            }
            if train.packets > 0 {
                lost += train.packets * PAYLOAD;
                newest = train.sent;
            }
            self.trains.pop_front();
            self.first_train += 1;
        }
        self.in_flight -= lost;
        self.lost += lost;
        (lost, newest)
    }
}

/// The link with its flows.
pub(crate) struct Link {
    wire: Wire,
    flows: Vec<Flow>,
    events: BinaryHeap<Reverse<(Time, u64, usize)>>,
    bodies: std::collections::HashMap<u64, Event>,
    sequence: u64,
    /// When the bottleneck has sent all that it holds.
    busy_until: Time,
    random: u64,
}

impl Link {
    pub(crate) fn new(wire: Wire, plans: &[FlowPlan]) -> Self {
        let flows = plans.iter().zip(0..).map(|(plan, i)| Flow::new(plan, &wire, i)).collect();
        let mut link = Link {
            wire,
            flows,
            events: BinaryHeap::new(),
            bodies: Default::default(),
            sequence: 0,
            busy_until: Time::from_nanos(0),
            random: wire.seed | 1,
        };
        for flow in 0..plans.len() {
            let start = link.flows[flow].start;
            link.schedule(start, flow, Event::Send);
        }
        link
    }

    fn schedule(&mut self, time: Time, flow: usize, event: Event) {
        self.sequence += 1;
        self.bodies.insert(self.sequence, event);
        self.events.push(Reverse((time, self.sequence, flow)));
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn drops(&mut self) -> bool {
        self.wire.loss_ppm > 0 && self.random() % 1_000_000 < self.wire.loss_ppm
    }

    pub(crate) fn run(&mut self, until: Duration) {
        let until = Time::from_nanos(0) + until;
        while let Some(Reverse((now, id, flow))) = self.events.pop_if_before(until) {
            let Some(event) = self.bodies.remove(&id) else { continue };
            let stalled = self.stalled_until(now, flow).filter(|_| event.is_at_the_sender());
            if let Some(over) = stalled {
                self.put_off(now, over, flow, event);
                continue;
            }
            match event {
                Event::Send => {
                    if self.flows[flow].wake == Some(now) {
                        self.flows[flow].wake = None;
                    }
                    self.send(now, flow);
                }
                Event::Data(arrival) => self.receive(now, flow, arrival),
                Event::AckTimer => {
                    self.flows[flow].ack_timer = false;
                    self.acknowledge(now, flow);
                }
                Event::Ack(arrivals) => self.take_ack(now, flow, &arrivals),
            }
        }
    }

    /// The end of the stall that `flow` is in.
    fn stalled_until(&mut self, now: Time, flow: usize) -> Option<Time> {
        let longest = self.wire.stall.as_nanos() as u64;
        if longest == 0 {
            return None;
        }
        let (mut from, mut until) = self.flows[flow].stall;
        while now >= until {
            from = until + Duration::from_nanos(self.random() % (2 * STALL_EVERY.as_nanos() as u64));
            until = from + Duration::from_nanos(self.random() % longest);
        }
        self.flows[flow].stall = (from, until);
        (now >= from).then_some(until)
    }

    fn put_off(&mut self, now: Time, until: Time, flow: usize, event: Event) {
        if matches!(event, Event::Send) && self.flows[flow].wake == Some(now) {
            self.flows[flow].wake = Some(until);
        }
        self.schedule(until, flow, event);
    }

    fn wake(&mut self, flow: usize, time: Time) {
        let late = self.wire.poll_late.as_nanos() as u64;
        let time = if late == 0 { time } else { time + Duration::from_nanos(self.random() % late) };
        if self.flows[flow].wake.is_none_or(|wake| time < wake) {
            self.flows[flow].wake = Some(time);
            self.schedule(time, flow, Event::Send);
        }
    }

    fn send(&mut self, now: Time, index: usize) {
        loop {
            let flow = &mut self.flows[index];
            let room = flow.control.window().saturating_sub(flow.in_flight) / PAYLOAD * PAYLOAD;
            if room == 0 {
                self.probe_if_stuck(now, index);
                return;
            }
            flow.pacer.set_rate(flow.control.pacing_rate());
            let bytes = flow.pacer.budget(now, PAYLOAD).min(room);
            if bytes == 0 {
                let due = flow.pacer.next_release(now).expect("no budget without a time");
                return self.wake(index, due);
            }
            let snapshot = flow.control.on_sent(now, bytes, flow.in_flight);
            flow.pacer.on_sent(now, bytes);
            flow.in_flight += bytes;
            flow.sent += bytes;
            let packets = bytes / PAYLOAD;
            let train = flow.first_train + flow.trains.len() as u64;
            flow.trains.push_back(Train { sent: now, packets, snapshot });
            self.transmit(now, index, train, packets);
        }
    }

    /// Stands for the probe timeout: after three round trips without an ACK, all is lost.
    fn probe_if_stuck(&mut self, now: Time, index: usize) {
        let flow = &mut self.flows[index];
        let patience = flow.rtt.smoothed() * 3;
        let due = flow.last_ack.max(flow.start) + patience;
        if now < due {
            return self.wake(index, due);
        }
        let (lost, newest) = flow.declare_losses(true);
        flow.control.on_loss(now, lost, 0, newest);
        flow.last_ack = now;
        self.wake(index, now);
    }

    /// Random loss, then the tail-drop queue, packet by packet.
    fn transmit(&mut self, now: Time, index: usize, train: u64, packets: u64) {
        let per_packet = Duration::from_nanos(WIRE * 8 * 1_000_000_000 / self.wire.bits_per_second);
        let queue_max = self.wire.rtt * self.wire.queue_percent as u32 / 100;
        let mut passed = 0;
        for _ in 0..packets {
            let free = self.busy_until.max(now);
            if self.drops() || free.since(now) > queue_max {
                continue;
            }
            self.busy_until = free + per_packet;
            passed += 1;
        }
        if passed > 0 {
            let arrival = self.busy_until + self.wire.rtt / 2;
            self.schedule(arrival, index, Event::Data(Arrival { train, packets: passed, at: arrival }));
        }
    }

    fn receive(&mut self, now: Time, index: usize, arrival: Arrival) {
        let rtt = self.wire.rtt;
        let flow = &mut self.flows[index];
        let bytes = arrival.packets * PAYLOAD;
        let ms = (now.as_nanos() / 1_000_000) as usize;
        if flow.per_ms.len() <= ms {
            flow.per_ms.resize(ms + 1, 0);
        }
        flow.per_ms[ms] += bytes;
        let gap = arrival.train > flow.next_expected;
        flow.next_expected = arrival.train + 1;
        flow.pending_packets += arrival.packets;
        flow.pending.push(arrival);
        let startup = flow.control.in_startup();
        let (packets_max, delay) = if startup { (8, Duration::from_millis(1)) } else { (64, rtt / 4) };
        if gap || flow.pending_packets >= packets_max {
            self.acknowledge(now, index);
        } else if !flow.ack_timer {
            flow.ack_timer = true;
            self.schedule(now + delay, index, Event::AckTimer);
        }
    }

    /// A lost ACK's news come with the next one.
    fn acknowledge(&mut self, now: Time, index: usize) {
        if self.flows[index].pending.is_empty() {
            return;
        }
        self.flows[index].pending_packets = 0;
        if self.drops() {
            return;
        }
        let arrivals = std::mem::take(&mut self.flows[index].pending);
        self.schedule(now + self.wire.rtt / 2, index, Event::Ack(arrivals));
    }

    fn take_ack(&mut self, now: Time, index: usize, arrivals: &[Arrival]) {
        let flow = &mut self.flows[index];
        flow.last_ack = now;
        let mut sample = flow.credit(now, self.wire.rtt / 2, arrivals);
        let (lost, newest) = flow.declare_losses(false);
        sample.lost_bytes = lost;
        sample.in_flight = flow.in_flight;
        if lost > 0 {
            flow.control.on_loss(now, lost, flow.in_flight, newest);
        }
        flow.control.on_ack(&sample);
        self.send(now, index);
    }

    /// Share of the wire's payload rate that a flow's receiver got between two times, in percent.
    pub(crate) fn goodput(&self, flow: usize, from: Duration, until: Duration) -> f64 {
        let (from, until) = (from.as_millis() as usize, until.as_millis() as usize);
        let bytes: u64 = self.flows[flow].per_ms.iter().take(until).skip(from).sum();
        let full = self.wire.bits_per_second as f64 / 8.0 * PAYLOAD as f64 / WIRE as f64;
        bytes as f64 / (full * (until - from) as f64 / 1e3) * 100.0
    }

    /// Bytes of all that a flow sent which were declared lost, in percent.
    pub(crate) fn lost(&self, flow: usize) -> f64 {
        self.flows[flow].lost as f64 / self.flows[flow].sent.max(1) as f64 * 100.0
    }
}

trait PopBefore {
    fn pop_if_before(&mut self, until: Time) -> Option<Reverse<(Time, u64, usize)>>;
}

impl PopBefore for BinaryHeap<Reverse<(Time, u64, usize)>> {
    fn pop_if_before(&mut self, until: Time) -> Option<Reverse<(Time, u64, usize)>> {
        self.peek().is_some_and(|Reverse((time, ..))| *time < until).then(|| self.pop()).flatten()
    }
}
