//! A shard: the part of a connection that another worker carries. It owns the bytes of some paths, stages 4 to 7, and decides nothing:
//! it seals what the connection planned, opens content into granted chunks, and tells what it placed. Whatever is not plain content
//! with a place goes to the connection as it came.

use crate::claim::Users;
use crate::connection::{
    Buffer, ChunkBytes, ChunkMemory, Dropped, Opener, Place, Received, Scratch, SendPlan, Transmit,
    check_size, on_grid, place_of,
};
use crate::crypto::{Crypto, OpenRing, SealRing, Suite};
use crate::incoming::Grant;
use crate::limits;
use crate::path::Address;
use crate::time::Time;
use crate::wire::{ATTEMPT_MASK, Header, Kind, PathId, TransferId};
use alloc::vec::Vec;
use core::ops::Range;

/// The keys of one path.
#[derive(Debug)]
pub struct ShardPath<C: Crypto> {
    id: PathId,
    seal: SealRing<C>,
    open: OpenRing<C>,
}

impl<C: Crypto> ShardPath<C> {
    pub(crate) fn new(crypto: &C, id: PathId, suite: Suite, seal: &[u8; 32], open: &[u8; 32]) -> Self {
        let (seal, open) = (SealRing::new(crypto, seal, suite, id), OpenRing::new(crypto, open, suite, id));
        ShardPath { id, seal, open }
    }
}

/// A run of packets with consecutive numbers on one path whose content is in its place; or, with no packet, an attempt that failed.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When the last of them was taken.
    pub(crate) at: Time,
    pub(crate) from: Address,
    /// Of the first packet.
    pub(crate) header: Header,
    pub(crate) count: u32,
    pub(crate) chunk: u32,
    /// One of them asks for an ACK.
    pub(crate) ask: bool,
    pub(crate) ce: bool,
    /// Payload bytes of the last; all others have those of the first.
    pub(crate) last_length: u16,
    /// Content bytes that are new.
    pub(crate) placed: u32,
    pub(crate) failed_opens: u32,
}

impl Arrival {
    /// The packet numbers.
    pub(crate) fn numbers(&self) -> Range<u64> {
        self.header.number..self.header.number + u64::from(self.count)
    }

    /// Puts `next` behind this run. False, and nothing happened, when it does not continue it.
    pub fn extend(&mut self, next: &Arrival) -> bool {
        let continues = self.count > 0
            && next.count == 1
            && self.numbers().end == next.header.number
            && self.last_length == self.header.length
            && (self.header.path, self.header.transfer, self.chunk, self.from, self.ce)
                == (next.header.path, next.header.transfer, next.chunk, next.from, next.ce);
        if continues {
            self.at = next.at;
            self.header.stamp = next.header.stamp;
            self.count += 1;
            self.ask |= next.ask;
            self.last_length = next.last_length;
            self.placed += next.placed;
        }
        continues
    }
}

/// What became of a datagram.
#[derive(Debug)]
pub enum Taken {
    /// The connection is to be told by [`Connection::arrived`](crate::connection::Connection::arrived).
    Arrived(Arrival),
    /// It is the connection's.
    Home,
}

/// One shard of a connection, for the one transfer on it.
#[derive(Debug)]
pub struct Shard<C: Crypto> {
    crypto: C,
    suite: Suite,
    transfer: TransferId,
    chunk_log2: u8,
    paths: Vec<ShardPath<C>>,
    /// Granted chunks, by number modulo the window.
    grants: Vec<Option<Grant>>,
    scratch: Scratch,
}

impl<C: Crypto> Shard<C> {
    /// Carries nothing yet.
    pub fn new(crypto: C, suite: Suite, transfer: TransferId, chunk_log2: u8) -> Self {
        let mut grants = Vec::new();
        grants.resize_with(limits::WINDOW_CHUNKS_MAX as usize, || None);
        let (paths, scratch) = (Vec::new(), Scratch::new());
        Shard { crypto, suite, transfer, chunk_log2, paths, grants, scratch }
    }

    /// Carries a path from now on.
    pub fn add_path(&mut self, path: ShardPath<C>) {
        self.paths.push(path);
    }

    /// Carries a path no longer.
    pub fn remove_path(&mut self, id: PathId) {
        self.paths.retain(|path| path.id != id);
    }

    /// Takes note of a chunk's grant, or that it has none any more.
    #[expect(clippy::indexing_slicing, reason = "a place for each chunk of the window")]
    pub fn set_grant(&mut self, chunk: u32, grant: Option<Grant>) {
        self.grants[(chunk % limits::WINDOW_CHUNKS_MAX) as usize] = grant;
    }

    /// Takes a DATA or CONTROL datagram of the connection.
    ///
    /// # Errors
    /// [`Dropped`], for counters: it cannot be of the connection.
    #[expect(clippy::indexing_slicing, reason = "a place for each chunk of the window")]
    pub fn receive(
        &mut self,
        arrival: &Received<'_>,
        memory: &mut impl ChunkMemory,
    ) -> Result<Taken, Dropped> {
        let Received { now, from, ce, header, datagram } = *arrival;
        check_size(header, datagram, self.suite)?;
        let Shard { crypto, suite, transfer, chunk_log2, paths, grants, scratch } = self;
        let Some(path) = paths.iter_mut().find(|p| p.id == header.path) else { return Ok(Taken::Home) };
        if header.kind != Kind::Data || header.transfer != *transfer {
            return Ok(Taken::Home);
        }
        let (chunk, range) = place_of(header, *chunk_log2);
        let grant = &grants[(chunk % limits::WINDOW_CHUNKS_MAX) as usize];
        let of_attempt = |g: &&Grant| g.chunk == chunk && g.attempt & ATTEMPT_MASK == header.attempt;
        let Some(grant) = grant.as_ref().filter(of_attempt) else { return Ok(Taken::Home) };
        let end = grant.stored_len.unwrap_or(grant.capacity);
        if range.end > end || !on_grid(&range, end, grant.stored_len.is_none()) {
            return Ok(Taken::Home);
        }
        let (sealed, number) = (suite.seals_data(), header.number);
        if sealed && path.open.key(number).is_none() {
            // Control packets, which the connection opens, moved the epochs on.
            return Ok(Taken::Home);
        }
        let (claims, capacity) = (grant.claims.by(Users::Several), grant.capacity);
        let place = Place { claims, buffer: Buffer { transfer: *transfer, chunk, capacity }, range };
        let scratch = scratch.of(header);
        let opener = Opener { crypto, keys: &path.open, sealed, number, datagram };
        let mut failed_opens = 0;
        let placed = place.open(&opener, scratch, &mut failed_opens, memory);
        if placed.is_ok() && sealed {
            path.open.authenticated(crypto, number);
        }
        Ok(Taken::Arrived(Arrival {
            at: now,
            from,
            header: *header,
            count: u32::from(placed.is_ok()),
            chunk,
            ask: header.ask,
            ce,
            last_length: header.length,
            placed: placed.unwrap_or(0),
            failed_opens: failed_opens as u32,
        }))
    }

    /// Seals a planned train into `frame`, which holds [`limits::DATAGRAM_MAX`] bytes. `None` when its path is not carried any more.
    pub fn seal(&mut self, plan: &SendPlan, frame: &mut [u8], content: &impl ChunkBytes) -> Option<Transmit> {
        let path = self.paths.iter_mut().find(|p| p.id == plan.path())?;
        Some(plan.seal(&self.crypto, &mut path.seal, frame, content))
    }
}
