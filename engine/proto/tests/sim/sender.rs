//! The sending application: pages as far as they may go, chunks as they are granted and decided, bytes held until they are accepted.

use std::collections::{BTreeMap, HashMap, HashSet};

use xfer_netem::{Rng, flip_bit};
use xfer_proto::connection::Connection;
use xfer_proto::crypto::Crypto;
use xfer_proto::space::{Placed, Space};
use xfer_proto::wire::{Chunk, Codec, Decisions, DoneStatus, Entry, ErrorBody, Message, Page, TransferId};

use crate::content::{Source, digest, lie, stored};
use crate::plan::{Again, TransferPlan};

/// Bytes of messages that the application lets wait.
const BACKLOG_MAX: usize = 256 << 10;

pub(crate) struct Sender {
    id: TransferId,
    seed: u64,
    plan: TransferPlan,
    rng: Rng,
    space: Space,
    pages: Vec<Vec<Entry>>,
    pages_sent: u32,
    pages_decided: u32,
    entries_decided: usize,
    next_chunk: u32,
    /// Chunks that are being read: when each is ready.
    reading: BTreeMap<(u64, u32), u8>,
    attempts: HashMap<u32, u8>,
    placed: HashMap<u32, Placed>,
    withdrawn: HashSet<u32>,
    /// The object of open length, until END is sent.
    open: Option<u32>,
    /// An object ended with an error, says the receiver.
    some_failed: bool,
    pub(crate) accepted: u32,
    pub(crate) again: Again,
    pub(crate) complete: bool,
}

impl Sender {
    pub(crate) fn new(seed: u64, id: TransferId, plan: &TransferPlan) -> Self {
        Sender {
            id,
            seed,
            plan: plan.clone(),
            rng: Rng::stream(seed, 100 + u64::from(id.0)),
            space: Space::new(plan.chunk_log2),
            pages: plan.pages(seed, id),
            pages_sent: 0,
            pages_decided: 0,
            entries_decided: 0,
            next_chunk: 0,
            reading: BTreeMap::new(),
            attempts: HashMap::new(),
            placed: HashMap::new(),
            withdrawn: HashSet::new(),
            open: None,
            some_failed: false,
            accepted: 0,
            again: Again::default(),
            complete: false,
        }
    }

    pub(crate) fn on_message<C: Crypto>(
        &mut self,
        now: u64,
        message: &Message,
        connection: &mut Connection<C>,
        source: &mut Source,
    ) {
        match message {
            Message::Accept(_) => {}
            Message::Decision(decisions) => self.take_decisions(decisions),
            Message::Reject { chunk, attempt, .. } => {
                let current = self.attempts[chunk];
                assert!(*attempt <= current, "reject of an attempt that was not made");
                if self.is_void(*chunk) {
                    return;
                }
                // A later attempt that is under way may have been accepted by now.
                if current > 0 && *attempt == current && self.plan.withdraw_ppm > 0 {
                    let objects: Vec<u32> = self.space.pieces(*chunk).map(|p| p.object).collect();
                    objects.into_iter().for_each(|object| self.withdraw(object, connection, source));
                    return;
                }
                self.reading.retain(|(_, reading), _| reading != chunk);
                self.begin_read(now, *chunk, current + 1);
            }
            Message::Done(done) => {
                self.some_failed |= done.objects.iter().any(|(_, end)| matches!(end, DoneStatus::Failed(_)));
            }
            Message::Complete(complete) => {
                assert!(!self.complete, "complete twice");
                assert_eq!(complete.some_failed, self.some_failed);
                assert!(
                    self.withdrawn.is_empty() || complete.some_failed,
                    "nobody misses what was withdrawn"
                );
                assert_eq!(self.pages_decided as usize, self.pages.len());
                self.complete = true;
            }
            other => panic!("sender got {other:?}"),
        }
    }

