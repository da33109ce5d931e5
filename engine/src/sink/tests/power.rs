//! A machine that loses power at any moment of a transfer, and a later run that goes on from what is left (a model of redb's kind).
//!
//! The calls of a real sink are recorded. After each of them the disk is made anew as a crash may leave it, in several ways, and looked at:
//! no journal tells of what is not there, each name is whole or as it was. Then a sink goes on from it, to the right end; its calls are
//! recorded and crashed too.

use super::disk::{Crash, Disk};
use super::*;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use xfer_io::file::faults::{Fault, Faults, Op, Rule, Verb};
use xfer_proto::wire::Durability;

/// How thoroughly states are looked for.
#[derive(Clone, Copy)]
struct Effort {
    /// Seeds of crashes that keep some and lose some, for each call.
    seeds: u64,
    /// Every so many of the states that differ are crashed again while a run goes on from them.
    again: usize,
    /// Of such a run every so many calls are crashed after.
    stride: usize,
}

const SAMPLE: Effort = Effort { seeds: 6, again: 15, stride: 3 };
const THOROUGH: Effort = Effort { seeds: 24, again: 6, stride: 1 };

/// A transfer whose calls are recorded.
struct Scenario {
    name: &'static str,
    /// What is there before, durably.
    before: fn(&Path),
    /// What runs while calls are recorded, and ends well unless it says otherwise.
    run: fn(&Path, &Faults),
    /// It does not come to its end, so that nothing need be there.
    fails: bool,
    /// What the sender has.
    sender: fn() -> Sender,
    /// How a later run writes.
    later: fn(&Path) -> SinkSpec,
}

const CHUNKS: usize = 6;

fn large() -> Sender {
    Sender::new().file("f", content(9, CHUNKS * CHUNK - 5))
}

fn large_and_small() -> Sender {
    large().file("g", content(4, 77))
}

fn tree() -> Sender {
    let tree =
        Sender::new().directory("d", 0o755).file("d/a", content(1, 3_000)).file("d/b", content(2, 700));
    tree.inline("d/i", b"inline".to_vec())
        .symlink("s", b"d/a")
        .file("e/x/y", content(3, 100))
        .file("f", content(9, 2 * CHUNK + 1))
}

fn many() -> Sender {
    let name = |n: u64| format!("d{}/f{n}", n % 3);
    (0..12).fold(Sender::new(), |sender, n| sender.file(name(n), content(n, 300 + n as usize)))
}

/// Sends chunks, and syncs after each that is told to.
fn send(sink: &FileSink, sender: &mut Sender, chunks: &[u32], synced: &[usize]) {
    sender.list(sink).expect("decided");
    for (at, chunk) in chunks.iter().enumerate() {
        sender.send(sink, *chunk);
        if synced.contains(&at) {
            sink.sync().expect("synced");
        }
    }
}

fn nothing(_: &Path) {}

fn old_versions(dir: &Path) {
    fs::create_dir(dir.join("d")).expect("made");
    fs::write(dir.join("d/a"), content(71, 9_000)).expect("written");
    fs::write(dir.join("f"), content(72, 10)).expect("written");
}

/// Another run has left three chunks, and did not say good-bye.
fn three_chunks(dir: &Path) {
    send(&sink(dir), &mut large(), &[0, 1, 4], &[2]);
}

/// The same without digests.
fn unverified(dir: &Path) -> SinkSpec {
    SinkSpec { digests: false, ..spec(dir) }
}

fn three_chunks_unverified(dir: &Path) {
    let sink = FileSink::new(unverified(dir));
    let mut sender = large();
    sender.list(&sink).expect("decided");
    for chunk in [0, 1, 4] {
        let (plan, encoding, stored) = sender.encoded(chunk);
        let encoding = Encoding { digests: Vec::new(), ..encoding };
        assert!(matches!(sink.write(&plan, &encoding, &stored), Ok(Verdict::Accepted(_))));
    }
    sink.sync().expect("synced");
}

