//! What a stage costs on this core, measured in a few milliseconds: what a prediction is made of.
//!
//! In: how long to measure. Out: bytes a second of one core that does nothing else, over memory that stays in its cache.

use crate::api::Suite;
use crate::crypto::AwsCrypto;
use crate::digest;
use std::hint::black_box;
use std::time::{Duration, Instant};
use xfer_proto::crypto::Crypto as _;
use xfer_proto::wire::{HEADER_LEN, TAG_LEN};

/// Bytes that are worked on again and again.
const PIECE: usize = 256 << 10;

/// Hashes chunks, as a sender does, and a receiver that verifies.
pub fn hash(time: Duration) -> f64 {
    let bytes = vec![0x5a; PIECE];
    rate(time, PIECE, || {
        black_box(digest::chunk_value(black_box(&bytes), 0));
    })
}

/// Seals packets of `payload` bytes, at least 1; opening costs the same. `None` where content is sent plain.
pub fn seal(suite: Suite, payload: usize, time: Duration) -> Option<f64> {
    let (suite, key_len) = match suite {
        Suite::Aes128Gcm => (xfer_proto::crypto::Suite::Aes128Gcm, 16),
        Suite::ChaCha20Poly1305 => (xfer_proto::crypto::Suite::ChaCha20Poly1305, 32),
        Suite::Plain => return None,
    };
    let key = AwsCrypto.key(suite, &[7; 32][..key_len], [0; 12]);
    let plain = vec![0x5a; PIECE];
    let (header, mut frame) = ([0; HEADER_LEN], vec![0; payload + TAG_LEN]);
    let mut number = 0;
    Some(rate(time, PIECE, || {
        for packet in black_box(&plain).chunks(payload) {
            AwsCrypto.seal(&key, number, &header, packet, &mut frame[..packet.len() + TAG_LEN]);
            number += 1;
        }
        black_box(&mut frame);
    }))
}

/// Bytes a second of `work` on `bytes`, done at least twice, of which the first warms up.
fn rate(time: Duration, bytes: usize, mut work: impl FnMut()) -> f64 {
    work();
    let start = Instant::now();
    let mut done = 0.0;
    loop {
        work();
        done += bytes as f64;
        let elapsed = start.elapsed();
        if elapsed >= time {
            return done / elapsed.as_secs_f64().max(1e-9);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_work() {
        let mut times = 0;
        assert!(rate(Duration::ZERO, 1, || times += 1) > 0.0);
        assert_eq!(times, 2, "once to warm up, once at least");
        let slow = rate(Duration::from_millis(1), 1_000, || std::thread::sleep(Duration::from_millis(1)));
        assert!(slow <= 1e6, "{slow}");
    }

    #[test]
    fn every_suite_but_the_plain_one_costs() {
        for payload in [1, 1_400, PIECE, PIECE + 1] {
            assert!(seal(Suite::Aes128Gcm, payload, Duration::ZERO).unwrap() > 0.0);
        }
        assert!(seal(Suite::ChaCha20Poly1305, 1_400, Duration::ZERO).unwrap() > 0.0);
        assert_eq!(seal(Suite::Plain, 1_400, Duration::ZERO), None);
        assert!(hash(Duration::ZERO) > 0.0);
    }
}
