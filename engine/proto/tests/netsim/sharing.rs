//! Two flows on one wire: who gets how much, and how soon a newcomer has its share.

use std::fmt::Write;

use xfer_proto::cc::Algorithm::{self, Bbr, Cubic, Ledbat};

use crate::network::{FlowPlan, Network, Plan};
use crate::{jobs, tenths};

/// The second flow begins so much later than the first, ms.
const LATE_MS: u64 = 2_000;
/// Shares are measured from here to the end, ms.
const FROM_MS: u64 = 15_000;
const UNTIL_MS: u64 = 35_000;
/// Each pair runs with these; one run says little, since a loss more or less moves CUBIC for ten seconds.
const SEEDS: [u64; 3] = [1, 2, 3];
/// Two flows have converged when over so many ms, for so many spans, Jain's index is at least this, in hundredths of a percent.
const SPAN_MS: u64 = 1_000;
const SPANS: u64 = 3;
const JAIN: u64 = 9_500;

/// A pair, and what is wanted of the first one's share, from and to, in hundredths of a percent.
const PAIRS: [(Algorithm, Algorithm, [u64; 2]); 7] = [
    (Bbr, Cubic, [3_500, 6_500]),
    (Cubic, Bbr, [3_500, 6_500]),
    (Bbr, Bbr, [3_882, 6_118]),
    (Cubic, Cubic, [3_882, 6_118]),
    (Ledbat, Cubic, [0, 1_000]),
    (Cubic, Ledbat, [9_000, 10_000]),
    (Ledbat, Bbr, [0, 1_000]),
];
const WIRES: [Plan; 2] = [Plan::new(1_000, 50), Plan::new(100, 20)];

/// What one run tells.
struct Shared {
    parts: [u64; 2],
    /// ms.
    converged: Option<u64>,
    dropped: u64,
}

impl Shared {
    fn share(&self) -> u64 {
        self.parts[0] * 10_000 / (self.parts[0] + self.parts[1]).max(1)
    }
}

/// Shares, Jain's index and convergence.
pub(crate) fn table() -> String {
    let pairs: Vec<_> = WIRES.iter().flat_map(|wire| PAIRS.map(|pair| (*wire, pair))).collect();
    let runs: Vec<_> = pairs
        .iter()
        .flat_map(|(wire, (first, second, _))| SEEDS.map(|seed| (Plan { seed, ..*wire }, [*first, *second])))
        .collect();
    let results = jobs::all(&runs, |(plan, algorithms)| share(*plan, *algorithms));
    let mut text = format!(
        "Two flows, the second {LATE_MS} ms late; seconds 15 to 35, queue of 1 BDP, three seeds: means, and least and most of the first's share.\n\
         Converged: the slowest; seconds after the second began until Jain's index stays at 0.95 or above for three seconds.\n\n"
    );
    text += " Mbit/s  RTT ms  flows              first's share, percent       wanted    sum   Jain  converged  dropped\n";
    for ((plan, (first, second, wanted)), shared) in pairs.iter().zip(results.chunks(SEEDS.len())) {
        let mean = |of: &dyn Fn(&Shared) -> u64| shared.iter().map(of).sum::<u64>() / SEEDS.len() as u64;
        let share = mean(&Shared::share);
        let (least, most) = (shared.iter().map(Shared::share).min(), shared.iter().map(Shared::share).max());
        let slowest =
            shared.iter().map(|run| run.converged).max_by_key(|ms| ms.unwrap_or(u64::MAX)).flatten();
        let converged = slowest.map_or("-".to_owned(), |ms| format!("{} s", ms / 1_000));
        let met = if (wanted[0]..=wanted[1]).contains(&share) { "" } else { "  !" };
        writeln!(
            text,
            "{:>7} {:>7}  {:<17} {:>5} ({:>5} to {:>5}) {:>16} {:>6} {:>6} {converged:>10} {:>8}{met}",
            plan.mbit,
            plan.rtt_ms,
            format!("{first:?}, {second:?}"),
            tenths(share),
            tenths(least.unwrap_or(0)),
            tenths(most.unwrap_or(0)),
            format!("{} to {}", tenths(wanted[0]), tenths(wanted[1])),
            tenths(mean(&|run| run.parts.iter().sum())),
            tenths(mean(&|run| jain(run.parts))),
            tenths(mean(&|run| run.dropped)),
        )
        .expect("a string");
    }
    text
}

fn share(plan: Plan, [first, second]: [Algorithm; 2]) -> Shared {
    let flow = |algorithm, start_ms| FlowPlan { algorithm, start_ms, chunks: None };
    let mut network = Network::new(plan, &[flow(first, 0), flow(second, LATE_MS)]);
    network.run(UNTIL_MS);
    let parts = [0, 1].map(|flow| network.goodput(flow, FROM_MS, UNTIL_MS));
    Shared { parts, converged: converged(&network), dropped: network.dropped() }
}

/// Jain's index of two parts, in hundredths of a percent.
fn jain([one, two]: [u64; 2]) -> u64 {
    (one + two).pow(2) * 10_000 / (2 * (one.pow(2) + two.pow(2))).max(1)
}

/// How long after the second flow began both have equal parts, ms; `None` when they never do.
fn converged(network: &Network) -> Option<u64> {
    let equal = |from: u64| jain([0, 1].map(|flow| network.goodput(flow, from, from + SPAN_MS))) >= JAIN;
    let starts = (LATE_MS..UNTIL_MS - SPANS * SPAN_MS).step_by(SPAN_MS as usize);
    let first = starts.into_iter().find(|from| (0..SPANS).all(|n| equal(from + n * SPAN_MS)));
    first.map(|from| from - LATE_MS)
}
