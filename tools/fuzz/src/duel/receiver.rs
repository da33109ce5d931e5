//! The receiving application: decides pages, grants a few buffers, and compares every byte of a chunk that is told full.

use super::end::{CHUNK_LOG2, TRANSFER};
use super::memory::{Buffer, Memory, stored};
use super::stand_in::StandIn;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use xfer_proto::connection::Connection;
use xfer_proto::space::Space;
use xfer_proto::wire::{Chunk, Decision, Decisions, Message, Page, Run};

/// Chunk buffers at once.
const BUFFERS_MAX: usize = 6;
/// Pages that are decided in one script.
const PAGES_MAX: u32 = 16;
/// What an honest sender lets wait.
const BACKLOG_MAX: usize = 256 << 10;

pub(super) struct Receiver {
    pub(super) space: Space,
    pages: u32,
    last_page: bool,
    /// The newest entry of each chunk's attempt.
    entries: BTreeMap<(u32, u8), Chunk>,
    /// Chunks at storage, in the order in which they came.
    storing: VecDeque<u32>,
    /// Chunks and attempts modulo 8 whose content the peer made up.
    pub(super) made_up: BTreeSet<(u32, u8)>,
    accepted: BTreeSet<u32>,
    granted: u32,
    open: Option<u32>,
    /// Storage is slow: the script says when it answers.
    pub(super) answers: u32,
    /// The next answers say that the digest is wrong.
    pub(super) rejects: u32,
    /// DATA is not authenticated: anybody could have made it.
    pub(super) plain: bool,
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver {
            space: Space::new(CHUNK_LOG2),
            pages: 0,
            last_page: false,
            entries: BTreeMap::new(),
            storing: VecDeque::new(),
            made_up: BTreeSet::new(),
            accepted: BTreeSet::new(),
            granted: 0,
            open: None,
            answers: 0,
            rejects: 0,
            plain: false,
        }
    }
}

impl Receiver {
    /// False for a message that breaks the transfer's rules.
    pub(super) fn on_message(
        &mut self,
        message: &Message,
        connection: &mut Connection<StandIn>,
        memory: &mut Memory,
    ) -> bool {
        match message {
            Message::Accept(_) | Message::Limit { .. } => true,
            Message::Page(page) => self.decide(page, connection),
            Message::Chunk(chunk) => {
                self.entries.insert((chunk.chunk, chunk.attempt), chunk.clone());
                true
            }
            Message::End { object, size, .. } => {
                let ended = self.open == Some(*object) && self.space.end_open(*object, *size).is_ok();
                self.open = self.open.filter(|_| !ended);
                ended
            }
            Message::Withdraw { object, .. } => {
                let chunks: Vec<u32> = memory.granted.keys().copied().collect();
                for chunk in chunks {
                    if self.space.pieces(chunk).all(|piece| piece.object == *object) {
                        self.take_back(chunk, connection, memory);
                    }
                }
                true
            }
            _ => false,
        }
    }

    fn decide(&mut self, page: &Page, connection: &mut Connection<StandIn>) -> bool {
        if page.number != self.pages || self.last_page || self.pages >= PAGES_MAX || self.open.is_some() {
            return false;
        }
        let mut decisions = Vec::new();
        for (i, entry) in page.entries.iter().enumerate() {
            let Some(object) = page.first_object.checked_add(i as u32) else { return false };
            let decision = match entry.name.last() {
                Some(b's') => Decision::Skip,
                Some(b'r') if entry.size > 2 << CHUNK_LOG2 => {
                    Decision::Resume(vec![Run { first: 0, count: 1 }])
                }
                _ => Decision::Need,
            };
            match self.space.place(object, entry, &decision) {
                Ok(Some(placed)) => {
                    if placed.open {
                        self.open = Some(object);
                    }
                }
                Ok(None) => {}
                Err(_) => return false,
            }
            decisions.push(decision);
        }
        self.space.end_page();
        (self.pages, self.last_page) = (self.pages + 1, page.last);
        let incoming = connection.incoming(TRANSFER).expect("it was started");
        incoming.allow_pages(self.pages + 4);
        connection.send(&Message::Decision(Decisions {
            transfer: TRANSFER,
            page: page.number,
            first_entry: 0,
            decisions,
        }));
        true
    }

