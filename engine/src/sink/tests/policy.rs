//! What is compared, kept and promised.

use super::*;
use crate::source::{DigestCache, Identity, Preserve};
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};
use xfer_proto::wire::{Attribute, Durability};

/// Makes `f` with this content, `later` than the source.
fn existing(dir: &Path, bytes: &[u8], later_s: i64) {
    let path = dir.join("f");
    fs::write(&path, bytes).expect("written");
    let time = UNIX_EPOCH + Duration::new((MTIME.0 + later_s) as u64, MTIME.1);
    let file = fs::OpenOptions::new().write(true).open(&path).expect("open");
    file.set_modified(time).expect("time");
}

fn decided(spec: SinkSpec, source: &[u8]) -> Action {
    let mut sender = Sender::new().file("f", source.to_vec());
    sender.run(&FileSink::new(spec))[0].action
}

#[test]
fn each_comparison_skips_what_it_calls_the_same() {
    use Compare::{Digest, Exists, Mtime, Size};
    let cases: [(&[u8], i64, &[Compare]); 4] = [
        (b"same", 0, &[Exists, Size, Mtime]),
        (b"diff", 0, &[Exists, Size, Mtime]),
        (b"same", 7, &[Exists, Size]),
        (b"longer", 0, &[Exists]),
    ];
    for (there, later, skipping) in cases {
        for compare in [Exists, Size, Mtime, Digest] {
            let dir = temporary();
            existing(dir.path(), there, later);
            let action = decided(SinkSpec { compare, ..spec(dir.path()) }, b"same");
            let skips = skipping.contains(&compare);
            assert_eq!(action, if skips { Action::Skipped } else { Action::Copied }, "{compare:?} {there:?}");
            let now = fs::read(dir.path().join("f")).expect("there");
            assert_eq!(now, if skips { there } else { b"same" });
        }
    }
}

#[test]
fn files_that_are_not_to_be_replaced_stay() {
    let cases = [
        (Overwrite::Never, -9, true),
        (Overwrite::Never, 9, true),
        (Overwrite::Older, -9, false),
        (Overwrite::Older, 0, true),
        (Overwrite::Older, 9, true),
        (Overwrite::Always, 9, false),
    ];
    for (overwrite, later, stays) in cases {
        let dir = temporary();
        existing(dir.path(), b"other", later);
        fs::set_permissions(dir.path().join("f"), fs::Permissions::from_mode(0o600)).expect("mode");
        let action = decided(SinkSpec { overwrite, ..spec(dir.path()) }, b"mine!");
        assert_eq!(action == Action::Skipped, stays, "{overwrite:?} {later}");
        let mode = fs::metadata(dir.path().join("f")).expect("there").mode() & 0o7777;
        assert_eq!(mode, if stays { 0o600 } else { 0o640 });
    }
    let dir = temporary();
    assert_eq!(decided(SinkSpec { overwrite: Overwrite::Never, ..spec(dir.path()) }, b"x"), Action::Copied);
}

/// A file system that holds no more than micro- or whole seconds cuts the rest off: the file is not older for that.
#[test]
fn a_file_is_not_older_because_its_time_is_coarser() {
    for (there_ns, source_ns, stays) in [
        (123_456_000, 123_456_789, true),
        (0, 123_456_789, true),
        (123_456_789, 0, true),
        (123_455_000, 123_456_789, false),
        (123_456_788, 123_456_789, false),
    ] {
        let dir = temporary();
        existing(dir.path(), b"other", 0);
        let time = UNIX_EPOCH + Duration::new(MTIME.0 as u64, there_ns);
        let file = fs::OpenOptions::new().write(true).open(dir.path().join("f")).expect("open");
        file.set_modified(time).expect("time");
        let mut sender = Sender::new().file("f", b"mine!".to_vec());
        sender.entries[0].mtime_ns = source_ns;
        let sink = FileSink::new(SinkSpec { overwrite: Overwrite::Older, ..spec(dir.path()) });
        assert_eq!(sender.run(&sink)[0].action == Action::Skipped, stays, "{there_ns} {source_ns}");
    }
}

#[test]
fn a_differing_mode_is_set_and_the_file_skipped() {
    let dir = temporary();
    existing(dir.path(), b"same", 0);
    fs::set_permissions(dir.path().join("f"), fs::Permissions::from_mode(0o444)).expect("mode");
    assert_eq!(decided(spec(dir.path()), b"same"), Action::Skipped);
    let meta = fs::metadata(dir.path().join("f")).expect("there");
    assert_eq!(meta.mode() & 0o7777, 0o640);
    assert_eq!(mtime(&dir.path().join("f")), MTIME);
}

#[test]
fn setuid_and_setgid_are_not_kept() {
    let dir = temporary();
    let mut sender = Sender::new().file("f", vec![1]).directory("d", 0o7755);
    sender.entries[0].mode = 0o6755;
    sender.run(&sink(dir.path()));
    let mode = |name: &str| fs::metadata(dir.path().join(name)).expect("there").mode() & 0o7777;
    assert_eq!((mode("f"), mode("d")), (0o755, 0o1755));
}

