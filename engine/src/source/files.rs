//! Stages 1 and 2 for files: lists them, reads and encodes their chunks, tells their digests when they end.

use super::encode::Encoder;
use super::object::{Content, Object, Roots};
use super::open::{Descriptors, lock};
use super::piece::{self, DataMap, Unread};
use super::spec::{DigestCache, Identity, SourceSpec};
use super::stream::{Stream, StreamChunk, StreamError};
use super::walk::{self, Listed, Step, WalkSpec, Walker};
use super::{ChunkPlan, Encoding, Listing, ReadChunk, Source, failure};
use crate::digest::{self, Digest};
use crate::error::Error;
use crate::limits;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use xfer_io::file::{File, FileError};
use xfer_proto::limits::{INLINE_LEN_MAX, PAGE_ENTRIES_MAX};
use xfer_proto::space::Piece;
use xfer_proto::wire::{Attribute, Decision, Entry};

/// Files, directories and symlinks of one machine, or the bytes of a stream.
pub struct FileSource {
    walk: Mutex<Walk>,
    objects: Mutex<HashMap<u32, Arc<Object>>>,
    open: Descriptors,
    encoder: Encoder,
    digests: bool,
    list_digests: bool,
    want_digests: bool,
    cache: Option<Arc<dyn DigestCache>>,
    /// Bytes of a full chunk, known with the first chunk read: the size of its buffer.
    chunk_bytes: AtomicU64,
}

struct Walk {
    walker: Walker,
    /// Found, but did not fit the listing before.
    pending: Option<Box<Listed>>,
}

/// Bytes of a digest among an entry's attributes.
const DIGEST_LEN: usize = 3 + 32;

impl FileSource {
    /// A source of what `spec` names. No file is opened yet; of several sources, directories whose contents alone are meant are listed.
    ///
    /// # Errors
    /// `Usage` when a directory is named and `spec` is not recursive, something is named after a stream, or two sources bring the same
    /// name.
    pub fn new(spec: SourceSpec) -> Result<Self, Error> {
        walk::refuse(&spec.items, spec.recursive)?;
        let walk = WalkSpec {
            recursive: spec.recursive,
            filter: spec.filter,
            preserve: spec.preserve,
            digests: spec.digests,
            inline_max: spec.inline_max.min(INLINE_LEN_MAX),
        };
        Ok(FileSource {
            walk: Mutex::new(Walk { walker: Walker::new(walk, spec.items)?, pending: None }),
            objects: Mutex::new(HashMap::new()),
            open: Descriptors::new(),
            encoder: Encoder::new(spec.compression, spec.digests),
            digests: spec.digests,
            list_digests: spec.list_digests,
            want_digests: spec.want_digests,
            cache: spec.cache,
            chunk_bytes: AtomicU64::new(0),
        })
    }

    fn object(&self, object: u32) -> Option<Arc<Object>> {
        lock(&self.objects).get(&object).cloned()
    }

    fn remember(&self, number: u32, object: Option<Object>) {
        let Some(object) = object else { return };
        if self.digests || !matches!(object.content, Content::Known(_)) {
            lock(&self.objects).insert(number, Arc::new(object));
        }
    }

    fn open_named(&self, object: &Object) -> Result<File, FileError> {
        self.open.dir(&object.named.dir)?.open_read(&object.named.name)
    }

    /// The file of an object, kept open when it has more than one chunk.
    fn file(&self, piece: &Piece, object: &Object) -> Result<Arc<File>, FileError> {
        let is_whole = u64::from(piece.len) == piece.object_size;
        if !is_whole && let Some(open) = self.open.file(piece.object) {
            return Ok(open);
        }
        let file = Arc::new(self.open_named(object)?);
        if !is_whole {
            // A hint; a file system without read-ahead refuses it.
            if let Err(error) = file.advise_sequential() {
                tracing::debug!(%error, "no read-ahead");
            }
            self.open.keep(piece.object, Arc::clone(&file));
        }
        Ok(file)
    }

