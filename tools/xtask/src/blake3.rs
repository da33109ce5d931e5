//! A small BLAKE3 of the demo's own, written from the paper, so that the product's hash is not checked by itself.
//!
//! In: bytes in pieces. Out: the 32-byte hash that `b3sum` prints. Keyed hashing and key derivation are absent.

/// Bytes of one leaf of the hash tree.
const CHUNK_BYTES: usize = 1024;
const BLOCK_BYTES: usize = 64;

const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const PARENT: u32 = 4;
const ROOT: u32 = 8;

const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Where each word of a block stands in the next round.
const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];

/// The order of the message words in each of the seven rounds.
const SCHEDULE: [[usize; 16]; 7] = schedule();

type Chaining = [u32; 8];

const fn schedule() -> [[usize; 16]; 7] {
    let mut rounds = [[0; 16]; 7];
    let mut word = 0;
    while word < 16 {
        rounds[0][word] = word;
        word += 1;
    }
    let mut round = 1;
    while round < 7 {
        word = 0;
        while word < 16 {
            rounds[round][word] = rounds[round - 1][PERMUTATION[word]];
            word += 1;
        }
        round += 1;
    }
    rounds
}

/// Hashes bytes that arrive in pieces.
#[derive(Default)]
pub(crate) struct Hasher {
    /// Roots of the finished subtrees, the largest first.
    subtrees: Vec<Chaining>,
    /// Chunks hashed into `subtrees`.
    chunks: u64,
    /// Bytes not hashed yet: never a whole chunk more than the last one, since that may be the root.
    tail: Vec<u8>,
}

impl Hasher {
    /// Adds bytes at the end.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        if !self.tail.is_empty() {
            let room = (CHUNK_BYTES - self.tail.len()).min(bytes.len());
            self.tail.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            if bytes.is_empty() {
                return;
            }
            let chunk = std::mem::take(&mut self.tail);
            self.push(&chunk);
        }
        while bytes.len() > CHUNK_BYTES {
            let (chunk, rest) = bytes.split_at(CHUNK_BYTES);
            self.push(chunk);
            bytes = rest;
        }
        self.tail.extend_from_slice(bytes);
    }

    /// The hash of all bytes so far.
    pub(crate) fn finish(&self) -> [u8; 32] {
        let flag = |root: bool| if root { ROOT } else { 0 };
        let mut node = chunk_value(&self.tail, self.chunks, flag(self.subtrees.is_empty()));
        for (depth, left) in self.subtrees.iter().enumerate().rev() {
            node = parent_value(left, &node, flag(depth == 0));
        }
        let mut hash = [0; 32];
        for (bytes, word) in hash.chunks_exact_mut(4).zip(node) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        hash
    }

    /// Hashes a chunk that is not the last, and joins the subtrees that it completes.
    fn push(&mut self, chunk: &[u8]) {
        let mut node = chunk_value(chunk, self.chunks, 0);
        self.chunks += 1;
        for _ in 0..self.chunks.trailing_zeros() {
            let left = self.subtrees.pop().expect("a subtree for each one bit of the count");
            node = parent_value(&left, &node, 0);
        }
        self.subtrees.push(node);
    }
}

/// The hash as 64 hexadecimal digits.
pub(crate) fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn chunk_value(chunk: &[u8], index: u64, root: u32) -> Chaining {
    let mut value = IV;
    let blocks = chunk.len().div_ceil(BLOCK_BYTES).max(1);
    for block in 0..blocks {
        let bytes = &chunk[block * BLOCK_BYTES..chunk.len().min((block + 1) * BLOCK_BYTES)];
        let start = if block == 0 { CHUNK_START } else { 0 };
        let end = if block + 1 == blocks { CHUNK_END | root } else { 0 };
        value = compress(&value, &words(bytes), index, bytes.len() as u32, start | end);
    }
    value
}

fn parent_value(left: &Chaining, right: &Chaining, root: u32) -> Chaining {
    let mut block = [0; 16];
    block[..8].copy_from_slice(left);
    block[8..].copy_from_slice(right);
    compress(&IV, &block, 0, BLOCK_BYTES as u32, PARENT | root)
}

/// A block of up to 64 bytes, padded with zeros, as little-endian words.
#[inline(always)]
fn words(bytes: &[u8]) -> [u32; 16] {
    let mut block = [0; BLOCK_BYTES];
    block[..bytes.len()].copy_from_slice(bytes);
    let mut words = [0; 16];
    for (word, four) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    }
    words
}

#[inline(always)]
fn compress(value: &Chaining, block: &[u32; 16], counter: u64, length: u32, flags: u32) -> Chaining {
    let [v0, v1, v2, v3, v4, v5, v6, v7] = *value;
    let (low, high) = (counter as u32, (counter >> 32) as u32);
    let mut s = [v0, v1, v2, v3, v4, v5, v6, v7, IV[0], IV[1], IV[2], IV[3], low, high, length, flags];
    for order in &SCHEDULE {
        let m = |i: usize| block[order[i]];
        mix(&mut s, [0, 4, 8, 12], m(0), m(1));
        mix(&mut s, [1, 5, 9, 13], m(2), m(3));
        mix(&mut s, [2, 6, 10, 14], m(4), m(5));
        mix(&mut s, [3, 7, 11, 15], m(6), m(7));
        mix(&mut s, [0, 5, 10, 15], m(8), m(9));
        mix(&mut s, [1, 6, 11, 12], m(10), m(11));
        mix(&mut s, [2, 7, 8, 13], m(12), m(13));
        mix(&mut s, [3, 4, 9, 14], m(14), m(15));
    }
    std::array::from_fn(|i| s[i] ^ s[i + 8])
}

#[inline(always)]
fn mix(s: &mut [u32; 16], [a, b, c, d]: [usize; 4], x: u32, y: u32) {
    s[a] = s[a].wrapping_add(s[b]).wrapping_add(x);
    s[d] = (s[d] ^ s[a]).rotate_right(16);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_right(12);
    s[a] = s[a].wrapping_add(s[b]).wrapping_add(y);
    s[d] = (s[d] ^ s[a]).rotate_right(8);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_right(7);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first 32 bytes of hashes from the published test vectors: input byte i is i mod 251.
    const VECTORS: [(usize, &str); 9] = [
        (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
        (1023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11"),
        (1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
        (1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"),
        (2048, "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a"),
        (2049, "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030"),
        (8192, "aae792484c8efe4f19e2ca7d371d8c467ffb10748d8a5a1ae579948f718a2a63"),
        (102_400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"),
    ];

    #[test]
    fn published_vectors_in_pieces_of_any_size() {
        for (length, expected) in VECTORS {
            let input: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            for piece in [1, 63, 1023, 1024, 1025, 1 << 20] {
                let mut hasher = Hasher::default();
                input.chunks(piece).for_each(|bytes| hasher.update(bytes));
                assert_eq!(hex(&hasher.finish()), expected, "{length} bytes in pieces of {piece}");
            }
        }
    }
}
