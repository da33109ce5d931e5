//! Content as the application hands it over while the transfer runs: objects go from a bounded queue into pages as they come.
//!
//! In: objects, from one thread after the other. Out: pages, listed by the worker; chunks of memory, lent; of files and streams, read by
//! I/O threads. Small content travels in the page.

use super::encode::Encoder;
use super::endless::entry;
use super::object::Roots;
use super::open::lock;
use super::stream::{Stream, StreamChunk, StreamError};
use super::{ChunkPlan, Lent, Listing, Now, ReadChunk, Source};
use crate::codec::Compression;
use crate::digest::{self, Digest};
use crate::error::{Class, Error, Side};
use crate::limits;
use crossbeam::queue::ArrayQueue;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use xfer_proto::limits::{INLINE_LEN_MAX, PAGE_ENTRIES_MAX};
use xfer_proto::space::Piece;
use xfer_proto::wire::{Decision, Entry, Inline, check_name};

/// Bytes of an entry without attributes, name and content.
const ENTRY_HEAD_MAX: usize = 32;

/// What an object consists of.
pub enum LiveContent {
    /// At most [`INLINE_LEN_MAX`] bytes, which travel in the page, with their digest where one is wanted.
    Small(Vec<u8>),
    /// Memory of the application, sent from where it lies. As [`super::MemoryObject::bytes`].
    Memory(Arc<dyn AsRef<[u8]> + Send + Sync>),
    /// So many bytes of a file from an offset on.
    File(File, u64, u64),
    /// Bytes as they come, up to their end. Nothing can follow.
    Stream(Box<dyn Read + Send>),
}

/// An object to be sent.
pub struct LiveObject {
    name: Vec<u8>,
    content: LiveContent,
    /// Of small content.
    digest: Digest,
    /// The next object may be listed with it.
    more: bool,
}

impl LiveObject {
    /// Names some content; the digest of small content is made here, where `digests` asks for it.
    ///
    /// # Errors
    /// `Usage`, naming the object, when a receiver may not take the name, or when small content is too long.
    pub fn new(name: &[u8], content: LiveContent, digests: bool) -> Result<Self, Error> {
        let usage = |what: &str| Error::new(Class::Usage, what).on(Side::Source).object(name);
        check_name(name).map_err(|broken| usage("name").because(broken))?;
        let mut digest = [0; 32];
        if let LiveContent::Small(bytes) = &content {
            if bytes.len() > INLINE_LEN_MAX {
                return Err(usage("content of a page has at most 1 KiB"));
            }
            if digests {
                digest = digest::root(bytes);
            }
        }
        let more = matches!(content, LiveContent::Small(_));
        Ok(LiveObject { name: name.to_vec(), content, digest, more })
    }

    /// Lets the next object be listed in the same page. The receiver decides about all of a page before content of any moves; else that is
    /// so for small objects only, about which there is nothing to decide.
    pub fn with_more(mut self) -> Self {
        self.more = true;
        self
    }

    /// Bytes of its entry at most.
    fn entry_len_max(&self) -> usize {
        let inline = if let LiveContent::Small(content) = &self.content { content.len() + 32 } else { 0 };
        ENTRY_HEAD_MAX + self.name.len() + inline
    }

    /// Bytes of it; `None` where only its end tells.
    fn size(&self) -> Option<u64> {
        match &self.content {
            LiveContent::Small(bytes) => Some(bytes.len() as u64),
            LiveContent::Memory(memory) => Some((**memory).as_ref().len() as u64),
            LiveContent::File(_, _, len) => Some(*len),
            LiveContent::Stream(_) => None,
        }
    }
}

/// Objects in the order in which they are pushed.
pub struct LiveSource {
    queue: ArrayQueue<LiveObject>,
    finished: AtomicBool,
    /// One that did not fit the page before.
    next: Mutex<Option<LiveObject>>,
    /// Objects that are not in their page, from listing to end.
    objects: RwLock<BTreeMap<u32, Arc<Listed>>>,
    encoder: Encoder,
    chunk_bytes: AtomicU64,
}

struct Listed {
    content: Content,
    roots: Roots,
    /// Why it cannot be sent as it was listed.
    withdrawn: OnceLock<Error>,
}

enum Content {
    Memory(Arc<dyn AsRef<[u8]> + Send + Sync>),
    File { file: File, start: u64, len: u64, identity: Option<Identity> },
    Stream(Stream),
}

