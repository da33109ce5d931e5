//! Faults: what is never quite right, and what goes wrong at which virtual time, drawn from the seed as one list.
//!
//! Each entry of the list can be left out by itself, with all others as they were: so a failing run is cut down to what it needs.

use std::ops::Range;

use xfer_netem::{Burst, Chance, Rng, Shape};
use xfer_proto::crypto::Suite;

use crate::attack::Attack;
use crate::clock::{MS, SECOND};
use crate::lies::Lie;
use crate::plan::Plan;

/// Faults begin within one of these: transfers take between a few milliseconds and many seconds.
const FAULTS_WITHIN: [u64; 3] = [100 * MS, SECOND, 4 * SECOND];
/// No outage of all paths is longer: an idle peer is given up after 10 s.
const OUTAGE_MAX: u64 = 3 * SECOND;
/// Applications may stand still for longer than a silent peer is waited for.
const IDLE_MAX: u64 = 14 * SECOND;

/// One thing that goes wrong at some time, or right again.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// From now on the wire has this shape in this direction (0: from the opener).
    Shape(usize, usize, Shape),
    /// The wire is dead in this direction, for good.
    Cut(usize, usize),
    /// The opener's address on the wire changes.
    Rebind(usize),
    /// The worker of an end does nothing for so many nanoseconds.
    Stall(usize, u64),
    /// The applications of an end do nothing for so many nanoseconds; its worker goes on.
    Idle(usize, u64),
    /// The system of an end reports the path's link down.
    LinkDown(usize, usize),
    /// The process of an end is gone.
    Kill(usize),
    /// An end gets an authentic packet that breaks the protocol.
    Lie(usize, Lie),
    /// From now on somebody on the wire does this, or nothing any more.
    Attack(usize, Option<Attack>),
}

/// How a wire is worse than drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flaw {
    Loss(Chance),
    Burst(Burst),
    Duplicate(Chance),
    Corrupt(Chance),
    Reorder(Chance, u64),
    Jitter(u64),
    Dark,
    Mtu(u32),
    Rate(u64),
    Slower(u64),
}

impl Flaw {
    fn put(self, shape: &mut Shape) {
        match self {
            Flaw::Loss(chance) => shape.loss = chance,
            Flaw::Burst(burst) => shape.burst = Some(burst),
            Flaw::Duplicate(chance) => shape.duplicate = chance,
            Flaw::Corrupt(chance) => shape.corrupt = chance,
            Flaw::Reorder(chance, ns) => (shape.reorder, shape.reorder_ns) = (chance, ns),
            Flaw::Jitter(ns) => shape.jitter_ns = ns,
            Flaw::Dark => shape.blackhole = true,
            Flaw::Mtu(bytes) => shape.mtu = Some(bytes),
            Flaw::Rate(bps) => shape.rate_bps = Some(bps),
            Flaw::Slower(ns) => shape.delay_ns += ns,
        }
    }
}

/// How an application or its storage fails, all the time, so many times in a million.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failing {
    /// Storage does not want a chunk, which has to come again.
    Rejects(u32),
    /// The source encodes a chunk again.
    EncodesAgain(u32),
    /// The source loses an object when a chunk of it is read.
    Withdraws(u32),
    /// The source's bytes are not those that were hashed.
    SourceLies(u32),
    /// A chunk's memory changes before it is hashed.
    MemoryLies(u32),
    /// The destination cannot write an object.
    CannotWrite(u32),
}

/// An entry of the list.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// A direction of a wire is never as good as drawn.
    Always(usize, usize, Flaw),
    /// Directions of a wire are worse between two times.
    Spell(usize, Range<usize>, (u64, u64), Flaw),
    /// A wire is worse from some time on.
    Since(usize, u64, Flaw),
    /// Somebody is on a wire between two times.
    Attacked(usize, (u64, u64), Attack),
    At(u64, Fault),
    /// The transfer from this end, or what stores it.
    Fails(usize, Failing),
    /// A worker wakes up late, so often in a million.
    Late(usize, u32),
    /// An end closes in the middle.
    ClosesEarly(u64, usize),
}

