//! Answers manifest pages: what is here already, what is needed, what cannot be; makes everything that has no content to wait for.

use super::attributes::{Kept, link_to, same_time};
use super::directory::{Directory, lock, split_place};
use super::fault::{Fault, fault, refusal};
use super::file::{Compare, LastDirectory, Overwrite};
use super::finish::{WHILE_WRITING, bare_end};
use super::journal::{Held, Subject};
use super::object::{Object, Parts, State};
use super::partial::{ClaimFault, PARTIAL_DIRECTORY, stem};
use super::write::{OPEN_SIZE, claim_fault};
use super::{Action, Decided, Ended, FileSink};
use crate::digest::{self, Digest};
use crate::error::{Class, Error, Side};
use crate::limits::HASH_READ_BYTES;
use crate::source::Identity;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use xfer_io::file::{FileError, Kind, Replace, Stat};
use xfer_proto::limits::{CHUNK_LOG2_MIN, RESUME_RUNS_MAX};
use xfer_proto::wire::{Attribute, Decision, Entry, EntryKind, Page, Run};

/// An entry with where it goes.
struct Listed<'a> {
    number: u32,
    entry: &'a Entry,
    place: Vec<u8>,
    kept: Kept,
}

impl FileSink {
    pub(super) fn decide_page(&self, page: &Page) -> Result<Decided, Error> {
        let mut decided = Decided { decisions: Vec::with_capacity(page.entries.len()), ended: Vec::new() };
        for (number, entry) in (page.first_object..).zip(&page.entries) {
            let decision = match self.decide_entry(number, entry, &mut decided.ended) {
                Ok(decision) => decision,
                Err(Fault::Transfer(error)) => return Err(error),
                Err(Fault::Object(error)) => {
                    let is_directory = entry.kind == EntryKind::Directory;
                    let end = bare_end(number, entry.name.clone(), is_directory, Action::Failed);
                    let body = error.to_wire(Side::Destination);
                    decided.ended.push(Ended { error: Some(error), ..end });
                    Decision::Fail(body)
                }
            };
            decided.decisions.push(decision);
        }
        let awaits =
            |(entry, decision): (&Entry, &Decision)| entry.has_content() && *decision != Decision::Skip;
        if page.entries.iter().zip(&decided.decisions).any(awaits) {
            self.check_space()?;
        }
        Ok(decided)
    }

    /// There must be room for all that was promised, before any of it is sent.
    fn check_space(&self) -> Result<(), Error> {
        let space = self.spec.target.base().space().map_err(|error| fault(b"", &error))?;
        let promised = self.promised.load(Ordering::Relaxed);
        let inodes = lock(&self.objects).len() as u64;
        let short = if space.bytes_free < promised {
            format!("{promised} bytes needed, {} free", space.bytes_free)
        } else if space.inodes_free.is_some_and(|free| free < inodes) {
            format!("{inodes} files to create, room for {}", space.inodes_free.unwrap_or(0))
        } else {
            return Ok(());
        };
        let error = Error::new(Class::Fatal, "no room in").on(Side::Destination);
        let error = error.object(self.spec.target.shown_base()).because(short);
        Err(Error { errno: Some(libc::ENOSPC), ..error })
    }

    fn decide_entry(&self, number: u32, entry: &Entry, ended: &mut Vec<Ended>) -> Result<Decision, Fault> {
        if entry.name.split(|b| *b == b'/').any(|component| component == PARTIAL_DIRECTORY) {
            let message = "the name is kept for partial files:";
            return Err(Fault::Object(refusal(Class::Refused, &entry.name, message)));
        }
        let kept = Kept::of(entry, self.spec.preserve);
        let listed = Listed { number, entry, place: self.spec.target.place(&entry.name), kept };
        match entry.kind {
            EntryKind::Directory => self.decide_directory(listed),
            EntryKind::Symlink => self.decide_symlink(&listed, ended),
            EntryKind::File => self.decide_file(listed, ended),
        }
    }

