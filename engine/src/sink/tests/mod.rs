//! Sinks, driven as an engine drives them: pages in, decisions out, chunks in any order.

mod crash;
mod disk;
mod files;
mod names;
mod policy;
mod power;
mod streams;

use super::*;
use crate::digest::{chunk_value, root};
use crate::error::Class;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use xfer_io::file::Root;
use xfer_proto::space::Space;
use xfer_proto::wire::{Codec, Entry, EntryKind, Inline, TransferId};

pub(super) const CHUNK_LOG2: u8 = 16;
pub(super) const CHUNK: usize = 1 << CHUNK_LOG2;
pub(super) const MTIME: (i64, u32) = (1_700_000_000, 123_456_789);

/// Bytes that differ everywhere and from seed to seed.
pub(super) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) fn entry(kind: EntryKind, name: &[u8]) -> Entry {
    Entry {
        kind,
        mode: if kind == EntryKind::Directory { 0o755 } else { 0o640 },
        mtime_s: MTIME.0,
        mtime_ns: MTIME.1,
        size: 0,
        open: false,
        name: name.to_vec(),
        target: Vec::new(),
        attributes: Vec::new(),
        inline: None,
    }
}

/// The other end: what it lists, and the address space that follows from what it hears.
pub(super) struct Sender {
    pub entries: Vec<Entry>,
    pub contents: Vec<Vec<u8>>,
    pub space: Space,
    pub decided: Decided,
    /// Chunks that need not be sent.
    pub here: BTreeSet<u32>,
    pub chunk_log2: u8,
}

impl Sender {
    pub(super) fn new() -> Self {
        Sender {
            entries: Vec::new(),
            contents: Vec::new(),
            space: Space::new(CHUNK_LOG2),
            decided: Decided { decisions: Vec::new(), ended: Vec::new() },
            here: BTreeSet::new(),
            chunk_log2: CHUNK_LOG2,
        }
    }

    pub(super) fn add(mut self, entry: Entry, content: Vec<u8>) -> Self {
        self.entries.push(entry);
        self.contents.push(content);
        self
    }

    pub(super) fn file(self, name: impl AsRef<[u8]>, content: Vec<u8>) -> Self {
        let entry = Entry { size: content.len() as u64, ..entry(EntryKind::File, name.as_ref()) };
        self.add(entry, content)
    }

    pub(super) fn inline(self, name: impl AsRef<[u8]>, content: Vec<u8>) -> Self {
        let inline = Some(Inline { digest: root(&content), content: content.clone() });
        let size = content.len() as u64;
        self.add(Entry { size, inline, ..entry(EntryKind::File, name.as_ref()) }, content)
    }

    pub(super) fn directory(self, name: impl AsRef<[u8]>, mode: u16) -> Self {
        self.add(Entry { mode, ..entry(EntryKind::Directory, name.as_ref()) }, Vec::new())
    }

    pub(super) fn symlink(self, name: impl AsRef<[u8]>, target: &[u8]) -> Self {
        self.add(Entry { target: target.to_vec(), ..entry(EntryKind::Symlink, name.as_ref()) }, Vec::new())
    }

    pub(super) fn page(&self) -> Page {
        let entries = self.entries.clone();
        Page { transfer: TransferId(1), number: 0, first_object: 0, last: true, entries }
    }

    /// Sends the page and lays out what is needed.
    pub(super) fn list(&mut self, sink: &dyn Sink) -> Result<(), Error> {
        self.decided = sink.decide(&self.page())?;
        assert_eq!(self.decided.decisions.len(), self.entries.len());
        self.space = Space::new(self.chunk_log2);
        self.here.clear();
        for (object, (entry, decision)) in (0..).zip(self.entries.iter().zip(&self.decided.decisions)) {
            let Some(placed) = self.space.place(object, entry, decision).expect("fits") else { continue };
            if let Decision::Resume(runs) = decision {
                let first = self.space.chunks_of(&placed).start;
                let held = runs.iter().flat_map(|run| run.first..run.first + run.count);
                self.here.extend(held.map(|index| first + index));
            }
        }
        self.space.end_page();
        Ok(())
    }

