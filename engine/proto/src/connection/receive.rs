//! Received datagrams: authenticate, place content, take frames.

use super::{Buffer, ChunkMemory, Connection, EarlyWindow, Event, Opener, Place, State, on_grid, place_of};
use crate::crypto::{Crypto, Suite};
use crate::incoming::NoSlot;
use crate::limits;
use crate::path::{Address, PathState};
use crate::stream::StreamError;
use crate::time::Time;
use crate::wire::{CloseCode, Frame, Frames, HEADER_LEN, Header, Kind, TAG_LEN, Window};

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

/// One received datagram; in [`Connection::receive_train`] a train, of which the header is the first packet's.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// When it was there.
    pub now: Time,
    /// Whence, and to which address.
    pub from: Address,
    /// It carries a congestion mark.
    pub ce: bool,
    /// Its decoded header.
    pub header: &'a Header,
    /// All of its bytes.
    pub datagram: &'a [u8],
}

impl<C: Crypto> Connection<C> {
    /// Takes a DATA or CONTROL datagram with this connection's id.
    ///
    /// # Errors
    /// [`Dropped`], for counters.
    pub fn receive(&mut self, arrival: &Received<'_>, memory: &mut impl ChunkMemory) -> Result<(), Dropped> {
        let Received { now, header, datagram, .. } = *arrival;
        if matches!(self.state, State::Over) {
            return Err(Dropped::Closed);
        }
        if !self.is_running() {
            return self.receive_closing(header, datagram);
        }
        check_size(header, datagram, self.suite)?;
        let taken = self.take(arrival, memory);
        self.check_failed_opens(now);
        taken
    }

    /// Too many failed opens end the connection (RFC 9001 section 6.6).
    pub(super) fn check_failed_opens(&mut self, now: Time) {
        if self.counters.failed_opens >= self.suite.failed_opens_max() {
            self.fail(now, CloseCode::AeadLimit, "too many packets did not open");
        }
    }

