//! `.xfer-partial/`: where content lies until it gets its name (PRODUCT.md, "Copying, exactly").
//!
//! Beside each target. `STEM.part` is a large file in progress, locked by its transfer, `STEM.journal` what of it is durable; the stem is
//! 16 hex digits of BLAKE3 of the target's name and 16 of its source's size and mtime. `STEM.tmp` is a whole small file that waits for its
//! name; so does `STEM.journal.tmp`, a journal that is written anew. The directory itself is locked: shared by every transfer that has something in it, so that whoever gets it alone may
//! sweep up what killed transfers left, and remove it.

use super::directory::lock;
use super::journal::{self, HEAD_LEN, Held, Subject};
use super::naming::sync_directory;
use super::places::Place;
use super::regrid::Regrid;
use crate::digest::Digest;
use crate::error::errno_text;
use crate::limits::{LINES_EVERY, LINES_MAX, PARTIAL_AGE_S_MAX, PARTIAL_ATTEMPTS};
use crate::sparing::Sparing;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use xfer_io::file::{File, FileError, Follow, Replace, Root};

static DISCARDED: Sparing = Sparing::new(LINES_MAX, LINES_EVERY);
static LEFT: Sparing = Sparing::new(LINES_MAX, LINES_EVERY);

/// Name of the directory; hidden from lists and copies, refused in manifests.
pub const PARTIAL_DIRECTORY: &[u8] = b".xfer-partial";
/// Hex digits of the stem that stand for the target's name.
const STEM_NAME_LEN: usize = 16;

/// An open `.xfer-partial/`. Removes it on drop when it is empty and no other transfer has it.
#[derive(Debug)]
pub(super) struct Partials {
    /// The directory that targets are in.
    pub parent: Root,
    /// The partial directory.
    pub root: Root,
    lock: File,
    /// Device of both.
    pub device: u64,
}

/// Why a partial file could not be had.
#[derive(Debug)]
pub(super) enum ClaimFault {
    /// Another transfer has it; the text says who.
    Busy(String),
    /// The file system refused.
    File(FileError),
    /// The transfer ended meanwhile.
    Stopped,
}

impl From<FileError> for ClaimFault {
    fn from(error: FileError) -> Self {
        ClaimFault::File(error)
    }
}

/// What became of locking a partial file.
#[derive(Debug, PartialEq, Eq)]
enum Locked {
    Yes,
    /// Another transfer has it.
    ByAnother,
    /// Its transfer finished it between the opening and the locking: it is a target now, not to be touched.
    Renamed,
}

/// A large file in progress: locked, at its full size, what is not held reads as zeros.
#[derive(Debug)]
pub(super) struct Claim {
    /// The partial file.
    pub file: File,
    /// Where it lies.
    pub partials: Arc<Partials>,
    /// Its name there.
    pub name: Vec<u8>,
    /// Chunks of it that an earlier run left, ascending.
    pub held: Vec<Held>,
    /// Gaps between the held chunks may hold old bytes that could not be punched out: holes must be written.
    pub holes_are_written: bool,
    /// Its place among the transfer's files in progress.
    pub place: Option<Place>,
    journal: Option<Journal>,
}

#[derive(Debug)]
struct Journal {
    subject: Subject,
    name: Vec<u8>,
    file: File,
    len: Mutex<u64>,
}

/// `None` for what is not there.
pub(super) fn not_found<T>(result: Result<T, FileError>) -> Result<Option<T>, FileError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.errno == libc::ENOENT => Ok(None),
        Err(error) => Err(error),
    }
}

fn with_suffix(stem: &[u8], suffix: &[u8]) -> Vec<u8> {
    [stem, suffix].concat()
}

/// The stem of a target's partial files.
#[expect(clippy::indexing_slicing, reason = "hex digests are longer")]
pub(super) fn stem(name: &Digest, size: u64, mtime: (i64, u32)) -> Vec<u8> {
    let mut version = blake3::Hasher::new();
    version.update(&size.to_le_bytes()).update(&mtime.0.to_le_bytes()).update(&mtime.1.to_le_bytes());
    let name = blake3::Hash::from(*name).to_hex();
    let version = version.finalize().to_hex();
    [&name.as_bytes()[..STEM_NAME_LEN], &version.as_bytes()[..STEM_NAME_LEN]].concat()
}

