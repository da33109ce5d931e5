//! The receiving application: decides pages, grants bounded buffers, compares every byte, accepts or rejects after a storage delay.

use std::collections::{BTreeMap, HashMap, HashSet};

use xfer_netem::{Rng, flip_bit};
use xfer_proto::connection::Connection;
use xfer_proto::crypto::Crypto;
use xfer_proto::space::Space;
use xfer_proto::wire::{
    Chunk, Codec, Complete, Decision, Decisions, Done, DoneStatus, Durability, ErrorBody, Message, Page, Run,
    TransferId,
};

use crate::content::{Sink, digest, inlined, lie, mix, stored};
use crate::layout::Layout;
use crate::plan::TransferPlan;
use crate::sender::{blank, source_lie};

/// Pages that may be on their way.
const PAGES_AHEAD: u32 = 2;

pub(crate) struct Receiver {
    id: TransferId,
    seed: u64,
    plan: TransferPlan,
    rng: Rng,
    space: Space,
    /// Where everything has to lie.
    layout: Layout,
    /// Chunks that are here already, named by RESUME.
    present: HashSet<u32>,
    /// Chunks of each object that are not accepted; of the one of open length, counted down from `u32::MAX`.
    missing: HashMap<u32, u32>,
    ended: Vec<(u32, DoneStatus)>,
    withdrawn: HashSet<u32>,
    /// Objects that storage could not write.
    failed: HashSet<u32>,
    /// The object of open length, until it ended.
    open: Option<u32>,
    /// Each entry, and what was withdrawn when it came.
    entries: HashMap<(u32, u8), (Chunk, HashSet<u32>)>,
    /// Full chunks at the storage: when it answers.
    storing: BTreeMap<(u64, u32), ()>,
    accepted: HashSet<u32>,
    rejected: HashMap<u32, u32>,
    pages_decided: u32,
    last_page: bool,
    pub(crate) bytes: u64,
    pub(crate) complete: bool,
}

impl Receiver {
    pub(crate) fn new(seed: u64, id: TransferId, plan: &TransferPlan) -> Self {
        Receiver {
            id,
            seed,
            plan: plan.clone(),
            rng: Rng::stream(seed, 200 + u64::from(id.0)),
            space: Space::new(plan.chunk_log2),
            layout: Layout::new(plan.chunk_log2),
            present: HashSet::new(),
            missing: HashMap::new(),
            ended: Vec::new(),
            withdrawn: HashSet::new(),
            failed: HashSet::new(),
            open: None,
            entries: HashMap::new(),
            storing: BTreeMap::new(),
            accepted: HashSet::new(),
            rejected: HashMap::new(),
            pages_decided: 0,
            last_page: false,
            bytes: 0,
            complete: false,
        }
    }

    pub(crate) fn begin<C: Crypto>(&mut self, connection: &mut Connection<C>) {
        connection.start_receiving(self.id, self.plan.chunk_log2);
        connection.incoming(self.id).unwrap().allow_pages(PAGES_AHEAD);
    }

    pub(crate) fn on_message<C: Crypto>(
        &mut self,
        message: &Message,
        connection: &mut Connection<C>,
        sink: &mut Sink,
    ) {
        match message {
            Message::Accept(_) => {}
            Message::Page(page) => self.decide(page, connection),
            Message::Chunk(chunk) => {
                let entry = (chunk.clone(), self.withdrawn.clone());
                assert!(self.entries.insert((chunk.chunk, chunk.attempt), entry).is_none(), "entry twice");
            }
            Message::Withdraw { object, error, .. } => {
                if !self.failed.contains(object) {
                    self.ended.push((*object, DoneStatus::Failed(error.clone())));
                }
                self.forget_object(*object, connection, sink);
            }
            Message::End { object, size, .. } => self.end_open(*object, *size, connection, sink),
            other => panic!("receiver got {other:?}"),
        }
    }

    fn is_void(&self, chunk: u32) -> bool {
        let mut pieces = self.space.pieces(chunk).peekable();
        pieces.peek().is_none() || pieces.all(|p| self.withdrawn.contains(&p.object))
    }

    fn forget_object<C: Crypto>(&mut self, object: u32, connection: &mut Connection<C>, sink: &mut Sink) {
        let awaited = self.missing.remove(&object).is_some();
        assert!(awaited || self.failed.contains(&object), "withdrawn after it ended");
        assert!(self.withdrawn.insert(object), "withdrawn twice");
        if self.open == Some(object) {
            self.open = None;
            self.space.end_open(object, 0).unwrap();
        }
        self.drop_void(connection, sink);
    }

    fn end_open<C: Crypto>(
        &mut self,
        object: u32,
        size: u64,
        connection: &mut Connection<C>,
        sink: &mut Sink,
    ) {
        assert_eq!(self.open.take(), Some(object));
        self.space.end_open(object, size).unwrap();
        let chunks = size.div_ceil(1 << self.plan.chunk_log2) as u32;
        if !self.failed.contains(&object) {
            let left = self.missing.get_mut(&object).expect("it is not done");
            *left = chunks.checked_sub(u32::MAX - *left).expect("no more chunks than there are");
            if *left == 0 {
                self.missing.remove(&object);
                self.ended.push((object, DoneStatus::Copied));
            }
        }
        self.drop_void(connection, sink);
    }

