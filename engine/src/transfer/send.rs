//! The sending half: lists, reads ahead as far as grants and buffers go, offers chunks, ends objects.

mod list;

use super::buffers::Buffers;
use super::receive::inline_len;
use super::stored::Stored;
use super::table::ChunkTable;
use super::{Context, TRANSFER, failed, file_ended, plan};
use crate::api::{FileEnd, Stage};
use crate::crypto::AwsCrypto;
use crate::error::{Class, Error, Side};
use crate::limits;
use crate::sink::Action;
use crate::source::{ChunkPlan, ReadChunk, Source};
use crate::storage::{Answer, Job};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use xfer_io::borrows::Slot;
use xfer_proto::connection::{Connection, Event as ProtoEvent, Held, PathReport};
use xfer_proto::limits::WINDOW_CHUNKS_MAX;
use xfer_proto::ranges::RangeSet;
use xfer_proto::space::{Piece, Space};
use xfer_proto::time::Time;
use xfer_proto::wire::{Chunk, Decision, Decisions, DoneStatus, Durability, Entry, Message, Run};

pub(super) use list::UNLISTED;
pub(crate) use list::tell_listing;

/// What is remembered of an object until it ended.
struct Object {
    name: Vec<u8>,
    is_directory: bool,
    size: u64,
    action: Action,
    reused: u64,
    /// The receiver wants it, and has not said how it ended.
    awaited: bool,
}

/// A page that waits for its decisions.
struct Undecided {
    number: u32,
    first_object: u32,
    entries: Vec<Entry>,
    decisions: Vec<Decision>,
}

/// A chunk that was offered.
struct Offered {
    attempt: u8,
    pieces: Vec<Piece>,
}

/// The sending half of a transfer.
pub(crate) struct Sending {
    source: Arc<dyn Source>,
    pub(crate) buffers: Buffers,
    space: Option<Space>,
    next_page: u32,
    next_object: u32,
    listing: bool,
    /// What the next listing holds was told with the handshake.
    told_ahead: bool,
    listed_all: bool,
    pages: VecDeque<Undecided>,
    /// Decided pages whose decisions the source is being told.
    telling: VecDeque<Vec<Entry>>,
    objects: BTreeMap<u32, Object>,
    /// Those of them that are no directories.
    files_open: usize,
    /// Objects whose end the source is to be told, and how many ends it is dealing with.
    ends: VecDeque<u32>,
    ending: usize,
    next_chunk: u32,
    reading: usize,
    /// Time that reads took, of all I/O threads together.
    reads_took: Duration,
    /// Chunks that are with the receiver from the start, and those of withdrawn objects.
    not_needed: RangeSet,
    withdrawn: BTreeSet<u32>,
    offered: ChunkTable<Offered>,
    /// Lists of pieces that are not in use.
    spare: Vec<Vec<Piece>>,
    rejects: BTreeMap<u32, u8>,
    /// Rejected chunks that are to be read once more, with their next attempt.
    again: VecDeque<(u32, u8)>,
    completed: Option<Durability>,
    /// The object of open length, which is the last.
    open: Option<u32>,
    /// Its length was told.
    open_ended: bool,
}

impl Sending {
    pub(crate) fn new(source: Arc<dyn Source>, slot: Slot) -> Self {
        Sending {
            source,
            buffers: Buffers::new(slot),
            space: None,
            next_page: 0,
            next_object: 0,
            listing: false,
            told_ahead: false,
            listed_all: false,
            pages: VecDeque::new(),
            telling: VecDeque::new(),
            objects: BTreeMap::new(),
            files_open: 0,
            ends: VecDeque::new(),
            ending: 0,
            next_chunk: 0,
            reading: 0,
            reads_took: Duration::ZERO,
            not_needed: RangeSet::new(),
            withdrawn: BTreeSet::new(),
            offered: ChunkTable::new(),
            spare: Vec::new(),
            rejects: BTreeMap::new(),
            again: VecDeque::new(),
            completed: None,
            open: None,
            open_ended: false,
        }
    }

    pub(crate) fn start(&mut self, chunk_log2: u8, chunks: usize) {
        // A chunk in one piece is what long transfers are made of.
        self.spare.resize_with(chunks, || Vec::with_capacity(1));
        self.space = Some(Space::new(chunk_log2));
    }

    /// What the receiver promised, once it completed.
    pub(crate) fn completed(&self) -> Option<Durability> {
        self.completed
    }

