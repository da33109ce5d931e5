//! A sink that is dropped is a process that was killed: what a later run finds must be right at every step.

use super::directory::lock;
use super::*;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use xfer_io::file::Follow;

const CHUNKS: usize = 6;

fn large() -> Sender {
    Sender::new().file("f", content(9, CHUNKS * CHUNK - 5))
}

/// The files in the destination's partial directory.
fn partial(dir: &Path, suffix: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(dir.join(".xfer-partial")).ok()?;
    entries.map(|e| e.expect("entry").path()).find(|p| p.to_string_lossy().ends_with(suffix))
}

/// Runs to the end and expects this many bytes to be taken over.
fn rerun(dir: &Path, reused: u64) {
    rerun_in(dir, CHUNK_LOG2, reused);
}

fn rerun_in(dir: &Path, chunk_log2: u8, reused: u64) {
    let mut sender = Sender { chunk_log2, ..large() };
    let ended = sender.run(&sink_in(dir, chunk_log2));
    assert_eq!(ended[0].reused, reused);
    assert_eq!(ended[0].bytes + ended[0].reused, sender.contents[0].len() as u64);
    assert_eq!(ended[0].action, if reused > 0 { Action::Resumed } else { Action::Copied });
    assert_eq!(ended[0].digest, Some(root(&sender.contents[0])));
    assert_eq!(fs::read(dir.join("f")).expect("named"), sender.contents[0]);
    assert_eq!(mtime(&dir.join("f")), MTIME);
    assert_swept(dir);
}

/// Writes chunks, syncing after the first `synced` of them, and dies.
fn killed(dir: &Path, chunks: &[u32], synced: usize) {
    killed_in(dir, CHUNK_LOG2, chunks, synced);
}

fn sink_in(dir: &Path, chunk_log2: u8) -> FileSink {
    FileSink::new(SinkSpec { chunk_log2, ..spec(dir) })
}

fn killed_in(dir: &Path, chunk_log2: u8, chunks: &[u32], synced: usize) {
    let mut sender = Sender { chunk_log2, ..large() };
    let sink = sink_in(dir, chunk_log2);
    sender.list(&sink).expect("decided");
    for (done, chunk) in chunks.iter().enumerate() {
        if done == synced {
            sink.sync().expect("synced");
        }
        sender.send(&sink, *chunk);
    }
    if synced == chunks.len() {
        sink.sync().expect("synced");
    }
}

#[test]
fn what_was_journaled_is_taken_over_and_the_rest_sent_again() {
    let orders: [&[u32]; 5] = [&[0], &[0, 1, 2], &[4, 2, 0], &[5, 0, 3], &[1, 2, 3, 4, 5]];
    for order in orders {
        for synced in 0..=order.len() {
            let dir = temporary();
            killed(dir.path(), order, synced);
            let held = |chunk: &u32| (CHUNK - if *chunk == 5 { 5 } else { 0 }) as u64;
            rerun(dir.path(), order[..synced].iter().map(held).sum());
        }
    }
}

/// What is written of the objects in progress cannot be made durable any more: `/proc` has no way to.
fn unsyncable(sink: &FileSink) {
    let nowhere = Root::open("/proc").expect("root");
    let objects: Vec<_> = lock(&sink.objects).values().cloned().collect();
    for object in objects {
        let mut state = lock(&object.state);
        let parts = state.parts.as_mut().expect("in progress");
        let claim = Arc::get_mut(&mut parts.claim).expect("nobody writes");
        claim.file = nowhere.open_dir(b"", Follow::Never).expect("opened");
    }
}

#[test]
fn a_journal_does_not_name_what_could_not_be_made_durable() {
    let dir = temporary();
    {
        let mut sender = large();
        let sink = sink(dir.path());
        sender.list(&sink).expect("decided");
        sender.send(&sink, 0);
        sink.sync().expect("synced");
        sender.send(&sink, 1);
        unsyncable(&sink);
        assert!(sink.sync().is_err());
    }
    rerun(dir.path(), CHUNK as u64);
}

#[test]
fn a_run_that_dies_twice_goes_on_from_both() {
    let dir = temporary();
    killed(dir.path(), &[0, 1], 2);
    let mut sender = large();
    {
        let sink = sink(dir.path());
        sender.list(&sink).expect("decided");
        assert_eq!(sender.missing(), [2, 3, 4, 5]);
        sender.send(&sink, 4);
        sink.abort();
        assert!(sink.write(&sender.plan(2), &sender.encoded(2).1, &[]).is_err(), "closed");
    }
    rerun(dir.path(), 3 * CHUNK as u64);
}

