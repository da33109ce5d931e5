//! Taking a train at once: packets of consecutive numbers whose content lies side by side in one chunk are claimed, opened and counted
//! in one go. What is not like that is taken packet by packet.

use super::place::{Buffer, Opener, on_grid, place_of};
use super::receive::{Received, check_size};
use super::{ChunkMemory, Connection};
use crate::claim::Claim;
use crate::crypto::{Crypto, Suite};
use crate::limits;
use crate::wire::{ATTEMPT_MASK, HEADER_LEN, Header, Kind, TAG_LEN};
use core::ops::Range;

/// Packets at the front of a train that can be taken at once: all of the first one's length but the last, which may be shorter.
struct Run {
    first: Header,
    count: usize,
    last_length: u16,
    last_stamp: u32,
    /// One of them asks for an ACK.
    ask: bool,
}

impl Run {
    /// The run at the front of `datagrams`, whose first header is `first`. `None` when there is none of two packets.
    fn find(first: Header, datagrams: &[u8], segment: usize, suite: Suite, chunk_log2: u8) -> Option<Run> {
        let mut packets = datagrams.chunks(segment);
        check_size(&first, packets.next()?, suite).ok()?;
        if first.kind != Kind::Data || !u64::from(first.length).is_multiple_of(limits::GRID) {
            return None;
        }
        let (last_length, last_stamp) = (first.length, first.stamp);
        let mut run = Run { first, count: 1, last_length, last_stamp, ask: first.ask };
        for packet in packets {
            let Ok(header) = Header::decode(packet) else { break };
            let ahead = run.count as u64;
            let follows = Header {
                number: first.number + ahead,
                offset: first.offset + ahead * u64::from(first.length),
                ask: header.ask,
                stamp: header.stamp,
                length: header.length,
                ..first
            };
            let same_chunk = header.offset >> chunk_log2 == first.offset >> chunk_log2;
            if header != follows || !same_chunk || check_size(&header, packet, suite).is_err() {
                break;
            }
            run.count += 1;
            run.ask |= header.ask;
            (run.last_length, run.last_stamp) = (header.length, header.stamp);
        }
        (run.count > 1).then_some(run)
    }

    fn last_number(&self) -> u64 {
        self.first.number + self.count as u64 - 1
    }

    /// Its bytes in the chunk that `start` lies in.
    fn range(&self, start: u32) -> Range<u32> {
        start..start + (self.count as u32 - 1) * u32::from(self.first.length) + u32::from(self.last_length)
    }

    /// The same without its last packets: `count` are left.
    fn shorten(&mut self, count: usize) {
        if count < self.count {
            (self.count, self.last_length, self.last_stamp) = (count, self.first.length, self.first.stamp);
        }
    }
}

impl<C: Crypto> Connection<C> {
    /// Takes from the front of a train, whose packets are of `segment` bytes each, the last at most, those that can be taken at once.
    /// Returns how many; 0 when the first is one for [`Connection::receive`].
    pub fn receive_train(
        &mut self,
        train: &Received<'_>,
        segment: usize,
        memory: &mut impl ChunkMemory,
    ) -> usize {
        let Received { header, datagram: datagrams, .. } = *train;
        if !self.is_running() || datagrams.len() <= segment {
            return 0;
        }
        let Some(i) = self.path_index(header.path) else { return 0 };
        if !self.paths[i].received.is_highest(header.number) {
            return 0;
        }
        let Some(incoming) = self.incoming.iter().find(|x| x.id() == header.transfer) else { return 0 };
        let chunk_log2 = incoming.chunk_log2();
        let Some(mut run) = Run::find(*header, datagrams, segment, self.suite, chunk_log2) else { return 0 };
        let last = Header { number: run.last_number(), ..run.first };
        if self.is_too_far(i, &last) {
            return 0;
        }
        let opened = self.place_run(i, &run, segment, datagrams, memory).unwrap_or(0);
        run.shorten(opened);
        if opened > 0 {
            self.count_run(i, train, &run);
            self.collect_full();
        }
        opened
    }

    /// Opens the run into its place. Returns how many of its packets are there, up to the first that does not open; `None` when its place
    /// is not free as a whole.
    fn place_run(
        &mut self,
        i: usize,
        run: &Run,
        segment: usize,
        datagrams: &[u8],
        memory: &mut impl ChunkMemory,
    ) -> Option<usize> {
        let Connection { crypto, paths, incoming, suite, .. } = self;
        let header = &run.first;
        let incoming = incoming.iter_mut().find(|x| x.id() == header.transfer)?;
        let (chunk, first) = place_of(header, incoming.chunk_log2());
        let range = run.range(first.start);
        let slot = incoming.slot(chunk).ok()?;
        let (attempt, capacity) = (slot.attempt, slot.capacity);
        let end = slot.stored_len.unwrap_or(capacity);
        let fits = range.end <= end.min(capacity) && on_grid(&range, end, slot.stored_len.is_none());
        if attempt & ATTEMPT_MASK != header.attempt || !fits || !incoming.begin(chunk, attempt) {
            return None;
        }
        let users = incoming.users();
        let claims = incoming.slot(chunk).ok()?.claims.by(users);
        if claims.claim(range.clone()) != Claim::Taken {
            return None;
        }
        let (keys, sealed) = (&paths[i].open, suite.seals_data());
        let open = |place: &mut [u8]| {
            let places = place.chunks_mut(usize::from(header.length));
            let packets = datagrams.chunks(segment).zip(places).zip(header.number..);
            // What does not open is tried again, and counted, by itself.
            let mut failed_opens = 0;
            let opened = packets.map_while(|((datagram, place), number)| {
                let opener = Opener { crypto, keys, sealed, number, datagram };
                opener.open(place, &mut failed_opens).ok()
            });
            opened.count()
        };
        let buffer = Buffer { transfer: header.transfer, chunk, capacity };
        let opened = buffer.write(memory, &range, open);
        let filled = (range.start + opened as u32 * u32::from(header.length)).min(range.end);
        claims.fill(range.start..filled);
        claims.release(filled..range.end);
        incoming.note_full(chunk);
        Some(opened)
    }

    /// As [`Connection::authenticated`] for each packet of the run.
    fn count_run(&mut self, i: usize, train: &Received<'_>, run: &Run) {
        let Received { now, from, ce, .. } = *train;
        let path = &mut self.paths[i];
        let content = run.range(0).end;
        let count = run.count as u64;
        path.counters.content_received += u64::from(content);
        path.counters.packets_received += count;
        path.counters.marks_received += if ce { count } else { 0 };
        path.counters.bytes_received += u64::from(content);
        for number in run.first.number..=run.last_number() {
            let ask = run.ask && number == run.last_number();
            path.received.accept(now, number, run.last_stamp, true, ask, ce);
        }
        if self.suite.seals_data() {
            let bytes = u64::from(content) + count * (HEADER_LEN + TAG_LEN) as u64;
            self.proven(now, i, from, run.last_number(), bytes, true);
        }
    }
}
