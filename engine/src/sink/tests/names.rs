//! Names, trees, symlinks: where things end up, and where they must not.

use super::*;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

fn path(dir: &Path, name: &[u8]) -> std::path::PathBuf {
    dir.join(std::ffi::OsStr::from_bytes(name))
}

#[test]
fn names_are_bytes() {
    let dir = temporary();
    let names: Vec<Vec<u8>> = vec![
        b"a:b".to_vec(),
        b"new\nline".to_vec(),
        b"not utf-8 \xff\xfe".to_vec(),
        b" leading and trailing ".to_vec(),
        b"-rf".to_vec(),
        vec![b'x'; 255],
        vec![0xff; 255],
    ];
    let mut sender = Sender::new();
    for (n, name) in names.iter().enumerate() {
        sender = sender.file(name, content(n as u64, n * 50_000));
    }
    let ended = sender.run(&sink(dir.path()));
    for ((n, name), end) in names.iter().enumerate().zip(&ended) {
        assert_eq!(end.name, *name);
        assert_eq!(fs::read(path(dir.path(), name)).expect("written"), content(n as u64, n * 50_000));
    }
    assert_swept(dir.path());
}

#[test]
fn a_path_of_4000_bytes_is_one_too() {
    let dir = temporary();
    let component = vec![b'd'; 249];
    let mut deep = component.clone();
    while deep.len() + 250 <= 3_998 {
        deep.push(b'/');
        deep.extend(&component);
    }
    deep.push(b'/');
    deep.resize(3_998, b'e');
    let name = [&deep[..], b"/f"].concat();
    assert_eq!(name.len(), 4_000);
    let large = [&deep[..], b"/g"].concat();
    for above in [&b""[..], &[b'u'; 200]] {
        let target = match above {
            b"" => Target::into_directory(Root::open(dir.path()).expect("root")),
            name => {
                let source = SourceInfo {
                    basename: component.clone(),
                    kind: EntryKind::Directory,
                    contents_only: true,
                };
                let root = Root::open(dir.path()).expect("root");
                Target::resolve(Ground::Served(&root), name, &[source], true).expect("fits")
            }
        };
        let mut sender =
            Sender::new().directory(&deep, 0o700).file(&name, vec![1]).file(&large, content(1, 3 * CHUNK));
        let ended = sender.run(&FileSink::new(SinkSpec::new(target.clone(), CHUNK_LOG2)));
        assert_eq!(actions(&ended), [Action::Copied; 3], "{ended:?}");
        let again = sender.run(&FileSink::new(SinkSpec::new(target, CHUNK_LOG2)));
        assert_eq!(actions(&again), [Action::Skipped; 3]);
    }
}

#[test]
fn directories_have_their_modes_and_times_at_the_end() {
    let dir = temporary();
    let tree = || {
        Sender::new()
            .directory(".", 0o750)
            .directory("a", 0o555)
            .directory("a/b", 0o500)
            .file("a/b/f", content(1, 2 * CHUNK))
            .file("a/g", content(2, 5))
            .symlink("a/l", b"nowhere")
            .directory("empty", 0o711)
    };
    for _ in 0..2 {
        tree().run(&sink(dir.path()));
        for (name, mode) in [(".", 0o750), ("a", 0o555), ("a/b", 0o500), ("empty", 0o711)] {
            let path = dir.path().join(name);
            assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, mode, "{name}");
            assert_eq!(mtime(&path), MTIME, "{name}");
        }
        assert_eq!(mtime(&dir.path().join("a/l")), MTIME);
        assert_swept(dir.path());
    }
    let ended = tree().run(&sink(dir.path()));
    assert_eq!(actions(&ended), [Action::Skipped; 7]);
    assert_eq!(ended[5].digest, Some(root(b"nowhere")));
    assert!(ended[0].is_directory && !ended[5].is_directory);
}

#[test]
fn more_directories_than_are_kept_open() {
    let dir = temporary();
    let mut sender = Sender::new();
    for n in 0..300 {
        sender = sender.directory(format!("d{n:03}"), 0o755).file(format!("d{n:03}/f"), vec![n as u8; n]);
    }
    let ended = sender.run(&sink(dir.path()));
    assert!(ended.iter().all(|end| end.action == Action::Copied));
    for n in 0..300 {
        assert_eq!(fs::read(dir.path().join(format!("d{n:03}/f"))).expect("written"), vec![n as u8; n]);
        assert_eq!(mtime(&dir.path().join(format!("d{n:03}"))), MTIME);
    }
    assert_swept(dir.path());
}

#[test]
fn symlinks_are_made_replaced_and_kept() {
    let dir = temporary();
    fs::write(dir.path().join("was-file"), b"x").expect("file");
    symlink("elsewhere", dir.path().join("was-other")).expect("symlink");
    fs::create_dir(dir.path().join("was-dir")).expect("directory");
    let mut sender = Sender::new()
        .symlink("dangling", b"no/where")
        .symlink("raw", b"\xff\n")
        .symlink("was-dir", b"t")
        .symlink("was-file", b"t")
        .symlink("was-other", b"t");
    let ended = sender.run(&sink(dir.path()));
    let copied = Action::Copied;
    assert_eq!(actions(&ended), [copied, copied, Action::Failed, copied, copied]);
    assert_eq!(ended[2].error.as_ref().map(|e| e.class), Some(Class::Usage));
    for (name, target) in
        [("dangling", &b"no/where"[..]), ("raw", b"\xff\n"), ("was-file", b"t"), ("was-other", b"t")]
    {
        let read = fs::read_link(dir.path().join(name)).expect("symlink");
        assert_eq!(read.as_os_str().as_bytes(), target);
        assert_eq!(mtime(&dir.path().join(name)), MTIME);
    }
    assert_swept(dir.path());
}