    fn take_decisions(&mut self, decisions: &Decisions) {
        assert_eq!(decisions.page, self.pages_decided);
        assert_eq!(usize::from(decisions.first_entry), self.entries_decided);
        let page = &self.pages[self.pages_decided as usize];
        let first_object: usize = self.pages[..self.pages_decided as usize].iter().map(Vec::len).sum();
        for decision in &decisions.decisions {
            let object = (first_object + self.entries_decided) as u32;
            if let Some(placed) = self.space.place(object, &page[self.entries_decided], decision).unwrap() {
                self.placed.insert(object, placed);
                if placed.open {
                    self.space.end_open(object, self.plan.open.expect("planned")).unwrap();
                    self.open = Some(object);
                }
            }
            self.entries_decided += 1;
        }
        if self.entries_decided == page.len() {
            self.space.end_page();
            self.entries_decided = 0;
            self.pages_decided += 1;
        }
    }

    pub(crate) fn on_accepted(&mut self, chunk: u32, source: &mut Source) {
        self.accepted += 1;
        let held = source.held.remove(&(self.id, chunk));
        assert!(held.is_some() || self.is_void(chunk), "chunk {chunk} was accepted twice or never held");
        self.reading.retain(|(_, reading), _| *reading != chunk);
    }

    /// Whether `chunk` holds nothing but withdrawn objects.
    fn is_void(&self, chunk: u32) -> bool {
        self.space.pieces(chunk).all(|p| self.withdrawn.contains(&p.object))
    }

    /// `object` cannot be read any more: its chunks are not sent, or hold zeros in its place.
    fn withdraw<C: Crypto>(&mut self, object: u32, connection: &mut Connection<C>, source: &mut Source) {
        if !self.withdrawn.insert(object) {
            return;
        }
        let chunks = self.space.chunks_of(&self.placed[&object]);
        let void: Vec<u32> =
            (chunks.start..chunks.end.min(self.space.chunks())).filter(|c| self.is_void(*c)).collect();
        for chunk in void {
            connection.revoke_leases(self.id, chunk);
            source.held.remove(&(self.id, chunk));
            self.reading.retain(|(_, reading), _| *reading != chunk);
        }
        self.open = self.open.filter(|open| *open != object);
        connection.send(&Message::Withdraw { transfer: self.id, object, error: gone() });
    }

    fn begin_read(&mut self, now: u64, chunk: u32, attempt: u8) {
        let delay = self.rng.below(self.plan.read_ns + 1);
        self.reading.insert((now + delay, chunk), attempt);
    }

    /// When something is to be done although nothing arrives.
    pub(crate) fn next(&self) -> Option<u64> {
        self.reading.first_key_value().map(|((at, _), _)| *at)
    }

    /// Does what is possible; says whether anything was.
    pub(crate) fn tick<C: Crypto>(
        &mut self,
        now: u64,
        connection: &mut Connection<C>,
        source: &mut Source,
    ) -> bool {
        let mut did = self.send_pages(connection) | self.send_end(connection);
        let Some(outgoing) = connection.outgoing(self.id) else { return did };
        let end = outgoing.limit().min(self.space.chunks());
        while self.next_chunk < end && self.reading.len() + source.held.len() < self.plan.held_max {
            let chunk = self.next_chunk;
            self.next_chunk += 1;
            if !connection.outgoing(self.id).unwrap().is_accepted(chunk) && !self.is_void(chunk) {
                self.begin_read(now, chunk, 0);
            }
        }
        while let Some((&(at, chunk), &attempt)) = self.reading.first_key_value() {
            if at > now || connection.stream_backlog() > BACKLOG_MAX {
                break;
            }
            self.reading.pop_first();
            did = true;
            self.offer(now, chunk, attempt, connection, source);
        }
        did
    }

    fn send_end<C: Crypto>(&mut self, connection: &mut Connection<C>) -> bool {
        let over = self.next_chunk >= self.space.chunks();
        let Some(object) = self.open.filter(|_| over || self.plan.end_early) else { return false };
        self.open = None;
        let size = self.plan.open.expect("planned");
        connection.send(&Message::End { transfer: self.id, object, size });
        true
    }

