//! Stage 1 without reading: bytes that lie in the application's memory and are sealed straight from there.

use std::ops::Range;
use std::sync::Arc;

/// The plain bytes of one chunk, lent by a source. The memory is kept until the last use: the chunk was accepted, and no worker seals
/// from it any more.
#[derive(Clone)]
pub struct Lent {
    /// What the bytes are part of. Workers read it, so it must not be memory that a disk stands behind.
    pub memory: Arc<dyn AsRef<[u8]> + Send + Sync>,
    /// Where in it the chunk's first byte is.
    pub start: usize,
    /// An I/O thread is to digest the bytes where they are before they are sent, by [`super::Source::digest`].
    pub digests: bool,
}

impl Lent {
    /// Lets `read` see `range` of the chunk. Memory that became shorter than the chunk is zeros there: it changed, as digests will tell.
    pub(crate) fn read<R>(&self, range: Range<usize>, read: impl FnOnce(&[u8]) -> R) -> R {
        let memory = (*self.memory).as_ref();
        match memory.get(self.start + range.start..self.start + range.end) {
            Some(bytes) => read(bytes),
            None => read(&vec![0; range.len()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_became_shorter_is_zeros() {
        let lent =
            |len: u8| Lent { memory: Arc::new((1..=len).collect::<Vec<u8>>()), start: 4, digests: false };
        assert_eq!(lent(8).read(1..4, <[u8]>::to_vec), [6, 7, 8]);
        assert_eq!(lent(8).read(4..4, <[u8]>::to_vec), []);
        for len in [7, 4, 3, 0] {
            assert_eq!(lent(len).read(1..4, <[u8]>::to_vec), [0, 0, 0], "{len}");
        }
    }
}