#[test]
fn a_run_that_dies_before_its_last_name_needs_no_content() {
    let dir = temporary();
    let mut sender = large();
    {
        // Dies with everything written and journaled: as after the data was made durable, before the rename.
        let sink = sink(dir.path());
        sender.list(&sink).expect("decided");
        for chunk in 0..5 {
            sender.send(&sink, chunk);
        }
        sink.sync().expect("synced");
    }
    let part = partial(dir.path(), ".part").expect("partial file");
    {
        let sink = sink(dir.path());
        sender.list(&sink).expect("decided");
        sender.send(&sink, 5);
    }
    // The last chunk is in the file but not in the journal, mode and time are set already.
    assert_eq!(mtime(&part), MTIME);
    rerun(dir.path(), 5 * CHUNK as u64);
}

/// Dies with all written and journaled, before the rename.
fn whole_journal(dir: &Path) {
    killed(dir, &[0, 1, 2, 3, 4], 5);
    // Adds the record that the next sync would have written, by a claim of its own.
    let sender = large();
    let name = root(b"f");
    let size = sender.contents[0].len() as u64;
    let subject = journal::Subject { name, size, mtime: MTIME, chunk_log2: CHUNK_LOG2, digests: true };
    let root = Root::open(dir).expect("root");
    let partials = Arc::new(partial::Partials::create(&root).expect("partial directory"));
    let claim = partials.claim(&subject, "test", &AtomicBool::new(false)).expect("free");
    let last = &sender.contents[0][5 * CHUNK..];
    claim.file.write_at(last, 5 * CHUNK as u64).expect("written");
    claim.append(&[(5, chunk_value(last, 5 * CHUNK as u64))]).expect("journaled");
}

#[test]
fn a_whole_journal_completes_without_a_chunk() {
    let dir = temporary();
    whole_journal(dir.path());
    let size = large().contents[0].len() as u64;
    let mut sender = large();
    let sink = sink(dir.path());
    sender.list(&sink).expect("decided");
    assert!(sender.missing().is_empty());
    let (ended, _) = sink.finish().expect("ends");
    assert_eq!((ended[0].action, ended[0].bytes, ended[0].reused), (Action::Resumed, 0, size));
    assert_eq!(ended[0].digest, Some(root(&sender.contents[0])));
    assert_eq!(fs::read(dir.path().join("f")).expect("named"), sender.contents[0]);
}

#[test]
fn a_run_that_dies_between_rename_and_journal_leaves_a_file_that_is_skipped() {
    let dir = temporary();
    killed(dir.path(), &[0, 1, 2], 3);
    let journal = fs::read(partial(dir.path(), ".journal").expect("journal")).expect("read");
    let stem = partial(dir.path(), ".journal").expect("journal");
    rerun(dir.path(), 3 * CHUNK as u64);
    fs::create_dir(dir.path().join(".xfer-partial")).expect("directory");
    fs::write(&stem, journal).expect("journal is back");
    let ended = large().run(&sink(dir.path()));
    assert_eq!(actions(&ended), [Action::Skipped]);
    assert_swept(dir.path());
}

#[test]
fn a_journal_torn_at_any_byte_of_its_last_record_is_taken_up_to_there() {
    let dir = temporary();
    killed(dir.path(), &[0, 1, 2], 2);
    let path = partial(dir.path(), ".journal").expect("journal");
    let two = fs::read(&path).expect("read");
    let part = fs::read(partial(dir.path(), ".part").expect("partial")).expect("read");
    let record = 4 + 36 + 8;
    for cut in two.len() - record..=two.len() {
        let dir = temporary();
        fs::create_dir(dir.path().join(".xfer-partial")).expect("directory");
        let at = |p: &Path| dir.path().join(".xfer-partial").join(p.file_name().expect("name"));
        fs::write(at(&path), &two[..cut]).expect("torn");
        fs::write(at(&path.with_extension("part")), &part).expect("partial");
        let whole = if cut == two.len() { 2 } else { 1 };
        rerun(dir.path(), whole * CHUNK as u64);
    }
}

