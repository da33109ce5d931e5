//! A disk that loses power: what was recorded of a sink's calls, up to some call, and of that what a crash may leave.
//!
//! What a sync covers is there. Of everything else each change is there or is not, whatever came before or after it, and a write may be
//! there in some of its sectors only. A rename takes one name and gives the other at once.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};
use xfer_io::file::faults::Op;

/// What a write is kept or lost in.
const SECTOR: u64 = 512;

/// A file, directory or symlink.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    File { content: Vec<u8>, mtime: (i64, u32) },
    Directory(BTreeMap<Vec<u8>, usize>),
    Symlink(Vec<u8>),
}

/// All that a directory holds, at one moment. The first node is the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    nodes: Vec<Node>,
    by_ino: HashMap<u64, usize>,
}

/// What a crash does to changes that no sync covers. Bits of a hash decide where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    /// All are there: the process was killed, the machine was not.
    Kept,
    /// None is.
    Lost,
    /// Content is not, names and sizes are.
    ContentLost,
    /// Names are not, content is.
    NamesLost,
    /// Each is there or not, by a seed; writes in parts.
    Some(u64),
}

/// What a change is to a crash.
enum Change {
    Content,
    Name,
}

impl Crash {
    fn keeps(self, change: &Change, at: usize, sector: u64) -> bool {
        match (self, change) {
            (Crash::Kept, _) | (Crash::ContentLost, Change::Name) | (Crash::NamesLost, Change::Content) => {
                true
            }
            (Crash::Lost | Crash::ContentLost | Crash::NamesLost, _) => false,
            (Crash::Some(seed), _) => {
                let mut hasher = blake3::Hasher::new();
                for word in [seed, at as u64, sector] {
                    hasher.update(&word.to_le_bytes());
                }
                // Half of the seeds keep most, the others little.
                let threshold = if seed % 2 == 0 { 200 } else { 60 };
                hasher.finalize().as_bytes()[0] < threshold
            }
        }
    }
}

/// A recorded call, with the nodes that it is about.
struct Step<'a> {
    op: &'a Op,
    /// Nodes whose sync makes it durable.
    covered_by: Vec<usize>,
    /// The node that it makes, names or changes.
    node: usize,
    durable: bool,
}

impl Disk {
    /// What is beneath `top` now.
    pub(super) fn of(top: &Path) -> Disk {
        let mut disk = Disk { nodes: Vec::new(), by_ino: HashMap::new() };
        disk.add(top);
        disk
    }

    fn add(&mut self, path: &Path) -> usize {
        let meta = fs::symlink_metadata(path).expect("there");
        if let Some(known) = self.by_ino.get(&meta.ino()) {
            return *known;
        }
        let node = self.nodes.len();
        self.by_ino.insert(meta.ino(), node);
        self.nodes.push(Node::Directory(BTreeMap::new()));
        self.nodes[node] = if meta.is_dir() {
            let entries = fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry"));
            Node::Directory(entries.map(|e| (e.file_name().into_vec(), self.add(&e.path()))).collect())
        } else if meta.is_symlink() {
            Node::Symlink(fs::read_link(path).expect("a symlink").into_os_string().into_vec())
        } else {
            let mtime = (meta.mtime(), meta.mtime_nsec() as u32);
            Node::File { content: fs::read(path).expect("a file"), mtime }
        };
        node
    }

    /// Makes all of it beneath `top`, which is empty.
    pub(super) fn put(&self, top: &Path) {
        self.put_node(0, top, &mut HashMap::new());
    }

    fn put_node(&self, node: usize, path: &Path, made: &mut HashMap<usize, std::path::PathBuf>) {
        if let (Some(first), Node::File { .. }) = (made.get(&node), &self.nodes[node]) {
            return fs::hard_link(first, path).expect("linked");
        }
        made.insert(node, path.to_path_buf());
        match &self.nodes[node] {
            Node::Directory(entries) => {
                if node != 0 {
                    fs::create_dir(path).expect("made");
                }
                for (name, node) in entries {
                    self.put_node(*node, &path.join(std::ffi::OsStr::from_bytes(name)), made);
                }
            }
            Node::File { content, mtime } => {
                fs::write(path, content).expect("written");
                let since = Duration::new(mtime.0 as u64, mtime.1);
                let file = fs::File::options().write(true).open(path).expect("open");
                file.set_modified(SystemTime::UNIX_EPOCH + since).expect("a time");
            }
            Node::Symlink(target) => symlink(std::ffi::OsStr::from_bytes(target), path).expect("a symlink"),
        }
    }

