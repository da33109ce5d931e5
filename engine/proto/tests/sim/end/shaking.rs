//! The handshake of an end: HELLO and its repeats, cookies, REPLY, and the connection that comes of them.

use super::*;

/// What is there before the connection.
pub(super) enum Shaking {
    Opener {
        opener: Box<Opener>,
        sent: u32,
        first_sent: Time,
        next: Time,
        stream: Option<(SendStream, Option<(u64, u16)>)>,
    },
    Acceptor(Box<Acceptor>),
    Done,
}

impl<C: Witnessed> End<C> {
    fn payload(plan: &Plan, side: usize, stream: Vec<u8>) -> Payload {
        Payload {
            connection: ConnectionId(100 + side as u32),
            datagram_max: plan.datagram_max,
            receive_buffer: plan.socket_bytes as u32,
            stream_credit: limits::STREAM_WINDOW as u32,
            stream,
        }
    }

    pub(super) fn opener(plan: &Plan, now: Time, rng: &mut Rng) -> Shaking {
        let mut stream = SendStream::new(limits::STREAM_WINDOW);
        for (i, transfer) in plan.transfers.iter().enumerate() {
            if let Some(transfer) = transfer {
                let role = if i == 0 { Role::Sender } else { Role::Receiver };
                let (id, chunk_log2) = (TRANSFERS[i], transfer.chunk_log2);
                stream.push(&Message::Open(Open { transfer: id, role, chunk_log2, digests: false }));
            }
        }
        let mut bytes = Vec::new();
        let carried = plan.carry.then(|| stream.take(1_000, |_, a, b| bytes = [a, b].concat())).flatten();
        let payload = Self::payload(plan, 0, bytes);
        let opener = Opener::new(&ticket(plan), seed32(rng), &payload).unwrap();
        let stream = Some((stream, carried));
        Shaking::Opener { opener: Box::new(opener), sent: 0, first_sent: now, next: now, stream }
    }

    pub(super) fn acceptor(plan: &Plan, now: Time, rng: &mut Rng) -> Acceptor {
        let mut acceptor = Acceptor::new(2 + 2 * usize::from(!plan.demand_cookie), seed32(rng));
        acceptor.admit(ticket(plan), Time::NEVER).unwrap();
        if plan.demand_cookie {
            let other = Ticket::new(seed32(rng), plan.suite, Direction::Both);
            acceptor.admit(other.clone(), Time::NEVER).unwrap();
            let opener = Opener::new(&other, seed32(rng), &Self::payload(plan, 0, Vec::new())).unwrap();
            let from = SocketAddr::from(([10, 0, 0, 9], 1));
            let outcome = acceptor.handle_hello(now, from, opener.hello(), seed32(rng));
            assert!(matches!(outcome, HelloOutcome::Fresh(_)));
        }
        acceptor
    }

    fn config(&self, peer: &Payload) -> Config {
        Config {
            algorithm: self.plan.algorithm,
            rate_max: self.plan.rate_max,
            datagram_max: self.plan.datagram_max.min(peer.datagram_max),
            peer_buffer: peer.receive_buffer,
            idle: limits::IDLE,
            rekey_after: self.plan.rekey_after,
        }
    }

    pub(super) fn shake(&mut self, now: Time, send: &mut impl FnMut(Datagram)) {
        if let Shaking::Opener { opener, sent, first_sent, next, .. } = &mut self.shaking
            && now >= *next
        {
            if *sent == 0 {
                *first_sent = now;
            }
            *next = now + limits::CHALLENGE_RESEND * (1 << (*sent).min(2));
            *sent += 1;
            send(Datagram { marked: false, peer: remote_of(0, 0), bytes: opener.hello().to_vec() });
        }
    }

    pub(super) fn confirm_half_open(&mut self) {
        if let (Some(connection), Some(half_open), Shaking::Acceptor(acceptor)) =
            (&self.connection, self.half_open, &mut self.shaking)
            && connection.is_established()
        {
            assert!(acceptor.established(half_open));
            self.half_open = None;
        }
    }

    pub(super) fn take_hello(&mut self, now: Time, datagram: &Datagram, send: &mut impl FnMut(Datagram)) {
        let Shaking::Acceptor(acceptor) = &mut self.shaking else { return };
        let seed = seed32(&mut self.rng);
        let answer = match acceptor.handle_hello(now, datagram.peer, &datagram.bytes, seed) {
            HelloOutcome::Drop(_) | HelloOutcome::Versions(_) => return,
            HelloOutcome::Cookie(cookie) => cookie.to_vec(),
            HelloOutcome::Repeat(reply) => reply.to_vec(),
            HelloOutcome::Fresh(fresh) => {
                let mut stream = SendStream::new(u64::from(fresh.payload.stream_credit));
                let mut bytes = Vec::new();
                let mut carried = None;
                if let Ok(Some((1, len))) = Message::head(&fresh.payload.stream)
                    && let Ok(Message::Open(open)) = Message::decode(1, &fresh.payload.stream[4..4 + len])
                {
                    stream.push(&Message::Accept(Accept { transfer: open.transfer, limit: 0 }));
                    carried = stream.take(1_000, |_, a, b| bytes = [a, b].concat());
                }
                self.secrets = Some(fresh.secrets.clone());
                let payload = Self::payload(&self.plan, 1, bytes);
                let reply = acceptor.reply(fresh.half_open, &payload).unwrap();
                let reply = reply.to_vec();
                let established = Established {
                    side: Side::Acceptor,
                    secrets: fresh.secrets,
                    suite: fresh.suite,
                    local_id: payload.connection,
                    remote_id: fresh.payload.connection,
                    address: Address { remote: datagram.peer, local: None },
                    rtt: None,
                    stream,
                    carried,
                    peer_stream: fresh.payload.stream.clone(),
                    seed: seed32(&mut self.rng),
                };
                self.half_open = Some(fresh.half_open);
                let config = self.config(&fresh.payload);
                self.connection = Some(Connection::new(now, self.crypto.clone(), config, established));
                self.spread();
                reply
            }
        };
        send(Datagram { marked: false, peer: datagram.peer, bytes: answer });
    }

    pub(super) fn take_reply(&mut self, now: Time, datagram: &Datagram) {
        let Shaking::Opener { opener, sent, first_sent, stream, .. } = &mut self.shaking else { return };
        let Ok(reply) = opener.handle_reply(&datagram.bytes) else { return };
        let (stream, carried) = stream.take().expect("one reply opens");
        self.secrets = Some(reply.secrets.clone());
        let established = Established {
            side: Side::Opener,
            secrets: reply.secrets,
            suite: self.plan.suite,
            local_id: ConnectionId(100),
            remote_id: reply.payload.connection,
            address: Address { remote: datagram.peer, local: None },
            rtt: (*sent == 1 && !self.plan.demand_cookie).then(|| now.since(*first_sent)),
            stream,
            carried,
            peer_stream: reply.payload.stream.clone(),
            seed: seed32(&mut self.rng),
        };
        let config = self.config(&reply.payload);
        let mut connection = Connection::new(now, self.crypto.clone(), config, established);
        if let (Some(_), Some(plan)) = (&self.sender, &self.plan.transfers[0]) {
            connection.start_sending(TRANSFERS[0], plan.chunk_log2);
        }
        if let Some(receiver) = &mut self.receiver {
            receiver.begin(&mut connection);
        }
        self.opened_paths = (1..self.plan.wires.len()).map(|wire| (wire, None, 0)).collect();
        self.connection = Some(connection);
        self.spread();
        self.shaking = Shaking::Done;
    }
}
