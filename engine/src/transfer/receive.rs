//! The receiving half: has pages decided, grants buffers, has full chunks verified and written, tells what ended.

mod decide;

use super::buffers::Buffers;
use super::send::{UNLISTED, rule};
use super::stored::Stored;
use super::table::ChunkTable;
use super::{Context, TRANSFER, failed, file_ended, plan};
use crate::api::{Event, Stage};
use crate::error::{Class, Error, Side};
use crate::limits;
use crate::sink::{Action, Ended, Sink, Verdict};
use crate::source::{ChunkPlan, Encoding};
use crate::storage::{Answer, Job, StorageHandle, taken_back};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use xfer_io::borrows::Slot;
use xfer_io::registered::{Part, Registered};
use xfer_proto::connection::Event as ProtoEvent;
use xfer_proto::ranges::RangeSet;
use xfer_proto::space::{Piece, Placed, Space};
use xfer_proto::time::Time;
use xfer_proto::wire::{
    Attribute, Codec, Complete, Done, DoneStatus, Durability, Entry, EntryKind, Message, Page,
};

/// The receiving half of a transfer.
pub(crate) struct Receiving {
    sink: Arc<dyn Sink>,
    pub(crate) buffers: Buffers,
    space: Option<Space>,
    pages: VecDeque<Box<Page>>,
    next_page: u32,
    next_object: u32,
    last_page: bool,
    deciding: bool,
    /// The page that the application decides about.
    offered: Option<Box<Page>>,
    decided_pages: u32,
    /// The first object whose decision storage has not answered yet.
    undecided_from: u32,
    /// Objects of the page under decision that another I/O thread has ended already, with a batch. At most a page.
    early: Vec<Ended>,
    /// Placed objects that were not retired: what a withdrawal needs.
    placed: VecDeque<Placed>,
    /// Memory of the application that they are received into, by object, in order.
    memories: VecDeque<(u32, Registered)>,
    withdrawn: BTreeSet<u32>,
    /// Chunks that need not come: resumed, withdrawn.
    not_needed: RangeSet,
    encodings: ChunkTable<Encoding>,
    /// Lists of pieces that are not in use.
    spare: Vec<Vec<Piece>>,
    writing: usize,
    withdrawing: usize,
    /// Objects decided NEED or RESUME that did not end.
    open_objects: u64,
    /// Bytes that those of them take which are no directories, and what of them attributes take, by object, where there are some.
    open_bytes: u64,
    open_attributes: BTreeMap<u32, u64>,
    done: VecDeque<(u32, DoneStatus)>,
    some_failed: bool,
    syncing: bool,
    /// Content that the sync under way covers.
    syncing_bytes: u64,
    /// Content that came after it.
    unsynced: u64,
    last_sync: Time,
    finishing: bool,
    finished: Option<Durability>,
    rate: Rate,
    /// Chunk buffers that the rate calls for.
    wanted: usize,
}

/// Bytes of content that came inside the entry.
pub(super) fn inline_len(entry: &Entry) -> u64 {
    entry.inline.as_ref().map_or(0, |inline| inline.content.len() as u64)
}

/// What an object takes until it ends. Directories end with the transfer: they are the sink's to bound.
fn open_bytes(is_directory: bool, name: &[u8]) -> u64 {
    if is_directory { 0 } else { limits::FILE_OPEN_BYTES + 2 * name.len() as u64 }
}

/// The same for its attributes.
fn attribute_bytes(entry: &Entry) -> u64 {
    let bytes = |attribute: &Attribute| match attribute {
        Attribute::Xattr { name, value } => name.len() + value.len(),
        Attribute::AclAccess(value) | Attribute::AclDefault(value) => value.len(),
        Attribute::Owner { .. } | Attribute::HardLink(_) | Attribute::Digest(_) | Attribute::Data(_) => 0,
    };
    entry.attributes.iter().map(bytes).sum::<usize>() as u64
}

/// How fast content arrives, for grants.
struct Rate {
    since: Time,
    bytes: u64,
    bytes_per_second: u64,
}

