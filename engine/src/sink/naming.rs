//! Finished files become durable and get their names (DESIGN.md section 5, durability).
//!
//! With `batch`, everything that finished since the last time is made durable together, then named, then the directories are made
//! durable. In between, what has arrived of large files is journaled: after its data is durable, never before.

use super::directory::{lock, split_place};
use super::fault::{Fault, fault};
use super::journal::Held;
use super::object::{Body, Finished, Object};
use super::partial::{Claim, Partials, not_found};
use super::write::warn_of;
use super::{Ended, FileSink};
use crate::error::{Class, Error, Side};
use crate::limits::{
    SINK_DESCRIPTORS_SHARE, SINK_PENDING_DIRECTORIES_MAX, SINK_PENDING_DIRECTORIES_MIN, SINK_PENDING_MAX,
    SINK_PENDING_OPEN_MAX, SYNC_EACH_MAX,
};
use crate::source::Identity;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use xfer_io::file::{File, FileError, Follow, Replace, Root};
use xfer_proto::wire::Durability;

/// What waits to be made durable.
#[derive(Debug, Default)]
pub(super) struct Pending {
    files: Vec<Finished>,
    /// Directories that got names otherwise: symlinks, directories.
    touched: Touched,
    open: usize,
    directories: HashSet<usize>,
}

impl Pending {
    fn push(&mut self, mut finished: Finished) {
        if let Body::Small { file, .. } = &mut finished.body
            && self.files.len() >= SYNC_EACH_MAX
        {
            *file = None;
        }
        self.open += usize::from(finished.file().is_some());
        self.directories.insert(Arc::as_ptr(finished.partials()) as usize);
        self.files.push(finished);
    }

    fn is_full(&self, directories_max: usize) -> bool {
        self.files.len() >= SINK_PENDING_MAX
            || self.open >= SINK_PENDING_OPEN_MAX
            || self.directories.len() >= directories_max
    }

    /// The files that wait.
    pub(super) fn files(&self) -> &[Finished] {
        &self.files
    }

    /// Takes out an object that shall not get its name.
    pub(super) fn remove(&mut self, number: u32) -> Option<Finished> {
        let at = self.files.iter().position(|finished| finished.object.number == number)?;
        Some(self.files.swap_remove(at))
    }
}

/// Directories that may have files waiting in them, of a process that may have this many descriptors.
pub(super) fn pending_directories_max(descriptors: u64) -> usize {
    let share = usize::try_from(descriptors / SINK_DESCRIPTORS_SHARE / 3).unwrap_or(usize::MAX);
    share.clamp(SINK_PENDING_DIRECTORIES_MIN, SINK_PENDING_DIRECTORIES_MAX)
}

/// Directories with new names. While they are few each is synced by itself; then it is enough to know one of each file system.
#[derive(Debug, Default)]
struct Touched {
    few: HashMap<Vec<u8>, Root>,
    devices: HashMap<u64, Root>,
}

impl Touched {
    fn add(&mut self, path: &[u8], root: &Root) -> Result<(), FileError> {
        if self.few.contains_key(path) {
            return Ok(());
        }
        if self.few.len() < SYNC_EACH_MAX && self.devices.is_empty() {
            self.few.insert(path.to_vec(), root.clone());
            return Ok(());
        }
        for root in self.few.drain().map(|(_, root)| root).chain([root.clone()]) {
            self.devices.entry(root.stat(b"")?.dev).or_insert(root);
        }
        Ok(())
    }

    /// # Errors
    /// With the directory that could not be synced.
    fn sync(&self) -> Result<(), (&[u8], FileError)> {
        for (path, root) in &self.few {
            sync_directory(root).map_err(|error| (&path[..], error))?;
        }
        let whole = |root: &Root| root.open_dir(b"", Follow::Never)?.sync_filesystem();
        self.devices.values().try_for_each(|root| whole(root).map_err(|error| (&[][..], error)))
    }
}

/// Chunks of one object that are written and not journaled.
struct Unsynced {
    object: Arc<Object>,
    claim: Arc<Claim>,
    chunks: Vec<Held>,
}

impl FileSink {
    /// A file is whole: it gets its name now, or waits for the next sync, as durability has it.
    pub(super) fn finished(&self, finished: Finished) -> Result<Vec<Ended>, Fault> {
        if self.spec.durability == Durability::Batch {
            let full = {
                let mut pending = lock(&self.pending);
                pending.push(finished);
                pending.is_full(self.pending_directories_max).then(|| std::mem::take(&mut *pending))
            };
            return full.map_or(Ok(Vec::new()), |batch| self.name_batch(batch, &[]).map_err(Fault::Transfer));
        }
        let named = self.name(&finished);
        if let Err(Fault::Transfer(_)) = named {
            self.leave(&[finished]);
        }
        Ok(vec![named?])
    }

