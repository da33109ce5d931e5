//! Keys of a connection: from the handshake's two secrets to one AEAD key for each direction, path and epoch
//! (PROTOCOL.md#keys).
//!
//! The ciphers themselves are absent: [`Crypto`] is the one trait through which the engine supplies real ones and a
//! simulation cheap ones. Key derivation (HKDF-SHA-256) is here, because it is off the data path.

mod ring;
mod ticket;

pub use ring::{OpenRing, SealRing};
pub use ticket::{Ticket, TicketId};

use crate::wire::PathId;
use core::fmt;
use hkdf::Hkdf;
use sha2::Sha256;

/// Packets of one key: the epoch of a packet is its number shifted right by this.
pub const EPOCH_SHIFT: u32 = 22;
/// Packets of an epoch.
pub(crate) const EPOCH_PACKETS: u64 = 1 << EPOCH_SHIFT;

const KEY_LEN_MAX: usize = 32;
const IV_LEN: usize = 12;

/// How packets are sealed; fixed by the ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-128-GCM.
    Aes128Gcm = 1,
    /// ChaCha20-Poly1305, where the CPU lacks AES.
    ChaCha20Poly1305 = 2,
    /// AES-128-GCM for CONTROL; DATA travels plain and without a tag.
    Plain = 3,
}

impl Suite {
    /// The suite with this number on the wire.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Suite::Aes128Gcm),
            2 => Some(Suite::ChaCha20Poly1305),
            3 => Some(Suite::Plain),
            _ => None,
        }
    }

    /// The suite's number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Bytes of one AEAD key: 16 or 32.
    pub const fn key_len(self) -> usize {
        match self {
            Suite::Aes128Gcm | Suite::Plain => 16,
            Suite::ChaCha20Poly1305 => 32,
        }
    }

    /// Whether DATA packets are sealed; CONTROL always is.
    pub const fn seals_data(self) -> bool {
        !matches!(self, Suite::Plain)
    }

    /// Failed opens at which a connection closes with `AEAD_LIMIT` (RFC 9001 section 6.6).
    pub const fn failed_opens_max(self) -> u64 {
        match self {
            Suite::Aes128Gcm | Suite::Plain => 1 << 52,
            Suite::ChaCha20Poly1305 => 1 << 36,
        }
    }
}

/// Which way content may flow; fixed by the ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The opener sends content.
    OpenerSends = 1,
    /// The opener receives content.
    OpenerReceives = 2,
    /// Both ways.
    Both = 3,
}

impl Direction {
    /// The direction with this number on the wire.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Direction::OpenerSends),
            2 => Some(Direction::OpenerReceives),
            3 => Some(Direction::Both),
            _ => None,
        }
    }

    /// The direction's number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// The ciphers. One value serves a whole process; keys are values that it makes.
///
/// Both calls go from one buffer to another, because sealing is the copy into the frame and opening the copy into the
/// chunk. Wrong buffer lengths are bugs of the caller and panic.
pub trait Crypto {
    /// One AEAD key with its iv.
    type Key: Send + 'static;

    /// A key of `suite` (16 or 32 bytes, [`Suite::key_len`]).
    fn key(&self, suite: Suite, key: &[u8], iv: [u8; 12]) -> Self::Key;

    /// Seals `plain` as packet `number` into `out`, which is [`TAG_LEN`](crate::wire::TAG_LEN) bytes longer. The
    /// caller uses each number once for a key.
    fn seal(&self, key: &Self::Key, number: u64, aad: &[u8], plain: &[u8], out: &mut [u8]);

    /// Opens `sealed`, tag at its end, into `out`, which is [`TAG_LEN`](crate::wire::TAG_LEN) bytes shorter. False:
    /// it is not authentic, and `out` holds arbitrary bytes.
    #[must_use]
    fn open(&self, key: &Self::Key, number: u64, aad: &[u8], sealed: &[u8], out: &mut [u8]) -> bool;
}

/// The nonce of packet `number` (PROTOCOL.md#keys).
pub fn nonce(iv: [u8; 12], number: u64) -> [u8; 12] {
    let mut nonce = iv;
    for (byte, n) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
        *byte ^= n;
    }
    nonce
}

/// The epoch that packet `number` belongs to.
pub const fn epoch(number: u64) -> u64 {
    number >> EPOCH_SHIFT
}

/// The first packet number of the epoch after that of `number`.
pub(crate) const fn next_epoch(number: u64) -> u64 {
    (epoch(number) + 1) << EPOCH_SHIFT
}

/// The key of one direction (its secret), path and epoch (PROTOCOL.md#keys).
#[expect(clippy::indexing_slicing, clippy::expect_used, reason = "all lengths are constants")]
pub fn packet_key<C: Crypto>(
    crypto: &C,
    secret: &[u8; 32],
    suite: Suite,
    path: PathId,
    epoch: u64,
) -> C::Key {
    let hkdf = Hkdf::<Sha256>::from_prk(secret).expect("a secret has the length of a SHA-256");
    let mut okm = [0; KEY_LEN_MAX + IV_LEN];
    let okm = &mut okm[..suite.key_len() + IV_LEN];
    hkdf.expand_multi_info(&[b"xfer v1 key", &path.0.to_le_bytes(), &epoch.to_le_bytes()], okm)
        .expect("far below 255 blocks");
    let (key, iv) = okm.split_last_chunk().expect("an iv is in it");
    let made = crypto.key(suite, key, *iv);
    wipe(okm);
    made
}

/// Eight bytes that nobody foresees who does not know `seed`; another eight for each `n`.
#[expect(clippy::expect_used, reason = "all lengths are constants")]
pub(crate) fn draw(seed: &[u8; 32], n: u64) -> u64 {
    let hkdf = Hkdf::<Sha256>::from_prk(seed).expect("a seed has the length of a SHA-256");
    let mut okm = [0; 8];
    hkdf.expand_multi_info(&[b"xfer draw", &n.to_le_bytes()], &mut okm).expect("far below 255 blocks");
    u64::from_le_bytes(okm)
}

/// The two secrets that a handshake yields; overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    /// For packets of the opener.
    pub open: [u8; 32],
    /// For packets of the acceptor.
    pub accept: [u8; 32],
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        wipe(&mut self.open);
        wipe(&mut self.accept);
    }
}

/// Overwrites a secret. Safe code cannot forbid the compiler to keep other copies; this one at least is gone.
pub(crate) fn wipe(secret: &mut [u8]) {
    secret.fill(0);
    core::hint::black_box(secret);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonce_is_the_iv_with_the_number_in_big_endian_order() {
        assert_eq!(nonce([0xff; 12], 0), [0xff; 12]);
        assert_eq!(nonce([0; 12], 0x0102_0304_0506_0708), [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(nonce([0xff; 12], 1)[11], 0xfe);
    }

    #[test]
    fn numbers_of_suites_and_directions_return_as_they_went() {
        for n in 0..=u8::MAX {
            let known = (1..=3).contains(&n);
            assert_eq!(Suite::from_number(n).map(Suite::number), known.then_some(n));
            assert_eq!(Direction::from_number(n).map(Direction::number), known.then_some(n));
        }
    }

    #[test]
    fn epoch_changes_every_four_million_packets() {
        let edge = 1 << 22;
        assert_eq!([0, 1, edge - 1, edge, edge + 1].map(epoch), [0, 0, 0, 1, 1]);
    }
}
