//! One emulated wire: takes the packets of each host, keeps them until they are due, hands them over.
//!
//! Every host has a port. What it sends passes the port's link (rate, delay, faults); with three hosts
//! or more what it receives passes a second one of the same rate, as on a switch.

use std::io::{IoSlice, Write};
use std::ops::Range;

use xfer_netem::{Delivery, Link, Shape, Verdict, flip_bit};

use super::frame::{VNET_BYTES, Vnet};
use super::pool::Pool;
use super::tap::Tap;
use super::train::{Packet, TrainHeader, run_length};
use crate::config::WireShape;
use crate::control::{Cut, Direction};
use crate::limits::{DELIVER_BURST, ETHERNET_BYTES, IN_FLIGHT_MAX, TRAIN_PACKETS_MAX};
use crate::names;

/// The emulator's side of one host's interface.
struct Port {
    /// Its queues in the emulator's list of TAP descriptors.
    queues: Range<usize>,
    shape: WireShape,
    cut: Option<Cut>,
    up: Link,
    down: Option<Link>,
    /// What is under way to this host.
    inbound: xfer_netem::Wire<Packet>,
    lost_under_way: u64,
    dropped_down: u64,
    dropped_other: u64,
    delivered: u64,
    delivered_writes: u64,
    refused: u64,
}

/// Who gets a frame.
enum Target {
    Host(usize),
    Others,
    Nobody,
}

pub(crate) struct EmulatedWire {
    /// From 1, as users count.
    number: usize,
    ports: Vec<Port>,
    trains: bool,
    batch: Vec<Packet>,
}

impl EmulatedWire {
    /// Wire `number` whose host `i` has the TAP descriptors `queues[i]`.
    pub(crate) fn new(
        number: usize,
        queues: Vec<Range<usize>>,
        shape: &WireShape,
        seed: u64,
        trains: bool,
    ) -> Self {
        let switched = queues.len() > 2;
        let port = |(host, queues)| {
            let seed = seed.wrapping_mul(0x1_0001).wrapping_add((number * 256 + host) as u64);
            Port {
                queues,
                shape: shape.clone(),
                cut: None,
                up: Link::new(shape.model(), seed),
                down: switched.then(|| Link::new(receiving(shape), !seed)),
                inbound: xfer_netem::Wire::new(IN_FLIGHT_MAX),
                lost_under_way: 0,
                dropped_down: 0,
                dropped_other: 0,
                delivered: 0,
                delivered_writes: 0,
                refused: 0,
            }
        };
        let ports = queues.into_iter().enumerate().map(port).collect();
        Self { number, ports, trains, batch: Vec::with_capacity(DELIVER_BURST) }
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Hosts on the wire.
    pub(crate) fn hosts(&self) -> usize {
        self.ports.len()
    }

    fn target(&self, from: usize, frame: &[u8]) -> Target {
        if frame[0] & 1 == 1 {
            return Target::Others;
        }
        let host = usize::from(frame[5]).wrapping_sub(1);
        let known = host < self.ports.len() && host != from && frame[..6] == names::mac(self.number, host);
        if known { Target::Host(host) } else { Target::Nobody }
    }

    /// Takes one packet that host `from` sent at `now_ns`.
    pub(crate) fn accept(&mut self, from: usize, packet: Packet, now_ns: u64, pool: &mut Pool) {
        let targets = match self.target(from, &packet.frame) {
            Target::Host(host) => host..host + 1,
            Target::Others => 0..self.ports.len(),
            Target::Nobody => {
                self.ports[from].dropped_other += 1;
                return pool.give(packet.frame);
            }
        };
        let verdict = self.ports[from].up.offer(now_ns, packet.frame.len() as u32);
        if let (Verdict::Deliver { first, second: None }, 1) = (verdict, targets.len()) {
            return self.launch(from, targets.start, first, packet, pool);
        }
        for delivery in verdict.deliveries() {
            for target in targets.clone().filter(|target| *target != from) {
                let mut frame = pool.take();
                frame.extend_from_slice(&packet.frame);
                let copy = Packet { frame, sound: packet.sound };
                self.launch(from, target, delivery, copy, pool);
            }
        }
        pool.give(packet.frame);
    }

    /// Puts a packet on its way to `target`.
    fn launch(
        &mut self,
        from: usize,
        target: usize,
        delivery: Delivery,
        mut packet: Packet,
        pool: &mut Pool,
    ) {
        if let Some(damage) = delivery.corrupt {
            flip_bit(&mut packet.frame[ETHERNET_BYTES..], damage);
            packet.sound = false;
        }
        let mut at_ns = delivery.at_ns;
        if let Some(down) = &mut self.ports[target].down {
            match down.offer(at_ns, packet.frame.len() as u32) {
                Verdict::Deliver { first, .. } => at_ns = first.at_ns,
                Verdict::Drop(_) => {
                    self.ports[from].dropped_down += 1;
                    return pool.give(packet.frame);
                }
            }
        }
        if let Err(full) = self.ports[target].inbound.push(at_ns, packet) {
            self.ports[from].dropped_other += 1;
            pool.give(full.0.frame);
        }
    }

    /// When the next packet is due, ns.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.ports.iter().filter_map(|port| port.inbound.next_due_ns()).min()
    }

