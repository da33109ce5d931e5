//! Who takes what arrives for a connection id: the driver of a connection that lives here, or the shard of one that lives elsewhere.

use super::shard::ShardSeat;
use crate::transfer::Driver;
use std::collections::{BTreeMap, HashMap};
use xfer_proto::path::Address;
use xfer_proto::time::Time;
use xfer_proto::wire::Header;

/// A driver and whether it has something to do.
pub(super) struct Seat {
    pub(super) driver: Driver,
    pub(super) dirty: bool,
}

impl Seat {
    /// Takes one datagram. Whether it was the first under the connection's keys.
    pub(super) fn receive(
        &mut self,
        now: Time,
        from: Address,
        ce: bool,
        header: &Header,
        datagram: &[u8],
    ) -> bool {
        let was_established = self.driver.is_established();
        if let Err(why) = self.driver.receive(now, from, ce, header, datagram) {
            tracing::trace!(?why, "dropped a datagram");
        }
        self.dirty = true;
        !was_established && self.driver.is_established()
    }
}

/// Who takes the datagrams of a connection id.
pub(super) enum Owner<'a> {
    Seat(&'a mut Seat),
    Shard(&'a mut ShardSeat),
    Nobody,
}

impl<'a> Owner<'a> {
    pub(super) fn of(
        id: u32,
        by_id: &HashMap<u32, u32>,
        seats: &'a mut BTreeMap<u32, Seat>,
        shards: &'a mut HashMap<u32, ShardSeat>,
    ) -> Self {
        match by_id.get(&id) {
            Some(key) => seats.get_mut(key).map_or(Owner::Nobody, Owner::Seat),
            None => shards.get_mut(&id).map_or(Owner::Nobody, Owner::Shard),
        }
    }

    /// Takes at once what it can from the front of a train, of `segment` bytes each. How many packets; none that may be the first under
    /// the connection's keys.
    pub(super) fn receive_train(
        &mut self,
        now: Time,
        from: Address,
        ce: bool,
        segment: usize,
        datagrams: &[u8],
    ) -> usize {
        match self {
            Owner::Seat(seat) if seat.driver.is_established() => {
                let taken = seat.driver.receive_train(now, from, ce, segment, datagrams);
                seat.dirty |= taken > 0;
                taken
            }
            _ => 0,
        }
    }

    /// Takes one datagram. Whether it was the first under the connection's keys.
    pub(super) fn receive(
        &mut self,
        now: Time,
        from: Address,
        ce: bool,
        header: &Header,
        datagram: &[u8],
    ) -> bool {
        match self {
            Owner::Seat(seat) => return seat.receive(now, from, ce, header, datagram),
            Owner::Shard(shard) => shard.receive(now, from, ce, header, datagram),
            Owner::Nobody => {}
        }
        false
    }
}