#[derive(Default)]
struct Remembered(Mutex<HashMap<Identity, [u8; 32]>>);

impl DigestCache for Remembered {
    fn get(&self, path: &[u8], file: &Identity) -> Option<[u8; 32]> {
        assert_eq!(path, b"f");
        self.0.lock().expect("lock").get(file).copied()
    }

    fn put(&self, _: &[u8], file: &Identity, digest: &[u8; 32]) {
        self.0.lock().expect("lock").insert(*file, *digest);
    }
}

#[test]
fn skipped_files_have_their_digests_from_the_cache_or_by_reading() {
    let dir = temporary();
    existing(dir.path(), b"same", 0);
    let cache = Arc::new(Remembered::default());
    let with_cache = || SinkSpec { digest_cache: Some(cache.clone()), ..spec(dir.path()) };
    let digest =
        |spec: SinkSpec| Sender::new().file("f", b"same".to_vec()).run(&FileSink::new(spec))[0].digest;
    assert_eq!(digest(with_cache()), Some(root(b"same")));
    cache.0.lock().expect("lock").values_mut().for_each(|digest| *digest = [7; 32]);
    assert_eq!(digest(with_cache()), Some([7; 32]), "remembered");
    assert_eq!(digest(spec(dir.path())), Some(root(b"same")), "read");
    assert_eq!(digest(SinkSpec { want_digests: false, ..spec(dir.path()) }), None);
    // What is copied ends with the digest that it was verified by.
    for bytes in [&b"other"[..], &content(1, 3 * CHUNK)] {
        let sink = FileSink::new(SinkSpec { want_digests: false, ..spec(dir.path()) });
        let ended = Sender::new().file("f", bytes.to_vec()).run(&sink);
        assert_eq!((ended[0].action, ended[0].digest), (Action::Copied, Some(root(bytes))));
    }
    existing(dir.path(), b"same", 0);
    fs::remove_file(dir.path().join("f")).expect("removed");
    assert_eq!(digest(with_cache()), Some(root(b"same")));
    assert_eq!(digest(with_cache()), Some(root(b"same")), "put when it was copied");
    assert_eq!(cache.0.lock().expect("lock").len(), 2);
}

#[test]
fn hard_links_are_links_when_they_are_kept() {
    let dir = temporary();
    let tree = || {
        let mut sender = Sender::new().file("a", content(1, 100)).file("b/c", content(1, 100));
        sender.entries[1].attributes.push(Attribute::HardLink(0));
        sender
    };
    let links = Preserve { links: true, ..Preserve::default() };
    for _ in 0..2 {
        let mut sender = tree();
        let ended = sender.run(&FileSink::new(SinkSpec { preserve: links, ..spec(dir.path()) }));
        assert!(ended.iter().all(|end| end.error.is_none()));
        let inode = |name: &str| fs::metadata(dir.path().join(name)).expect("there").ino();
        assert_eq!(inode("a"), inode("b/c"));
        assert_swept(dir.path());
    }
    let other = temporary();
    tree().run(&sink(other.path()));
    let inode = |name: &str| fs::metadata(other.path().join(name)).expect("there").ino();
    assert_ne!(inode("a"), inode("b/c"));
}

#[test]
fn owner_and_attributes_are_kept_when_asked_for() {
    let dir = temporary();
    let mut sender = Sender::new().file("f", content(1, 2 * CHUNK)).directory("d", 0o755).symlink("l", b"t");
    for entry in &mut sender.entries {
        entry.attributes.push(Attribute::Owner { uid: 12, gid: 34 });
    }
    let preserve = Preserve { owner: true, ..Preserve::default() };
    let ended = sender.run(&FileSink::new(SinkSpec { preserve, ..spec(dir.path()) }));
    let owner = |name: &str| fs::symlink_metadata(dir.path().join(name)).map(|m| (m.uid(), m.gid())).ok();
    if owner("l") == Some((12, 34)) {
        assert_eq!((owner("f"), owner("d")), (Some((12, 34)), Some((12, 34))));
    } else {
        let denied = |end: &Ended| end.error.as_ref().map(|e| e.class) == Some(Class::Denied);
        assert!(ended.iter().all(denied), "without the right to, each says so: {ended:?}");
    }
}

