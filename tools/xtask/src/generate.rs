//! `gen`: writes the generated files again; with `--check` fails where the committed ones differ, and leaves them be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::ebpf;
use crate::folder;
use crate::step::{Doing, Failure, Outcome, Step};
use crate::workspace;

/// Files that are made by a program, and how.
struct Generator {
    name: &'static str,
    /// Files or folders below the workspace root that it writes, and nothing else.
    outputs: &'static [&'static str],
    /// Writes them.
    write: fn() -> Outcome,
}

/// Every set of generated files; a new one is a line here.
const GENERATORS: &[Generator] = &[
    Generator {
        name: "lock file of the program without std",
        outputs: &["engine/proto/tests/no_std/Cargo.lock"],
        write: no_std_lock,
    },
    Generator { name: "manual pages", outputs: &[MANUAL], write: manual },
    Generator { name: "eBPF objects", outputs: &[ebpf::OBJECTS], write: ebpf::write_objects },
    Generator { name: "header of libxfer", outputs: &[HEADER], write: header },
];

/// The manual pages: every command and option, readable where nothing is built yet.
const MANUAL: &str = "tools/xferctl/man";

/// The C header: of the functions that the library exports.
const HEADER: &str = "include/xfer.h";

/// Content of generated files by path.
type Snapshot = BTreeMap<PathBuf, Vec<u8>>;

/// `gen [--check]`.
///
/// # Errors
/// A generator failed; with `--check` also the names of the files that it would change.
pub(crate) fn run(args: &[String]) -> Outcome {
    let check = match args {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return Err(Failure::usage("usage: cargo xtask gen [--check]")),
    };
    write(GENERATORS.iter(), check, "gen")
}

/// Writes, or checks, what lies at `output` alone; its verb is named as that folder's first.
///
/// # Errors
/// As [`run`].
pub(crate) fn one(output: &str, check: bool) -> Outcome {
    let verb = output.split('/').next().unwrap_or(output);
    write(GENERATORS.iter().filter(|generator| generator.outputs == [output]), check, verb)
}

fn write<'a>(generators: impl Iterator<Item = &'a Generator>, check: bool, verb: &str) -> Outcome {
    let mut drifted = Vec::new();
    for generator in generators {
        let outputs: Vec<PathBuf> =
            generator.outputs.iter().map(|path| workspace::root().join(path)).collect();
        let before = snapshot(&outputs)?;
        let written = (generator.write)();
        let after = snapshot(&outputs)?;
        if check {
            restore(&before, &after)?;
        }
        written?;
        let changed = changed(&before, &after);
        eprintln!("gen: {}: {}", generator.name, if changed.is_empty() { "unchanged" } else { "changed" });
        drifted.extend(changed);
    }
    if !check || drifted.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = drifted.iter().map(|path| path.display().to_string()).collect();
    Err(Failure::new(format!("generated files differ, run `cargo xtask {verb}`: {}", names.join(", "))))
}

fn snapshot(outputs: &[PathBuf]) -> Outcome<Snapshot> {
    let mut files = Snapshot::new();
    outputs.iter().try_for_each(|path| add_files(path, &mut files))?;
    Ok(files)
}

fn add_files(path: &Path, files: &mut Snapshot) -> Outcome {
    if path.is_dir() {
        for entry in fs::read_dir(path).doing(format_args!("list {}", path.display()))? {
            add_files(&entry.doing(format_args!("list {}", path.display()))?.path(), files)?;
        }
    } else if path.exists() {
        let content = fs::read(path).doing(format_args!("read {}", path.display()))?;
        files.insert(path.to_path_buf(), content);
    }
    Ok(())
}

/// Paths whose content differs between the two, or that are in one of them only.
fn changed(before: &Snapshot, after: &Snapshot) -> Vec<PathBuf> {
    let all = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
    all.filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}

/// Puts back what was there before.
fn restore(before: &Snapshot, after: &Snapshot) -> Outcome {
    for path in changed(before, after) {
        match before.get(&path) {
            Some(content) => {
                let parent = path.parent().unwrap_or(&path);
                fs::create_dir_all(parent)
                    .and_then(|()| fs::write(&path, content))
                    .doing(format_args!("restore {}", path.display()))?;
            }
            None => fs::remove_file(&path).doing(format_args!("remove {}", path.display()))?,
        }
    }
    Ok(())
}

/// Cargo cuts a copy of the workspace's lock file down to what the program needs: the same versions in both.
fn no_std_lock() -> Outcome {
    let root = workspace::root();
    let dir = root.join("engine/proto/tests/no_std");
    let lock = dir.join("Cargo.lock");
    fs::copy(root.join("Cargo.lock"), &lock).doing(format_args!("write {}", lock.display()))?;
    Step::cargo("lock file", ["update", "--quiet", "--workspace"]).dir(&dir).run()
}

/// The tool writes its own pages; one of a command that is gone goes too.
fn manual() -> Outcome {
    let dir = workspace::root().join(MANUAL);
    folder::remove(&dir)?;
    let words = ["run", "--quiet", "--locked", "--package", "xferctl", "--", "man", MANUAL];
    Step::cargo("manual pages", words).run()
}

/// A crate of its own writes it, with a pinned generator.
fn header() -> Outcome {
    let words = ["run", "--quiet", "--locked", "--package", "xfer-header", "--", HEADER];
    Step::cargo("header of libxfer", words).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_found_and_taken_back() {
        let dir = std::env::temp_dir().join(format!("xtask-gen-{}", std::process::id()));
        for name in ["sub", "folder"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        for (name, content) in [("same", "1"), ("sub/edited", "2"), ("folder/gone", "3")] {
            fs::write(dir.join(name), content).unwrap();
        }
        let outputs = [dir.clone()];
        let before = snapshot(&outputs).unwrap();
        fs::write(dir.join("sub/edited"), "x").unwrap();
        fs::write(dir.join("new"), "x").unwrap();
        fs::remove_dir_all(dir.join("folder")).unwrap();
        let after = snapshot(&outputs).unwrap();
        assert_eq!(
            changed(&before, &after),
            [dir.join("folder/gone"), dir.join("sub/edited"), dir.join("new")]
        );
        restore(&before, &after).unwrap();
        assert_eq!(snapshot(&outputs).unwrap(), before);
        assert!(changed(&before, &before).is_empty());
        fs::remove_dir_all(&dir).unwrap();
    }
}