#[test]
fn kinds_that_do_not_fit_fail_alone() {
    let dir = temporary();
    fs::create_dir(dir.path().join("dir")).expect("directory");
    fs::write(dir.path().join("file"), b"x").expect("file");
    let mut sender = Sender::new()
        .file("dir", content(1, 10))
        .directory("file", 0o755)
        .file("file/below", vec![1])
        .file("ok", content(2, 10));
    let ended = sender.run(&sink(dir.path()));
    let failed = Action::Failed;
    assert_eq!(actions(&ended), [failed, failed, failed, Action::Copied]);
    assert_eq!(ended[0].error.as_ref().map(|e| e.class), Some(Class::Usage));
    assert!(dir.path().join("dir").is_dir());
    assert_eq!(fs::read(dir.path().join("file")).expect("untouched"), b"x");
}

#[test]
fn nothing_is_written_through_a_symlink() {
    let outside = temporary();
    fs::write(outside.path().join("f"), b"precious").expect("file");
    let dir = temporary();
    symlink(outside.path(), dir.path().join("out")).expect("symlink");
    symlink(outside.path().join("f"), dir.path().join("f")).expect("symlink");
    symlink(outside.path(), dir.path().join("up")).expect("symlink");
    let mut sender = Sender::new()
        .file("f", content(1, 100))
        .directory("out", 0o777)
        .file("out/f", content(2, 100))
        .file("up/new/large", content(3, 2 * CHUNK));
    let ended = sender.run(&sink(dir.path()));
    assert_eq!(actions(&ended), [Action::Copied, Action::Failed, Action::Failed, Action::Failed]);
    for end in &ended[1..] {
        assert_eq!(end.error.as_ref().map(|e| e.class), Some(Class::Refused), "{end:?}");
    }
    assert_eq!(fs::read(dir.path().join("f")).expect("replaced, not followed"), content(1, 100));
    assert_eq!(fs::read_dir(outside.path()).expect("directory").count(), 1);
    assert_eq!(fs::read(outside.path().join("f")).expect("untouched"), b"precious");
}

#[test]
fn a_directory_that_becomes_a_symlink_meanwhile_is_not_written_through() {
    let outside = temporary();
    let dir = temporary();
    let mut sender = Sender::new()
        .directory("d", 0o755)
        .file("d/small", content(1, 100))
        .file("d/large", content(2, 3 * CHUNK));
    let sink = sink(dir.path());
    sender.list(&sink).expect("decided");
    let missing = sender.missing();
    sender.send(&sink, missing[0]);
    sink.sync().expect("synced");
    fs::rename(dir.path().join("d"), dir.path().join("moved")).expect("renamed");
    symlink(outside.path(), dir.path().join("d")).expect("symlink");
    for chunk in &missing[1..] {
        sender.send(&sink, *chunk);
    }
    let (ended, _) = sink.finish().expect("ends");
    assert_eq!(fs::read_dir(outside.path()).expect("directory").count(), 0);
    assert!(ended.iter().any(|end| end.is_directory && end.action == Action::Failed), "{ended:?}");
}

#[test]
fn a_partial_directory_that_is_a_symlink_is_not_followed() {
    let outside = temporary();
    fs::write(outside.path().join("x.tmp"), b"precious").expect("file");
    let dir = temporary();
    symlink(outside.path(), dir.path().join(".xfer-partial")).expect("symlink");
    let mut sender = Sender::new().file("f", content(1, 100)).file("g", content(1, 2 * CHUNK));
    let ended = sender.run(&sink(dir.path()));
    assert_eq!(actions(&ended), [Action::Failed, Action::Failed]);
    assert_eq!(fs::read_dir(outside.path()).expect("directory").count(), 1);
}

#[test]
fn names_of_partial_files_are_refused() {
    let dir = temporary();
    let mut sender = Sender::new()
        .file(".xfer-partial/f", vec![1])
        .directory("a/.xfer-partial", 0o755)
        .file("ok", vec![1]);
    let ended = sender.run(&sink(dir.path()));
    assert_eq!(actions(&ended), [Action::Failed, Action::Failed, Action::Copied]);
    assert_eq!(ended[0].error.as_ref().map(|e| e.class), Some(Class::Refused));
}

#[test]
fn directories_that_no_one_listed_are_made() {
    let dir = temporary();
    let mut sender = Sender::new().file("a/b/c/f", vec![1]).inline("x/y", vec![2]);
    assert_eq!(actions(&sender.run(&sink(dir.path()))), [Action::Copied; 2]);
    assert_eq!(fs::read(dir.path().join("a/b/c/f")).expect("written"), [1]);
}

#[test]
fn a_directory_without_rights_gets_them_while_it_is_filled() {
    let dir = temporary();
    let sub = dir.path().join("d");
    fs::create_dir(&sub).expect("directory");
    fs::set_permissions(&sub, fs::Permissions::from_mode(0o000)).expect("mode");
    let sink = sink(dir.path());
    let mut sender = Sender::new().directory("d", 0o400).file("d/f", vec![1]);
    sender.list(&sink).expect("decided");
    assert_eq!(fs::metadata(&sub).expect("there").mode() & 0o700, 0o700);
    sender.send(&sink, 0);
    sink.finish().expect("ends");
    assert_eq!(fs::metadata(&sub).expect("there").mode() & 0o7777, 0o400);
}