    /// The first listing was asked for before there was a connection. `told`: the handshake carried what came of it.
    pub(crate) fn listing_ahead(&mut self, told: bool) {
        (self.listing, self.told_ahead) = (true, told);
    }

    /// Whether storage owes an answer that the peer will hear of.
    pub(crate) fn waits_for_storage(&self) -> bool {
        self.listing || self.reading > 0
    }

    /// Tells the source what the connection could carry.
    pub(crate) fn tell_rate(&self, bytes_per_second: u64) {
        self.source.rate(bytes_per_second);
    }

    /// What the transfer waits for at `now`.
    pub(crate) fn waits_for(&self, now: Time, connection: &Connection<AwsCrypto>) -> Stage {
        match connection.held(now) {
            Held::No => return Stage::SenderCpu,
            Held::Paths => return Stage::Path,
            Held::Rate => return Stage::RateLimit,
            Held::Nothing => {}
        }
        if self.reading > 0 || self.listing {
            let hashes_most = self.source.hashing() * 2 > self.reads_took;
            return if hashes_most && self.reading > 0 { Stage::Hash } else { Stage::Source };
        }
        // All that the receiver took is sent. While some of it is on its way, the way is what is waited for; then it is storage.
        let on_its_way = connection.path_reports().any(|path| path.in_flight > 0);
        if on_its_way { Stage::Path } else { Stage::Sink }
    }

    /// Starts what can be started. `Some` when the transfer is complete.
    pub(crate) fn pump(&mut self, cx: &mut Context<'_>) -> Result<Option<Durability>, Error> {
        let pages = cx.connection.outgoing(TRANSFER).map_or(0, |o| o.pages());
        let room = cx.connection.stream_backlog() < limits::STREAM_BACKLOG_MAX;
        while self.may_list(cx, pages) && self.list(cx)? {}
        let ahead = self.read_ahead(cx.connection);
        while self.reading < limits::READS_AHEAD && room && self.read_next(cx, ahead)? {}
        let live = self.source.is_live();
        while self.ending < limits::ENDS_MAX
            && let Some(object) = self.ends.pop_front()
        {
            self.ending += 1;
            if live {
                let ended = self.source.end(object);
                self.object_ended(cx, object, ended);
            } else {
                cx.storage.submit(cx.key, Job::EndObject(self.source.clone(), object));
            }
        }
        let quiet = self.ending == 0 && self.ends.is_empty() && self.reading == 0 && self.telling.is_empty();
        let done = self.completed.filter(|_| quiet);
        Ok(done)
    }

    /// Chunks that may wait for a path before no more are read. What is read shortly before it is sent is what the paths may take at once,
    /// and one chunk.
    fn read_ahead(&self, connection: &Connection<AwsCrypto>) -> usize {
        let Some(space) = self.space.as_ref().filter(|_| self.source.is_timed()) else { return usize::MAX };
        let soon = |path: PathReport| {
            let paced = path
                .pacing_rate
                .map_or(u128::MAX, |rate| u128::from(rate) * limits::TIMED_AHEAD.as_millis() / 1_000);
            path.window.min(u64::try_from(paced).unwrap_or(u64::MAX))
        };
        let bytes = connection.path_reports().map(soon).fold(0, u64::saturating_add);
        usize::try_from(bytes / space.chunk_bytes()).unwrap_or(usize::MAX).saturating_add(1)
    }

    /// Reads a rejected chunk again, or the next that is needed and granted. False when there is none, no buffer, or enough waits.
    fn read_next(&mut self, cx: &mut Context<'_>, ahead: usize) -> Result<bool, Error> {
        if let Some((chunk, attempt)) = self.again.front().copied() {
            let read = self.read(cx, chunk, attempt)?;
            if read {
                self.again.pop_front();
            }
            return Ok(read);
        }
        let Some(space) = &self.space else { return Ok(false) };
        let Some(outgoing) = cx.connection.outgoing(TRANSFER) else { return Ok(false) };
        let waiting = outgoing.waiting();
        if waiting >= ahead || waiting + self.reading > ahead {
            return Ok(false);
        }
        // Of a long object that was withdrawn very many are accepted at once.
        self.next_chunk = self.next_chunk.max(outgoing.base());
        // The receiver's window spans no more, whatever it says.
        let end = outgoing.limit().min(outgoing.base().saturating_add(WINDOW_CHUNKS_MAX));
        loop {
            let chunk = self.next_chunk;
            if chunk >= space.chunks() || chunk >= end {
                return Ok(false);
            }
            let bit = u64::from(chunk)..u64::from(chunk) + 1;
            if !self.not_needed.covers(&bit) && !outgoing.is_accepted(chunk) {
                break;
            }
            self.not_needed.remove_below(bit.end);
            self.next_chunk += 1;
        }
        if self.buffers.len() + self.reading >= cx.pool.chunks() {
            return Ok(false);
        }
        let read = self.read(cx, self.next_chunk, 0)?;
        self.next_chunk += u32::from(read);
        Ok(read)
    }

