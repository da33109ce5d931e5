//! Two ends, the wires between them, and virtual time.

use std::net::SocketAddr;

use xfer_netem::{Link, Rng, Wire, flip_bit};
use xfer_proto::connection::PathReport;
use xfer_proto::crypto::Crypto;
use xfer_proto::path::PathState;
use xfer_proto::wire::CloseCode;

use crate::end::{Datagram, End, remote_of};
use crate::faults::Fault;
use crate::plan::Plan;

/// Datagrams under way at once.
const FLIGHTS_MAX: usize = 1 << 20;

struct Flight {
    to: usize,
    wire: usize,
    /// The opener's address that the datagram carries, as source or destination.
    opener: SocketAddr,
    bytes: Vec<u8>,
    marked: bool,
}

pub(crate) struct World<C: Crypto + Clone> {
    pub(crate) now: u64,
    pub(crate) ends: [End<C>; 2],
    plan: Plan,
    next_fault: usize,
    pub(crate) links: Vec<[Link; 2]>,
    flights: Wire<Flight>,
    /// The opener's address on each wire, as the acceptor sees it.
    openers: Vec<SocketAddr>,
    pub(crate) trace: bool,
}

impl<C: Crypto + Clone> World<C> {
    pub(crate) fn new(plan: &Plan, crypto: &C) -> Self {
        let mut rng = Rng::stream(plan.seed, 2);
        let mut link = |shape: xfer_netem::Shape| Link::new(shape, rng.next_u64());
        let links = plan.wires.iter().map(|[out, back]| [link(*out), link(*back)]).collect();
        World {
            now: 0,
            ends: [End::new(plan, 0, crypto.clone()), End::new(plan, 1, crypto.clone())],
            plan: plan.clone(),
            next_fault: 0,
            links,
            flights: Wire::new(FLIGHTS_MAX),
            openers: (0..plan.wires.len()).map(|wire| remote_of(1, wire)).collect(),
            trace: false,
        }
    }

    /// Lets time pass until `stop` says so, everything is quiet, or `end`.
    pub(crate) fn run_until(&mut self, end: u64, mut stop: impl FnMut(&Self) -> bool) {
        while !stop(self) {
            let fault = self.plan.faults.get(self.next_fault).map(|(at, _)| *at);
            let wakes = self.ends.iter().filter_map(|e| e.wake_at);
            let next = wakes.chain(fault).chain(self.flights.next_due_ns()).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            assert!(next >= self.now, "time runs backwards");
            self.now = next;
            while let Some((at, fault)) = self.plan.faults.get(self.next_fault).cloned()
                && at <= self.now
            {
                self.next_fault += 1;
                self.apply(&fault);
            }
            while let Some((_, flight)) = self.flights.pop_due(self.now) {
                self.land(flight);
            }
            for side in 0..2 {
                if self.ends[side].wake_at.is_some_and(|at| at <= self.now) {
                    self.run_end(side);
                }
            }
        }
    }

    pub(crate) fn trace(&mut self, on: bool) {
        self.trace = on;
        self.ends.iter_mut().for_each(|end| end.trace = on);
    }

    /// Until both ends are over.
    pub(crate) fn run(&mut self) {
        self.run_until(self.plan.end_ns, |world| {
            world.ends.iter().all(|e| e.connection.as_ref().is_some_and(|c| c.is_over()))
        });
    }

    fn run_end(&mut self, side: usize) {
        let World { ends, links, flights, openers, now, .. } = self;
        ends[side].run(*now, &mut |datagram: Datagram| {
            let SocketAddr::V4(peer) = datagram.peer else { panic!("IPv4 only") };
            let wire = usize::from(peer.ip().octets()[2]);
            let opener = if side == 0 { openers[wire] } else { datagram.peer };
            let verdict = links[wire][side].offer(*now, datagram.bytes.len() as u32);
            for delivery in verdict.deliveries() {
                let mut bytes = datagram.bytes.clone();
                if let Some(damage) = delivery.corrupt {
                    flip_bit(&mut bytes, damage);
                }
                let flight = Flight { to: 1 - side, wire, opener, bytes, marked: delivery.marked };
                assert!(flights.push(delivery.at_ns, flight).is_ok(), "too many datagrams under way");
            }
        });
    }

