//! The demo's own reader of a tree: what is there, and the tree digest of PRODUCT.md.
//!
//! In: a list of roots, each with the name it has at the destination. Out: regular files and symlinks in the order of
//! path components as bytes, and the BLAKE3 over `64 hex digits, two spaces, path, NUL` of each.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::blake3::{Hasher, hex};
use crate::step::{Doing, Failure, Outcome};

/// Bytes read at a time by each thread that hashes.
const READ_BYTES: usize = 256 << 10;

/// One regular file or symlink.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Where it is on this machine.
    pub(crate) place: PathBuf,
    /// The components of its path relative to the destination.
    name: Vec<OsString>,
    /// Bytes of a regular file; 0 for a symlink.
    pub(crate) bytes: u64,
    symlink: bool,
}

impl Entry {
    /// Whether this is a regular file with content.
    pub(crate) fn has_content(&self) -> bool {
        !self.symlink && self.bytes > 0
    }

    /// The path relative to the destination, as bytes.
    fn path(&self) -> Vec<u8> {
        let names: Vec<&[u8]> = self.name.iter().map(|name| name.as_bytes()).collect();
        names.join(&b'/')
    }
}

/// All regular files and symlinks of a set of trees, ordered by path components.
#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) entries: Vec<Entry>,
}

impl Tree {
    /// Adds what is below `root`, itself named `name` at the destination (`None`: root is the destination).
    /// FIFOs, sockets and devices are left out, as a copy leaves them out.
    ///
    /// # Errors
    /// Something below cannot be listed.
    pub(crate) fn add(&mut self, root: &Path, name: Option<OsString>) -> Outcome {
        self.walk(root.to_path_buf(), name.into_iter().collect())?;
        self.entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    fn walk(&mut self, place: PathBuf, name: Vec<OsString>) -> Outcome {
        let meta = fs::symlink_metadata(&place).doing(format_args!("look at {}", place.display()))?;
        if meta.is_file() || meta.is_symlink() {
            let symlink = meta.is_symlink();
            let bytes = if symlink { 0 } else { meta.len() };
            self.entries.push(Entry { place, name, bytes, symlink });
        } else if meta.is_dir() {
            for entry in fs::read_dir(&place).doing(format_args!("list {}", place.display()))? {
                let entry = entry.doing(format_args!("list {}", place.display()))?;
                let mut below = name.clone();
                below.push(entry.file_name());
                self.walk(entry.path(), below)?;
            }
        }
        Ok(())
    }

    /// Bytes of all regular files.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// The tree digest as 64 hexadecimal digits; the files are read on every core.
    ///
    /// # Errors
    /// Something cannot be read.
    pub(crate) fn digest(&self) -> Outcome<String> {
        let mut whole = Hasher::default();
        for (entry, digest) in self.entries.iter().zip(self.digests()?) {
            whole.update(hex(&digest).as_bytes());
            whole.update(b"  ");
            whole.update(&entry.path());
            whole.update(b"\0");
        }
        Ok(hex(&whole.finish()))
    }

    /// The digest of each entry, in order.
    fn digests(&self) -> Outcome<Vec<[u8; 32]>> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let work = || -> Outcome<Vec<(usize, [u8; 32])>> {
            let mut buffer = vec![0; READ_BYTES];
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(entry) = self.entries.get(index) else { return Ok(done) };
                done.push((index, entry_digest(entry, &mut buffer)?));
            }
        };
        let mut digests = vec![[0; 32]; self.entries.len()];
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            for reader in readers {
                let done =
                    reader.join().map_err(|_| Failure::new("a thread that reads files panicked"))??;
                done.into_iter().for_each(|(index, digest)| digests[index] = digest);
            }
            Ok(digests)
        })
    }
}

fn entry_digest(entry: &Entry, buffer: &mut [u8]) -> Outcome<[u8; 32]> {
    let mut hasher = Hasher::default();
    let doing = || format!("read {}", entry.place.display());
    if entry.symlink {
        hasher.update(fs::read_link(&entry.place).doing(doing())?.as_os_str().as_bytes());
        return Ok(hasher.finish());
    }
    let mut file = File::open(&entry.place).doing(doing())?;
    loop {
        match file.read(buffer).doing(doing())? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn hash(bytes: &[u8]) -> String {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hex(&hasher.finish())
    }

    #[test]
    fn digest_is_over_records_in_order_of_components() {
        let root = std::env::temp_dir().join(format!("xtask-tree-{}", std::process::id()));
        fs::create_dir_all(root.join("a")).unwrap();
        fs::create_dir_all(root.join("empty")).unwrap();
        fs::write(root.join("a/x"), b"in the folder").unwrap();
        fs::write(root.join("a.b"), b"").unwrap();
        symlink("nowhere", root.join("a/link")).unwrap();

        let mut tree = Tree::default();
        tree.add(&root, Some("top".into())).unwrap();
        let records =
            [(hash(b"nowhere"), "top/a/link"), (hash(b"in the folder"), "top/a/x"), (hash(b""), "top/a.b")];
        let text: String = records.iter().map(|(digest, path)| format!("{digest}  {path}\0")).collect();
        assert_eq!(tree.digest().unwrap(), hash(text.as_bytes()));
        assert_eq!((tree.entries.len(), tree.bytes()), (3, 13));

        fs::remove_dir_all(&root).unwrap();
        assert!(tree.digest().unwrap_err().to_string().contains(": No such file"));
    }

    #[test]
    fn nothing_has_the_digest_of_nothing() {
        assert_eq!(Tree::default().digest().unwrap(), hash(b""));
    }
}
