//! Content from memory: objects whose bytes the application holds. Uncompressed, they are sent from where they are.

use super::encode::Encoder;
use super::object::Roots;
use super::open::lock;
use super::{ChunkPlan, Lent, Listing, ReadChunk, Source};
use crate::codec::Compression;
use crate::digest::{self, Digest};
use crate::error::{Class, Error, Side};
use crate::limits;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use xfer_io::file::Timestamp;
use xfer_proto::limits::PAGE_ENTRIES_MAX;
use xfer_proto::wire::{Decision, Entry, EntryKind, check_name};

/// One object of a [`MemorySource`].
#[derive(Clone)]
pub struct MemoryObject {
    /// Name in the manifest.
    pub name: Vec<u8>,
    /// Its bytes. Workers read them: they are not to lie in a mapped file. If they change while the source lives, chunks fail their digest
    /// and the object is withdrawn; without digests whatever was read is sent.
    pub bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    /// Permission bits of the file that it becomes.
    pub mode: u16,
    /// Modification time of the file that it becomes.
    pub mtime: Timestamp,
}

/// Objects in memory, listed in the order given.
pub struct MemorySource {
    objects: Vec<MemoryObject>,
    roots: Vec<Roots>,
    listed: Mutex<usize>,
    encoder: Encoder,
    want_digests: bool,
    chunk_bytes: AtomicU64,
    ended: AtomicUsize,
}

impl MemorySource {
    /// A source of `objects`. `digests`: whether chunks carry them; `want_digests`: whether ends tell roots.
    ///
    /// # Errors
    /// `Usage`, naming the object, when a name is none that a receiver may take.
    pub fn new(
        objects: Vec<MemoryObject>,
        compression: Compression,
        digests: bool,
        want_digests: bool,
    ) -> Result<Self, Error> {
        for object in &objects {
            check_name(&object.name).map_err(|broken| {
                Error::new(Class::Usage, "name").on(Side::Source).object(&object.name[..]).because(broken)
            })?;
        }
        Ok(MemorySource {
            roots: objects.iter().map(|_| Roots::default()).collect(),
            objects,
            listed: Mutex::new(0),
            encoder: Encoder::new(compression, digests),
            want_digests,
            chunk_bytes: AtomicU64::new(0),
            ended: AtomicUsize::new(0),
        })
    }

    /// How many objects ended.
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    fn note(&self, plan: &ChunkPlan, attempt: u8, digests: &[Digest], chunk_bytes: usize) {
        if self.want_digests {
            let roots = |i: usize| self.roots.get(plan.pieces[i].object as usize);
            Roots::note(plan, attempt, digests, chunk_bytes as u64, roots);
        }
    }

    fn bytes(&self, object: u32) -> &[u8] {
        self.objects.get(object as usize).map_or(&[], |o| (*o.bytes).as_ref())
    }
}

impl Source for MemorySource {
    fn list(&self, first_object: u32) -> Result<Listing, Error> {
        let mut listed = lock(&self.listed);
        debug_assert_eq!(first_object as usize, *listed);
        let mut entries = Vec::new();
        let mut bytes = 0;
        for object in self.objects[*listed..].iter().take(PAGE_ENTRIES_MAX) {
            let entry = Entry {
                kind: EntryKind::File,
                mode: object.mode & 0o7777,
                mtime_s: object.mtime.seconds,
                mtime_ns: object.mtime.nanoseconds,
                size: (*object.bytes).as_ref().len() as u64,
                open: false,
                name: object.name.clone(),
                target: Vec::new(),
                attributes: Vec::new(),
                inline: None,
            };
            bytes += entry.encoded_len_max();
            if bytes > limits::LISTING_BYTES_MAX {
                break;
            }
            entries.push(entry);
        }
        *listed += entries.len();
        Ok(Listing { entries, last: *listed == self.objects.len(), notices: Vec::new(), errors: Vec::new() })
    }

    fn decided(&self, first_object: u32, decisions: &[Decision]) {
        for (i, decision) in decisions.iter().enumerate() {
            if matches!(decision, Decision::Resume(_))
                && let Some(roots) = self.roots.get(first_object as usize + i)
            {
                roots.lose();
            }
        }
    }

    fn read(&self, plan: &ChunkPlan, attempt: u8, buffer: &mut [u8]) -> Result<ReadChunk, Error> {
        self.chunk_bytes.store(buffer.len() as u64, Ordering::Relaxed);
        let mut end = 0;
        for piece in &plan.pieces {
            let start = piece.chunk_offset as usize;
            buffer[end..start].fill(0);
            end = start + piece.len as usize;
            let from = piece.object_offset as usize;
            buffer[start..end].copy_from_slice(&self.bytes(piece.object)[from..][..piece.len as usize]);
        }
        let encoding = self.encoder.encode(plan, None, attempt, buffer);
        self.note(plan, attempt, &encoding.digests, buffer.len());
        Ok(ReadChunk { encoding, withdrawn: Vec::new() })
    }

    fn lend(&self, plan: &ChunkPlan) -> Option<Lent> {
        let object = self.objects.get(plan.pieces.first()?.object as usize)?;
        self.encoder.lend(plan, &object.bytes)
    }

    fn digest(&self, plan: &ChunkPlan, attempt: u8, chunk_bytes: usize, bytes: &[u8]) -> Vec<Digest> {
        self.chunk_bytes.store(chunk_bytes as u64, Ordering::Relaxed);
        let digests = self.encoder.digest(plan, bytes);
        self.note(plan, attempt, &digests, chunk_bytes);
        digests
    }

    fn rate(&self, bytes_per_second: u64) {
        self.encoder.set_rate(bytes_per_second);
    }

    fn hashing(&self) -> Duration {
        self.encoder.hashing()
    }

    fn open_size(&self, _: u32) -> Option<u64> {
        None
    }

    fn end(&self, object: u32) -> Result<Option<Digest>, Error> {
        self.ended.fetch_add(1, Ordering::Relaxed);
        let Some(roots) = self.roots.get(object as usize).filter(|_| self.want_digests) else {
            return Ok(None);
        };
        let bytes = self.bytes(object);
        let merged = roots.root(bytes.len() as u64, self.chunk_bytes.load(Ordering::Relaxed).max(1));
        Ok(Some(merged.unwrap_or_else(|| digest::root(bytes))))
    }
}
