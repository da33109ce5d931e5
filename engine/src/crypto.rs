//! The protocol's ciphers on aws-lc-rs: sealing is the copy into the frame, opening the copy into the chunk.

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use aws_lc_rs::aead::{AES_128_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use std::fmt;
use xfer_proto::crypto::{Crypto, Suite, nonce};
use xfer_proto::wire::TAG_LEN;

/// Makes real keys; holds nothing itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsCrypto;

/// One key of [`AwsCrypto`].
pub struct AwsKey {
    key: LessSafeKey,
    iv: [u8; 12],
}

impl fmt::Debug for AwsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsKey(..)")
    }
}

impl Crypto for AwsCrypto {
    type Key = AwsKey;

    #[expect(clippy::expect_used, reason = "the suite fixes the key's length")]
    fn key(&self, suite: Suite, key: &[u8], iv: [u8; 12]) -> AwsKey {
        let algorithm = match suite {
            Suite::Aes128Gcm | Suite::Plain => &AES_128_GCM,
            Suite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, key).expect("the suite fixes the key's length");
        AwsKey { key: LessSafeKey::new(key), iv }
    }

    #[expect(
        clippy::expect_used,
        reason = "the caller's frame fits the packet, far below the cipher's limit"
    )]
    fn seal(&self, key: &AwsKey, number: u64, aad: &[u8], plain: &[u8], out: &mut [u8]) {
        assert_eq!(out.len(), plain.len() + TAG_LEN, "length of a sealed packet");
        let nonce = Nonce::assume_unique_for_key(nonce(key.iv, number));
        let (sealed, tag) = out.split_at_mut(plain.len());
        key.key
            .seal_out_of_place_scatter(nonce, Aad::from(aad), plain, sealed, &[], tag)
            .expect("lengths are right and far below the cipher's limit");
    }

    fn open(&self, key: &AwsKey, number: u64, aad: &[u8], sealed: &[u8], out: &mut [u8]) -> bool {
        assert_eq!(sealed.len(), out.len() + TAG_LEN, "length of an opened packet");
        let nonce = Nonce::assume_unique_for_key(nonce(key.iv, number));
        let (sealed, tag) = sealed.split_at(out.len());
        key.key.open_separate_gather(nonce, Aad::from(aad), sealed, tag, out).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_proto::crypto::packet_key;
    use xfer_proto::wire::PathId;

    const SUITES: [Suite; 3] = [Suite::Aes128Gcm, Suite::ChaCha20Poly1305, Suite::Plain];

    fn seal(key: &AwsKey, number: u64, plain: &[u8]) -> Vec<u8> {
        let mut sealed = vec![0; plain.len() + TAG_LEN];
        AwsCrypto.seal(key, number, b"header", plain, &mut sealed);
        sealed
    }

    fn open(key: &AwsKey, number: u64, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut plain = vec![0; sealed.len() - TAG_LEN];
        AwsCrypto.open(key, number, aad, sealed, &mut plain).then_some(plain)
    }

    #[test]
    fn what_was_sealed_opens() {
        for suite in SUITES {
            let key = packet_key(&AwsCrypto, &[9; 32], suite, PathId(0), 0);
            for len in [0, 1, 15, 16, 17, 1_400, 65_000] {
                let plain: Vec<u8> = (0..len).map(|i| i as u8).collect();
                assert_eq!(open(&key, 5, b"header", &seal(&key, 5, &plain)), Some(plain), "{suite:?} {len}");
            }
        }
    }

    #[test]
    fn anything_changed_does_not_open() {
        for suite in SUITES {
            let key = packet_key(&AwsCrypto, &[9; 32], suite, PathId(0), 0);
            let other = packet_key(&AwsCrypto, &[9; 32], suite, PathId(1), 0);
            let sealed = seal(&key, 5, b"content");
            assert!(open(&key, 6, b"header", &sealed).is_none());
            assert!(open(&key, 5, b"headex", &sealed).is_none());
            assert!(open(&other, 5, b"header", &sealed).is_none());
            for i in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[i] ^= 1;
                assert!(open(&key, 5, b"header", &changed).is_none(), "{suite:?} byte {i}");
            }
        }
    }

    #[test]
    fn aes_follows_the_published_vector() {
        // Test case 2 of "The Galois/Counter Mode of Operation (GCM)", McGrew and Viega: all zeros.
        let key = AwsCrypto.key(Suite::Aes128Gcm, &[0; 16], [0; 12]);
        let mut sealed = [0; 32];
        AwsCrypto.seal(&key, 0, &[], &[0; 16], &mut sealed);
        assert_eq!(sealed[..4], [0x03, 0x88, 0xda, 0xce]);
        assert_eq!(sealed[16..20], [0xab, 0x6e, 0x47, 0xd4]);
    }
}
