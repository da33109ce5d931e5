//! Trees of files, and what is compared of them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// Content that differs from place to place and from file to file.
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Writes a file of `len` such bytes.
pub(crate) fn file(path: impl AsRef<Path>, seed: u64, len: usize) {
    let mut file = File::create(path).expect("a file is made");
    file.write_all(&content(seed, len)).expect("a file is written");
}

/// Names, modes, times and sizes of all but FIFOs, as `find` tells them: what must be equal on both sides.
pub(crate) fn listed(root: &Path) -> Vec<Vec<u8>> {
    let found = Command::new("find")
        .arg(".")
        .args(["!", "-type", "p", "(", "-type", "d", "-printf", "%P %m %T@\\0"])
        .args(["-o", "-printf", "%P %m %T@ %s\\0", ")"])
        .current_dir(root)
        .output()
        .expect("there is find");
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let mut listed: Vec<Vec<u8>> = found.stdout.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
    listed.sort();
    listed
}

/// Both sides are the same to `find`, and so is their content.
#[track_caller]
pub(crate) fn same(a: &Path, b: &Path) {
    let (one, other) = (listed(a), listed(b));
    let first = one.iter().zip(&other).find(|(one, other)| one != other);
    let shown = first.map(|(one, other)| (one.escape_ascii().to_string(), other.escape_ascii().to_string()));
    assert!(one == other, "{} and {} entries, first difference {shown:?}", one.len(), other.len());
    assert_eq!(digest(a), digest(b), "content differs");
}

/// The digest of a tree (PRODUCT.md, "Copying, exactly"), read anew.
pub(crate) fn digest(root: &Path) -> String {
    let mut records = Vec::new();
    collect(root, &[], &mut records);
    records.sort_by(|one: &Record, other| one.0.cmp(&other.0));
    let mut tree = blake3::Hasher::new();
    for (path, digest) in records {
        tree.update(digest.to_hex().as_bytes()).update(b"  ");
        tree.update(&path.join(&b'/')).update(b"\0");
    }
    tree.finalize().to_hex().to_string()
}

type Record = (Vec<Vec<u8>>, blake3::Hash);

fn collect(directory: &Path, at: &[Vec<u8>], records: &mut Vec<Record>) {
    // Names may be longer than a path may be, so each step is taken from where the one before led.
    for entry in fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        let mut path = at.to_vec();
        path.push(entry.file_name().as_bytes().to_vec());
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            collect(&entry.path(), &path, records);
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).expect("a symlink");
            records.push((path, blake3::hash(target.as_os_str().as_bytes())));
        } else if kind.is_file() {
            records.push((path, blake3::hash(&fs::read(entry.path()).expect("a file"))));
        }
    }
}

/// Bytes that the files of a directory take on disk.
pub(crate) fn blocks(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().map_while(Result::ok);
    entries.filter_map(|entry| entry.metadata().ok()).map(|found| found.blocks() * 512).sum()
}