    /// Hands over what is due at `now_ns`, at most a burst to each host; `late` hears how late each packet was.
    pub(crate) fn deliver(&mut self, now_ns: u64, taps: &[Tap], pool: &mut Pool, mut late: impl FnMut(u64)) {
        for port in &mut self.ports {
            while self.batch.len() < DELIVER_BURST
                && let Some((due_ns, packet)) = port.inbound.pop_due(now_ns)
            {
                late(now_ns - due_ns);
                self.batch.push(packet);
            }
            let mut rest = &self.batch[..];
            while !rest.is_empty() {
                let count = if self.trains { run_length(rest) } else { 1 };
                let (run, tail) = rest.split_at(count);
                port.write(run, taps);
                rest = tail;
            }
            self.batch.drain(..).for_each(|packet| pool.give(packet.frame));
        }
    }

    /// Gives packets of `from`, or of all, a new shape.
    pub(crate) fn set(&mut self, from: Option<usize>, shape: &WireShape, now_ns: u64) {
        for (_, port) in chosen(&mut self.ports, from) {
            port.shape = shape.clone();
            port.reshape(now_ns);
        }
    }

    /// Cuts the wire for what `from`, or everyone, sends. A whole wire loses what is under way, and at a
    /// cut of the carrier both ends see it.
    pub(crate) fn cut(
        &mut self,
        from: Option<usize>,
        cut: Cut,
        now_ns: u64,
        taps: &[Tap],
        pool: &mut Pool,
    ) -> Result<(), String> {
        for (_, port) in chosen(&mut self.ports, from) {
            port.cut = Some(cut);
            port.reshape(now_ns);
            if from.is_none() {
                port.up.clear_queue(now_ns);
                port.lost_under_way += port.inbound.len() as u64;
                port.inbound.drain().for_each(|packet| pool.give(packet.frame));
            }
        }
        if cut == Cut::Carrier { self.set_carrier(from, false, taps) } else { Ok(()) }
    }

    /// Undoes every cut.
    pub(crate) fn restore(&mut self, now_ns: u64, taps: &[Tap]) -> Result<(), String> {
        for port in &mut self.ports {
            port.cut = None;
            port.reshape(now_ns);
        }
        self.set_carrier(None, true, taps)
    }

    fn set_carrier(&mut self, from: Option<usize>, on: bool, taps: &[Tap]) -> Result<(), String> {
        for (host, port) in chosen(&mut self.ports, from) {
            crate::sys::set_carrier(&taps[port.queues.start].file, on)
                .map_err(|error| format!("cannot set the carrier of host {}: {error}", names::host(host)))?;
        }
        Ok(())
    }