    pub(super) fn plan(&self, chunk: u32) -> ChunkPlan {
        let pieces = self.space.pieces(chunk).collect();
        ChunkPlan { chunk, plain_len: self.space.plain_len(chunk), pieces }
    }

    pub(super) fn plain(&self, plan: &ChunkPlan) -> Vec<u8> {
        let mut plain = vec![0; plan.plain_len as usize];
        for piece in &plan.pieces {
            let at = piece.object_offset as usize;
            let from = &self.contents[piece.object as usize][at..at + piece.len as usize];
            plain[piece.chunk_offset as usize..][..from.len()].copy_from_slice(from);
        }
        plain
    }

    /// A chunk as it is sent: plan, encoding, stored bytes.
    pub(super) fn encoded(&self, chunk: u32) -> (ChunkPlan, Encoding, Vec<u8>) {
        let plan = self.plan(chunk);
        let plain = self.plain(&plan);
        let digests = plan.pieces.iter().map(|piece| {
            let bytes = &plain[piece.chunk_offset as usize..][..piece.len as usize];
            if plan.is_subtree() { chunk_value(bytes, piece.object_offset) } else { root(bytes) }
        });
        let encoding =
            Encoding { codec: Codec::Plain, stored_len: plain.len() as u32, digests: digests.collect() };
        (plan, encoding, plain)
    }

    pub(super) fn send(&self, sink: &dyn Sink, chunk: u32) -> Vec<Ended> {
        let (plan, encoding, stored) = self.encoded(chunk);
        match sink.write(&plan, &encoding, &stored) {
            Ok(Verdict::Accepted(ended)) => ended,
            other => panic!("chunk {chunk}: {other:?}"),
        }
    }

    /// Chunks that are to be sent.
    pub(super) fn missing(&self) -> Vec<u32> {
        let full = |chunk: &u32| self.space.plain_len(*chunk) > 0;
        (0..self.space.chunks()).filter(|chunk| !self.here.contains(chunk)).filter(full).collect()
    }

    /// All of it, to the end. Returns the ends by object.
    pub(super) fn run(&mut self, sink: &dyn Sink) -> Vec<Ended> {
        self.list(sink).expect("the page is decided");
        let mut ended = self.decided.ended.clone();
        for chunk in self.missing() {
            ended.extend(self.send(sink, chunk));
        }
        ended.extend(sink.finish().expect("the transfer ends").0);
        self.check_ends(&mut ended);
        ended
    }

    /// Every object ends exactly once.
    pub(super) fn check_ends(&self, ended: &mut [Ended]) {
        ended.sort_by_key(|end| end.object);
        let objects: Vec<u32> = ended.iter().map(|end| end.object).collect();
        assert_eq!(objects, (0..self.entries.len() as u32).collect::<Vec<_>>());
        for end in ended.iter() {
            assert_eq!(end.error.is_some(), end.action == Action::Failed, "{end:?}");
        }
    }
}

pub(super) fn spec(dir: &Path) -> SinkSpec {
    SinkSpec::new(Target::into_directory(Root::open(dir).expect("destination")), CHUNK_LOG2)
}

pub(super) fn sink(dir: &Path) -> FileSink {
    FileSink::new(spec(dir))
}

pub(super) fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("temporary directory")
}

pub(super) fn actions(ended: &[Ended]) -> Vec<Action> {
    ended.iter().map(|end| end.action).collect()
}

/// Nothing of ours is left anywhere.
pub(super) fn assert_swept(dir: &Path) {
    assert_eq!(partials_below(dir), Vec::<std::path::PathBuf>::new());
}

pub(super) fn partials_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("directory").map(|entry| entry.expect("entry")) {
        let is_directory = entry.file_type().expect("kind").is_dir();
        if entry.file_name() == ".xfer-partial" {
            found.push(entry.path());
        } else if is_directory {
            found.extend(partials_below(&entry.path()));
        }
    }
    found
}

pub(super) fn mtime(path: &Path) -> (i64, u32) {
    let meta = fs::symlink_metadata(path).expect("there");
    (meta.mtime(), meta.mtime_nsec() as u32)
}