/// What a file is known again by: size, modification and change, each in nanoseconds.
type Identity = (u64, i64, i64, i64, i64);

fn identity(file: &File) -> io::Result<Identity> {
    let of = file.metadata()?;
    Ok((of.size(), of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()))
}

impl LiveSource {
    /// A source whose queue holds `depth` objects (at least 1) that were not listed yet.
    pub fn new(depth: usize, compression: Compression, digests: bool) -> Self {
        LiveSource {
            queue: ArrayQueue::new(depth.max(1)),
            finished: AtomicBool::new(false),
            next: Mutex::new(None),
            objects: RwLock::default(),
            encoder: Encoder::new(compression, digests),
            chunk_bytes: AtomicU64::new(0),
        }
    }

    /// Sends an object, behind those that were pushed before; its number counts these. The worker is to be woken, once for many, by
    /// [`crate::Transfer::nudge`].
    ///
    /// # Errors
    /// The object, when the queue is full or nothing may follow.
    pub fn push(&self, object: LiveObject) -> Result<(), LiveObject> {
        if self.finished.load(Ordering::Acquire) {
            return Err(object);
        }
        let last = matches!(object.content, LiveContent::Stream(_));
        self.queue.push(object)?;
        if last {
            self.finish();
        }
        Ok(())
    }

    /// Nothing follows: the transfer ends once all that was pushed has ended.
    pub fn finish(&self) {
        self.finished.store(true, Ordering::Release);
    }

    /// Forgets all objects: the transfer has ended.
    pub fn clear(&self) {
        self.finish();
        while self.queue.pop().is_some() {}
        let next = lock(&self.next).take();
        let objects = std::mem::take(&mut *self.objects.write().unwrap_or_else(PoisonError::into_inner));
        drop((next, objects));
    }

    fn get(&self, object: u32) -> Option<Arc<Listed>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).get(&object).cloned()
    }

    /// The entry of an object, and what is kept of it.
    fn entry(object: LiveObject) -> (Entry, Option<Content>) {
        let size = object.size();
        let name = object.name;
        let bare = Entry { size: size.unwrap_or(0), open: size.is_none(), name, ..entry(b"") };
        match object.content {
            LiveContent::Small(content) => {
                let inline = Some(Inline { content, digest: object.digest });
                (Entry { inline, ..bare }, None)
            }
            LiveContent::Memory(memory) => (bare, Some(Content::Memory(memory))),
            LiveContent::File(file, start, len) => {
                let identity = identity(&file).ok();
                (bare, Some(Content::File { file, start, len, identity }))
            }
            LiveContent::Stream(reader) => (bare, Some(Content::Stream(Stream::new(reader)))),
        }
    }

    /// The next bytes of the stream: as many as there were.
    fn read_stream(
        &self,
        plan: &ChunkPlan,
        piece: &Piece,
        stream: &Stream,
        object: &Listed,
        buffer: &mut [u8],
    ) -> ReadChunk {
        match stream.read(plan, &self.encoder, buffer) {
            StreamChunk::End => ReadChunk::plain(0, Vec::new()),
            StreamChunk::Bytes(plan, encoding) => {
                self.note(&plan, 0, &encoding.digests, buffer.len());
                ReadChunk { encoding, withdrawn: Vec::new() }
            }
            StreamChunk::Lost(error, encoding) => {
                let error = object.withdrawn.get_or_init(|| stream_error(&error, piece)).clone();
                ReadChunk { encoding, withdrawn: vec![(piece.object, error)] }
            }
        }
    }

    fn note(&self, plan: &ChunkPlan, attempt: u8, digests: &[Digest], chunk_bytes: usize) {
        let listed: Vec<_> = plan.pieces.iter().map(|piece| self.get(piece.object)).collect();
        let roots = |i: usize| listed.get(i).and_then(Option::as_ref).map(|listed| &listed.roots);
        Roots::note(plan, attempt, digests, chunk_bytes as u64, roots);
    }
}

impl Listed {
    fn new(content: Content) -> Self {
        Listed { content, roots: Roots::default(), withdrawn: OnceLock::new() }
    }