const SCENARIOS: [Scenario; 11] = [
    Scenario {
        name: "a large file",
        before: nothing,
        run: |dir, _| {
            let sink = sink(dir);
            send(&sink, &mut large(), &[1, 0, 2, 5, 4, 3], &[1, 3]);
            sink.finish().expect("ends");
        },
        fails: false,
        sender: large,
        later: spec,
    },
    Scenario {
        name: "a large file that is cancelled and gone on with",
        before: nothing,
        run: |dir, _| {
            let first = sink(dir);
            send(&first, &mut large(), &[0, 3, 5], &[1]);
            first.abort();
            drop(first);
            large().run(&sink(dir));
        },
        fails: false,
        sender: large,
        later: spec,
    },
    Scenario {
        name: "what a killed run left",
        before: three_chunks,
        run: |dir, _| drop(large().run(&sink(dir))),
        fails: false,
        sender: large,
        later: spec,
    },
    Scenario {
        name: "what came between deciding and the first chunk is written anew",
        before: nothing,
        run: |dir, _| {
            let late = sink(dir);
            let mut sender = large();
            sender.list(&late).expect("decided");
            three_chunks(dir);
            for chunk in [2, 0, 1, 3, 4, 5] {
                sender.send(&late, chunk);
                if chunk == 1 {
                    late.sync().expect("synced");
                }
            }
            late.finish().expect("ends");
        },
        fails: false,
        sender: large,
        later: spec,
    },
    Scenario {
        name: "chunks of another size",
        before: three_chunks,
        run: |dir, _| {
            let sink = FileSink::new(SinkSpec { chunk_log2: CHUNK_LOG2 + 1, ..spec(dir) });
            Sender { chunk_log2: CHUNK_LOG2 + 1, ..large() }.run(&sink);
        },
        fails: false,
        sender: large,
        later: spec,
    },
    Scenario {
        name: "a run without digests before one with them",
        before: three_chunks_unverified,
        run: |dir, _| {
            let sink = sink(dir);
            send(&sink, &mut large(), &[5, 3, 0, 1, 2, 4], &[1, 3]);
            sink.finish().expect("ends");
        },
        fails: false,
        sender: large,
        later: unverified,
    },
    Scenario {
        name: "a tree over older files",
        before: old_versions,
        run: |dir, _| drop(tree().run(&sink(dir))),
        fails: false,
        sender: tree,
        later: spec,
    },
    Scenario {
        name: "a tree, each file made durable by itself",
        before: old_versions,
        run: |dir, _| {
            drop(tree().run(&FileSink::new(SinkSpec { durability: Durability::File, ..spec(dir) })))
        },
        fails: false,
        sender: tree,
        later: spec,
    },
    Scenario {
        name: "more files than are synced one by one",
        before: nothing,
        run: |dir, _| drop(many().run(&sink(dir))),
        fails: false,
        sender: many,
        later: spec,
    },
    Scenario {
        name: "a sync that fails once",
        before: nothing,
        run: |dir, faults| {
            faults.add(Rule::new(Verb::SyncData, Fault::Errno(libc::EIO)).on(".part").after(1).times(1));
            let sink = sink(dir);
            let mut sender = large_and_small();
            send(&sink, &mut sender, &[0, 1], &[0]);
            sink.sync().expect_err("a sync fails");
            // What was under way when it failed still comes.
            for chunk in [2, 3, 4, 5] {
                sender.send(&sink, chunk);
            }
            sink.abort();
        },
        fails: true,
        sender: large_and_small,
        later: spec,
    },
    Scenario {
        name: "a sync that fails once when all is there",
        before: nothing,
        run: |dir, faults| {
            faults.add(Rule::new(Verb::SyncData, Fault::Errno(libc::EIO)).times(1));
            let sink = sink(dir);
            let mut sender = large_and_small();
            send(&sink, &mut sender, &[0, 1, 2, 3, 4, 5, 6], &[]);
            sink.sync().expect_err("a sync fails");
            sink.sync().expect_err("and is not tried again");
            sink.finish().expect_err("nor is the end");
            sink.abort();
        },
        fails: true,
        sender: large_and_small,
        later: spec,
    },
];

