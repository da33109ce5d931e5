//! The secret that admits one connection, and the id by which it is named in clear (PROTOCOL.md#tickets).

use super::{Direction, Suite, wipe};
use core::fmt;
use hkdf::Hkdf;
use sha2::Sha256;

/// Names a ticket on the wire; tells nothing about its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub [u8; 16]);

/// What both ends of a connection know before its first packet. The secret is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    secret: [u8; 32],
    suite: Suite,
    direction: Direction,
}

impl Ticket {
    /// A ticket around 32 random bytes.
    pub const fn new(secret: [u8; 32], suite: Suite, direction: Direction) -> Self {
        Ticket { secret, suite, direction }
    }

    /// The first 16 bytes of HKDF-SHA-256 of the secret (PROTOCOL.md#tickets).
    #[expect(clippy::expect_used, reason = "all lengths are constants")]
    pub fn id(&self) -> TicketId {
        let mut id = [0; 16];
        Hkdf::<Sha256>::new(None, &self.secret)
            .expand(b"xfer ticket id", &mut id)
            .expect("far below 255 blocks");
        TicketId(id)
    }

    /// The secret, to hand it to the other end over a protected way.
    pub const fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// How packets are sealed.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// Which way content may flow.
    pub const fn direction(&self) -> Direction {
        self.direction
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("suite", &self.suite)
            .field("direction", &self.direction)
            .finish_non_exhaustive()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        wipe(&mut self.secret);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn debug_does_not_show_the_secret() {
        let ticket = Ticket::new([0xab; 32], Suite::Plain, Direction::Both);
        assert_eq!(format!("{ticket:?}"), "Ticket { suite: Plain, direction: Both, .. }");
    }

    #[test]
    fn id_depends_on_the_secret_alone() {
        let a = Ticket::new([1; 32], Suite::Aes128Gcm, Direction::Both);
        let b = Ticket::new([1; 32], Suite::Plain, Direction::OpenerSends);
        let c = Ticket::new([2; 32], Suite::Aes128Gcm, Direction::Both);
        assert_eq!(a.id(), b.id());
        assert_ne!(a.id(), c.id());
    }
}
