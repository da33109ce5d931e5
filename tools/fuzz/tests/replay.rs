//! The committed inputs, each through its target. Those that once showed a bug, or show a planted one, are among them.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// All committed inputs together.
const BYTES_MAX: u64 = 1 << 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("inputs")
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder().join(target)).unwrap_or_else(|e| panic!("inputs of {target}: {e}"));
    let mut inputs: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    inputs.sort();
    inputs
}

#[test]
fn every_input_passes() {
    let mut failed = Vec::new();
    for target in xfer_fuzz::targets() {
        for path in inputs(target.name) {
            let input = fs::read(&path).expect("read an input");
            if catch_unwind(|| (target.run)(&input)).is_err() {
                failed.push(path);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn every_target_has_inputs_and_the_other_way_round() {
    let names = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let entries = fs::read_dir(folder()).expect("the inputs");
    let folders = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let targets = xfer_fuzz::targets().iter().map(|target| target.name.to_owned());
    assert_eq!(names(folders.collect()), names(targets.collect()));
    assert!(xfer_fuzz::targets().iter().all(|target| !inputs(target.name).is_empty()));
}

#[test]
fn inputs_stay_small() {
    let all = xfer_fuzz::targets().iter().flat_map(|target| inputs(target.name));
    let bytes: u64 = all.map(|path| fs::metadata(path).expect("a file").len()).sum();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}