#[test]
fn a_partial_file_of_the_wrong_size_does_not_count() {
    let dir = temporary();
    killed(dir.path(), &[0, 1, 2], 3);
    let part = partial(dir.path(), ".part").expect("partial");
    fs::OpenOptions::new().write(true).open(part).and_then(|f| f.set_len(3)).expect("cut");
    rerun(dir.path(), 0);
}

#[test]
fn a_changed_source_starts_anew() {
    let dir = temporary();
    killed(dir.path(), &[0, 1, 2], 3);
    let mut sender = Sender::new().file("f", content(10, 4 * CHUNK));
    sender.entries[0].mtime_s += 1;
    let ended = sender.run(&sink(dir.path()));
    assert_eq!((ended[0].action, ended[0].reused), (Action::Copied, 0));
    assert_eq!(fs::read(dir.path().join("f")).expect("named"), sender.contents[0]);
    assert_swept(dir.path());
}

#[test]
fn chunks_of_another_size_are_taken_over_where_they_cover_whole_ones() {
    let all = CHUNKS * CHUNK - 5;
    let cases: [(u8, &[u32], u8, usize); 9] = [
        (16, &[0, 1, 2], 17, 2 * CHUNK),
        (16, &[0, 1, 2, 4, 5], 17, 2 * CHUNK + 2 * CHUNK - 5),
        (16, &[1, 2, 3], 17, 2 * CHUNK),
        (16, &[0, 1, 2, 3], 18, 4 * CHUNK),
        (16, &[4, 5], 18, 2 * CHUNK - 5),
        (16, &[0, 1, 2, 3, 4], 19, 0),
        (17, &[1], 16, 2 * CHUNK),
        (17, &[0, 2], 16, 4 * CHUNK - 5),
        (18, &[0], 17, 4 * CHUNK),
    ];
    for (from, held, to, reused) in cases {
        let dir = temporary();
        killed_in(dir.path(), from, held, held.len());
        rerun_in(dir.path(), to, reused as u64);
        // What was taken over is journaled in its new size, and can be taken over again.
        let dir = temporary();
        killed_in(dir.path(), from, held, held.len());
        killed_in(dir.path(), to, &[], 0);
        rerun_in(dir.path(), from, reused as u64);
    }
    for (to, reused) in [(17, all), (18, all), (19, all), (21, 0)] {
        let dir = temporary();
        whole_journal(dir.path());
        rerun_in(dir.path(), to, reused as u64);
    }
}

#[test]
fn bytes_that_are_not_what_was_journaled_are_not_taken_over_in_smaller_chunks() {
    let dir = temporary();
    killed_in(dir.path(), 17, &[0, 1], 2);
    let part = partial(dir.path(), ".part").expect("partial");
    let part = fs::OpenOptions::new().write(true).open(part).expect("open");
    std::os::unix::fs::FileExt::write_all_at(&part, b"spoilt", CHUNK as u64).expect("spoilt");
    rerun_in(dir.path(), 16, 2 * CHUNK as u64);
}

#[test]
fn what_an_earlier_run_left_is_met_after_a_sync_too() {
    let dir = temporary();
    killed(dir.path(), &[0, 1, 2], 3);
    let sink = sink(dir.path());
    Sender::new().file("a", content(1, CHUNK + 1)).list(&sink).expect("decided");
    sink.sync().expect("synced");
    let mut sender = large();
    sender.list(&sink).expect("decided");
    assert_eq!(sender.missing(), [3, 4, 5]);
}

#[test]
fn old_bytes_that_were_not_journaled_never_show_through_holes() {
    let dir = temporary();
    killed(dir.path(), &[0, 1, 2, 3], 1);
    let mut sender = large();
    sender.contents[0][CHUNK..].fill(0);
    let sink = sink(dir.path());
    sender.list(&sink).expect("decided");
    assert_eq!(sender.missing(), [1, 2, 3, 4, 5]);
    for chunk in sender.missing() {
        let (plan, encoding, _) = sender.encoded(chunk);
        let encoding = Encoding { codec: Codec::Extents, stored_len: 0, ..encoding };
        assert!(matches!(sink.write(&plan, &encoding, &[]), Ok(Verdict::Accepted(_))));
    }
    let (ended, _) = sink.finish().expect("ends");
    assert_eq!(ended[0].digest, Some(root(&sender.contents[0])));
    assert_eq!(fs::read(dir.path().join("f")).expect("named"), sender.contents[0]);
}