impl Trouble {
    /// Makes it part of the plan.
    pub(crate) fn put(&self, plan: &mut Plan) {
        match self {
            Trouble::Always(wire, direction, flaw) => flaw.put(&mut plan.wires[*wire][*direction]),
            Trouble::Spell(wire, directions, (from, until), flaw) => {
                for direction in directions.clone() {
                    let right = plan.wires[*wire][direction];
                    let mut wrong = right;
                    flaw.put(&mut wrong);
                    plan.faults.push((*from, Fault::Shape(*wire, direction, wrong)));
                    plan.faults.push((*until, Fault::Shape(*wire, direction, right)));
                }
            }
            Trouble::Since(wire, at, flaw) => {
                for direction in 0..2 {
                    let mut wrong = plan.wires[*wire][direction];
                    flaw.put(&mut wrong);
                    plan.faults.push((*at, Fault::Shape(*wire, direction, wrong)));
                }
            }
            Trouble::Attacked(wire, (from, until), attack) => {
                plan.faults.push((*from, Fault::Attack(*wire, Some(*attack))));
                plan.faults.push((*until, Fault::Attack(*wire, None)));
            }
            Trouble::At(at, fault) => {
                plan.faults.push((*at, fault.clone()));
                match fault {
                    Fault::Cut(wire, _) => plan.cut[*wire] = true,
                    Fault::Kill(side) => plan.killed = Some((*at, *side)),
                    _ => {}
                }
            }
            Trouble::Fails(side, failing) => {
                let Some(transfer) = &mut plan.transfers[*side] else { return };
                match *failing {
                    Failing::Rejects(ppm) => transfer.reject_ppm = ppm,
                    Failing::EncodesAgain(ppm) => transfer.encode_again_ppm = ppm,
                    Failing::Withdraws(ppm) => transfer.withdraw_ppm = ppm,
                    Failing::SourceLies(ppm) => transfer.source_lies_ppm = ppm,
                    Failing::MemoryLies(ppm) => transfer.memory_lies_ppm = ppm,
                    Failing::CannotWrite(ppm) => transfer.cannot_write_ppm = ppm,
                }
            }
            Trouble::Late(side, ppm) => plan.late_ppm[*side] = *ppm,
            Trouble::ClosesEarly(at, side) => plan.closes_early = Some((*at, *side)),
        }
    }
}

/// Draws the list for a plan that has none.
pub(crate) fn draw(plan: &Plan, rng: &mut Rng) -> Vec<Trouble> {
    let mut list: Vec<Trouble> = (0..2).map(|side| Trouble::Late(side, rng.below(100_000) as u32)).collect();
    for side in 0..2 {
        if plan.transfers[side].is_some() {
            failing(rng, |failing| list.push(Trouble::Fails(side, failing)));
        }
    }
    match rng.below(8) {
        0 => return list,
        1 => {
            list.extend(slightly_late(plan, rng));
            return list;
        }
        _ => {}
    }
    let plain = plan.suite == Suite::Plain;
    for wire in 0..plan.wires.len() {
        for direction in 0..2 {
            let delay_ns = plan.wires[wire][direction].delay_ns;
            imperfect(rng, plain, delay_ns, |flaw| list.push(Trouble::Always(wire, direction, flaw)));
        }
    }
    // Of several wires all but one may die.
    let survivor =
        (plan.wires.len() > 1 && rng.below(4) == 0).then(|| rng.below(plan.wires.len() as u64) as usize);
    let within = FAULTS_WITHIN[rng.below(3) as usize];
    for _ in 0..rng.below(8) {
        let wire = rng.below(plan.wires.len() as u64) as usize;
        let trouble = passing(plan, rng, wire, within);
        // What is left when others are dead is not troubled at the same time: nobody promises that a handshake of a path gets through.
        if !trouble.is_about_wire() || survivor != Some(wire) {
            list.push(trouble);
        }
    }
    for wire in (0..plan.wires.len()).filter(|wire| survivor.is_some_and(|left| left != *wire)) {
        for direction in [0..2, 0..1, 1..2][rng.below(3) as usize].clone() {
            list.push(Trouble::At(rng.below(within), Fault::Cut(wire, direction)));
        }
    }
    last(rng, &mut list);
    list
}

/// Packets overtake each other, by less than a sender waits before it takes one for lost.
fn slightly_late(plan: &Plan, rng: &mut Rng) -> Vec<Trouble> {
    let mut list = Vec::new();
    for (wire, directions) in plan.wires.iter().enumerate() {
        for (direction, shape) in directions.iter().enumerate() {
            let chance = Chance::ppm(rng.below(200_000) as u32);
            let late = Flaw::Reorder(chance, rng.below(shape.delay_ns / 8 + 1));
            list.push(Trouble::Always(wire, direction, late));
        }
    }
    list
}

impl Trouble {
    fn is_about_wire(&self) -> bool {
        matches!(
            self,
            Trouble::Spell(..) | Trouble::Since(..) | Trouble::At(_, Fault::LinkDown(..) | Fault::Rebind(_))
        )
    }
}

