//! What an end takes from its socket: single datagrams, trains, and packets that break the protocol.

use super::*;

impl<C: Witnessed> End<C> {
    /// Takes a datagram with those of the same form behind it, as a socket that coalesces does. False when it is one to be taken alone.
    pub(super) fn take_train(&mut self, at: u64, first: &Datagram) -> bool {
        let own = |datagram: &Datagram| {
            let header = Header::decode(&datagram.bytes).ok()?;
            (header.kind == Kind::Data && header.connection.0 == 100 + self.side as u32).then_some(header)
        };
        let segment = first.bytes.len();
        let mut bytes = first.bytes.clone();
        let alike = |d: &&Datagram| d.peer == first.peer && d.marked == first.marked && own(d).is_some();
        for datagram in self.socket.iter().take(TRAIN - 1).take_while(alike) {
            if !bytes.len().is_multiple_of(segment) || datagram.bytes.len() > segment {
                break;
            }
            bytes.extend_from_slice(&datagram.bytes);
        }
        let (Some(header), Some(connection)) = (own(first), &mut self.connection) else { return false };
        let train = Received { datagram: &bytes, ..first.received(self.clock.read(at), &header) };
        let taken = connection.receive_train(&train, segment, &mut self.sink);
        if taken == 0 {
            return false;
        }
        self.taken_in_trains += taken;
        for packet in bytes.chunks(segment).take(taken) {
            self.talks.entry(first.peer).or_default().heard += packet.len() as u64;
            let header = Header::decode(packet).expect("it was taken");
            self.note_accepted(&header);
        }
        for datagram in self.socket.drain(..taken - 1) {
            self.socket_bytes -= datagram.bytes.len();
        }
        self.confirm_half_open();
        true
    }

    pub(super) fn take(&mut self, at: u64, datagram: &Datagram, send: &mut impl FnMut(Datagram)) {
        let now = self.clock.read(at);
        let Ok(header) = Header::decode(&datagram.bytes) else { return };
        match header.kind {
            Kind::Data | Kind::Control if header.connection.0 == self.shard_id() => {
                self.talks.entry(datagram.peer).or_default().heard += datagram.bytes.len() as u64;
                self.shard_takes(at, &header, datagram);
            }
            Kind::Data | Kind::Control => {
                if header.connection.0 != 100 + self.side as u32 {
                    return;
                }
                self.talks.entry(datagram.peer).or_default().heard += datagram.bytes.len() as u64;
                let Some(connection) = &mut self.connection else { return };
                let taken = connection.receive(&datagram.received(now, &header), &mut self.sink);
                match taken {
                    Ok(()) => self.note_accepted(&header),
                    Err(Dropped::Epoch) => {
                        let highest = self.highest.get(&header.path).copied().unwrap_or(0);
                        let apart = epoch(header.number).abs_diff(epoch(highest));
                        assert!(apart > 1, "a packet of a neighbouring epoch was dropped");
                    }
                    Err(_) => {}
                }
                if let (Err(dropped), true) = (taken, self.trace) {
                    println!("{} {}: dropped {dropped:?} {header:?}", now.as_nanos(), self.name());
                }
                self.confirm_half_open();
            }
            Kind::Hello if self.side == 1 => self.take_hello(now, datagram, send),
            Kind::Reply if self.side == 0 => self.take_reply(now, datagram),
            Kind::Cookie if self.side == 0 => {
                if let Shaking::Opener { opener, .. } = &mut self.shaking
                    && opener.handle_cookie(&datagram.bytes).is_ok()
                {
                    send(Datagram { marked: false, peer: remote_of(0, 0), bytes: opener.hello().to_vec() });
                }
            }
            _ => {}
        }
    }

    /// A packet was accepted, which happens once; what a frame could not be held for may come again.
    fn note_accepted(&mut self, header: &Header) {
        let highest = self.highest.entry(header.path).or_default();
        *highest = (*highest).max(header.number);
        if header.kind == Kind::Data {
            let new = self.accepted.insert((header.path, header.number));
            assert!(new, "{}: packet {} was accepted twice", self.name(), header.number);
        }
    }

    /// The peer breaks the protocol with its own keys.
    pub(crate) fn hear_lie(&mut self, at: u64, lie: Lie) {
        let (Some(connection), Some(secrets), None) = (&mut self.connection, &self.secrets, &self.closed)
        else {
            return;
        };
        let Some(path) = connection.path_reports().next().filter(|_| !self.is_dead) else { return };
        let id = ConnectionId(100 + self.side as u32);
        let making = Making {
            secret: if self.side == 0 { &secrets.accept } else { &secrets.open },
            suite: self.plan.suite,
            connection: id,
            path: path.id,
            arrived: self.highest.get(&path.id).copied().unwrap_or(0),
            sent: &self.sent,
        };
        let Some(bytes) = lie.datagram(&self.crypto.unseen(), &making) else { return };
        let header = Header::decode(&bytes).expect("a header was made");
        let datagram = Datagram { peer: path.address.remote, marked: false, bytes };
        let now = self.clock.read(at);
        if connection.receive(&datagram.received(now, &header), &mut self.sink).is_ok() {
            self.lied_to = Some(lie);
            self.wake_at = Some(at);
        }
    }
}