#[test]
fn extended_attributes_are_kept_in_the_users_name_space_only() {
    let dir = temporary();
    let attribute = |name: &[u8]| Attribute::Xattr { name: name.to_vec(), value: b"value".to_vec() };
    let mut sender = Sender::new().file("f", vec![1]);
    sender.entries[0].attributes = vec![attribute(b"user.xfer"), attribute(b"trusted.xfer")];
    let preserve = Preserve { xattr: true, ..Preserve::default() };
    let ended = sender.run(&FileSink::new(SinkSpec { preserve, ..spec(dir.path()) }));
    if let Some(error) = &ended[0].error {
        assert_eq!(error.errno, Some(libc::EOPNOTSUPP), "the file system has no such attributes: {error}");
        return;
    }
    let file = Root::open(dir.path()).and_then(|root| root.open_read(b"f")).expect("open");
    assert_eq!(file.xattr(b"user.xfer").expect("readable"), Some(b"value".to_vec()));
    assert_eq!(file.xattr(b"trusted.xfer").expect("readable"), None);
}

#[test]
fn no_room_is_told_before_anything_is_sent() {
    let dir = temporary();
    let mut sender = Sender::new().file("f", vec![0; 2 * CHUNK]);
    sender.entries[0].size = 1 << 47;
    let error = sink(dir.path()).decide(&sender.page()).expect_err("128 TiB do not fit");
    assert_eq!((error.class, error.errno), (Class::Fatal, Some(libc::ENOSPC)));
    assert_eq!(fs::read_dir(dir.path()).expect("directory").count(), 0);
}

#[test]
fn a_wrong_inline_digest_fails_the_object() {
    let dir = temporary();
    let mut sender = Sender::new().inline("f", vec![1, 2, 3]);
    sender.entries[0].inline.as_mut().expect("inline").digest[0] ^= 1;
    let ended = sender.run(&sink(dir.path()));
    assert_eq!(ended[0].error.as_ref().map(|e| e.class), Some(Class::Digest));
    assert!(!dir.path().join("f").exists());
}

#[test]
fn each_durability_is_what_it_says_at_the_end() {
    for durability in [Durability::None, Durability::Batch, Durability::File] {
        let dir = temporary();
        let mut sender = Sender::new().inline("f", vec![1]).symlink("l", b"t").directory("d", 0o755);
        let sink = FileSink::new(SinkSpec { durability, ..spec(dir.path()) });
        sender.list(&sink).expect("decided");
        assert_eq!(dir.path().join("f").exists(), durability != Durability::Batch);
        assert_eq!(sink.finish().expect("ends").1, durability);
        assert!(dir.path().join("f").exists());
    }
}

#[test]
fn thousands_of_small_files_are_named_in_batches() {
    let dir = temporary();
    let mut sender = Sender::new();
    for n in 0..1_500 {
        sender = sender.file(format!("d{}/f{n}", n % 150), vec![n as u8; 1 + n % 40]);
    }
    let ended = sender.run(&sink(dir.path()));
    assert!(ended.iter().all(|end| end.action == Action::Copied));
    for n in 0..1_500 {
        let read = fs::read(dir.path().join(format!("d{}/f{n}", n % 150))).expect("written");
        assert_eq!(read, vec![n as u8; 1 + n % 40]);
    }
    assert_swept(dir.path());
}

/// More than any file system here has free.
const TOO_MUCH: u64 = 1 << 47;

#[test]
fn what_does_not_fit_is_refused_before_it_comes() {
    let dir = temporary();
    let mut sender = Sender::new().file("f", Vec::new());
    sender.entries[0].size = TOO_MUCH;
    let error = sink(dir.path()).decide(&sender.page()).expect_err("there is no room");
    assert_eq!((error.class, error.side), (Class::Fatal, Some(crate::error::Side::Destination)));
    assert_eq!(error.errno, Some(libc::ENOSPC));
    let text = error.to_string();
    assert!(text.starts_with(&format!("dst: no room in .: {TOO_MUCH} bytes needed, ")), "{text}");
    assert!(text.ends_with(" free"), "{text}");
    assert_swept(dir.path());
}

#[test]
fn holes_take_no_room() {
    let dir = temporary();
    let sink = sink(dir.path());
    let data = 2 * CHUNK as u64;
    let mut sender = Sender::new().file("f", content(1, 3 * CHUNK)).file("g", Vec::new());
    sender.entries[0].attributes = vec![Attribute::Data(data)];
    sender.entries[1].size = TOO_MUCH;
    sender.entries[1].attributes = vec![Attribute::Data(5)];
    sender.list(&sink).expect("there is room for the data");
    let promised = || sink.promised.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(promised(), data + 5);
    let plan = sender.plan(1);
    let digests = vec![crate::digest::zeros_chunk_value(CHUNK as u64, CHUNK as u64)];
    let hole = Encoding { codec: Codec::Extents, stored_len: 0, digests };
    assert!(matches!(sink.write(&plan, &hole, &[]), Ok(Verdict::Accepted(_))));
    assert_eq!(promised(), data + 5, "a hole is not what was promised");
    sender.send(&sink, 0);
    assert_eq!(promised(), data + 5 - CHUNK as u64);
    sink.withdraw(1, Error::new(Class::Other, "no longer wanted"));
    sender.send(&sink, 2);
    assert_eq!(promised(), 0);
    sink.abort();
}
