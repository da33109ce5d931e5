//! A copy of the tree that changes as little as it can from one time to the next, so that little is built again.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{Doing, Outcome, output};

use super::shown;

/// Makes `to` hold the files of the checkout `from`, with what is not committed, and nothing else.
///
/// # Errors
/// A file cannot be listed, read or written.
pub(super) fn refresh(from: &Path, to: &Path) -> Outcome {
    let mut list = Command::new("git");
    list.current_dir(from).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let names = output(&mut list)?;
    let names = names.split('\0').filter(|name| !name.is_empty());
    mirror(from, to, names.map(PathBuf::from))
}

fn mirror(from: &Path, to: &Path, names: impl Iterator<Item = PathBuf>) -> Outcome {
    fs::create_dir_all(to).doing(format_args!("create {}", shown(to)))?;
    let mut wanted = HashSet::new();
    for name in names {
        let (source, place) = (from.join(&name), to.join(&name));
        // A file that was removed but not committed is still listed.
        if !source.is_file() {
            continue;
        }
        let bytes = fs::read(&source).doing(format_args!("read {}", shown(&source)))?;
        if fs::read(&place).is_ok_and(|there| there == bytes) {
            wanted.insert(place);
            continue;
        }
        let parent = place.parent().unwrap_or(to);
        fs::create_dir_all(parent).doing(format_args!("create {}", shown(parent)))?;
        fs::copy(&source, &place).doing(format_args!("copy {}", shown(&source)))?;
        wanted.insert(place);
    }
    sweep(to, &wanted)
}

/// Removes the files below `folder` that are not `wanted`.
fn sweep(folder: &Path, wanted: &HashSet<PathBuf>) -> Outcome {
    for entry in fs::read_dir(folder).doing(format_args!("list {}", shown(folder)))? {
        let place = entry.doing(format_args!("list {}", shown(folder)))?.path();
        if place.is_dir() {
            sweep(&place, wanted)?;
        } else if !wanted.contains(&place) {
            fs::remove_file(&place).doing(format_args!("remove {}", shown(&place)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_follows_and_keeps_what_is_the_same() {
        let base = std::env::temp_dir().join(format!("xtask-copy-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        fs::create_dir_all(from.join("a")).unwrap();
        fs::write(from.join("a/x"), "1").unwrap();
        fs::write(from.join("y"), "2").unwrap();
        let names = || ["a/x", "y", "gone"].into_iter().map(PathBuf::from);
        mirror(&from, &to, names()).unwrap();
        let written = fs::metadata(to.join("a/x")).unwrap().modified().unwrap();
        fs::write(from.join("y"), "3").unwrap();
        fs::write(to.join("a/left"), "over").unwrap();
        mirror(&from, &to, names()).unwrap();
        assert_eq!(fs::read(to.join("y")).unwrap(), b"3");
        assert!(!to.join("a/left").exists());
        assert_eq!(fs::metadata(to.join("a/x")).unwrap().modified().unwrap(), written);
        fs::remove_dir_all(&base).unwrap();
    }
}
