//! Two ends, the wires between them, and virtual time.

use std::net::SocketAddr;

use xfer_netem::{Link, Rng, Shape, Wire, flip_bit};
use xfer_proto::connection::PathReport;
use xfer_proto::limits;
use xfer_proto::path::PathState;
use xfer_proto::wire::CloseCode;

use crate::attack::{Attack, is_somebody};
use crate::clock::{MS, SECOND};
use crate::end::{Datagram, End, remote_of};
use crate::faults::Fault;
use crate::plan::Plan;
use crate::watch::Witnessed;

/// What is under way, late timers and skewed clocks put off an end by.
const AFTER_DEATH_NS: u64 = 4 * SECOND;
/// So many packets may count as lost that were not, where little is late, and one of so many that were sent.
const SPURIOUS_MAX: u64 = 6;
const SPURIOUS_PART: u64 = 50;
/// Wires with a shorter delay do not wait for a late worker.
const CALM_DELAY_NS: u64 = 4 * MS;
/// Datagrams under way at once.
const FLIGHTS_MAX: usize = 1 << 20;

struct Flight {
    to: usize,
    wire: usize,
    /// The opener's address that the datagram carries, as source or destination.
    opener: SocketAddr,
    /// Somebody else sent it, from this port.
    port: Option<u16>,
    bytes: Vec<u8>,
    marked: bool,
}

/// Who is on a wire, and how many datagrams passed it.
struct OnWire {
    attack: Option<Attack>,
    seen: u64,
}

pub(crate) struct World<C: Witnessed> {
    pub(crate) now: u64,
    pub(crate) ends: [End<C>; 2],
    plan: Plan,
    next_fault: usize,
    pub(crate) links: Vec<[Link; 2]>,
    flights: Wire<Flight>,
    /// The opener's address on each wire, as the acceptor sees it.
    openers: Vec<SocketAddr>,
    attackers: Vec<OnWire>,
    /// Directions of wires that are dead for good.
    dead: Vec<[bool; 2]>,
    rng: Rng,
    pub(crate) trace: bool,
}

