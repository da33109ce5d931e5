//! Digests of what is on this machine: BLAKE3 as `b3sum` prints it.

use crate::limits::HASH_BUFFER_LEN;
use std::io::{ErrorKind, Read};
use xfer_engine::{Class, Error};

/// Digests all that `reader` gives.
///
/// # Errors
/// What reading says, with the offset.
pub fn read(reader: &mut dyn Read) -> Result<[u8; 32], Error> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; HASH_BUFFER_LEN];
    let mut offset = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(*hasher.finalize().as_bytes()),
            Ok(len) => {
                hasher.update(&buffer[..len]);
                offset += len as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => {
                let mut error = Error::new(e.raw_os_error().map_or(Class::Other, Class::of_errno), "read");
                error.errno = e.raw_os_error();
                return Err(error.at(offset).because(e));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffers_edges_do_not_show() {
        for len in [0, 1, HASH_BUFFER_LEN - 1, HASH_BUFFER_LEN, HASH_BUFFER_LEN + 1] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            assert_eq!(read(&mut &bytes[..]), Ok(*blake3::hash(&bytes).as_bytes()), "{len}");
        }
    }

    #[test]
    fn a_failed_read_says_where() {
        struct Breaks(bool);
        impl Read for Breaks {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(std::io::Error::from_raw_os_error(5));
                }
                Ok(buffer.len())
            }
        }
        let error = read(&mut Breaks(false)).unwrap_err();
        assert_eq!((error.class, error.offset), (Class::Fatal, Some(HASH_BUFFER_LEN as u64)));
    }
}