#[test]
fn a_partial_file_that_came_after_the_decision_is_written_anew_holes_included() {
    let dir = temporary();
    let mut sender = large();
    let sink = sink(dir.path());
    sender.list(&sink).expect("decided");
    killed(dir.path(), &[0, 1, 2], 3);
    sender.contents[0][CHUNK..].fill(0);
    sender.send(&sink, 0);
    for chunk in 1..CHUNKS as u32 {
        let (plan, encoding, _) = sender.encoded(chunk);
        let encoding = Encoding { codec: Codec::Extents, stored_len: 0, ..encoding };
        assert!(matches!(sink.write(&plan, &encoding, &[]), Ok(Verdict::Accepted(_))));
    }
    let (ended, _) = sink.finish().expect("ends");
    assert_eq!((ended[0].action, ended[0].digest), (Action::Copied, Some(root(&sender.contents[0]))));
    assert_eq!(fs::read(dir.path().join("f")).expect("named"), sender.contents[0]);
    assert_swept(dir.path());
}

#[test]
fn small_files_without_a_name_are_swept_up() {
    let dir = temporary();
    let tree = || Sender::new().file("a", content(1, 100)).file("b", content(2, 200)).inline("c", vec![3]);
    {
        let mut sender = tree();
        let sink = sink(dir.path());
        sender.list(&sink).expect("decided");
        sender.send(&sink, 0);
    }
    assert!(partial(dir.path(), ".tmp").is_some(), "waits for its name");
    assert!(!dir.path().join("a").exists());
    assert_eq!(actions(&tree().run(&sink(dir.path()))), [Action::Copied; 3]);
    assert_swept(dir.path());
}

#[test]
fn an_abort_journals_what_has_arrived_and_names_what_is_whole() {
    let dir = temporary();
    let mut sender = large().file("g", content(4, 77));
    {
        let sink = sink(dir.path());
        sender.list(&sink).expect("decided");
        sender.send(&sink, 3);
        sender.send(&sink, 6);
        sink.abort();
        sink.abort();
    }
    assert!(dir.path().join("g").exists());
    let ended = sender.run(&sink(dir.path()));
    assert_eq!(actions(&ended), [Action::Resumed, Action::Skipped]);
    assert_eq!(ended[0].reused, CHUNK as u64);
}

#[test]
fn a_target_in_progress_is_busy_and_says_who_has_it() {
    let dir = temporary();
    let holder = "pid 4711, peer 10.77.1.1:5".to_owned();
    let first = FileSink::new(SinkSpec { holder: holder.clone(), ..spec(dir.path()) });
    let mut one = large();
    one.list(&first).expect("decided");
    one.send(&first, 0);
    let mut changed = large();
    changed.entries[0].mtime_s += 5;
    for mut two in [large(), changed] {
        let second = sink(dir.path());
        two.list(&second).expect("decided");
        let [Decision::Fail(body)] = &two.decided.decisions[..] else { panic!("{:?}", two.decided) };
        assert_eq!(body.class, Class::Temporary.exit_code());
        let told = two.decided.ended[0].error.as_ref().expect("error").to_string();
        assert_eq!(told, format!("dst: another transfer writes f: held by {holder}"));
    }
    for chunk in 1..CHUNKS as u32 {
        one.send(&first, chunk);
    }
    first.finish().expect("ends");
    assert_eq!(fs::read(dir.path().join("f")).expect("named"), one.contents[0]);
    assert_swept(dir.path());
}

#[test]
fn two_transfers_into_one_directory_do_not_disturb_each_other() {
    let dir = temporary();
    let (first, second) = (sink(dir.path()), sink(dir.path()));
    let mut one = large().file("a", content(1, 10));
    let mut two = Sender::new().file("g", content(2, 3 * CHUNK)).file("b", content(3, 10));
    one.list(&first).expect("decided");
    two.list(&second).expect("decided");
    for chunk in one.missing() {
        one.send(&first, chunk);
        first.sync().expect("synced");
    }
    for chunk in two.missing() {
        two.send(&second, chunk);
    }
    first.finish().expect("ends");
    drop(first);
    second.finish().expect("ends");
    for (name, content) in ["f", "a", "g", "b"].iter().zip(one.contents.iter().chain(&two.contents)) {
        assert_eq!(&fs::read(dir.path().join(name)).expect("named"), content);
    }
    drop(second);
    assert_swept(dir.path());
}
