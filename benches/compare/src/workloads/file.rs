//! One big file over one bare wire.

use std::fs;
use std::path::PathBuf;

use super::{Setting, bare, patience};
use crate::content;
use crate::copies::{self, Case};
use crate::failure::{Doing, Outcome};
use crate::limit;
use crate::peers::What;
use crate::record::{Record, Unit};
use crate::stage::Stage;

/// At MTU 1500.
pub(super) fn standard(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    run(setting, "big", 1500)
}

/// At MTU 9000.
pub(super) fn jumbo(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    run(setting, "jumbo", 9000)
}

fn run(setting: &Setting<'_>, workload: &'static str, mtu: u32) -> Outcome<Vec<Record>> {
    let bytes = setting.size.unwrap_or(if setting.quick { 1 << 30 } else { 4 << 30 });
    let source = make(setting, bytes)?;
    let stage = Stage::up(bare(mtu))?;
    let case = Case {
        workload,
        name: format!("one file of {} MiB, MTU {mtu}", bytes >> 20),
        what: What::File,
        source: &source,
        bytes,
        unit: Unit::Gbit,
        rounds: setting.rounds(5),
        limit: patience(bytes),
        may_be_cut: false,
    };
    let mut records = copies::compare(&stage, setting.dir, &setting.peers, &case)?;
    records.extend(limit::records(&stage, setting, workload, &case.name, limit::From::File, mtu));
    Ok(records)
}

/// A file of noise, alone in its directory.
pub(super) fn make(setting: &Setting<'_>, bytes: u64) -> Outcome<PathBuf> {
    let dir = setting.dir.join(format!("src/file-{bytes}"));
    let path = dir.join("data");
    if !path.exists() {
        fs::create_dir_all(&dir).doing(format_args!("make {}", dir.display()))?;
        content::write_file(&path, bytes, 42)?;
    }
    Ok(path)
}
