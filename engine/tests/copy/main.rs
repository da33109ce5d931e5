//! Real trees from a file source into a file sink, without a network between: every stage of the data but the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use xfer_engine::codec::Compression;
use xfer_engine::sink::{Action, Ended, FileSink, Sink, SinkSpec, Target, Verdict};
use xfer_engine::source::{
    ChunkPlan, FileSource, Filter, Location, Preserve, Source, SourceItem, SourceSpec,
};
use xfer_io::file::{Root, Timestamp};
use xfer_proto::space::Space;
use xfer_proto::wire::{Codec, Decision, Page, TransferId};

const CHUNK_LOG2: u8 = 20;

fn source(tree: &Path) -> FileSource {
    let items = vec![SourceItem {
        location: Location::Path(tree.to_path_buf()),
        name: b".".to_vec(),
        shown: tree.as_os_str().as_bytes().to_vec(),
    }];
    FileSource::new(SourceSpec {
        items,
        recursive: true,
        filter: Filter::default(),
        preserve: Preserve::default(),
        compression: Compression::None,
        digests: true,
        inline_max: 512,
        list_digests: false,
        want_digests: true,
        cache: None,
    })
    .expect("source")
}

fn sink(destination: &Path) -> FileSink {
    let root = Root::open(destination).expect("destination");
    FileSink::new(SinkSpec::new(Target::into_directory(root), CHUNK_LOG2))
}

/// What a copy came to.
struct Copied {
    ended: Vec<Ended>,
    stored_bytes: u64,
    notices: usize,
}

/// Copies everything page by page; `chunks_max` chunks at most, then the sink is dropped as if killed.
fn copy(source: &dyn Source, sink: &dyn Sink, chunks_max: usize) -> Copied {
    let mut copied = Copied { ended: Vec::new(), stored_bytes: 0, notices: 0 };
    let mut space = Space::new(CHUNK_LOG2);
    let mut buffer = vec![0; 1 << CHUNK_LOG2];
    let (mut next, mut first_object, mut sent) = (0, 0, 0);
    for number in 0.. {
        let listing = source.list(first_object).expect("lists");
        copied.notices += listing.notices.len();
        let last = listing.last;
        let page = Page { transfer: TransferId(1), number, first_object, last, entries: listing.entries };
        let decided = sink.decide(&page).expect("decides");
        copied.ended.extend(decided.ended);
        source.decided(first_object, &decided.decisions);
        let mut here = BTreeSet::new();
        for (object, (entry, decision)) in (first_object..).zip(page.entries.iter().zip(&decided.decisions)) {
            let Some(placed) = space.place(object, entry, decision).expect("fits") else { continue };
            if let Decision::Resume(runs) = decision {
                let first = space.chunks_of(&placed).start;
                here.extend(runs.iter().flat_map(|r| r.first..r.first + r.count).map(|index| first + index));
            }
        }
        space.end_page();
        for chunk in (next..space.chunks()).filter(|chunk| !here.contains(chunk)) {
            let pieces = space.pieces(chunk).collect();
            let plan = ChunkPlan { chunk, plain_len: space.plain_len(chunk), pieces };
            if plan.plain_len == 0 {
                continue;
            }
            if sent == chunks_max {
                return copied;
            }
            sent += 1;
            let read = source.read(&plan, 0, &mut buffer).expect("reads");
            assert!(read.withdrawn.is_empty(), "{:?}", read.withdrawn);
            copied.stored_bytes += u64::from(read.encoding.stored_len);
            let stored = &buffer[..read.encoding.stored_len as usize];
            match sink.write(&plan, &read.encoding, stored).expect("writes") {
                Verdict::Accepted(ended) => copied.ended.extend(ended),
                Verdict::Rejected => {
                    panic!("chunk {chunk} of codec {:?}", read.encoding.codec == Codec::Plain)
                }
            }
            if sent.is_multiple_of(64) {
                copied.ended.extend(sink.sync().expect("syncs"));
            }
        }
        next = space.chunks();
        first_object += page.entries.len() as u32;
        if last {
            break;
        }
    }
    copied.ended.extend(sink.finish().expect("finishes").0);
    copied
}

/// As `find -printf '%P %m %T@ %s'` tells a tree, with content: FIFOs left out, directories without size.
/// Mode, seconds, nanoseconds, size and content of one name.
type Told = (u32, i64, i64, u64, Vec<u8>);

fn told(top: &Path) -> BTreeMap<Vec<u8>, Told> {
    let mut all = BTreeMap::new();
    let root = Root::open(top).expect("root");
    let mut open = vec![Vec::new()];
    while let Some(name) = open.pop() {
        let stat = root.stat(&name).expect("stat");
        let Timestamp { seconds, nanoseconds } = stat.mtime;
        let (size, content) = match stat.kind {
            xfer_io::file::Kind::Dir => {
                for entry in root.list(&name, xfer_io::file::Follow::Never).expect("list") {
                    let below = entry.expect("entry").name;
                    let slash: &[u8] = if name.is_empty() { b"" } else { b"/" };
                    open.push([&name[..], slash, &below].concat());
                }
                (0, Vec::new())
            }
            xfer_io::file::Kind::File => {
                let mut content = vec![0; stat.size.min(1 << 22) as usize];
                root.open_read(&name).expect("open").read_at(&mut content, 0).expect("read");
                (stat.size, content)
            }
            xfer_io::file::Kind::Symlink => (stat.size, root.read_symlink(&name).expect("symlink")),
            xfer_io::file::Kind::Other => continue,
        };
        all.insert(name, (stat.mode, seconds, i64::from(nanoseconds), size, content));
    }
    all
}

fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (told(a), told(b));
    let names = |tree: &BTreeMap<Vec<u8>, _>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    for (name, was) in &a {
        assert!(b[name] == *was, "{} differs", name.escape_ascii());
    }
}

fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + seed * 7 + i / 255) as u8).collect()
}

/// Names, kinds, modes and times that trees have, with `files` small files.
fn make_tree(top: &Path, files: usize) {
    for n in 0..files {
        let dir = top.join(format!("many/{:02}", n % 40));
        fs::create_dir_all(&dir).expect("directory");
        fs::write(dir.join(format!("f{n}")), bytes(n, (n * 37) % 9_000)).expect("file");
    }
    for name in [&b"a:b"[..], b"new\nline", b"raw \xff\xfe", b"empty", &[b'x'; 255]] {
        fs::write(top.join(OsStr::from_bytes(name)), bytes(1, name.len() % 7 * 1_000)).expect("file");
    }
    for (n, size) in [(1, 262_144), (2, 262_145), (3, 1 << 20), (4, (3 << 20) + 17)] {
        fs::write(top.join(format!("big{n}")), bytes(n, size)).expect("file");
    }
    fs::create_dir_all(top.join("hollow/inner")).expect("directory");
    symlink("no/where", top.join("dangling")).expect("symlink");
    symlink("many", top.join("to-many")).expect("symlink");
    let name = std::ffi::CString::new(top.join("fifo").into_os_string().into_vec()).expect("no NUL");
    assert!(std::process::Command::new("mkfifo").arg(OsStr::from_bytes(name.as_bytes())).status().is_ok());
    let mode = |name: &str, mode| {
        fs::set_permissions(top.join(name), fs::Permissions::from_mode(mode)).expect("mode");
    };
    mode("a:b", 0o400);
    mode("big1", 0o755);
    mode("hollow/inner", 0o500);
    mode("hollow", 0o711);
    let root = Root::open(top).expect("root");
    let time = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
    root.set_mtime(b"big2", time(1, 2)).expect("time");
    root.set_mtime(b"dangling", time(1_000_000_000, 5)).expect("time");
    root.set_mtime(b"hollow/inner", time(946_684_800, 999_999_999)).expect("time");
    root.set_mtime(b"hollow", time(946_684_801, 0)).expect("time");
}

#[test]
fn a_tree_arrives_as_it_was_and_is_skipped_the_next_time() {
    let (from, to) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    make_tree(from.path(), 10_000);
    let copied = copy(&source(from.path()), &sink(to.path()), usize::MAX);
    assert!(copied.ended.iter().all(|end| end.error.is_none()));
    assert_eq!(copied.notices, 1, "the FIFO");
    fs::remove_file(from.path().join("fifo")).expect("removed");
    fs::File::open(from.path())
        .and_then(|d| d.set_modified(fs::metadata(to.path())?.modified()?))
        .expect("time");
    assert_same(from.path(), to.path());
    let again = copy(&source(from.path()), &sink(to.path()), usize::MAX);
    assert_eq!(again.stored_bytes, 0);
    assert!(again.ended.iter().all(|end| end.action == Action::Skipped));
    assert_same(from.path(), to.path());
}

#[test]
fn a_copy_that_is_killed_goes_on_and_loses_nothing_that_was_synced() {
    let (from, to) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    fs::write(from.path().join("large"), bytes(5, 150 << 20)).expect("file");
    for n in 0..50 {
        fs::write(from.path().join(format!("s{n}")), bytes(n, 3_000)).expect("file");
    }
    copy(&source(from.path()), &sink(to.path()), 100);
    let copied = copy(&source(from.path()), &sink(to.path()), usize::MAX);
    let (bytes, reused) = copied.ended.iter().fold((0, 0), |(b, r), end| (b + end.bytes, r + end.reused));
    assert_eq!(reused, 64 << 20, "one sync was made");
    assert_eq!(bytes, (86 << 20) + 50 * 3_000);
    assert_same(from.path(), to.path());
}

#[test]
fn a_sparse_file_of_10_gib_costs_what_its_data_costs() {
    let (from, to) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    let path = from.path().join("sparse");
    let file = fs::File::create(&path).expect("file");
    file.set_len(10 << 30).expect("size");
    file.write_all_at(&bytes(3, 1 << 20), (5 << 30) + 4_096).expect("data");
    file.sync_all().expect("synced");
    drop(file);
    let copied = copy(&source(from.path()), &sink(to.path()), usize::MAX);
    assert!(copied.stored_bytes < 2 << 20, "{}", copied.stored_bytes);
    let (was, is) =
        (fs::metadata(&path).expect("there"), fs::metadata(to.path().join("sparse")).expect("there"));
    assert_eq!(is.len(), 10 << 30);
    assert!(is.blocks() <= was.blocks(), "{} blocks became {}", was.blocks(), is.blocks());
    let mut data = vec![0; 1 << 20];
    let file = fs::File::open(to.path().join("sparse")).expect("open");
    file.read_exact_at(&mut data, (5 << 30) + 4_096).expect("read");
    assert_eq!(data, bytes(3, 1 << 20));
}
