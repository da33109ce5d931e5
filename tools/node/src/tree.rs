//! Looks at what is beneath a root: one object, or a directory in order of path components as bytes.
//!
//! Blocking; called from threads that may. One directory's names per level are in memory, never a whole tree.

use crate::pb;
use std::cmp::Ordering;
use std::ops::ControlFlow;
use xfer_engine::digest::Digest;
use xfer_engine::io::file::{self, FileError, Follow, Root, Stat};
use xfer_engine::{Class, Error};

/// Where partial files live; never shown.
pub(crate) const PARTIAL: &[u8] = b".xfer-partial";

/// Bytes of a file hashed with one read.
const READ_BYTES: usize = 1 << 20;

/// What a listing tells.
#[derive(Debug)]
pub(crate) enum Told {
    /// An object.
    Entry(pb::Entry),
    /// A directory that could not be read.
    Failure(Vec<u8>, FileError),
}

/// Whether a path names or crosses a directory of partial files.
pub(crate) fn is_hidden(name: &[u8]) -> bool {
    name.split(|b| *b == b'/').any(|component| component == PARTIAL)
}

/// A failed file operation as the one that asked for `shown` knows it.
pub(crate) fn error(failure: &FileError, shown: &[u8]) -> Error {
    let class = match failure.errno {
        _ if failure.leaves_root() => Class::Refused,
        errno => match std::io::Error::from_raw_os_error(errno).kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Class::NoSource,
            _ => Class::of_errno(errno),
        },
    };
    let mut error = Error::new(class, failure.op).object(shown);
    error.offset = failure.offset;
    error.because_of_errno(failure.errno)
}

/// An object as a message; `path` is how it is told.
pub(crate) fn entry(root: &Root, name: &[u8], path: Vec<u8>) -> Result<pb::Entry, FileError> {
    let stat = root.stat(name)?;
    let target = if stat.kind == file::Kind::Symlink { root.read_symlink(name)? } else { Vec::new() };
    Ok(described(&stat, path, target))
}

fn described(stat: &Stat, path: Vec<u8>, target: Vec<u8>) -> pb::Entry {
    let is_file = stat.kind == file::Kind::File;
    pb::Entry {
        path,
        kind: kind(stat.kind).into(),
        size: if is_file { stat.size } else { 0 },
        mtime_ns: i64::try_from(stat.mtime.ns()).unwrap_or(if stat.mtime.seconds < 0 {
            i64::MIN
        } else {
            i64::MAX
        }),
        mode: stat.mode & 0o7777,
        target,
        digest: Vec::new(),
    }
}

/// A kind as a message.
pub(crate) fn kind(kind: file::Kind) -> pb::Kind {
    match kind {
        file::Kind::File => pb::Kind::File,
        file::Kind::Dir => pb::Kind::Directory,
        file::Kind::Symlink => pb::Kind::Symlink,
        file::Kind::Other => pb::Kind::Other,
    }
}

/// BLAKE3 of a regular file and its size; symlinks that stay inside are followed.
#[expect(clippy::unreachable, reason = "only the file's reads fail, and those are kept")]
pub(crate) fn hash(root: &Root, name: &[u8]) -> Result<(Digest, u64), FileError> {
    let file = root.open_read(name)?;
    let mut failed = None;
    let reader = FileReader { file: &file, offset: 0, failed: &mut failed };
    let mut hasher = blake3::Hasher::new();
    let read = std::io::copy(&mut std::io::BufReader::with_capacity(READ_BYTES, reader), &mut hasher);
    match (read, failed) {
        (_, Some(error)) => Err(error),
        (Ok(size), None) => Ok((*hasher.finalize().as_bytes(), size)),
        (Err(_), None) => unreachable!("only the file's reads fail, and those are kept"),
    }
}

struct FileReader<'a> {
    file: &'a file::File,
    offset: u64,
    failed: &'a mut Option<FileError>,
}

