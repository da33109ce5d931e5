//! Files beneath a root: names of every kind, symlinks that lead out, holes, locks, attributes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tempfile::TempDir;
use xfer_io::file::{FileError, Follow, Kind, Replace, Root, Timestamp};

fn root() -> (TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

fn names(root: &Root, dir: &[u8]) -> BTreeMap<Vec<u8>, Option<Kind>> {
    root.list(dir, Follow::Inside).unwrap().map(|entry| entry.unwrap()).map(|e| (e.name, e.kind)).collect()
}

fn errno<T>(result: Result<T, FileError>) -> i32 {
    result.err().expect("should have been refused").errno
}

#[test]
fn bytes_come_back_from_where_they_were_written() {
    let (_dir, root) = root();
    let file = root.create(b"a", 0o600).unwrap();
    file.write_at(b"world", 6).unwrap();
    file.write_at(b"hello ", 0).unwrap();
    file.write_at(b"", 100).unwrap();
    let mut buffer = [0; 32];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 11);
    assert_eq!(&buffer[..11], b"hello world");
    for (offset, len) in [(10, 1), (11, 0), (12, 0)] {
        assert_eq!(file.read_at(&mut buffer, offset).unwrap(), len);
    }
    assert_eq!(root.open_read(b"a").unwrap().stat().unwrap().size, 11);
}

#[test]
fn errors_name_verb_file_and_place() {
    let (dir, root) = root();
    root.create(b"a", 0o600).unwrap();
    let error = root.open_read(b"a").unwrap().write_at(b"x", 4_194_304).unwrap_err();
    assert_eq!(error.to_string(), "write \"a\" at 4194304: Bad file descriptor");
    let error = root.open_read(b"gone").unwrap_err();
    assert_eq!(error.to_string(), "open \"gone\": No such file or directory");
    fs::create_dir(dir.path().join("sub")).unwrap();
    let error = root.enter(b"sub", Follow::Never).unwrap().open_read(b"x/y").unwrap_err();
    assert_eq!(error.to_string(), "open \"sub/x/y\": No such file or directory");
    let error = root.create(b"b", 0o600).unwrap().read_at(&mut [0], u64::MAX).unwrap_err();
    assert_eq!(error.errno, libc::EOVERFLOW);
}

#[test]
fn names_of_255_bytes_and_of_any_bytes() {
    let (_dir, root) = root();
    let longest = vec![b'n'; 255];
    for name in [&longest[..], b"a:b", b"new\nline", b"\xff\xfe", b" ", b"-rf", b"...", "ü".as_bytes()] {
        root.create(name, 0o600).unwrap().write_at(name, 0).unwrap();
        let mut back = vec![0; name.len()];
        assert_eq!(root.open_read(name).unwrap().read_at(&mut back, 0).unwrap(), name.len());
        assert_eq!(back, name);
        assert_eq!(names(&root, b"")[name], Some(Kind::File));
    }
    assert_eq!(errno(root.create(&[b'n'; 256], 0o600)), libc::ENAMETOOLONG);
}

#[test]
fn names_that_lead_out_are_refused_everywhere() {
    let (_dir, root) = root();
    root.make_dir(b"d", 0o700).unwrap();
    for name in [&b".."[..], b"d/../x", b"../x", b"/etc/passwd", b"d/.."] {
        assert!(root.open_read(name).unwrap_err().leaves_root());
        assert!(root.open_write(name).unwrap_err().leaves_root());
        assert!(root.create(name, 0o600).unwrap_err().leaves_root());
        assert!(root.make_dir(name, 0o700).unwrap_err().leaves_root());
        assert!(root.remove_file(name).unwrap_err().leaves_root());
        assert!(root.stat(name).unwrap_err().leaves_root());
        assert!(root.rename(b"d", &root, name, Replace::Yes).unwrap_err().leaves_root());
        assert!(root.enter(name, Follow::Inside).is_err());
    }
    for name in [&b""[..], b".", b"a//b", b"a/", b"a\0"] {
        assert_eq!(errno(root.create(name, 0o600)), libc::EINVAL, "{name:?}");
    }
}