    /// What tells this state from others; numbers of nodes that have no name do not.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        self.hash(0, &mut hasher);
        *hasher.finalize().as_bytes()
    }

    fn hash(&self, node: usize, hasher: &mut blake3::Hasher) {
        match &self.nodes[node] {
            Node::Directory(entries) => {
                hasher.update(b"d").update(&entries.len().to_le_bytes());
                for (name, node) in entries {
                    hasher.update(&name.len().to_le_bytes()).update(name);
                    self.hash(*node, hasher);
                }
            }
            Node::File { content, mtime } => {
                hasher.update(b"f").update(&content.len().to_le_bytes()).update(content);
                hasher.update(&mtime.0.to_le_bytes()).update(&mtime.1.to_le_bytes());
            }
            Node::Symlink(target) => {
                hasher.update(b"s").update(&target.len().to_le_bytes()).update(target);
            }
        }
    }

    /// What a crash leaves of this disk and the calls made on it.
    pub(super) fn after(&self, ops: &[Op], crash: Crash) -> Disk {
        let mut disk = self.clone();
        let steps = disk.steps(ops);
        for (at, step) in steps.iter().enumerate() {
            disk.take(at, step, crash);
        }
        disk
    }

    /// Finds the nodes of all calls, makes the new ones, and tells what is durable.
    fn steps<'a>(&mut self, ops: &'a [Op]) -> Vec<Step<'a>> {
        let mut steps: Vec<Step<'a>> = Vec::with_capacity(ops.len());
        // Changes that a failed sync gave up: no later one covers them.
        let mut given_up = vec![false; ops.len()];
        for op in ops {
            let (node, covered_by) = self.nodes_of(op);
            match op {
                Op::Sync { .. } => {
                    for (step, given_up) in steps.iter_mut().zip(&given_up) {
                        step.durable |= !given_up && step.covered_by.contains(&node);
                    }
                }
                Op::SyncFailed { .. } => {
                    for (step, given_up) in steps.iter().zip(&mut given_up) {
                        *given_up |= !step.durable && step.covered_by.contains(&node);
                    }
                }
                Op::SyncFileSystem => {
                    let whole = steps.iter_mut().zip(&given_up);
                    whole.for_each(|(step, given_up)| step.durable |= !given_up);
                }
                _ => {}
            }
            steps.push(Step { op, covered_by, node, durable: false });
        }
        steps
    }

    fn nodes_of(&mut self, op: &Op) -> (usize, Vec<usize>) {
        let known = |disk: &Disk, ino: &u64| *disk.by_ino.get(ino).unwrap_or(&usize::MAX);
        match op {
            Op::Create { dir, ino, .. } => {
                let file = Node::File { content: Vec::new(), mtime: (0, 0) };
                (self.make(*ino, file), vec![known(self, dir)])
            }
            Op::MakeDir { dir, ino, .. } => {
                (self.make(*ino, Node::Directory(BTreeMap::new())), vec![known(self, dir)])
            }
            Op::Symlink { dir, ino, target, .. } => {
                (self.make(*ino, Node::Symlink(target.clone())), vec![known(self, dir)])
            }
            Op::Write { ino, .. }
            | Op::Truncate { ino, .. }
            | Op::Punch { ino, .. }
            | Op::SetTime { ino, .. } => (known(self, ino), vec![known(self, ino)]),
            Op::Sync { ino } | Op::SyncFailed { ino } => (known(self, ino), Vec::new()),
            Op::SyncFileSystem => (usize::MAX, Vec::new()),
            Op::Rename { to, ino, .. } => (known(self, ino), vec![known(self, &to.0)]),
            Op::Link { dir, ino, .. } => (known(self, ino), vec![known(self, dir)]),
            Op::Remove { dir, .. } => (usize::MAX, vec![known(self, dir)]),
        }
    }

    fn make(&mut self, ino: u64, node: Node) -> usize {
        self.nodes.push(node);
        self.by_ino.insert(ino, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn take(&mut self, at: usize, step: &Step<'_>, crash: Crash) {
        let kept = |change: Change| step.durable || crash.keeps(&change, at, 0);
        match step.op {
            Op::Create { name, .. }
            | Op::MakeDir { name, .. }
            | Op::Symlink { name, .. }
            | Op::Link { name, .. }
                if kept(Change::Name) =>
            {
                self.name(step.covered_by[0], name, Some(step.node));
            }
            Op::Remove { name, .. } if kept(Change::Name) => self.name(step.covered_by[0], name, None),
            Op::Rename { from, to, .. } if kept(Change::Name) => {
                let from_dir = *self.by_ino.get(&from.0).unwrap_or(&usize::MAX);
                self.name(from_dir, &from.1, None);
                self.name(step.covered_by[0], &to.1, Some(step.node));
            }
            Op::Write { offset, bytes, .. } => {
                for (start, part) in sectors(*offset, bytes) {
                    if step.durable || crash.keeps(&Change::Content, at, start / SECTOR) {
                        self.write(step.node, start, part);
                    }
                }
            }
            Op::Truncate { len, .. } if kept(Change::Name) => self.resize(step.node, *len),
            Op::Punch { offset, len, .. } if kept(Change::Content) => self.punch(step.node, *offset, *len),
            Op::SetTime { mtime, .. } if kept(Change::Name) => {
                if let Some(Node::File { mtime: now, .. }) = self.nodes.get_mut(step.node) {
                    *now = (mtime.seconds, mtime.nanoseconds);
                }
            }
            _ => {}
        }
    }

    fn name(&mut self, directory: usize, name: &[u8], node: Option<usize>) {
        let Some(Node::Directory(entries)) = self.nodes.get_mut(directory) else { return };
        match node {
            Some(node) => entries.insert(name.to_vec(), node),
            None => entries.remove(name),
        };
    }

    fn content(&mut self, node: usize) -> Option<&mut Vec<u8>> {
        match self.nodes.get_mut(node) {
            Some(Node::File { content, .. }) => Some(content),
            _ => None,
        }
    }

    fn write(&mut self, node: usize, offset: u64, bytes: &[u8]) {
        let Some(content) = self.content(node) else { return };
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        content.resize(content.len().max(end), 0);
        content[start..end].copy_from_slice(bytes);
    }

    fn resize(&mut self, node: usize, len: u64) {
        if let Some(content) = self.content(node) {
            content.resize(len as usize, 0);
        }
    }

    fn punch(&mut self, node: usize, offset: u64, len: u64) {
        let Some(content) = self.content(node) else { return };
        let end = content.len().min((offset + len) as usize);
        if let Some(range) = content.get_mut(offset as usize..end) {
            range.fill(0);
        }
    }
}

/// The parts of a write that lie in one sector each.
fn sectors(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let end = offset + bytes.len() as u64;
    let starts = (offset / SECTOR..end.div_ceil(SECTOR)).map(|sector| sector * SECTOR);
    starts.map(move |start| {
        let (from, to) = (start.max(offset), (start + SECTOR).min(end));
        (from, &bytes[(from - offset) as usize..(to - offset) as usize])
    })
}

#[test]
fn a_write_is_cut_at_sectors() {
    let bytes = vec![7; 1_100];
    let cut = |offset, len: usize| -> Vec<(u64, usize)> {
        sectors(offset, &bytes[..len]).map(|(start, part)| (start, part.len())).collect()
    };
    assert_eq!(cut(0, 0), []);
    assert_eq!(cut(0, 512), [(0, 512)]);
    assert_eq!(cut(511, 2), [(511, 1), (512, 1)]);
    assert_eq!(cut(100, 1_100), [(100, 412), (512, 512), (1_024, 176)]);
}

#[test]
fn only_what_a_sync_covers_is_sure() {
    let dir = super::temporary();
    fs::write(dir.path().join("old"), "old").expect("written");
    let disk = Disk::of(dir.path());
    let top = fs::metadata(dir.path()).expect("there").ino();
    let old = fs::metadata(dir.path().join("old")).expect("there").ino();
    let write = |ino, byte| Op::Write { ino, offset: 0, bytes: vec![byte; 3] };
    let rename = Op::Rename { from: (top, b"old".to_vec()), to: (top, b"new".to_vec()), ino: old };
    let file = |disk: &Disk, name: &[u8]| match &disk.nodes[0] {
        Node::Directory(entries) => entries.get(name).map(|node| match &disk.nodes[*node] {
            Node::File { content, .. } => content.clone(),
            other => panic!("{other:?}"),
        }),
        other => panic!("{other:?}"),
    };
    let ops = [write(old, b'a'), Op::Sync { ino: old }, write(old, b'b'), rename, Op::Sync { ino: top }];
    for (count, kept, lost) in [
        (1, (Some("aaa"), None), (Some("old"), None)),
        (2, (Some("aaa"), None), (Some("aaa"), None)),
        (3, (Some("bbb"), None), (Some("aaa"), None)),
        (4, (None, Some("bbb")), (Some("aaa"), None)),
        (5, (None, Some("bbb")), (None, Some("aaa"))),
    ] {
        for (crash, (name, renamed)) in [(Crash::Kept, kept), (Crash::Lost, lost)] {
            let left = disk.after(&ops[..count], crash);
            let got = (file(&left, b"old"), file(&left, b"new"));
            let wanted = (name.map(|t| t.as_bytes().to_vec()), renamed.map(|t| t.as_bytes().to_vec()));
            assert_eq!(got, wanted, "{count} {crash:?}");
        }
    }
    // A sync that failed takes with it what it was to make durable, though the next one succeeds.
    let ops = [write(old, b'a'), Op::SyncFailed { ino: old }, Op::Sync { ino: old }];
    assert_eq!(file(&disk.after(&ops, Crash::Lost), b"old"), Some(b"old".to_vec()));
}
