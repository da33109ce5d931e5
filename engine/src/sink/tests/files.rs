//! Content: whole files, chunks in any order, holes, digests, threads.

use super::*;
use crate::codec::{Compressor, Extent, encode_extents};
use xfer_proto::wire::Durability;

#[test]
fn files_of_every_size_arrive_whole_with_mode_time_and_digest() {
    let sizes = [
        0,
        1,
        15,
        16,
        17,
        CHUNK / 4 - 1,
        CHUNK / 4,
        CHUNK / 4 + 1,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK,
        5 * CHUNK + 7,
    ];
    for durability in [Durability::None, Durability::Batch, Durability::File] {
        let dir = temporary();
        let mut sender = Sender::new();
        for size in sizes {
            sender = sender.file(format!("f{size}"), content(size as u64, size));
        }
        let sink = FileSink::new(SinkSpec { durability, ..spec(dir.path()) });
        let ended = sender.run(&sink);
        for (end, size) in ended.iter().zip(sizes) {
            let path = dir.path().join(format!("f{size}"));
            assert_eq!(fs::read(&path).expect("written"), content(size as u64, size), "{size}");
            assert_eq!(mtime(&path), MTIME);
            assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o640);
            assert_eq!((end.action, end.bytes, end.reused), (Action::Copied, size as u64, 0));
            assert_eq!(end.digest, Some(root(&content(size as u64, size))), "{size}");
        }
        assert_swept(dir.path());
        let again = sender.run(&FileSink::new(SinkSpec { durability, ..spec(dir.path()) }));
        assert_eq!(actions(&again), vec![Action::Skipped; sizes.len()]);
        assert!(again.iter().zip(sizes).all(|(end, size)| end.skipped == size as u64));
        assert_eq!(again[5].digest, ended[5].digest);
    }
}

#[test]
fn a_name_appears_with_the_whole_file_and_not_before() {
    let dir = temporary();
    let path = dir.path().join("f");
    let mut sender = Sender::new().file("f", content(1, 3 * CHUNK)).file("small", content(2, 100));
    let sink = sink(dir.path());
    sender.list(&sink).expect("decided");
    assert!(sender.decided.ended.is_empty());
    for chunk in [2, 0, 3] {
        assert!(sender.send(&sink, chunk).is_empty());
        sink.sync().expect("synced");
        assert!(!path.exists());
    }
    assert!(dir.path().join("small").exists(), "named by the sync after its chunk");
    assert!(sender.send(&sink, 1).is_empty());
    assert!(!path.exists(), "durable first");
    let ended = sink.sync().expect("synced");
    assert_eq!(actions(&ended), [Action::Copied]);
    assert_eq!(fs::read(&path).expect("named"), sender.contents[0]);
    assert_swept(dir.path());
}

#[test]
fn a_replaced_file_is_the_old_one_until_it_is_the_new_one() {
    let dir = temporary();
    let path = dir.path().join("f");
    for size in [10, 2 * CHUNK] {
        fs::write(&path, b"old").expect("written");
        let open = fs::File::open(&path).expect("open");
        let mut sender = Sender::new().file("f", content(1, size));
        assert_eq!(actions(&sender.run(&sink(dir.path()))), [Action::Copied]);
        assert_eq!(fs::read(&path).expect("replaced"), content(1, size));
        assert_eq!(open.metadata().expect("still open").nlink(), 0, "replaced, not written over");
    }
}

