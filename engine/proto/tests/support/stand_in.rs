//! A cheap stand-in for the ciphers: hides nothing from an attacker, but corruption, a wrong key, a wrong number and a
//! wrong header all fail to open, as with a real one. For simulation, where most of the time would go into AES.

use xfer_proto::crypto::{Crypto, Suite, nonce};
use xfer_proto::wire::TAG_LEN;

/// Makes stand-in keys.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StandIn;

/// One key of [`StandIn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StandInKey {
    state: u64,
    iv: [u8; 12],
}

/// Spreads each bit over the whole word (the finalizer of MurmurHash3, a bijection).
fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

/// Absorbs `bytes` and their length.
fn absorb(mut state: u64, bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    for word in words {
        state = mix(state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
    mix(state ^ bytes.len() as u64)
}

fn tag(key: &StandInKey, number: u64, aad: &[u8], sealed: &[u8]) -> [u8; TAG_LEN] {
    let nonced = absorb(key.state, &nonce(key.iv, number));
    let low = absorb(absorb(nonced, aad), sealed);
    let mut tag = [0; TAG_LEN];
    tag[..8].copy_from_slice(&low.to_le_bytes());
    tag[8..].copy_from_slice(&mix(!low).to_le_bytes());
    tag
}

fn xor(key: &StandInKey, number: u64, from: &[u8], to: &mut [u8]) {
    let stream = mix(key.state ^ mix(number)).to_le_bytes();
    for (i, (to, from)) in to.iter_mut().zip(from).enumerate() {
        *to = from ^ stream[i % 8];
    }
}

impl Crypto for StandIn {
    type Key = StandInKey;

    fn key(&self, suite: Suite, key: &[u8], iv: [u8; 12]) -> StandInKey {
        assert_eq!(key.len(), suite.key_len());
        StandInKey { state: absorb(0, key), iv }
    }

    fn seal(&self, key: &StandInKey, number: u64, aad: &[u8], plain: &[u8], out: &mut [u8]) {
        assert_eq!(out.len(), plain.len() + TAG_LEN);
        let (sealed, end) = out.split_at_mut(plain.len());
        xor(key, number, plain, sealed);
        end.copy_from_slice(&tag(key, number, aad, sealed));
    }

    fn open(&self, key: &StandInKey, number: u64, aad: &[u8], sealed: &[u8], out: &mut [u8]) -> bool {
        assert_eq!(sealed.len(), out.len() + TAG_LEN);
        let (sealed, end) = sealed.split_at(out.len());
        xor(key, number, sealed, out);
        end == tag(key, number, aad, sealed)
    }
}
