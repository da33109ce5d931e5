//! A source that changes while it is sent: it is named and fails alone, is never mixed, and a rerun has it as it is then.

use crate::field::{CHUNK, Contents, Copied, Engines, Field, contents, put};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use xfer_engine::sink::Action;
use xfer_engine::{Class, Error, Side};
use xfer_io::file::faults::{Fault, Rule, Verb};

/// What happens to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Overwritten,
    Cut,
    Grown,
    Deleted,
    Replaced,
    BecameDirectory,
}

const CHANGES: [Change; 6] = [
    Change::Overwritten,
    Change::Cut,
    Change::Grown,
    Change::Deleted,
    Change::Replaced,
    Change::BecameDirectory,
];

impl Change {
    fn make(self, top: &Path) {
        let path = top.join("large");
        let open = || fs::File::options().write(true).open(&path).expect("open");
        match self {
            // In its last chunk: what was read before would be of the old version, the rest of the new one.
            Change::Overwritten => {
                std::os::unix::fs::FileExt::write_all_at(&open(), b"another", 5 * CHUNK as u64 + 9)
                    .expect("written");
            }
            Change::Cut => open().set_len(4 * CHUNK as u64 + 1).expect("cut"),
            Change::Grown => open().set_len(9 * CHUNK as u64).expect("grown"),
            Change::Deleted => fs::remove_file(&path).expect("removed"),
            Change::Replaced => {
                put(top, "other", 99, 6 * CHUNK - 5);
                fs::rename(top.join("other"), &path).expect("renamed");
            }
            Change::BecameDirectory => {
                fs::remove_file(&path).expect("removed");
                fs::create_dir(&path).expect("made");
            }
        }
    }
}

/// When it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instant {
    /// It is listed and not open yet.
    BeforeOpen,
    /// So many of its chunks were read.
    Between(u64),
    /// All chunks were read; it is looked at for the last time.
    AfterLast,
}

const INSTANTS: [Instant; 5] =
    [Instant::BeforeOpen, Instant::Between(1), Instant::Between(3), Instant::Between(5), Instant::AfterLast];

/// A field whose large file is old, so that whatever changes it can be told by its time.
fn field() -> Field {
    let field = Field::new();
    let file = fs::File::options().write(true).open(field.from.path().join("large")).expect("open");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("a time");
    field
}

/// How often a large file is looked at while it is listed and sent.
fn looks(engines: &Engines) -> u64 {
    let field = field();
    let looks = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&looks);
    let counted = Fault::First(Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    field.source.add(Rule::new(Verb::Stat, counted).on("/large"));
    assert!(field.copy(engines).is_clean());
    looks.load(Ordering::Relaxed)
}

/// Copies while the file changes; `None` where its last look did not come: how often a file is looked at depends on how many threads open it.
fn copied(field: &Field, engines: &Engines, change: Change, instant: Instant) -> Option<Copied> {
    let top = field.from.path().to_path_buf();
    let made = Fault::First(Arc::new(move || change.make(&top)));
    let rule = match instant {
        Instant::BeforeOpen => Rule::new(Verb::Open, made),
        Instant::Between(chunks) => Rule::new(Verb::Read, made).after(chunks),
        Instant::AfterLast => Rule::new(Verb::Stat, made).after(looks(engines) - 1),
    };
    field.source.add(rule.on("/large").times(1));
    let copied = field.copy(engines);
    let happened = field.source.struck() == 1;
    assert!(happened || matches!(instant, Instant::AfterLast), "{change:?} {instant:?} did not happen");
    happened.then_some(copied)
}

/// The error says what happened, at which end, to what.
fn is_told(error: &Error, change: Change, instant: Instant) {
    let case = format!("{change:?} {instant:?}: {error}");
    assert_eq!(error.side, Some(Side::Source), "{case}");
    assert!(error.name.as_ref().is_some_and(|name| name.ends_with(b"large")), "{case}");
    let gone: &[i32] = match (change, instant) {
        (Change::Deleted, _) => &[libc::ENOENT],
        // It is removed first: another I/O thread may open it before the directory is there.
        (Change::BecameDirectory, Instant::BeforeOpen) => &[libc::EISDIR, libc::ENOENT],
        _ => &[],
    };
    let changed = error.to_string().contains("source changed while sending");
    match error.class {
        Class::Digest => assert!(changed, "{case}"),
        _ => {
            assert!(
                error.errno.is_some_and(|errno| gone.contains(&errno)) && !error.causes.is_empty(),
                "{case}"
            );
        }
    }
}

