//! From memory to memory over one bare wire.

use super::{Setting, bare};
use crate::failure::Outcome;
use crate::flows::{self, Case, Flow, Iperf, Ours, Quic};
use crate::limit;
use crate::record::{Record, Unit};
use crate::stage::Stage;

/// Of the wire.
const MTU: u32 = 1500;

/// The product, TCP without its shortcuts (`-Z`), and QUIC libraries.
pub(super) fn run(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    let stage = Stage::up(bare(MTU))?;
    let large = Ours { encrypted: true, options: "--source 256MiB", wires: Vec::new() };
    let all: Vec<Box<dyn Flow>> = vec![
        Box::new(Ours::new(true)),
        Box::new(Ours::new(false)),
        Box::new(large),
        Box::new(Iperf::new("bbr", 1)),
        Box::new(Iperf::new("cubic", 1)),
        Box::new(Quic { library: "quinn", control: "cubic", mtu: MTU }),
        Box::new(Quic { library: "s2n-quic", control: "cubic", mtu: MTU }),
    ];
    let flows: Vec<Box<dyn Flow>> = all.into_iter().filter(|flow| setting.wants(&flow.name())).collect();
    let case = Case {
        workload: "memory",
        name: format!("memory to memory, MTU {MTU}"),
        wires: 1,
        unit: Unit::Gbit,
        rounds: setting.rounds(5),
        budget: setting.budget(150),
        seconds: setting.pick(3, 4, 10),
        skip: 0,
    };
    let mut records = flows::compare(&stage, setting.dir, &flows, &case)?;
    records.extend(limit::records(&stage, setting, "memory", &case.name, limit::From::Memory, MTU));
    Ok(records)
}
