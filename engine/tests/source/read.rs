//! What a file source reads: content through the address space, codecs and digests, and what happens when files are not what they were.

use crate::pump::{CHUNK, CHUNK_LOG2, Received, pump, pump_with, spec};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use xfer_engine::codec::Compression;
use xfer_engine::digest::{self, Digest};
use xfer_engine::error::Class;
use xfer_engine::source::{
    ChunkPlan, DigestCache, FileSource, Identity, Location, MemoryObject, MemorySource, Source, SourceItem,
    SourceSpec,
};
use xfer_io::file::Timestamp;
use xfer_proto::space::Space;
use xfer_proto::wire::{Codec, Decision, Run};

/// Bytes that no codec shortens, different for each seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn tree() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn put(dir: &Path, name: &str, bytes: &[u8]) {
    fs::write(dir.join(name), bytes).expect("writes");
}

fn contents(dir: &Path) -> Vec<SourceItem> {
    let location = Location::Path(dir.to_owned());
    vec![SourceItem { location, name: b".".to_vec(), shown: b"src".to_vec() }]
}

fn source(dir: &Path) -> FileSource {
    FileSource::new(spec(contents(dir))).expect("a source")
}

fn all(dir: &Path) -> Received {
    pump(&source(dir), |_| Decision::Need)
}

/// Sizes around every edge of packing.
const SIZES: [usize; 17] = [
    0,
    1,
    15,
    16,
    17,
    1_023,
    1_024,
    1_025,
    CHUNK / 4 - 1,
    CHUNK / 4,
    CHUNK / 4 + 1,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    2 * CHUNK,
    3 * CHUNK + 5,
    5 * CHUNK + 1,
];

#[test]
fn every_size_comes_over_whole() {
    let dir = tree();
    for (i, size) in SIZES.iter().enumerate() {
        put(dir.path(), &format!("{i:02}"), &noise(i as u64, *size));
    }
    for (compression, inline_max) in
        [(Compression::None, 0), (Compression::Lz4, 1_024), (Compression::Zstd, 0), (Compression::Auto, 0)]
    {
        let spec = SourceSpec { compression, inline_max, ..spec(contents(dir.path())) };
        let out = pump(&FileSource::new(spec).expect("a source"), |_| Decision::Need);
        for (i, size) in SIZES.iter().enumerate() {
            let name = format!("{i:02}").into_bytes();
            let content = noise(i as u64, *size);
            let root = digest::root(&content);
            let inline = out.entries[out.number(&name) as usize].inline.as_ref();
            assert_eq!(inline.map_or(out.bytes(&name), |inline| &inline.content), content);
            assert_eq!(out.end(&name), &Ok(Some(root)), "{size} bytes");
            if *size > inline_max {
                assert_eq!(out.merged[&out.number(&name)], root);
            }
        }
        assert!(out.withdrawn.is_empty());
    }
}

#[test]
fn compressible_chunks_shrink() {
    let dir = tree();
    put(dir.path(), "text", &b"again and ".repeat(3 * CHUNK / 10));
    for (compression, codec) in [(Compression::Lz4, Codec::Lz4), (Compression::Zstd, Codec::Zstd)] {
        let spec = SourceSpec { compression, ..spec(contents(dir.path())) };
        let out = pump(&FileSource::new(spec).expect("a source"), |_| Decision::Need);
        assert!(out.codecs.iter().all(|c| *c == codec));
        assert!(out.stored_bytes < CHUNK as u64 / 4);
        assert_eq!(out.bytes(b"text"), fs::read(dir.path().join("text")).expect("reads"));
    }
}

#[test]
fn room_between_packed_files_is_no_hole() {
    let dir = tree();
    for i in 0..9 {
        put(dir.path(), &i.to_string(), &noise(i, 17));
    }
    assert_eq!(all(dir.path()).codecs, [Codec::Plain]);
}

#[test]
fn without_digests_there_are_none() {
    let dir = tree();
    put(dir.path(), "f", &noise(1, 2 * CHUNK));
    let spec = SourceSpec { digests: false, want_digests: false, ..spec(contents(dir.path())) };
    let out = pump(&FileSource::new(spec).expect("a source"), |_| Decision::Need);
    assert!(out.merged.is_empty());
    assert_eq!(out.end(b"f"), &Ok(None));
    assert_eq!(out.bytes(b"f"), noise(1, 2 * CHUNK));
}

