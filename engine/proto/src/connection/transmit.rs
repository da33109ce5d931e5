//! What goes out: control packets first, then trains of content.

use super::plan::SendPlan;
use super::{ChunkBytes, Connection, State};
use crate::crypto::Crypto;
use crate::limits;
use crate::path::{Address, Path, PathState};
use crate::sent::{Content, ControlContent, DataRange, Train};
use crate::time::Time;
use crate::wire::{Frame, HEADER_LEN, Header, Kind, PathId, TAG_LEN, Writer};

/// A train that was written into the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The path.
    pub path: PathId,
    /// Where it goes, and from where.
    pub address: Address,
    /// Bytes in the frame.
    pub len: usize,
    /// Bytes of each datagram but the last.
    pub segment: usize,
}

impl<C: Crypto> Connection<C> {
    /// Writes the next packet or train into `frame`, which holds [`limits::DATAGRAM_MAX`] bytes. Only paths whose local address is `local`
    /// are asked, so that the frame can be one of their queue's; `None` asks all. Nothing comes back when nothing may go now.
    pub fn poll_transmit(
        &mut self,
        now: Time,
        local: Option<core::net::IpAddr>,
        frame: &mut [u8],
        content: &impl ChunkBytes,
    ) -> Option<Transmit> {
        assert!(frame.len() >= limits::DATAGRAM_MAX);
        match &self.state {
            State::Unconfirmed | State::Over => return None,
            State::Closing(_) | State::Answering(_) => return self.transmit_close(now, frame),
            State::Open => {}
        }
        let sharers = self.paths.iter().filter(|p| p.state == PathState::Live).count().max(1) as u64;
        self.paths.iter_mut().for_each(|path| path.sharers = sharers);
        self.drop_replaced();
        for step in 0..self.paths.len() {
            let i = (self.rotation + step) % self.paths.len();
            if local.is_some() && self.paths[i].address.local != local {
                continue;
            }
            let sent = self
                .transmit_control(now, i, frame)
                .or_else(|| self.transmit_mtu_probe(now, i, frame))
                .or_else(|| self.transmit_content(now, i, frame, content));
            if sent.is_some() {
                self.rotation = i + 1;
                self.last_sent = now;
                return sent;
            }
        }
        None
    }

    /// Whether path `i` has or could get content to send.
    pub(super) fn has_content(&self, i: usize) -> bool {
        self.paths[i].leases.iter().any(|l| l.has_something())
            || self.outgoing.iter().any(|o| o.has_something())
    }

    /// The next train of content for a path of shard `shard`, decided and logged; the shard seals it and sends it.
    pub fn poll_plan(&mut self, now: Time, shard: u8) -> Option<SendPlan> {
        if !matches!(self.state, State::Open) {
            return None;
        }
        self.drop_replaced();
        let count = self.paths.len();
        let plan = (0..count).find_map(|turn| {
            let i = (self.rotation + turn) % count;
            let plan = (self.paths[i].shard == Some(shard)).then(|| self.plan_content(now, i)).flatten()?;
            Some((i, plan))
        });
        let (i, plan) = plan?;
        self.rotation = i + 1;
        self.last_sent = now;
        Some(plan)
    }

    fn transmit_content(
        &mut self,
        now: Time,
        i: usize,
        frame: &mut [u8],
        content: &impl ChunkBytes,
    ) -> Option<Transmit> {
        if self.paths[i].is_away() {
            return None;
        }
        let plan = self.plan_content(now, i)?;
        let Connection { paths, crypto, .. } = self;
        Some(plan.seal(crypto, &mut paths[i].seal, frame, content))
    }

