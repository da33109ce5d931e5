//! The header of any datagram.

use xfer_proto::wire::Header;

/// What decodes comes back from its own bytes.
pub(crate) fn run(input: &[u8]) {
    let Ok(header) = Header::decode(input) else { return };
    assert_eq!(Header::decode(&header.encode()), Ok(header));
    // Bits that have no meaning are all that may differ: those of the flags.
    let again = header.encode();
    assert_eq!((again[0], &again[2..]), (input[0], &input[2..again.len()]));
}
