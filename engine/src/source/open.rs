//! Descriptors that a source keeps open: a few directories and a few big files, the least recently used closed first.

use super::place::Dir;
use crate::limits;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xfer_io::file::{File, FileError, Root};

/// A lock whose holder cannot leave what it guards half done: a panic elsewhere must not end other transfers.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bounded map that forgets what was not used for longest. Looked through from end to end: for tens of entries.
struct Recent<K, V> {
    entries: VecDeque<(K, V)>,
    max: usize,
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    fn new(max: usize) -> Self {
        Recent { entries: VecDeque::with_capacity(max), max }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        let entry = self.remove(key)?;
        self.entries.push_back(entry);
        self.entries.back().map(|(_, value)| value.clone())
    }

    /// Puts a value in; returns what left for it, so that closing happens outside the lock.
    fn put(&mut self, key: K, value: V) -> Option<(K, V)> {
        let same = self.remove(&key);
        self.entries.push_back((key, value));
        same.or_else(|| if self.entries.len() > self.max { self.entries.pop_front() } else { None })
    }

    fn remove(&mut self, key: &K) -> Option<(K, V)> {
        let at = self.entries.iter().rposition(|(k, _)| k == key)?;
        self.entries.remove(at)
    }
}

/// The open directories and files of a source.
pub(super) struct Descriptors {
    dirs: Mutex<Recent<u64, Arc<Root>>>,
    files: Mutex<Recent<u32, Arc<File>>>,
}

impl Descriptors {
    pub(super) fn new() -> Self {
        Descriptors {
            dirs: Mutex::new(Recent::new(limits::SOURCE_DIRS_OPEN_MAX)),
            files: Mutex::new(Recent::new(limits::SOURCE_FILES_OPEN_MAX)),
        }
    }

    /// The directory, opened if it is not.
    pub(super) fn dir(&self, dir: &Dir) -> Result<Arc<Root>, FileError> {
        if let Some(open) = lock(&self.dirs).get(&dir.id) {
            return Ok(open);
        }
        let opened = Arc::new(dir.open()?);
        let closed = lock(&self.dirs).put(dir.id, Arc::clone(&opened));
        drop(closed);
        Ok(opened)
    }

    /// The object's file if it is open.
    pub(super) fn file(&self, object: u32) -> Option<Arc<File>> {
        lock(&self.files).get(&object)
    }

    /// Keeps a file open.
    pub(super) fn keep(&self, object: u32, file: Arc<File>) {
        let closed = lock(&self.files).put(object, file);
        drop(closed);
    }

    /// Closes the object's file.
    pub(super) fn close(&self, object: u32) {
        let closed = lock(&self.files).remove(&object);
        drop(closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_leaves() {
        let mut recent = Recent::new(2);
        assert_eq!(recent.put(1, 'a'), None);
        assert_eq!(recent.put(2, 'b'), None);
        assert_eq!(recent.get(&1), Some('a'));
        assert_eq!(recent.put(3, 'c'), Some((2, 'b')));
        assert_eq!(recent.put(3, 'd'), Some((3, 'c')));
        assert_eq!((recent.get(&2), recent.get(&3), recent.get(&1)), (None, Some('d'), Some('a')));
        assert_eq!(recent.remove(&1), Some((1, 'a')));
        assert_eq!(recent.entries.len(), 1);
    }
}
