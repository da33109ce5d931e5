//! Ranges of a node's files, read by a real client over loopback: within calls and through the engine, one and many, right and wrong.

mod in_process;

use in_process::{Served, config};
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::sync::mpsc::channel;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use xfer_client::limits::{RANGE_CALL_LEN_MAX, RANGES_WAITING_MAX};
use xfer_client::{Access, FileRange, RangeQueue, ReadRange};
use xfer_engine::digest;
use xfer_engine::{Class, Error};
use xfer_node::{AuditTo, Caps, Node, NodeConfig, Roots};

const SIZE: u64 = RANGE_CALL_LEN_MAX + (3 << 20) + 17;

fn serve(caps: Caps) -> Served {
    Served::start(|dir| {
        let root = dir.join("root");
        fs::create_dir_all(root.join("d")).unwrap();
        fs::write(root.join("f"), content()).unwrap();
        fs::write(dir.join("secret"), "secret").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("/etc/passwd", root.join("far")).unwrap();
        symlink("../f", root.join("d/in")).unwrap();
        let audit = Some(AuditTo::File(dir.join("audit")));
        NodeConfig { caps, audit, ..config(dir, Roots::One(root)) }
    })
}

fn content() -> &'static [u8] {
    static CONTENT: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..SIZE).map(|at| (at / 1_000 + at % 251) as u8).collect());
    &CONTENT
}

fn queue(served: &Served) -> RangeQueue {
    RangeQueue::new(Arc::new(Access::new(served.link.clone(), Duration::from_secs(10)))).unwrap()
}

fn range(path: &str, offset: u64, len: u64) -> FileRange {
    FileRange { path: path.as_bytes().to_vec(), offset, len }
}

fn is_right(read: &ReadRange, offset: u64, len: u64) -> bool {
    let start = offset.min(SIZE) as usize;
    let expected = &content()[start..start + len.min(SIZE - start as u64) as usize];
    read.content == expected && read.digest == digest::root(expected) && read.file_size == SIZE
}

#[test]
fn ranges_of_any_length_are_cut_where_the_file_ends() {
    let served = serve(Caps::default());
    let queue = queue(&served);
    let large = RANGE_CALL_LEN_MAX + 1;
    for (offset, len) in [
        (0, 0),
        (0, 1),
        (SIZE - 1, 1),
        (SIZE - 1, 2),
        (SIZE, 1),
        (u64::MAX, 1),
        (1, RANGE_CALL_LEN_MAX),
        // From here on by downloads.
        (1, large),
        (SIZE - large, large),
        (SIZE - large + 1, large),
        (SIZE - 1_024, large),
        (SIZE - 1_025, large),
        (SIZE, large),
        (0, u64::MAX),
        (u64::MAX, u64::MAX),
    ] {
        for path in ["f", "/d//in"] {
            let read = queue.read(range(path, offset, len)).unwrap();
            assert!(is_right(&read, offset, len), "{path} from {offset}, {len} bytes");
        }
    }
}

#[test]
fn nothing_outside_and_nothing_that_is_no_file_is_read() {
    let served = serve(Caps::default());
    let queue = queue(&served);
    for len in [1, RANGE_CALL_LEN_MAX + 1] {
        for (path, class) in [
            ("out", Class::Refused),
            ("far", Class::Refused),
            ("d/../../secret", Class::Refused),
            ("f\0", Class::Refused),
            ("no", Class::NoSource),
            ("f/f", Class::NoSource),
            (".xfer-partial/f", Class::NoSource),
            ("f/", Class::Usage),
        ] {
            let error = queue.read(range(path, 0, len)).unwrap_err();
            assert_eq!(error.class, class, "{path}: {error}");
            assert!(error.to_string().contains(path.trim_end_matches('\0')), "{error}");
        }
        assert_eq!(queue.read(range("d", 0, len)).unwrap_err().errno, Some(21));
        assert!(queue.read(range("", 0, len)).is_err());
    }
}

/// Submits all, and gathers what came of them in the order of submission.
fn read_all(queue: &RangeQueue, ranges: &[FileRange]) -> Vec<Result<ReadRange, Error>> {
    let (tell, told) = channel();
    for (at, range) in ranges.iter().enumerate() {
        let tell = tell.clone();
        assert!(queue.submit(range.clone(), Box::new(move |read| tell.send((at, read)).unwrap())));
    }
    drop(tell);
    let mut read: Vec<_> = told.iter().collect();
    read.sort_by_key(|(at, _)| *at);
    read.into_iter().map(|(_, read)| read).collect()
}

