//! The address space once more, computed from the words of PROTOCOL.md#address-space and from nothing of the product: where each
//! object has to lie.

/// A second opinion on where objects lie.
pub(crate) struct Layout {
    chunk: u64,
    cursor: u64,
}

impl Layout {
    pub(crate) fn new(chunk_log2: u8) -> Self {
        Layout { chunk: 1 << chunk_log2, cursor: 0 }
    }

    /// Where the next object that takes space starts: one of `size` bytes, or of open length.
    pub(crate) fn place(&mut self, size: Option<u64>) -> u64 {
        let small = size.filter(|size| size * 4 <= self.chunk);
        let Some(size) = small else {
            let start = up(self.cursor, self.chunk);
            self.cursor = up(start + size.unwrap_or(0), self.chunk);
            return start;
        };
        let start = up(self.cursor, 16);
        let crosses = size > 0 && start / self.chunk != (start + size - 1) / self.chunk;
        let start = if crosses { up(start, self.chunk) } else { start };
        self.cursor = start + size;
        start
    }

    /// Chunks up to the end of the page.
    pub(crate) fn end_page(&mut self) -> u64 {
        self.cursor = up(self.cursor, self.chunk);
        self.cursor / self.chunk
    }
}

fn up(n: u64, step: u64) -> u64 {
    n.div_ceil(step) * step
}