    /// A name was made in a directory: it is made durable with the next batch.
    pub(super) fn touched(&self, path: &[u8], root: &Root) -> Result<(), Error> {
        let done = match self.spec.durability {
            Durability::None => Ok(()),
            Durability::File => sync_directory(root),
            Durability::Batch => lock(&self.pending).touched.add(path, root),
        };
        done.map_err(|error| self.directory_fault(path, &error))
    }

    pub(super) fn sync_all(&self) -> Result<Vec<Ended>, Error> {
        let batch = std::mem::take(&mut *lock(&self.pending));
        let unsynced = self.take_unsynced();
        let ended = self.name_batch(batch, &unsynced)?;
        self.directories.release_partials();
        Ok(ended)
    }

    /// As [`Self::sync_all`], and the journals themselves become durable too.
    pub(super) fn sync_with_journals(&self) -> Result<(), Error> {
        self.sync_all()?;
        let objects: Vec<Arc<Object>> = lock(&self.objects).values().cloned().collect();
        for object in objects {
            let claim = lock(&object.state).parts.as_ref().map(|parts| Arc::clone(&parts.claim));
            claim
                .map_or(Ok(()), |claim| claim.sync_journal())
                .map_err(|error| fault(&object.name, &error))?;
        }
        Ok(())
    }

    fn take_unsynced(&self) -> Vec<Unsynced> {
        let objects: Vec<Arc<Object>> = lock(&self.objects).values().cloned().collect();
        let taken = objects.into_iter().filter_map(|object| {
            let mut state = lock(&object.state);
            let parts = state.parts.as_mut().filter(|parts| !parts.unsynced.is_empty())?;
            let chunks = std::mem::take(&mut parts.unsynced);
            let claim = Arc::clone(&parts.claim);
            drop(state);
            Some(Unsynced { object, claim, chunks })
        });
        taken.filter(|unsynced| unsynced.claim.is_journaled()).collect()
    }

    fn name_batch(&self, batch: Pending, unsynced: &[Unsynced]) -> Result<Vec<Ended>, Error> {
        let mut ended = Vec::with_capacity(batch.files.len());
        let named = self.name_all(&batch.files, batch.touched, unsynced, &mut ended);
        if named.is_err() {
            let (named, left) = batch.files.split_at(ended.len());
            self.leave(left);
            warn_of(b"", named.iter().try_for_each(Finished::remove_journal));
        }
        named.map(|()| ended)
    }

    /// Of `files` those that have ended are in `ended`, whatever this returns.
    fn name_all(
        &self,
        files: &[Finished],
        mut touched: Touched,
        unsynced: &[Unsynced],
        ended: &mut Vec<Ended>,
    ) -> Result<(), Error> {
        self.make_durable(files, unsynced)?;
        for Unsynced { object, claim, chunks } in unsynced {
            claim.append(chunks).map_err(|error| fault(&object.name, &error))?;
        }
        for finished in files {
            let (parent, _) = split_place(&finished.object.place);
            let added = touched.add(parent, &finished.partials().parent);
            added.map_err(|error| self.directory_fault(parent, &error))?;
            match self.rename(finished) {
                Ok(done) => ended.push(done),
                Err(Fault::Object(error)) => {
                    self.discard_finished(finished);
                    ended.push(finished.object.failed(error));
                }
                Err(Fault::Transfer(error)) => return Err(error),
            }
        }
        for path in self.directories.take_made_in() {
            let added = self.directories.get(&path).and_then(|directory| touched.add(&path, &directory.root));
            added.map_err(|error| self.directory_fault(&path, &error))?;
        }
        touched.sync().map_err(|(path, error)| self.directory_fault(path, &error))?;
        files.iter().try_for_each(|f| f.remove_journal().map_err(|error| fault(&f.object.name, &error)))
    }

    /// Gives a file its name by itself, after it was made durable if that is asked for.
    fn name(&self, finished: &Finished) -> Result<Ended, Fault> {
        let durable = self.spec.durability != Durability::None;
        if durable {
            self.make_durable(std::slice::from_ref(finished), &[]).map_err(Fault::Transfer)?;
        }
        let ended = self.rename(finished).inspect_err(|error| {
            if matches!(error, Fault::Object(_)) {
                self.discard_finished(finished);
            }
        })?;
        let made_in = self.directories.take_made_in();
        let synced = if durable { self.sync_names(finished, &made_in) } else { Ok(()) };
        if synced.is_err() {
            warn_of(b"", finished.remove_journal());
        }
        synced.map_err(Fault::Transfer)?;
        finished.remove_journal().map_err(|error| Fault::of(&finished.object.name, &error))?;
        Ok(ended)
    }