/// A directory on a file system in memory where there is one: states are made by the thousand.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).expect("a directory") } else { temporary() }
}

/// What is beneath a directory, but for partial files.
fn named(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).expect("a directory").map(|entry| entry.expect("an entry")) {
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() && entry.file_name() != ".xfer-partial" {
                open.push(entry.path());
            } else if kind.is_file() {
                let name = entry.path().strip_prefix(dir).expect("below").to_path_buf();
                found.insert(name, fs::read(entry.path()).expect("a file"));
            }
        }
    }
    found
}

/// What the sender's files are, by name.
fn wanted(sender: &Sender) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = sender.entries.iter().zip(&sender.contents);
    let files = files.filter(|(entry, _)| entry.kind == EntryKind::File);
    files
        .map(|(entry, content)| {
            (PathBuf::from(String::from_utf8_lossy(&entry.name).as_ref()), content.clone())
        })
        .collect()
}

/// What a journal tells of is in its partial file.
fn journals_are_true(dir: &Path, sender: &Sender, case: &str) {
    for partial in partials_below(dir) {
        for path in fs::read_dir(&partial).expect("a directory").map(|entry| entry.expect("an entry").path())
        {
            if path.extension().is_none_or(|extension| extension != "journal") {
                continue;
            }
            let bytes = fs::read(&path).expect("a journal");
            let Some(subject) = journal::Subject::read(&bytes) else { continue };
            let Some(told) = journal::parse(&subject, &bytes) else { continue };
            let part = fs::read(path.with_extension("part")).unwrap_or_default();
            // Of one that has not the size nothing is taken over.
            if part.len() as u64 != subject.size {
                continue;
            }
            let object = sender
                .entries
                .iter()
                .position(|e| root(e.name.rsplit(|b| *b == b'/').next().expect("a name")) == subject.name);
            let content = &sender.contents[object.expect("an object of the sender")];
            for (index, _) in told.chunks {
                let start = (index as usize) << subject.chunk_log2;
                let end = (start + (1 << subject.chunk_log2)).min(content.len());
                assert!(
                    part[start..end] == content[start..end],
                    "{case}: chunk {index} is journaled and not there"
                );
            }
        }
    }
}

/// A crash that is looked at: where it is in which scenario, and what was there before that.
struct Case<'a> {
    scenario: &'a Scenario,
    before: &'a BTreeMap<PathBuf, Vec<u8>>,
    /// The run before it came to its end.
    done: bool,
    name: String,
}

impl Case<'_> {
    /// Looks at a state, and at what a run makes of it. Tells what that run began with and its calls.
    fn check(&self, disk: &Disk) -> (Disk, Vec<Op>) {
        let dir = scratch();
        disk.put(dir.path());
        let mut sender = (self.scenario.sender)();
        let wanted = wanted(&sender);
        self.is_whole(dir.path(), &wanted);
        journals_are_true(dir.path(), &sender, &self.name);
        let began = Disk::of(dir.path());
        let faults = Faults::below(dir.path()).expect("faults");
        faults.record();
        let spec = (self.scenario.later)(dir.path());
        let digests = spec.digests;
        let ended = run_later(&mut sender, &FileSink::new(spec), digests);
        for end in &ended {
            assert!(end.error.is_none(), "{}: {:?}", self.name, end.error);
            let is_file = sender.entries[end.object as usize].kind == EntryKind::File;
            let wrong = |digest| digests && is_file && digest != root(&sender.contents[end.object as usize]);
            assert!(!end.digest.is_some_and(wrong), "{}: a wrong digest", self.name);
        }
        for (name, content) in &wanted {
            let got = fs::read(dir.path().join(name)).expect("named");
            assert!(got == *content, "{}: {} is wrong", self.name, name.display());
        }
        assert_swept(dir.path());
        (began, faults.recorded())
    }

    /// Each name is whole or as it was; all have their names when that was promised.
    fn is_whole(&self, dir: &Path, wanted: &BTreeMap<PathBuf, Vec<u8>>) {
        let found = named(dir);
        for (name, content) in &found {
            let new = wanted.get(name) == Some(content);
            let old = self.before.get(name) == Some(content);
            assert!(new || old && !self.done, "{}: {} is torn", self.name, name.display());
        }
        assert!(!self.done || found.len() == wanted.len(), "{}: something durable is gone", self.name);
    }
}