    fn decide_directory(&self, listed: Listed<'_>) -> Result<Decision, Fault> {
        let Listed { number, entry, place, kept } = listed;
        let failed = |error: FileError| Fault::of(&entry.name, &error);
        let mut existed = place.is_empty();
        if !existed {
            let (parent, last) = split_place(&place);
            let directory = self.directories.get(parent).map_err(failed)?;
            match found(&directory, last).map_err(failed)? {
                None => {
                    directory.root.make_dir(last, kept.mode | WHILE_WRITING).map_err(failed)?;
                    self.touched(parent, &directory.root).map_err(Fault::Transfer)?;
                }
                Some(stat) if stat.kind == Kind::Dir => {
                    existed = true;
                    if stat.mode & WHILE_WRITING != WHILE_WRITING {
                        directory.root.set_mode(last, stat.mode | WHILE_WRITING).map_err(failed)?;
                    }
                }
                Some(stat) if stat.kind == Kind::Symlink => {
                    let message = "not writing through the symlink";
                    return Err(Fault::Object(refusal(Class::Refused, &entry.name, message)));
                }
                Some(_) => {
                    let message = "not replacing a file by a directory:";
                    return Err(Fault::Object(refusal(Class::Usage, &entry.name, message)));
                }
            }
        }
        let mut last = lock(&self.last);
        last.hold(entry.name.len() + place.len() + kept.bytes())?;
        last.directories.push(LastDirectory::new(number, &entry.name, place, kept, existed));
        Ok(Decision::Need)
    }

    fn decide_symlink(&self, listed: &Listed<'_>, ended: &mut Vec<Ended>) -> Result<Decision, Fault> {
        let Listed { number, entry, place, kept } = listed;
        let failed = |error: FileError| Fault::of(&entry.name, &error);
        let (parent, last) = split_place(place);
        let directory = self.directories.get(parent).map_err(failed)?;
        let there = found(&directory, last).map_err(failed)?;
        let digest = self.spec.digests.then(|| digest::root(&entry.target));
        let skipped = match there {
            None => false,
            Some(stat) if stat.kind == Kind::Symlink => {
                let same = directory.root.read_symlink(last).map_err(failed)? == entry.target;
                if same && !same_time(stat.mtime, kept.mtime) {
                    kept.set_on_symlink(&directory.root, last).map_err(failed)?;
                }
                same || self.stays(&stat, kept)
            }
            Some(stat) => {
                check_replaceable(&stat, &entry.name)?;
                self.stays(&stat, kept)
            }
        };
        if !skipped {
            let partials = directory.partials().map_err(failed)?;
            let made = [&stem(&digest::root(last), 0, (0, 0)), &b".tmp"[..]].concat();
            partials.root.make_symlink(&made, &entry.target).map_err(failed)?;
            let named = kept
                .set_on_symlink(&partials.root, &made)
                .and_then(|()| partials.root.rename(&made, &directory.root, last, Replace::Yes));
            if let Err(error) = named {
                partials.root.remove_file(&made).map_err(failed)?;
                return Err(failed(error));
            }
            self.touched(parent, &directory.root).map_err(Fault::Transfer)?;
        }
        let action = if skipped { Action::Skipped } else { Action::Copied };
        ended.push(Ended { digest, ..bare_end(*number, entry.name.clone(), false, action) });
        Ok(if skipped { Decision::Skip } else { Decision::Need })
    }

    fn decide_file(&self, listed: Listed<'_>, ended: &mut Vec<Ended>) -> Result<Decision, Fault> {
        let failed = |error: FileError| Fault::of(&listed.entry.name, &error);
        let (parent, last) = split_place(&listed.place);
        let directory = self.directories.get(parent).map_err(failed)?;
        if self.spec.preserve.links {
            let mut last = lock(&self.last);
            last.hold(listed.place.len())?;
            last.places.insert(listed.number, listed.place.clone());
        }
        if let Some(stat) = found(&directory, last).map_err(failed)? {
            check_replaceable(&stat, &listed.entry.name)?;
            if self.stays(&stat, &listed.kept) || self.is_same(&directory, last, &stat, &listed)? {
                ended.push(self.skip(&directory, last, &stat, &listed)?);
                return Ok(Decision::Skip);
            }
        }
        if let Some(first) = link_to(listed.entry, listed.number, self.spec.preserve) {
            let link = (listed.number, listed.entry.name.clone(), listed.place, first);
            let mut last = lock(&self.last);
            last.hold(link.1.len() + link.2.len())?;
            last.links.push(link);
            return Ok(Decision::Skip);
        }
        self.need(listed, &directory, ended)
    }

    /// Whether what is there stays, however it differs.
    fn stays(&self, there: &Stat, kept: &Kept) -> bool {
        match self.spec.overwrite {
            Overwrite::Always => false,
            Overwrite::Never => true,
            Overwrite::Older => there.mtime >= kept.mtime || same_time(there.mtime, kept.mtime),
        }
    }

