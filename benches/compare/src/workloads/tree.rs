//! Many small files: near, far, and ten times as many.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Setting, bare, patience, wire};
use crate::content::{self, Sizes};
use crate::copies::{self, Case};
use crate::failure::{Doing, Outcome};
use crate::peers::{Peer, What};
use crate::record::{Record, Unit};
use crate::stage::Stage;
use xfer_lab::Config;

/// A copy over the long wire is given up after this: the fastest take less than a second.
const FAR_LIMIT: Duration = Duration::from_secs(10);

/// 10,000 files of 12.1 KB at the mean.
pub(super) fn small(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    let (source, bytes) = make(setting, 10_000, Sizes::Mixed)?;
    let stage = Stage::up(bare(1500))?;
    let name = format!("10,000 files, {} MB", bytes / 1_000_000);
    let case = case("small", name, &source, bytes, setting.rounds(5));
    compare(setting, &stage, &setting.peers, Case { budget: setting.budget(120), ..case })
}

/// The product with 10,000 and with 100,000 files: ten times as long, and as much memory.
pub(super) fn linear(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    let ours: Vec<&dyn Peer> =
        setting.peers.iter().copied().filter(|peer| peer.name() == "xferctl").collect();
    let stage = Stage::up(bare(1500))?;
    let mut records = Vec::new();
    for count in [10_000, 100_000] {
        let (source, bytes) = make(setting, count, Sizes::Mixed)?;
        let name = format!("{count} files, {} MB", bytes / 1_000_000);
        let case = case("linear", name, &source, bytes, setting.rounds(3));
        records.extend(compare(setting, &stage, &ours, case)?);
        let parent = source.parent().unwrap_or(&source);
        fs::remove_dir_all(parent).doing(format_args!("clear {}", parent.display()))?;
    }
    Ok(records)
}

/// 1,000 files of 10 KB over a long wire.
pub(super) fn far(setting: &Setting<'_>) -> Outcome<Vec<Record>> {
    let (source, bytes) = make(setting, 1_000, Sizes::Equal(10_000))?;
    let stage = Stage::up(Config::with_wires(1, wire(1, 50, 0.0)))?;
    let name = "1,000 files of 10 KB, 1 Gbit/s, 50 ms RTT".to_owned();
    let case = case("far-small", name, &source, bytes, setting.rounds(5));
    // A tool that takes some round trips for each file would need minutes.
    compare(setting, &stage, &setting.peers, Case { limit: FAR_LIMIT, budget: setting.budget(90), ..case })
}

fn case<'a>(workload: &'static str, name: String, source: &'a Path, bytes: u64, rounds: usize) -> Case<'a> {
    let limit = patience(bytes);
    Case {
        workload,
        name,
        what: What::Tree,
        source,
        bytes,
        unit: Unit::Seconds,
        rounds,
        budget: None,
        limit,
        may_be_cut: false,
    }
}

fn compare(
    setting: &Setting<'_>,
    stage: &Stage,
    peers: &[&dyn Peer],
    case: Case<'_>,
) -> Outcome<Vec<Record>> {
    copies::compare(stage, setting.dir, peers, &case)
}

/// A tree of noise, alone in its directory; and its bytes.
fn make(setting: &Setting<'_>, count: usize, sizes: Sizes) -> Outcome<(PathBuf, u64)> {
    let kind = match sizes {
        Sizes::Mixed => "mixed".to_owned(),
        Sizes::Equal(bytes) => bytes.to_string(),
    };
    let dir = setting.dir.join(format!("src/tree-{count}-{kind}"));
    let tree = dir.join("tree");
    if dir.exists() {
        fs::remove_dir_all(&dir).doing(format_args!("clear {}", dir.display()))?;
    }
    let bytes = content::write_tree(&tree, count, sizes)?;
    Ok((tree, bytes))
}