#[test]
fn symlinks_inside_are_read_through_and_those_that_lead_out_are_not() {
    let (dir, root) = root();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"s").unwrap();
    root.make_dir(b"d", 0o700).unwrap();
    root.create(b"d/f", 0o600).unwrap().write_at(b"inside", 0).unwrap();
    symlink("d/f", dir.path().join("file")).unwrap();
    symlink("../d/f", dir.path().join("d/up")).unwrap();
    symlink("d", dir.path().join("dir")).unwrap();
    symlink("..", dir.path().join("parent")).unwrap();
    symlink(outside.path(), dir.path().join("out")).unwrap();
    symlink("/proc/self/root", dir.path().join("magic")).unwrap();
    for name in [&b"file"[..], b"d/up", b"dir/f", b"dir/up"] {
        assert_eq!(root.open_read(name).unwrap().stat().unwrap().size, 6);
        assert_eq!(root.stat_followed(name).unwrap().size, 6);
    }
    for name in [&b"parent/x"[..], b"out/secret", b"magic/etc/passwd"] {
        assert_eq!(errno(root.open_read(name)), libc::EXDEV);
        assert!(root.stat(name).unwrap_err().leaves_root());
        assert!(root.stat_followed(name).unwrap_err().leaves_root());
    }
    assert!(root.enter(b"out", Follow::Inside).unwrap_err().leaves_root());
    assert!(root.list(b"parent", Follow::Inside).err().unwrap().leaves_root());
    assert_eq!(root.list(b"dir", Follow::Inside).unwrap().count(), 2);
}

#[test]
fn no_symlink_is_written_through() {
    let (dir, root) = root();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("kept"), b"kept").unwrap();
    root.make_dir(b"d", 0o700).unwrap();
    root.create(b"d/f", 0o600).unwrap();
    symlink("d", dir.path().join("dir")).unwrap();
    symlink("d/f", dir.path().join("file")).unwrap();
    symlink("absent", dir.path().join("dangling")).unwrap();
    symlink(outside.path(), dir.path().join("out")).unwrap();
    for name in [&b"dir/f"[..], b"file", b"dangling", b"out/kept"] {
        assert_eq!(errno(root.open_write(name)), libc::ELOOP);
    }
    for name in [&b"dir/new"[..], b"out/new"] {
        assert_eq!(errno(root.create(name, 0o600)), libc::ELOOP);
        assert_eq!(errno(root.make_dir(name, 0o700)), libc::ELOOP);
        assert_eq!(errno(root.make_symlink(name, b"x")), libc::ELOOP);
        assert_eq!(errno(root.rename(b"d/f", &root, name, Replace::Yes)), libc::ELOOP);
    }
    assert_eq!(errno(root.create(b"dangling", 0o600)), libc::EEXIST);
    assert_eq!(errno(root.remove_file(b"out/kept")), libc::ELOOP);
    assert_eq!(errno(root.set_mtime(b"out/kept", Timestamp::default())), libc::ELOOP);
    assert_eq!(errno(root.enter(b"out", Follow::Never)), libc::ELOOP);
    // A symlink itself may be replaced: its target stays.
    root.create(b"new", 0o600).unwrap();
    root.rename(b"new", &root, b"out", Replace::Yes).unwrap();
    assert_eq!(root.stat(b"out").unwrap().kind, Kind::File);
    assert_eq!(fs::read(outside.path().join("kept")).unwrap(), b"kept");
}

/// `depth` directories of `width` bytes each, and a file.
fn deep(depth: usize, width: usize) -> Vec<Vec<u8>> {
    (0..depth).map(|level| vec![b'a' + (level % 26) as u8; width]).collect()
}