/// What ends a run before its time, at most one of them.
fn last(rng: &mut Rng, list: &mut Vec<Trouble>) {
    let (at, side) = (rng.below(SECOND), rng.below(2) as usize);
    match rng.below(60) {
        0..=2 => list.push(Trouble::ClosesEarly(at, side)),
        3..=4 => list.push(Trouble::At(at, Fault::Kill(side))),
        5..=9 => list.push(Trouble::At(at, Fault::Lie(side, Lie::random(rng)))),
        _ => {}
    }
}

fn failing(rng: &mut Rng, mut put: impl FnMut(Failing)) {
    let mut sometimes = |one_in: u64, most: u64| (rng.below(one_in) == 0).then(|| rng.below(most) as u32);
    let all = [
        sometimes(4, 100_000).map(Failing::Rejects),
        sometimes(4, 100_000).map(Failing::EncodesAgain),
        sometimes(4, 200_000).map(Failing::Withdraws),
        sometimes(6, 100_000).map(Failing::SourceLies),
        sometimes(6, 100_000).map(Failing::MemoryLies),
        sometimes(6, 100_000).map(Failing::CannotWrite),
    ];
    all.into_iter().flatten().for_each(&mut put);
}

/// What comes and goes.
fn passing(plan: &Plan, rng: &mut Rng, wire: usize, within: u64) -> Trouble {
    let latest = 1 + rng.below(within);
    let at = rng.below(latest);
    let side = rng.below(2) as usize;
    let span = (at, at + rng.below(OUTAGE_MAX.min(2 * within)));
    let spell = |flaw| Trouble::Spell(wire, 0..2, span, flaw);
    match rng.below(14) {
        0 => Trouble::At(at, Fault::Rebind(wire)),
        1 => Trouble::At(at, Fault::Stall(side, rng.below(600 * MS))),
        2 => Trouble::At(at, Fault::LinkDown(side, wire)),
        3 | 4 => spell(Flaw::Dark),
        5 => Trouble::Spell(wire, side..side + 1, span, Flaw::Dark),
        6 => {
            let mtu = Flaw::Mtu(1_200 + rng.below(272) as u32);
            let passes = rng.below(2) == 0;
            if passes {
                Trouble::Spell(wire, 0..2, (at, at + within), mtu)
            } else {
                Trouble::Since(wire, at, mtu)
            }
        }
        7 => {
            let rate = plan.wires[wire][0].rate_bps.unwrap_or(0) / (1 + rng.below(10));
            spell(Flaw::Rate(rate.max(1_000_000)))
        }
        8 => spell(Flaw::Loss(Chance::ppm(rng.below(500_000) as u32))),
        9 => spell(Flaw::Slower(rng.below(100 * MS))),
        10 => {
            let most = [SECOND, IDLE_MAX][rng.below(2) as usize];
            Trouble::At(at, Fault::Idle(side, rng.below(most)))
        }
        _ => Trouble::Attacked(wire, (at, at + within), Attack::random(rng)),
    }
}

fn imperfect(rng: &mut Rng, plain: bool, delay_ns: u64, mut put: impl FnMut(Flaw)) {
    // Late enough to count as lost, or too little for it.
    let late_max = [20 * MS, delay_ns / 8 + 1][rng.below(2) as usize];
    let mut sometimes = |most: u64| (rng.below(3) == 0).then(|| rng.below(most) as u32);
    let (loss, duplicate) = (sometimes(20_000), sometimes(50_000));
    // Without tags only the checksum of UDP finds a flipped bit, and its packet never arrives.
    let corrupt = sometimes(20_000).filter(|_| !plain);
    let (reorder, late, jitter) = (sometimes(50_000), sometimes(late_max), sometimes(5 * MS));
    let burst = sometimes(2_000).map(|enter| Burst {
        enter: Chance::ppm(enter),
        leave: Chance::ppm(250_000),
        loss: Chance::ppm(800_000),
    });
    let all = [
        loss.map(|ppm| Flaw::Loss(Chance::ppm(ppm))),
        duplicate.map(|ppm| Flaw::Duplicate(Chance::ppm(ppm))),
        corrupt.map(|ppm| Flaw::Corrupt(Chance::ppm(ppm))),
        reorder.zip(late).map(|(ppm, ns)| Flaw::Reorder(Chance::ppm(ppm), u64::from(ns))),
        jitter.map(|ns| Flaw::Jitter(u64::from(ns))),
        burst.map(Flaw::Burst),
    ];
    all.into_iter().flatten().for_each(&mut put);
}