    fn send_pages<C: Crypto>(&mut self, connection: &mut Connection<C>) -> bool {
        let mut did = false;
        while (self.pages_sent as usize) < self.pages.len()
            && connection.outgoing(self.id).is_some_and(|o| self.pages_sent < o.pages())
            && connection.stream_backlog() < BACKLOG_MAX
        {
            let number = self.pages_sent;
            let first_object = self.pages[..number as usize].iter().map(Vec::len).sum::<usize>() as u32;
            let entries = self.pages[number as usize].clone();
            let last = number as usize + 1 == self.pages.len();
            let page = Page { transfer: self.id, number, first_object, last, entries };
            connection.send(&Message::Page(page));
            self.pages_sent += 1;
            did = true;
        }
        did
    }

    fn offer<C: Crypto>(
        &mut self,
        now: u64,
        chunk: u32,
        attempt: u8,
        connection: &mut Connection<C>,
        source: &mut Source,
    ) {
        let outgoing = connection.outgoing(self.id).unwrap();
        if outgoing.is_accepted(chunk) {
            return;
        }
        if attempt == 0 && self.rng.below(1_000_000) < u64::from(self.plan.withdraw_ppm) {
            let objects: Vec<u32> = self.space.pieces(chunk).map(|p| p.object).collect();
            let object = objects[self.rng.below(objects.len() as u64) as usize];
            self.withdraw(object, connection, source);
        }
        if self.is_void(chunk) {
            return;
        }
        let outgoing = connection.outgoing(self.id).unwrap();
        let plain = self.space.plain_len(chunk);
        let is_open = self.space.pieces(chunk).any(|p| self.placed[&p.object].open);
        let compressed = self.plan.stored_len(self.seed, chunk, attempt, plain);
        let stored_len = if is_open { plain } else { compressed };
        let codec = if stored_len == plain { Codec::Plain } else { Codec::Lz4 };
        outgoing.offer(chunk, attempt, stored_len);
        if attempt > 0 {
            self.again.bytes += u64::from(stored_len);
            self.again.attempts = self.again.attempts.max(u64::from(attempt));
        }
        let mut bytes = stored(self.seed, self.id, chunk, attempt, stored_len);
        if codec == Codec::Plain {
            blank(&mut bytes, &self.space, chunk, &self.withdrawn);
        }
        let digests = vec![digest(&bytes)];
        if let Some(bit) = source_lie(self.seed, &self.plan, self.id, chunk, attempt) {
            flip_bit(&mut bytes, bit);
        }
        source.held.insert((self.id, chunk), bytes);
        self.attempts.insert(chunk, attempt);
        let entry = Chunk { transfer: self.id, chunk, attempt, codec, stored_len, digests };
        connection.send(&Message::Chunk(entry));
        if attempt < 2 && self.rng.below(1_000_000) < u64::from(self.plan.encode_again_ppm) {
            self.begin_read(now + 1, chunk, attempt + 1);
        }
    }
}

/// Puts zeros where `chunk` holds withdrawn objects.
pub(crate) fn blank(bytes: &mut [u8], space: &Space, chunk: u32, withdrawn: &HashSet<u32>) {
    for piece in space.pieces(chunk).filter(|p| withdrawn.contains(&p.object)) {
        let start = piece.chunk_offset as usize;
        bytes[start..start + piece.len as usize].fill(0);
    }
}

/// The bit that is wrong in what is sent of an attempt of a chunk.
pub(crate) fn source_lie(
    seed: u64,
    plan: &TransferPlan,
    id: TransferId,
    chunk: u32,
    attempt: u8,
) -> Option<u64> {
    lie(seed, 300 + u64::from(id.0), chunk, attempt, plan.source_lies_ppm)
}

fn gone() -> ErrorBody {
    ErrorBody { class: 15, side: 1, errno: 5, offset: Some(0), name: b"object".to_vec(), text: "gone".into() }
}