/// What costs nothing is told unasked; nothing is read for it.
#[test]
fn roots_that_chunks_tell_are_told_unasked() {
    let dir = tree();
    let bytes = |n: u64| noise(n, n as usize * CHUNK);
    for n in 1..=3 {
        put(dir.path(), &n.to_string(), &bytes(n));
    }
    let spec = SourceSpec { want_digests: false, ..spec(contents(dir.path())) };
    let out = pump(&FileSource::new(spec).expect("a source"), |entry| match &entry.name[..] {
        b"2" => Decision::Skip,
        b"3" => Decision::Resume(vec![Run { first: 1, count: 1 }]),
        _ => Decision::Need,
    });
    assert_eq!(out.end(b"1"), &Ok(Some(digest::root(&bytes(1)))));
    assert_eq!((out.end(b"2"), out.end(b"3")), (&Ok(None), &Ok(None)));
}

#[test]
fn symlinks_and_directories_end_too() {
    let dir = tree();
    symlink("where", dir.path().join("l")).expect("a symlink");
    let out = all(dir.path());
    assert_eq!(out.end(b"l"), &Ok(Some(digest::root(b"where"))));
    assert_eq!(out.end(b"."), &Ok(None));
}

/// A file of `size` bytes with data at the given places only; false where the file system keeps no holes.
fn sparse(path: &Path, size: u64, data: &[(u64, &[u8])]) {
    let mut file = fs::File::create(path).expect("creates");
    file.set_len(size).expect("a size");
    for (offset, bytes) in data {
        file.seek(SeekFrom::Start(*offset)).expect("seeks");
        file.write_all(bytes).expect("writes");
    }
    file.sync_all().expect("syncs");
}

#[test]
fn holes_are_named_not_sent() {
    let dir = tree();
    let chunk = CHUNK as u64;
    let page = noise(7, 4_096);
    sparse(&dir.path().join("big"), 20 * chunk + 3, &[(5 * chunk + 8_192, &page), (11 * chunk, &page)]);
    sparse(&dir.path().join("hole"), chunk / 4 + 1, &[]);
    sparse(&dir.path().join("small"), chunk / 4, &[(8_192, &page)]);
    put(dir.path(), "with small", &noise(8, 5_000));
    let out = all(dir.path());
    for name in ["big", "hole", "small", "with small"] {
        let content = fs::read(dir.path().join(name)).expect("reads");
        assert!(out.bytes(name.as_bytes()) == content, "{name}");
        assert_eq!(out.end(name.as_bytes()), &Ok(Some(digest::root(&content))), "{name}");
    }
    let plain = out.codecs.iter().filter(|c| **c == Codec::Plain).count();
    assert_eq!(plain, 0, "every chunk has a hole");
    assert!(out.stored_bytes < 3 * 4_096 + 5_000 + 100, "{} bytes", out.stored_bytes);
    let skipped = pump(&source(dir.path()), |_| Decision::Skip);
    let content = fs::read(dir.path().join("big")).expect("reads");
    assert_eq!(skipped.end(b"big"), &Ok(Some(digest::root(&content))));
}

#[test]
fn a_file_that_shrank_or_grew_or_was_replaced_is_withdrawn() {
    type Change = fn(&Path);
    let shrink: Change =
        |path| fs::File::options().write(true).open(path).expect("opens").set_len(9).expect("cut");
    let grow: Change = |path| {
        let mut file = fs::File::options().append(true).open(path).expect("opens");
        file.write_all(b"more").expect("writes");
    };
    let replace: Change = |path| {
        let other = path.with_extension("other");
        fs::copy(path, &other).expect("copies");
        fs::rename(&other, path).expect("renames");
    };
    let vanish: Change = |path| fs::remove_file(path).expect("removes");
    for (size, change, class) in [
        (100, shrink, Class::Digest),
        (3 * CHUNK, shrink, Class::Digest),
        (100, grow, Class::Digest),
        (3 * CHUNK, grow, Class::Digest),
        (100, replace, Class::Digest),
        (3 * CHUNK, replace, Class::Digest),
        (100, vanish, Class::Other),
        (3 * CHUNK, vanish, Class::Other),
    ] {
        let dir = tree();
        put(dir.path(), "a", &noise(1, 700));
        put(dir.path(), "b", &noise(2, size));
        put(dir.path(), "c", &noise(3, 700));
        let out = pump_with(&source(dir.path()), |_| Decision::Need, || change(&dir.path().join("b")));
        let [(object, error), again @ ..] = &out.withdrawn[..] else { panic!("withdrawn") };
        assert!(again.iter().all(|(other, _)| other == object), "{again:?}");
        assert_eq!((*object, error.class), (out.number(b"b"), class));
        assert_eq!(error.name.as_deref(), Some(&b"src/b"[..]));
        if class == Class::Digest {
            assert_eq!(error.message, "source changed while sending");
        } else {
            assert_eq!(error.errno, Some(libc::ENOENT));
        }
        assert!(out.bytes(b"b").iter().all(|byte| *byte == 0), "zeros instead");
        assert_eq!(out.end(b"b"), &Ok(None));
        assert_eq!((out.bytes(b"a"), out.bytes(b"c")), (&noise(1, 700)[..], &noise(3, 700)[..]));
        assert!(out.end(b"a").is_ok() && out.end(b"c").is_ok());
    }
}

