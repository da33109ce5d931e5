//! The end of a transfer: what waited for everything else to be there.

use super::attributes::Kept;
use super::directory::{lock, split_place};
use super::fault::{Fault, refusal};
use super::file::{Last, LastDirectory};
use super::naming::sync_directory;
use super::partial::stem;
use super::{Action, Ended, FileSink};
use crate::digest;
use crate::error::{Class, Error};
use crate::limits::{LINES_EVERY, LINES_MAX, SYNC_EACH_MAX};
use crate::sparing::Sparing;
use std::time::Instant;
use xfer_io::file::{FileError, Follow, Replace};
use xfer_proto::wire::Durability;

static BEHIND: Sparing = Sparing::new(LINES_MAX, LINES_EVERY);

impl FileSink {
    pub(super) fn finish_all(&self) -> Result<(Vec<Ended>, Durability), Error> {
        let mut ended = self.sync_all()?;
        let Last { mut directories, links, places, .. } = std::mem::take(&mut *lock(&self.last));
        for (object, name, place, first) in links {
            let made = match places.get(&first) {
                Some(first) => self.link(first, &name, &place),
                None => Err(Fault::Object(refusal(Class::Other, &name, "no first name to link"))),
            };
            ended.push(settle(bare_end(object, name, false, Action::Copied), made)?);
        }
        self.sync_all()?;
        lock(&self.objects).clear();
        self.directories.clear();
        directories.sort_by_key(|d| std::cmp::Reverse(depth(&d.place)));
        let each = directories.len() <= SYNC_EACH_MAX;
        for directory in &directories {
            let action = if directory.existed { Action::Skipped } else { Action::Copied };
            let end = bare_end(directory.object, directory.name.clone(), true, action);
            ended.push(settle(end, self.set_directory(directory, each))?);
        }
        if !each && self.spec.durability != Durability::None {
            let base = self.spec.target.base().open_dir(b"", Follow::Never);
            let synced = base.and_then(|base| base.sync_filesystem());
            synced.map_err(|error| self.directory_fault(b"", &error))?;
        }
        Ok((ended, self.spec.durability))
    }

    fn set_directory(&self, directory: &LastDirectory, sync: bool) -> Result<(), Fault> {
        let LastDirectory { place, kept, name, .. } = directory;
        let set = || {
            let root = self.spec.target.base().enter(place, Follow::Never)?;
            kept.set(&root.open_dir(b"", Follow::Never)?)?;
            if sync && self.spec.durability != Durability::None { sync_directory(&root) } else { Ok(()) }
        };
        set().map_err(|error: FileError| Fault::of(name, &error))
    }

    /// Makes `place` another name of the file at `first`.
    fn link(&self, first: &[u8], name: &[u8], place: &[u8]) -> Result<(), Fault> {
        let failed = |error: FileError| Fault::of(name, &error);
        let (first_parent, first_last) = split_place(first);
        let (parent, last) = split_place(place);
        let from = self.directories.get(first_parent).map_err(failed)?;
        let to = self.directories.get(parent).map_err(failed)?;
        let file = from.root.stat(first_last).map_err(failed)?;
        if to.root.stat(last).is_ok_and(|there| (there.dev, there.ino) == (file.dev, file.ino)) {
            return Ok(());
        }
        let partials = to.partials().map_err(failed)?;
        let made = [&stem(&digest::root(last), 0, (0, 0)), &b".tmp"[..]].concat();
        from.root.hard_link(first_last, &partials.root, &made).map_err(failed)?;
        if let Err(error) = partials.root.rename(&made, &to.root, last, Replace::Yes) {
            partials.root.remove_file(&made).map_err(failed)?;
            return Err(failed(error));
        }
        self.touched(parent, &to.root).map_err(Fault::Transfer)
    }

    /// Makes durable what has arrived, journals it and lets go of everything.
    pub(super) fn abort_all(&self) {
        if let Err(error) = self.sync_with_journals()
            && let Some(others) = BEHIND.admit(Instant::now())
        {
            tracing::warn!(side = "dst", %error, others, "the journal of a transfer may be behind");
        }
        lock(&self.objects).clear();
        let left = std::mem::take(&mut *lock(&self.pending));
        self.leave(left.files());
        self.directories.clear();
    }
}

fn depth(place: &[u8]) -> usize {
    if place.is_empty() { 0 } else { 1 + place.iter().filter(|b| **b == b'/').count() }
}

/// An end without content.
pub(super) fn bare_end(object: u32, name: Vec<u8>, is_directory: bool, action: Action) -> Ended {
    Ended { object, name, is_directory, action, bytes: 0, reused: 0, skipped: 0, digest: None, error: None }
}

fn settle(end: Ended, done: Result<(), Fault>) -> Result<Ended, Error> {
    match done {
        Ok(()) => Ok(end),
        Err(Fault::Object(error)) => Ok(Ended { action: Action::Failed, error: Some(error), ..end }),
        Err(Fault::Transfer(error)) => Err(error),
    }
}

/// Rights that a directory needs while things are made in it.
pub(super) const WHILE_WRITING: u32 = 0o700;

impl LastDirectory {
    pub(super) fn new(object: u32, name: &[u8], place: Vec<u8>, kept: Kept, existed: bool) -> Self {
        LastDirectory { object, name: name.to_vec(), place, kept, existed }
    }
}
