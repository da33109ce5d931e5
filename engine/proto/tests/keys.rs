//! Packet keys with both implementations of the ciphers: the engine's real ones and the simulation's stand-in.

mod support;

#[allow(unreachable_pub, reason = "it is the engine's own file")]
#[path = "../../src/crypto.rs"]
mod real;

use real::AwsCrypto;
use support::stand_in::StandIn;
use xfer_proto::crypto::{Crypto, OpenRing, SealRing, Suite, packet_key};
use xfer_proto::wire::{PathId, TAG_LEN};

const SUITES: [Suite; 3] = [Suite::Aes128Gcm, Suite::ChaCha20Poly1305, Suite::Plain];
const EDGE: u64 = 1 << 22;

fn opens<C: Crypto>(crypto: &C, key: &C::Key, number: u64, aad: &[u8], sealed: &[u8]) -> bool {
    let mut out = vec![0; sealed.len() - TAG_LEN];
    crypto.open(key, number, aad, sealed, &mut out)
}

fn changes_are_noticed(crypto: &impl Crypto, suite: Suite) {
    let key = packet_key(crypto, &[1; 32], suite, PathId(0), 0);
    let plain: Vec<u8> = (0..100).collect();
    let mut sealed = vec![0; plain.len() + TAG_LEN];
    crypto.seal(&key, 7, b"header", &plain, &mut sealed);
    let mut out = vec![0; plain.len()];
    assert!(crypto.open(&key, 7, b"header", &sealed, &mut out));
    assert_eq!(out, plain);

    assert!(!opens(crypto, &key, 8, b"header", &sealed), "number");
    assert!(!opens(crypto, &key, 7, b"heades", &sealed), "header");
    assert!(!opens(crypto, &key, 7, b"header\0", &sealed), "header length");
    let other = packet_key(crypto, &[1; 32], suite, PathId(0), 1);
    assert!(!opens(crypto, &other, 7, b"header", &sealed), "key");
    for bit in 0..sealed.len() * 8 {
        sealed[bit / 8] ^= 1 << (bit % 8);
        assert!(!opens(crypto, &key, 7, b"header", &sealed), "bit {bit}");
        sealed[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn changes_are_noticed_by_both() {
    for suite in SUITES {
        changes_are_noticed(&AwsCrypto, suite);
        changes_are_noticed(&StandIn, suite);
    }
}

fn rings_follow_each_other(crypto: &impl Crypto, suite: Suite) {
    let mut seal = SealRing::new(crypto, &[2; 32], suite, PathId(9));
    let mut open = OpenRing::new(crypto, &[2; 32], suite, PathId(9));
    let numbers = [0, 1, EDGE - 1, EDGE, EDGE + 1, 2 * EDGE - 1, 2 * EDGE, 3 * EDGE + 5];
    for number in numbers {
        let mut sealed = [0; 4 + TAG_LEN];
        crypto.seal(seal.key(crypto, number), number, b"h", b"data", &mut sealed);
        let key = open.key(number).expect("of a neighbouring epoch");
        assert!(opens(crypto, key, number, b"h", &sealed), "{number}");
        open.authenticated(crypto, number);
    }
    assert!(open.key(EDGE).is_none(), "two epochs back");
    assert!(open.key(5 * EDGE).is_none(), "two epochs ahead");
}

#[test]
fn rings_follow_each_other_over_epochs() {
    for suite in SUITES {
        rings_follow_each_other(&AwsCrypto, suite);
        rings_follow_each_other(&StandIn, suite);
    }
}