    /// All stored bytes of a chunk are said to be here.
    pub(super) fn on_full(&mut self, chunk: u32, connection: &mut Connection<StandIn>, memory: &mut Memory) {
        assert!(!self.accepted.contains(&chunk), "chunk {chunk} is full after it was accepted");
        assert!(!self.storing.contains(&chunk), "chunk {chunk} is full twice");
        let incoming = connection.incoming(TRANSFER).expect("it was started");
        let slot = incoming.slot(chunk).expect("what is full is open");
        let len = slot.stored_len.expect("what is full has its entry");
        let attempt = slot.attempt;
        let buffer = memory.granted.get_mut(&chunk).expect("what is full has a buffer");
        assert!(len <= slot.capacity && buffer.bytes.len() == slot.capacity as usize);
        let bytes = buffer.bytes[..len as usize].to_vec();
        if !self.plain && !self.made_up.contains(&(chunk, attempt & 7)) {
            assert!(
                bytes == stored(chunk, attempt, 0..len),
                "chunk {chunk} attempt {attempt} is not what was sent"
            );
        }
        assert!(self.entries.contains_key(&(chunk, attempt)), "a chunk is full without its entry");
        buffer.frozen = Some(bytes);
        self.storing.push_back(chunk);
    }

    /// Storage answers as often as it may, then buffers are granted.
    pub(super) fn act(&mut self, connection: &mut Connection<StandIn>, memory: &mut Memory) {
        while self.answers > 0
            && let Some(chunk) = self.storing.pop_front()
        {
            self.answers -= 1;
            let buffer = memory.granted.get_mut(&chunk).expect("storage has it");
            let frozen = buffer.frozen.take().expect("it was frozen");
            assert!(buffer.bytes[..frozen.len()] == frozen[..], "chunk {chunk} changed while it was stored");
            let incoming = connection.incoming(TRANSFER).expect("it was started");
            if self.rejects > 0 {
                self.rejects -= 1;
                let attempt = incoming.reject(chunk).expect("it is open");
                connection.send(&Message::Reject { transfer: TRANSFER, chunk, attempt });
            } else {
                incoming.accept(chunk);
                self.accepted.insert(chunk);
                memory.granted.remove(&chunk);
            }
        }
        self.grant(connection, memory);
    }

    fn grant(&mut self, connection: &mut Connection<StandIn>, memory: &mut Memory) {
        if connection.stream_backlog() > BACKLOG_MAX {
            return;
        }
        let Some(incoming) = connection.incoming(TRANSFER) else { return };
        while incoming.limit() < self.space.chunks()
            && incoming.can_grant()
            && memory.granted.len() < BUFFERS_MAX
        {
            let chunk = incoming.limit();
            let plain = self.space.plain_len(chunk);
            if plain == 0 {
                self.accepted.insert(chunk);
                incoming.skip_to(chunk + 1);
            } else {
                memory.granted.insert(chunk, Buffer { bytes: vec![0xee; plain as usize], frozen: None });
                incoming.grant(plain);
            }
        }
        self.granted = incoming.limit();
    }

    /// A granted chunk is not wanted any more.
    fn take_back(&mut self, chunk: u32, connection: &mut Connection<StandIn>, memory: &mut Memory) {
        connection.incoming(TRANSFER).expect("it was started").accept(chunk);
        self.storing.retain(|storing| *storing != chunk);
        memory.granted.remove(&chunk);
        self.accepted.insert(chunk);
    }

    /// A WINDOW grants what has a buffer and accepts what storage has.
    pub(super) fn check_windows(&self, windows: &[(u32, u32, Vec<u32>)]) {
        for (base, limit, accepted) in windows {
            assert!(*limit <= self.granted, "a grant without a buffer");
            assert!(accepted.iter().all(|chunk| self.accepted.contains(chunk)), "accepted without storage");
            let below = self.accepted.range(..base).count();
            assert_eq!(below, *base as usize, "a base above what storage has");
        }
    }

    /// Chunks that storage has, or that held nothing.
    #[cfg(test)]
    pub(super) fn accepted(&self) -> usize {
        self.accepted.len()
    }

    pub(super) fn check(&self, memory: &Memory) {
        assert!(memory.granted.len() <= BUFFERS_MAX, "more buffers than granted");
    }
}
