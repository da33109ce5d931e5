//! A planted bug: a patch, what it does in its first line, and after `Test:` the arguments of the cargo that is to find it, where that
//! is not the simulation.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sim;
use crate::step::{Doing, Failure, Outcome, output};

use super::shown;

/// Where the patches are.
const FOLDER: &str = "tools/mutants";
/// The header line that names another test than the simulation.
const TEST: &str = "Test: cargo ";

/// One of them.
pub(super) struct Patch {
    /// The file's name without its ending.
    pub(super) name: String,
    pub(super) what: String,
    /// Arguments of cargo.
    pub(super) test: Vec<String>,
    file: PathBuf,
}

/// All patches, by name.
///
/// # Errors
/// One cannot be read, or says nothing about itself.
pub(super) fn load(root: &Path) -> Outcome<Vec<Patch>> {
    let folder = root.join(FOLDER);
    let entries = std::fs::read_dir(&folder).doing(format_args!("list {}", shown(&folder)))?.flatten();
    let files = entries.map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|e| e == "patch")).collect();
    files.sort();
    files.into_iter().map(read).collect()
}

fn read(file: PathBuf) -> Outcome<Patch> {
    let text = std::fs::read_to_string(&file).doing(format_args!("read {}", shown(&file)))?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (what, test) =
        head(&text).ok_or_else(|| Failure::new(format!("{}: no words first", shown(&file))))?;
    Ok(Patch { name, what, test, file })
}

/// What the patch does, and the arguments of cargo that are to find it.
fn head(text: &str) -> Option<(String, Vec<String>)> {
    let head: Vec<&str> = text.lines().take_while(|line| !line.starts_with("--- ")).collect();
    let what = head.first().filter(|line| !line.is_empty())?;
    let simulation = format!("test -p xfer-proto --test sim {}", sim::SEEDS_TEST);
    let test = head.iter().find_map(|line| line.strip_prefix(TEST)).unwrap_or(&simulation);
    Some(((*what).to_owned(), test.split_whitespace().map(str::to_owned).collect()))
}

/// The patches that do not apply to the tree any more, with git's words.
///
/// # Errors
/// The patches cannot be read.
pub(crate) fn stale(root: &Path) -> Outcome<Vec<(String, String)>> {
    let patches = load(root)?;
    let check = |patch: &Patch| {
        let why = git(root, &patch.file, &["--check"]).err()?.to_string();
        Some((format!("{FOLDER}/{}.patch", patch.name), why))
    };
    Ok(patches.iter().filter_map(check).collect())
}

impl Patch {
    pub(super) fn apply(&self, tree: &Path) -> Outcome {
        git(tree, &self.file, &[])
    }

    pub(super) fn take_back(&self, tree: &Path) -> Outcome {
        git(tree, &self.file, &["--reverse"])
    }
}

/// `git apply` in a tree that need not be a checkout, and is not looked at as part of one around it.
fn git(tree: &Path, patch: &Path, options: &[&str]) -> Outcome {
    let mut command = Command::new("git");
    command.current_dir(tree).env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree));
    output(command.arg("apply").args(options).arg(patch)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_what_and_by_which_test() {
        let (what, test) = head("It breaks.\n\n--- a/x\n").unwrap();
        assert_eq!(what, "It breaks.");
        assert!(test.contains(&"sim".to_owned()));
        let (_, test) = head("It breaks.\nTest: cargo test -p a b\n--- a/x\n").unwrap();
        assert_eq!(test, ["test", "-p", "a", "b"]);
        assert_eq!(head("--- a/x\nTest: cargo test\n"), None);
    }

    #[test]
    fn a_patch_applies_once_and_back() {
        let tree = std::env::temp_dir().join(format!("xtask-patch-{}", std::process::id()));
        std::fs::create_dir_all(tree.join(FOLDER)).unwrap();
        std::fs::write(tree.join("x"), "one\n").unwrap();
        let text = "One is two.\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-one\n+two\n";
        std::fs::write(tree.join(FOLDER).join("two.patch"), text).unwrap();
        let patches = load(&tree).unwrap();
        assert_eq!((patches.len(), patches[0].name.as_str()), (1, "two"));
        assert_eq!(stale(&tree).unwrap(), []);
        patches[0].apply(&tree).unwrap();
        assert_eq!(std::fs::read_to_string(tree.join("x")).unwrap(), "two\n");
        assert_eq!(stale(&tree).unwrap()[0].0, "tools/mutants/two.patch");
        assert!(patches[0].apply(&tree).is_err());
        patches[0].take_back(&tree).unwrap();
        assert_eq!(std::fs::read_to_string(tree.join("x")).unwrap(), "one\n");
        std::fs::remove_dir_all(&tree).unwrap();
    }
}
