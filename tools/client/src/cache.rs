//! Digests of files from one run to the next, so that a copy that skips them need not read them for the digest of the tree.
//!
//! A file of records, appended to and never changed: key, digest, check. A key is a digest itself, over path, device, inode, size and
//! times, so that a file that changed has another one. What is torn or too long is left out; losing it costs reading, nothing else.

use crate::limits::{CACHE_RECORDS_MAX, CACHE_SETTLED};
use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use xfer_engine::digest::Digest;
use xfer_engine::source::{DigestCache, Identity};

const KEY_LEN: usize = 16;
const CHECK_LEN: usize = 8;
const RECORD_LEN: usize = KEY_LEN + 32 + CHECK_LEN;

type Key = [u8; KEY_LEN];

/// The digests of one user. Written when it is dropped.
#[derive(Debug)]
pub(crate) struct FileCache {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// `None` until the first question: a copy that skips nothing never reads the file.
    known: Option<HashMap<Key, Digest>>,
    /// Records to be appended.
    new: Vec<u8>,
}

impl FileCache {
    /// The cache of this user; `None` without a place for it.
    pub(crate) fn from_environment() -> Option<FileCache> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache =
            absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
        Some(FileCache::at(cache.join("xfer/digests")))
    }

    fn at(path: PathBuf) -> FileCache {
        FileCache { path, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self) -> std::io::Result<()> {
        let mut inner = self.lock();
        if inner.new.is_empty() {
            return Ok(());
        }
        let new = std::mem::take(&mut inner.new);
        let directory = self.path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(&self.path)?;
        let len = file.metadata()?.len();
        let is_full = len + new.len() as u64 > (CACHE_RECORDS_MAX * RECORD_LEN) as u64;
        if is_full || !len.is_multiple_of(RECORD_LEN as u64) {
            file.set_len(0)?;
        }
        // One call, so that two processes do not mix their records.
        file.write_all(&new)
    }
}

impl Drop for FileCache {
    fn drop(&mut self) {
        if let Err(error) = self.save() {
            tracing::debug!(path = %self.path.display(), %error, "digests are not remembered");
        }
    }
}

impl DigestCache for FileCache {
    fn get(&self, path: &[u8], identity: &Identity) -> Option<Digest> {
        let mut inner = self.lock();
        let known = inner.known.get_or_insert_with(|| load(&self.path));
        known.get(&key(path, identity)).copied()
    }

    fn put(&self, path: &[u8], identity: &Identity, digest: &Digest) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if !is_settled(identity, now) {
            return;
        }
        let key = key(path, identity);
        let mut inner = self.lock();
        if inner.new.len() >= CACHE_RECORDS_MAX * RECORD_LEN {
            return;
        }
        if inner.known.as_ref().is_some_and(|known| known.contains_key(&key)) {
            return;
        }
        inner.new.extend_from_slice(&record(&key, digest));
        if let Some(known) = &mut inner.known {
            known.insert(key, *digest);
        }
    }
}

/// A file that changed just now may change again within one tick of the file system's clock, and look the same.
fn is_settled(identity: &Identity, now: Duration) -> bool {
    let latest = identity.ctime.ns().max(identity.mtime.ns());
    let now = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX);
    now - latest >= i128::try_from(CACHE_SETTLED.as_nanos()).unwrap_or(i128::MAX)
}

fn key(path: &[u8], identity: &Identity) -> Key {
    let Identity { size, mtime, ctime, ino, dev } = identity;
    let mut hasher = blake3::Hasher::new();
    for number in [*dev, *ino, *size] {
        hasher.update(&number.to_le_bytes());
    }
    for time in [mtime, ctime] {
        hasher.update(&time.ns().to_le_bytes());
    }
    hasher.update(path);
    first(hasher.finalize().as_bytes())
}

fn first<const N: usize>(digest: &Digest) -> [u8; N] {
    digest[..N].try_into().expect("shorter than a digest")
}