    /// Decides what path `i` sends next, and logs it as sent.
    #[expect(
        clippy::indexing_slicing,
        reason = "`current_lease` and `lease_tail` name a lease that is there"
    )]
    fn plan_content(&mut self, now: Time, i: usize) -> Option<SendPlan> {
        let mut budget = self.paths[i].send_budget(now);
        if let Some(cap) = &mut self.cap {
            budget = budget.min(cap.budget(now, u64::from(self.paths[i].mtu.current())));
        }
        if budget == 0 || self.paths[i].state != PathState::Live || !self.may_take_turn(now, i) {
            self.note_idle(i);
            return None;
        }
        let Some(at) = self.current_lease(i).or_else(|| self.lease_tail(i)) else {
            let in_flight = self.paths[i].sent.in_flight();
            self.paths[i].controller.app_limited(in_flight);
            return None;
        };
        let tag = if self.suite.seals_data() { TAG_LEN } else { 0 };
        let path = &mut self.paths[i];
        path.skip_number_if_due(now);
        let datagram = usize::from(path.mtu.current());
        let step = (datagram - HEADER_LEN - tag) / limits::GRID as usize * limits::GRID as usize;
        let count = (budget as usize / datagram).clamp(1, limits::TRAIN_PACKETS_MAX);
        let count = count.min(limits::DATAGRAM_MAX / (step + HEADER_LEN + tag)).max(1);
        let lease = &mut path.leases[at];
        let first_time = lease.lost.is_empty();
        let range = lease.take((count * step) as u32)?;
        let (start, end) = (range.start, range.end);
        let (transfer, chunk, attempt) = (lease.transfer, lease.chunk, lease.attempt);
        let data = DataRange { transfer, chunk, attempt, start, end, step: step as u16 };
        let more =
            path.leases.iter().any(|l| l.has_something()) || self.outgoing.iter().any(|o| o.has_something());
        let chunk_log2 = self.chunk_log2(transfer)?;
        let path = &mut self.paths[i];
        let plan = SendPlan {
            path: path.id,
            address: path.address,
            destination: path.destination,
            sealed: self.suite.seals_data(),
            number: path.sent.next_number(),
            stamp: now.as_stamp(),
            ask: !more || path.controller.in_startup(),
            base: u64::from(chunk) << chunk_log2,
            data,
        };
        path.turn += u64::from(end - start);
        if !first_time {
            path.counters.content_resent += u64::from(end - start);
        }
        path.log(now, Train::new(plan.number, plan.count(), now, plan.sizes(), Content::Data(data)), true);
        if let Some(cap) = &mut self.cap {
            cap.on_sent(now, plan.len() as u64);
        }
        Some(plan)
    }

    /// What a path that has nothing to send delivers says nothing about it, also while its pacer holds the next train back: a few messages
    /// a round trip would end start-up else, at their own rate.
    fn note_idle(&mut self, i: usize) {
        if self.has_content(i) || (self.carries_shared(i) && self.send_stream.has_something()) {
            return;
        }
        if self.paths[i].window_open() {
            let in_flight = self.paths[i].sent.in_flight();
            self.paths[i].controller.app_limited(in_flight);
        }
    }

    /// Whether path `i` is not too far ahead of another that would send too. Where the ends are what limits, a path that is asked second, or
    /// whose worker gets a processor less often, would be left behind else. Who did not wait before gains nothing by it.
    fn may_take_turn(&mut self, now: Time, i: usize) -> bool {
        if self.paths.len() < 2 {
            return true;
        }
        let floor = self.paths.iter().filter(|p| p.waited).map(|p| p.turn).min();
        for j in 0..self.paths.len() {
            // One that has nothing to send waits for nobody.
            let waits = self.paths[j].is_willing(now) && self.has_content(j);
            let path = &mut self.paths[j];
            if waits && !path.waited {
                path.turn = path.turn.max(floor.unwrap_or(0));
            }
            path.waited = waits;
        }
        let least = self.paths.iter().filter(|p| p.waited).map(|p| p.turn).min();
        least.is_none_or(|least| self.paths[i].turn <= least + limits::TURN_AHEAD_MAX)
    }

    /// The lease of path `i` that goes next, taken from the transfer when the path has none.
    fn current_lease(&mut self, i: usize) -> Option<usize> {
        let Connection { paths, outgoing, .. } = self;
        let leases = &mut paths[i].leases;
        let lost = leases.iter().position(|l| !l.lost.is_empty());
        if let Some(at) = lost.or_else(|| leases.iter().position(|l| l.has_something())) {
            return Some(at);
        }
        let lease = outgoing.iter_mut().find_map(|o| o.lease())?;
        leases.push(lease);
        Some(leases.len() - 1)
    }

    fn chunk_log2(&self, transfer: crate::wire::TransferId) -> Option<u8> {
        self.outgoing.iter().find(|o| o.id() == transfer).map(|o| o.chunk_log2())
    }

    fn transmit_control(&mut self, now: Time, i: usize, frame: &mut [u8]) -> Option<Transmit> {
        if !self.control_due(now, i) {
            return None;
        }
        let challenge_due = self.challenge_due(now, i);
        let route = self.route(i, challenge_due);
        let path = &mut self.paths[i];
        path.skip_number_if_due(now);
        let room = route.most.saturating_sub(HEADER_LEN + TAG_LEN);
        let (head, payload) = frame.split_at_mut(limits::DATAGRAM_MAX / 2);
        let mut w = Writer::within(payload, room);
        let (control, in_flight) = if route.elsewhere {
            // It says nothing about the path whether this arrives: nobody may be there but who copies packets. Challenges go again by themselves.
            self.write_path_frames(now, i, challenge_due, &mut w);
            (ControlContent::default(), false)
        } else {
            self.write_frames(now, i, challenge_due, &mut w)
        };
        let padded_len = limits::DATAGRAM_MIN - HEADER_LEN - TAG_LEN;
        if route.padded {
            w.zeros(padded_len.saturating_sub(w.written()));
        }
        let payload = w.finish();
        if payload.is_empty() {
            return None;
        }
        let content = Content::Control(control, in_flight);
        let transmit = self.seal_control(now, i, route.address, content, payload, head);
        self.spoke_to(i, route.address, transmit.len as u64);
        Some(transmit)
    }

    /// Whether path `i` has to say something that is not content.
    fn control_due(&mut self, now: Time, i: usize) -> bool {
        let path = &self.paths[i];
        if self.challenge_due(now, i) {
            return true;
        }
        if !self.may_speak(i) {
            return false;
        }
        if path.response.is_some() || path.ping_owed {
            return true;
        }
        if path.received.due(path.rtt.smoothed()).is_some_and(|due| due <= now) {
            return true;
        }
        if !self.carries_shared(i) {
            return false;
        }
        self.credit_owed
            || !self.abandoned.is_empty()
            || self.incoming.iter().any(|x| x.is_dirty())
            || self.paths.iter().any(|p| p.ack_copy_owed && p.id != path.id)
            || (self.send_stream.has_something() && self.paths[i].send_budget(now) > 0)
    }

    /// Whether what any live path may carry goes by path `i`. Not by one that a shard carries while another lives: it would overtake
    /// content that was planned before it.
    pub(super) fn carries_shared(&self, i: usize) -> bool {
        let live = |path: &Path<C>| path.state == PathState::Live;
        live(&self.paths[i])
            && (!self.paths[i].is_away() || !self.paths.iter().any(|p| live(p) && !p.is_away()))
    }

    fn write_frames(
        &mut self,
        now: Time,
        i: usize,
        challenge_due: bool,
        w: &mut Writer<'_>,
    ) -> (ControlContent, bool) {
        let mut control = ControlContent::default();
        let mut eliciting = self.write_path_frames(now, i, challenge_due, w);
        self.write_acks(now, i, w, &mut control);
        if core::mem::take(&mut self.paths[i].ping_owed) {
            Frame::Ping.encode(w);
            eliciting = true;
        }
        if self.carries_shared(i) {
            eliciting |= self.write_shared_frames(now, i, w, &mut control);
        }
        (control, eliciting)
    }

    fn write_path_frames(&mut self, now: Time, i: usize, challenge_due: bool, w: &mut Writer<'_>) -> bool {
        let connection = self.id_for(self.paths[i].id);
        let path = &mut self.paths[i];
        let mut eliciting = false;
        if let Some((token, _)) = path.response.take() {
            Frame::PathResponse { token, connection }.encode(w);
            eliciting = true;
        }
        if challenge_due && let Some(challenge) = &mut path.challenge {
            Frame::PathChallenge { token: challenge.token, connection }.encode(w);
            challenge.on_sent(now);
            eliciting = true;
        }
        eliciting
    }

    /// The path's own ACK, and copies of those that went out on suspect paths.
    pub(super) fn write_acks(
        &mut self,
        now: Time,
        i: usize,
        w: &mut Writer<'_>,
        control: &mut ControlContent,
    ) {
        let own = &mut self.paths[i];
        if let Some(due) = own.received.due(own.rtt.smoothed())
            && let Some(all) = own.received.write(now, own.id, w)
        {
            self.ack_due = Some(due.min(now));
            control.ack = all.then(|| (own.id, own.received.next()));
            own.received.on_sent(now);
            own.ack_copy_owed = own.state != PathState::Live;
        }
        if self.paths[i].state != PathState::Live {
            return;
        }
        for path in self.paths.iter_mut() {
            if path.ack_copy_owed && path.received.write(now, path.id, w).is_some() {
                path.ack_copy_owed = false;
            }
        }
    }

    /// What any live path may carry.
    fn write_shared_frames(
        &mut self,
        now: Time,
        i: usize,
        w: &mut Writer<'_>,
        control: &mut ControlContent,
    ) -> bool {
        let start = w.written();
        if self.credit_owed && w.space() >= 9 {
            self.credit_owed = false;
            control.credit = true;
            Frame::Credit(self.recv_stream.tell_credit()).encode(w);
        }
        if w.space() >= 3
            && let Some(path) = self.abandoned.pop()
        {
            control.abandon = Some(path);
            Frame::PathAbandon(path).encode(w);
        }
        let mut words = [0; limits::WINDOW_WORDS_MAX];
        if w.space() >= limits::WINDOW_FRAME_MAX
            && let Some(incoming) = self.incoming.iter_mut().find(|x| x.is_dirty())
        {
            control.window = Some(incoming.id());
            Frame::Window(incoming.window(&mut words)).encode(w);
        }
        if w.space() > Frame::STREAM_OVERHEAD && self.paths[i].send_budget(now) > 0 {
            let max = w.space() - Frame::STREAM_OVERHEAD;
            control.stream = self.send_stream.take(max, |offset, first, second| {
                Frame::Stream { offset, bytes: first }.encode_split(second, w);
            });
        }
        w.written() > start
    }

    fn transmit_mtu_probe(&mut self, now: Time, i: usize, frame: &mut [u8]) -> Option<Transmit> {
        let path = &mut self.paths[i];
        let size = path.mtu_probe_due(now)?;
        path.skip_number_if_due(now);
        path.mtu.on_probe_sent(now, size, path.sent.next_number());
        let address = path.address;
        let (head, payload) = frame.split_at_mut(limits::DATAGRAM_MAX / 2);
        let len = usize::from(size) - HEADER_LEN - TAG_LEN;
        let mut w = Writer::within(payload, len);
        Frame::Ping.encode(&mut w);
        w.zeros(len - 1);
        Some(self.seal_control(now, i, address, Content::MtuProbe, w.finish(), head))
    }

    /// Seals one control packet into `frame` and logs it.
    #[expect(
        clippy::indexing_slicing,
        reason = "a payload was written into what the path's datagrams hold, half of a frame at most"
    )]
    pub(super) fn seal_control(
        &mut self,
        now: Time,
        i: usize,
        address: Address,
        content: Content,
        payload: &[u8],
        frame: &mut [u8],
    ) -> Transmit {
        let paced = matches!(content, Content::Control(ControlContent { stream: Some(_), .. }, _));
        let Path { id, destination, seal, sent, controller, .. } = &mut self.paths[i];
        let number = sent.next_number();
        let mut header = Header::new(Kind::Control);
        header.path = *id;
        header.connection = *destination;
        header.number = number;
        header.stamp = now.as_stamp();
        header.length = payload.len() as u16;
        // Messages alone may fill the first windows: many small files are nothing else.
        header.ask = paced && controller.in_startup();
        let head = header.encode();
        let len = HEADER_LEN + payload.len() + TAG_LEN;
        frame[..HEADER_LEN].copy_from_slice(&head);
        let key = seal.key(&self.crypto, number);
        self.crypto.seal(key, number, &head, payload, &mut frame[HEADER_LEN..len]);
        let train = Train::new(number, 1, now, (len as u16, len as u16), content);
        self.paths[i].log(now, train, paced);
        self.last_sent = now;
        Transmit { path: self.paths[i].id, address, len, segment: len }
    }
}