    /// The name of a file is durable, and so are those of directories that were made for it.
    fn sync_names(&self, finished: &Finished, made_in: &[Vec<u8>]) -> Result<(), Error> {
        let (parent, _) = split_place(&finished.object.place);
        made_in.iter().map(Vec::as_slice).chain([parent]).try_for_each(|path| {
            let synced = self.directories.get(path).and_then(|directory| sync_directory(&directory.root));
            synced.map_err(|error| self.directory_fault(path, &error))
        })
    }

    fn rename(&self, finished: &Finished) -> Result<Ended, Fault> {
        let object = &finished.object;
        let (_, last) = split_place(&object.place);
        let renamed = match &finished.body {
            Body::Small { partials, name, .. } => {
                partials.root.rename(name, &partials.parent, last, Replace::Yes)
            }
            Body::Large(claim) => claim.name_as(last),
        };
        renamed.map_err(|error| Fault::of(&object.name, &error))?;
        if let (Some(cache), Some(digest)) = (&self.spec.digest_cache, &finished.digest) {
            let stat = finished.partials().parent.stat(last);
            let identity = Identity::from(&stat.map_err(|error| Fault::of(&object.name, &error))?);
            cache.put(&self.spec.target.shown(&object.name), &identity, digest);
        }
        Ok(finished.ended())
    }

    /// Content of files becomes durable: one by one while they are few, else with their whole file systems. When that fails once, the
    /// kernel takes what it could not write for written, and says so the next time: nothing is named or journaled any more.
    fn make_durable(&self, finished: &[Finished], unsynced: &[Unsynced]) -> Result<(), Error> {
        if self.unsound.load(Ordering::Acquire) {
            let error = Error::new(Class::Fatal, "an earlier sync failed").on(Side::Destination);
            return Err(error.object(self.spec.target.shown_base()));
        }
        let synced = self.sync_content(finished, unsynced);
        if synced.is_err() {
            self.unsound.store(true, Ordering::Release);
        }
        synced
    }

    fn sync_content(&self, finished: &[Finished], unsynced: &[Unsynced]) -> Result<(), Error> {
        let open: Option<Vec<(&Object, &File)>> =
            finished.iter().map(|f| Some((&*f.object, f.file()?))).collect();
        if let Some(open) = open.filter(|open| open.len() + unsynced.len() <= SYNC_EACH_MAX) {
            let parts = unsynced.iter().map(|u| (&*u.object, &u.claim.file));
            let sync =
                |(object, file): (&Object, &File)| file.sync_data().map_err(|e| fault(&object.name, &e));
            return open.into_iter().chain(parts).try_for_each(sync);
        }
        let all = finished.iter().map(Finished::partials).chain(unsynced.iter().map(|u| &u.claim.partials));
        let devices: HashMap<u64, &Arc<Partials>> = all.map(|partials| (partials.device, partials)).collect();
        let sync = |partials: &&Arc<Partials>| partials.sync_filesystem();
        devices.values().try_for_each(sync).map_err(|error| self.directory_fault(b"", &error))
    }

    /// Files get no name any more; what a later run can go on with stays.
    pub(super) fn leave(&self, files: &[Finished]) {
        let leave = |finished: &Finished| match &finished.body {
            Body::Small { partials, name, .. } => not_found(partials.root.remove_file(name)).map(drop),
            Body::Large(claim) if claim.is_journaled() => Ok(()),
            Body::Large(claim) => claim.discard(),
        };
        // After one failure the others would only be told of, too.
        warn_of(b"", files.iter().try_for_each(leave));
    }

    /// What failed at a directory of the destination.
    pub(super) fn directory_fault(&self, path: &[u8], error: &FileError) -> Error {
        let shown = if path.is_empty() { self.spec.target.shown_base() } else { path.to_vec() };
        fault(&shown, error)
    }
}

impl Finished {
    fn remove_journal(&self) -> Result<(), FileError> {
        match &self.body {
            Body::Small { .. } => Ok(()),
            Body::Large(claim) => claim.remove_journal(),
        }
    }
}

/// Names in a directory become durable. File systems that cannot sync one say `EINVAL`: their names are durable as they are made.
pub(super) fn sync_directory(root: &Root) -> Result<(), FileError> {
    match root.open_dir(b"", Follow::Never)?.sync_all() {
        Err(error) if error.errno == libc::EINVAL => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_are_shared_and_many_are_not_all_taken() {
        let cases =
            [(0, 64), (1_024, 64), (65 * 48 - 1, 64), (65 * 48, 65), (20_000, 416), (u64::MAX, 1_024)];
        for (descriptors, directories) in cases {
            assert_eq!(pending_directories_max(descriptors), directories, "{descriptors}");
        }
    }
}