#[test]
fn a_failed_file_spoils_no_hole_beside_it() {
    let dir = tree();
    sparse(&dir.path().join("a"), CHUNK as u64 / 4, &[(8_192, b"data")]);
    sparse(&dir.path().join("b"), CHUNK as u64 / 4, &[(4_096, b"data")]);
    sparse(&dir.path().join("c"), CHUNK as u64 / 4, &[(0, b"data")]);
    let read = |name: &str| fs::read(dir.path().join(name)).expect("reads");
    let (a, c) = (read("a"), read("c"));
    let cut = || {
        let file = fs::File::options().write(true).open(dir.path().join("b")).expect("opens");
        file.set_len(4_098).expect("cut");
    };
    let out = pump_with(&source(dir.path()), |_| Decision::Need, cut);
    assert_eq!(out.withdrawn.len(), 1);
    assert!(out.bytes(b"a") == a && out.bytes(b"c") == c);
}

#[test]
fn several_threads_read_at_once() {
    let dir = tree();
    for i in 0..300 {
        put(dir.path(), &format!("{i:03}"), &noise(i, 100 + 997 * i as usize));
    }
    let spec = SourceSpec { compression: Compression::Auto, ..spec(contents(dir.path())) };
    let source = FileSource::new(spec).expect("a source");
    let space = laid_out(&source);
    let next = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut buffer = vec![0; CHUNK];
                loop {
                    let chunk = next.fetch_add(1, Ordering::Relaxed);
                    if chunk >= space.chunks() {
                        return;
                    }
                    let read = source.read(&plan(&space, chunk), 0, &mut buffer).expect("reads");
                    assert!(read.withdrawn.is_empty());
                }
            });
        }
    });
    for i in 0..300 {
        let root = digest::root(&noise(i, 100 + 997 * i as usize));
        assert_eq!(source.end(1 + i as u32), Ok(Some(root)), "file {i}");
    }
}

fn plan(space: &Space, chunk: u32) -> ChunkPlan {
    ChunkPlan { chunk, plain_len: space.plain_len(chunk), pieces: space.pieces(chunk).collect() }
}

/// A listed source with everything needed and laid out.
fn laid_out(source: &dyn Source) -> Space {
    let mut space = Space::new(CHUNK_LOG2);
    for (i, entry) in source.list(0).expect("lists").entries.iter().enumerate() {
        space.place(i as u32, entry, &Decision::Need).expect("fits");
    }
    space.end_page();
    space
}

#[test]
fn a_change_after_the_last_read_fails_the_file_at_its_end() {
    let dir = tree();
    put(dir.path(), "f", &noise(1, 2 * CHUNK));
    let source = source(dir.path());
    let space = laid_out(&source);
    let mut buffer = vec![0; CHUNK];
    for chunk in 0..2 {
        assert!(source.read(&plan(&space, chunk), 0, &mut buffer).expect("reads").withdrawn.is_empty());
    }
    let file = fs::File::options().write(true).open(dir.path().join("f")).expect("opens");
    file.write_at(b"x", 0).expect("writes");
    file.set_modified(std::time::UNIX_EPOCH).expect("a time");
    let error = source.end(1).expect_err("changed");
    assert_eq!((error.class, &error.message[..]), (Class::Digest, "source changed while sending"));
    assert_eq!(source.end(1), Ok(None), "an object ends once");
}

