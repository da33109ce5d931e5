//! What a connection and its shards tell each other: which paths a shard carries, what it placed, which chunks are granted.

use super::receive::Received;
use super::{Connection, State};
use crate::crypto::Crypto;
use crate::incoming::Grant;
use crate::limits;
use crate::shard::{Arrival, ShardPath};
use crate::wire::{ConnectionId, Kind, PathId, TransferId};
use alloc::vec::Vec;

impl<C: Crypto> Connection<C> {
    /// The connection has shards: `ids` are the ids in packets to them, this end's own first. Called before any path but the first is
    /// opened. Each path needs [`Connection::assign`].
    pub fn set_shards(&mut self, ids: Vec<ConnectionId>) {
        assert!(ids.first() == Some(&self.local_id) && ids.len() <= limits::SHARDS_MAX);
        self.shard_ids = ids;
    }

    /// The id that packets of path `id` to this end carry.
    #[expect(
        clippy::indexing_slicing,
        reason = "a remainder is below the length, and this end's own id is always there"
    )]
    pub(super) fn id_for(&self, id: PathId) -> ConnectionId {
        self.shard_ids[usize::from(id.0) % self.shard_ids.len()]
    }

    /// Gives a new path to the shard that its id names; returns path and shard, 0 for the connection itself. `None` when none is new.
    pub fn assign(&mut self) -> Option<(PathId, u8)> {
        let shards = self.shard_ids.len();
        let path = self.paths.iter_mut().find(|p| p.shard.is_none())?;
        let shard = (usize::from(path.id.0) % shards) as u8;
        path.shard = Some(shard);
        Some((path.id, shard))
    }

    /// What a shard needs to carry path `id`.
    pub fn shard_path(&self, id: PathId) -> ShardPath<C> {
        let (seal_secret, open_secret) = self.direction_secrets();
        ShardPath::new(&self.crypto, id, self.suite, seal_secret, open_secret)
    }

    /// Whether path `id` is known: an abandoned one is not.
    pub fn knows_path(&self, id: PathId) -> bool {
        self.path_index(id).is_some()
    }

    /// From now on [`Connection::next_grant_news`] tells which chunks of `transfer` shards may take content for.
    pub fn share_grants(&mut self, transfer: TransferId) {
        if let Some(incoming) = self.incoming(transfer) {
            incoming.share();
        }
    }

    /// The next chunk whose grant shards are to be told of; `None` for the grant when it has none any more.
    pub fn next_grant_news(&mut self, transfer: TransferId) -> Option<(u32, Option<Grant>)> {
        self.incoming(transfer)?.next_news()
    }

    /// Takes what a shard placed, or failed to.
    pub fn arrived(&mut self, arrival: &Arrival) {
        self.counters.failed_opens += u64::from(arrival.failed_opens);
        self.check_failed_opens(arrival.at);
        match &mut self.state {
            State::Open | State::Unconfirmed => {
                if let Some(incoming) = self.incoming(arrival.header.transfer) {
                    incoming.note_full(arrival.chunk);
                    self.collect_full();
                }
                self.count_arrival(arrival);
            }
            State::Closing(_) => self.answer_with_close(),
            State::Answering(_) | State::Over => {}
        }
    }

    fn count_arrival(&mut self, arrival: &Arrival) {
        let mut header = arrival.header;
        debug_assert!(header.kind == Kind::Data);
        let Some(i) = self.path_index(header.path) else { return };
        if arrival.count > 0 && self.is_too_far(i, &header) {
            return;
        }
        self.paths[i].counters.content_received += u64::from(arrival.placed);
        for number in arrival.numbers() {
            if !self.paths[i].received.is_new(number) {
                self.counters.duplicates += 1;
                continue;
            }
            let last = number + 1 == arrival.numbers().end;
            header.number = number;
            header.ask = arrival.ask && last;
            header.length = if last { arrival.last_length } else { arrival.header.length };
            let (now, from, ce) = (arrival.at, arrival.from, arrival.ce);
            self.authenticated(i, &Received { now, from, ce, header: &header, datagram: &[] }, true, true);
        }
    }
}