    /// Offers a chunk that the source lends, or has it read or digested. False when there is no buffer for it.
    fn read(&mut self, cx: &mut Context<'_>, chunk: u32, attempt: u8) -> Result<bool, Error> {
        let Some(space) = &self.space else { return Ok(false) };
        let plan = plan(space, chunk, &mut self.spare);
        let source = self.source.clone();
        let job = match self.source.lend(&plan) {
            Some(lent) if lent.digests => Job::Digest(source, plan, attempt, lent, cx.pool.chunk_bytes()),
            Some(lent) => {
                if let Some(plan) = self.cut_at_end(cx, plan)? {
                    let read = ReadChunk::plain(plan.plain_len, Vec::new());
                    self.chunk_read(cx, plan, attempt, Stored::Lent(lent), read);
                }
                return Ok(true);
            }
            None => {
                let Some(buffer) = cx.pool.take() else {
                    self.spare.push(plan.pieces);
                    return Ok(false);
                };
                Job::Read(source, plan, attempt, buffer)
            }
        };
        self.reading += 1;
        cx.storage.submit(cx.key, job);
        Ok(true)
    }

    /// Takes storage's answer.
    pub(crate) fn answer(&mut self, cx: &mut Context<'_>, answer: Answer) -> Result<(), Error> {
        match answer {
            Answer::Listed(listing) => {
                self.listing = false;
                self.listed(cx, listing?);
            }
            Answer::DecisionsTold(first_object, decisions) => self.lay_out(cx, first_object, &decisions)?,
            Answer::Read(plan, attempt, stored, read, took) => {
                self.reading -= 1;
                self.reads_took += took;
                let Some(plan) = self.cut_at_end(cx, plan)? else { return Ok(()) };
                self.chunk_read(cx, plan, attempt, stored, read?);
            }
            Answer::ObjectEnded(object, ended) => self.object_ended(cx, object, ended),
            _ => {}
        }
        Ok(())
    }

    /// Takes a protocol event.
    pub(crate) fn event(&mut self, cx: &mut Context<'_>, event: ProtoEvent) -> Result<(), Error> {
        match event {
            ProtoEvent::ChunkAccepted(_, chunk) => self.accepted(cx, chunk),
            ProtoEvent::Message(Message::Accept(_)) => {}
            ProtoEvent::Message(Message::Decision(decisions)) => self.decided(cx, decisions)?,
            ProtoEvent::Message(Message::Reject { chunk, attempt, .. }) => self.rejected(cx, chunk, attempt),
            ProtoEvent::Message(Message::Done(done)) => {
                for (object, status) in done.objects {
                    self.done(cx, object, status)?;
                }
            }
            ProtoEvent::Message(Message::Complete(complete)) => {
                if !self.listed_all || !self.pages.is_empty() {
                    return Err(rule("a transfer that is not complete was called so"));
                }
                self.completed = Some(complete.durability);
            }
            ProtoEvent::Message(_) => return Err(rule("a message that only a sender sends")),
            _ => {}
        }
        Ok(())
    }

    fn decided(&mut self, cx: &mut Context<'_>, news: Decisions) -> Result<(), Error> {
        let Some(page) = self.pages.front_mut() else { return Err(rule("a decision for no page")) };
        let expected = page.number == news.page && page.decisions.len() == usize::from(news.first_entry);
        if !expected || page.decisions.len() + news.decisions.len() > page.entries.len() {
            return Err(rule("decisions out of order"));
        }
        page.decisions.extend(news.decisions);
        if page.decisions.len() < page.entries.len() {
            return Ok(());
        }
        let Some(page) = self.pages.pop_front() else { return Ok(()) };
        for (object, decision) in (page.first_object..).zip(&page.decisions) {
            self.object_decided(cx, object, decision);
        }
        self.telling.push_back(page.entries);
        if self.source.is_live() {
            self.source.decided(page.first_object, &page.decisions);
            return self.lay_out(cx, page.first_object, &page.decisions);
        }
        let job = Job::Decided(self.source.clone(), page.first_object, page.decisions);
        cx.storage.submit(cx.key, job);
        Ok(())
    }

