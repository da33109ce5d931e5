//! The keys of one direction of one path, moving on with its packet numbers (PROTOCOL.md#keys).
//!
//! Each epoch costs one derivation, made one epoch ahead, so that no packet waits for more than that.

use super::{Crypto, Suite, epoch, packet_key, wipe};
use crate::wire::PathId;
use core::fmt;

struct Source {
    secret: [u8; 32],
    suite: Suite,
    path: PathId,
}

impl Source {
    fn key<C: Crypto>(&self, crypto: &C, epoch: u64) -> C::Key {
        packet_key(crypto, &self.secret, self.suite, self.path, epoch)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        wipe(&mut self.secret);
    }
}

/// Keys to open what arrives: of the highest epoch that authenticated, and of its two neighbours.
pub struct OpenRing<C: Crypto> {
    source: Source,
    epoch: u64,
    previous: Option<C::Key>,
    current: C::Key,
    next: C::Key,
}

impl<C: Crypto> OpenRing<C> {
    /// Keys for packets on `path` of the end whose direction's secret this is; starts at epoch 0.
    pub fn new(crypto: &C, secret: &[u8; 32], suite: Suite, path: PathId) -> Self {
        let source = Source { secret: *secret, suite, path };
        let (current, next) = (source.key(crypto, 0), source.key(crypto, 1));
        OpenRing { source, epoch: 0, previous: None, current, next }
    }

    /// The key for packet `number`; `None` when its epoch is too far off, and the packet is dropped.
    pub fn key(&self, number: u64) -> Option<&C::Key> {
        let wanted = epoch(number);
        if wanted == self.epoch {
            Some(&self.current)
        } else if wanted == self.epoch + 1 {
            Some(&self.next)
        } else if wanted + 1 == self.epoch {
            self.previous.as_ref()
        } else {
            None
        }
    }

    /// Packet `number` was authentic: moves on when it is the first of the next epoch.
    pub fn authenticated(&mut self, crypto: &C, number: u64) {
        if epoch(number) == self.epoch + 1 {
            self.epoch += 1;
            let after = self.source.key(crypto, self.epoch + 1);
            let current = core::mem::replace(&mut self.next, after);
            self.previous = Some(core::mem::replace(&mut self.current, current));
        }
    }

    /// The highest epoch that authenticated.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl<C: Crypto> fmt::Debug for OpenRing<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenRing")
            .field("path", &self.source.path)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// Keys to seal what leaves: of the current epoch, and of the next one.
pub struct SealRing<C: Crypto> {
    source: Source,
    epoch: u64,
    current: C::Key,
    next: C::Key,
}

impl<C: Crypto> SealRing<C> {
    /// Keys for packets on `path` of this end, whose direction's secret this is; starts at epoch 0.
    pub fn new(crypto: &C, secret: &[u8; 32], suite: Suite, path: PathId) -> Self {
        let source = Source { secret: *secret, suite, path };
        let (current, next) = (source.key(crypto, 0), source.key(crypto, 1));
        SealRing { source, epoch: 0, current, next }
    }

    /// The key for packet `number`. Numbers only rise; one of an earlier epoch is a bug and panics. A ring that did not see all numbers of
    /// its path may leave epochs out.
    pub fn key(&mut self, crypto: &C, number: u64) -> &C::Key {
        let wanted = epoch(number);
        if wanted != self.epoch {
            assert!(wanted > self.epoch, "packet {number} sealed in epoch {}", self.epoch);
            if wanted > self.epoch + 1 {
                self.next = self.source.key(crypto, wanted);
            }
            self.epoch = wanted;
            let after = self.source.key(crypto, wanted + 1);
            self.current = core::mem::replace(&mut self.next, after);
        }
        &self.current
    }
}

impl<C: Crypto> fmt::Debug for SealRing<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealRing")
            .field("path", &self.source.path)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const EDGE: u64 = 1 << 22;

