//! The script: operations read from an input, one after another, and what the peer makes of each.

mod speech;

use super::Role;
use super::end::{CHUNK_LOG2, End, Setup, TRANSFER};
use super::memory::stored;
use super::peer::{PEER_ID, Peer};
use arbitrary::{Result, Unstructured};
use std::time::Duration;
use xfer_proto::cc::Algorithm;
use xfer_proto::connection::Side;
use xfer_proto::crypto::Suite;
use xfer_proto::limits;
use xfer_proto::path::Address;
use xfer_proto::time::Time;
use xfer_proto::wire::{CloseCode, Frame, Header, Kind, PathId};

/// Operations of one input.
const OPERATIONS_MAX: usize = 400;
/// Paths that a script names.
const PATHS: u16 = 4;
/// Addresses that a peer has.
const ADDRESSES: u8 = 4;
/// Chunks that a script names.
const CHUNKS: u8 = 12;
/// Content of one packet.
const PAYLOAD: u32 = 1_280;
/// Connections of one script.
const RUNS_MAX: u8 = 3;

/// Plays the script to the end's end, and returns what there is then.
pub(super) fn play(role: Role, u: &mut Unstructured<'_>) -> Result<End> {
    let setup = setup(role, u)?;
    let start = Time::from_nanos(1_000_000_000);
    let mut script =
        Script { end: End::new(setup, start, 0), run: 0, pages: 0, attempts: [0; CHUNKS as usize] };
    script.end.receiver.plain = !setup.suite.seals_data();
    script.end.settle();
    for _ in 0..OPERATIONS_MAX {
        if u.is_empty() {
            break;
        }
        script.operation(u)?;
        script.end.settle();
    }
    script.fade();
    Ok(script.end)
}

fn setup(role: Role, u: &mut Unstructured<'_>) -> Result<Setup> {
    let byte = u.arbitrary::<u8>()?;
    let rates = [
        Algorithm::Bbr,
        Algorithm::Cubic,
        Algorithm::Ledbat,
        Algorithm::Fixed { bytes_per_second: 10_000_000 },
    ];
    Ok(Setup {
        role,
        side: if byte & 1 == 0 { Side::Acceptor } else { Side::Opener },
        suite: if byte & 2 == 0 { Suite::Aes128Gcm } else { Suite::Plain },
        algorithm: rates[usize::from(byte >> 2 & 3)],
        rekey_after: (byte & 16 != 0 && byte & 2 == 0).then_some(40),
    })
}

struct Script {
    end: End,
    /// Connections before this one.
    run: u8,
    /// Pages that the peer made.
    pages: u32,
    /// Attempt of each chunk that the peer sends.
    attempts: [u8; CHUNKS as usize],
}

impl Script {
    fn operation(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.arbitrary::<u8>()? % 24 {
            0 => self.wait(u)?,
            1..=3 => self.data(u, false)?,
            4 => self.data(u, true)?,
            5 | 6 => self.fill(u)?,
            7 => self.entry(u)?,
            8 => self.page(u)?,
            9 | 10 => self.stream(u)?,
            11 => self.acknowledge(u)?,
            12 => self.window(u)?,
            13 => self.decide(u)?,
            14 => self.message(u)?,
            15 => self.raw_message(u)?,
            16 => self.frames(u)?,
            17 => self.raw_frames(u)?,
            18 => self.replay(u)?,
            19 => self.forge(u)?,
            20 => self.answer(u)?,
            21 => self.paths(u)?,
            22 => self.application(u)?,
            _ => self.restart(u)?,
        }
        Ok(())
    }

    /// Time goes by until the connection ends: whatever happened, it does.
    fn fade(&mut self) {
        let most = self.end.now + 2 * limits::IDLE;
        while !self.end.is_over() && self.end.now < most {
            self.end.now = self.end.connection.next_timeout().max(self.end.now + Duration::from_micros(1));
            self.end.settle();
        }
        assert!(self.end.is_over(), "an end that hears nothing does not end");
    }

    fn wait(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let byte = u.arbitrary::<u8>()?;
        let nanos = match byte {
            0..64 => u64::from(byte) * 1_000,
            64..192 => u64::from(byte - 63) * 200_000,
            192..250 => u64::from(byte - 191) * 20_000_000,
            _ => 3_000_000_000,
        };
        let until = self.end.now + Duration::from_nanos(nanos);
        while self.end.connection.next_timeout() <= until && !self.end.is_over() {
            self.end.now = self.end.connection.next_timeout().max(self.end.now + Duration::from_nanos(1));
            self.end.settle();
        }
        self.end.now = self.end.now.max(until);
        Ok(())
    }