#[test]
fn long_paths_work_at_and_beyond_the_systems_limit() {
    let (_dir, root) = root();
    // 16 x 251 - 1 = 4015 bytes, 40 x 250 - 1 = 9999 bytes.
    for (depth, width) in [(16, 250), (40, 249)] {
        let parts = deep(depth, width);
        for level in 1..=depth - 1 {
            root.make_dir(&parts[..level].join(&b'/'), 0o700).unwrap();
        }
        let name = parts.join(&b'/');
        assert!(name.len() >= 4_000);
        root.create(&name, 0o600).unwrap().write_at(b"deep", 0).unwrap();
        assert_eq!(root.open_read(&name).unwrap().stat().unwrap().size, 4);
        root.set_mtime(&name, Timestamp { seconds: 7, nanoseconds: 8 }).unwrap();
        assert_eq!(root.stat(&name).unwrap().mtime.ns(), 7_000_000_008);
        let renamed = [&parts[..depth - 1].join(&b'/')[..], b"/z"].concat();
        root.rename(&name, &root, &renamed, Replace::No).unwrap();
        assert_eq!(names(&root, &parts[..depth - 1].join(&b'/')).len(), 1);
        root.remove_file(&renamed).unwrap();
        for level in (1..=depth - 1).rev() {
            root.remove_dir(&parts[..level].join(&b'/')).unwrap();
        }
    }
    assert!(names(&root, b"").is_empty());
}

#[test]
fn names_at_the_systems_limit() {
    let (_dir, root) = root();
    // 4,094, 4,095 and 4,096 bytes: one call, one call, two.
    for last in [14, 15, 16] {
        let parts = deep(16, 254);
        for level in 1..=16 {
            if root.stat(&parts[..level].join(&b'/')).is_err() {
                root.make_dir(&parts[..level].join(&b'/'), 0o700).unwrap();
            }
        }
        let name = [&parts.join(&b'/')[..], b"/", &vec![b'f'; last]].concat();
        assert_eq!(name.len(), 4_080 + last);
        root.create(&name, 0o600).unwrap();
        assert_eq!(root.open_read(&name).unwrap().stat().unwrap().kind, Kind::File);
        root.remove_file(&name).unwrap();
    }
}

#[test]
fn what_is_no_regular_file_is_told_and_never_waited_for() {
    let (dir, root) = root();
    root.make_dir(b"d", 0o700).unwrap();
    let made = std::process::Command::new("mkfifo").arg(dir.path().join("fifo")).status().unwrap();
    assert!(made.success());
    assert_eq!(errno(root.open_read(b"d")), libc::EISDIR);
    assert_eq!(errno(root.open_read(b"fifo")), libc::ENXIO);
    assert_eq!(errno(root.open_write(b"fifo")), libc::ENXIO);
    assert_eq!(root.stat(b"fifo").unwrap().kind, Kind::Other);
    assert_eq!(names(&root, b"")[&b"fifo"[..]], Some(Kind::Other));
}

#[test]
fn holes_stay_holes() {
    let (_dir, root) = root();
    let file = root.create(b"sparse", 0o600).unwrap();
    assert_eq!(file.extents(0).count(), 0);
    file.truncate(10 << 30).unwrap();
    assert_eq!(file.extents(0).count(), 0);
    let block = vec![7; 1 << 20];
    file.write_at(&block, 1 << 30).unwrap();
    file.write_at(b"end", (10 << 30) - 3).unwrap();
    let extents: Vec<_> = file.extents(0).map(|extent| extent.unwrap()).collect();
    assert_eq!(extents[0], 1 << 30..(1 << 30) + (1 << 20));
    assert_eq!((extents.len(), extents[1].end), (2, 10 << 30));
    assert_eq!(file.extents(5 << 30).count(), 1);
    assert_eq!(file.extents((1 << 30) + 4_096).next().unwrap().unwrap().start, (1 << 30) + 4_096);
    assert_eq!(file.extents(10 << 30).count(), 0);
    assert!(file.stat().unwrap().blocks * 512 < 2 << 20);
}

