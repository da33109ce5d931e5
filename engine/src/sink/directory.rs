//! Directories of the destination, kept open: an object costs no walk from the top, and a symlink that takes a directory's place
//! is not written through.

use super::partial::Partials;
use crate::limits::SINK_DIRECTORIES_MAX;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xfer_io::file::{FileError, Follow, Root};

/// Locks; a thread that panicked left nothing half done that matters here.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open directory of the destination.
#[derive(Debug)]
pub(super) struct Directory {
    /// The directory.
    pub root: Root,
    partials: Mutex<Option<Arc<Partials>>>,
}

impl Directory {
    fn open(root: Root) -> Self {
        // A partial directory is swept when it is met.
        let partials = Mutex::new(existing(&root));
        Directory { root, partials }
    }

    /// Its partial directory, if there is one.
    pub(super) fn partials_if_any(&self) -> Option<Arc<Partials>> {
        let mut partials = lock(&self.partials);
        if partials.is_none() {
            *partials = existing(&self.root);
        }
        partials.clone()
    }

    /// Its partial directory, made if there is none.
    pub(super) fn partials(&self) -> Result<Arc<Partials>, FileError> {
        let mut partials = lock(&self.partials);
        if let Some(open) = &*partials {
            return Ok(Arc::clone(open));
        }
        let made = Arc::new(Partials::create(&self.root)?);
        *partials = Some(Arc::clone(&made));
        Ok(made)
    }
}

/// The partial directory that there is. That it cannot be opened matters only to who needs it.
fn existing(root: &Root) -> Option<Arc<Partials>> {
    let found = Partials::existing(root).unwrap_or_else(|error| {
        tracing::debug!(side = "dst", %error, "no directory of partial files");
        None
    });
    found.map(Arc::new)
}

/// The most recently used directories.
#[derive(Debug)]
pub(super) struct Directories {
    base: Root,
    open: Mutex<Open>,
    /// Directories that others were made in on the way to a file.
    made_in: Mutex<Vec<Vec<u8>>>,
}

#[derive(Debug, Default)]
struct Open {
    /// With the tick of its last use.
    by_path: HashMap<Vec<u8>, (Arc<Directory>, u64)>,
    tick: u64,
}

/// Directory part and last component of a place.
#[expect(clippy::indexing_slicing, reason = "`slash` is a place in it")]
pub(super) fn split_place(place: &[u8]) -> (&[u8], &[u8]) {
    match place.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&place[..slash], &place[slash + 1..]),
        None => (&[], place),
    }
}

impl Directories {
    pub(super) fn new(base: Root) -> Self {
        Directories { base, open: Mutex::default(), made_in: Mutex::default() }
    }

    /// The directory at `path` beneath the base, no symlink followed. Those that are missing on the way are made: a list of files need
    /// not name the directories that they are in.
    pub(super) fn get(&self, path: &[u8]) -> Result<Arc<Directory>, FileError> {
        {
            let mut open = lock(&self.open);
            open.tick += 1;
            let tick = open.tick;
            if let Some((directory, used)) = open.by_path.get_mut(path) {
                *used = tick;
                return Ok(Arc::clone(directory));
            }
        }
        let root = match self.base.enter(path, Follow::Never) {
            Err(error) if error.errno == libc::ENOENT => {
                self.make_all(path)?;
                self.base.enter(path, Follow::Never)?
            }
            entered => entered?,
        };
        let directory = Arc::new(Directory::open(root));
        lock(&self.open).insert(path, &directory);
        Ok(directory)
    }

    #[expect(clippy::indexing_slicing, reason = "`end` is a place in it, or its end")]
    fn make_all(&self, path: &[u8]) -> Result<(), FileError> {
        let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        for end in slashes.chain([path.len()]) {
            match self.base.make_dir(&path[..end], 0o777) {
                Ok(()) => lock(&self.made_in).push(split_place(&path[..end]).0.to_vec()),
                Err(error) if error.errno == libc::EEXIST => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Directories that got names of others since the last time: those names are not durable yet.
    pub(super) fn take_made_in(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *lock(&self.made_in))
    }

    /// Closes partial directories that nothing waits in, which removes those that are empty.
    pub(super) fn release_partials(&self) {
        let released: Vec<Arc<Partials>> = {
            let open = lock(&self.open);
            open.by_path.values().filter_map(|(directory, _)| lock(&directory.partials).take()).collect()
        };
        drop(released);
    }

    /// Closes all.
    pub(super) fn clear(&self) {
        let closed = std::mem::take(&mut lock(&self.open).by_path);
        drop(closed);
    }
}

impl Open {
    fn insert(&mut self, path: &[u8], directory: &Arc<Directory>) {
        if self.by_path.len() >= SINK_DIRECTORIES_MAX {
            let oldest = self.by_path.iter().min_by_key(|(_, (_, used))| *used).map(|(path, _)| path.clone());
            if let Some(oldest) = oldest {
                self.by_path.remove(&oldest);
            }
        }
        self.by_path.insert(path.to_vec(), (Arc::clone(directory), self.tick));
    }
}