    fn path(&self, u: &mut Unstructured<'_>) -> Result<u16> {
        let byte = u.arbitrary::<u8>()?;
        Ok(if byte < 200 { 0 } else { u16::from(byte) % PATHS })
    }

    /// Where packets of a path come from, if nothing else is said.
    const fn home(path: u16) -> u8 {
        1 + path as u8 % ADDRESSES
    }

    fn header(&mut self, kind: Kind, path: u16, skip: u64) -> Header {
        let mut header = Header::new(kind);
        header.path = PathId(path);
        header.number = self.end.peer.number(path, skip);
        header.stamp = self.end.now.as_stamp();
        header
    }

    fn deliver(&mut self, datagram: &[u8], path: u16) {
        self.end.arrive(datagram, datagram.len().max(1), Self::home(path), false);
    }

    /// Content at some place of some chunk: honest, made up, or cut; as a single packet or a train.
    fn data(&mut self, u: &mut Unstructured<'_>, strange: bool) -> Result<()> {
        let (path, chunk) = (self.path(u)?, u32::from(u.arbitrary::<u8>()? % CHUNKS));
        let mut offset = u32::from(u.arbitrary::<u8>()?) * 256;
        let mut len = u32::from(u.arbitrary::<u8>()? % 80 + 1) * 16;
        let mut attempt = self.attempts[chunk as usize];
        let mut made_up = false;
        let mut train = 1 + u32::from(u.arbitrary::<u8>()? % 8);
        if strange {
            let byte = u.arbitrary::<u8>()?;
            made_up = byte & 1 != 0;
            offset += u32::from(byte >> 1 & 15);
            len = (len + u32::from(byte >> 5)).min(PAYLOAD);
            attempt = attempt.wrapping_add(u.arbitrary::<u8>()? % 8);
            train = 1;
        }
        let mut datagrams = Vec::new();
        let mut segment = 0;
        for i in 0..train {
            let at = offset + i * len;
            let datagram = self.content(path, chunk, attempt, at, len, made_up);
            segment = segment.max(datagram.len());
            datagrams.extend_from_slice(&datagram);
        }
        self.end.arrive(&datagrams, segment, Self::home(path), u.arbitrary::<u8>()? < 8);
        Ok(())
    }

    fn content(&mut self, path: u16, chunk: u32, attempt: u8, at: u32, len: u32, made_up: bool) -> Vec<u8> {
        let mut header = self.header(Kind::Data, path, 0);
        header.transfer = TRANSFER;
        header.attempt = attempt & 7;
        header.offset = (u64::from(chunk) << CHUNK_LOG2) + u64::from(at);
        let mut bytes = stored(chunk, attempt, at..at + len);
        if made_up {
            bytes[0] ^= 1;
            self.end.receiver.made_up.insert((chunk, attempt & 7));
        }
        // A packet that ends off the grid before the chunk does counts for bytes that it does not bring.
        if !(at + len).is_multiple_of(16) && at + len != self.plain_len(chunk) {
            self.end.receiver.made_up.insert((chunk, attempt & 7));
        }
        // A packet that runs over the end of its chunk may be placed in the next one, for which its bytes are made up.
        if at + len > 1 << CHUNK_LOG2 {
            self.end.receiver.made_up.insert((chunk + 1, attempt & 7));
        }
        self.end.peer.seal(&header, &bytes)
    }

    /// All of a chunk, or a part of it, in packets that follow each other.
    fn fill(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (path, chunk) = (self.path(u)?, u32::from(u.arbitrary::<u8>()? % CHUNKS));
        let (attempt, plain) = (self.attempts[chunk as usize], self.plain_len(chunk));
        let part = u.arbitrary::<u8>()?;
        let start = if part < 200 { 0 } else { plain / 2 / 16 * 16 };
        for at in (start..plain).step_by(PAYLOAD as usize) {
            let datagram = self.content(path, chunk, attempt, at, PAYLOAD.min(plain - at), false);
            self.deliver(&datagram, path);
        }
        Ok(())
    }

    fn plain_len(&self, chunk: u32) -> u32 {
        self.end.receiver.space.plain_len(chunk)
    }

    fn control(&mut self, path: u16, payload: &[u8]) {
        let header = self.header(Kind::Control, path, 0);
        let datagram = self.end.peer.seal(&header, payload);
        self.deliver(&datagram, path);
    }