#[test]
fn room_is_taken_and_given_back() {
    let (_dir, root) = root();
    let file = root.create(b"f", 0o600).unwrap();
    assert!(file.allocate(0, 0).unwrap());
    if file.allocate(0, 1 << 20).unwrap() {
        let stat = file.stat().unwrap();
        assert_eq!(stat.size, 0);
        assert!(stat.blocks * 512 >= 1 << 20);
    }
    file.write_at(&[1; 8_192], 0).unwrap();
    if file.punch_hole(0, 4_096).unwrap() {
        let mut buffer = [9; 2];
        file.read_at(&mut buffer, 4_095).unwrap();
        assert_eq!(buffer, [0, 1]);
    }
    file.truncate(1).unwrap();
    assert_eq!(file.stat().unwrap().size, 1);
    let space = root.space().unwrap();
    assert!(space.bytes_free > 0 && space.bytes_free <= space.bytes_total && space.block_bytes > 0);
}

#[test]
fn everything_can_be_made_durable() {
    let (_dir, root) = root();
    let file = root.create(b"f", 0o600).unwrap();
    file.write_at(&[1; 8_192], 0).unwrap();
    file.start_writeback(0, 8_192).unwrap();
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    file.advise_sequential().unwrap();
    file.advise_done(0, 8_192).unwrap();
    let dir = root.open_dir(b"", Follow::Never).unwrap();
    dir.sync_all().unwrap();
    dir.sync_filesystem().unwrap();
}

#[test]
fn renames_replace_at_once_or_not_at_all() {
    let (_dir, root) = root();
    root.make_dir(b".xfer-partial", 0o700).unwrap();
    let partial = root.enter(b".xfer-partial", Follow::Never).unwrap();
    partial.create(b"hash", 0o600).unwrap().write_at(b"new", 0).unwrap();
    root.create(b"target", 0o600).unwrap();
    assert_eq!(errno(partial.rename(b"hash", &root, b"target", Replace::No)), libc::EEXIST);
    partial.rename(b"hash", &root, b"target", Replace::Yes).unwrap();
    assert_eq!(root.stat(b"target").unwrap().size, 3);
    assert!(names(&root, b".xfer-partial").is_empty());
    root.hard_link(b"target", &root, b"again").unwrap();
    assert_eq!(root.stat(b"target").unwrap().nlink, 2);
    let error = root.rename(b"gone", &root, b"x", Replace::Yes).unwrap_err();
    assert_eq!(error.errno, libc::ENOENT);
}

#[test]
fn modes_times_and_symlinks_are_set_and_read() {
    let (dir, root) = root();
    root.create(b"f", 0o600).unwrap();
    root.make_dir(b"d", 0o700).unwrap();
    root.make_symlink(b"l", b"no such \xff target").unwrap();
    assert_eq!(root.read_symlink(b"l").unwrap(), b"no such \xff target");
    assert_eq!(errno(root.read_symlink(b"f")), libc::EINVAL);
    let time = Timestamp { seconds: 1_234_567_890, nanoseconds: 123_456_789 };
    for name in [&b"f"[..], b"d", b"l", b""] {
        root.set_mtime(name, time).unwrap();
        assert_eq!(root.stat(name).unwrap().mtime, time, "{name:?}");
    }
    let before_1970 = Timestamp::from_ns(-1_500_000_000);
    root.open_write(b"f").unwrap().set_mtime(before_1970).unwrap();
    assert_eq!(root.stat(b"f").unwrap().mtime, before_1970);
    for mode in [0o000, 0o644, 0o7777] {
        root.set_mode(b"f", mode).unwrap();
        assert_eq!(root.stat(b"f").unwrap().mode, mode);
    }
    root.open_dir(b"d", Follow::Never).unwrap().set_mode(0o750).unwrap();
    assert_eq!(fs::metadata(dir.path().join("d")).unwrap().permissions().mode() & 0o7777, 0o750);
    assert_eq!(errno(root.set_mode(b"l", 0o600)), libc::EOPNOTSUPP);
}

