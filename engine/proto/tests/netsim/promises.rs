//! What a user of one long path may rely on, beside what is wanted: goodput under loss and reordering, a whole file, start-up, what goes again.

use std::fmt::Write;

use xfer_proto::cc::Algorithm;

use crate::network::{FlowPlan, Network, Plan};
use crate::{jobs, tenths};

const LONG: Plan = Plan::new(1_000, 50);
/// 500 MB.
const FILE_CHUNKS: u32 = 477;
/// Goodput is measured in these ms.
const FROM_MS: u64 = 5_000;
const UNTIL_MS: u64 = 10_000;
/// A file that takes longer is stuck.
const PATIENCE_MS: u64 = 60_000;
/// Each case runs with these; the table has the worst.
const SEEDS: [u64; 3] = [1, 2, 3];

/// What is measured, in hundredths: percent of wire goodput from the fifth second on, the same of a file of 500 MB with its start, round
/// trips until 90 %, percent of the file that was sent again.
const MEASURES: usize = 4;
const HEADS: [&str; MEASURES] = ["goodput", "500 MB", "RTT to 90 %", "sent again"];
/// Whether more of it is better.
const MORE_IS_BETTER: [bool; MEASURES] = [true, true, false, false];

struct Case {
    name: &'static str,
    plan: Plan,
    wanted: [Option<u64>; MEASURES],
}

const fn lossy(loss_ppm: u32, plan: Plan) -> Plan {
    Plan { loss_ppm, ..plan }
}

const CASES: [Case; 6] = [
    Case { name: "no loss", plan: LONG, wanted: [Some(9_700), Some(8_500), Some(800), Some(100)] },
    Case { name: "0.1 %", plan: lossy(1_000, LONG), wanted: [Some(9_600), None, Some(800), Some(110)] },
    Case { name: "1 %", plan: lossy(10_000, LONG), wanted: [Some(9_500), Some(8_500), Some(800), Some(200)] },
    Case { name: "2 %", plan: lossy(20_000, LONG), wanted: [Some(9_300), None, Some(800), Some(300)] },
    Case {
        name: "200 ms, 1 %",
        plan: lossy(10_000, Plan::new(1_000, 200)),
        wanted: [Some(8_800), None, None, Some(200)],
    },
    // 90 % of what comes without reordering.
    Case {
        name: "30 % come 5 ms late",
        plan: Plan { reorder_ppm: 300_000, reorder_ms: 5, ..LONG },
        wanted: [Some(8_930), None, None, Some(100)],
    },
];

/// The cases, each with the worst of three seeds.
pub(crate) fn table() -> String {
    let mut runs = Vec::new();
    for case in &CASES {
        for seed in SEEDS {
            let plan = Plan { seed, ..case.plan };
            runs.extend([(plan, None), (plan, Some(FILE_CHUNKS))]);
        }
    }
    let results = jobs::all(&runs, |(plan, chunks)| measure(*plan, *chunks));
    let mut text = String::from(
        "Bbr alone on 1 Gbit/s, 50 ms unless named, queue of 1 BDP, percent of wire goodput; the worst of three seeds, and what is wanted.\n\n",
    );
    write!(text, "{:<21}", "").expect("a string");
    HEADS.iter().for_each(|head| write!(text, " {head:<17}").expect("a string"));
    text = format!("{}\n", text.trim_end());
    for (case, results) in CASES.iter().zip(results.chunks(2 * SEEDS.len())) {
        let mut line = format!("{:<21}", case.name);
        for i in 0..MEASURES {
            let values = results.iter().filter_map(|values| values[i]);
            let worst = if MORE_IS_BETTER[i] { values.min() } else { values.max() };
            line += &format!(" {:<17}", cell(worst, MORE_IS_BETTER[i], case.wanted[i]));
        }
        text += &format!("{}\n", line.trim_end());
    }
    text
}

/// A value, what is wanted of it, and whether it falls short.
fn cell(value: Option<u64>, more: bool, wanted: Option<u64>) -> String {
    let shown = value.map_or("never".to_owned(), tenths);
    let Some(wanted) = wanted else { return shown };
    let met = value.is_some_and(|value| if more { value >= wanted } else { value <= wanted });
    let (sign, note) = (if more { ">=" } else { "<=" }, if met { "" } else { " !" });
    format!("{shown} {sign} {}{note}", tenths(wanted))
}

/// What one run tells: one without end of the first and third measure, a file of the others.
fn measure(plan: Plan, chunks: Option<u32>) -> [Option<u64>; MEASURES] {
    let mut network = Network::new(plan, &[FlowPlan { algorithm: Algorithm::Bbr, start_ms: 0, chunks }]);
    if chunks.is_none() {
        network.run(UNTIL_MS);
        return [Some(network.goodput(0, FROM_MS, UNTIL_MS)), None, network.start_up(0), None];
    }
    network.run(PATIENCE_MS);
    [None, Some(network.whole(0).unwrap_or(0)), None, Some(network.resent(0))]
}