    fn object_decided(&mut self, cx: &mut Context<'_>, object: u32, decision: &Decision) {
        let Some(known) = self.objects.get_mut(&object) else { return };
        match decision {
            Decision::Need | Decision::Resume(_) => known.awaited = true,
            Decision::Skip => {
                known.action = Action::Skipped;
            }
            Decision::Fail(error) => {
                let mut end = failed(object, known.name.clone(), known.is_directory, Error::from_wire(error));
                end.action = Action::Failed;
                self.forget(object);
                file_ended(cx.totals, cx.events, end);
            }
        }
    }

    /// The source knows the decisions: the objects get their place.
    fn lay_out(
        &mut self,
        cx: &mut Context<'_>,
        first_object: u32,
        decisions: &[Decision],
    ) -> Result<(), Error> {
        let Some(entries) = self.telling.pop_front() else { return Ok(()) };
        let Some(space) = &mut self.space else { return Ok(()) };
        for ((object, entry), decision) in (first_object..).zip(&entries).zip(decisions) {
            let placed = space.place(object, entry, decision).map_err(|e| {
                Error::new(Class::Other, "lay out the transfer").because(e).object(entry.name.clone())
            })?;
            if let (Some(placed), Decision::Resume(runs)) = (placed, decision) {
                let chunks = space.chunks_of(&placed);
                for Run { first, count } in runs {
                    let start = u64::from(chunks.start) + u64::from(*first);
                    let end = (start + u64::from(*count)).min(u64::from(chunks.end));
                    self.not_needed.insert(start..end, usize::MAX);
                }
            }
            if matches!(decision, Decision::Need | Decision::Resume(_)) {
                cx.totals.moved(inline_len(entry));
            }
            if *decision == Decision::Skip {
                self.ends.push_back(object);
            }
        }
        space.end_page();
        Ok(())
    }

    fn forget(&mut self, object: u32) -> Option<Object> {
        let known = self.objects.remove(&object)?;
        self.files_open -= usize::from(!known.is_directory);
        Some(known)
    }

    /// Tells how long an open object is as soon as that is known, before the entry of its last chunk. What was to be read behind its end
    /// is nothing.
    fn cut_at_end(&mut self, cx: &mut Context<'_>, plan: ChunkPlan) -> Result<Option<ChunkPlan>, Error> {
        let (Some(object), Some(space)) = (self.open, &mut self.space) else { return Ok(Some(plan)) };
        let Some(size) = self.source.open_size(object) else { return Ok(Some(plan)) };
        if !self.open_ended {
            self.open_ended = true;
            space.end_open(object, size).map_err(|e| rule(e.what))?;
            cx.connection.send(&Message::End { transfer: TRANSFER, object, size });
            if let Some(object) = self.objects.get_mut(&object) {
                object.size = size;
            }
        }
        let pieces: Vec<_> = space.pieces(plan.chunk).collect();
        if pieces.is_empty() {
            return Ok(None);
        }
        Ok(Some(ChunkPlan { chunk: plan.chunk, plain_len: space.plain_len(plan.chunk), pieces }))
    }

    fn chunk_read(
        &mut self,
        cx: &mut Context<'_>,
        plan: ChunkPlan,
        attempt: u8,
        stored: Stored,
        read: ReadChunk,
    ) {
        for (object, error) in read.withdrawn {
            self.withdraw(cx, object, &error);
        }
        let is_unwanted =
            |p: &Piece| self.withdrawn.contains(&p.object) || !self.objects.contains_key(&p.object);
        if plan.pieces.iter().all(is_unwanted) {
            return;
        }
        let encoding = read.encoding;
        cx.connection.send(&Message::Chunk(Chunk {
            transfer: TRANSFER,
            chunk: plan.chunk,
            attempt,
            codec: encoding.codec,
            stored_len: encoding.stored_len,
            digests: encoding.digests,
        }));
        let Some(outgoing) = cx.connection.outgoing(TRANSFER) else { return };
        if outgoing.is_accepted(plan.chunk) {
            return;
        }
        self.offered.insert(plan.chunk, Offered { attempt, pieces: plan.pieces });
        self.buffers.insert(plan.chunk, stored);
        outgoing.offer(plan.chunk, attempt, encoding.stored_len);
    }