    /// Reads one piece into `out`. What fails withdraws its object; of an object that is withdrawn the error says why.
    fn piece(&self, piece: &Piece, object: &Object, out: &mut [u8], map: &mut DataMap) -> Result<(), Error> {
        if let Some(error) = object.withdrawn() {
            return Err(error.clone());
        }
        self.try_piece(piece, object, out, map).map_err(|error| {
            self.open.close(piece.object);
            object.withdraw(error)
        })
    }

    fn try_piece(
        &self,
        piece: &Piece,
        object: &Object,
        out: &mut [u8],
        map: &mut DataMap,
    ) -> Result<(), Error> {
        let Content::File { identity, sparse } = object.content else {
            return Err(failure::changed(&object.named.shown()));
        };
        object.mark_read();
        let mut read = || -> Result<bool, Unread> {
            let file = self.file(piece, object)?;
            if sparse {
                let start = piece.object_offset;
                let data = piece::data_in(&file, start..start + u64::from(piece.len))?;
                piece::read_data(&file, piece, &data, out, map)?;
            } else {
                piece::read(&file, piece, out, map)?;
            }
            Ok(Identity::from(&file.stat()?) == identity)
        };
        match read() {
            Ok(true) => Ok(()),
            Ok(false) | Err(Unread::Short) => Err(failure::changed(&object.named.shown())),
            Err(Unread::Failed(error)) => Err(failure::failed(&error, &object.named.shown())),
        }
    }

    /// The chunk's encoding if it lies in a hole of one file, which costs no reading.
    fn hole(&self, plan: &ChunkPlan, object: &Object) -> Option<Encoding> {
        let [piece] = plan.pieces[..] else { return None };
        let Content::File { identity, sparse: true } = object.content else { return None };
        if object.withdrawn().is_some() {
            return None;
        }
        let file = self.file(&piece, object).ok()?;
        let range = piece.object_offset..piece.object_offset + u64::from(piece.len);
        let empty = piece::data_in(&file, range).ok()?.is_empty();
        let same = Identity::from(&file.stat().ok()?) == identity;
        object.mark_read();
        (empty && same).then(|| self.encoder.hole(plan))
    }

    fn read_stream(
        &self,
        plan: &ChunkPlan,
        stream: &Stream,
        object: &Object,
        buffer: &mut [u8],
    ) -> ReadChunk {
        match stream.read(plan, &self.encoder, buffer) {
            StreamChunk::End => ReadChunk::plain(0, Vec::new()),
            StreamChunk::Bytes(plan, encoding) => {
                self.note(&plan, 0, &encoding, &[Some(object)]);
                ReadChunk { encoding, withdrawn: Vec::new() }
            }
            StreamChunk::Lost(error, encoding) => {
                let piece = &plan.pieces[0];
                let error = object.withdraw(stream_error(&error, object, piece));
                ReadChunk { encoding, withdrawn: vec![(piece.object, error)] }
            }
        }
    }

    /// Lists the digest too, when it is asked for and the file can be read; one that cannot is found out when it is needed.
    fn add_digest(&self, entry: &mut Entry, object: &Object) {
        if let Content::File { identity, sparse } = &object.content
            && self.list_digests
            && let Ok(root) = self.root_of(object, identity, *sparse)
        {
            entry.attributes.push(Attribute::Digest(root));
        }
    }

    fn note(&self, plan: &ChunkPlan, attempt: u8, encoding: &Encoding, objects: &[Option<&Object>]) {
        if self.digests {
            let chunk_bytes = self.chunk_bytes.load(Ordering::Relaxed);
            Roots::note(plan, attempt, &encoding.digests, chunk_bytes, |i| {
                objects[i].map(|object| &object.roots)
            });
        }
    }

    /// The root of a file as its chunks told it.
    fn merged(&self, object: &Object, identity: &Identity) -> Option<Digest> {
        let chunk_bytes = self.chunk_bytes.load(Ordering::Relaxed).max(1);
        object.roots.root(identity.size, chunk_bytes)
    }

