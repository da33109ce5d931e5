//! Flows between two hosts that share one wire, in virtual time.

use std::time::Duration;

use xfer_netem::{Chance, Link, Shape, Wire};
use xfer_proto::cc::Algorithm;

use crate::end::{Datagram, End, STEPS, Start};

/// Bytes of IPv4 and UDP headers: the wire's rate is counted at the IP layer.
const IP_UDP: u32 = 28;
/// DATA payload of a full packet, and what it takes of the wire: 1,500 bytes less IP, UDP, our header and the tag.
const PAYLOAD: u64 = 1_424;
const PACKET: u64 = 1_500;
/// Datagrams under way at once.
const FLIGHTS_MAX: usize = 1 << 20;

/// The wire, the same in both directions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) mbit: u64,
    pub(crate) rtt_ms: u64,
    /// Of a million packets, in each direction.
    pub(crate) loss_ppm: u32,
    /// Of a million packets, those that come this much later, ms.
    pub(crate) reorder_ppm: u32,
    pub(crate) reorder_ms: u64,
    /// Queue in hundredths of the bandwidth-delay product.
    pub(crate) queue_percent: u64,
    pub(crate) seed: u64,
}

impl Plan {
    /// No faults, a queue of one bandwidth-delay product.
    pub(crate) const fn new(mbit: u64, rtt_ms: u64) -> Self {
        Plan { mbit, rtt_ms, loss_ppm: 0, reorder_ppm: 0, reorder_ms: 0, queue_percent: 100, seed: 1 }
    }

    fn shape(&self) -> Shape {
        Shape {
            rate_bps: Some(self.mbit * 1_000_000),
            overhead_bytes: IP_UDP,
            queue_bytes: Some(self.mbit * 125 * self.rtt_ms * self.queue_percent / 100),
            delay_ns: self.rtt_ms * 500_000,
            loss: Chance::ppm(self.loss_ppm),
            reorder: Chance::ppm(self.reorder_ppm),
            reorder_ns: self.reorder_ms * 1_000_000,
            mtu: Some(PACKET as u32 - IP_UDP),
            ..Shape::default()
        }
    }

    /// Content bytes a second that the wire can carry.
    fn goodput(&self) -> u64 {
        self.mbit * 125_000 * PAYLOAD / PACKET
    }
}

/// One flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowPlan {
    pub(crate) algorithm: Algorithm,
    pub(crate) start_ms: u64,
    /// MiB to move; `None` never ends.
    pub(crate) chunks: Option<u32>,
}

struct Flight {
    flow: usize,
    side: usize,
    datagram: Datagram,
}

pub(crate) struct Network {
    plan: Plan,
    now: u64,
    links: [Link; 2],
    flights: Wire<Flight>,
    /// Sender and receiver of each flow.
    flows: Vec<[End; 2]>,
}

impl Network {
    pub(crate) fn new(plan: Plan, flows: &[FlowPlan]) -> Self {
        let end = |flow: &FlowPlan, i: usize, sends: bool| {
            End::new(&Start {
                at: flow.start_ms * 1_000_000,
                sends,
                algorithm: flow.algorithm,
                rtt: Duration::from_millis(plan.rtt_ms),
                chunks: flow.chunks,
                seed: plan.seed * 100 + i as u64,
            })
        };
        let ends = flows.iter().enumerate().map(|(i, flow)| [end(flow, i, true), end(flow, i, false)]);
        Network {
            plan,
            now: 0,
            links: [0, 1].map(|way| Link::new(plan.shape(), plan.seed * 2 + way)),
            flights: Wire::new(FLIGHTS_MAX),
            flows: ends.collect(),
        }
    }

    /// Lets time pass until `ms`, or until all flows are done.
    pub(crate) fn run(&mut self, ms: u64) {
        while self.flows.iter().any(|flow| flow[0].done_ns.is_none()) {
            let wakes = self.flows.iter().flatten().filter_map(|end| end.wake_at);
            let next = wakes.chain(self.flights.next_due_ns()).min().expect("an end always waits");
            if next > ms * 1_000_000 {
                break;
            }
            assert!(next >= self.now, "time runs backwards");
            self.now = next;
            while let Some((at, flight)) = self.flights.pop_due(self.now) {
                self.flows[flight.flow][flight.side].arrive(at, flight.datagram);
            }
            for flow in 0..self.flows.len() {
                for side in 0..2 {
                    if self.flows[flow][side].wake_at.is_some_and(|at| at <= self.now) {
                        self.turn(flow, side);
                    }
                }
            }
        }
    }

    fn turn(&mut self, flow: usize, side: usize) {
        let Network { flows, links, flights, now, .. } = self;
        flows[flow][side].turn(*now, |datagram| {
            let verdict = links[side].offer(*now, datagram.len);
            if let Some(delivery) = verdict.deliveries().next() {
                let flight = Flight { flow, side: 1 - side, datagram };
                assert!(flights.push(delivery.at_ns, flight).is_ok(), "too many datagrams under way");
            }
        });
    }

    /// Content that a flow's receiver got between two times, ms, as hundredths of a percent of what the wire can carry.
    pub(crate) fn goodput(&self, flow: usize, from_ms: u64, until_ms: u64) -> u64 {
        let steps = self.flows[flow][1].steps();
        let step = |ms: u64| ((ms * STEPS / 1_000) as usize).min(steps.len());
        let bytes: u64 = steps[step(from_ms)..step(until_ms)].iter().sum();
        bytes * 1_000 * 10_000 / (self.plan.goodput() * (until_ms - from_ms))
    }

    /// The time from a flow's first content to that from which on a whole round trip brought 90 % of what the wire can carry, in
    /// hundredths of a round trip.
    pub(crate) fn start_up(&self, flow: usize) -> Option<u64> {
        let rtt_ms = self.plan.rtt_ms;
        let first_ms = self.flows[flow][0].first_data_ns? / 1_000_000;
        let last_ms = self.now / 1_000_000 - rtt_ms;
        let reached = (first_ms..last_ms).find(|ms| self.goodput(flow, *ms, ms + rtt_ms) >= 9_000)?;
        Some((reached - first_ms) * 100 / rtt_ms)
    }

    /// What a flow that is done took from its first word on, as hundredths of a percent of what the wire can carry.
    pub(crate) fn whole(&self, flow: usize) -> Option<u64> {
        let sender = &self.flows[flow][0];
        let (bytes, ns) = (u128::from(sender.ended) << 20, u128::from(sender.done_ns?));
        Some((bytes * 1_000_000_000 * 10_000 / (u128::from(self.plan.goodput()) * ns)) as u64)
    }

    /// Content that a flow sent again, in hundredths of a percent of what arrived.
    pub(crate) fn resent(&self, flow: usize) -> u64 {
        let counters = self.flows[flow][0].report().counters;
        counters.content_resent * 10_000 / counters.content_acked.max(1)
    }

    /// Packets of all flows that the wire dropped on the way out, in hundredths of a percent.
    pub(crate) fn dropped(&self) -> u64 {
        let stats = self.links[0].stats();
        stats.dropped() * 10_000 / stats.offered.max(1)
    }
}
