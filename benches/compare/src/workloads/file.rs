//! One big file over one bare wire.

use std::fs;
use std::path::PathBuf;

use super::{Scale, Setting, bare, patience};
use crate::content;
use crate::copies::{self, Case};
use crate::failure::{Doing, Outcome};
use crate::limit;
use crate::peers::{Peer, What};
use crate::record::{Record, Unit};
use crate::stage::Stage;

/// The tools that targets name, and the fastest of each kind: a recorded run gives them the whole file, the others a part.
const LEADERS: [&str; 13] = [
    "xferctl",
    "xferctl plain",
    "nbdcopy, nbd-server",
    "socat",
    "GridFTP -p 1",
    "GridFTP -p 8",
    "GridFTP -p 8 -verify-checksum",
    "curl https/1.1, nginx",
    "cat | ssh",
    "scp",
    "sftp",
    "rsync over ssh",
    "rsync daemon",
];

/// At MTU 1500.
pub(super) fn standard(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    let stage = Stage::up(bare(1500))?;
    let mut records = Vec::new();
    if setting.scale == Scale::Record && setting.size.is_none() {
        records.extend(run(setting, &stage, "big", 1500, &setting.among(&LEADERS), 4 << 30)?);
        records.extend(run(setting, &stage, "big", 1500, &setting.peers, 1 << 30)?);
    } else {
        records.extend(run(setting, &stage, "big", 1500, &setting.peers, size(setting))?);
    }
    Ok(records)
}

/// At MTU 9000.
pub(super) fn jumbo(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    let stage = Stage::up(bare(9000))?;
    let leaders = setting.among(&LEADERS);
    let peers = if setting.scale == Scale::Full { &setting.peers } else { &leaders };
    run(setting, &stage, "jumbo", 9000, peers, size(setting))
}

fn size(setting: &Setting<'_>) -> u64 {
    setting.size.unwrap_or(setting.pick(1 << 30, 2 << 30, 4 << 30))
}

fn run(
    setting: &Setting<'_>,
    stage: &Stage,
    workload: &'static str,
    mtu: u32,
    peers: &[&dyn Peer],
    bytes: u64,
) -> Outcome<Vec<Record>> {
    let source = make(setting, bytes)?;
    let case = Case {
        workload,
        name: format!("one file of {} MiB, MTU {mtu}", bytes >> 20),
        what: What::File,
        source: &source,
        bytes,
        unit: Unit::Gbit,
        rounds: setting.rounds(5),
        budget: setting.budget(if mtu == 1500 { 230 } else { 100 }),
        limit: patience(bytes),
        may_be_cut: false,
    };
    let mut records = copies::compare(stage, setting.dir, peers, &case)?;
    records.extend(limit::records(stage, setting, workload, &case.name, limit::From::File(bytes), mtu));
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