#[test]
fn many_ranges_are_read_at_once() {
    let served = serve(Caps::default());
    let queue = queue(&served);
    let ranges: Vec<_> = (0..1_500)
        .map(|at| match at {
            700 => range("no", 0, 1),
            800 => range("f", 5, SIZE),
            _ => range("f", at * 97 % SIZE, at * 31 % 5_000),
        })
        .collect();
    let read = read_all(&queue, &ranges);
    assert_eq!(read.len(), ranges.len());
    let whole = content();
    for (at, (read, asked)) in read.iter().zip(&ranges).enumerate() {
        match read {
            Ok(read) => {
                let end = (asked.offset + asked.len).min(SIZE) as usize;
                assert!(read.content == whole[asked.offset as usize..end], "{asked:?}");
            }
            Err(error) => assert_eq!((at, error.class), (700, Class::NoSource)),
        }
    }
}

#[test]
fn a_file_that_changed_is_told_by_its_state() {
    let served = serve(Caps::default());
    let queue = queue(&served);
    for len in [10, RANGE_CALL_LEN_MAX + 1] {
        let before = queue.read(range("f", 0, len)).unwrap();
        let file = fs::File::options().write(true).open(served.path("root/f")).unwrap();
        file.write_all_at(b"other", 0).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(len)).unwrap();
        let after = queue.read(range("f", 0, len)).unwrap();
        assert_eq!(&after.content[..5], b"other");
        assert_ne!((before.file_size, before.mtime_ns), (after.file_size, after.mtime_ns));
        fs::write(served.path("root/f"), content()).unwrap();
    }
}

#[test]
fn a_queue_cancels_and_is_bounded() {
    let served = serve(Caps::default());
    let queue = queue(&served);
    queue.read(range("f", 0, 1)).unwrap();
    let (tell, told) = channel();
    let mut taken = 0;
    // The thread takes some meanwhile, and has room for as many again.
    while taken < 4 * RANGES_WAITING_MAX {
        let tell = tell.clone();
        let done = Box::new(move |read: Result<_, Error>| tell.send(read.err()).unwrap());
        if !queue.submit(range("f", 0, RANGE_CALL_LEN_MAX + 1), done) {
            break;
        }
        taken += 1;
    }
    assert!((RANGES_WAITING_MAX..4 * RANGES_WAITING_MAX).contains(&taken), "{taken}");
    queue.cancel();
    drop(tell);
    let ended: Vec<_> = told.iter().collect();
    assert_eq!(ended.len(), taken);
    assert!(ended.iter().flatten().all(|error| error.class == Class::Interrupted));
    assert!(ended.iter().flatten().count() > taken / 2);
    assert_eq!(queue.read(range("f", 0, 1)).unwrap().content.len(), 1);
}

#[test]
fn a_crowded_node_is_waited_for() {
    // 250 at once, and 50 a second.
    let served = serve(Caps { calls_per_client: 50, ..Caps::default() });
    let queue = queue(&served);
    for at in 0..260 {
        assert!(is_right(&queue.read(range("f", at, 3)).unwrap(), at, 3));
    }
}

#[test]
fn a_node_that_was_away_is_found_again() {
    let served = serve(Caps::default());
    let queue = queue(&served);
    assert!(is_right(&queue.read(range("f", 1, 2)).unwrap(), 1, 2));
    let listen = served.node.control_addresses().to_vec();
    served.node.shut_down();
    let node = Node::start(NodeConfig {
        listen,
        ..config(served.dir.path(), Roots::One(served.dir.path().join("root")))
    });
    for (offset, len) in [(1, 2), (0, SIZE)] {
        assert!(is_right(&queue.read(range("f", offset, len)).unwrap(), offset, len));
    }
    node.unwrap().shut_down();
    assert_eq!(queue.read(range("f", 0, 1)).unwrap_err().class, Class::Temporary);
}

#[test]
fn the_audit_has_a_line_for_each_call() {
    let served = serve(Caps::default());
    let queue = queue(&served);
    queue.read(range("f", 0, 3)).unwrap();
    queue.read(range("no", 0, 3)).unwrap_err();
    drop(queue);
    served.node.shut_down();
    let text = fs::read_to_string(served.dir.path().join("audit")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut told: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            (
                text(&line["result"]),
                text(&line["names"][0]["path"]),
                line["bytes"].as_u64(),
                text(&line["digest"]),
            )
        })
        .collect();
    let digest: String = digest::root(&content()[..3]).iter().map(|byte| format!("{byte:02x}")).collect();
    // A line may be written a moment after the client has its answer.
    told.sort();
    assert_eq!(told[0], ("done".to_owned(), "f".to_owned(), Some(3), digest));
    assert_eq!(told[1], ("failed".to_owned(), "no".to_owned(), Some(0), String::new()));
    assert_eq!(told.len(), 2);
}
