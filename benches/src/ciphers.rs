//! Sealing, opening and hashing: what the processor's own instructions do. Timed, never counted.

use std::hint::black_box;

use xfer_engine::crypto::AwsCrypto;
use xfer_engine::digest::{self, Tree};
use xfer_proto::crypto::{Crypto, Suite};
use xfer_proto::wire::{HEADER_LEN, TAG_LEN};

pub(crate) const AES: Suite = Suite::Aes128Gcm;
pub(crate) const CHACHA: Suite = Suite::ChaCha20Poly1305;
/// Content bytes of a run of sealing or opening.
pub(crate) const CONTENT: u64 = 256 << 10;
/// Bytes of a chunk, and of an object that shares one with others.
pub(crate) const CHUNK: u64 = 1 << 20;
pub(crate) const PIECE: u64 = 10_000;
/// Chunks of an object.
pub(crate) const TREE: u64 = 1_024;

/// Content sealed into packets of `payload` bytes.
pub(crate) fn seal(suite: Suite, payload: usize) -> Box<dyn FnMut()> {
    let key = AwsCrypto.key(suite, &[7; 32][..suite.key_len()], [0; 12]);
    let plain = vec![0x5a; CONTENT as usize];
    let (header, mut frame) = ([0; HEADER_LEN], vec![0; payload + TAG_LEN]);
    let mut number = 0;
    Box::new(move || {
        for packet in black_box(&plain).chunks(payload) {
            AwsCrypto.seal(&key, number, &header, packet, &mut frame[..packet.len() + TAG_LEN]);
            number += 1;
        }
        black_box(&mut frame);
    })
}

/// One packet of `payload` bytes opened again and again, content to content.
pub(crate) fn open(suite: Suite, payload: usize) -> Box<dyn FnMut()> {
    let key = AwsCrypto.key(suite, &[7; 32][..suite.key_len()], [0; 12]);
    let (header, mut sealed) = ([0; HEADER_LEN], vec![0; payload + TAG_LEN]);
    AwsCrypto.seal(&key, 1, &header, &vec![0x5a; payload], &mut sealed);
    let mut content = vec![0; CONTENT as usize];
    Box::new(move || {
        for packet in content.chunks_exact_mut(payload) {
            assert!(AwsCrypto.open(&key, 1, &header, black_box(&sealed), packet));
        }
        black_box(&mut content);
    })
}

/// The chaining value of a chunk.
pub(crate) fn hash_chunk() -> Box<dyn FnMut()> {
    let bytes = vec![0x5a; CHUNK as usize];
    Box::new(move || {
        black_box(digest::chunk_value(black_box(&bytes), CHUNK));
    })
}

/// The root of a small object.
pub(crate) fn hash_piece() -> Box<dyn FnMut()> {
    let bytes = vec![0x5a; PIECE as usize];
    Box::new(move || {
        black_box(digest::root(black_box(&bytes)));
    })
}

/// Chaining values merged into an object's root.
pub(crate) fn hash_tree() -> Box<dyn FnMut()> {
    Box::new(move || {
        let mut tree = Tree::new();
        (0..TREE).for_each(|i| tree.push([i as u8; 32]));
        black_box(tree);
    })
}
