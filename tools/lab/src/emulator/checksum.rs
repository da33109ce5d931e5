//! The Internet checksum (RFC 1071): sums, pseudo-headers, folding.

/// Sum of `bytes` as big-endian 16-bit words, an odd last byte padded with zero, not yet folded.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    // The sum may be taken in any byte order and over wider words, and put right at the end (RFC 1071
    // section 2): native 32-bit words into 64 bits cannot overflow below 16 GiB.
    let mut words = bytes.chunks_exact(4);
    let mut total: u64 =
        words.by_ref().map(|word| u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))).sum();
    let mut rest = [0u8; 4];
    rest[..words.remainder().len()].copy_from_slice(words.remainder());
    total += u64::from(u32::from_ne_bytes(rest));
    u64::from(u16::from_be(fold(total)))
}

/// Folds a sum to 16 bits, carries added back.
pub(crate) fn fold(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(bytes: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in bytes.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
    }

    #[test]
    fn every_length_agrees_with_the_plain_sum() {
        let bytes: Vec<u8> = (0..1501u32).map(|i| (i * 131 + 89) as u8).collect();
        for len in (0..40).chain(1490..=1501) {
            assert_eq!(fold(sum(&bytes[..len])), plain(&bytes[..len]), "{len}");
        }
        assert_eq!(fold(sum(&[0xff; 1500])), 0xffff);
        assert_eq!(fold(sum(&[])), 0);
    }
}
