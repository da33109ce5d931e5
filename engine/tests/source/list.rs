//! What a file source lists: order, kinds, names, filters, attributes, what is left out and what fails.

use crate::pump::{Received, list, pump, spec};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use xfer_engine::error::Class;
use xfer_engine::source::{FileSource, Filter, Location, Preserve, Rule, SourceItem, SourceSpec};
use xfer_engine::{Error, digest};
use xfer_io::file::Root;
use xfer_proto::wire::{Attribute, Decision, EntryKind, Page};

fn at(dir: &Path, name: &[u8]) -> PathBuf {
    dir.join(OsStr::from_bytes(name))
}

fn put(dir: &Path, name: &[u8], bytes: &[u8]) {
    let path = at(dir, name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
    fs::write(path, bytes).expect("writes");
}

fn item(path: impl Into<PathBuf>, name: &[u8]) -> SourceItem {
    let path = path.into();
    let shown = path.as_os_str().as_bytes().to_vec();
    SourceItem { location: Location::Path(path), name: name.to_vec(), shown }
}

fn listed(spec: SourceSpec) -> (Received, Vec<Page>) {
    let source = FileSource::new(spec).expect("a source");
    let mut out = Received::default();
    let pages = list(&source, &mut out);
    (out, pages)
}

fn tree() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn members_are_in_order_of_components() {
    let dir = tree();
    for name in [&b"a/x"[..], b"a.b", b"a-", b"b/c/d", b"b/c.d", b"B", b"\xff\xfe", b"new\nline", b"a:b"] {
        put(dir.path(), name, b"1");
    }
    fs::create_dir(dir.path().join("empty")).expect("a directory");
    let (out, _) = listed(spec(vec![item(dir.path(), b"t")]));
    let expected: Vec<&[u8]> = vec![
        b"t",
        b"t/B",
        b"t/a",
        b"t/a/x",
        b"t/a-",
        b"t/a.b",
        b"t/a:b",
        b"t/b",
        b"t/b/c",
        b"t/b/c/d",
        b"t/b/c.d",
        b"t/empty",
        b"t/new\nline",
        b"t/\xff\xfe",
    ];
    assert_eq!(out.names(), expected);
    let mut sorted = expected.clone();
    sorted.sort_by(|a, b| a.split(|c| *c == b'/').cmp(b.split(|c| *c == b'/')));
    assert_eq!(expected, sorted);
    assert!(out.errors.is_empty() && out.notices.is_empty());
}

#[test]
fn named_sources_are_in_order_of_components_too() {
    let dir = tree();
    let names = [&b"lib"[..], b"b/f", b"b-", b"bin"];
    names.iter().for_each(|name| put(dir.path(), name, b"1"));
    let (out, _) = listed(spec(names.iter().map(|name| item(at(dir.path(), name), name)).collect()));
    assert_eq!(out.names(), [&b"b/f"[..], b"b-", b"bin", b"lib"]);
}

#[test]
fn contents_only_begin_with_the_destination() {
    let dir = tree();
    put(dir.path(), b"f", b"1");
    let (out, _) = listed(spec(vec![item(dir.path(), b".")]));
    assert_eq!(out.names(), [&b"."[..], b"f"]);
    assert_eq!(out.entries[0].kind, EntryKind::Directory);
}

/// As above, for several sources: their names are one list in order, and the destination is no copy of any of them.
#[test]
fn contents_of_several_stand_in_order_between_each_other() {
    let dir = tree();
    for name in [&b"one/f"[..], b"one/b/x", b"one/-", b"two/g", b"two/c/y", b"two/!", b"d", b"z/e"] {
        put(dir.path(), name, b"1");
    }
    fs::create_dir(dir.path().join("three")).expect("a directory");
    let named = |name: &str, as_name: &[u8]| item(dir.path().join(name), as_name);
    let contents = |name: &str| named(name, b".");
    let items = vec![contents("two"), named("z", b"z"), contents("three"), contents("one"), named("d", b"d")];
    let (out, _) = listed(spec(items));
    assert!(out.errors.is_empty(), "{:?}", out.errors);
    let expected = [&b"!"[..], b"-", b"b", b"b/x", b"c", b"c/y", b"d", b"f", b"g", b"z", b"z/e"];
    assert_eq!(out.names(), expected);
}

#[test]
fn two_sources_with_the_same_name_are_refused() {
    let dir = tree();
    for name in [&b"one/f"[..], b"one/d/x", b"two/d/y", b"three/f", b"four/f", b"f", b"one/.xfer-partial/p"] {
        put(dir.path(), name, b"1");
    }
    put(dir.path(), b"two/.xfer-partial/p", b"1");
    let named = |name: &str, as_name: &[u8]| item(dir.path().join(name), as_name);
    let contents = |name: &str| named(name, b".");
    let refused =
        |items: Vec<SourceItem>| FileSource::new(spec(items)).err().map(|error| (error.class, error.name));
    let usage = |name: &[u8]| Some((Class::Usage, Some(name.to_vec())));
    assert_eq!(refused(vec![contents("one"), contents("three")]), usage(b"f"));
    assert_eq!(refused(vec![contents("one"), contents("two")]), usage(b"d"));
    assert_eq!(refused(vec![contents("three"), named("f", b"f")]), usage(b"f"));
    assert_eq!(refused(vec![named("f", b"f"), named("one/f", b"f")]), usage(b"f"));
    assert_eq!(refused(vec![contents("two"), contents("three"), named("one", b"one")]), None);
    // What is excluded does not collide.
    let filter = Filter::new([(Rule::Exclude, "d")]).expect("a glob");
    let source = SourceSpec { filter, ..spec(vec![contents("one"), contents("two")]) };
    let (out, _) = listed(source);
    assert_eq!(out.names(), [b"f"]);
}

#[test]
fn a_list_of_files_may_repeat_itself() {
    let dir = tree();
    put(dir.path(), b"d/x", b"1");
    put(dir.path(), b"d.y", b"1");
    let names = [&b"d/x"[..], b"d.y", b"d", b"d.y", b"d/x"];
    let (out, _) = listed(spec(names.iter().map(|name| item(at(dir.path(), name), name)).collect()));
    assert_eq!(out.names(), [&b"d"[..], b"d/x", b"d.y"]);
    // Named one by one they go beside each other.
    let (out, _) = listed(spec(vec![item(dir.path().join("d"), b"d"), item(dir.path().join("d/x"), b"x")]));
    assert_eq!(out.names(), [&b"d"[..], b"d/x", b"x"]);
}

#[test]
fn entries_say_mode_time_size_and_target() {
    let dir = tree();
    put(dir.path(), b"f", b"12345");
    fs::set_permissions(dir.path().join("f"), fs::Permissions::from_mode(0o4751)).expect("mode");
    fs::create_dir(dir.path().join("d")).expect("a directory");
    fs::set_permissions(dir.path().join("d"), fs::Permissions::from_mode(0o3775)).expect("mode");
    symlink("/nowhere/at all", dir.path().join("l")).expect("a symlink");
    let (out, _) = listed(spec(vec![item(dir.path(), b".")]));
    assert_eq!(out.names(), [&b"."[..], b"d", b"f", b"l"]);
    let [_, d, f, l] = &out.entries[..] else { panic!("four entries") };
    assert_eq!((d.kind, d.mode, d.size), (EntryKind::Directory, 0o1775, 0));
    assert_eq!((f.kind, f.mode, f.size), (EntryKind::File, 0o751, 5));
    let meta = fs::metadata(dir.path().join("f")).expect("stat");
    assert_eq!((f.mtime_s, i64::from(f.mtime_ns)), (meta.mtime(), meta.mtime_nsec()));
    assert_eq!((l.kind, &l.target[..]), (EntryKind::Symlink, &b"/nowhere/at all"[..]));
}

#[test]
fn what_is_no_content_is_left_out() {
    let dir = tree();
    put(dir.path(), b"f", b"1");
    put(dir.path(), b"d/.xfer-partial/0123", b"half");
    put(dir.path(), b".xfer-partial/4567", b"half");
    let fifo = dir.path().join("pipe");
    let _socket = std::os::unix::net::UnixListener::bind(&fifo).expect("a socket");
    let (out, _) = listed(spec(vec![item(dir.path(), b"t")]));
    assert_eq!(out.names(), [&b"t"[..], b"t/d", b"t/f"]);
    assert_eq!(out.notices.len(), 1);
    assert_eq!(out.notices[0].name, b"t/pipe");
    assert!(out.notices[0].text.starts_with("skipped"));
}

#[test]
fn filters_keep_out_of_excluded_directories() {
    let dir = tree();
    for name in [&b"keep.o"[..], b"x.o", b"target/y", b"src/target/z", b"src/a.rs", b"target2"] {
        put(dir.path(), name, b"1");
    }
    let rules = [(Rule::Include, "keep.o"), (Rule::Exclude, "*.o"), (Rule::Exclude, "target/")];
    let filter = Filter::new(rules).expect("globs");
    let (out, _) = listed(SourceSpec { filter, ..spec(vec![item(dir.path(), b"t")]) });
    assert_eq!(out.names(), [&b"t"[..], b"t/keep.o", b"t/src", b"t/src/a.rs", b"t/target2"]);
}

#[test]
fn missing_sources_are_named_and_others_go_on() {
    let dir = tree();
    put(dir.path(), b"f", b"1");
    let items = vec![item(dir.path().join("gone"), b"gone"), item(dir.path().join("f"), b"f")];
    let (out, _) = listed(spec(items));
    assert_eq!(out.names(), [b"f"]);
    let [error] = &out.errors[..] else { panic!("one error") };
    assert_eq!((error.class, error.errno), (Class::NoSource, Some(libc::ENOENT)));
    assert_eq!(error.name.as_deref(), Some(dir.path().join("gone").as_os_str().as_bytes()));
}

#[test]
fn a_directory_without_recursion_moves_nothing() {
    let dir = tree();
    put(dir.path(), b"f", b"1");
    let refused = |items| {
        let spec = SourceSpec { recursive: false, ..spec(items) };
        FileSource::new(spec).map(|_| ()).expect_err("refused")
    };
    let error = refused(vec![item(dir.path().join("f"), b"f"), item(dir.path(), b"t")]);
    assert_eq!(error.class, Class::Usage);
    let to_directory = dir.path().join("link");
    symlink(dir.path(), &to_directory).expect("a symlink");
    assert_eq!(refused(vec![item(to_directory, b"link")]).class, Class::Usage);
}

#[test]
fn named_symlinks_are_followed_without_recursion_only() {
    let dir = tree();
    let elsewhere = tree();
    put(elsewhere.path(), b"f", b"12345");
    let link = dir.path().join("link");
    symlink(elsewhere.path().join("f"), &link).expect("a symlink");
    for (recursive, kind, size) in [(false, EntryKind::File, 5), (true, EntryKind::Symlink, 0)] {
        let (out, _) = listed(SourceSpec { recursive, ..spec(vec![item(&link, b"link")]) });
        assert_eq!((out.entries[0].kind, out.entries[0].size), (kind, size));
    }
    let to_directory = dir.path().join("dlink");
    symlink(elsewhere.path(), &to_directory).expect("a symlink");
    let (out, _) = listed(spec(vec![item(&to_directory, b"d")]));
    assert_eq!(out.entries[0].kind, EntryKind::Symlink);
    for (path, name) in [("dlink/", &b"d"[..]), ("dlink", b".")] {
        let path = format!("{}/{path}", dir.path().display());
        let (out, _) = listed(spec(vec![item(path, name)]));
        assert_eq!(out.entries[0].kind, EntryKind::Directory);
        assert_eq!(out.entries.len(), 2);
    }
}

fn beneath(root: &Arc<Root>, path: &[u8], name: &[u8]) -> SourceItem {
    SourceItem {
        location: Location::Beneath(Arc::clone(root), path.to_vec()),
        name: name.to_vec(),
        shown: path.to_vec(),
    }
}

#[test]
fn a_served_root_is_not_left() {
    let dir = tree();
    put(dir.path(), b"root/d/f", b"123");
    put(dir.path(), b"root/g", b"12");
    put(dir.path(), b"secret", b"1");
    let here = dir.path().join("root");
    symlink("../g", here.join("d/inside")).expect("a symlink");
    symlink("../../secret", here.join("d/outside")).expect("a symlink");
    symlink("d", here.join("dlink")).expect("a symlink");
    let root = Arc::new(Root::open(&here).expect("a root"));
    let one = |recursive, path: &[u8]| {
        let source = FileSource::new(SourceSpec { recursive, ..spec(vec![beneath(&root, path, b"n")]) });
        pump(&source.expect("a source"), |_| Decision::Need)
    };
    assert_eq!(one(false, b"d/inside").bytes(b"n"), b"12");
    assert_eq!(one(false, b"dlink/f").bytes(b"n"), b"123");
    for path in [&b"d/outside"[..], b"../secret", b"/secret", b"d/../../secret"] {
        let out = one(false, path);
        assert!(out.entries.is_empty());
        assert_eq!(out.errors[0].class, Class::Refused, "{path:?}");
    }
    assert_eq!(one(false, b"gone").errors[0].class, Class::NoSource);
    assert_eq!(one(true, b"d").names(), [&b"n"[..], b"n/f", b"n/inside", b"n/outside"]);
    assert_eq!(one(true, b"dlink/f").bytes(b"n"), b"123");
    let whole = FileSource::new(spec(vec![beneath(&root, b"", b".")])).expect("a source");
    let out = pump(&whole, |_| Decision::Need);
    assert_eq!(out.names().len(), 7);
    assert_eq!(out.bytes(b"d/f"), b"123");
}

#[test]
fn pages_hold_what_a_message_holds() {
    let dir = tree();
    let name = |i: usize| format!("{i:05}{}", "n".repeat(240)).into_bytes();
    for i in 0..700 {
        put(dir.path(), &name(i), b"content");
    }
    let (out, pages) = listed(SourceSpec { inline_max: 1_024, ..spec(vec![item(dir.path(), b".")]) });
    assert!(out.pages > 3);
    for page in &pages {
        let bytes: usize = page.entries.iter().map(|e| e.encoded_len_max()).sum();
        assert!(bytes <= 48 << 10);
    }
    let names: Vec<_> = (0..700).map(name).collect();
    assert!(out.names()[1..].iter().copied().eq(names.iter().map(|n| &n[..])));
    let (first, second) = (&pages[0].entries, &pages[1].entries[0]);
    let bytes: usize = first.iter().map(|e| e.encoded_len_max()).sum();
    assert!(bytes + second.encoded_len_max() > 48 << 10, "pages are as full as they may be");
}

#[test]
fn pages_hold_2000_entries_at_most() {
    let dir = tree();
    for i in 0..2_000 {
        put(dir.path(), format!("{i:04}").as_bytes(), b"");
    }
    let (out, pages) = listed(SourceSpec { want_digests: false, ..spec(vec![item(dir.path(), b".")]) });
    assert_eq!(out.entries.len(), 2_001);
    assert!(pages.iter().all(|page| page.entries.len() <= 2_000));
    assert!(pages.last().expect("pages").last);
}

#[test]
fn small_files_travel_in_the_manifest() {
    let dir = tree();
    for (name, len) in [(&b"empty"[..], 0), (b"one", 1), (b"max", 1_024), (b"more", 1_025)] {
        put(dir.path(), name, &vec![7; len]);
    }
    let inline = |spec: SourceSpec| {
        let (out, _) = listed(spec);
        let inlined: Vec<_> =
            out.entries.iter().filter(|e| e.inline.is_some()).map(|e| e.name.clone()).collect();
        (out, inlined)
    };
    let (out, inlined) = inline(SourceSpec { inline_max: 9_999, ..spec(vec![item(dir.path(), b".")]) });
    assert_eq!(inlined, [b"max".to_vec(), b"one".to_vec()]);
    let max = out.entries[out.number(b"max") as usize].inline.as_ref().expect("inline");
    assert_eq!((&max.content, max.digest), (&vec![7; 1_024], digest::root(&[7; 1_024])));
    assert!(inline(spec(vec![item(dir.path(), b".")])).1.is_empty());
    let plain = SourceSpec { inline_max: 1, digests: false, ..spec(vec![item(dir.path(), b".")]) };
    let (out, inlined) = inline(plain);
    assert_eq!(inlined, [b"one".to_vec()]);
    let one = &out.entries[out.number(b"one") as usize];
    assert_eq!(one.inline.as_ref().expect("inline").digest, [0; 32]);
}

#[test]
fn names_too_long_to_send_fail_alone() {
    let dir = tree();
    put(dir.path(), b"z", b"1");
    let component = "c".repeat(250);
    let mut path = dir.path().to_owned();
    let mut depth = 0;
    // Deeper than one system call takes names: each level is made from the one above.
    let mut root = Root::open(&path).expect("a root");
    while depth < 17 {
        root.make_dir(component.as_bytes(), 0o755).expect("a directory");
        root = root.enter(component.as_bytes(), xfer_io::file::Follow::Never).expect("enters");
        path.push(&component);
        depth += 1;
        if depth == 16 {
            root.create(b"long", 0o644).expect("a file").write_at(b"far down", 0).expect("writes");
        }
    }
    root.create(b"too long", 0o644).expect("a file");
    let source = FileSource::new(spec(vec![item(dir.path(), b"d")])).expect("a source");
    let out = pump(&source, |_| Decision::Need);
    let long = out.entries.iter().find(|e| e.name.ends_with(b"/long")).expect("listed");
    assert_eq!(long.name.len(), 1 + 16 * 251 + 5);
    assert_eq!(out.bytes(&long.name.clone()), b"far down");
    assert_eq!(out.bytes(b"d/z"), b"1");
    let [error] = &out.errors[..] else { panic!("one error: {:?}", out.errors) };
    assert_eq!(error.errno, Some(libc::ENAMETOOLONG));
    assert!(out.ends.values().all(Result::is_ok));
}

#[test]
fn files_with_holes_tell_how_much_data_they_have() {
    let dir = tree();
    put(dir.path(), b"full", &[1; 3 << 16]);
    for (name, at, len) in [("hole", 0, 0), ("start", 0, 1 << 16), ("middle", 1 << 20, 3 << 16)] {
        let file = fs::File::create(dir.path().join(name)).expect("a file");
        file.set_len(1 << 30).expect("a size");
        file.write_all_at(&vec![7; len], at).expect("data");
    }
    let (out, _) = listed(spec(vec![item(dir.path(), b".")]));
    let data = |name: &[u8]| out.entries[out.number(name) as usize].attributes.clone();
    assert_eq!(data(b"full"), []);
    assert_eq!(data(b"hole"), [Attribute::Data(0)]);
    assert_eq!(data(b"start"), [Attribute::Data(1 << 16)]);
    assert_eq!(data(b"middle"), [Attribute::Data(3 << 16)]);
}

#[test]
fn preserve_adds_owner_and_links() {
    let dir = tree();
    put(dir.path(), b"a", b"same");
    fs::hard_link(dir.path().join("a"), dir.path().join("b")).expect("a link");
    fs::hard_link(dir.path().join("a"), dir.path().join("c")).expect("a link");
    put(dir.path(), b"d", b"other");
    let preserve = Preserve { owner: true, links: true, ..Preserve::default() };
    let (out, _) = listed(SourceSpec { preserve, ..spec(vec![item(dir.path(), b".")]) });
    let meta = fs::metadata(dir.path().join("a")).expect("stat");
    let owner = Attribute::Owner { uid: meta.uid(), gid: meta.gid() };
    let first = out.number(b"a");
    assert!(out.entries.iter().all(|e| e.attributes[0] == owner));
    let links: Vec<_> = out.entries.iter().map(|e| e.attributes.get(1).cloned()).collect();
    let link = Some(Attribute::HardLink(first));
    assert_eq!(links, [None, None, link.clone(), link, None]);
    let (out, _) = listed(spec(vec![item(dir.path(), b".")]));
    assert!(out.entries.iter().all(|e| e.attributes.is_empty()));
}

#[test]
fn preserve_adds_extended_attributes_that_fit() {
    let dir = tree();
    put(dir.path(), b"a", b"1");
    let root = Root::open(dir.path()).expect("a root");
    let file = root.open_write(b"a").expect("opens");
    if file.set_xattr(b"user.kind", b"\0raw\xff").is_err() {
        panic!("the file system for temporary files has no extended attributes");
    }
    let preserve = Preserve { xattr: true, ..Preserve::default() };
    let (out, _) = listed(SourceSpec { preserve, ..spec(vec![item(dir.path().join("a"), b"a")]) });
    let kept = Attribute::Xattr { name: b"user.kind".to_vec(), value: b"\0raw\xff".to_vec() };
    assert_eq!(out.entries[0].attributes, [kept]);
}

#[test]
fn preserve_adds_access_control_lists() {
    let dir = tree();
    put(dir.path(), b"a", b"1");
    // Version 2; then tag, permissions, id: owner rw, user 7 r, group -, mask r, others -.
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 4, 7), (4, 0, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
    {
        acl.extend_from_slice(&tag.to_le_bytes());
        acl.extend_from_slice(&permissions.to_le_bytes());
        acl.extend_from_slice(&id.to_le_bytes());
    }
    let root = Root::open(dir.path()).expect("a root");
    let file = root.open_write(b"a").expect("opens");
    file.set_xattr(b"system.posix_acl_access", &acl).expect("the file system has access control lists");
    let attributes = |preserve| {
        let (out, _) = listed(SourceSpec { preserve, ..spec(vec![item(dir.path().join("a"), b"a")]) });
        out.entries[0].attributes.clone()
    };
    let acls = Preserve { acl: true, ..Preserve::default() };
    let xattrs = Preserve { xattr: true, ..Preserve::default() };
    assert_eq!(attributes(acls), [Attribute::AclAccess(acl)]);
    assert_eq!(attributes(xattrs), []);
}

#[test]
fn a_stream_is_listed_last_and_open() {
    let stream = || SourceItem {
        location: Location::Stream(Mutex::new(Box::new(&b""[..]))),
        name: b"out".to_vec(),
        shown: b"-".to_vec(),
    };
    let dir = tree();
    put(dir.path(), b"f", b"1");
    let (out, _) = listed(spec(vec![item(dir.path().join("f"), b"f"), stream()]));
    assert_eq!(out.names(), [&b"f"[..], b"out"]);
    assert!(out.entries[1].open && out.entries[1].size == 0);
    let refused: Result<FileSource, Error> =
        FileSource::new(spec(vec![stream(), item(dir.path().join("f"), b"f")]));
    assert_eq!(refused.map(|_| ()).expect_err("refused").class, Class::Usage);
}