#[test]
fn a_wrong_digest_is_rejected_and_nothing_is_written() {
    let dir = temporary();
    let mut sender = Sender::new().file("large", content(1, 2 * CHUNK)).file("small", content(2, 99));
    let sink = sink(dir.path());
    sender.list(&sink).expect("decided");
    for chunk in sender.missing() {
        let (plan, encoding, stored) = sender.encoded(chunk);
        for at in [0, stored.len() / 2, stored.len() - 1] {
            let mut wrong = stored.clone();
            wrong[at] ^= 1;
            assert!(matches!(sink.write(&plan, &encoding, &wrong), Ok(Verdict::Rejected)));
        }
        let mut wrong = encoding.clone();
        wrong.digests.clear();
        assert!(matches!(sink.write(&plan, &wrong, &stored), Ok(Verdict::Rejected)));
        let short = Encoding { stored_len: encoding.stored_len - 1, ..encoding };
        assert!(matches!(sink.write(&plan, &short, &stored), Ok(Verdict::Rejected)));
    }
    assert_eq!(fs::read_dir(dir.path()).expect("directory").count(), 0);
    for chunk in sender.missing() {
        sender.send(&sink, chunk);
    }
    assert_eq!(actions(&sink.finish().expect("ends").0), [Action::Copied, Action::Copied]);
}

#[test]
fn compressed_chunks_are_written_plain() {
    let dir = temporary();
    let text: Vec<u8> = b"again and ".iter().copied().cycle().take(3 * CHUNK + 5).collect();
    let mut sender = Sender::new().file("f", text.clone()).file("g", text[..900].to_vec());
    let sink = sink(dir.path());
    sender.list(&sink).expect("decided");
    let mut compressor = Compressor::new();
    for (chunk, codec) in sender.missing().into_iter().zip([Codec::Lz4, Codec::Zstd].into_iter().cycle()) {
        let (plan, encoding, plain) = sender.encoded(chunk);
        let Some(stored) = compressor.compress(codec, &plain) else {
            sender.send(&sink, chunk);
            continue;
        };
        let encoding = Encoding { codec, stored_len: stored.len() as u32, ..encoding };
        assert!(matches!(sink.write(&plan, &encoding, stored), Ok(Verdict::Accepted(_))));
    }
    sink.finish().expect("ends");
    assert_eq!(fs::read(dir.path().join("f")).expect("written"), text);
    assert_eq!(fs::read(dir.path().join("g")).expect("written"), text[..900]);
}

/// Sends a chunk in codec `extents` with these data ranges.
fn send_sparse(sender: &Sender, sink: &dyn Sink, chunk: u32, extents: &[Extent]) {
    let (plan, encoding, plain) = sender.encoded(chunk);
    let mut stored = Vec::new();
    assert!(encode_extents(&plain, extents, &mut stored));
    let encoding = Encoding { codec: Codec::Extents, stored_len: stored.len() as u32, ..encoding };
    assert!(matches!(sink.write(&plan, &encoding, &stored), Ok(Verdict::Accepted(_))));
}

#[test]
fn holes_stay_holes() {
    let dir = temporary();
    let mut sparse = vec![0; 64 * CHUNK];
    sparse[5 * CHUNK + 4_096..5 * CHUNK + 8_192].fill(7);
    let mut small = vec![0; CHUNK];
    small[..4_096].fill(9);
    let mut sender = Sender::new().file("sparse", sparse.clone()).file("small", small.clone());
    let sink = sink(dir.path());
    sender.list(&sink).expect("decided");
    for chunk in sender.missing() {
        let data: &[Extent] = match chunk {
            5 => &[Extent { offset: 4_096, len: 4_096 }],
            64 => &[Extent { offset: 0, len: 4_096 }],
            _ => &[],
        };
        send_sparse(&sender, &sink, chunk, data);
    }
    sink.finish().expect("ends");
    for (name, content) in [("sparse", &sparse), ("small", &small)] {
        let path = dir.path().join(name);
        assert_eq!(&fs::read(&path).expect("written"), content);
        assert!(fs::metadata(&path).expect("there").blocks() <= 16, "{name} takes more than its data");
    }
}