    /// Takes a datagram of the right length.
    fn take(&mut self, arrival: &Received<'_>, memory: &mut impl ChunkMemory) -> Result<(), Dropped> {
        let header = arrival.header;
        match self.path_index(header.path) {
            Some(i) => {
                if self.is_too_far(i, header) {
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

    fn receive_new_path(&mut self, arrival: &Received<'_>) -> Result<(), Dropped> {
        let Received { now, from, header, .. } = *arrival;
        if !self.may_open(now, header) {
            return Err(Dropped::UnknownPath);
        }
        self.count_unknown_path(now);
        let path = self.new_path(now, header.path, from, PathState::Unproven, None);
        let i = self.paths.push(path);
        let taken = self.receive_control(i, arrival);
        if taken.is_err() {
            self.paths.remove(i);
        } else {
            self.use_path_id(header.path);
        }
        taken
    }

    /// Plain DATA proves nothing: a forged number must not move what is remembered.
    pub(super) fn is_too_far(&self, i: usize, header: &Header) -> bool {
        let plain = header.kind == Kind::Data && !self.suite.seals_data();
        plain && header.number >= self.paths[i].received.next() + limits::NUMBERS_REMEMBERED
    }

    fn receive_data(
        &mut self,
        i: usize,
        arrival: &Received<'_>,
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
        let keys = &paths[i].open;
        let opener = Opener { crypto, keys, sealed: suite.seals_data(), number: header.number, datagram };
        let misplaced = |counters: &mut super::Counters| {
            counters.misplaced += 1;
            Err(Dropped::Misplaced)
        };
        let Some(incoming) = incoming.iter_mut().find(|x| x.id() == header.transfer) else {
            return misplaced(counters);
        };
        let (chunk, range) = place_of(header, incoming.chunk_log2());
        let scratch = scratch.of(header);
        let slot = match incoming.slot(chunk) {
            Ok(slot) => slot,
            Err(NoSlot::NotGranted) => return misplaced(counters),
            Err(NoSlot::Accepted) => {
                opener.open(scratch, &mut counters.failed_opens)?;
                return Ok(0);
            }
        };
        let behind = header.attempt.wrapping_sub(slot.attempt) & crate::wire::ATTEMPT_MASK;
        if behind != 0 {
            opener.open(scratch, &mut counters.failed_opens)?;
            if behind > crate::wire::ATTEMPT_MASK / 2 || slot.is_told_full() {
                return Ok(0);
            }
        }
        // Of a newer attempt nothing is known yet.
        let end = if behind == 0 { slot.stored_len } else { None };
        let (last, capacity) = (end.unwrap_or(slot.capacity), slot.capacity);
        if range.end > last || !on_grid(&range, last, end.is_none()) {
            return misplaced(counters);
        }
        let attempt = slot.attempt.wrapping_add(behind);
        if !incoming.begin(chunk, attempt) {
            return Err(Dropped::Busy);
        }
        let (id, users) = (incoming.id(), incoming.users());
        let slot = incoming.slot(chunk).map_err(|_| Dropped::Misplaced)?;
        let place =
            Place { claims: slot.claims.by(users), buffer: Buffer { transfer: id, chunk, capacity }, range };
        let filled = place.open(&opener, scratch, &mut counters.failed_opens, memory)?;
        incoming.note_full(chunk);
        Ok(filled)
    }

    fn receive_control(&mut self, i: usize, arrival: &Received<'_>) -> Result<(), Dropped> {
        let Received { header, datagram, .. } = *arrival;
        let mut scratch = core::mem::take(&mut self.scratch);
        let payload = scratch.of(header);
        let opener = Opener {
            crypto: &self.crypto,
            keys: &self.paths[i].open,
            sealed: true,
            number: header.number,
            datagram,
        };
        let opened = opener.open(payload, &mut self.counters.failed_opens);
        if opened.is_ok() {
            self.take_payload(i, arrival, payload);
        }
        self.scratch = scratch;
        opened
    }

    fn take_payload(&mut self, i: usize, arrival: &Received<'_>, payload: &[u8]) {
        let Received { now, from, .. } = *arrival;
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
        self.take_messages(now, limits::EVENTS_WAITING_MAX);
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
            Frame::Close { code, text } => self.take_close(now, i, *code, text),
        }
        true
    }

    pub(super) fn take_window(&mut self, window: &Window<'_>) -> bool {
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

    /// Bookkeeping for a packet that opened; plain DATA, which anybody may have sent, proves nothing. `held`: it may be acknowledged.
    pub(super) fn authenticated(&mut self, i: usize, arrival: &Received<'_>, held: bool, eliciting: bool) {
        let Received { now, from, ce, header, .. } = *arrival;
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
        let tag = if header.kind == Kind::Control || self.suite.seals_data() { TAG_LEN } else { 0 };
        let bytes = HEADER_LEN + usize::from(header.length) + tag;
        self.proven(now, i, from, header.number, bytes as u64, highest);
    }

    /// Packets up to `number`, of `bytes` in all, opened under the connection's keys. `highest`: none above it did before.
    pub(super) fn proven(
        &mut self,
        now: Time,
        i: usize,
        from: Address,
        number: u64,
        bytes: u64,
        highest: bool,
    ) {
        self.last_heard = now;
        self.paths[i].open.authenticated(&self.crypto, number);
        self.confirmed();
        self.heard_from(now, i, from, bytes, highest);
    }
}

/// Whether the datagram's size and number are what they may be.
pub(crate) fn check_size(header: &Header, datagram: &[u8], suite: Suite) -> Result<(), Dropped> {
    let sealed = header.kind == Kind::Control || suite.seals_data();
    let tag = if sealed { TAG_LEN } else { 0 };
    if datagram.len() != HEADER_LEN + usize::from(header.length) + tag || header.length == 0 {
        return Err(Dropped::Length);
    }
    if header.number >= limits::NUMBER_END { Err(Dropped::Number) } else { Ok(()) }
}