impl<C: Witnessed> World<C> {
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
            attackers: plan.wires.iter().map(|_| OnWire { attack: None, seen: 0 }).collect(),
            dead: vec![[false; 2]; plan.wires.len()],
            rng: Rng::stream(plan.seed, 5),
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
            let over = |end: &End<C>| end.is_dead || end.connection.as_ref().is_some_and(|c| c.is_over());
            let [opener, acceptor] = &world.ends;
            // Nobody answers who asks an end that is gone for a handshake, and nobody asks.
            let never = |end: &End<C>, peer: &End<C>| peer.is_dead && end.connection.is_none();
            (over(opener) || never(opener, acceptor)) && (over(acceptor) || never(acceptor, opener))
        });
    }

    fn run_end(&mut self, side: usize) {
        let World { ends, links, flights, openers, now, attackers, rng, plan, .. } = self;
        let mut fly = |at: u64, flight: Flight| {
            assert!(flights.push(at, flight).is_ok(), "too many datagrams under way");
        };
        ends[side].run(*now, &mut |datagram: Datagram| {
            let SocketAddr::V4(peer) = datagram.peer else { panic!("IPv4 only") };
            let wire = usize::from(peer.ip().octets()[2]);
            let opener = if side == 0 { openers[wire] } else { datagram.peer };
            let to = 1 - side;
            let verdict = links[wire][side].offer(*now, datagram.bytes.len() as u32);
            for delivery in verdict.deliveries() {
                let mut bytes = datagram.bytes.clone();
                if let Some(damage) = delivery.corrupt {
                    flip_bit(&mut bytes, damage);
                }
                let nobody = side == 0 && !is_somebody(datagram.peer);
                if !nobody {
                    let marked = delivery.marked;
                    fly(delivery.at_ns, Flight { to, wire, opener, port: None, bytes, marked });
                }
            }
            let OnWire { attack, seen } = &mut attackers[wire];
            *seen += 1;
            let extra = attack.and_then(|attack| attack.on(*seen, &datagram.bytes, plan.suite, rng));
            if let Some(extra) = extra {
                // Just before the original: who is on the wire is not faster than the wire.
                let original = verdict.deliveries().next().map(|delivery| delivery.at_ns - 1);
                let at = original.unwrap_or(*now + links[wire][side].shape().delay_ns);
                let flight = Flight { to, wire, opener, port: extra.port, bytes: extra.bytes, marked: false };
                fly(at + extra.after_ns, flight);
            }
        });
    }

    fn land(&mut self, flight: Flight) {
        let Flight { to, wire, opener, port, bytes, marked } = flight;
        if to == 0 && opener != self.openers[wire] {
            return;
        }
        let mut peer = if to == 0 { remote_of(0, wire) } else { opener };
        port.into_iter().for_each(|port| peer.set_port(port));
        self.ends[to].arrive(self.now, Datagram { peer, marked, bytes });
    }

    fn apply(&mut self, fault: &Fault) {
        if self.trace {
            println!("{:>12} {fault:?}", self.now / 1_000);
        }
        match fault {
            Fault::Shape(wire, direction, shape) => {
                let link = &mut self.links[*wire][*direction];
                let blackhole = shape.blackhole || self.dead[*wire][*direction];
                link.set_shape(self.now, Shape { blackhole, ..*shape });
            }
            // Other paths cannot be opened yet.
            Fault::Cut(..) if !self.ends.iter().all(End::is_established) => {}
            Fault::Cut(wire, direction) => {
                self.dead[*wire][*direction] = true;
                let link = &mut self.links[*wire][*direction];
                let shape = Shape { blackhole: true, ..*link.shape() };
                link.set_shape(self.now, shape);
            }
            // A handshake belongs to the address that its first packet came from.
            Fault::Rebind(_) if !self.ends[1].is_established() => {}
            Fault::Rebind(wire) => {
                let address = &mut self.openers[*wire];
                address.set_port(address.port() + 1);
            }
            Fault::Stall(side, ns) => self.ends[*side].stalled_until = self.now + ns,
            Fault::Idle(side, ns) => self.ends[*side].idle_until = self.now + ns,
            Fault::LinkDown(side, wire) => self.ends[*side].link_down(self.now, *wire),
            Fault::Kill(side) => self.ends[*side].die(),
            Fault::Lie(side, lie) => self.ends[*side].hear_lie(self.now, *lie),
            Fault::Attack(wire, attack) => self.attackers[*wire].attack = *attack,
        }
    }

    /// How late all was there after the last fault, once both ends were, and how late it may have been; `None` for a run that was cut short.
    pub(crate) fn lateness(&self) -> Option<(u64, u64)> {
        let [opener, acceptor] = &self.ends;
        let since = self.plan.last_fault().max(opener.established_ns).max(acceptor.established_ns);
        let again = [opener, acceptor].map(|end| end.sender.as_ref().map(|s| s.again).unwrap_or_default());
        let late = opener.closed_ns.saturating_sub(since);
        self.runs_through().then(|| (late, self.plan.time_enough(again)))
    }

    /// Whether the ends agree on congestion marks: what one tells of the other got, and it does not keep them to itself, as long as the
    /// other still listens.
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
                let SocketAddr::V4(remote) = path.address.remote else { panic!("IPv4 only") };
                let news_ns = self.plan.news_ns(usize::from(remote.ip().octets()[2]), receiver);
                let heard =
                    |at: &u64| (*at).max(self.plan.last_fault()) + news_ns < self.ends[sender].closed_ns;
                let many = self.ends[receiver].marked_ns.get(&path.id).is_some_and(heard);
                assert!(told <= got && (told > 0 || !many || !live), "{told} marks told of {got}");
            }
        }
    }

    /// On wires that hold packets back by less than a sender waits for them, what counts as lost is what did not arrive.
    fn check_losses(&self) {
        // A late worker may take what is on a short wire for lost.
        let calm = |shape: &Shape| {
            shape.delay_ns >= CALM_DELAY_NS
                && (shape.reorder.is_never() || shape.reorder_ns <= shape.delay_ns / 8)
        };
        let orderly = self.plan.faults.is_empty() && self.plan.wires.iter().flatten().all(calm);
        if !orderly || self.plan.sharded.contains(&true) {
            return;
        }
        let reports = || self.ends.iter().flat_map(|end| &end.connection).flat_map(|c| c.path_reports());
        // A timeout may take what is on its way still for lost.
        if reports().any(|path| path.counters.probe_timeouts > 0) {
            return;
        }
        let declared: u64 = reports().map(|path| path.counters.packets_lost).sum();
        let gone = self.links.iter().flatten().map(|link| link.stats().dropped() + link.stats().corrupted);
        let gone = gone.sum::<u64>() + self.ends.iter().map(|end| end.overflowed).sum::<u64>();
        let offered: u64 = self.links.iter().flatten().map(|link| link.stats().offered).sum();
        let most = gone + SPURIOUS_MAX + offered / SPURIOUS_PART;
        assert!(declared <= most, "{declared} packets count as lost, {gone} of {offered} were");
    }

    /// Whether nothing ends the run before all is there.
    fn runs_through(&self) -> bool {
        let lied_to = self.ends.iter().any(|end| end.lied_to.is_some());
        self.plan.closes_early.is_none() && self.plan.killed.is_none() && !lied_to
    }

    /// Whether everything that was planned has arrived and both ends know; or, in a run that was cut short, whether both ends ended as they should.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        if self.runs_through() {
            if !self.plan.cut.contains(&true) {
                self.check_marks();
            }
            self.check_losses();
            return self.ends.iter().try_for_each(|end| self.has_all(end));
        }
        let [opener, acceptor] = &self.ends;
        self.ended_well(opener, acceptor)?;
        self.ended_well(acceptor, opener)
    }

    fn has_all(&self, end: &End<C>) -> Result<(), String> {
        let Some((code, text, _)) = &end.closed else { return Err(self.not_closed(end)) };
        let through = end.is_through();
        if *code == CloseCode::Idle && through && end.side == 1 {
            return Ok(());
        }
        if *code != CloseCode::Done {
            return Err(format!("{}: closed with {code:?} {text}: {}", end.name(), end.state()));
        }
        if !through {
            return Err(format!("{}: closed before all was there", end.name()));
        }
        Ok(())
    }

    fn not_closed(&self, end: &End<C>) -> String {
        format!("{}: not closed after {} ms: {}", end.name(), self.now / 1_000_000, end.state())
    }

    /// A run that was cut short: by a close, a death, or a lie.
    fn ended_well(&self, end: &End<C>, peer: &End<C>) -> Result<(), String> {
        if end.is_dead {
            return Ok(());
        }
        let Some((code, text, by_peer)) = &end.closed else {
            // Who asks an end that is gone for a handshake is not answered.
            let unanswered = end.connection.is_none() && (peer.is_dead || self.plan.closes_early.is_some());
            return if unanswered { Ok(()) } else { Err(self.not_closed(end)) };
        };
        if let Some(lie) = end.lied_to {
            let right = *code == lie.code() && !by_peer;
            return if right { Ok(()) } else { Err(format!("{}: took {lie:?}: {code:?}", end.name())) };
        }
        let by_lie = peer.lied_to.map(|lie| lie.code());
        let fine = match code {
            CloseCode::Done => end.is_through() || *by_peer,
            CloseCode::Cancelled => self.plan.closes_early.is_some(),
            CloseCode::Idle => true,
            other => *by_peer && Some(*other) == by_lie,
        };
        if !fine {
            return Err(format!("{}: closed with {code:?} {text}: {}", end.name(), end.state()));
        }
        let late = self
            .plan
            .killed
            .map_or(0, |(at, _)| end.closed_ns.saturating_sub(at.max(self.plan.last_fault())));
        let enough = limits::IDLE.as_nanos() as u64 + AFTER_DEATH_NS;
        if peer.is_dead && late > enough {
            return Err(format!("{}: waits {} ms for a dead peer", end.name(), late / 1_000_000));
        }
        Ok(())
    }
}