#[test]
fn four_threads_write_at_once() {
    let dir = temporary();
    let mut sender = Sender::new();
    for n in 0..40_usize {
        sender = sender.file(format!("d/f{n}"), content(n as u64, (n * 7_919) % (6 * CHUNK)));
    }
    let sink = sink(dir.path());
    sender.list(&sink).expect("decided");
    let missing = sender.missing();
    let mut ended = std::mem::take(&mut sender.decided.ended);
    std::thread::scope(|scope| {
        let (sender, sink, missing) = (&sender, &sink, &missing);
        let writers: Vec<_> = (0..4)
            .map(|worker| {
                let mine = missing.iter().rev().skip(worker).step_by(4);
                scope.spawn(move || mine.flat_map(|chunk| sender.send(sink, *chunk)).collect::<Vec<_>>())
            })
            .collect();
        for _ in 0..5 {
            ended.extend(sink.sync().expect("synced"));
        }
        writers.into_iter().for_each(|writer| ended.extend(writer.join().expect("no panic")));
    });
    ended.extend(sink.finish().expect("ends").0);
    sender.check_ends(&mut ended);
    for (n, content) in sender.contents.iter().enumerate() {
        assert_eq!(&fs::read(dir.path().join(format!("d/f{n}"))).expect("written"), content);
        assert_eq!(ended[n].digest, Some(root(content)));
    }
    assert_swept(dir.path());
}

#[test]
fn a_withdrawn_object_leaves_nothing() {
    let changed = || Error::new(Class::Digest, "source changed while sending");
    for at in 0..=3 {
        let dir = temporary();
        let mut sender = Sender::new().file("f", content(1, 3 * CHUNK)).file("g", content(2, 10));
        let sink = sink(dir.path());
        sender.list(&sink).expect("decided");
        for chunk in 0..at {
            sender.send(&sink, chunk);
        }
        let ended = sink.withdraw(0, changed());
        assert_eq!(actions(&ended), [Action::Failed], "after {at} chunks");
        assert_eq!(ended[0].error.as_ref().and_then(|e| e.name.clone()), Some(b"f".to_vec()));
        for chunk in at..4 {
            sender.send(&sink, chunk);
        }
        assert!(sink.withdraw(0, changed()).is_empty());
        assert_eq!(actions(&sink.finish().expect("ends").0), [Action::Copied]);
        assert!(!dir.path().join("f").exists());
        assert_swept(dir.path());
    }
}

#[test]
fn an_open_object_gets_its_name_when_its_end_is_known() {
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        for end_first in [true, false] {
            let dir = temporary();
            let content = content(3, size);
            let open = Entry { open: true, ..entry(EntryKind::File, b"open") };
            let mut sender = Sender::new().add(open, content.clone());
            let sink = sink(dir.path());
            sender.list(&sink).expect("decided");
            let mut ended = Vec::new();
            let full = size / CHUNK;
            if !end_first {
                for chunk in 0..full as u32 {
                    ended.extend(sender.send(&sink, chunk));
                }
            }
            sender.space.end_open(0, size as u64).expect("ends");
            ended.extend(sink.end_open(0, size as u64));
            let sent = if end_first { 0 } else { full };
            for chunk in sent..size.div_ceil(CHUNK) {
                ended.extend(sender.send(&sink, chunk as u32));
            }
            ended.extend(sink.finish().expect("ends").0);
            assert_eq!(actions(&ended), [Action::Copied], "{size} {end_first}");
            assert_eq!(ended[0].digest, Some(root(&content)), "{size} {end_first}");
            assert_eq!(fs::read(dir.path().join("open")).expect("written"), content);
            assert_swept(dir.path());
        }
    }
}

#[test]
fn without_digests_content_is_taken_as_it_comes() {
    let dir = temporary();
    let mut sender = Sender::new().file("f", content(1, 2 * CHUNK)).inline("i", b"inline".to_vec());
    let sink = FileSink::new(SinkSpec { digests: false, ..spec(dir.path()) });
    sender.list(&sink).expect("decided");
    for chunk in sender.missing() {
        let (plan, encoding, stored) = sender.encoded(chunk);
        let encoding = Encoding { digests: Vec::new(), ..encoding };
        assert!(matches!(sink.write(&plan, &encoding, &stored), Ok(Verdict::Accepted(_))));
    }
    let (ended, _) = sink.finish().expect("ends");
    assert!(ended.iter().all(|end| end.digest.is_none()));
    assert_eq!(fs::read(dir.path().join("f")).expect("written"), sender.contents[0]);
}