    /// Granted chunks that hold nothing, or withdrawn objects only, need not come: their buffers are free again.
    fn drop_void<C: Crypto>(&mut self, connection: &mut Connection<C>, sink: &mut Sink) {
        let incoming = connection.incoming(self.id).unwrap();
        for chunk in incoming.base()..incoming.limit() {
            if self.is_void(chunk) && sink.buffers.remove(&(self.id, chunk)).is_some() {
                incoming.accept(chunk);
                self.storing.retain(|(_, storing), ()| *storing != chunk);
                self.accepted.insert(chunk);
            }
        }
    }

    fn decide<C: Crypto>(&mut self, page: &Page, connection: &mut Connection<C>) {
        assert_eq!(page.number, self.pages_decided);
        let mut decisions = Vec::new();
        for (i, entry) in page.entries.iter().enumerate() {
            let object = page.first_object + i as u32;
            if let Some(inline) = &entry.inline {
                assert_eq!(inline.content, inlined(self.seed, self.id, object, entry.size as u32));
            }
            let decision = self.decision(object, entry.size);
            if let Some(placed) = self.space.place(object, entry, &decision).unwrap() {
                assert!(entry.inline.is_none(), "what came with its page takes no space");
                let start = self.layout.place((!entry.open).then_some(entry.size));
                assert_eq!(placed.start, start, "place of object {object}");
                let chunks = self.space.chunks_of(&placed);
                let mut missing = if placed.open { u32::MAX } else { chunks.end - chunks.start };
                if placed.open {
                    self.open = Some(object);
                }
                if let Decision::Resume(runs) = &decision {
                    for run in runs {
                        self.present.extend((run.first..run.first + run.count).map(|c| chunks.start + c));
                        missing -= run.count;
                    }
                }
                if missing == 0 {
                    self.ended.push((object, DoneStatus::Copied));
                } else {
                    self.missing.insert(object, missing);
                }
            } else if decision == Decision::Need {
                self.ended.push((object, DoneStatus::Copied));
            }
            decisions.push(decision);
        }
        self.space.end_page();
        let chunks = self.layout.end_page();
        assert!(self.open.is_some() || u64::from(self.space.chunks()) == chunks, "chunks after a page");
        let half = decisions.len() / 2;
        let parts = [(0, &decisions[..half]), (half as u16, &decisions[half..])];
        // A page without entries is decided by one message.
        for (first_entry, part) in parts.into_iter().skip(usize::from(decisions.is_empty())) {
            let (transfer, decisions) = (self.id, part.to_vec());
            let decided = Decisions { transfer, page: page.number, first_entry, decisions };
            connection.send(&Message::Decision(decided));
        }
        self.pages_decided += 1;
        self.last_page = page.last;
        connection.incoming(self.id).unwrap().allow_pages(self.pages_decided + PAGES_AHEAD);
    }

    fn decision(&mut self, object: u32, size: u64) -> Decision {
        let chunks = size.div_ceil(1 << self.plan.chunk_log2) as u32;
        match mix(self.seed ^ u64::from(object)) % 16 {
            0 => Decision::Skip,
            1 if size > 1 << self.plan.chunk_log2 => {
                let first = self.rng.below(u64::from(chunks)) as u32;
                let count = 1 + self.rng.below(u64::from(chunks - first)) as u32;
                Decision::Resume(vec![Run { first, count }])
            }
            _ => Decision::Need,
        }
    }

    pub(crate) fn on_full(&mut self, now: u64, chunk: u32) {
        if self.is_void(chunk) {
            return;
        }
        assert!(!self.accepted.contains(&chunk), "chunk {chunk} is full after it was accepted");
        let delay = self.plan.store_ns / 2 + self.rng.below(self.plan.store_ns / 2 + 1);
        assert!(self.storing.insert((now + delay, chunk), ()).is_none());
    }

    pub(crate) fn next(&self) -> Option<u64> {
        self.storing.first_key_value().map(|((at, _), ())| *at)
    }

    pub(crate) fn tick<C: Crypto>(
        &mut self,
        now: u64,
        connection: &mut Connection<C>,
        sink: &mut Sink,
    ) -> bool {
        let mut did = false;
        while let Some((&(at, chunk), ())) = self.storing.first_key_value() {
            if at > now {
                break;
            }
            self.storing.pop_first();
            self.store(chunk, connection, sink);
            did = true;
        }
        did |= self.grant(connection, sink);
        if !self.ended.is_empty() {
            let objects = self.ended.drain(..).collect();
            connection.send(&Message::Done(Done { transfer: self.id, objects }));
            did = true;
        }
        // An object of open length may have ended below what was granted for it.
        let here = connection.incoming(self.id).is_some_and(|i| i.base() >= self.space.chunks());
        if self.last_page && self.missing.is_empty() && self.open.is_none() && here && !self.complete {
            self.complete = true;
            let some_failed = !self.withdrawn.is_empty() || !self.failed.is_empty();
            let durability = Durability::Batch;
            connection.send(&Message::Complete(Complete { transfer: self.id, some_failed, durability }));
            did = true;
        }
        did
    }

