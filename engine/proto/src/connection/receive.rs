//! Received datagrams: authenticate, place content, take frames.

use super::{ChunkMemory, Connection, EarlyWindow, Event, State};
use crate::claim::Claim;
use crate::crypto::Crypto;
use crate::incoming::NoSlot;
use crate::limits;
use crate::path::{Address, Path, PathState};
use crate::stream::StreamError;
use crate::time::Time;
use crate::wire::{CloseCode, Frame, Frames, HEADER_LEN, Header, Kind, TAG_LEN, Window};
use core::ops::Range;

/// Why a datagram was dropped; nothing was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Its length is not what its header says.
    Length,
    /// No such path, and none may be opened by it now.
    UnknownPath,
    /// Its number was accepted already, is too far back or too large.
    Number,
    /// Its epoch has no key.
    Epoch,
    /// It does not authenticate.
    Forged,
    /// Content that has no place: not granted, off the grid, beyond the chunk.
    Misplaced,
    /// Part of its place is being written by another packet.
    Busy,
    /// The connection is closing or over.
    Closed,
}

/// One received datagram.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    now: Time,
    from: Address,
    /// It carries a congestion mark.
    ce: bool,
    header: &'a Header,
    datagram: &'a [u8],
}

impl<C: Crypto> Connection<C> {
    /// Takes a DATA or CONTROL datagram with this connection's id; `header` is its decoded header.
    ///
    /// # Errors
    /// [`Dropped`], for counters.
    pub fn receive(
        &mut self,
        now: Time,
        from: Address,
        ce: bool,
        header: &Header,
        datagram: &[u8],
        memory: &mut impl ChunkMemory,
    ) -> Result<(), Dropped> {
        if matches!(self.state, State::Over) {
            return Err(Dropped::Closed);
        }
        if !self.is_running() {
            return self.receive_closing(header, datagram);
        }
        let sealed = header.kind == Kind::Control || self.suite.seals_data();
        let tag = if sealed { TAG_LEN } else { 0 };
        if datagram.len() != HEADER_LEN + usize::from(header.length) + tag || header.length == 0 {
            return Err(Dropped::Length);
        }
        if header.number >= limits::NUMBER_END {
            return Err(Dropped::Number);
        }
        let arrival = Arrival { now, from, ce, header, datagram };
        let taken = self.take(&arrival, memory);
        if self.counters.failed_opens >= self.suite.failed_opens_max() {
            self.fail(now, CloseCode::AeadLimit, "too many packets did not open");
        }
        taken
    }

    /// Takes a datagram of the right length.
    fn take(&mut self, arrival: &Arrival<'_>, memory: &mut impl ChunkMemory) -> Result<(), Dropped> {
        let header = arrival.header;
        match self.path_index(header.path) {
            Some(i) => {
                let plain = header.kind == Kind::Data && !self.suite.seals_data();
                if plain && header.number >= self.paths[i].received.next() + limits::NUMBERS_REMEMBERED {
                    return Err(Dropped::Number);
                }
                if !self.paths[i].received.is_new(header.number) {
                    self.counters.duplicates += 1;
                    return Err(Dropped::Number);
                }
                match header.kind {
                    Kind::Data => self.receive_data(i, arrival, memory),
                    Kind::Control => self.receive_control(i, arrival),
                    _ => Err(Dropped::Length),
                }
            }
            None => self.receive_new_path(arrival),
        }
    }

    fn receive_new_path(&mut self, arrival: &Arrival<'_>) -> Result<(), Dropped> {
        let Arrival { now, from, header, .. } = *arrival;
        if !self.may_open(now, header) {
            return Err(Dropped::UnknownPath);
        }
        self.unknown_path_at = Some(now);
        let path = self.new_path(now, header.path, from, PathState::Unproven, None);
        self.paths.push(path);
        let i = self.paths.len() - 1;
        let taken = self.receive_control(i, arrival);
        if taken.is_err() {
            self.paths.truncate(i);
        }
        taken
    }

    /// Answers whatever comes with CLOSE, at most once for each doubling, and looks out for the peer's. Content has no place any more.
    fn receive_closing(&mut self, header: &Header, datagram: &[u8]) -> Result<(), Dropped> {
        let State::Closing { owed, answers, heard, .. } = &mut self.state else {
            return Err(Dropped::Closed);
        };
        *heard += 1;
        if *heard >= 1 << (*answers).min(31) {
            *answers += 1;
            *owed = self.paths.len();
        }
        let length = usize::from(header.length);
        if header.kind != Kind::Control || datagram.len() != HEADER_LEN + length + TAG_LEN {
            return Err(Dropped::Closed);
        }
        let i = self.path_index(header.path).ok_or(Dropped::UnknownPath)?;
        let Connection { crypto, paths, scratch, counters, .. } = self;
        let opener = Opener { crypto, path: &paths[i], sealed: true, number: header.number, datagram };
        opener.open(&mut scratch[..length], counters)?;
        if Frames::new(&scratch[..length]).any(|frame| matches!(frame, Ok(Frame::Close { .. }))) {
            self.state = State::Over;
        }
        Ok(())
    }