    fn is_same(
        &self,
        directory: &Directory,
        last: &[u8],
        there: &Stat,
        listed: &Listed<'_>,
    ) -> Result<bool, Fault> {
        if there.kind != Kind::File || listed.entry.open {
            return Ok(false);
        }
        let same_size = there.size == listed.entry.size;
        Ok(match self.spec.compare {
            Compare::Exists => true,
            Compare::Size => same_size,
            Compare::Mtime => same_size && same_time(there.mtime, listed.kept.mtime),
            Compare::Digest => same_size && self.has_listed_digest(directory, last, there, listed)?,
        })
    }

    /// Whether the file's content is what the sender listed. Without a listed digest it counts as different.
    fn has_listed_digest(
        &self,
        directory: &Directory,
        last: &[u8],
        there: &Stat,
        listed: &Listed<'_>,
    ) -> Result<bool, Fault> {
        let entry = listed.entry;
        let root = match &entry.inline {
            Some(inline) if self.spec.digests => Some(inline.digest),
            _ => entry.attributes.iter().find_map(|attribute| match attribute {
                Attribute::Digest(root) => Some(*root),
                _ => None,
            }),
        };
        let Some(root) = root else { return Ok(false) };
        let path = self.spec.target.shown(&entry.name);
        let ours = self.digest_of(directory, last, &path, there);
        Ok(ours.map_err(|error| Fault::of(&entry.name, &error))? == root)
    }

    /// The file is here already; a differing mode is set, except on files that are to stay as they are.
    fn skip(
        &self,
        directory: &Directory,
        last: &[u8],
        there: &Stat,
        listed: &Listed<'_>,
    ) -> Result<Ended, Fault> {
        let Listed { number, entry, kept, .. } = listed;
        let failed = |error: FileError| Fault::of(&entry.name, &error);
        let mut stat = *there;
        if stat.kind == Kind::File && !self.stays(there, kept) && kept.differs_in_mode(stat.mode) {
            directory.root.set_mode(last, kept.mode).map_err(failed)?;
            stat = directory.root.stat(last).map_err(failed)?;
        }
        let digest = match stat.kind {
            Kind::File if self.spec.want_digests && self.spec.digests => {
                let path = self.spec.target.shown(&entry.name);
                Some(self.digest_of(directory, last, &path, &stat).map_err(failed)?)
            }
            _ => None,
        };
        let end = bare_end(*number, entry.name.clone(), false, Action::Skipped);
        Ok(Ended { skipped: entry.size, digest, ..end })
    }