    /// Fills `out` with the piece.
    fn read(&self, piece: &Piece, out: &mut [u8]) -> Result<(), Error> {
        match &self.content {
            Content::Memory(memory) => {
                let from = piece.object_offset as usize;
                let bytes = (**memory).as_ref().get(from..from + out.len());
                out.copy_from_slice(bytes.ok_or_else(changed)?);
                Ok(())
            }
            Content::File { file, start, identity: known, .. } => {
                let at = start.checked_add(piece.object_offset).ok_or_else(changed)?;
                file.read_exact_at(out, at).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => changed().at(piece.object_offset),
                    _ => failed(&error, piece),
                })?;
                // After each chunk, not only at the end: what the receiver took is of one state then.
                if *known == identity(file).ok() { Ok(()) } else { Err(changed().at(piece.object_offset)) }
            }
            Content::Stream(_) => Err(changed()),
        }
    }
}

fn failed(error: &io::Error, piece: &Piece) -> Error {
    let told = Error::new(Class::Fatal, "read").on(Side::Source).at(piece.object_offset);
    match error.raw_os_error() {
        Some(errno) => told.because_of_errno(errno),
        None => told.because(error),
    }
}

fn stream_error(error: &StreamError, piece: &Piece) -> Error {
    match error {
        StreamError::Failed(error) => failed(error, piece),
        StreamError::Gone => {
            let gone = Error::new(Class::Digest, "a stream cannot be read again");
            gone.on(Side::Source).at(piece.object_offset)
        }
    }
}

fn changed() -> Error {
    Error::new(Class::Digest, "source changed while sending").on(Side::Source)
}

impl Source for LiveSource {
    fn list(&self, _: u32) -> Result<Listing, Error> {
        Err(Error::new(Class::Other, "a live source is asked by the worker").on(Side::Source))
    }

    fn list_now(&self, first_object: u32) -> Now<Result<Listing, Error>> {
        // Seen before the queue is: what was pushed before `finish` is listed.
        let finished = self.finished.load(Ordering::Acquire);
        let mut next = lock(&self.next);
        let (mut entries, mut bytes, mut ends) = (Vec::new(), 0, false);
        let mut kept = Vec::new();
        while let Some(object) = next.take().or_else(|| self.queue.pop()) {
            bytes += object.entry_len_max();
            if entries.len() == PAGE_ENTRIES_MAX || !entries.is_empty() && bytes > limits::LISTING_BYTES_MAX {
                *next = Some(object);
                break;
            }
            let more = object.more;
            // An open object is the last of the last page, whether or not its pusher has said so yet.
            ends |= matches!(object.content, LiveContent::Stream(_));
            let (entry, content) = LiveSource::entry(object);
            let number = first_object + entries.len() as u32;
            kept.extend(content.map(|content| (number, Arc::new(Listed::new(content)))));
            entries.push(entry);
            if !more {
                break;
            }
        }
        if !kept.is_empty() {
            self.objects.write().unwrap_or_else(PoisonError::into_inner).extend(kept);
        }
        let last = ends || finished && next.is_none() && self.queue.is_empty();
        if entries.is_empty() && !last {
            return Now::Later;
        }
        Now::Ready(Ok(Listing { entries, last, notices: Vec::new(), errors: Vec::new() }))
    }

    fn is_live(&self) -> bool {
        true
    }

    /// What the receiver does not want is the application's again.
    fn decided(&self, first_object: u32, decisions: &[Decision]) {
        let unwanted = (first_object..)
            .zip(decisions)
            .filter(|(_, decision)| !matches!(decision, Decision::Need | Decision::Resume(_)));
        for (object, _) in unwanted {
            if self.get(object).is_some() {
                self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(&object);
            }
        }
    }

    fn read(&self, plan: &ChunkPlan, attempt: u8, buffer: &mut [u8]) -> Result<ReadChunk, Error> {
        self.chunk_bytes.store(buffer.len() as u64, Ordering::Relaxed);
        let objects: Vec<_> = plan.pieces.iter().map(|piece| self.get(piece.object)).collect();
        if let ([piece], [Some(object)]) = (&plan.pieces[..], &objects[..])
            && let Content::Stream(stream) = &object.content
        {
            return Ok(self.read_stream(plan, piece, stream, object, buffer));
        }
        let (mut end, mut withdrawn) = (0, Vec::new());
        for (piece, object) in plan.pieces.iter().zip(&objects) {
            let start = piece.chunk_offset as usize;
            buffer[end..start].fill(0);
            end = start + piece.len as usize;
            let out = &mut buffer[start..end];
            let Some(object) = object else {
                out.fill(0);
                continue;
            };
            let read = object.withdrawn.get().map_or_else(|| object.read(piece, out), |e| Err(e.clone()));
            if let Err(error) = read {
                out.fill(0);
                withdrawn.push((piece.object, object.withdrawn.get_or_init(|| error).clone()));
            }
        }
        let encoding = self.encoder.encode(plan, None, attempt, buffer);
        self.note(plan, attempt, &encoding.digests, buffer.len());
        Ok(ReadChunk { encoding, withdrawn })
    }