impl Receiving {
    pub(crate) fn new(sink: Arc<dyn Sink>, slot: Slot, now: Time) -> Self {
        Receiving {
            sink,
            buffers: Buffers::new(slot),
            space: None,
            pages: VecDeque::new(),
            next_page: 0,
            next_object: 0,
            last_page: false,
            deciding: false,
            offered: None,
            decided_pages: 0,
            undecided_from: 0,
            early: Vec::new(),
            placed: VecDeque::new(),
            memories: VecDeque::new(),
            withdrawn: BTreeSet::new(),
            not_needed: RangeSet::new(),
            encodings: ChunkTable::new(),
            spare: Vec::new(),
            writing: 0,
            withdrawing: 0,
            open_objects: 0,
            open_bytes: 0,
            open_attributes: BTreeMap::new(),
            done: VecDeque::new(),
            some_failed: false,
            syncing: false,
            syncing_bytes: 0,
            unsynced: 0,
            last_sync: now,
            finishing: false,
            finished: None,
            rate: Rate { since: now, bytes: 0, bytes_per_second: 0 },
            wanted: limits::GRANTS_INITIAL,
        }
    }

    pub(crate) fn start(&mut self, chunk_log2: u8, chunks: usize) {
        // A chunk in one piece is what long transfers are made of.
        self.spare.resize_with(chunks, || Vec::with_capacity(1));
        self.space = Some(Space::new(chunk_log2));
    }

    /// Whether storage owes an answer that the peer will hear of.
    pub(crate) fn waits_for_storage(&self) -> bool {
        let finishing = self.finishing && self.finished.is_none();
        let deciding = self.deciding && self.offered.is_none();
        deciding || self.syncing || self.writing + self.withdrawing > 0 || finishing
    }

    /// Whether storage has more withdrawals to deal with than it is given at once.
    pub(crate) fn is_behind(&self) -> bool {
        self.withdrawing >= limits::WITHDRAWALS_MAX
    }

    /// The transfer ends early: journals are synced, the answer is `Aborted`.
    pub(crate) fn abort(&mut self, key: u32, storage: &StorageHandle) {
        storage.submit(key, Job::Abort(self.sink.clone()));
    }

    /// What the transfer waits for. Content that does not come is the way's fault as far as this end can see.
    pub(crate) fn waits_for(&self) -> Stage {
        let storing = self.writing * 2 > self.wanted;
        let all_here = self.buffers.len() == 0
            && (self.writing > 0 || self.deciding || self.syncing || self.withdrawing > 0);
        if storing || all_here || self.finishing { Stage::Sink } else { Stage::Path }
    }

    /// Starts what can be started. `Some` when all is in place and the last word of it is on its way; not to be called again then.
    pub(crate) fn pump(&mut self, cx: &mut Context<'_>) -> Result<Option<Durability>, Error> {
        while self.decide_next(cx)? {}
        if self.open_bytes < limits::FILES_OPEN_BYTES_MAX
            && let Some(incoming) = cx.connection.incoming(TRANSFER)
        {
            incoming.allow_pages(self.decided_pages + limits::PAGES_AHEAD);
        }
        self.grant(cx);
        self.tell_done(cx);
        let sync_due = self.unsynced >= limits::SYNC_BYTES
            || (self.unsynced > 0 && cx.now.since(self.last_sync) >= limits::SYNC_EVERY);
        if sync_due && !self.syncing && !self.finishing {
            self.syncing = true;
            self.last_sync = cx.now;
            self.syncing_bytes = std::mem::take(&mut self.unsynced);
            cx.storage.submit(cx.key, Job::Sync(self.sink.clone()));
        }
        if self.all_arrived(cx) && !self.finishing {
            self.finishing = true;
            cx.storage.submit(cx.key, Job::Finish(self.sink.clone()));
        }
        self.tell_complete(cx)
    }

    fn all_arrived(&self, cx: &mut Context<'_>) -> bool {
        let chunks = self.space.as_ref().map_or(0, Space::chunks);
        let base = cx.connection.incoming(TRANSFER).map(|i| i.base());
        self.last_page
            && !self.deciding
            && self.pages.is_empty()
            && !self.syncing
            && self.writing == 0
            && self.withdrawing == 0
            && base == Some(chunks)
    }