impl std::io::Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.file.read_at(buffer, self.offset) {
            Ok(read) => {
                self.offset += read as u64;
                Ok(read)
            }
            Err(error) => {
                let kind = error.kind();
                *self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// A directory that is being listed: its name relative to the listed one, and what is left of its names, last first.
struct Level {
    path: Vec<u8>,
    rest: Vec<Vec<u8>>,
}

/// Lists the directory `name`, and what is beneath it when `recursive`, after the path `after`. Ends early when `tell` breaks.
///
/// # Errors
/// Only those of the directory itself; others are told.
pub(crate) fn list(
    root: &Root,
    name: &[u8],
    recursive: bool,
    after: &[u8],
    tell: &mut dyn FnMut(Told) -> ControlFlow<()>,
) -> Result<(), FileError> {
    let mut levels = vec![Level { path: Vec::new(), rest: names(root, name)? }];
    while let Some(level) = levels.last_mut() {
        let Some(next) = level.rest.pop() else {
            levels.pop();
            continue;
        };
        let path = joined(&level.path, &next);
        let (emit, descend) = position(&path, after);
        if !emit && !descend {
            continue;
        }
        let beneath = joined(name, &path);
        let entry = match entry(root, &beneath, path.clone()) {
            Ok(entry) => entry,
            // It went away meanwhile.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => {
                if tell(Told::Failure(path, e)).is_break() {
                    return Ok(());
                }
                continue;
            }
        };
        let is_directory = entry.kind == i32::from(pb::Kind::Directory);
        if emit && tell(Told::Entry(entry)).is_break() {
            return Ok(());
        }
        if recursive && is_directory {
            match names(root, &beneath) {
                Ok(rest) => levels.push(Level { path, rest }),
                Err(e) => {
                    if tell(Told::Failure(path, e)).is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}

/// The names in a directory, in descending order.
fn names(root: &Root, name: &[u8]) -> Result<Vec<Vec<u8>>, FileError> {
    let mut names = Vec::new();
    for entry in root.list(name, Follow::Inside)? {
        let entry = entry?;
        if entry.name != PARTIAL {
            names.push(entry.name);
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

/// Joins two parts of a path, either of which may be empty.
pub(crate) fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !directory.is_empty() && !name.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Whether a path comes after `after`, and whether something beneath it may.
fn position(path: &[u8], after: &[u8]) -> (bool, bool) {
    if after.is_empty() {
        return (true, true);
    }
    let components = |path| <[u8]>::split(path, |b: &u8| *b == b'/');
    match components(path).cmp(components(after)) {
        Ordering::Greater => (true, true),
        Ordering::Equal => (false, true),
        Ordering::Less => (false, after.starts_with(path) && after.get(path.len()) == Some(&b'/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tree() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for directory in ["b", "b/d", "b-c", ".xfer-partial", "b/.xfer-partial"] {
            fs::create_dir(dir.path().join(directory)).unwrap();
        }
        for name in ["a", "b/x", "b/d/y", "b-c/z", "c", ".xfer-partial/p", "b/.xfer-partial/p"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("s")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn paths(root: &Root, name: &str, recursive: bool, after: &str, max: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut tell = |told: Told| {
            let Told::Entry(entry) = told else { panic!("{told:?}") };
            found.push(String::from_utf8(entry.path).unwrap());
            if found.len() == max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        list(root, name.as_bytes(), recursive, after.as_bytes(), &mut tell).unwrap();
        found
    }

    #[test]
    fn order_is_of_components_and_partial_files_are_hidden() {
        let (_dir, root) = tree();
        let all = ["a", "b", "b/d", "b/d/y", "b/x", "b-c", "b-c/z", "c", "s"];
        assert_eq!(paths(&root, "", true, "", usize::MAX), all);
        assert_eq!(paths(&root, "", false, "", usize::MAX), ["a", "b", "b-c", "c", "s"]);
        assert_eq!(paths(&root, "b", true, "", usize::MAX), ["d", "d/y", "x"]);
        assert!(is_hidden(b"b/.xfer-partial/p") && !is_hidden(b"b/.xfer-partials"));
    }

    #[test]
    fn goes_on_after_any_entry() {
        let (_dir, root) = tree();
        let all = paths(&root, "", true, "", usize::MAX);
        for i in 0..all.len() {
            assert_eq!(paths(&root, "", true, &all[i], usize::MAX), all[i + 1..], "after {}", all[i]);
            assert_eq!(paths(&root, "", true, "", i + 1), all[..=i]);
        }
        assert_eq!(paths(&root, "", true, "b/e", usize::MAX), ["b/x", "b-c", "b-c/z", "c", "s"]);
        assert_eq!(paths(&root, "", false, "b", usize::MAX), ["b-c", "c", "s"]);
    }

    #[test]
    fn objects_are_described() {
        let (dir, root) = tree();
        let file = entry(&root, b"b/x", b"p".to_vec()).unwrap();
        assert_eq!((file.kind(), file.size, &file.path[..]), (pb::Kind::File, 3, &b"p"[..]));
        let symlink = entry(&root, b"s", Vec::new()).unwrap();
        assert_eq!((symlink.kind(), &symlink.target[..]), (pb::Kind::Symlink, &b"/etc/passwd"[..]));
        assert_eq!(entry(&root, b"", Vec::new()).unwrap().kind(), pb::Kind::Directory);
        let missing = entry(&root, b"no", Vec::new()).unwrap_err();
        assert_eq!(error(&missing, b"no").class, Class::NoSource);
        let outside = hash(&root, b"s").unwrap_err();
        assert_eq!(error(&outside, b"s").class, Class::Refused);
        let content = vec![7; (1 << 20) + 1];
        fs::write(dir.path().join("big"), &content).unwrap();
        assert_eq!(hash(&root, b"big").unwrap(), (xfer_engine::digest::root(&content), content.len() as u64));
    }
}