impl Partials {
    /// The partial directory of `parent`, if there is one. What killed transfers left in it is swept up.
    pub(super) fn existing(parent: &Root) -> Result<Option<Self>, FileError> {
        Self::open(parent, false)
    }

    /// The partial directory of `parent`, made if there is none.
    #[expect(clippy::expect_used, reason = "made when it was not there")]
    pub(super) fn create(parent: &Root) -> Result<Self, FileError> {
        let opened = Self::open(parent, true)?;
        Ok(opened.expect("made when it was not there"))
    }

    fn open(parent: &Root, create: bool) -> Result<Option<Self>, FileError> {
        let mut busy = None;
        for _ in 0..PARTIAL_ATTEMPTS {
            let Some(root) = not_found(parent.enter(PARTIAL_DIRECTORY, Follow::Never))? else {
                match create.then(|| parent.make_dir(PARTIAL_DIRECTORY, 0o700)) {
                    None => return Ok(None),
                    Some(Err(error)) if error.errno != libc::EEXIST => return Err(error),
                    Some(_) => continue,
                }
            };
            let Some(lock) = not_found(root.open_dir(b"", Follow::Never))? else { continue };
            if lock.try_lock()? {
                sweep(&root)?;
            }
            let shared = lock.try_lock_shared()?;
            let stat = lock.stat()?;
            if shared && stat.nlink > 0 {
                return Ok(Some(Partials { parent: parent.clone(), root, lock, device: stat.dev }));
            }
            busy = Some(FileError {
                op: "lock",
                name: PARTIAL_DIRECTORY.into(),
                offset: None,
                errno: libc::EBUSY,
            });
            // Another transfer sweeps or removes it just now, which takes it microseconds.
            thread::sleep(Duration::from_millis(1));
        }
        Err(busy.unwrap_or(FileError {
            op: "open",
            name: PARTIAL_DIRECTORY.into(),
            offset: None,
            errno: libc::EAGAIN,
        }))
    }

    /// Names in the directory.
    fn names(&self) -> Result<Vec<Vec<u8>>, FileError> {
        names(&self.root)
    }

    /// Whether an earlier or another transfer has a partial file of this target, of whatever version.
    #[expect(clippy::indexing_slicing, reason = "a stem is two of them")]
    pub(super) fn has(&self, name: &Digest) -> Result<bool, FileError> {
        let prefix = &stem(name, 0, (0, 0))[..STEM_NAME_LEN];
        Ok(self.names()?.iter().any(|n| n.starts_with(prefix) && n.ends_with(b".part")))
    }

