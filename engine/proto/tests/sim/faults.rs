//! Faults: what happens to which wire or end at which virtual time, drawn from the seed.

use xfer_netem::{Burst, Chance, Rng, Shape};
use xfer_proto::crypto::Suite;

use crate::clock::{MS, SECOND};
use crate::plan::Plan;

/// Faults begin within one of these: transfers take between a few milliseconds and many seconds.
const FAULTS_WITHIN: [u64; 3] = [100 * MS, SECOND, 4 * SECOND];
/// No outage of all paths is longer: an idle peer is given up after 10 s.
const OUTAGE_MAX: u64 = 3 * SECOND;

/// One thing that goes wrong, or right again.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// From now on the wire has this shape in this direction (0: from the opener).
    Shape(usize, usize, Shape),
    /// The opener's address on the wire changes.
    Rebind(usize),
    /// The worker of an end does nothing for so many nanoseconds.
    Stall(usize, u64),
    /// The system of an end reports the path's link down.
    LinkDown(usize, usize),
}

/// Draws the imperfections that last and the faults that come and go.
pub(crate) fn draw(plan: &mut Plan, rng: &mut Rng) {
    if rng.below(8) == 0 {
        return;
    }
    for wire in &mut plan.wires {
        for shape in wire {
            imperfect(shape, rng, plan.suite == Suite::Plain);
        }
    }
    let mut faults = Vec::new();
    let within = FAULTS_WITHIN[rng.below(3) as usize];
    for _ in 0..rng.below(8) {
        let latest = 1 + rng.below(within);
        let at = rng.below(latest);
        let wire = rng.below(plan.wires.len() as u64) as usize;
        let side = rng.below(2) as usize;
        let until = at + rng.below(OUTAGE_MAX.min(2 * within));
        match rng.below(10) {
            0 => faults.push((at, Fault::Rebind(wire))),
            1 => faults.push((at, Fault::Stall(side, rng.below(600 * MS)))),
            2 => faults.push((at, Fault::LinkDown(side, wire))),
            3 | 4 => {
                both(&mut faults, plan, wire, (at, until), |shape| shape.blackhole = true);
            }
            5 => {
                let bad = Shape { blackhole: true, ..plan.wires[wire][side] };
                one(&mut faults, plan, (wire, side), (at, until), bad);
            }
            6 => {
                let mtu = Some(1_200 + rng.below(272) as u32);
                both(&mut faults, plan, wire, (at, at + within), |shape| shape.mtu = mtu);
            }
            7 => {
                let rate = plan.wires[wire][0].rate_bps.unwrap_or(0) / (1 + rng.below(10));
                both(&mut faults, plan, wire, (at, until), |shape| {
                    shape.rate_bps = Some(rate.max(1_000_000))
                });
            }
            8 => {
                let loss = Chance::ppm(rng.below(500_000) as u32);
                both(&mut faults, plan, wire, (at, until), |shape| shape.loss = loss);
            }
            _ => {
                let more = rng.below(100 * MS);
                both(&mut faults, plan, wire, (at, until), |shape| shape.delay_ns += more);
            }
        }
    }
    faults.sort_by_key(|(at, _)| *at);
    plan.faults = faults;
    if rng.below(20) == 0 {
        plan.closes_early = Some((rng.below(SECOND), rng.below(2) as usize));
    }
}

fn imperfect(shape: &mut Shape, rng: &mut Rng, plain: bool) {
    let mut sometimes = |most: u64| if rng.below(3) == 0 { rng.below(most) as u32 } else { 0 };
    shape.loss = Chance::ppm(sometimes(20_000));
    shape.duplicate = Chance::ppm(sometimes(50_000));
    // Without tags only the checksum of UDP finds a flipped bit, and its packet never arrives.
    shape.corrupt = Chance::ppm(if plain { 0 } else { sometimes(20_000) });
    shape.reorder = Chance::ppm(sometimes(50_000));
    shape.reorder_ns = u64::from(sometimes(20 * MS));
    shape.jitter_ns = u64::from(sometimes(5 * MS));
    let enter = sometimes(2_000);
    if enter > 0 {
        let (enter, leave, loss) = (Chance::ppm(enter), Chance::ppm(250_000), Chance::ppm(800_000));
        shape.burst = Some(Burst { enter, leave, loss });
    }
}

type Faults = Vec<(u64, Fault)>;

fn one(faults: &mut Faults, plan: &Plan, at: (usize, usize), span: (u64, u64), bad: Shape) {
    faults.push((span.0, Fault::Shape(at.0, at.1, bad)));
    faults.push((span.1, Fault::Shape(at.0, at.1, plan.wires[at.0][at.1])));
}

fn both(faults: &mut Faults, plan: &Plan, wire: usize, span: (u64, u64), change: impl Fn(&mut Shape)) {
    for direction in 0..2 {
        let mut bad = plan.wires[wire][direction];
        change(&mut bad);
        one(faults, plan, (wire, direction), span, bad);
    }
}
