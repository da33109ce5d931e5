//! Every kind of call fails at either end, at its first, a middle and its last time, once or for ever: what is told, what is left, and
//! that a rerun completes.

use crate::field::{Contents, Copied, Engines, Field, Told, contents, partials, put};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use xfer_engine::{Class, Durability, Error, Side};
use xfer_io::file::faults::{Fault, Faults, Rule, Verb};

/// Calls that a sender makes on its files.
const READING: [Verb; 4] = [Verb::Open, Verb::Read, Verb::Stat, Verb::List];
/// Calls that a receiver makes on its files.
const WRITING: [Verb; 16] = [
    Verb::Open,
    Verb::Create,
    Verb::Read,
    Verb::Write,
    Verb::Truncate,
    Verb::Allocate,
    Verb::SyncData,
    Verb::Sync,
    Verb::SyncFileSystem,
    Verb::Stat,
    Verb::List,
    Verb::MakeDir,
    Verb::Rename,
    Verb::Remove,
    Verb::Symlink,
    Verb::SetTime,
];

/// What the system says when this kind of call fails.
fn errnos(verb: Verb, side: Side) -> &'static [i32] {
    match (side, verb) {
        (Side::Source, Verb::Open) => &[libc::EIO, libc::EACCES],
        (Side::Source, _) => &[libc::EIO],
        (_, Verb::Write) => &[libc::EIO, libc::ENOSPC, libc::EDQUOT],
        (_, Verb::Create | Verb::Rename | Verb::MakeDir | Verb::Symlink) => {
            &[libc::EIO, libc::ENOSPC, libc::EROFS]
        }
        _ => &[libc::EIO],
    }
}

fn class(errno: i32) -> Class {
    match errno {
        libc::EROFS => Class::Refused,
        libc::EACCES => Class::Denied,
        _ => Class::Fatal,
    }
}

/// A fault that was made.
struct Case {
    side: Side,
    verb: Verb,
    errno: i32,
    /// Calls that went well before.
    after: u64,
    /// Or only one failed.
    for_ever: bool,
}

impl Case {
    fn name(&self) -> String {
        let Case { side, verb, errno, after, for_ever } = self;
        format!("{side} {verb:?} {errno} after {after}, for ever: {for_ever}")
    }

    fn faults<'f>(&self, field: &'f Field) -> &'f Faults {
        match self.side {
            Side::Source => &field.source,
            Side::Destination => &field.destination,
        }
    }

    /// Makes the fault, copies, and looks at all that must hold. False when the fault was not met.
    fn run(&self, engines: &Engines, durability: Durability) -> bool {
        let case = self.name();
        let field = prepared(durability);
        let before = contents(field.to.path());
        let rule = Rule::new(self.verb, Fault::Errno(self.errno)).after(self.after);
        self.faults(&field).add(if self.for_ever { rule } else { rule.times(1) });
        let copied = field.copy(engines);
        if self.faults(&field).struck() == 0 {
            return false;
        }
        field.is_whole(&before, &case);
        self.is_told(&copied, &field, &case);
        field.leaks_nothing(&case);
        if !self.for_ever {
            assert_eq!(left(&field), Vec::<PathBuf>::new(), "{case}");
        }
        field.completes(engines, &case);
        true
    }

    /// Both ends name the end, the object, the place and the reason; what is not told did not matter.
    fn is_told(&self, copied: &Copied, field: &Field, case: &str) {
        if copied.is_clean() {
            assert_eq!(contents(field.from.path()), contents(field.to.path()), "{case}: told as done");
            return;
        }
        let errors = [copied.sender.errors(), copied.receiver.errors()].concat();
        for error in &errors {
            self.is_complete(error, case);
        }
        // Each end tells, whichever it happened at. Only that a file may have changed after its last byte went comes too late for the
        // receiver, who has it as it was listed.
        let fails = |told: &Told| told.outcome.error.is_some() || told.outcome.progress.failed > 0;
        let late = self.verb == Verb::Stat && contents(field.from.path()) == contents(field.to.path());
        assert!(fails(&copied.sender) && (late || fails(&copied.receiver)), "{case}: {copied:#?}");
    }

    fn is_complete(&self, error: &Error, case: &str) {
        assert_eq!(error.side, Some(self.side), "{case}: {error:?}");
        assert_eq!(error.errno, Some(self.errno), "{case}: {error:?}");
        assert_eq!(error.class, class(self.errno), "{case}: {error:?}");
        let name = error.name.as_ref().unwrap_or_else(|| panic!("{case}: no object: {error:?}"));
        let ours = name.windows(5).any(|part| part == b".xfer") || name.is_empty();
        assert!(!ours, "{case}: not the user's object: {error:?}");
        let text = std::io::Error::from_raw_os_error(self.errno).to_string();
        let text = text.split(" (os").next().expect("a text");
        assert!(error.causes.iter().any(|cause| cause == text), "{case}: {error:?}");
        let placed = matches!(self.verb, Verb::Read | Verb::Write);
        assert!(!placed || error.offset.is_some(), "{case}: {error:?}");
    }
}

/// What is in partial directories that no later run can go on with.
fn left(field: &Field) -> Vec<PathBuf> {
    let directories = partials(field.to.path()).into_iter();
    let names = directories.flat_map(|directory| fs::read_dir(directory).expect("a directory"));
    let names: Vec<PathBuf> = names.map(|entry| entry.expect("an entry").path()).collect();
    let goes_on = |path: &PathBuf| {
        let other = if path.extension().is_some_and(|e| e == "part") { "journal" } else { "part" };
        names.contains(&path.with_extension(other))
    };
    names.iter().filter(|path| !goes_on(path)).cloned().collect()
}