    /// Creates the file that becomes a small target. Busy when another transfer is about to give it its name.
    pub(super) fn create_small(&self, stem: &[u8]) -> Result<(File, Vec<u8>), ClaimFault> {
        let name = with_suffix(stem, b".tmp");
        match self.root.create(&name, 0o600) {
            Ok(file) => Ok((file, name)),
            Err(error) if error.errno == libc::EEXIST => Err(ClaimFault::Busy(String::new())),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether an earlier or another transfer has a partial file of this version of a target.
    pub(super) fn has_version(&self, subject: &Subject) -> Result<bool, FileError> {
        let stem = stem(&subject.name, subject.size, subject.mtime);
        Ok(not_found(self.root.stat(&with_suffix(&stem, b".part")))?.is_some())
    }

    /// Takes the partial file of a target, with what an earlier run left in it if that is of the same version. Partial files of other
    /// versions are removed. When the earlier run had chunks of another size this may read all that it left, until `stop` is set.
    pub(super) fn claim(
        self: &Arc<Self>,
        subject: &Subject,
        holder: &str,
        stop: &AtomicBool,
    ) -> Result<Claim, ClaimFault> {
        let stem = stem(&subject.name, subject.size, subject.mtime);
        self.discard_versions(&stem)?;
        let name = with_suffix(&stem, b".part");
        let file = self.lock_part(&stem, &name)?;
        let journal_name = with_suffix(&stem, b".journal");
        let journal = self.open_journal(&journal_name).inspect_err(|_| self.drop_empty(&file, &name))?;
        let left = read_journal(&journal, subject)?.filter(|left| !left.held.is_empty());
        let left = left.filter(|_| file.stat().is_ok_and(|stat| stat.size == subject.size));
        let (journal, held, len) = match left {
            Some(left) if left.subject == *subject => (journal, left.held, left.good_len),
            Some(left) => {
                let regrid = Regrid { from: &left.subject, to: subject, held: &left.held };
                let held = regrid.run(&file, stop)?.ok_or(ClaimFault::Stopped)?;
                let (journal, len) = self.write_journal(&journal_name, subject, &held)?;
                (journal, held, len)
            }
            None => {
                // Before the file is emptied: a journal must never tell of what is not there.
                cut_durably(&journal, 0)?;
                let head = subject.head();
                journal.write_at(&head, 0)?;
                (journal, Vec::new(), head.len() as u64)
            }
        };
        cut_durably(&journal, len)?;
        if held.is_empty() {
            file.truncate(0)?;
            file.truncate(subject.size)?;
        }
        let punched = punch_gaps(&file, subject, &held)?;
        let journal = Journal { subject: *subject, name: journal_name, file: journal, len: Mutex::new(len) };
        journal.append(Some(holder), &[])?;
        Ok(Claim {
            file,
            partials: Arc::clone(self),
            name,
            held,
            holes_are_written: !punched,
            place: None,
            journal: Some(journal),
        })
    }

    fn open_journal(&self, name: &[u8]) -> Result<File, FileError> {
        match not_found(self.root.open_write(name))? {
            Some(file) => Ok(file),
            None => self.root.create(name, 0o600),
        }
    }

    /// Removes a partial file that nothing is in: without a journal no later run could go on with it.
    fn drop_empty(&self, file: &File, name: &[u8]) {
        if file.stat().is_ok_and(|stat| stat.size == 0)
            && let Err(error) = self.root.remove_file(name)
        {
            tracing::debug!(side = "dst", %error, "an empty partial file stays");
        }
    }

    /// Puts a new journal in the place of the old one, durably: what it does not tell of any more may be overwritten then. Returns its length.
    fn write_journal(&self, name: &[u8], subject: &Subject, held: &[Held]) -> Result<(File, u64), FileError> {
        let made = with_suffix(name, b".tmp");
        not_found(self.root.remove_file(&made))?;
        let file = self.root.create(&made, 0o600)?;
        let mut bytes = subject.head();
        bytes.extend(journal::records(subject, bytes.len() as u64, None, held));
        file.write_at(&bytes, 0)?;
        file.sync_data()?;
        self.root.rename(&made, &self.root, name, Replace::Yes)?;
        sync_directory(&self.root)?;
        Ok((file, bytes.len() as u64))
    }

    /// Takes a new file for an object of open length: it has no journal, since a later run could not know it again.
    pub(super) fn claim_open(self: &Arc<Self>, stem: &[u8]) -> Result<Claim, ClaimFault> {
        let (file, name) = self.create_small(stem)?;
        Ok(Claim {
            file,
            partials: Arc::clone(self),
            name,
            held: Vec::new(),
            holes_are_written: false,
            place: None,
            journal: None,
        })
    }

    fn lock_part(&self, stem: &[u8], name: &[u8]) -> Result<File, ClaimFault> {
        for _ in 0..PARTIAL_ATTEMPTS {
            let file = match self.root.open_write(name) {
                Err(error) if error.errno == libc::ENOENT => match self.root.create(name, 0o600) {
                    Err(error) if error.errno == libc::EEXIST => continue,
                    created => created?,
                },
                // It had got its final mode already when its transfer was killed.
                Err(error) if error.errno == libc::EACCES => {
                    self.root.set_mode(name, 0o600)?;
                    self.root.open_write(name)?
                }
                opened => opened?,
            };
            match self.lock(&file, name)? {
                Locked::Yes => return Ok(file),
                Locked::ByAnother => return Err(ClaimFault::Busy(self.holder(stem))),
                Locked::Renamed => {}
            }
        }
        Err(ClaimFault::Busy(self.holder(stem)))
    }

    /// Locks the file that was opened as `name`.
    fn lock(&self, file: &File, name: &[u8]) -> Result<Locked, FileError> {
        if !file.try_lock()? {
            return Ok(Locked::ByAnother);
        }
        let (own, named) = (file.stat()?, not_found(self.root.stat(name))?);
        let is_named = named.is_some_and(|named| (named.dev, named.ino) == (own.dev, own.ino));
        Ok(if is_named { Locked::Yes } else { Locked::Renamed })
    }

    /// Removes partial files of this target that are of another version of its source.
    #[expect(clippy::indexing_slicing, reason = "a stem is two of them")]
    fn discard_versions(&self, stem: &[u8]) -> Result<(), ClaimFault> {
        for name in self.names()? {
            let Some(other) = name.strip_suffix(b".part") else { continue };
            if other == stem || !other.starts_with(&stem[..STEM_NAME_LEN]) {
                continue;
            }
            let Some(file) = not_found(self.root.open_write(&name))? else { continue };
            match self.lock(&file, &name)? {
                Locked::Yes => {}
                Locked::ByAnother => return Err(ClaimFault::Busy(self.holder(other))),
                Locked::Renamed => continue,
            }
            not_found(self.root.remove_file(&name))?;
            not_found(self.root.remove_file(&with_suffix(other, b".journal")))?;
            let Some(others) = DISCARDED.admit(Instant::now()) else { continue };
            tracing::info!(
                side = "dst",
                partial = %String::from_utf8_lossy(other),
                directory = %self.parent.prefix().display(),
                others,
                "the source changed since an earlier run: its partial file is discarded"
            );
        }
        Ok(())
    }

    /// Who has the partial file with this stem, as its journal says.
    #[expect(clippy::indexing_slicing, reason = "a read returns no more than it was given room for")]
    fn holder(&self, stem: &[u8]) -> String {
        let read = || {
            let file = self.root.open_read(&with_suffix(stem, b".journal")).ok()?;
            let mut bytes = vec![0; 64 << 10];
            let len = file.read_at(&mut bytes, 0).ok()?;
            let subject = Subject::read(&bytes[..len])?;
            journal::parse(&subject, &bytes[..len])?.holder
        };
        read().unwrap_or_default()
    }

    /// Everything on this file system becomes durable.
    pub(super) fn sync_filesystem(&self) -> Result<(), FileError> {
        self.lock.sync_filesystem()
    }
}

impl Drop for Partials {
    fn drop(&mut self) {
        if let Ok(true) = self.lock.try_lock() {
            match self.parent.remove_dir(PARTIAL_DIRECTORY) {
                Err(e) if !matches!(e.errno, libc::ENOTEMPTY | libc::EEXIST | libc::ENOENT) => {
                    if let Some(others) = LEFT.admit(Instant::now()) {
                        let cause = errno_text(e.errno);
                        tracing::warn!(side = "dst", error = %e, cause, others, "a directory of partial files stays");
                    }
                }
                _ => {}
            }
        }
    }
}

impl Claim {
    /// Whether a later run can go on with it.
    pub(super) fn is_journaled(&self) -> bool {
        self.journal.is_some()
    }

    /// What is held was not offered to the sender, which will send it: it is written again, and does not count until then, durably.
    pub(super) fn forget_held(&mut self) -> Result<(), FileError> {
        if self.held.is_empty() {
            return Ok(());
        }
        self.held.clear();
        self.holes_are_written = true;
        self.journal.as_ref().map_or(Ok(()), Journal::forget)
    }

    /// Appends chunks whose data is durable to the journal. Nothing happens for files without one.
    pub(super) fn append(&self, chunks: &[Held]) -> Result<(), FileError> {
        self.journal.as_ref().map_or(Ok(()), |journal| journal.append(None, chunks))
    }

    /// The journal becomes durable too.
    pub(super) fn sync_journal(&self) -> Result<(), FileError> {
        self.journal.as_ref().map_or(Ok(()), |journal| journal.file.sync_data())
    }

    /// Removes the journal: the file has its name, or is given up.
    pub(super) fn remove_journal(&self) -> Result<(), FileError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        not_found(self.partials.root.remove_file(&journal.name)).map(drop)
    }

    /// Removes file and journal.
    pub(super) fn discard(&self) -> Result<(), FileError> {
        not_found(self.partials.root.remove_file(&self.name))?;
        self.remove_journal()
    }

    /// Gives the file its name.
    pub(super) fn name_as(&self, last: &[u8]) -> Result<(), FileError> {
        self.partials.root.rename(&self.name, &self.partials.parent, last, Replace::Yes)
    }
}

impl Journal {
    fn forget(&self) -> Result<(), FileError> {
        let mut len = lock(&self.len);
        *len = self.subject.head().len() as u64;
        cut_durably(&self.file, *len)
    }