#[test]
fn order_of_reads_does_not_matter_and_reading_again_is_right() {
    let dir = tree();
    let content = noise(1, 5 * CHUNK + 1);
    put(dir.path(), "f", &content);
    for order in [&[(5, 0), (0, 0), (3, 0), (1, 0), (4, 0), (2, 0)][..], &[(0, 0), (0, 1), (1, 0)]] {
        let source = source(dir.path());
        let space = laid_out(&source);
        let mut buffer = vec![0; CHUNK];
        for (chunk, attempt) in order {
            let plan = plan(&space, *chunk);
            source.read(&plan, *attempt, &mut buffer).expect("reads");
            let at = *chunk as usize * CHUNK;
            assert!(buffer[..plan.plain_len as usize] == content[at..][..plan.plain_len as usize]);
        }
        assert_eq!(source.end(1), Ok(Some(digest::root(&content))));
    }
}

#[test]
fn a_chunk_read_again_is_not_compressed_again() {
    let dir = tree();
    put(dir.path(), "f", &[b'a'; 2 * CHUNK]);
    let spec = SourceSpec { compression: Compression::Zstd, ..spec(contents(dir.path())) };
    let source = FileSource::new(spec).expect("a source");
    let space = laid_out(&source);
    let mut buffer = vec![0; CHUNK];
    let codec = |attempt, buffer: &mut [u8]| {
        source.read(&plan(&space, 0), attempt, buffer).expect("reads").encoding.codec
    };
    assert_eq!(codec(0, &mut buffer), Codec::Zstd);
    assert_eq!(codec(1, &mut buffer), Codec::Plain);
}

#[test]
fn resumed_files_are_digested_whole() {
    let dir = tree();
    let content = noise(1, 6 * CHUNK);
    put(dir.path(), "f", &content);
    let runs = || vec![Run { first: 0, count: 2 }, Run { first: 4, count: 1 }];
    let out = pump(&source(dir.path()), |entry| match entry.has_content() {
        true => Decision::Resume(runs()),
        false => Decision::Need,
    });
    assert_eq!(out.codecs.len(), 3);
    assert_eq!(out.bytes(b"f")[2 * CHUNK..4 * CHUNK], content[2 * CHUNK..4 * CHUNK]);
    assert_eq!(out.end(b"f"), &Ok(Some(digest::root(&content))));
}

/// Remembers one digest and counts.
#[derive(Default)]
struct Cache {
    known: Mutex<Vec<(Vec<u8>, Identity, Digest)>>,
    hits: Mutex<usize>,
}

impl DigestCache for Cache {
    fn get(&self, path: &[u8], identity: &Identity) -> Option<Digest> {
        let known = self.known.lock().expect("no panic");
        let hit = known.iter().find(|(p, i, _)| p == path && i == identity)?;
        *self.hits.lock().expect("no panic") += 1;
        Some(hit.2)
    }

    fn put(&self, path: &[u8], identity: &Identity, digest: &Digest) {
        self.known.lock().expect("no panic").push((path.to_vec(), *identity, *digest));
    }
}

#[test]
fn digests_of_skipped_files_come_from_the_cache() {
    let dir = tree();
    put(dir.path(), "f", &noise(1, 3 * CHUNK + 1));
    let cache = Arc::new(Cache::default());
    let run = |decision: Decision| {
        let cache: Arc<dyn DigestCache> = Arc::clone(&cache) as _;
        let spec = SourceSpec { cache: Some(cache), ..spec(contents(dir.path())) };
        let out = pump(&FileSource::new(spec).expect("a source"), |_| decision.clone());
        out.end(b"f").clone().expect("ends").expect("a digest")
    };
    let root = digest::root(&noise(1, 3 * CHUNK + 1));
    assert_eq!(run(Decision::Skip), root);
    assert_eq!(*cache.hits.lock().expect("no panic"), 0);
    assert_eq!(run(Decision::Skip), root);
    assert_eq!(*cache.hits.lock().expect("no panic"), 1);
    assert_eq!(cache.known.lock().expect("no panic")[0].0, dir.path().join("f").as_os_str().as_bytes());
    put(dir.path(), "f", b"another");
    assert_eq!(run(Decision::Skip), digest::root(b"another"));
    assert_eq!(*cache.hits.lock().expect("no panic"), 1);
    assert_eq!(run(Decision::Need), digest::root(b"another"));
}

#[test]
fn more_big_files_than_stay_open() {
    let dir = tree();
    for i in 0..80 {
        put(dir.path(), &format!("{i:02}"), &noise(i, 2 * CHUNK));
    }
    let source = source(dir.path());
    let space = laid_out(&source);
    let mut buffer = vec![0; CHUNK];
    for half in 0..2 {
        for i in 0..80 {
            let read = source.read(&plan(&space, 2 * i + half), 0, &mut buffer).expect("reads");
            assert!(read.withdrawn.is_empty());
            assert!(buffer == noise(u64::from(i), 2 * CHUNK)[half as usize * CHUNK..][..CHUNK]);
        }
    }
    for i in 0..80 {
        assert_eq!(source.end(1 + i), Ok(Some(digest::root(&noise(u64::from(i), 2 * CHUNK)))));
    }
}

