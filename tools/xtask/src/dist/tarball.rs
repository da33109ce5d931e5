//! The tarball: the same files in one folder, which may lie anywhere. In: the staged files. Out: one `.tar.gz`.

use std::path::{Path, PathBuf};

use crate::step::{Outcome, Step};

/// Packs the staged folder into `out`; returns where the tarball is.
///
/// # Errors
/// `tar` or `gzip` fails.
pub(super) fn pack(stage: &Path, out: &Path, epoch: u64) -> Outcome<PathBuf> {
    let name = stage.file_name().unwrap_or_default();
    let machine = std::env::consts::ARCH;
    let tar = out.join(format!("{}-{machine}-linux-gnu.tar", name.to_string_lossy()));
    Step::new("tarball", "tar")
        .args(["--sort=name", "--format=gnu", "--owner=0", "--group=0", "--numeric-owner"])
        .args([format!("--mtime=@{epoch}")])
        .args(["-C".as_ref(), stage.parent().unwrap_or(stage).as_os_str()])
        .args(["-cf".as_ref(), tar.as_os_str(), name])
        .run()?;
    Step::new("tarball", "gzip").args(["-n6f"]).args([&tar]).run()?;
    Ok(tar.with_extension("tar.gz"))
}
