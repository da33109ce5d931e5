//! The sending application: pages as far as they may go, chunks as they are granted and decided, bytes held until they are accepted.

use std::collections::{BTreeMap, HashMap};

use xfer_netem::Rng;
use xfer_proto::connection::Connection;
use xfer_proto::crypto::Crypto;
use xfer_proto::space::Space;
use xfer_proto::wire::{Chunk, Codec, Decisions, Entry, Message, Page, TransferId};

use crate::content::{Source, stored};
use crate::plan::TransferPlan;

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
    pub(crate) accepted: u32,
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
            pages: plan.pages(),
            pages_sent: 0,
            pages_decided: 0,
            entries_decided: 0,
            next_chunk: 0,
            reading: BTreeMap::new(),
            attempts: HashMap::new(),
            accepted: 0,
            complete: false,
        }
    }

    pub(crate) fn on_message(&mut self, now: u64, message: &Message) {
        match message {
            Message::Accept(_) => {}
            Message::Decision(decisions) => self.take_decisions(decisions),
            Message::Reject { chunk, attempt, .. } => {
                let current = self.attempts[chunk];
                assert!(*attempt <= current, "reject of an attempt that was not made");
                self.reading.retain(|(_, reading), _| reading != chunk);
                self.begin_read(now, *chunk, current + 1);
            }
            Message::Done(_) => {}
            Message::Complete(complete) => {
                assert!(!complete.some_failed && !self.complete, "complete twice");
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
            self.space.place(object, &page[self.entries_decided], decision).unwrap();
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
        assert!(held.is_some(), "chunk {chunk} was accepted twice or never held");
        self.reading.retain(|(_, reading), _| *reading != chunk);
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
        let mut did = self.send_pages(connection);
        let Some(outgoing) = connection.outgoing(self.id) else { return did };
        let end = outgoing.limit().min(self.space.chunks());
        while self.next_chunk < end && self.reading.len() + source.held.len() < self.plan.held_max {
            let chunk = self.next_chunk;
            self.next_chunk += 1;
            if !connection.outgoing(self.id).unwrap().is_accepted(chunk) {
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
        let plain = self.space.plain_len(chunk);
        let stored_len = self.plan.stored_len(self.seed, chunk, attempt, plain);
        let codec = if stored_len == plain { Codec::Plain } else { Codec::Lz4 };
        outgoing.offer(chunk, attempt, stored_len);
        source.held.insert((self.id, chunk), stored(self.seed, self.id, chunk, attempt, stored_len));
        self.attempts.insert(chunk, attempt);
        let digests = Vec::new();
        let entry = Chunk { transfer: self.id, chunk, attempt, codec, stored_len, digests };
        connection.send(&Message::Chunk(entry));
        if attempt < 2 && self.rng.below(1_000_000) < u64::from(self.plan.encode_again_ppm) {
            self.begin_read(now + 1, chunk, attempt + 1);
        }
    }
}