#[test]
fn stat_says_what_the_system_says() {
    let (dir, root) = root();
    root.create(b"f", 0o640).unwrap().write_at(&[1; 5_000], 0).unwrap();
    let (ours, theirs) = (root.stat(b"f").unwrap(), fs::metadata(dir.path().join("f")).unwrap());
    assert_eq!(
        (ours.size, ours.blocks, ours.ino, ours.dev),
        (5_000, theirs.blocks(), theirs.ino(), theirs.dev())
    );
    assert_eq!((ours.uid, ours.gid, ours.nlink), (theirs.uid(), theirs.gid(), 1));
    assert_eq!(
        (ours.mtime.seconds, i64::from(ours.mtime.nanoseconds)),
        (theirs.mtime(), theirs.mtime_nsec())
    );
    assert_eq!(
        (ours.ctime.seconds, i64::from(ours.ctime.nanoseconds)),
        (theirs.ctime(), theirs.ctime_nsec())
    );
    root.set_owner(b"f", ours.uid, ours.gid).unwrap();
    root.open_write(b"f").unwrap().set_owner(ours.uid, ours.gid).unwrap();
}

#[test]
fn a_lock_holds_until_its_file_is_closed() {
    let (_dir, root) = root();
    let first = root.create(b"f", 0o600).unwrap();
    let second = root.open_write(b"f").unwrap();
    assert!(first.try_lock().unwrap());
    assert!(!second.try_lock().unwrap());
    drop(first);
    assert!(second.try_lock().unwrap());
}

#[test]
fn attributes_are_set_listed_and_read() {
    let (_dir, root) = root();
    let file = root.create(b"f", 0o600).unwrap();
    assert_eq!(file.xattr(b"user.none").unwrap_or(None), None);
    match file.set_xattr(b"user.xfer", b"\x00\xff") {
        Err(error) if error.errno == libc::EOPNOTSUPP => {
            assert!(file.xattr_names().unwrap().is_empty());
        }
        set => {
            set.unwrap();
            file.set_xattr(b"user.empty", b"").unwrap();
            let mut names = file.xattr_names().unwrap();
            names.retain(|name| name.starts_with(b"user."));
            names.sort();
            assert_eq!(names, [b"user.empty".to_vec(), b"user.xfer".to_vec()]);
            assert_eq!(file.xattr(b"user.xfer").unwrap().unwrap(), b"\x00\xff");
            assert_eq!(file.xattr(b"user.empty").unwrap().unwrap(), b"");
        }
    }
}

#[test]
fn large_directories_are_listed_whole_and_once() {
    let (_dir, root) = root();
    let mut expected = BTreeMap::new();
    for number in 0..1_500 {
        let name = format!("{number:0>60}").into_bytes();
        root.create(&name, 0o600).unwrap();
        expected.insert(name, Some(Kind::File));
    }
    assert_eq!(root.list(b"", Follow::Never).unwrap().count(), 1_500);
    assert_eq!(names(&root, b""), expected);
}

#[test]
fn a_root_is_a_directory_that_exists() {
    let (dir, root) = root();
    root.create(b"f", 0o600).unwrap();
    assert_eq!(errno(Root::open(dir.path().join("f"))), libc::ENOTDIR);
    assert_eq!(errno(Root::open(dir.path().join("none"))), libc::ENOENT);
    assert_eq!(errno(Root::open(OsStr::from_bytes(b"a\0b"))), libc::EINVAL);
    root.make_dir(b"d", 0o700).unwrap();
    assert_eq!(root.enter(b"d", Follow::Never).unwrap().prefix(), "d");
}