    fn receive_data(
        &mut self,
        i: usize,
        arrival: &Arrival<'_>,
        memory: &mut impl ChunkMemory,
    ) -> Result<(), Dropped> {
        let bytes = self.place(i, arrival.header, arrival.datagram, memory)?;
        self.paths[i].counters.content_received += u64::from(bytes);
        self.authenticated(i, arrival, true, true);
        self.collect_full();
        Ok(())
    }

    /// Opens the payload into its place in the chunk's buffer, the only copy. Returns how many bytes are new there; none when the
    /// content is held already or not needed any more.
    fn place(
        &mut self,
        i: usize,
        header: &Header,
        datagram: &[u8],
        memory: &mut impl ChunkMemory,
    ) -> Result<u32, Dropped> {
        let Connection { crypto, paths, incoming, scratch, suite, counters, .. } = self;
        let opener =
            Opener { crypto, path: &paths[i], sealed: suite.seals_data(), number: header.number, datagram };
        let misplaced = |counters: &mut super::Counters| {
            counters.misplaced += 1;
            Err(Dropped::Misplaced)
        };
        let Some(incoming) = incoming.iter_mut().find(|x| x.id() == header.transfer) else {
            return misplaced(counters);
        };
        let chunk = (header.offset >> incoming.chunk_log2()) as u32;
        let start = (header.offset & ((1 << incoming.chunk_log2()) - 1)) as u32;
        let range = start..start + u32::from(header.length);
        let scratch = &mut scratch[..usize::from(header.length)];
        let slot = match incoming.slot(chunk) {
            Ok(slot) => slot,
            Err(NoSlot::NotGranted) => return misplaced(counters),
            Err(NoSlot::Accepted) => {
                opener.open(scratch, counters)?;
                return Ok(0);
            }
        };
        let end = slot.stored_len.unwrap_or(slot.capacity);
        let behind = header.attempt.wrapping_sub(slot.attempt) & crate::wire::ATTEMPT_MASK;
        if behind != 0 {
            opener.open(scratch, counters)?;
            if behind > crate::wire::ATTEMPT_MASK / 2 || slot.is_told_full() {
                return Ok(0);
            }
            slot.restart(slot.attempt.wrapping_add(behind));
        } else if range.end > end || !on_grid(&range, end, slot.stored_len.is_none()) {
            return misplaced(counters);
        }
        if range.end > slot.capacity {
            return misplaced(counters);
        }
        let id = incoming.id();
        let slot = incoming.slot(chunk).map_err(|_| Dropped::Misplaced)?;
        let filled = match slot.claims.claim(range.clone()) {
            Claim::Taken => {
                let opened = memory.write(id, chunk, range.clone(), |place| opener.open(place, counters));
                if let Err(forged) = opened {
                    slot.claims.release(range);
                    return Err(forged);
                }
                slot.claims.fill(range.clone());
                range.end - range.start
            }
            Claim::Filled => {
                opener.open(scratch, counters)?;
                0
            }
            Claim::Contended => {
                opener.open(scratch, counters)?;
                let mut filled = 0;
                let whole = slot.claims.fill_gaps(range.clone(), |gap| {
                    filled += gap.end - gap.start;
                    let from = (gap.start - range.start) as usize..(gap.end - range.start) as usize;
                    memory.write(id, chunk, gap, |place| place.copy_from_slice(&scratch[from]));
                });
                if !whole {
                    return Err(Dropped::Busy);
                }
                filled
            }
        };
        incoming.note_full(chunk);
        Ok(filled)
    }

    fn receive_control(&mut self, i: usize, arrival: &Arrival<'_>) -> Result<(), Dropped> {
        let Arrival { header, datagram, .. } = *arrival;
        let mut payload = core::mem::take(&mut self.scratch);
        let length = usize::from(header.length);
        let opener = Opener {
            crypto: &self.crypto,
            path: &self.paths[i],
            sealed: true,
            number: header.number,
            datagram,
        };
        let opened = opener.open(&mut payload[..length], &mut self.counters);
        if opened.is_ok() {
            self.take_payload(i, arrival, &payload[..length]);
        }
        self.scratch = payload;
        opened
    }

    fn take_payload(&mut self, i: usize, arrival: &Arrival<'_>, payload: &[u8]) {
        let Arrival { now, from, .. } = *arrival;
        let mut eliciting = false;
        let mut held = true;
        for frame in Frames::new(payload) {
            match frame {
                Ok(frame) => {
                    eliciting |= frame.is_ack_eliciting();
                    held &= self.take_frame(now, i, from, &frame);
                }
                Err(bad) => self.fail(now, CloseCode::Protocol, bad.what),
            }
            if !self.is_running() {
                return;
            }
        }
        self.authenticated(i, arrival, held, eliciting);
        self.take_messages(now);
        for frame in Frames::new(payload) {
            if let Ok(Frame::PathAbandon(path)) = frame {
                self.take_abandon(now, path);
            }
        }
    }