    fn tell_complete(&mut self, cx: &mut Context<'_>) -> Result<Option<Durability>, Error> {
        let Some(durability) = self.finished.filter(|_| self.done.is_empty()) else { return Ok(None) };
        if self.open_objects > 0 {
            let error = Error::new(Class::Other, "the sink finished while objects were open");
            return Err(error.on(Side::Destination));
        }
        let some_failed = self.some_failed;
        cx.connection.send(&Message::Complete(Complete { transfer: TRANSFER, some_failed, durability }));
        Ok(Some(durability))
    }

    /// Reserves buffers for the next chunks and grants them. Storage that syncs slowly holds the sender up: what a crash costs must not
    /// grow with what comes meanwhile.
    fn grant(&mut self, cx: &mut Context<'_>) {
        self.wanted = self.grants_wanted(cx);
        let Some(space) = &self.space else { return };
        let Some(incoming) = cx.connection.incoming(TRANSFER) else { return };
        let unjournaled = self.syncing_bytes + self.unsynced;
        while incoming.limit() < space.chunks() && incoming.can_grant() {
            let chunk = incoming.limit();
            self.not_needed.remove_below(u64::from(chunk));
            if let Some(here) = self.not_needed.first().filter(|here| here.start == u64::from(chunk)) {
                incoming.skip_to(u32::try_from(here.end).unwrap_or(u32::MAX).min(space.chunks()));
                continue;
            }
            if self.buffers.len() + self.writing >= self.wanted || unjournaled >= limits::UNJOURNALED_MAX {
                return;
            }
            let place = part_of(space, &self.memories, chunk).map(Stored::Part);
            let Some(stored) = place.or_else(|| cx.pool.take().map(Stored::Buffer)) else { return };
            self.buffers.insert(chunk, stored);
            incoming.grant(space.plain_len(chunk));
        }
    }

    /// Enough buffers for what arrives in three round trips without queues, the second and third for what is lost, and while storage holds them.
    fn grants_wanted(&mut self, cx: &mut Context<'_>) -> usize {
        let (rtt, rtt_min) = cx
            .connection
            .path_reports()
            .fold(Default::default(), |(rtt, min), path| (path.rtt.max(rtt), path.rtt_min.max(min)));
        let span = cx.now.since(self.rate.since);
        if span >= (rtt * 2).max(limits::REPORT_EVERY) {
            let received: u64 = cx.connection.path_reports().map(|p| p.counters.content_received).sum();
            let bytes = received.saturating_sub(self.rate.bytes);
            let rate = u128::from(bytes) * 1_000_000_000 / span.as_nanos().max(1);
            let rate = u64::try_from(rate).unwrap_or(u64::MAX);
            self.rate = Rate { since: cx.now, bytes: received, bytes_per_second: rate };
        }
        let seconds = rtt_min.as_secs_f64() * 3.0 + 0.01;
        let needed = (self.rate.bytes_per_second as f64 * seconds) as usize / cx.pool.chunk_bytes();
        (needed + limits::CHUNKS_MIN).max(limits::GRANTS_INITIAL).min(cx.pool.chunks())
    }

    /// Takes a protocol event.
    pub(crate) fn event(&mut self, cx: &mut Context<'_>, event: ProtoEvent) -> Result<(), Error> {
        match event {
            ProtoEvent::ChunkFull(_, chunk) => self.full(cx, chunk)?,
            ProtoEvent::Message(message) => self.message(cx, message)?,
            _ => {}
        }
        Ok(())
    }