    /// The digest of a file that is here, remembered or read.
    #[expect(clippy::indexing_slicing, reason = "a read returns no more than it was given room for")]
    fn digest_of(
        &self,
        directory: &Directory,
        last: &[u8],
        path: &[u8],
        stat: &Stat,
    ) -> Result<Digest, FileError> {
        let identity = Identity::from(stat);
        let cache = self.spec.digest_cache.as_ref();
        if let Some(known) = cache.and_then(|cache| cache.get(path, &identity)) {
            return Ok(known);
        }
        let file = directory.root.open_read(last)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; HASH_READ_BYTES.min(stat.size.max(1) as usize)];
        let mut at = 0;
        loop {
            let len = file.read_at(&mut buffer, at)?;
            hasher.update(&buffer[..len]);
            at += len as u64;
            if len < buffer.len() || at >= stat.size {
                break;
            }
        }
        let digest = *hasher.finalize().as_bytes();
        if let Some(cache) = cache {
            cache.put(path, &identity, &digest);
        }
        Ok(digest)
    }

    fn need(
        &self,
        listed: Listed<'_>,
        directory: &Directory,
        ended: &mut Vec<Ended>,
    ) -> Result<Decision, Fault> {
        let Listed { number, entry, place, kept } = listed;
        let (_, last) = split_place(&place);
        let subject = Subject {
            name: digest::root(last),
            size: if entry.open { OPEN_SIZE } else { entry.size },
            mtime: (entry.mtime_s, entry.mtime_ns),
            chunk_log2: self.spec.chunk_log2,
            digests: self.spec.digests,
        };
        let size = (!entry.open).then_some(entry.size);
        let state = State { size, ..State::default() };
        let name = entry.name.clone();
        let object = Arc::new(Object { number, name, place, kept, subject, state: Mutex::new(state) });
        if !entry.has_content() {
            ended.extend(self.take_inline(&object, entry)?);
            return Ok(Decision::Need);
        }
        let mut decision = Decision::Need;
        if !entry.open && entry.size > 1 << CHUNK_LOG2_MIN {
            decision = self.resume(&object, directory)?;
        }
        let all_here = {
            let mut state = lock(&object.state);
            let reused = state.parts.as_ref().map_or(0, |parts| parts.reused);
            state.owed = (entry.size - reused).min(data_bytes(entry));
            self.promised.fetch_add(state.owed, Ordering::Relaxed);
            !entry.open && state.parts.as_ref().is_some_and(|p| p.is_complete(entry.size, subject.chunk_log2))
        };
        lock(&self.objects).insert(number, Arc::clone(&object));
        if all_here {
            ended.extend(self.complete(&object, entry.size)?);
        }
        Ok(decision)
    }

    /// Writes an object whose content is in its entry, or that has none.
    fn take_inline(&self, object: &Arc<Object>, entry: &Entry) -> Result<Vec<Ended>, Fault> {
        let content = entry.inline.as_ref().map_or(&[][..], |inline| &inline.content);
        let root = digest::root(content);
        if self.spec.digests && entry.inline.as_ref().is_some_and(|inline| inline.digest != root) {
            let message = "the digest of the content in the manifest is wrong:";
            return Err(Fault::Object(refusal(Class::Digest, &entry.name, message)));
        }
        let digest = self.spec.digests.then_some(root);
        self.create_whole(object, content.len() as u64, digest, |file| file.write_at(content, 0))
    }

    /// Takes over what an earlier run left of the object.
    fn resume(&self, object: &Arc<Object>, directory: &Directory) -> Result<Decision, Fault> {
        let failed = |error: FileError| Fault::of(&object.name, &error);
        let Some(partials) = directory.partials_if_any() else { return Ok(Decision::Need) };
        let subject = &object.subject;
        let in_one = subject.chunks() == 1;
        // Of objects within one chunk there are many, and only an earlier run with smaller ones left something of them.
        let left = if in_one { partials.has_version(subject) } else { partials.has(&subject.name) };
        if !left.map_err(failed)? {
            return Ok(Decision::Need);
        }
        // What is left is not known of without a place; the file comes anew.
        let Some(place) = self.places.take() else { return Ok(Decision::Need) };
        let claimed = partials.claim(subject, &self.spec.holder, &self.closed);
        let mut claim = claimed.map_err(|error: ClaimFault| claim_fault(object, error))?;
        let is_packed = subject.size <= 1 << subject.chunk_log2 >> 2;
        if in_one && (is_packed || claim.held.is_empty()) {
            claim.discard().map_err(failed)?;
            return Ok(Decision::Need);
        }
        claim.place = Some(place);
        let runs = runs(&claim.held);
        if runs.len() > RESUME_RUNS_MAX {
            claim.forget_held().map_err(failed)?;
        }
        let offered = if claim.held.is_empty() { Decision::Need } else { Decision::Resume(runs) };
        lock(&object.state).parts = Some(Parts::new(claim, &object.subject));
        Ok(offered)
    }
}

/// Bytes of an entry's content that are not holes.
fn data_bytes(entry: &Entry) -> u64 {
    let listed = entry.attributes.iter().find_map(|attribute| match attribute {
        Attribute::Data(bytes) => Some(*bytes),
        _ => None,
    });
    listed.unwrap_or(entry.size)
}

/// What is under a name, if anything is.
fn found(directory: &Directory, last: &[u8]) -> Result<Option<Stat>, FileError> {
    match directory.root.stat(last) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if error.errno == libc::ENOENT => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file or symlink may take the place of a file or symlink.
fn check_replaceable(there: &Stat, name: &[u8]) -> Result<(), Fault> {
    let message = match there.kind {
        Kind::File | Kind::Symlink => return Ok(()),
        Kind::Dir => "not replacing a directory by a file:",
        Kind::Other => "not replacing a FIFO, socket or device by a file:",
    };
    Err(Fault::Object(refusal(Class::Usage, name, message)))
}

/// Runs of chunks that are held, which ascend.
fn runs(held: &[Held]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (index, _) in held {
        match runs.last_mut() {
            Some(run) if run.first + run.count == *index => run.count += 1,
            _ => runs.push(Run { first: *index, count: 1 }),
        }
    }
    runs
}