    fn withdraw(&mut self, cx: &mut Context<'_>, object: u32, error: &Error) {
        if !self.objects.contains_key(&object) || !self.withdrawn.insert(object) {
            return;
        }
        let error = error.to_wire(Side::Source);
        cx.connection.send(&Message::Withdraw { transfer: TRANSFER, object, error });
    }

    /// The receiver has failed an object: what it has not accepted of it need not come.
    fn withdraw_rest(&mut self, cx: &mut Context<'_>, object: u32, error: &Error) {
        let placed = self.space.as_ref().and_then(|space| Some(space.chunks_of(space.find(object)?)));
        let base = cx.connection.outgoing(TRANSFER).map_or(0, |outgoing| outgoing.base());
        if placed.is_some_and(|chunks| base < chunks.end) {
            self.withdraw(cx, object, error);
        }
        self.open = self.open.filter(|open| *open != object);
    }

    fn accepted(&mut self, cx: &mut Context<'_>, chunk: u32) {
        self.buffers.remove(chunk);
        self.rejects.remove(&chunk);
        if let Some(offered) = self.offered.remove(chunk) {
            cx.totals.moved(offered.pieces.iter().map(|p| u64::from(p.len)).sum());
            self.spare.push(offered.pieces);
        }
        let base = cx.connection.outgoing(TRANSFER).map_or(0, |o| o.base());
        let oldest =
            (base..self.next_chunk).find(|c| self.offered.get(*c).is_some()).unwrap_or(self.next_chunk);
        if let Some(space) = &mut self.space {
            space.retire(oldest.min(base).min(self.next_chunk));
        }
    }

    /// The receiver found a wrong digest: read again, once; the second time the source must have changed.
    fn rejected(&mut self, cx: &mut Context<'_>, chunk: u32, attempt: u8) {
        let Some(offered) = self.offered.get(chunk) else { return };
        if offered.attempt != attempt {
            return;
        }
        if self.buffers.remove(chunk).is_none() {
            return;
        }
        let Some(offered) = self.offered.remove(chunk) else { return };
        cx.connection.revoke_leases(TRANSFER, chunk);
        let rejects = self.rejects.entry(chunk).or_default();
        *rejects += 1;
        if *rejects < 2 {
            // Into another buffer: a worker may still seal from the old one.
            self.again.push_back((chunk, attempt.wrapping_add(1)));
            return;
        }
        for Piece { object, .. } in offered.pieces {
            let name = self.objects.get(&object).map(|o| o.name.clone()).unwrap_or_default();
            let error = Error::new(Class::Digest, "source changed while sending").object(name);
            self.withdraw(cx, object, &error.on(Side::Source));
        }
    }

    fn done(&mut self, cx: &mut Context<'_>, object: u32, status: DoneStatus) -> Result<(), Error> {
        let Some(known) = self.objects.get_mut(&object).filter(|known| known.awaited) else {
            return Err(rule("an object that is not open ended"));
        };
        known.awaited = false;
        match status {
            DoneStatus::Copied => known.action = Action::Copied,
            DoneStatus::Resumed(reused) => {
                known.action = Action::Resumed;
                known.reused = reused.min(known.size);
            }
            DoneStatus::Failed(error) => {
                let error = Error::from_wire(&error);
                let end = failed(object, known.name.clone(), known.is_directory, error.clone());
                self.withdraw_rest(cx, object, &error);
                self.forget(object);
                file_ended(cx.totals, cx.events, end);
            }
        }
        self.ends.push_back(object);
        Ok(())
    }

    fn object_ended(&mut self, cx: &mut Context<'_>, object: u32, ended: Result<Option<[u8; 32]>, Error>) {
        self.ending -= 1;
        self.withdrawn.remove(&object);
        let Some(known) = self.forget(object) else { return };
        let end = match ended {
            Err(error) => failed(object, known.name, known.is_directory, error),
            Ok(digest) => {
                let moved = matches!(known.action, Action::Copied | Action::Resumed);
                let skipped = if known.action == Action::Skipped { known.size } else { 0 };
                FileEnd {
                    object,
                    name: known.name,
                    is_directory: known.is_directory,
                    action: known.action,
                    bytes: if moved { known.size - known.reused } else { 0 },
                    reused: known.reused,
                    skipped,
                    digest,
                    error: None,
                }
            }
        };
        file_ended(cx.totals, cx.events, end);
    }
}

/// The peer broke a rule of the protocol.
pub(super) fn rule(what: &str) -> Error {
    Error::new(Class::Other, "the peer broke the protocol").because(what)
}
