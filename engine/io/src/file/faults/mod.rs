//! Faults below `sys`, for tests: chosen calls on files beneath one directory fail, fall short, or let something happen first; all of them
//! can be recorded.
//!
//! There is nothing to switch it on but this interface, so that only the process of a test can, and it is there only with the feature
//! `faults`, which development dependencies alone ask for (`cargo xtask tidy`). Whose calls are meant is told by where the file lies: tests
//! that run at once do not disturb each other, and the ends of a transfer in one process are told apart.

mod record;
mod rule;

pub use record::Op;
pub use rule::{Fault, Rule, Verb};

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::call::Call;
use rule::{Armed, Strike};

static SESSIONS: Mutex<Vec<Arc<Session>>> = Mutex::new(Vec::new());
/// How many there are: without any, a call costs one load.
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The faults of one directory and all beneath it, until this is dropped.
#[derive(Debug)]
pub struct Faults(Arc<Session>);

#[derive(Debug)]
struct Session {
    directory: PathBuf,
    state: Mutex<State>,
    /// Held around calls that are recorded: their order is the record's.
    order: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Armed>,
    struck: u64,
    counts: HashMap<Verb, u64>,
    record: Option<Vec<Op>>,
}

impl Faults {
    /// Watches the calls on what lies beneath `directory`, and on itself. Nothing fails yet.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn below(directory: &Path) -> io::Result<Faults> {
        let directory = directory.canonicalize()?;
        let session = Arc::new(Session { directory, state: Mutex::default(), order: Mutex::default() });
        lock(&SESSIONS).push(Arc::clone(&session));
        COUNT.fetch_add(1, Ordering::SeqCst);
        Ok(Faults(session))
    }

    /// From now on calls are treated as `rule` says. Of several rules the first that applies counts.
    pub fn add(&self, rule: Rule) {
        lock(&self.0.state).rules.push(Armed::new(rule));
    }

    /// Nothing fails any more.
    pub fn clear(&self) {
        lock(&self.0.state).rules.clear();
    }

    /// How many calls rules have applied to.
    pub fn struck(&self) -> u64 {
        lock(&self.0.state).struck
    }

    /// How many calls of a kind there were.
    pub fn count(&self, verb: Verb) -> u64 {
        lock(&self.0.state).counts.get(&verb).copied().unwrap_or(0)
    }

    /// From now on what changes the disk is recorded, in the order in which it happens.
    pub fn record(&self) {
        lock(&self.0.state).record = Some(Vec::new());
    }

    /// What was recorded; recording ends.
    pub fn recorded(&self) -> Vec<Op> {
        lock(&self.0.state).record.take().unwrap_or_default()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        lock(&SESSIONS).retain(|session| !Arc::ptr_eq(session, &self.0));
        COUNT.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The session whose directory holds what is called on, and where that is.
fn session_of(call: &Call<'_>) -> Option<(Arc<Session>, PathBuf)> {
    if COUNT.load(Ordering::SeqCst) == 0 {
        return None;
    }
    let path = rule::path(call)?;
    let session = lock(&SESSIONS).iter().find(|session| path.starts_with(&session.directory)).cloned();
    session.map(|session| (session, path))
}

pub(super) fn around<T>(call: &Call<'_>, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match session_of(call) {
        None => run(),
        Some((session, path)) => session.run(call, &path, |_| run(), |_| usize::MAX),
    }
}

pub(super) fn sized(call: &Call<'_>, run: impl FnOnce(usize) -> io::Result<usize>) -> io::Result<usize> {
    match session_of(call) {
        None => run(usize::MAX),
        Some((session, path)) => session.run(call, &path, run, |size| *size),
    }
}

impl Session {
    fn run<T>(
        &self,
        call: &Call<'_>,
        path: &Path,
        run: impl FnOnce(usize) -> io::Result<T>,
        size: impl FnOnce(&T) -> usize,
    ) -> io::Result<T> {
        let strike = self.strike(call, path);
        let mut most = usize::MAX;
        match strike {
            Some(Strike::Fail(errno)) => {
                record::failed(call).into_iter().for_each(|op| self.note(op));
                return Err(io::Error::from_raw_os_error(errno));
            }
            Some(Strike::Short(len)) => most = len,
            // Outside of every lock: it may take its time.
            Some(Strike::First(act)) => act(),
            None => {}
        }
        if !record::matters(call) || lock(&self.state).record.is_none() {
            return run(most);
        }
        let _order = lock(&self.order);
        let before = record::before(call);
        let done = run(most)?;
        if let Some(op) = record::after(call, before, size(&done)) {
            self.note(op);
        }
        Ok(done)
    }

    fn note(&self, op: Op) {
        if let Some(record) = &mut lock(&self.state).record {
            record.push(op);
        }
    }

    fn strike(&self, call: &Call<'_>, path: &Path) -> Option<Strike> {
        let verb = rule::verb(call);
        let mut state = lock(&self.state);
        *state.counts.entry(verb).or_default() += 1;
        let strike = state.rules.iter_mut().find_map(|rule| rule.strike(verb, call, path))?;
        state.struck += 1;
        Some(strike)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Replace, Root};
    use std::fs;

    fn watched() -> (tempfile::TempDir, Root, Faults) {
        let dir = tempfile::tempdir().expect("directory");
        let root = Root::open(dir.path()).expect("root");
        let faults = Faults::below(dir.path()).expect("faults");
        (dir, root, faults)
    }

