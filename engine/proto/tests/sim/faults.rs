//! Faults: what happens to which wire at which virtual time.

use xfer_netem::{Rng, Shape};

use crate::plan::Plan;

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

pub(crate) fn draw(plan: &mut Plan, rng: &mut Rng) {
    let _ = (plan, rng);
}
