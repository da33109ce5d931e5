//! How much of the content lies at a destination, whether a journal counts it or not.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of a block as `stat` counts them.
const BLOCK: u64 = 512;

/// Content bytes of files, finished or not. Of a partial file only what is written counts: it is as long as its source from the start.
pub(crate) fn written(root: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(root) else { return 0 };
    let in_partials = root.file_name().is_some_and(|name| name == ".xfer-partial");
    entries.map_while(Result::ok).map(|entry| of(&entry.path(), in_partials)).sum()
}

fn of(path: &Path, in_partials: bool) -> u64 {
    // Files vanish while a node that lives ends its transfer.
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    let is = |extension: &str| path.extension().is_some_and(|e| e == extension);
    let name = path.to_string_lossy();
    match (found.is_dir(), in_partials) {
        (true, _) => written(path),
        (false, false) => found.len(),
        (false, true) if is("journal") || name.ends_with(".journal.tmp") => 0,
        (false, true) => found.len().min(found.blocks() * BLOCK),
    }
}