/// A field whose destination has an older version of two files.
fn prepared(durability: Durability) -> Field {
    let mut field = Field::new();
    field.durability = durability;
    put(field.to.path(), "large", 77, 1_000);
    put(field.to.path(), "sub/packed0", 78, 2_000);
    field
}

/// How often each kind of call is made when nothing fails.
fn counts(engines: &Engines, durability: Durability) -> impl Fn(Side, Verb) -> u64 {
    let field = prepared(durability);
    let copied = field.copy(engines);
    assert!(copied.is_clean(), "{copied:#?}");
    move |side, verb| match side {
        Side::Source => field.source.count(verb),
        Side::Destination => field.destination.count(verb),
    }
}

fn every_call(side: Side, verbs: &[Verb], durability: Durability) {
    let engines = Engines::new();
    let count = counts(&engines, durability);
    let (mut met, mut missed, mut wrong) = (0, Vec::new(), Vec::new());
    for verb in verbs {
        let calls = count(side, *verb);
        let mut instants = vec![0, calls / 2, calls.saturating_sub(1)];
        instants.dedup();
        for after in instants.into_iter().filter(|after| *after < calls) {
            for errno in errnos(*verb, side) {
                for for_ever in [false, true] {
                    let case = Case { side, verb: *verb, errno: *errno, after, for_ever };
                    match catch_unwind(AssertUnwindSafe(|| case.run(&engines, durability))) {
                        Ok(true) => met += 1,
                        Ok(false) => missed.push(case.name()),
                        Err(panic) => wrong.push(panic.downcast_ref::<String>().cloned().unwrap_or_default()),
                    }
                }
            }
        }
    }
    println!("{met} faults, {} not met: {missed:?}", missed.len());
    assert!(wrong.is_empty(), "{} of them wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(met > 4 * verbs.len(), "{met} faults only");
    assert!(missed.len() * 5 < met, "{missed:?}");
}

#[test]
fn whatever_fails_at_the_source_is_told_and_a_rerun_completes() {
    every_call(Side::Source, &READING, Durability::Batch);
}

#[test]
fn whatever_fails_at_the_destination_is_told_and_a_rerun_completes() {
    every_call(Side::Destination, &WRITING, Durability::Batch);
}

#[test]
fn whatever_fails_where_each_file_is_made_durable_is_told_and_a_rerun_completes() {
    let verbs = [Verb::SyncData, Verb::Sync, Verb::Rename, Verb::Write];
    every_call(Side::Destination, &verbs, Durability::File);
}

#[test]
fn a_bad_place_is_named_to_the_byte() {
    let engines = Engines::new();
    let reading: fn(&Field) -> &Faults = |field| &field.source;
    let writing: fn(&Field) -> &Faults = |field| &field.destination;
    let cases = [(reading, Verb::Read, libc::EIO), (writing, Verb::Write, libc::ENOSPC)];
    let places = [0, 1, 65_535, 65_536, 65_537, 6 * 65_536 - 6];
    for ((faults, verb, errno), place) in cases.into_iter().flat_map(|case| places.map(|place| (case, place)))
    {
        let field = Field::empty();
        field.put("large", 1, 6 * 65_536 - 5);
        faults(&field).add(Rule::new(verb, Fault::Errno(errno)).at(place));
        let copied = field.copy(&engines);
        for told in [&copied.sender, &copied.receiver] {
            let errors = told.errors();
            let error = errors.first().unwrap_or_else(|| panic!("{verb:?} at {place}: {copied:#?}"));
            assert_eq!((error.offset, error.errno), (Some(place), Some(errno)), "{error:?}");
            assert!(error.name.as_ref().is_some_and(|name| name.ends_with(b"large")), "{error:?}");
        }
        field.is_whole(&Contents::new(), "a bad place");
        field.completes(&engines, &format!("{verb:?} at {place}"));
    }
}

/// The sender is told while most of the file is neither granted nor read: it must not leave the receiver waiting for the rest.
#[test]
fn a_long_file_that_cannot_be_received_ends_at_its_first_chunk() {
    let engines = Engines::new();
    let field = Field::empty();
    field.put("long", 1, 300 * 65_536);
    field.put("short", 2, 5_000);
    field.destination.add(Rule::new(Verb::Create, Fault::Errno(libc::EACCES)).on(".part"));
    let copied = field.copy(&engines);
    for told in [&copied.sender, &copied.receiver] {
        let errors = told.errors();
        let [error] = errors[..] else { panic!("{copied:#?}") };
        assert_eq!(error.errno, Some(libc::EACCES), "{error:?}");
    }
    assert!(!field.to.path().join("long").exists());
    assert_eq!(fs::read(field.to.path().join("short")).expect("a file").len(), 5_000);
    field.completes(&engines, "a long file");
}

#[test]
fn calls_that_fall_short_or_are_interrupted_are_gone_on_with() {
    let engines = Engines::new();
    for fault in [Fault::Short(1_000), Fault::Errno(libc::EINTR)] {
        let field = Field::new();
        for (faults, verb) in [(&field.source, Verb::Read), (&field.destination, Verb::Write)] {
            let rule = Rule::new(verb, fault.clone());
            faults.add(if matches!(fault, Fault::Errno(_)) { rule.times(9) } else { rule });
        }
        let copied = field.copy(&engines);
        assert!(copied.is_clean(), "{copied:#?}");
        assert!(field.source.struck() >= 9 && field.destination.struck() >= 9);
        assert_eq!(contents(field.from.path()), contents(field.to.path()));
        field.leaks_nothing("short");
    }
}
