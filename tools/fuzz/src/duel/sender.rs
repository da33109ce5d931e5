//! The sending application: a small manifest, chunks offered as they are granted and decided, and bytes held until they are accepted.

use super::end::{CHUNK_LOG2, TRANSFER};
use super::memory::{Memory, stored};
use super::stand_in::StandIn;
use std::collections::BTreeMap;
use xfer_proto::connection::Connection;
use xfer_proto::space::Space;
use xfer_proto::wire::{Chunk, Codec, Decisions, Entry, EntryKind, Header, Message, Page};

/// Chunks that are held at once.
const HELD_MAX: usize = 6;
/// Sizes of the objects of each page.
const PAGES: [&[u64]; 3] = [&[10, 5_000, 3 << CHUNK_LOG2], &[0, (5 << CHUNK_LOG2) + 7], &[1, 2, 16, 17]];
/// Attempts after which a chunk is not sent again.
const ATTEMPTS_MAX: u8 = 40;
/// What the application lets wait.
const BACKLOG_MAX: usize = 256 << 10;

pub(super) struct Sender {
    space: Space,
    pages_sent: u32,
    pages_decided: usize,
    entries_decided: usize,
    next_chunk: u32,
    /// Attempt of each chunk that was offered.
    attempts: BTreeMap<u32, u8>,
    /// The peer asked for these again.
    again: Vec<u32>,
    /// Stored lengths are cut by so many bytes, as if compressed.
    pub(super) shorter: u32,
    /// Chunks that the peer accepted.
    pub(super) accepted: u32,
}

impl Default for Sender {
    fn default() -> Self {
        Sender {
            space: Space::new(CHUNK_LOG2),
            pages_sent: 0,
            pages_decided: 0,
            entries_decided: 0,
            next_chunk: 0,
            attempts: BTreeMap::new(),
            again: Vec::new(),
            shorter: 0,
            accepted: 0,
        }
    }
}

fn entry(page: usize, i: usize, size: u64) -> Entry {
    Entry {
        kind: EntryKind::File,
        mode: 0o644,
        mtime_s: 0,
        mtime_ns: 0,
        size,
        open: false,
        name: format!("{page}/{i}").into_bytes(),
        target: Vec::new(),
        attributes: Vec::new(),
        inline: None,
    }
}

fn first_object(page: usize) -> u32 {
    PAGES[..page].iter().map(|sizes| sizes.len()).sum::<usize>() as u32
}

impl Sender {
    /// False for a message that breaks the transfer's rules.
    pub(super) fn on_message(
        &mut self,
        message: &Message,
        connection: &mut Connection<StandIn>,
        memory: &mut Memory,
    ) -> bool {
        match message {
            Message::Accept(_) | Message::Limit { .. } | Message::Done(_) | Message::Complete(_) => true,
            Message::Decision(decisions) => self.take_decisions(decisions),
            Message::Reject { chunk, attempt, .. } => {
                let Some(current) = self.attempts.get(chunk) else { return false };
                if attempt == current && memory.offered.contains_key(chunk) && *current < ATTEMPTS_MAX {
                    connection.revoke_leases(TRANSFER, *chunk);
                    self.again.push(*chunk);
                }
                true
            }
            _ => false,
        }
    }

    fn take_decisions(&mut self, decisions: &Decisions) -> bool {
        if decisions.page != self.pages_decided as u32
            || self.pages_decided >= self.pages_sent as usize
            || usize::from(decisions.first_entry) != self.entries_decided
        {
            return false;
        }
        let (page, sizes) = (self.pages_decided, PAGES[self.pages_decided]);
        for decision in &decisions.decisions {
            let i = self.entries_decided;
            let Some(size) = sizes.get(i) else { return false };
            let object = first_object(page) + i as u32;
            if self.space.place(object, &entry(page, i, *size), decision).is_err() {
                return false;
            }
            self.entries_decided += 1;
        }
        if self.entries_decided == sizes.len() {
            self.space.end_page();
            (self.pages_decided, self.entries_decided) = (page + 1, 0);
        }
        true
    }

    pub(super) fn on_accepted(&mut self, chunk: u32, memory: &mut Memory) {
        assert!(memory.offered.remove(&chunk).is_some(), "chunk {chunk} was accepted twice or never offered");
        self.accepted += 1;
        self.again.retain(|again| *again != chunk);
    }

    pub(super) fn act(&mut self, connection: &mut Connection<StandIn>, memory: &mut Memory) {
        if connection.stream_backlog() > BACKLOG_MAX {
            return;
        }
        self.send_pages(connection);
        for chunk in std::mem::take(&mut self.again) {
            let attempt = self.attempts[&chunk] + 1;
            if !self.is_accepted(chunk, connection) {
                self.offer(chunk, attempt, connection, memory);
            }
        }
        let Some(outgoing) = connection.outgoing(TRANSFER) else { return };
        let end = outgoing.limit().min(self.space.chunks());
        while self.next_chunk < end && memory.offered.len() < HELD_MAX {
            let chunk = self.next_chunk;
            self.next_chunk += 1;
            if !self.is_accepted(chunk, connection) && self.space.plain_len(chunk) > 0 {
                self.offer(chunk, 0, connection, memory);
            }
        }
    }

    fn is_accepted(&self, chunk: u32, connection: &mut Connection<StandIn>) -> bool {
        connection.outgoing(TRANSFER).is_none_or(|outgoing| outgoing.is_accepted(chunk))
    }

    fn send_pages(&mut self, connection: &mut Connection<StandIn>) {
        while let Some(sizes) = PAGES.get(self.pages_sent as usize)
            && connection.outgoing(TRANSFER).is_some_and(|outgoing| self.pages_sent < outgoing.pages())
        {
            let number = self.pages_sent as usize;
            connection.send(&Message::Page(Page {
                transfer: TRANSFER,
                number: self.pages_sent,
                first_object: first_object(number),
                last: number + 1 == PAGES.len(),
                entries: sizes.iter().enumerate().map(|(i, size)| entry(number, i, *size)).collect(),
            }));
            self.pages_sent += 1;
        }
    }

    fn offer(&mut self, chunk: u32, attempt: u8, connection: &mut Connection<StandIn>, memory: &mut Memory) {
        let plain = self.space.plain_len(chunk);
        let stored_len = plain - self.shorter.min(plain - 1);
        let codec = if stored_len == plain { Codec::Plain } else { Codec::Lz4 };
        memory.offered.insert(chunk, stored(chunk, attempt, 0..stored_len));
        self.attempts.insert(chunk, attempt);
        connection.outgoing(TRANSFER).expect("it was started").offer(chunk, attempt, stored_len);
        let entry = Chunk { transfer: TRANSFER, chunk, attempt, codec, stored_len, digests: Vec::new() };
        connection.send(&Message::Chunk(entry));
    }

    /// DATA is of a chunk that was offered, and its bytes are those of the attempt that it names.
    pub(super) fn check_data(&self, data: &[(Header, Vec<u8>)]) {
        for (header, content) in data {
            let chunk = (header.offset >> CHUNK_LOG2) as u32;
            let at = (header.offset - (u64::from(chunk) << CHUNK_LOG2)) as u32;
            let attempt = self.attempts.get(&chunk).expect("a chunk that was offered");
            assert_eq!(header.attempt, attempt & 7, "an attempt that is over is sent");
            assert!(*content == stored(chunk, *attempt, at..at + content.len() as u32), "{header:?}");
            assert!(header.offset.is_multiple_of(16) && header.transfer == TRANSFER);
        }
    }
}