    /// Its keys are their own names: the bytes that were derived.
    struct Names;

    impl Crypto for Names {
        type Key = Vec<u8>;

        fn key(&self, _: Suite, key: &[u8], iv: [u8; 12]) -> Vec<u8> {
            [key, &iv].concat()
        }

        fn seal(&self, _: &Vec<u8>, _: u64, _: &[u8], _: &[u8], _: &mut [u8]) {}

        fn open(&self, _: &Vec<u8>, _: u64, _: &[u8], _: &[u8], _: &mut [u8]) -> bool {
            false
        }
    }

    fn name(epoch: u64) -> Vec<u8> {
        packet_key(&Names, &[7; 32], Suite::Aes128Gcm, PathId(3), epoch)
    }

    fn open_ring() -> OpenRing<Names> {
        OpenRing::new(&Names, &[7; 32], Suite::Aes128Gcm, PathId(3))
    }

    #[test]
    fn first_epoch_opens_itself_and_the_next() {
        let ring = open_ring();
        for number in [0, 1, EDGE - 1] {
            assert_eq!(ring.key(number), Some(&name(0)));
        }
        for number in [EDGE, EDGE + 1, 2 * EDGE - 1] {
            assert_eq!(ring.key(number), Some(&name(1)));
        }
        for number in [2 * EDGE, 3 * EDGE, u64::MAX] {
            assert_eq!(ring.key(number), None);
        }
    }

    #[test]
    fn only_an_authentic_packet_moves_the_ring_on() {
        let mut ring = open_ring();
        ring.authenticated(&Names, EDGE - 1);
        assert_eq!((ring.epoch(), ring.key(2 * EDGE)), (0, None));
        ring.authenticated(&Names, EDGE);
        assert_eq!(ring.epoch(), 1);
        assert_eq!(ring.key(EDGE - 1), Some(&name(0)));
        assert_eq!(ring.key(EDGE), Some(&name(1)));
        assert_eq!(ring.key(2 * EDGE), Some(&name(2)));
        assert_eq!(ring.key(3 * EDGE), None);
        ring.authenticated(&Names, 2 * EDGE);
        assert_eq!(ring.key(EDGE - 1), None);
        assert_eq!(ring.key(2 * EDGE - 1), Some(&name(1)));
        assert_eq!(ring.key(3 * EDGE), Some(&name(3)));
    }

    #[test]
    fn a_late_packet_of_the_epoch_before_does_not_move_the_ring_back() {
        let mut ring = open_ring();
        ring.authenticated(&Names, EDGE);
        ring.authenticated(&Names, EDGE - 1);
        assert_eq!(ring.epoch(), 1);
    }

    #[test]
    fn sealing_follows_the_numbers() {
        let mut ring = SealRing::new(&Names, &[7; 32], Suite::Aes128Gcm, PathId(3));
        for (number, epoch) in [(0, 0), (EDGE - 1, 0), (EDGE, 1), (EDGE + 1, 1), (2 * EDGE, 2), (3 * EDGE, 3)]
        {
            assert_eq!(*ring.key(&Names, number), name(epoch), "{number}");
        }
    }

    #[test]
    #[should_panic(expected = "sealed in epoch 1")]
    fn sealing_in_an_earlier_epoch_is_a_bug() {
        let mut ring = SealRing::new(&Names, &[7; 32], Suite::Aes128Gcm, PathId(3));
        ring.key(&Names, EDGE);
        ring.key(&Names, EDGE - 1);
    }

    #[test]
    fn keys_differ_by_direction_path_and_epoch() {
        let all = [
            name(0),
            name(1),
            packet_key(&Names, &[8; 32], Suite::Aes128Gcm, PathId(3), 0),
            packet_key(&Names, &[7; 32], Suite::Aes128Gcm, PathId(4), 0),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
        assert_eq!(packet_key(&Names, &[7; 32], Suite::ChaCha20Poly1305, PathId(3), 0).len(), 32 + 12);
    }
}
