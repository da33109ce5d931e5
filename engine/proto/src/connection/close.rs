//! The end of a connection: CLOSE goes out, is repeated and answered (PROTOCOL.md#idle-and-close).
//!
//! An end that has nothing left to do does not wait until its last messages were acknowledged: they go with each CLOSE.

use super::{Connection, Event, State, Transmit};
use super::{Dropped, Opener};
use crate::crypto::Crypto;
use crate::limits;
use crate::path::{Path, PathState};
use crate::sent::{Content, ControlContent};
use crate::time::Time;
use crate::wire::{CloseCode, Frame, Frames, HEADER_LEN, Header, Kind, TAG_LEN, Writer};
use alloc::string::String;
use core::time::Duration;

/// Bytes of a CLOSE frame without text.
const CLOSE_FRAME_LEN: usize = 5;
/// Bytes of control stream that go with a CLOSE, on any path.
const LAST_WORDS_MAX: usize =
    limits::DATAGRAM_MIN - HEADER_LEN - TAG_LEN - CLOSE_FRAME_LEN - Frame::STREAM_OVERHEAD;

/// A close under way.
#[derive(Debug)]
pub(super) struct Closing {
    code: CloseCode,
    text: String,
    /// Then the connection is forgotten, heard or not.
    until: Time,
    /// CLOSE is repeated then, and each probe timeout later.
    again: Time,
    every: Duration,
    /// How many paths still have to be told.
    owed: usize,
    /// How often all paths were told.
    told: u32,
    answers: u32,
    heard: u32,
    /// What the peer has not acknowledged of the control stream goes with each CLOSE.
    last_words: bool,
    /// The peer's address is not proven: nothing is said before a packet of its comes.
    unproven: bool,
}

impl<C: Crypto> Connection<C> {
    /// Closes; the peer is told, and told again, for three probe timeouts, and no longer than a silent one is waited for: by late ACKs it
    /// makes the timeouts as long as it likes. No event follows but what waits already.
    pub fn close(&mut self, now: Time, code: CloseCode, text: &str) {
        if !self.is_running() {
            return;
        }
        let text = text.get(..text.floor_char_boundary(limits::CLOSE_TEXT_LEN_MAX)).unwrap_or_default();
        let wait = self.paths.iter().map(|p| p.rtt.probe_timeout(limits::ACK_DELAY_MAX)).max();
        let every = wait.unwrap_or(limits::INITIAL_RTT);
        let unproven = matches!(self.state, State::Unconfirmed);
        self.state = State::Closing(Closing {
            code,
            text: String::from(text),
            until: now + if unproven { limits::HALF_OPEN_LIFE } else { (every * 3).min(self.config.idle) },
            again: now + every,
            every,
            owed: if unproven { 0 } else { self.paths.len() },
            told: 0,
            answers: 0,
            heard: 0,
            last_words: false,
            unproven,
        });
    }

    /// Closes because nothing is left to do. The last messages go with CLOSE, so that nobody waits until they were acknowledged. False
    /// while they are more than a packet holds, or while the peer was not heard yet; the connection goes on then.
    pub fn part(&mut self, now: Time) -> bool {
        if !self.is_running() {
            return true;
        }
        let backlog = self.send_stream.backlog();
        if matches!(self.state, State::Unconfirmed)
            || backlog > LAST_WORDS_MAX
            || !self.send_stream.is_within_credit()
        {
            return false;
        }
        self.close(now, CloseCode::Done, "");
        if let State::Closing(closing) = &mut self.state
            && backlog > 0
        {
            closing.last_words = true;
            closing.again = now + limits::FAREWELL_EVERY;
        }
        true
    }

    /// Whether nothing that the peer has to hear is lost when this end is gone from now on: it was told [`limits::FAREWELLS`] times what
    /// only this end knows, or knows it.
    pub fn may_leave(&self) -> bool {
        match &self.state {
            State::Unconfirmed | State::Over => true,
            State::Open => self.send_stream.backlog() == 0,
            State::Answering(_) => false,
            State::Closing(closing) => {
                let often = if closing.last_words { limits::FAREWELLS } else { 1 };
                closing.unproven || closing.told >= often
            }
        }
    }

    pub(super) fn close_timeout(&self) -> Option<Time> {
        match &self.state {
            State::Closing(closing) if closing.unproven => Some(closing.until),
            State::Closing(closing) => Some(closing.until.min(closing.again)),
            State::Answering(_) => Some(self.last_heard),
            State::Over => Some(Time::NEVER),
            State::Unconfirmed | State::Open => None,
        }
    }

    /// Does what is due of a close; false when there is none.
    pub(super) fn close_timed_out(&mut self, now: Time) -> bool {
        match &mut self.state {
            State::Unconfirmed | State::Open => return false,
            State::Closing(closing) if now >= closing.until => self.state = State::Over,
            State::Closing(closing) if now >= closing.again && !closing.unproven => {
                let hurry = closing.last_words && closing.told + 1 < limits::FAREWELLS;
                closing.again = now + if hurry { limits::FAREWELL_EVERY } else { closing.every };
                closing.owed = self.paths.len();
            }
            State::Closing(_) | State::Answering(_) | State::Over => {}
        }
        true
    }