    fn append(&self, holder: Option<&str>, chunks: &[Held]) -> Result<(), FileError> {
        let mut len = lock(&self.len);
        let bytes = journal::records(&self.subject, *len, holder, chunks);
        // Where in the journal is no place in the object.
        let failed = |error| FileError { op: "write the journal of", offset: None, ..error };
        self.file.write_at(&bytes, *len).map_err(failed)?;
        *len += bytes.len() as u64;
        Ok(())
    }
}

/// Cuts a journal. What is behind does not come back, whatever is written after: a crash may undo a cut and leave what came later.
fn cut_durably(journal: &File, len: u64) -> Result<(), FileError> {
    if journal.stat()?.size <= len {
        return Ok(());
    }
    journal.truncate(len)?;
    journal.sync_data()
}

/// What an earlier run left of an object.
struct Left {
    /// The object, and how that run cut it.
    subject: Subject,
    /// Chunks, ascending.
    held: Vec<Held>,
    /// Bytes of its journal that are good.
    good_len: u64,
}

/// Reads a journal; `None` when it is of another version of the object.
#[expect(clippy::indexing_slicing, reason = "a read returns no more than it was given room for")]
fn read_journal(file: &File, subject: &Subject) -> Result<Option<Left>, FileError> {
    let len = file.stat()?.size;
    let mut bytes = vec![0; HEAD_LEN];
    let read = file.read_at(&mut bytes, 0)?;
    let Some(written) = Subject::read(&bytes[..read]) else { return Ok(None) };
    if !written.is_same_but_for_chunks(subject) || len > written.journal_len_max() {
        return Ok(None);
    }
    bytes.resize(len as usize, 0);
    let read = file.read_at(&mut bytes, 0)?;
    Ok(journal::parse(&written, &bytes[..read]).map(|contents| {
        let chunks: BTreeMap<u32, Digest> = contents.chunks.into_iter().collect();
        Left { subject: written, held: chunks.into_iter().collect(), good_len: contents.good_len }
    }))
}

/// Makes all that is not held a hole. False where the file system cannot.
fn punch_gaps(file: &File, subject: &Subject, held: &[Held]) -> Result<bool, FileError> {
    let chunk = 1_u64 << subject.chunk_log2;
    let mut from = 0;
    for index in held.iter().map(|(index, _)| u64::from(*index)).chain([subject.chunks()]) {
        let end = (index * chunk).min(subject.size);
        if from < end && !file.punch_hole(from, end - from)? {
            return Ok(false);
        }
        from = (index + 1) * chunk;
    }
    Ok(true)
}

fn names(root: &Root) -> Result<Vec<Vec<u8>>, FileError> {
    root.list(b"", Follow::Never)?.map(|entry| entry.map(|e| e.name)).collect()
}

/// Removes what killed transfers left: files without a name, journals without a file, files that nobody came back for.
fn sweep(root: &Root) -> Result<(), FileError> {
    let names: HashSet<Vec<u8>> = names(root)?.into_iter().collect();
    for name in &names {
        let orphan = match name.iter().rposition(|b| *b == b'.').map(|dot| name.split_at(dot)) {
            Some((_, b".tmp")) => true,
            Some((stem, b".journal")) => !names.contains(&with_suffix(stem, b".part")),
            Some((stem, b".part")) if is_old(root, name)? => {
                not_found(root.remove_file(&with_suffix(stem, b".journal")))?;
                true
            }
            _ => false,
        };
        if orphan {
            not_found(root.remove_file(name))?;
        }
    }
    Ok(())
}

/// Judged by the time of its last change of state: the modification time may be the source's already.
fn is_old(root: &Root, name: &[u8]) -> Result<bool, FileError> {
    let Some(stat) = not_found(root.stat(name))? else { return Ok(false) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    Ok(now - stat.ctime.seconds > PARTIAL_AGE_S_MAX as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_became_a_target_meanwhile_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let partials = Partials::create(&Root::open(directory.path()).unwrap()).unwrap();
        let part = b"x.part";
        let file = partials.root.create(part, 0o600).unwrap();
        let other = partials.root.open_write(part).unwrap();
        assert_eq!(partials.lock(&file, part), Ok(Locked::Yes));
        assert_eq!(partials.lock(&other, part), Ok(Locked::ByAnother));
        partials.root.rename(part, &partials.parent, b"x", Replace::Yes).unwrap();
        drop(file);
        assert_eq!(partials.lock(&other, part), Ok(Locked::Renamed));
        partials.root.create(part, 0o600).unwrap();
        assert_eq!(partials.lock(&other, part), Ok(Locked::Renamed));
    }
}