    fn store<C: Crypto>(&mut self, chunk: u32, connection: &mut Connection<C>, sink: &mut Sink) {
        let incoming = connection.incoming(self.id).unwrap();
        let slot = incoming.slot(chunk).expect("a full chunk has a slot");
        let (entry, withdrawn) = &self.entries[&(chunk, slot.attempt)];
        assert_eq!(slot.stored_len, Some(entry.stored_len), "a chunk changed while it was stored");
        let key = (self.id, chunk);
        let mut expected = stored(self.seed, self.id, chunk, entry.attempt, entry.stored_len);
        if entry.codec == Codec::Plain {
            blank(&mut expected, &self.space, chunk, withdrawn);
        }
        let got = &mut sink.buffers.get_mut(&key).expect("a granted chunk has a buffer")[..expected.len()];
        let changed =
            lie(self.seed, 400 + u64::from(self.id.0), chunk, entry.attempt, self.plan.memory_lies_ppm);
        changed.into_iter().for_each(|bit| flip_bit(got, bit));
        if entry.digests != [digest(got)] {
            let lied = source_lie(self.seed, &self.plan, self.id, chunk, entry.attempt);
            assert!(lied.or(changed).is_some(), "chunk {chunk} attempt {} is wrong", entry.attempt);
            return self.reject(chunk, connection);
        }
        assert!(got == expected, "chunk {chunk} attempt {} is not what was sent", entry.attempt);
        let is_open = self.space.pieces(chunk).any(|p| Some(p.object) == self.open);
        let plain = if is_open { entry.stored_len } else { self.space.plain_len(chunk) };
        assert!(entry.codec == Codec::Plain || !is_open);
        assert!(if entry.codec == Codec::Plain {
            entry.stored_len == plain
        } else {
            entry.stored_len < plain
        });
        let rejected = self.rejected.entry(chunk).or_default();
        if *rejected < 2 && self.rng.below(1_000_000) < u64::from(self.plan.reject_ppm) {
            *rejected += 1;
            return self.reject(chunk, connection);
        }
        incoming.accept(chunk);
        assert!(self.accepted.insert(chunk), "chunk {chunk} was accepted twice");
        self.bytes += u64::from(plain);
        sink.buffers.remove(&key).expect("a granted chunk has a buffer");
        self.fail_some(chunk);
        for piece in self.space.pieces(chunk) {
            if self.withdrawn.contains(&piece.object) || self.failed.contains(&piece.object) {
                continue;
            }
            let missing = self.missing.get_mut(&piece.object).expect("an object that is not done");
            *missing -= 1;
            if *missing == 0 {
                self.missing.remove(&piece.object);
                self.ended.push((piece.object, DoneStatus::Copied));
            }
        }
    }

    /// A chunk has to come again.
    fn reject<C: Crypto>(&mut self, chunk: u32, connection: &mut Connection<C>) {
        let attempt = connection.incoming(self.id).and_then(|incoming| incoming.reject(chunk));
        let attempt = attempt.expect("it is open");
        assert!(self.entries.contains_key(&(chunk, attempt)), "the rejected attempt is the stored one");
        connection.send(&Message::Reject { transfer: self.id, chunk, attempt });
    }

    /// Storage may find that it cannot write an object that `chunk` is of. Its other chunks are taken all the same.
    fn fail_some(&mut self, chunk: u32) {
        if self.rng.below(1_000_000) >= u64::from(self.plan.cannot_write_ppm) {
            return;
        }
        let Some(object) = self.space.pieces(chunk).map(|p| p.object).find(|o| self.missing.contains_key(o))
        else {
            return;
        };
        self.missing.remove(&object);
        self.failed.insert(object);
        self.ended.push((object, DoneStatus::Failed(full())));
    }

    fn grant<C: Crypto>(&mut self, connection: &mut Connection<C>, sink: &mut Sink) -> bool {
        let Some(incoming) = connection.incoming(self.id) else { return false };
        let mut did = false;
        while incoming.limit() < self.space.chunks() && incoming.can_grant() {
            let chunk = incoming.limit();
            if self.present.remove(&chunk) || self.is_void(chunk) {
                incoming.skip_to(chunk + 1);
            } else if sink.buffers.len() < self.plan.buffers {
                let plain = self.space.plain_len(chunk);
                sink.buffers.insert((self.id, chunk), vec![0; plain as usize]);
                incoming.grant(plain);
            } else {
                break;
            }
            did = true;
        }
        did
    }
}

fn full() -> ErrorBody {
    ErrorBody { class: 7, side: 2, errno: 28, offset: Some(0), name: b"object".to_vec(), text: "full".into() }
}