    /// The root of a file: as its chunks told it, from the cache, or by reading it.
    fn root_of(&self, object: &Object, identity: &Identity, sparse: bool) -> Result<Digest, Error> {
        let path = || object.named.dir.path(&object.named.name);
        let merged = self.merged(object, identity);
        if merged.is_none()
            && let Some(known) = self.cache.as_ref().and_then(|cache| cache.get(&path(), identity))
        {
            return Ok(known);
        }
        let root = match merged {
            Some(root) => root,
            None => self.hash(object, identity, sparse)?,
        };
        if let Some(cache) = &self.cache {
            cache.put(&path(), identity, &root);
        }
        Ok(root)
    }

    fn hash(&self, object: &Object, identity: &Identity, sparse: bool) -> Result<Digest, Error> {
        let hash = || -> Result<(Digest, bool), FileError> {
            let file = self.open_named(object)?;
            let root = hash_file(&file, identity.size, sparse)?;
            Ok((root, Identity::from(&file.stat()?) == *identity))
        };
        match hash() {
            Ok((root, true)) => Ok(root),
            Ok((_, false)) => Err(failure::changed(&object.named.shown())),
            Err(error) => Err(failure::failed(&error, &object.named.shown())),
        }
    }

    /// Checks that a file that was read is still what was listed.
    fn check(&self, object: &Object, identity: &Identity) -> Result<(), Error> {
        let stat = || {
            let dir = self.open.dir(&object.named.dir)?;
            let name = &object.named.name;
            if object.named.followed { dir.stat_followed(name) } else { dir.stat(name) }
        };
        match stat() {
            Ok(stat) if Identity::from(&stat) == *identity => Ok(()),
            Ok(_) => Err(failure::changed(&object.named.shown())),
            Err(error) if error.errno == libc::ENOENT => {
                Err(failure::failed(&error, &object.named.shown()).because("source changed while sending"))
            }
            Err(error) => Err(failure::failed(&error, &object.named.shown())),
        }
    }
}

fn stream_error(error: &StreamError, object: &Object, piece: &Piece) -> Error {
    let shown = object.named.shown();
    let failed = match error {
        StreamError::Failed(cause) => {
            failure::system("read", cause.raw_os_error().unwrap_or(libc::EIO), &shown)
        }
        StreamError::Gone => failure::system("read again", libc::ESPIPE, &shown),
    };
    failed.at(piece.object_offset)
}

/// BLAKE3 root of the first `size` bytes; holes are not read.
fn hash_file(file: &File, size: u64, sparse: bool) -> Result<Digest, FileError> {
    let mut hasher = blake3::Hasher::new();
    let data = if sparse { piece::data_in(file, 0..size)? } else { std::iter::once(0..size).collect() };
    let mut buffer = vec![0; limits::HASH_READ_BYTES.min(size as usize)];
    let mut at = 0;
    for range in data {
        digest::update_zeros(&mut hasher, range.start - at);
        at = range.start;
        while at < range.end {
            let part = buffer.len().min((range.end - at) as usize);
            let read = file.read_at(&mut buffer[..part], at)?;
            hasher.update(&buffer[..read]);
            at += read as u64;
            if read < part {
                // Shorter than it was: the caller's check says so.
                return Ok(*hasher.finalize().as_bytes());
            }
        }
    }
    digest::update_zeros(&mut hasher, size - at);
    Ok(*hasher.finalize().as_bytes())
}

