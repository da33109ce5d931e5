//! The fixed table of handshakes that were answered but not yet confirmed. All its memory but the REPLYs is taken at
//! the start; a slot is taken only by a HELLO whose Noise message opened.

use super::noise::Noise;
use crate::crypto::TicketId;
use crate::time::Time;
use crate::wire::ConnectionId;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Names one half-open handshake; stays harmless after that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HalfOpen {
    slot: u32,
    generation: u32,
}

/// One handshake between its HELLO and the first packet under its keys.
pub(super) struct Shaking {
    pub(super) ticket: TicketId,
    pub(super) source: SocketAddr,
    pub(super) deadline: Time,
    /// SHA-256 of the HELLO's Noise message, to know it again.
    pub(super) hello_digest: [u8; 32],
    /// Bytes of the HELLO's datagram; the REPLY is no longer.
    pub(super) hello_len: usize,
    /// The id by which the opener wants to be called.
    pub(super) connection: ConnectionId,
    /// Until the reply is written.
    pub(super) noise: Option<Noise>,
    /// The REPLY's datagram, kept for repeats; empty before.
    pub(super) reply: Vec<u8>,
}

struct Slot {
    generation: u32,
    shaking: Option<Shaking>,
}

pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Table {
    #[expect(clippy::expect_used, reason = "the operator's number, at the start")]
    pub(super) fn new(slots: usize) -> Self {
        let end = u32::try_from(slots).expect("far below 2^32 slots");
        Table {
            slots: (0..slots).map(|_| Slot { generation: 0, shaking: None }).collect(),
            free: (0..end).rev().collect(),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) const fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    pub(super) const fn is_half_full(&self) -> bool {
        self.len() * 2 >= self.slots.len()
    }

    /// Takes a slot; the caller has seen that the table is not full.
    #[expect(
        clippy::indexing_slicing,
        clippy::expect_used,
        reason = "the caller has seen that a slot is free, and the free ones are slots"
    )]
    pub(super) fn insert(&mut self, shaking: Shaking) -> HalfOpen {
        let index = self.free.pop().expect("the table is not full");
        let slot = &mut self.slots[index as usize];
        slot.shaking = Some(shaking);
        HalfOpen { slot: index, generation: slot.generation }
    }

    pub(super) fn get(&self, handle: HalfOpen) -> Option<&Shaking> {
        let slot = self.slots.get(handle.slot as usize)?;
        slot.shaking.as_ref().filter(|_| slot.generation == handle.generation)
    }

    pub(super) fn get_mut(&mut self, handle: HalfOpen) -> Option<&mut Shaking> {
        let slot = self.slots.get_mut(handle.slot as usize)?;
        slot.shaking.as_mut().filter(|_| slot.generation == handle.generation)
    }

    pub(super) fn remove(&mut self, handle: HalfOpen) -> Option<Shaking> {
        let slot = self.slots.get_mut(handle.slot as usize)?;
        if slot.generation != handle.generation {
            return None;
        }
        let shaking = slot.shaking.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(handle.slot);
        Some(shaking)
    }

    /// Every handshake in the table.
    pub(super) fn iter(&self) -> impl Iterator<Item = (HalfOpen, &Shaking)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| {
            let shaking = slot.shaking.as_ref()?;
            Some((HalfOpen { slot: index, generation: slot.generation }, shaking))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn shaking(ticket: u8) -> Shaking {
        Shaking {
            ticket: TicketId([ticket; 16]),
            source: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            deadline: Time::default(),
            hello_digest: [0; 32],
            hello_len: 1_200,
            connection: ConnectionId(1),
            noise: None,
            reply: Vec::new(),
        }
    }

    #[test]
    fn half_full_and_full_at_the_right_counts() {
        for (slots, half, full) in [(0, 0, 0), (1, 1, 1), (2, 1, 2), (3, 2, 3), (4, 2, 4)] {
            let mut table = Table::new(slots);
            for len in 0..=slots {
                assert_eq!((table.len(), table.is_half_full()), (len, len >= half), "{slots}");
                assert_eq!(table.is_full(), len >= full, "{slots}");
                if len < slots {
                    table.insert(shaking(len as u8));
                }
            }
        }
    }

    #[test]
    fn a_handle_dies_with_its_handshake() {
        let mut table = Table::new(1);
        let first = table.insert(shaking(1));
        assert_eq!(table.remove(first).map(|s| s.ticket), Some(TicketId([1; 16])));
        let second = table.insert(shaking(2));
        assert_ne!(first, second);
        assert!(table.get(first).is_none() && table.get_mut(first).is_none());
        assert!(table.remove(first).is_none());
        assert_eq!(table.get(second).map(|s| s.ticket), Some(TicketId([2; 16])));
        assert_eq!(table.iter().count(), 1);
    }
}