    fn message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Error> {
        match message {
            Message::Accept(_) => {}
            Message::Page(page) => {
                if page.number != self.next_page
                    || page.first_object != self.next_object
                    || self.last_page
                    || page.number >= self.decided_pages + limits::PAGES_AHEAD
                {
                    return Err(rule("a page that was not asked for"));
                }
                self.next_page += 1;
                self.next_object += page.entries.len() as u32;
                self.last_page = page.last;
                for entry in &page.entries {
                    cx.totals.listed(entry.kind == EntryKind::Directory, entry.size);
                }
                if page.last {
                    cx.totals.listing_ended();
                }
                self.pages.push_back(Box::new(page));
            }
            Message::Chunk(chunk) => {
                let encoding =
                    Encoding { codec: chunk.codec, stored_len: chunk.stored_len, digests: chunk.digests };
                if self.buffers.get(chunk.chunk).is_none() {
                    cx.connection.recycle(encoding.digests);
                } else {
                    self.encodings.insert(chunk.chunk, encoding);
                }
            }
            Message::Withdraw { object: UNLISTED, error, .. } => {
                let error = Error::from_wire(&error);
                let name = error.name.clone().unwrap_or_default();
                self.some_failed = true;
                cx.totals.unlisted_failure();
                cx.events.push_back(Event::File(failed(UNLISTED, name, false, error)));
            }
            Message::Withdraw { object, error, .. } => {
                self.forget_object(cx, object);
                self.withdrawing += 1;
                let error = Box::new(Error::from_wire(&error));
                cx.storage.submit(cx.key, Job::Withdraw(self.sink.clone(), object, error));
            }
            Message::End { object, size, .. } => {
                let Some(space) = &mut self.space else { return Ok(()) };
                space.end_open(object, size).map_err(|e| rule(e.what))?;
                let behind = cx.connection.incoming(TRANSFER).is_some_and(|i| i.base() > space.chunks());
                if behind || self.withdrawn.contains(&object) {
                    return Err(rule("an object ended before what was accepted of it"));
                }
                self.withdrawing += 1;
                cx.storage.submit(cx.key, Job::EndOpen(self.sink.clone(), object, size));
            }
            _ => return Err(rule("a message that only a receiver sends")),
        }
        Ok(())
    }

    /// A chunk that holds withdrawn objects only need not come.
    fn forget_object(&mut self, cx: &mut Context<'_>, object: u32) {
        let Some(space) = &self.space else { return };
        let Some(placed) = self.placed.iter().find(|p| p.object == object) else { return };
        self.withdrawn.insert(object);
        let Some(incoming) = cx.connection.incoming(TRANSFER) else { return };
        let chunks = space.chunks_of(placed);
        if space.pieces(chunks.start).any(|p| !self.withdrawn.contains(&p.object)) {
            return;
        }
        // An object that has a chunk to itself has all of its chunks to itself; those to come may be very many.
        let granted = incoming.limit().clamp(chunks.start, chunks.end);
        for chunk in chunks.start.max(incoming.base())..granted {
            if self.buffers.remove(chunk).is_some() {
                self.encodings.remove(chunk);
                incoming.accept(chunk);
            }
        }
        self.not_needed.insert(u64::from(granted)..u64::from(chunks.end), usize::MAX);
    }

    fn full(&mut self, cx: &mut Context<'_>, chunk: u32) -> Result<(), Error> {
        let Some(space) = &self.space else { return Ok(()) };
        let (Some(stored), Some(encoding)) = (self.buffers.remove(chunk), self.encodings.remove(chunk))
        else {
            return Ok(());
        };
        if stored.is_revoked() {
            return Err(taken_back());
        }
        let plan = plan(space, chunk, &mut self.spare);
        let is_plain = encoding.codec == Codec::Plain && encoding.stored_len == plan.plain_len;
        if let Some(ended) = is_plain.then(|| self.sink.accept(&plan)).flatten() {
            self.written(cx, &plan, stored, Verdict::Accepted(ended));
            self.recycle(cx, plan, encoding);
            return Ok(());
        }
        self.writing += 1;
        cx.storage.submit(cx.key, Job::Write(self.sink.clone(), plan, encoding, stored));
        Ok(())
    }

    fn recycle(&mut self, cx: &mut Context<'_>, plan: ChunkPlan, encoding: Encoding) {
        cx.connection.recycle(encoding.digests);
        self.spare.push(plan.pieces);
    }

    /// Takes storage's answer.
    pub(crate) fn answer(&mut self, cx: &mut Context<'_>, answer: Answer) -> Result<(), Error> {
        match answer {
            Answer::Decided(page, decided, memories) => {
                self.deciding = false;
                self.memories.extend(memories);
                self.decided(cx, &page, decided?, |_| false)?;
            }
            Answer::Written(plan, encoding, stored, verdict) => {
                self.writing -= 1;
                self.written(cx, &plan, stored, verdict?);
                self.recycle(cx, plan, encoding);
            }
            Answer::Ended(ended) => {
                self.withdrawing -= 1;
                self.ended(cx, ended);
            }
            Answer::Synced(ended) => {
                self.syncing = false;
                self.syncing_bytes = 0;
                self.ended(cx, ended?);
            }
            Answer::Finished(finished) => {
                let (ended, durability) = finished?;
                self.ended(cx, ended);
                self.finished = Some(durability);
            }
            _ => {}
        }
        Ok(())
    }