    #[test]
    fn a_rule_applies_to_its_calls_and_no_others() {
        let (dir, root, faults) = watched();
        let file = root.create(b"f", 0o600).expect("created");
        let other = root.create(b"g", 0o600).expect("created");
        faults.add(Rule::new(Verb::Write, Fault::Errno(libc::EIO)).on("/f").after(1).times(2));
        let wrote = |n| file.write_at(&[n], 0).map_err(|error| (error.errno, error.offset));
        let failed = Err((libc::EIO, Some(0)));
        assert_eq!([wrote(1), wrote(2), wrote(3), wrote(4)], [Ok(()), failed, failed, Ok(())]);
        other.write_at(b"x", 0).expect("not its file");
        assert_eq!((faults.struck(), faults.count(Verb::Write)), (2, 5));
        assert_eq!(fs::read(dir.path().join("f")).expect("read"), [4]);
        faults.add(Rule::new(Verb::Write, Fault::Errno(libc::EIO)));
        assert!(wrote(5).is_err());
        faults.clear();
        assert_eq!(wrote(6), Ok(()));
    }

    #[test]
    fn content_before_the_bad_byte_is_moved() {
        let (dir, root, faults) = watched();
        let file = root.create(b"f", 0o600).expect("created");
        faults.add(Rule::new(Verb::Write, Fault::Errno(libc::ENOSPC)).at(5));
        let error = file.write_at(b"0123456789", 2).expect_err("bad byte");
        assert_eq!((error.errno, error.offset), (libc::ENOSPC, Some(5)));
        assert_eq!(fs::read(dir.path().join("f")).expect("read"), b"\0\x00012");
        file.write_at(b"ab", 6).expect("behind it");
        faults.clear();
        faults.add(Rule::new(Verb::Read, Fault::Errno(libc::EIO)).at(6));
        let error = file.read_at(&mut [0; 8], 0).expect_err("bad byte");
        assert_eq!((error.errno, error.offset), (libc::EIO, Some(6)));
        assert_eq!(file.read_at(&mut [0; 6], 0), Ok(6));
    }

    #[test]
    fn short_calls_and_interrupted_ones_are_gone_on_with() {
        let (_dir, root, faults) = watched();
        let file = root.create(b"f", 0o600).expect("created");
        faults.add(Rule::new(Verb::Write, Fault::Errno(libc::EINTR)).times(3));
        faults.add(Rule::new(Verb::Write, Fault::Short(3)));
        faults.add(Rule::new(Verb::Read, Fault::Short(0)));
        file.write_at(b"0123456789", 0).expect("written");
        let mut all = [0; 11];
        assert_eq!(file.read_at(&mut all, 0), Ok(10));
        assert_eq!(&all[..10], b"0123456789");
        assert_eq!((faults.count(Verb::Write), faults.count(Verb::Read)), (3 + 4, 11));
    }

    #[test]
    fn what_changes_the_disk_is_recorded() {
        let (dir, root, faults) = watched();
        let top =
            fs::metadata(dir.path()).map(|meta| std::os::unix::fs::MetadataExt::ino(&meta)).expect("ino");
        faults.record();
        let file = root.create(b"f", 0o600).expect("created");
        let ino = file.stat().expect("stat").ino;
        file.write_at(b"abc", 7).expect("written");
        faults.add(Rule::new(Verb::SyncData, Fault::Errno(libc::EIO)).times(1));
        assert!(file.sync_data().is_err());
        file.sync_data().expect("the second time");
        root.rename(b"f", &root, b"g", Replace::Yes).expect("renamed");
        root.remove_file(b"g").expect("removed");
        let name = |name: &[u8]| name.to_vec();
        let expected = [
            Op::Create { dir: top, name: name(b"f"), ino },
            Op::Write { ino, offset: 7, bytes: name(b"abc") },
            Op::SyncFailed { ino },
            Op::Sync { ino },
            Op::Rename { from: (top, name(b"f")), to: (top, name(b"g")), ino },
            Op::Remove { dir: top, name: name(b"g") },
        ];
        assert_eq!(faults.recorded(), expected);
        assert_eq!(faults.recorded(), []);
    }

    #[test]
    fn what_lies_elsewhere_is_left_alone_and_an_end_is_an_end() {
        let (_dir, root, faults) = watched();
        let (_other, elsewhere, _faults) = watched();
        faults.add(Rule::new(Verb::Create, Fault::Errno(libc::EDQUOT)));
        elsewhere.create(b"f", 0o600).expect("not there");
        assert_eq!(root.create(b"f", 0o600).map_err(|error| error.errno).err(), Some(libc::EDQUOT));
        drop(faults);
        root.create(b"f", 0o600).expect("no faults any more");
    }

    #[test]
    fn something_may_happen_before_a_call() {
        let (dir, root, faults) = watched();
        let path = dir.path().join("f");
        fs::write(&path, "long").expect("written");
        let file = root.open_read(b"f").expect("open");
        let cut = Arc::new(move || fs::write(&path, "x").expect("cut"));
        faults.add(Rule::new(Verb::Read, Fault::First(cut)).times(1));
        assert_eq!(file.read_at(&mut [0; 4], 0), Ok(1));
    }
}
