//! A sink that writes the one object of a transfer to a stream, in order (`-` as the destination).

use super::directory::lock;
use super::fault::has_ended;
use super::finish::bare_end;
use super::verify::{self, Scratch};
use super::{Action, Decided, Ended, Sink, Verdict};
use crate::digest::{self, Digest, Tree};
use crate::error::{Class, Error, Side, errno_text};
use crate::source::{ChunkPlan, Encoding};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use xfer_proto::wire::{Decision, Durability, EntryKind, Page};

/// Writes a single file's content to a stream, chunk after chunk.
///
/// A chunk that comes before the ones in front of it is kept: what the window of the transfer lets overtake is held in memory, so whoever
/// grants chunks keeps that window small.
pub struct StreamSink {
    digests: bool,
    state: Mutex<State>,
    scratch: Scratch,
}

struct State {
    out: Box<dyn Write + Send>,
    object: Option<Streamed>,
    closed: bool,
}

/// The object and how far it is.
struct Streamed {
    number: u32,
    name: Vec<u8>,
    /// `None` until the end of an open object is known.
    size: Option<u64>,
    written: u64,
    /// Chunks by their offset, with their values, that wait for those before them.
    waiting: BTreeMap<u64, (Vec<u8>, Digest)>,
    tree: Tree,
    /// Root of the first chunk alone.
    first_root: Option<Digest>,
    ended: bool,
}

impl StreamSink {
    /// A sink for one transfer with or without digests.
    pub fn new(out: Box<dyn Write + Send>, digests: bool) -> Self {
        let state = State { out, object: None, closed: false };
        StreamSink { digests, state: Mutex::new(state), scratch: Scratch::default() }
    }
}

impl State {
    /// Writes what is in order and ends the object when that was all.
    fn advance(&mut self, digests: bool) -> Result<Option<Ended>, Error> {
        let Some(object) = self.object.as_mut().filter(|object| !object.ended) else { return Ok(None) };
        while let Some((bytes, value)) = object.waiting.remove(&object.written) {
            self.out.write_all(&bytes).map_err(|error| stream_error(&error, object))?;
            object.written += bytes.len() as u64;
            object.tree.push(value);
        }
        if object.size != Some(object.written) {
            return Ok(None);
        }
        self.out.flush().map_err(|error| stream_error(&error, object))?;
        object.ended = true;
        let root = match object.tree.chunks() {
            0 => Some(digest::root(b"")),
            1 => object.first_root,
            _ => object.tree.root(),
        };
        let end = bare_end(object.number, object.name.clone(), false, Action::Copied);
        Ok(Some(Ended { bytes: object.written, digest: root.filter(|_| digests), ..end }))
    }
}

fn stream_error(error: &std::io::Error, object: &Streamed) -> Error {
    let errno = error.raw_os_error();
    let cause = errno.map_or_else(|| error.to_string(), errno_text);
    let told = Error::new(Class::Fatal, "write to the output").on(Side::Destination);
    Error { errno, ..told.object(object.name.clone()).at(object.written).because(cause) }
}

fn one_file_only() -> Error {
    Error::new(Class::Usage, "a stream takes exactly one file").on(Side::Destination)
}

impl Sink for StreamSink {
    fn decide(&self, page: &Page) -> Result<Decided, Error> {
        let mut state = lock(&self.state);
        let [entry] = &page.entries[..] else {
            if page.entries.is_empty() && state.object.is_some() {
                return Ok(Decided { decisions: Vec::new(), ended: Vec::new() });
            }
            return Err(one_file_only());
        };
        if entry.kind != EntryKind::File || state.object.is_some() {
            return Err(one_file_only());
        }
        let mut object = Streamed {
            number: page.first_object,
            name: entry.name.clone(),
            size: (!entry.open).then_some(entry.size),
            written: 0,
            waiting: BTreeMap::new(),
            tree: Tree::new(),
            first_root: None,
            ended: false,
        };
        if let Some(inline) = &entry.inline {
            let root = digest::root(&inline.content);
            if self.digests && root != inline.digest {
                let message = "the digest of the content in the manifest is wrong:";
                return Err(Error::new(Class::Digest, message).on(Side::Destination).object(object.name));
            }
            if !inline.content.is_empty() {
                object.first_root = Some(root);
                object.waiting.insert(0, (inline.content.clone(), root));
            }
        }
        state.object = Some(object);
        let ended = state.advance(self.digests)?;
        Ok(Decided { decisions: vec![Decision::Need], ended: ended.into_iter().collect() })
    }

    #[expect(clippy::indexing_slicing, reason = "there is a value for each piece")]
    fn write(&self, plan: &ChunkPlan, encoding: &Encoding, stored: &[u8]) -> Result<Verdict, Error> {
        let checked = verify::check(plan, encoding, stored, self.digests, &self.scratch, |_| true);
        let (Some(checked), [piece]) = (checked, &plan.pieces[..]) else { return Ok(Verdict::Rejected) };
        let first = piece.object_offset == 0;
        let root = first.then(|| if plan.is_subtree() { checked.root(piece) } else { checked.values[0] });
        let mut state = lock(&self.state);
        if state.closed {
            return Err(has_ended());
        }
        if let Some(object) = state.object.as_mut().filter(|object| !object.ended) {
            object.first_root = object.first_root.or(root);
            object
                .waiting
                .insert(piece.object_offset, (checked.piece(piece).into_owned(), checked.values[0]));
        }
        Ok(Verdict::Accepted(state.advance(self.digests)?.into_iter().collect()))
    }

    fn withdraw(&self, object: u32, error: Error) -> Vec<Ended> {
        let mut state = lock(&self.state);
        let Some(streamed) = state.object.as_mut().filter(|s| s.number == object && !s.ended) else {
            return Vec::new();
        };
        streamed.ended = true;
        streamed.waiting.clear();
        let end = bare_end(object, streamed.name.clone(), false, Action::Failed);
        vec![Ended { error: Some(error.object(streamed.name.clone())), ..end }]
    }

    fn end_open(&self, object: u32, size: u64) -> Vec<Ended> {
        let mut state = lock(&self.state);
        if let Some(streamed) = state.object.as_mut().filter(|s| s.number == object) {
            streamed.size = Some(size);
        }
        match state.advance(self.digests) {
            Ok(ended) => ended.into_iter().collect(),
            Err(error) => {
                drop(state);
                self.withdraw(object, error)
            }
        }
    }

    fn sync(&self) -> Result<Vec<Ended>, Error> {
        Ok(Vec::new())
    }

    fn finish(&self) -> Result<(Vec<Ended>, Durability), Error> {
        Ok((Vec::new(), Durability::None))
    }

    fn abort(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        if let Some(object) = &mut state.object {
            object.waiting.clear();
        }
    }
}