fn run_later(sender: &mut Sender, sink: &FileSink, digests: bool) -> Vec<Ended> {
    if digests {
        return sender.run(sink);
    }
    sender.list(sink).expect("decided");
    let mut ended = sender.decided.ended.clone();
    for chunk in sender.missing() {
        let (plan, encoding, stored) = sender.encoded(chunk);
        let encoding = Encoding { digests: Vec::new(), ..encoding };
        match sink.write(&plan, &encoding, &stored).expect("written") {
            Verdict::Accepted(more) => ended.extend(more),
            Verdict::Rejected => panic!("chunk {chunk} is rejected"),
        }
    }
    ended.extend(sink.finish().expect("ends").0);
    ended
}

/// How many states were looked at, and after how many calls.
#[derive(Debug, Default)]
struct Looked {
    calls: usize,
    states: usize,
    twice: usize,
}

fn crash(scenario: &Scenario, effort: Effort) -> Looked {
    let dir = scratch();
    (scenario.before)(dir.path());
    let before = named(dir.path());
    let disk = Disk::of(dir.path());
    let faults = Faults::below(dir.path()).expect("faults");
    faults.record();
    (scenario.run)(dir.path(), &faults);
    let ops = faults.recorded();
    let mut looked = Looked { calls: ops.len(), ..Looked::default() };
    for (count, name, state) in states(&disk, &ops, effort.seeds, 1) {
        let done = count == ops.len() && !scenario.fails;
        let name = format!("{}, {name}", scenario.name);
        let case = Case { scenario, before: &before, done, name };
        let (began, later) = case.check(&state);
        looked.states += 1;
        if !looked.states.is_multiple_of(effort.again) {
            continue;
        }
        for (_, name, state) in states(&began, &later, 1, effort.stride) {
            let name = format!("{}, then {name}", case.name);
            Case { name, done: false, ..case }.check(&state);
            looked.twice += 1;
        }
    }
    looked
}

/// What crashes may leave after every `stride` calls, each state once: after how many calls, which crash, what is left.
fn states<'a>(
    disk: &'a Disk,
    ops: &'a [Op],
    seeds: u64,
    stride: usize,
) -> impl Iterator<Item = (usize, String, Disk)> + 'a {
    let kinds = [Crash::Kept, Crash::Lost, Crash::ContentLost, Crash::NamesLost].into_iter();
    let kinds: Vec<Crash> = kinds.chain((0..seeds).map(Crash::Some)).collect();
    let mut seen = HashSet::new();
    let counts = (0..=ops.len()).rev().step_by(stride);
    let crashes = counts.flat_map(move |count| kinds.clone().into_iter().map(move |kind| (count, kind)));
    crashes.filter_map(move |(count, kind)| {
        let state = disk.after(&ops[..count], kind);
        let is_new = seen.insert((state.digest(), count == ops.len()));
        is_new.then(|| (count, format!("after {count} of {} calls, {kind:?}", ops.len()), state))
    })
}

#[test]
fn a_sample_of_crashes_loses_nothing_that_was_promised() {
    for scenario in &SCENARIOS {
        let looked = crash(scenario, SAMPLE);
        println!("{}: {looked:?}", scenario.name);
        assert!(looked.states > looked.calls / 2, "{looked:?}");
    }
}

#[test]
#[ignore = "minutes; `cargo xtask long crashes`"]
fn no_crash_loses_what_was_promised() {
    for scenario in &SCENARIOS {
        let looked = crash(scenario, THOROUGH);
        println!("{}: {looked:?}", scenario.name);
    }
}
