//! Somebody on a wire who has no key: sees each datagram, and adds some of its own.
//!
//! In: a datagram that an end sent. Out: what else arrives because of it. Nothing is taken away: that is what faults of wires do.

use std::net::SocketAddr;

use xfer_netem::Rng;
use xfer_proto::crypto::Suite;
use xfer_proto::wire::{HEADER_LEN, Header, Kind};

use crate::clock::MS;

/// The port that forged senders have.
const FOREIGN_PORT: u16 = 9;
/// No replay comes later.
pub(crate) const REPLAY_LATE_MAX: u64 = 3_000 * MS;

/// What it does to every so many datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attack {
    every: u64,
    kind: Kinds,
}

#[derive(Clone, Copy, Debug)]
enum Kinds {
    /// The same comes again, later.
    Replay,
    /// The same comes from another address, before the original.
    Spoof,
    /// A beginning of it comes too.
    Truncate,
    /// One with its header, another number and other bytes comes too.
    Forge,
}

/// What arrives besides the original.
pub(crate) struct Extra {
    /// How much later than just before the original.
    pub(crate) after_ns: u64,
    /// Its sender's port, where it is not the original's.
    pub(crate) port: Option<u16>,
    pub(crate) bytes: Vec<u8>,
}

impl Attack {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let kind = [Kinds::Replay, Kinds::Spoof, Kinds::Truncate, Kinds::Forge][rng.below(4) as usize];
        Attack { every: 1 + rng.below(20), kind }
    }

    pub(crate) fn replays(&self) -> bool {
        matches!(self.kind, Kinds::Replay)
    }

    /// What is added to the `n`th datagram.
    pub(crate) fn on(&self, n: u64, bytes: &[u8], suite: Suite, rng: &mut Rng) -> Option<Extra> {
        let header = Header::decode(bytes).ok()?;
        // A handshake belongs to whose HELLO is there first: an address in front of it may take its ticket.
        let running = matches!(header.kind, Kind::Data | Kind::Control);
        if !n.is_multiple_of(self.every) || !running {
            return None;
        }
        let (mut bytes, mut after_ns, mut port) = (bytes.to_vec(), 0, None);
        match self.kind {
            Kinds::Replay => after_ns = rng.below(REPLAY_LATE_MAX),
            Kinds::Spoof => port = Some(FOREIGN_PORT),
            Kinds::Truncate => bytes.truncate(rng.below(bytes.len() as u64) as usize),
            // What no tag protects can be forged.
            Kinds::Forge if header.kind == Kind::Data && suite == Suite::Plain => return None,
            Kinds::Forge => {
                let number = header.number.wrapping_add(rng.below(1 << 30)).to_le_bytes();
                bytes[8..16].copy_from_slice(&number);
                bytes[HEADER_LEN..].fill_with(|| rng.next_u64() as u8);
            }
        }
        Some(Extra { after_ns, port, bytes })
    }
}

/// Whether a datagram to this address can arrive anywhere.
pub(crate) fn is_somebody(address: SocketAddr) -> bool {
    address.port() != FOREIGN_PORT
}