    /// Answers what comes while closing with CLOSE, at most once for each doubling.
    pub(super) fn answer_with_close(&mut self) {
        let paths = self.paths.len();
        if let State::Closing(closing) = &mut self.state
            && !closing.unproven
        {
            closing.packet_came(paths);
        }
    }

    /// Answers whatever comes with CLOSE, and looks out for the peer's. Content has no place any more.
    pub(super) fn receive_closing(&mut self, header: &Header, datagram: &[u8]) -> Result<(), Dropped> {
        if !matches!(self.state, State::Closing(_)) {
            return Err(Dropped::Closed);
        }
        self.answer_with_close();
        let length = usize::from(header.length);
        if header.kind != Kind::Control || datagram.len() != HEADER_LEN + length + TAG_LEN {
            return Err(Dropped::Closed);
        }
        let i = self.path_index(header.path).ok_or(Dropped::UnknownPath)?;
        let Connection { crypto, paths, scratch, counters, .. } = self;
        let opener = Opener { crypto, keys: &paths[i].open, sealed: true, number: header.number, datagram };
        let payload = scratch.of(header);
        opener.open(payload, &mut counters.failed_opens)?;
        let told = Frames::new(payload).any(|frame| matches!(frame, Ok(Frame::Close { .. })));
        let paths = self.paths.len();
        match &mut self.state {
            _ if told => self.state = State::Over,
            State::Closing(closing) if closing.unproven => {
                closing.unproven = false;
                closing.packet_came(paths);
            }
            _ => {}
        }
        Ok(())
    }

    /// The peer closes by path `i`; what it said before counts. It is answered by one CLOSE, so that it need not repeat its own.
    pub(super) fn take_close(&mut self, now: Time, i: usize, code: CloseCode, text: &str) {
        self.confirmed();
        // No more than the stream's credit held.
        self.take_messages(now, usize::MAX);
        if self.is_running() {
            self.events.push_back(Event::Closed { code, text: text.into(), by_peer: true });
        }
        let proven = self.paths[i].state != PathState::Unproven;
        self.state = if proven { State::Answering(i) } else { State::Over };
    }

    /// The next CLOSE, before it the ACKs that are owed: the peer's account of what arrived shall be right.
    pub(super) fn transmit_close(&mut self, now: Time, frame: &mut [u8]) -> Option<Transmit> {
        if let State::Answering(i) = self.state {
            self.state = State::Over;
            return Some(self.seal_close(now, i, frame, (CloseCode::Done, ""), false));
        }
        let owes_ack = |p: &Path<C>| p.state == PathState::Live && p.received.due(p.rtt.smoothed()).is_some();
        let State::Closing(closing) = &mut self.state else { return None };
        if closing.owed > 0
            && closing.told == 0
            && let Some(i) = self.paths.iter().position(owes_ack)
            && let Some(ack) = self.transmit_ack(now, i, frame)
        {
            return Some(ack);
        }
        let State::Closing(closing) = &mut self.state else { return None };
        let told = (0..closing.owed).rev().find(|i| self.paths[*i].state != PathState::Unproven);
        if closing.owed > 0 && told.unwrap_or(0) == 0 {
            closing.told += 1;
        }
        closing.owed = told.unwrap_or(0);
        let (code, text, last_words) = (closing.code, core::mem::take(&mut closing.text), closing.last_words);
        let sent = told.map(|i| self.seal_close(now, i, frame, (code, &text), last_words));
        if let State::Closing(closing) = &mut self.state {
            closing.text = text;
        }
        sent
    }

    fn transmit_ack(&mut self, now: Time, i: usize, frame: &mut [u8]) -> Option<Transmit> {
        let (head, payload) = frame.split_at_mut(limits::DATAGRAM_MAX / 2);
        let mut w = Writer::within(payload, limits::DATAGRAM_MIN - HEADER_LEN - TAG_LEN);
        let mut control = ControlContent::default();
        self.write_acks(now, i, &mut w, &mut control);
        let payload = w.finish();
        let address = self.paths[i].address;
        let content = Content::Control(control, false);
        (!payload.is_empty()).then(|| self.seal_control(now, i, address, content, payload, head))
    }

    fn seal_close(
        &mut self,
        now: Time,
        i: usize,
        frame: &mut [u8],
        (code, text): (CloseCode, &str),
        last_words: bool,
    ) -> Transmit {
        let (head, payload) = frame.split_at_mut(limits::DATAGRAM_MAX / 2);
        let mut w = Writer::new(payload);
        if last_words {
            self.send_stream.rest(|offset, first, second| {
                Frame::Stream { offset, bytes: first }.encode_split(second, &mut w);
            });
        }
        Frame::Close { code, text }.encode(&mut w);
        let address = self.paths[i].address;
        let content = Content::Control(ControlContent::default(), false);
        self.seal_control(now, i, address, content, w.finish(), head)
    }
}

impl Closing {
    /// A packet of the peer's came: it does not know, or did not when it sent it.
    fn packet_came(&mut self, paths: usize) {
        self.heard += 1;
        if self.heard >= 1 << self.answers.min(31) {
            self.answers += 1;
            self.owed = paths;
        }
    }
}