#[test]
fn unreadable_files_and_directories_fail_alone() {
    let dir = tree();
    put(dir.path(), "a", b"1");
    put(dir.path(), "b", b"2");
    fs::create_dir(dir.path().join("d")).expect("a directory");
    put(dir.path(), "d/x", b"3");
    let mode = |name: &str, mode| {
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).expect("mode");
    };
    mode("b", 0);
    mode("d", 0);
    let may_read_all = fs::read(dir.path().join("b")).is_ok();
    let out = all(dir.path());
    mode("d", 0o755);
    assert_eq!(out.bytes(b"a"), b"1");
    if may_read_all {
        // The superuser is refused nothing: then everything comes over.
        assert_eq!((out.bytes(b"b"), out.bytes(b"d/x")), (&b"2"[..], &b"3"[..]));
        return;
    }
    assert_eq!(out.withdrawn[0].1.errno, Some(libc::EACCES));
    assert_eq!(out.withdrawn[0].1.class, Class::Denied);
    assert_eq!(out.errors[0].errno, Some(libc::EACCES));
    assert_eq!(out.errors[0].name.as_deref(), Some(&b"src/d"[..]));
}

fn stream(bytes: Vec<u8>) -> FileSource {
    let reader: Box<dyn std::io::Read + Send> = Box::new(std::io::Cursor::new(bytes));
    let location = Location::Stream(Mutex::new(reader));
    let item = SourceItem { location, name: b"s".to_vec(), shown: b"-".to_vec() };
    FileSource::new(spec(vec![item])).expect("a source")
}

#[test]
fn streams_of_every_length_come_over() {
    for size in SIZES {
        let content = noise(size as u64, size);
        let out = pump(&stream(content.clone()), |_| Decision::Need);
        assert!(out.content[&0] == content, "{size} bytes");
        assert_eq!(out.end(b"s"), &Ok(Some(digest::root(&content))), "{size} bytes");
        if size > 0 {
            assert_eq!(out.merged[&0], digest::root(&content));
        }
    }
}

#[test]
fn a_stream_cannot_be_read_again() {
    let source = stream(noise(1, 3 * CHUNK));
    let space = laid_out(&source);
    let mut buffer = vec![0; CHUNK];
    let mut withdrawn =
        |chunk, attempt| source.read(&plan(&space, chunk), attempt, &mut buffer).expect("reads").withdrawn;
    assert!(withdrawn(0, 0).is_empty());
    assert!(withdrawn(1, 0).is_empty());
    let again = withdrawn(0, 1);
    assert_eq!((again[0].0, again[0].1.errno), (0, Some(libc::ESPIPE)));
    assert_eq!(withdrawn(1, 1).len(), 1, "whoever lacks its bytes says so: chunks overtake each other");
}

#[test]
fn memory_comes_over() {
    let object = |i: usize, size: &usize| MemoryObject {
        name: format!("{i:02}").into_bytes(),
        bytes: Arc::new(noise(i as u64, *size)),
        mode: 0o600,
        mtime: Timestamp { seconds: 1, nanoseconds: 2 },
    };
    let make = |compression| {
        let objects = SIZES.iter().enumerate().map(|(i, size)| object(i, size)).collect();
        MemorySource::new(objects, compression, true, true).expect("a source")
    };
    for compression in [Compression::None, Compression::Lz4] {
        let source = make(compression);
        let out = pump(&source, |_| Decision::Need);
        for (i, size) in SIZES.iter().enumerate() {
            let content = noise(i as u64, *size);
            assert_eq!(out.content.get(&(i as u32)).map_or(&[][..], |bytes| bytes), content);
            assert_eq!(out.ends[&(i as u32)], Ok(Some(digest::root(&content))));
        }
        assert_eq!(source.ended(), SIZES.len());
    }
    let skipped = pump(&make(Compression::None), |_| Decision::Skip);
    assert_eq!(skipped.end(b"16"), &Ok(Some(digest::root(&noise(16, SIZES[16])))));
    let bad = MemoryObject { name: b"../x".to_vec(), ..object(0, &1) };
    let refused = MemorySource::new(vec![bad], Compression::None, true, true);
    assert_eq!(refused.map(|_| ()).expect_err("refused").class, Class::Usage);
}