    fn land(&mut self, flight: Flight) {
        let Flight { to, wire, opener, bytes, marked } = flight;
        if to == 0 && opener != self.openers[wire] {
            return;
        }
        let peer = if to == 0 { remote_of(0, wire) } else { opener };
        self.ends[to].arrive(self.now, Datagram { peer, marked, bytes });
    }

    fn apply(&mut self, fault: &Fault) {
        if self.trace {
            println!("{:>12} {fault:?}", self.now / 1_000);
        }
        match fault {
            Fault::Shape(wire, direction, shape) => self.links[*wire][*direction].set_shape(self.now, *shape),
            // A handshake belongs to the address that its first packet came from.
            Fault::Rebind(_) if !self.ends[1].is_established() => {}
            Fault::Rebind(wire) => {
                let address = &mut self.openers[*wire];
                address.set_port(address.port() + 1);
            }
            Fault::Stall(side, ns) => self.ends[*side].stalled_until = self.now + ns,
            Fault::LinkDown(side, wire) => self.ends[*side].link_down(self.now, *wire),
        }
    }

    /// How late all was there after the last fault, once both ends were, and how late it may have been; `None` for a run that was cut short.
    pub(crate) fn lateness(&self) -> Option<(u64, u64)> {
        let [opener, acceptor] = &self.ends;
        let since = self.plan.last_fault().max(opener.established_ns).max(acceptor.established_ns);
        let whole = self.plan.closes_early.is_none();
        whole.then(|| (opener.closed_ns.saturating_sub(since), self.plan.time_enough()))
    }

    /// Whether the ends agree on congestion marks: what one tells of the other got, and it does not keep them to itself.
    fn check_marks(&self) {
        let reports = |end: &End<C>| -> Vec<PathReport> {
            end.connection.iter().flat_map(|c| c.path_reports().collect::<Vec<_>>()).collect()
        };
        let ends = [reports(&self.ends[0]), reports(&self.ends[1])];
        for (sender, receiver) in [(0, 1), (1, 0)] {
            for path in &ends[sender] {
                let Some(peer) = ends[receiver].iter().find(|p| p.id == path.id) else { continue };
                let (told, got) = (path.counters.marks_told, peer.counters.marks_received);
                let live = path.state == PathState::Live && peer.state == PathState::Live;
                assert!(told <= got && (told > 0 || got < 50 || !live), "{told} marks told of {got}");
            }
        }
    }

    /// Whether everything that was planned has arrived and both ends know.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        if self.plan.closes_early.is_none() {
            self.check_marks();
        }
        for end in &self.ends {
            let Some((code, text, _)) = &end.closed else {
                // Who asks an end that is gone for a handshake is not answered.
                if self.plan.closes_early.is_some() && end.connection.is_none() {
                    continue;
                }
                return Err(format!(
                    "{}: not closed after {} ms: {}",
                    end.name(),
                    self.now / 1_000_000,
                    end.state()
                ));
            };
            if self.plan.closes_early.is_some() && matches!(code, CloseCode::Cancelled | CloseCode::Idle) {
                continue;
            }
            let through = end.sender.as_ref().is_none_or(|s| s.complete)
                && end.receiver.as_ref().is_none_or(|r| r.complete);
            if *code == CloseCode::Idle && through && end.side == 1 {
                continue;
            }
            if *code != CloseCode::Done {
                return Err(format!("{}: closed with {code:?} {text}: {}", end.name(), end.state()));
            }
            if end.sender.as_ref().is_some_and(|s| !s.complete)
                || end.receiver.as_ref().is_some_and(|r| !r.complete)
            {
                return Err(format!("{}: closed before all was there", end.name()));
            }
        }
        Ok(())
    }
}