    fn lend(&self, plan: &ChunkPlan) -> Option<Lent> {
        match &self.get(plan.pieces.first()?.object)?.content {
            Content::Memory(memory) => self.encoder.lend(plan, memory),
            _ => None,
        }
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

    fn open_size(&self, object: u32) -> Option<u64> {
        match &self.get(object)?.content {
            Content::Stream(stream) => stream.size(),
            _ => None,
        }
    }

    fn end(&self, object: u32) -> Result<Option<Digest>, Error> {
        let Some(listed) = self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(&object)
        else {
            return Ok(None);
        };
        if listed.withdrawn.get().is_some() {
            return Ok(None);
        }
        let size = match &listed.content {
            Content::Memory(memory) => (**memory).as_ref().len() as u64,
            Content::File { file, identity: known, .. } if *known != identity(file).ok() => {
                return Err(changed());
            }
            Content::File { len, .. } => *len,
            Content::Stream(stream) => stream.size().unwrap_or(0),
        };
        let chunk_bytes = self.chunk_bytes.load(Ordering::Relaxed).max(1);
        Ok(listed.roots.root(size, chunk_bytes).filter(|_| self.encoder.digests()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_as_long_as_they_are_counted() {
        for content in [LiveContent::Small(vec![1; INLINE_LEN_MAX]), LiveContent::Memory(Arc::new([1; 9]))] {
            let object = LiveObject::new(b"a/b", content, true).unwrap();
            let counted = object.entry_len_max();
            assert_eq!(LiveSource::entry(object).0.encoded_len_max(), counted);
        }
    }

    #[test]
    fn a_page_ends_with_an_object_that_is_to_be_decided_about() {
        let source = LiveSource::new(8, Compression::None, false);
        let small = || LiveObject::new(b"s", LiveContent::Small(vec![1]), false).unwrap();
        let large = || LiveObject::new(b"l", LiveContent::Memory(Arc::new([1; 9])), false).unwrap();
        for object in [small(), large(), large().with_more(), small(), large(), small()] {
            assert!(source.push(object).is_ok());
        }
        let mut pages = Vec::new();
        while let Now::Ready(listing) = source.list_now(0) {
            pages.push(listing.unwrap().entries.len());
        }
        assert_eq!(pages, [2, 3, 1]);
        source.finish();
        let Now::Ready(Ok(listing)) = source.list_now(6) else { panic!("the last page") };
        assert!(listing.last && listing.entries.is_empty());
    }

    #[test]
    fn a_file_that_changed_is_withdrawn_with_the_next_chunk_that_is_read() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &[7; 300]).unwrap();
        let source = LiveSource::new(1, Compression::None, false);
        let content = LiveContent::File(file.try_clone().unwrap(), 100, 200);
        assert!(source.push(LiveObject::new(b"f", content, false).unwrap()).is_ok());
        assert!(matches!(source.list_now(0), Now::Ready(Ok(_))));
        let read = |object_offset| {
            let piece = Piece { object: 0, object_offset, chunk_offset: 0, len: 100, object_size: 200 };
            let plan = ChunkPlan { chunk: 0, plain_len: 100, pieces: vec![piece] };
            source.read(&plan, 0, &mut [0; 128]).unwrap().withdrawn
        };
        assert!(read(0).is_empty());
        file.write_all_at(&[8], 0).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let withdrawn = read(100);
        assert_eq!((withdrawn.len(), withdrawn[0].0, withdrawn[0].1.class), (1, 0, Class::Digest));
        assert_eq!(read(0).len(), 1, "it stays withdrawn");
    }

    #[test]
    fn names_and_small_content_are_checked() {
        for (name, len) in [(&b""[..], 1), (b"/a", 1), (b"a/../b", 1), (b"a", INLINE_LEN_MAX + 1)] {
            let object = LiveObject::new(name, LiveContent::Small(vec![0; len]), true);
            assert_eq!(object.err().unwrap().class, Class::Usage);
        }
    }
}