fn record(key: &Key, digest: &Digest) -> [u8; RECORD_LEN] {
    let mut record = [0; RECORD_LEN];
    record[..KEY_LEN].copy_from_slice(key);
    record[KEY_LEN..KEY_LEN + 32].copy_from_slice(digest);
    let check: [u8; CHECK_LEN] = first(blake3::hash(&record[..KEY_LEN + 32]).as_bytes());
    record[KEY_LEN + 32..].copy_from_slice(&check);
    record
}

fn load(path: &Path) -> HashMap<Key, Digest> {
    let mut bytes = Vec::new();
    let limit = (CACHE_RECORDS_MAX * RECORD_LEN) as u64;
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    match read {
        Ok(_) => parse(&bytes),
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::debug!(path = %path.display(), %error, "remembered digests cannot be read");
            }
            HashMap::new()
        }
    }
}

pub(crate) fn parse(bytes: &[u8]) -> HashMap<Key, Digest> {
    let mut known = HashMap::with_capacity(bytes.len() / RECORD_LEN);
    for written in bytes.chunks_exact(RECORD_LEN) {
        let key: Key = written[..KEY_LEN].try_into().expect("the length of a key");
        let digest: Digest = written[KEY_LEN..KEY_LEN + 32].try_into().expect("the length of a digest");
        if record(&key, &digest) == written {
            known.insert(key, digest);
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_engine::io::file::Timestamp;

    fn identity(size: u64) -> Identity {
        let old = Timestamp { seconds: 1_000, nanoseconds: 7 };
        Identity { size, mtime: old, ctime: old, ino: 1, dev: 2 }
    }

    #[test]
    fn remembers_what_did_not_change() {
        let dir = tempfile::tempdir().unwrap();
        let at = || FileCache::at(dir.path().join("xfer/digests"));
        let cache = at();
        assert_eq!(cache.get(b"a", &identity(1)), None);
        cache.put(b"a", &identity(1), &[7; 32]);
        cache.put(b"a", &identity(1), &[7; 32]);
        assert_eq!(cache.get(b"a", &identity(1)), Some([7; 32]));
        drop(cache);
        at().put(b"b", &identity(1), &[8; 32]);
        let again = at();
        assert_eq!(again.get(b"a", &identity(1)), Some([7; 32]));
        assert_eq!(again.get(b"b", &identity(1)), Some([8; 32]));
        assert_eq!(again.get(b"a", &identity(2)), None);
        assert_eq!(again.get(b"c", &identity(1)), None);
        let len = std::fs::metadata(dir.path().join("xfer/digests")).unwrap().len();
        assert_eq!(len, 2 * RECORD_LEN as u64);
    }

    #[test]
    fn what_is_torn_or_changed_is_forgotten() {
        let mut bytes = [record(&[1; KEY_LEN], &[1; 32]), record(&[2; KEY_LEN], &[2; 32])].concat();
        assert_eq!(parse(&bytes).len(), 2);
        assert_eq!(parse(&bytes[..2 * RECORD_LEN - 1]).len(), 1);
        bytes[KEY_LEN] ^= 1;
        assert_eq!(parse(&bytes).into_iter().collect::<Vec<_>>(), [([2; KEY_LEN], [2; 32])]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("digests");
        std::fs::write(&path, &bytes[..RECORD_LEN + 1]).unwrap();
        FileCache::at(path.clone()).put(b"a", &identity(1), &[7; 32]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), RECORD_LEN as u64);
    }

    #[test]
    fn what_changed_just_now_is_not_trusted() {
        let at = Duration::new(1_000, 7);
        assert!(!is_settled(&identity(1), at));
        assert!(!is_settled(&identity(1), at + CACHE_SETTLED - Duration::from_nanos(1)));
        assert!(is_settled(&identity(1), at + CACHE_SETTLED));
        assert!(!is_settled(&identity(1), Duration::ZERO));
    }
}