    /// A datagram that was sent before: as it was, changed, or cut, from wherever.
    fn replay(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (back, byte) = (usize::from(u.arbitrary::<u8>()?), u.arbitrary::<u8>()?);
        let kept = &self.end.peer.kept;
        let Some(mut datagram) =
            kept.len().checked_sub(1 + back % kept.len().max(1)).map(|i| kept[i].clone())
        else {
            return Ok(());
        };
        let sealed = self.end.setup.suite.seals_data();
        match byte % 4 {
            1 if sealed => {
                let at = usize::from(u.arbitrary::<u16>()?) % datagram.len();
                datagram[at] ^= 1 << (byte >> 5);
            }
            2 => datagram.truncate(usize::from(u.arbitrary::<u16>()?) % datagram.len()),
            _ => {}
        }
        let from = byte >> 2 & 7;
        self.end.arrive(&datagram, datagram.len().max(1), from % ADDRESSES, false);
        Ok(())
    }

    /// Any bytes behind the end's connection id, from somebody without a key.
    fn forge(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let byte = u.arbitrary::<u8>()?;
        let kind =
            if byte & 1 == 0 && self.end.setup.suite.seals_data() { Kind::Data } else { Kind::Control };
        let mut header = Header::new(kind);
        header.connection = super::peer::END_ID;
        header.path = PathId(u.arbitrary::<u16>()? % 64);
        header.number = u.arbitrary::<u64>()? >> u.int_in_range(0..=63)?;
        header.transfer = TRANSFER;
        header.offset = u64::from(u.arbitrary::<u32>()?) & 0xffff_fff0;
        let len = usize::from(u.arbitrary::<u8>()?).min(u.len());
        let bytes = u.bytes(len)?;
        header.length = (len.saturating_sub(16)) as u16;
        let datagram = [&header.encode()[..], bytes].concat();
        self.end.arrive(&datagram, datagram.len(), byte % ADDRESSES, false);
        Ok(())
    }

    /// Answers the challenge that a path's packets brought.
    fn answer(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let path = u16::from(u.arbitrary::<u8>()?) % PATHS;
        let challenge = self.end.peer.ways.get_mut(&path).and_then(|way| way.challenge.take());
        let Some(token) = challenge else { return Ok(()) };
        let from = u.arbitrary::<u8>()?;
        let payload = Peer::payload(&[Frame::PathResponse { token, connection: PEER_ID }]);
        let header = self.header(Kind::Control, path, 0);
        let datagram = self.end.peer.seal(&header, &payload);
        let from = if from < 200 { Self::home(path) } else { from % ADDRESSES };
        self.end.arrive(&datagram, datagram.len(), from, false);
        Ok(())
    }

    /// Paths come, fail and return; datagrams are too big.
    fn paths(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let byte = u.arbitrary::<u8>()?;
        let path = u16::from(byte >> 3) % PATHS;
        let now = self.end.now;
        let End { connection, setup, .. } = &mut self.end;
        match byte % 6 {
            0 if setup.side == Side::Opener => {
                let address = Address { remote: super::end::address(Self::home(path)), local: None };
                _ = connection.open_path(now, address);
            }
            0 | 1 => {
                let token = [byte; 8];
                let mut payload = Peer::payload(&[Frame::PathChallenge { token, connection: PEER_ID }]);
                payload.resize(limits::DATAGRAM_MIN - 48, 0);
                self.control(path, &payload);
            }
            2 => connection.path_failed(now, PathId(path)),
            3 => connection.path_restored(now, PathId(path)),
            4 => connection.datagram_too_big(now, PathId(path), Some(u.arbitrary()?)),
            _ => connection.datagram_too_big(now, PathId(path), None),
        }
        Ok(())
    }

    /// The end's own applications get on.
    fn application(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let byte = u.arbitrary::<u8>()?;
        match byte % 8 {
            0..=4 => self.end.receiver.answers += u32::from(byte >> 3),
            5 => {
                (self.end.receiver.answers, self.end.receiver.rejects) = (1, 1);
            }
            6 => self.end.sender.shorter = u.arbitrary::<u16>()?.into(),
            _ => {
                if byte > 240 {
                    self.end.connection.close(self.end.now, CloseCode::Cancelled, "enough");
                }
            }
        }
        Ok(())
    }

    /// The end starts anew under other keys; what was sent to the one before still arrives.
    fn restart(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if u.arbitrary::<u8>()? > 40 || self.run >= RUNS_MAX {
            return Ok(());
        }
        self.run += 1;
        let kept = std::mem::take(&mut self.end.peer.kept);
        let setup = self.end.setup;
        self.end = End::new(setup, self.end.now, self.run);
        self.end.receiver.plain = !setup.suite.seals_data();
        (self.pages, self.attempts) = (0, [0; CHUNKS as usize]);
        for datagram in kept {
            let control = Header::decode(&datagram).is_ok_and(|header| header.kind == Kind::Control);
            self.deliver(&datagram, 0);
            let accepted = self.end.peer.ways.values().any(|way| !way.accepted.is_empty());
            assert!(!(accepted && control), "a packet of another connection is accepted");
        }
        Ok(())
    }
}
