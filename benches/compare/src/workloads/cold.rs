//! A cold file of 1 KiB: from the start of the process until the file is in place with all its bytes.

use super::{Setting, bare, file, patience, wire};
use crate::copies::{self, Case};
use crate::failure::Outcome;
use crate::peers::What;
use crate::record::{Record, Unit};
use crate::stage::Stage;
use xfer_lab::Config;

const BYTES: u64 = 1_024;

/// Over a bare wire, and over 50 ms RTT.
pub(super) fn run(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    let source = file::make(setting, BYTES)?;
    let wires =
        [("a bare wire", bare(1500)), ("1 Gbit/s, 50 ms RTT", Config::with_wires(1, wire(1, 50, 0.0)))];
    let mut records = Vec::new();
    for (wire, config) in wires {
        let stage = Stage::up(config)?;
        let case = Case {
            workload: "cold",
            name: format!("1 KiB, {wire}"),
            what: What::File,
            source: &source,
            bytes: BYTES,
            unit: Unit::Millis,
            rounds: setting.rounds(11),
            budget: setting.budget(75),
            limit: patience(0),
            may_be_cut: false,
        };
        let found = copies::compare(&stage, setting.dir, &setting.peers, &case)?;
        // Seconds for 10^9 bytes say nothing here.
        records.extend(found.into_iter().map(|record| Record { bytes: 0, ..record }));
    }
    Ok(records)
}
