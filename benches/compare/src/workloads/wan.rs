//! Wide area: 1 Gbit/s with delay, loss and reordering; a queue of one BDP, loss in both directions.

use std::time::Duration;

use super::{Setting, file as big, wire};
use crate::copies::{self, Case};
use crate::failure::Outcome;
use crate::flows::{self, Flow, Iperf, Ours};
use crate::peers::What;
use crate::record::{Record, Unit};
use crate::stage::Stage;
use xfer_lab::{Config, WireShape};

/// Bytes of the file that is copied.
const FILE_BYTES: u64 = 500_000_000;
/// After this a copy is cut: a tool that takes random loss for congestion would need many minutes.
const CUT_AFTER: Duration = Duration::from_secs(20);

/// The wires: RTT in ms, loss, whether a quick run has it.
const WIRES: [(u64, f64, bool); 5] =
    [(50, 0.0, true), (50, 0.001, false), (50, 0.01, true), (50, 0.02, false), (200, 0.01, false)];

fn wires(setting: &Setting<'_>) -> Vec<(String, WireShape)> {
    let chosen = WIRES.iter().filter(|(_, _, is_quick)| *is_quick || !setting.quick);
    let mut wires: Vec<(String, WireShape)> = chosen
        .map(|(rtt, loss, _)| {
            (format!("1 Gbit/s, {rtt} ms RTT, {} % loss", loss * 100.0), wire(1, *rtt, *loss))
        })
        .collect();
    if !setting.quick {
        let reordering = WireShape { reorder: 0.3, reorder_ns: 5_000_000, ..wire(1, 50, 0.0) };
        wires.push(("1 Gbit/s, 50 ms RTT, 30 % of packets late by 5 ms".into(), reordering));
    }
    wires
}

/// The rate from the fifth second on.
pub(super) fn steady(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    let all: Vec<Box<dyn Flow>> = vec![
        Box::new(Ours::new(true)),
        Box::new(Iperf::new("bbr", 1)),
        Box::new(Iperf::new("bbr", 8)),
        Box::new(Iperf::new("cubic", 1)),
        Box::new(Iperf::new("cubic", 8)),
    ];
    let flows: Vec<Box<dyn Flow>> = all.into_iter().filter(|flow| setting.wants(&flow.name())).collect();
    let mut records = Vec::new();
    for (name, shape) in wires(setting) {
        let stage = Stage::up(Config::with_wires(1, shape))?;
        let case = flows::Case {
            workload: "wan",
            name,
            wires: 1,
            unit: Unit::Mbit,
            rounds: setting.rounds(3),
            seconds: if setting.quick { 5 } else { 15 },
            skip: 5,
        };
        records.extend(flows::compare(&stage, setting.dir, &flows, &case)?);
    }
    Ok(records)
}

/// A file of 500 MB, start included. The peers have BBR, which is their best option here.
pub(super) fn file(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    let source = big::make(setting, FILE_BYTES)?;
    let mut records = Vec::new();
    for (name, shape) in wires(setting) {
        let stage = Stage::up(Config::with_wires(1, shape))?;
        stage.set_congestion("bbr")?;
        let case = Case {
            workload: "wan-file",
            name: format!("500 MB, {name}"),
            what: What::File,
            source: &source,
            bytes: FILE_BYTES,
            unit: Unit::Mbit,
            rounds: setting.rounds(3),
            limit: CUT_AFTER,
            may_be_cut: true,
        };
        records.extend(copies::compare(&stage, setting.dir, &setting.peers, &case)?);
    }
    Ok(records)
}
