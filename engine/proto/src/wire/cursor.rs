//! Little-endian cursors over byte slices, for control frames and messages.

use super::Malformed;
use alloc::vec::Vec;

/// Reads fields from hostile bytes; each read fails rather than pass the end.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// How many bytes are left.
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether all was read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    pub fn bytes(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(Malformed::new(what))?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.rest.split_first_chunk().ok_or(Malformed::new(what))?;
        self.rest = tail;
        Ok(*head)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// A u8.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(self.array::<1>(what)?[0])
    }

    /// A u16.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    /// A u32.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// A u64.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A u16 length and that many bytes, at most `max`.
    pub fn counted(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let n = usize::from(self.u16(what)?);
        if n > max {
            return Err(Malformed::new(what));
        }
        self.bytes(n, what)
    }

    /// Refuses bytes that are left over.
    pub fn finish(self, what: &'static str) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed::new(what)) }
    }
}

/// Writes fields into a slice. Writing past its end is a bug of the caller and panics.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    /// Starts at the first of `out`.
    pub const fn new(out: &'a mut [u8]) -> Self {
        Writer { out, at: 0 }
    }

    /// Starts at the first of `out` and writes at most `most` bytes there.
    pub fn within(out: &'a mut [u8], most: usize) -> Self {
        let most = most.min(out.len());
        Writer::new(out.split_at_mut(most).0)
    }

    /// What was written.
    pub fn finish(self) -> &'a mut [u8] {
        self.out.split_at_mut(self.at).0
    }

    /// How many bytes were written.
    pub const fn written(&self) -> usize {
        self.at
    }

    /// How many more fit.
    #[expect(clippy::arithmetic_side_effects, reason = "what was written fitted")]
    pub const fn space(&self) -> usize {
        self.out.len() - self.at
    }

    /// Raw bytes.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "writing past the end is the caller's bug: it has seen how much fits"
    )]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// `n` zero bytes.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "writing past the end is the caller's bug: it has seen how much fits"
    )]
    pub fn zeros(&mut self, n: usize) {
        self.out[self.at..self.at + n].fill(0);
        self.at += n;
    }

    /// A u8.
    pub fn u8(&mut self, v: u8) {
        self.bytes(&[v]);
    }

    /// A u16.
    pub fn u16(&mut self, v: u16) {
        self.bytes(&v.to_le_bytes());
    }

    /// A u32.
    pub fn u32(&mut self, v: u32) {
        self.bytes(&v.to_le_bytes());
    }

    /// A u64.
    pub fn u64(&mut self, v: u64) {
        self.bytes(&v.to_le_bytes());
    }
}

/// The same fields appended to a growing buffer, for messages, which are built off the data path.
pub(crate) trait Put {
    fn put_u8(&mut self, v: u8);
    fn put_u16(&mut self, v: u16);
    fn put_u32(&mut self, v: u32);
    fn put_u64(&mut self, v: u64);
    /// A u16 length and the bytes; longer than 65,535 is a bug of the caller.
    fn put_counted(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, v: u8) {
        self.push(v);
    }

    fn put_u16(&mut self, v: u16) {
        self.extend_from_slice(&v.to_le_bytes());
    }

    fn put_u32(&mut self, v: u32) {
        self.extend_from_slice(&v.to_le_bytes());
    }

    fn put_u64(&mut self, v: u64) {
        self.extend_from_slice(&v.to_le_bytes());
    }

    #[expect(
        clippy::expect_used,
        reason = "longer than 16 bits is the caller's bug: names and texts are cut or were bounded when they were read"
    )]
    fn put_counted(&mut self, bytes: &[u8]) {
        self.put_u16(u16::try_from(bytes.len()).expect("counted field fits 16 bits"));
        self.extend_from_slice(bytes);
    }
}
