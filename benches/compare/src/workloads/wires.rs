//! Several wires at once: what each gives alone, what all give together, and MPTCP beside.
//!
//! The emulator takes half a processor for 1 Gbit/s, so the wires are bare ones that the kernel holds to their rate; they have no delay.

use std::process::Command;

use super::Setting;
use crate::failure::{Doing, Failure, Outcome};
use crate::flows::{self, Case, Flow, Iperf, Ours};
use crate::record::{Record, Unit};
use crate::stage::{Side, Stage};
use xfer_lab::{Config, WireShape};

/// The sets of wires, Gbit/s each.
const SETS: [&[u64]; 3] = [&[2, 2], &[3, 1], &[1, 1, 1, 1]];

/// Every set.
pub(super) fn run(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    let mut records = Vec::new();
    for rates in SETS {
        let stage = Stage::up(Config::with_wires(rates.len(), WireShape::default()))?;
        rates.iter().enumerate().try_for_each(|(at, gbit)| stage.hold(at + 1, *gbit))?;
        [&stage.client, &stage.node]
            .into_iter()
            .try_for_each(|side| join_multipath(&stage, side, rates.len()))?;
        let shown: Vec<String> = rates.iter().map(u64::to_string).collect();
        let case = Case {
            workload: "wires",
            name: format!("{} Gbit/s", shown.join(" + ")),
            wires: rates.len(),
            unit: Unit::Mbit,
            rounds: setting.rounds(5),
            budget: setting.budget(60),
            seconds: setting.pick(3, 5, 8),
            skip: 1,
        };
        let flows = flows(rates).into_iter().filter(|flow| setting.wants(&flow.name())).collect::<Vec<_>>();
        let mut found = flows::compare(&stage, setting.dir, &flows, &case)?;
        for kind in ["xferctl", "iperf3"] {
            note_share(&mut found, kind);
        }
        records.extend(found);
    }
    Ok(records)
}

/// All together, and each wire alone: wires of one rate once.
fn flows(rates: &[u64]) -> Vec<Box<dyn Flow>> {
    let distinct = (0..rates.len()).filter(|at| rates[..*at].iter().all(|rate| *rate != rates[*at]));
    let mut flows: Vec<Box<dyn Flow>> =
        vec![Box::new(Ours::new(true)), Box::new(Iperf { multipath: true, ..Iperf::new("cubic", 1) })];
    for at in distinct {
        flows.push(Box::new(Ours { wires: vec![at + 1], ..Ours::new(true) }));
        flows.push(Box::new(Iperf { wire: at + 1, ..Iperf::new("cubic", 1) }));
    }
    flows
}

/// Says of the flow over all wires what share of its wires' sum it carries. Where wires are equal, one stands for all.
fn note_share(records: &mut [Record], kind: &str) {
    let median = |record: &Record| record.spread().map_or(0.0, |spread| spread.median);
    let is_single = |record: &&Record| {
        record.peer.starts_with(kind) && (record.peer.contains("wire") || kind == "iperf3")
    };
    let singles: Vec<f64> = records.iter().filter(is_single).map(median).collect();
    let gbit: Vec<f64> = records
        .first()
        .map(|record| record.case.split(" Gbit").next().unwrap_or_default())
        .map(|rates| rates.split(" + ").filter_map(|rate| rate.parse().ok()).collect())
        .unwrap_or_default();
    let mut distinct = gbit.clone();
    distinct.dedup();
    let alone =
        |rate: &f64| distinct.iter().position(|one| one == rate).and_then(|at| singles.get(at)).copied();
    let sum: f64 = gbit.iter().filter_map(alone).sum();
    let all = records.iter_mut().find(|record| match kind {
        "iperf3" => record.peer.starts_with("MPTCP"),
        _ => record.peer.starts_with(kind) && !record.peer.contains("wire"),
    });
    if let Some(all) = all.filter(|all| all.note.is_empty() && sum > 0.0) {
        all.note =
            format!("{:.1} % of the {sum:.0} Mbit/s that its wires give alone", median(all) / sum * 100.0);
    }
}

/// Lets MPTCP on this host use all its wires.
fn join_multipath(stage: &Stage, side: &Side, wires: usize) -> Outcome {
    let ip = |words: &[&str]| {
        let mut command: Command = side.host.command("ip");
        let output = command.arg("mptcp").args(words).output().doing("start ip")?;
        let cause = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let done = output.status.success();
        if done { Ok(()) } else { Err(Failure::new(format!("ip mptcp {}: {cause}", words.join(" ")))) }
    };
    ip(&["limits", "set", "subflow", "8", "add_addr_accepted", "8"])?;
    let is_client = side.host.name() == stage.client.host.name();
    for wire in 2..=wires {
        let (address, interface) = (side.host.ipv4(wire).to_string(), format!("x{wire}"));
        // Host b tells its addresses; host a answers each from the wire that leads there.
        let role: &[&str] = if is_client { &["subflow", "fullmesh"] } else { &["signal"] };
        ip(&[&["endpoint", "add", &address, "dev", &interface], role].concat())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;

    #[test]
    fn the_share_is_of_what_the_wires_give_alone() {
        let mut records: Vec<Record> = [
            ("xferctl bench run", 3_900.0),
            ("MPTCP (mptcpize iperf3) cubic", 3_600.0),
            ("xferctl bench run wire 1", 2_950.0),
            ("iperf3 cubic", 2_800.0),
            ("xferctl bench run wire 2", 990.0),
            ("iperf3 cubic, wire 2", 900.0),
        ]
        .into_iter()
        .map(|(name, value)| Record { case: "3 + 1 Gbit/s".into(), ..sample(name, Unit::Mbit, &[value]) })
        .collect();
        note_share(&mut records, "xferctl");
        note_share(&mut records, "iperf3");
        assert_eq!(records[0].note, "99.0 % of the 3940 Mbit/s that its wires give alone");
        assert_eq!(records[1].note, "97.3 % of the 3700 Mbit/s that its wires give alone");
        let mut equal: Vec<Record> = [("xferctl bench run", 3_000.0), ("xferctl bench run wire 1", 1_000.0)]
            .into_iter()
            .map(|(name, value)| Record {
                case: "1 + 1 + 1 + 1 Gbit/s".into(),
                ..sample(name, Unit::Mbit, &[value])
            })
            .collect();
        note_share(&mut equal, "xferctl");
        assert_eq!(equal[0].note, "75.0 % of the 4000 Mbit/s that its wires give alone");
    }
}