    /// Handles one frame; false when it could not be held and must come again.
    fn take_frame(&mut self, now: Time, i: usize, from: Address, frame: &Frame<'_>) -> bool {
        match frame {
            Frame::Padding(_) | Frame::Ping => {}
            Frame::Ack(ack) => self.take_ack(now, ack),
            Frame::Stream { offset, bytes } => match self.recv_stream.receive(*offset, bytes) {
                Ok(held) => return held,
                Err(StreamError::Flow) => {
                    self.fail(now, CloseCode::Flow, "control stream beyond its credit or changed");
                }
                Err(StreamError::Malformed(bad)) => self.fail(now, CloseCode::Protocol, bad.what),
            },
            Frame::Credit(end) => self.send_stream.on_credit(*end),
            Frame::Window(window) => return self.take_window(window),
            Frame::PathChallenge { token, connection } => {
                let path = &mut self.paths[i];
                path.response = Some((*token, from));
                path.destination = *connection;
                self.challenge_back(now, i);
            }
            Frame::PathResponse { token, connection } => self.take_response(now, i, *token, *connection),
            // Removes a path, so that it waits until the packet's own path is not needed any more.
            Frame::PathAbandon(_) => {}
            Frame::Close { code, text } => self.take_close(now, *code, text),
        }
        true
    }

    fn take_window(&mut self, window: &Window<'_>) -> bool {
        let Connection { outgoing, events, paths, .. } = self;
        let Some(outgoing) = outgoing.iter_mut().find(|o| o.id() == window.transfer) else {
            return self.keep_early(window);
        };
        let transfer = window.transfer;
        let mut spare = outgoing.take_spare();
        let grew = outgoing.on_window(window, |chunk| {
            for path in paths.iter_mut() {
                spare.void(&mut path.leases, |lease| lease.transfer == transfer && lease.chunk == chunk);
            }
            events.push_back(Event::ChunkAccepted(transfer, chunk));
        });
        outgoing.return_spare(spare);
        if grew {
            events.push_back(Event::WindowGrew(transfer));
        }
        true
    }

    /// A WINDOW may overtake the OPEN of its transfer. False when it cannot be kept and must come again.
    fn keep_early(&mut self, window: &Window<'_>) -> bool {
        let Window { transfer, pages, limit, .. } = *window;
        if window.base > 0 || !window.accepted.is_empty() {
            return false;
        }
        if let Some(early) = self.early_windows.iter_mut().find(|w| w.transfer == transfer) {
            early.pages = early.pages.max(pages);
            early.limit = early.limit.max(limit);
            return true;
        }
        if self.early_windows.len() >= limits::TRANSFERS_MAX {
            return false;
        }
        self.early_windows.push(EarlyWindow { transfer, pages, limit });
        true
    }

    /// The peer closes; what it said before counts.
    fn take_close(&mut self, now: Time, code: CloseCode, text: &str) {
        self.take_messages(now);
        if self.is_running() {
            self.events.push_back(Event::Closed { code, text: text.into(), by_peer: true });
        }
        self.state = State::Over;
    }

    /// Bookkeeping for a packet that opened; plain DATA, which anybody may have sent, proves nothing. `held`: it may be acknowledged.
    fn authenticated(&mut self, i: usize, arrival: &Arrival<'_>, held: bool, eliciting: bool) {
        let Arrival { now, from, ce, header, datagram } = *arrival;
        let highest = self.paths[i].received.is_highest(header.number);
        let path = &mut self.paths[i];
        path.counters.packets_received += 1;
        path.counters.marks_received += u64::from(ce && held);
        path.counters.bytes_received += u64::from(header.length);
        if held {
            path.received.accept(now, header.number, header.stamp, eliciting, header.ask, ce);
        }
        if header.kind == Kind::Data && !self.suite.seals_data() {
            return;
        }
        self.last_heard = now;
        path.open.authenticated(&self.crypto, header.number);
        if matches!(self.state, State::Unconfirmed) {
            self.state = State::Open;
            self.confirm_carried();
            self.events.push_back(Event::Established);
        }
        self.heard_from(now, i, from, datagram.len() as u64, highest);
    }
}

/// A DATA payload lies on the grid; only the last of a chunk's data may end off it, and while the entry is not known any end may be the last.
fn on_grid(range: &Range<u32>, end: u32, end_unknown: bool) -> bool {
    let grid = limits::GRID as u32;
    range.start.is_multiple_of(grid) && (range.end.is_multiple_of(grid) || range.end == end || end_unknown)
}

/// One sealed payload and what opens it.
struct Opener<'a, C: Crypto> {
    crypto: &'a C,
    path: &'a Path<C>,
    sealed: bool,
    number: u64,
    datagram: &'a [u8],
}

impl<C: Crypto> Opener<'_, C> {
    fn open(&self, out: &mut [u8], counters: &mut super::Counters) -> Result<(), Dropped> {
        let (header, payload) = self.datagram.split_at(HEADER_LEN);
        if !self.sealed {
            out.copy_from_slice(payload);
            return Ok(());
        }
        let key = self.path.open.key(self.number).ok_or(Dropped::Epoch)?;
        if self.crypto.open(key, self.number, header, payload, out) {
            return Ok(());
        }
        counters.failed_opens += 1;
        Err(Dropped::Forged)
    }
}
