//! Finished files become durable and get their names (DESIGN.md section 5, durability).
//!
//! With `batch`, everything that finished since the last time is made durable together, then named, then the directories are made
//! durable. In between, what has arrived of large files is journaled: after its data is durable, never before.

use super::directory::{lock, split_place};
use super::fault::Fault;
use super::journal::Held;
use super::object::{Body, Finished, Object};
use super::partial::{Claim, Partials};
use super::write::transfer_error;
use super::{Ended, FileSink};
use crate::error::Error;
use crate::limits::{
    SINK_DESCRIPTORS_SHARE, SINK_PENDING_DIRECTORIES_MAX, SINK_PENDING_DIRECTORIES_MIN, SINK_PENDING_MAX,
    SINK_PENDING_OPEN_MAX, SYNC_EACH_MAX,
};
use crate::source::Identity;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
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

    fn sync(&self) -> Result<(), FileError> {
        self.few.values().try_for_each(sync_directory)?;
        self.devices.values().try_for_each(|root| root.open_dir(b"", Follow::Never)?.sync_filesystem())
    }
}

/// Chunks of one object that are written and not journaled.
struct Unsynced {
    claim: Arc<Claim>,
    chunks: Vec<Held>,
}

impl FileSink {
    /// A file is whole: it gets its name now, or waits for the next sync, as durability has it.
    pub(super) fn finished(&self, finished: Finished) -> Result<Vec<Ended>, Fault> {
        match self.spec.durability {
            Durability::None => Ok(vec![self.name(&finished)?]),
            Durability::File => {
                let synced = finished.file().map_or(Ok(()), File::sync_data);
                synced.map_err(|error| Fault::of(&finished.object.name, &error))?;
                let ended = self.name(&finished)?;
                sync_directory(&finished.partials().parent)
                    .map_err(|e| Fault::Transfer(transfer_error(&e)))?;
                Ok(vec![ended])
            }
            Durability::Batch => {
                let full = {
                    let mut pending = lock(&self.pending);
                    pending.push(finished);
                    pending.is_full(self.pending_directories_max).then(|| std::mem::take(&mut *pending))
                };
                full.map_or(Ok(Vec::new()), |batch| self.name_batch(batch, &[]).map_err(Fault::Transfer))
            }
        }
    }

    /// A name was made in a directory: it is made durable with the next batch.
    pub(super) fn touched(&self, path: &[u8], root: &Root) -> Result<(), Error> {
        match self.spec.durability {
            Durability::None => Ok(()),
            Durability::File => sync_directory(root).map_err(|error| transfer_error(&error)),
            Durability::Batch => {
                lock(&self.pending).touched.add(path, root).map_err(|error| transfer_error(&error))
            }
        }
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
            claim.map_or(Ok(()), |claim| claim.sync_journal()).map_err(|error| transfer_error(&error))?;
        }
        Ok(())
    }

    fn take_unsynced(&self) -> Vec<Unsynced> {
        let objects: Vec<Arc<Object>> = lock(&self.objects).values().cloned().collect();
        let taken = objects.iter().filter_map(|object| {
            let mut state = lock(&object.state);
            let parts = state.parts.as_mut().filter(|parts| !parts.unsynced.is_empty())?;
            let chunks = std::mem::take(&mut parts.unsynced);
            Some(Unsynced { claim: Arc::clone(&parts.claim), chunks })
        });
        taken.filter(|unsynced| unsynced.claim.is_journaled()).collect()
    }

    fn name_batch(&self, batch: Pending, unsynced: &[Unsynced]) -> Result<Vec<Ended>, Error> {
        let failed = |error: FileError| transfer_error(&error);
        make_durable(&batch.files, unsynced).map_err(failed)?;
        for Unsynced { claim, chunks } in unsynced {
            claim.append(chunks).map_err(failed)?;
        }
        let mut ended = Vec::with_capacity(batch.files.len());
        let mut touched = batch.touched;
        for finished in &batch.files {
            let (parent, _) = split_place(&finished.object.place);
            touched.add(parent, &finished.partials().parent).map_err(failed)?;
            match self.rename(finished) {
                Ok(done) => ended.push(done),
                Err(Fault::Object(error)) => ended.push(finished.object.failed(error)),
                Err(Fault::Transfer(error)) => return Err(error),
            }
        }
        touched.sync().map_err(failed)?;
        batch.files.iter().try_for_each(Finished::remove_journal).map_err(failed)?;
        Ok(ended)
    }

    fn name(&self, finished: &Finished) -> Result<Ended, Fault> {
        let ended = self.rename(finished)?;
        finished.remove_journal().map_err(|error| Fault::of(&finished.object.name, &error))?;
        Ok(ended)
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
        if let Err(error) = renamed {
            self.discard_finished(finished);
            return Err(Fault::of(&object.name, &error));
        }
        if let (Some(cache), Some(digest)) = (&self.spec.digest_cache, &finished.digest) {
            let stat = finished.partials().parent.stat(last);
            let identity = Identity::from(&stat.map_err(|error| Fault::of(&object.name, &error))?);
            cache.put(&self.spec.target.shown(&object.name), &identity, digest);
        }
        Ok(finished.ended())
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

/// Content of files becomes durable: one by one while they are few, else with their whole file systems.
fn make_durable(finished: &[Finished], unsynced: &[Unsynced]) -> Result<(), FileError> {
    let open: Option<Vec<&File>> = finished.iter().map(Finished::file).collect();
    if let Some(open) = open.filter(|open| open.len() + unsynced.len() <= SYNC_EACH_MAX) {
        return open.into_iter().chain(unsynced.iter().map(|u| &u.claim.file)).try_for_each(File::sync_data);
    }
    let all = finished.iter().map(Finished::partials).chain(unsynced.iter().map(|u| &u.claim.partials));
    let devices: HashMap<u64, &Arc<Partials>> = all.map(|partials| (partials.device, partials)).collect();
    devices.values().try_for_each(|partials| partials.sync_filesystem())
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
