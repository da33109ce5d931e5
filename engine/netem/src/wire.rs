//! Packets under way: kept until they are due, given back in the order of their arrival.
//!
//! Generic over the packet, so that the simulation keeps bytes and the lab its buffers.

use alloc::collections::BinaryHeap;
use core::cmp::{Ordering, Reverse};

/// The wire holds as many packets as it may; the packet comes back.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

struct Flight<T> {
    at_ns: u64,
    order: u64,
    packet: T,
}

impl<T> PartialEq for Flight<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Flight<T> {}

impl<T> PartialOrd for Flight<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Flight<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_ns, self.order).cmp(&(other.at_ns, other.order))
    }
}

/// A bounded queue of packets by time of arrival; packets of one instant leave in the order they came.
pub struct Wire<T> {
    flights: BinaryHeap<Reverse<Flight<T>>>,
    next_order: u64,
    packets_max: usize,
}

impl<T> Wire<T> {
    /// A wire that holds at most `packets_max` packets.
    #[must_use]
    pub fn new(packets_max: usize) -> Self {
        Self { flights: BinaryHeap::new(), next_order: 0, packets_max }
    }

    /// Keeps a packet until `at_ns`.
    ///
    /// # Errors
    /// [`Full`] with the packet, when the wire holds its maximum.
    pub fn push(&mut self, at_ns: u64, packet: T) -> Result<(), Full<T>> {
        if self.flights.len() >= self.packets_max {
            return Err(Full(packet));
        }
        self.flights.push(Reverse(Flight { at_ns, order: self.next_order, packet }));
        self.next_order += 1;
        Ok(())
    }

    /// When the first packet is due, ns.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        self.flights.peek().map(|Reverse(flight)| flight.at_ns)
    }

    /// The next packet that is due at `now_ns` or before, with its own time.
    pub fn pop_due(&mut self, now_ns: u64) -> Option<(u64, T)> {
        if self.next_due_ns()? > now_ns {
            return None;
        }
        self.flights.pop().map(|Reverse(flight)| (flight.at_ns, flight.packet))
    }

    /// Takes everything off the wire, in no order, and says what it was.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.flights.drain().map(|Reverse(flight)| flight.packet)
    }

    /// Packets under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn bounded_at_its_limit() {
        let mut none = Wire::new(0);
        assert_eq!(none.push(1, 'x'), Err(Full('x')));
        let mut wire = Wire::new(2);
        assert!(wire.is_empty());
        assert_eq!(
            (wire.push(5, 'a'), wire.push(5, 'b'), wire.push(5, 'c')),
            (Ok(()), Ok(()), Err(Full('c')))
        );
        assert_eq!(wire.pop_due(5), Some((5, 'a')));
        assert_eq!(wire.push(5, 'c'), Ok(()));
        assert_eq!(wire.len(), 2);
    }

    #[test]
    fn due_at_its_instant_not_before() {
        let mut wire = Wire::new(8);
        assert_eq!((wire.next_due_ns(), wire.pop_due(u64::MAX)), (None, None));
        for (at, name) in [(20, 'c'), (10, 'a'), (20, 'd'), (10, 'b')] {
            wire.push(at, name).unwrap();
        }
        assert_eq!(wire.next_due_ns(), Some(10));
        assert_eq!(wire.pop_due(9), None);
        let order: Vec<_> = core::iter::from_fn(|| wire.pop_due(20)).collect();
        assert_eq!(order, [(10, 'a'), (10, 'b'), (20, 'c'), (20, 'd')]);
    }

    #[test]
    fn drained_wires_are_empty() {
        let mut wire = Wire::new(8);
        wire.push(1, 'a').unwrap();
        assert_eq!(wire.drain().count(), 1);
        assert!(wire.is_empty());
    }
}
