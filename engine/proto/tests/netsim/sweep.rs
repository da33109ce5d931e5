//! One flow alone, over rate, round trip, loss and congestion control.

use std::fmt::Write;

use xfer_proto::cc::Algorithm;

use crate::network::{FlowPlan, Network, Plan};
use crate::{jobs, loss, tenths};

const RATES_MBIT: [u64; 2] = [100, 1_000];
const RTTS_MS: [u64; 3] = [2, 50, 200];
const LOSSES_PPM: [u32; 4] = [0, 1_000, 10_000, 20_000];
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Bbr, Algorithm::Cubic, Algorithm::Ledbat];
/// The time that is measured, ms.
const FROM_MS: u64 = 4_000;
const UNTIL_MS: u64 = 8_000;

/// Percent of wire goodput in a table.
pub(crate) fn table() -> String {
    let mut cells = Vec::new();
    for mbit in RATES_MBIT {
        for rtt_ms in RTTS_MS {
            for loss_ppm in LOSSES_PPM {
                let plan = Plan { loss_ppm, ..Plan::new(mbit, rtt_ms) };
                cells.extend(ALGORITHMS.map(|algorithm| (plan, algorithm)));
            }
        }
    }
    let results = jobs::all(&cells, |(plan, algorithm)| {
        let flow = FlowPlan { algorithm: *algorithm, start_ms: 0, chunks: None };
        let mut network = Network::new(*plan, &[flow]);
        network.run(UNTIL_MS);
        network.goodput(0, FROM_MS, UNTIL_MS)
    });
    let mut text = String::from("Percent of wire goodput, seconds 4 to 8, queue of 1 BDP, seed 1.\n\n");
    text += "  Mbit/s   RTT ms    loss      bbr    cubic   ledbat\n";
    for (row, cells) in cells.chunks(ALGORITHMS.len()).enumerate() {
        let plan = cells[0].0;
        write!(text, "{:>8} {:>8} {:>7}", plan.mbit, plan.rtt_ms, loss(plan.loss_ppm)).expect("a string");
        for result in &results[row * ALGORITHMS.len()..][..ALGORITHMS.len()] {
            write!(text, " {:>8}", tenths(*result)).expect("a string");
        }
        text.push('\n');
    }
    text
}