    /// State and counters of each direction.
    pub(crate) fn directions(&self, now_ns: u64) -> impl Iterator<Item = Direction> {
        self.ports.iter().enumerate().map(move |(host, port)| port.direction(self.number, host, now_ns))
    }
}

/// The ports of `from`, or all, with their hosts.
fn chosen(ports: &mut [Port], from: Option<usize>) -> impl Iterator<Item = (usize, &mut Port)> {
    ports.iter_mut().enumerate().filter(move |(host, _)| from.is_none_or(|from| from == *host))
}

/// What the receiving side of a switch's port does: the rate and its queue, nothing else.
fn receiving(shape: &WireShape) -> Shape {
    let model = shape.model();
    let Shape { rate_bps, overhead_bytes, queue_bytes, .. } = model;
    Shape { rate_bps, overhead_bytes, queue_bytes, ..Shape::default() }
}

impl Port {
    fn reshape(&mut self, now_ns: u64) {
        self.up.set_shape(now_ns, Shape { blackhole: self.cut.is_some(), ..self.shape.model() });
        if let Some(down) = &mut self.down {
            down.set_shape(now_ns, receiving(&self.shape));
        }
    }

    /// Writes a run of packets, as one train if it is more than one.
    fn write(&mut self, run: &[Packet], taps: &[Tap]) {
        let queues = &taps[self.queues.clone()];
        let mut file = &queues[queue_of(&run[0].frame, queues.len())].file;
        let written = if let [packet] = run {
            file.write_vectored(&[IoSlice::new(&Vnet::PLAIN), IoSlice::new(&packet.frame)])
        } else {
            let header = TrainHeader::of(run);
            let mut parts = [IoSlice::new(&[]); TRAIN_PACKETS_MAX + 1];
            parts[0] = IoSlice::new(header.as_bytes());
            for (part, packet) in parts[1..].iter_mut().zip(run) {
                *part = IoSlice::new(&packet.frame[header.payload..]);
            }
            file.write_vectored(&parts[..=run.len()])
        };
        // A write to an interface that is down fails; for the wire that is a packet nobody took.
        if written.is_ok_and(|bytes| bytes > VNET_BYTES) {
            self.delivered_writes += 1;
            self.delivered += run.len() as u64;
        } else {
            self.refused += run.len() as u64;
        }
    }

    fn direction(&self, wire: usize, host: usize, now_ns: u64) -> Direction {
        let stats = self.up.stats();
        Direction {
            wire,
            from: names::host(host),
            shape: self.shape.clone(),
            cut: self.cut,
            offered: stats.offered,
            offered_bytes: stats.offered_bytes,
            passed: stats.passed,
            passed_bytes: stats.passed_bytes,
            duplicated: stats.duplicated,
            corrupted: stats.corrupted,
            reordered: stats.reordered,
            dropped_cut: stats.dropped_blackhole,
            lost_towards: self.lost_under_way,
            dropped_mtu: stats.dropped_mtu,
            dropped_queue: stats.dropped_queue + self.dropped_down,
            dropped_burst: stats.dropped_burst,
            dropped_random: stats.dropped_random,
            dropped_other: self.dropped_other,
            backlog_bytes: self.up.backlog_bytes(now_ns),
            delivered_writes: self.delivered_writes,
            delivered: self.delivered,
            refused: self.refused,
        }
    }
}

/// The receive queue of a frame's flow: one flow stays on one queue.
fn queue_of(frame: &[u8], queues: usize) -> usize {
    if queues == 1 {
        return 0;
    }
    // Addresses and ports, where an IPv4 or IPv6 header without options has them.
    let flow = match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(26..38),
        Some([0x86, 0xdd]) => frame.get(22..58),
        _ => None,
    };
    let hash = flow.unwrap_or(&[]).iter().fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193) // FNV-1a
    });
    hash as usize % queues
}
