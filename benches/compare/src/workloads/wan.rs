//! Wide area: 1 Gbit/s with delay, loss and reordering; a queue of one BDP, loss in both directions.

use std::time::Duration;

use super::{Scale, Setting, file as big, wire};
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

/// The wires: RTT in ms, loss, and the least scale that has it for steady rates and for a file.
const WIRES: [(u64, f64, Scale, Scale); 5] = [
    (50, 0.0, Scale::Quick, Scale::Quick),
    (50, 0.001, Scale::Full, Scale::Full),
    (50, 0.01, Scale::Quick, Scale::Quick),
    (50, 0.02, Scale::Full, Scale::Full),
    (200, 0.01, Scale::Record, Scale::Full),
];

/// The tools that come near the wire, and those that most people use: all that a recorded run has time for.
const FILE_LEADERS: [&str; 6] = [
    "xferctl",
    "GridFTP -p 8",
    "curl https/1.1, nginx",
    "aria2 -x 4 https, nginx",
    "rsync daemon",
    "cat | ssh",
];

/// What is done over a wire.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Steady,
    File,
}

fn wires(setting: &Setting<'_>, kind: Kind) -> Vec<(String, WireShape)> {
    let least = |(_, _, steady, file): &(u64, f64, Scale, Scale)| match kind {
        Kind::Steady => *steady,
        Kind::File => *file,
    };
    let mut wires: Vec<(String, WireShape)> = WIRES
        .iter()
        .filter(|one| least(one) <= setting.scale)
        .map(|(rtt, loss, ..)| {
            (format!("1 Gbit/s, {rtt} ms RTT, {} % loss", loss * 100.0), wire(1, *rtt, *loss))
        })
        .collect();
    if setting.scale == Scale::Full {
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
    // Eight streams of CUBIC are beside the point, and a recorded run has little time.
    let is_left_out = |name: &str| setting.scale == Scale::Record && name == "iperf3 cubic, 8 streams";
    let is_in = |name: &str| setting.wants(name) && !is_left_out(name);
    let flows: Vec<Box<dyn Flow>> = all.into_iter().filter(|flow| is_in(&flow.name())).collect();
    let mut records = Vec::new();
    for (name, shape) in wires(setting, Kind::Steady) {
        let stage = Stage::up(Config::with_wires(1, shape))?;
        let case = flows::Case {
            workload: "wan",
            name,
            wires: 1,
            unit: Unit::Mbit,
            rounds: setting.rounds(3),
            budget: setting.budget(95),
            seconds: setting.pick(5, 6, 15),
            skip: 5,
        };
        records.extend(flows::compare(&stage, setting.dir, &flows, &case)?);
    }
    Ok(records)
}

/// A file of 500 MB, start included. The peers have BBR, which is their best option here.
pub(super) fn file(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    let source = big::make(setting, FILE_BYTES)?;
    let leaders = setting.among(&FILE_LEADERS);
    let peers = if setting.scale == Scale::Full { &setting.peers } else { &leaders };
    let mut records = Vec::new();
    for (name, shape) in wires(setting, Kind::File) {
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
            budget: setting.budget(90),
            limit: CUT_AFTER,
            may_be_cut: true,
        };
        records.extend(copies::compare(&stage, setting.dir, peers, &case)?);
    }
    Ok(records)
}