    fn written(&mut self, cx: &mut Context<'_>, plan: &ChunkPlan, stored: Stored, verdict: Verdict) {
        let Some(incoming) = cx.connection.incoming(TRANSFER) else { return };
        match verdict {
            Verdict::Accepted(ended) => {
                drop(stored);
                incoming.accept(plan.chunk);
                let content: u64 = plan.pieces.iter().map(|p| u64::from(p.len)).sum();
                cx.totals.moved(content);
                self.unsynced += content;
                self.ended(cx, ended);
                self.retire(cx);
            }
            Verdict::Rejected => {
                if let Some(attempt) = incoming.reject(plan.chunk) {
                    self.buffers.insert(plan.chunk, stored);
                    cx.connection.send(&Message::Reject { transfer: TRANSFER, chunk: plan.chunk, attempt });
                }
            }
        }
    }

    fn retire(&mut self, cx: &mut Context<'_>) {
        let base = cx.connection.incoming(TRANSFER).map_or(0, |i| i.base());
        if let Some(space) = &mut self.space {
            space.retire(base);
            while self.placed.front().is_some_and(|p| space.chunks_of(p).end <= base) {
                self.placed.pop_front();
            }
            let oldest = self.placed.front().map_or(u32::MAX, |p| p.object);
            self.withdrawn.retain(|object| *object >= oldest);
            while self.memories.front().is_some_and(|(object, _)| *object < oldest) {
                self.memories.pop_front();
            }
        }
    }

    fn ended(&mut self, cx: &mut Context<'_>, ended: Vec<Ended>) {
        for end in ended {
            if end.object < self.undecided_from {
                self.object_ended(cx, end, true, true);
            } else {
                self.early.push(end);
            }
        }
    }

    /// `told`: the object was decided NEED or RESUME, so the sender waits to hear that it ended. `tell`: the application is to hear it too.
    fn object_ended(&mut self, cx: &mut Context<'_>, end: Ended, told: bool, tell: bool) {
        if told {
            self.open_objects = self.open_objects.saturating_sub(1);
            let attributes = self.open_attributes.remove(&end.object).unwrap_or(0);
            let bytes = open_bytes(end.is_directory, &end.name) + attributes;
            self.open_bytes = self.open_bytes.saturating_sub(bytes);
            let status = match (&end.error, end.action) {
                (Some(error), _) => DoneStatus::Failed(error.to_wire(Side::Destination)),
                (None, Action::Resumed) => DoneStatus::Resumed(end.reused),
                (None, _) => DoneStatus::Copied,
            };
            self.done.push_back((end.object, status));
        }
        self.some_failed |= end.action == Action::Failed;
        if tell {
            file_ended(cx.totals, cx.events, end);
        } else {
            cx.totals.file_ended(&end);
        }
    }

    fn tell_done(&mut self, cx: &mut Context<'_>) {
        while !self.done.is_empty() && cx.connection.stream_backlog() < limits::STREAM_BACKLOG_MAX {
            let mut failures = 0;
            let fits = self.done.iter().take(limits::DONE_MESSAGE).take_while(|(_, status)| {
                failures += usize::from(matches!(status, DoneStatus::Failed(_)));
                failures <= limits::DONE_OBJECTS
            });
            let count = fits.count();
            let objects = self.done.drain(..count).collect();
            cx.connection.send(&Message::Done(Done { transfer: TRANSFER, objects }));
        }
    }
}

/// Where in the application's memory a chunk of one object belongs.
fn part_of(space: &Space, memories: &VecDeque<(u32, Registered)>, chunk: u32) -> Option<Part> {
    let mut pieces = space.pieces(chunk);
    let (piece, None) = (pieces.next()?, pieces.next()) else { return None };
    let at = memories.binary_search_by_key(&piece.object, |(object, _)| *object).ok()?;
    let start = usize::try_from(piece.object_offset).ok()?;
    memories[at].1.part(start..start + piece.len as usize)
}
