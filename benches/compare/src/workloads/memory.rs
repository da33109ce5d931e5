//! From memory to memory over one bare wire.

use super::{Setting, bare};
use crate::failure::Outcome;
use crate::flows::{self, Case, Flow, Iperf, Ours};
use crate::limit;
use crate::record::{Record, Unit};
use crate::stage::Stage;

/// The product and TCP.
pub(super) fn run(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    let stage = Stage::up(bare(1500))?;
    let large = Ours { encrypted: true, options: "--source 256MiB", wires: Vec::new() };
    let all: Vec<Box<dyn Flow>> = vec![
        Box::new(Ours::new(true)),
        Box::new(Ours::new(false)),
        Box::new(large),
        Box::new(Iperf::new("bbr", 1)),
        Box::new(Iperf::new("cubic", 1)),
    ];
    let flows: Vec<Box<dyn Flow>> = all.into_iter().filter(|flow| setting.wants(&flow.name())).collect();
    let case = Case {
        workload: "memory",
        name: "memory to memory, MTU 1500".into(),
        wires: 1,
        unit: Unit::Gbit,
        rounds: setting.rounds(5),
        seconds: if setting.quick { 3 } else { 10 },
        skip: 0,
    };
    let mut records = flows::compare(&stage, setting.dir, &flows, &case)?;
    records.extend(limit::records(&stage, setting, "memory", &case.name, limit::From::Memory, 1500));
    Ok(records)
}
