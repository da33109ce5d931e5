//! Files whose content has no pattern.

use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Noise that no two chunks have in common (xorshift64).
pub(crate) fn write_noise(path: &Path, size: u64) {
    let mut file = File::create(path).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut buffer = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        for word in buffer.chunks_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let now = left.min(buffer.len() as u64);
        file.write_all(&buffer[..now as usize]).unwrap();
        left -= now;
    }
}