impl Source for FileSource {
    fn list(&self, first_object: u32) -> Result<Listing, Error> {
        let mut walk = lock(&self.walk);
        let mut out = Listing { entries: Vec::new(), last: false, notices: Vec::new(), errors: Vec::new() };
        let mut bytes = 0;
        while out.entries.len() < PAGE_ENTRIES_MAX
            && out.notices.len() + out.errors.len() < limits::LISTING_REPORTS_MAX
        {
            let number = first_object + out.entries.len() as u32;
            let listed = match walk.pending.take() {
                Some(listed) => listed,
                None => match walk.walker.step(number, &mut out) {
                    Step::Found(listed) => listed,
                    Step::Nothing => continue,
                    Step::End => {
                        out.last = true;
                        break;
                    }
                },
            };
            let digest = if self.list_digests { DIGEST_LEN } else { 0 };
            let len = listed.entry.encoded_len_max() + digest;
            if bytes + len > limits::LISTING_BYTES_MAX && !out.entries.is_empty() {
                walk.pending = Some(listed);
                break;
            }
            bytes += len;
            let Listed { mut entry, object } = *listed;
            if let Some(object) = &object {
                self.add_digest(&mut entry, object);
            }
            self.remember(number, object);
            out.entries.push(entry);
        }
        Ok(out)
    }

    fn decided(&self, first_object: u32, decisions: &[Decision]) {
        for (number, decision) in (first_object..).zip(decisions) {
            if matches!(decision, Decision::Resume(_))
                && let Some(object) = self.object(number)
            {
                object.roots.lose();
            }
        }
    }

    fn read(&self, plan: &ChunkPlan, attempt: u8, buffer: &mut [u8]) -> Result<ReadChunk, Error> {
        self.chunk_bytes.store(buffer.len() as u64, Ordering::Relaxed);
        let objects: Vec<Option<Arc<Object>>> = {
            let table = lock(&self.objects);
            plan.pieces.iter().map(|piece| table.get(&piece.object).cloned()).collect()
        };
        let known: Vec<Option<&Object>> = objects.iter().map(Option::as_deref).collect();
        if let [Some(object)] = known[..] {
            if let Content::Stream(stream) = &object.content {
                return Ok(self.read_stream(plan, stream, object, buffer));
            }
            if let Some(encoding) = self.hole(plan, object) {
                self.note(plan, attempt, &encoding, &known);
                return Ok(ReadChunk { encoding, withdrawn: Vec::new() });
            }
        }
        let mut withdrawn = Vec::new();
        let mut map = DataMap::default();
        let mut end = 0;
        for (piece, object) in plan.pieces.iter().zip(&known) {
            let start = piece.chunk_offset as usize;
            buffer[end..start].fill(0);
            end = start + piece.len as usize;
            let out = &mut buffer[start..end];
            let Some(object) = object else {
                out.fill(0);
                continue;
            };
            if let Err(error) = self.piece(piece, object, out, &mut map) {
                out.fill(0);
                withdrawn.push((piece.object, error));
            }
        }
        let encoding = self.encoder.encode(plan, map.extents(), attempt, buffer);
        self.note(plan, attempt, &encoding, &known);
        Ok(ReadChunk { encoding, withdrawn })
    }

    fn rate(&self, bytes_per_second: u64) {
        self.encoder.set_rate(bytes_per_second);
    }

    fn hashing(&self) -> Duration {
        self.encoder.hashing()
    }

    fn open_size(&self, object: u32) -> Option<u64> {
        match &self.object(object)?.content {
            Content::Stream(stream) => stream.size(),
            Content::File { .. } | Content::Known(_) => None,
        }
    }

    fn end(&self, object: u32) -> Result<Option<Digest>, Error> {
        self.open.close(object);
        let Some(ended) = lock(&self.objects).remove(&object) else { return Ok(None) };
        if ended.withdrawn().is_some() {
            return Ok(None);
        }
        let root = match &ended.content {
            Content::Known(root) => Some(*root),
            Content::Stream(stream) => stream.size().and_then(|size| match size {
                0 => Some(digest::root(b"")),
                _ => ended.roots.root(size, self.chunk_bytes.load(Ordering::Relaxed)),
            }),
            Content::File { identity, sparse } => {
                if ended.was_read() {
                    self.check(&ended, identity)?;
                }
                if identity.size == 0 {
                    Some(digest::root(b""))
                } else if self.want_digests {
                    Some(self.root_of(&ended, identity, *sparse)?)
                } else {
                    self.merged(&ended, identity)
                }
            }
        };
        Ok(root.filter(|_| self.digests))
    }
}