fn changes(engines: &Engines, change: Change, instant: Instant) {
    let case = format!("{change:?} {instant:?}");
    let (field, listed, copied) = (0..20)
        .find_map(|_| {
            let field = field();
            let listed = contents(field.from.path());
            let copied = copied(&field, engines, change, instant)?;
            Some((field, listed, copied))
        })
        .unwrap_or_else(|| panic!("{case} did not happen"));
    let errors = copied.sender.errors();
    let [error] = errors[..] else { panic!("{case}: {copied:#?}") };
    is_told(error, change, instant);
    // The rest of the transfer goes on.
    assert!(copied.sender.outcome.error.is_none() && copied.receiver.outcome.error.is_none(), "{case}");
    let mut got = contents(field.to.path());
    let large = got.remove(Path::new("large"));
    assert!(large.is_none() || large.as_ref() == listed.get(Path::new("large")), "{case}: it is mixed");
    let others: Contents = listed.into_iter().filter(|(name, _)| name != Path::new("large")).collect();
    assert!(got == others, "{case}: {:?} of {:?}", got.keys(), others.keys());
    let told: Vec<&Error> = copied.receiver.errors();
    match large {
        // It came whole, as it was listed, before it was seen to have changed.
        Some(_) => assert!(told.is_empty(), "{case}: {copied:#?}"),
        None => is_told(told.first().expect("the receiver is told"), change, instant),
    }
    field.leaks_nothing(&case);
    field.source.clear();
    let rerun = field.copy(engines);
    if change == Change::BecameDirectory && field.to.path().join("large").is_file() {
        return;
    }
    assert!(rerun.is_clean(), "{case}: {rerun:#?}");
    let got = contents(field.to.path());
    assert!(
        contents(field.from.path()).iter().all(|(name, content)| got.get(name) == Some(content)),
        "{case}"
    );
}

#[test]
fn whatever_happens_to_a_file_while_it_is_sent_it_is_named_and_not_mixed() {
    let engines = Engines::new();
    for change in CHANGES {
        for instant in INSTANTS {
            changes(&engines, change, instant);
        }
    }
}

#[test]
fn a_file_that_changes_between_two_runs_is_sent_anew() {
    let engines = Engines::new();
    for change in [Change::Overwritten, Change::Cut, Change::Grown, Change::Replaced] {
        let field = field();
        field.destination.add(Rule::new(Verb::Write, Fault::Errno(libc::EIO)).on(".part").after(4));
        let copied = field.copy(&engines);
        assert!(copied.receiver.outcome.error.is_some(), "{change:?}: {copied:#?}");
        field.destination.clear();
        change.make(field.from.path());
        let copied = field.copy(&engines);
        assert!(copied.is_clean(), "{change:?}: {copied:#?}");
        let large = copied.receiver.ends.iter().find(|end| end.name == b"large").expect("it ended");
        assert_eq!((large.action, large.reused), (Action::Copied, 0), "{change:?}");
        assert!(contents(field.from.path()) == contents(field.to.path()), "{change:?}");
        field.leaks_nothing("changed between two runs");
    }
}

#[test]
fn a_file_that_changes_while_a_second_run_goes_on_is_not_mixed_with_the_first() {
    let engines = Engines::new();
    for change in [Change::Overwritten, Change::Cut, Change::Replaced] {
        let field = field();
        let listed = contents(field.from.path());
        field.destination.add(Rule::new(Verb::Write, Fault::Errno(libc::EIO)).on(".part").after(4));
        assert!(field.copy(&engines).receiver.outcome.error.is_some());
        field.destination.clear();
        let again = copied(&field, &engines, change, Instant::Between(0)).expect("it changed");
        let errors = again.sender.errors();
        let [error] = errors[..] else { panic!("{change:?}: {again:#?}") };
        is_told(error, change, Instant::Between(0));
        let large = contents(field.to.path()).remove(Path::new("large"));
        assert!(large.is_none() || large.as_ref() == listed.get(Path::new("large")), "{change:?}: mixed");
        field.source.clear();
        assert!(field.copy(&engines).is_clean());
        assert!(contents(field.from.path()) == contents(field.to.path()), "{change:?}");
    }
}
