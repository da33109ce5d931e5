//! Codec `extents`: only the data of a chunk with holes (PROTOCOL.md#chunk-entries).

use super::DecodeError;
use xfer_proto::limits::CHUNK_EXTENTS_MAX;

const HEAD_LEN: usize = 4;
const EXTENT_LEN: usize = 8;

/// A run of data in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where in the chunk it starts.
    pub offset: u32,
    /// Its bytes, at least 1.
    pub len: u32,
}

impl Extent {
    /// Where in the chunk it ends.
    pub const fn end(&self) -> u64 {
        self.offset as u64 + self.len as u64
    }
}

/// Appends the stored bytes of a chunk whose data lies in `extents` (ascending, disjoint, within `plain`) to `out`, which is
/// empty: nothing when all is a hole. False, with `out` empty, when they would not be fewer than `plain` or the extents are too many.
#[expect(clippy::indexing_slicing, reason = "the caller's extents lie within the chunk")]
pub fn encode_extents(plain: &[u8], extents: &[Extent], out: &mut Vec<u8>) -> bool {
    debug_assert!(out.is_empty());
    if extents.is_empty() {
        return !plain.is_empty();
    }
    let data: usize = extents.iter().map(|e| e.len as usize).sum();
    let len = HEAD_LEN + EXTENT_LEN * extents.len() + data;
    if extents.len() > CHUNK_EXTENTS_MAX || len >= plain.len() {
        return false;
    }
    out.reserve(len);
    out.extend_from_slice(&(extents.len() as u32).to_le_bytes());
    for extent in extents {
        out.extend_from_slice(&extent.offset.to_le_bytes());
        out.extend_from_slice(&extent.len.to_le_bytes());
    }
    for extent in extents {
        out.extend_from_slice(&plain[extent.offset as usize..extent.end() as usize]);
    }
    true
}

/// Checked stored bytes of a chunk with holes.
#[derive(Clone, Copy, Debug)]
pub struct Extents<'a> {
    table: &'a [u8],
    data: &'a [u8],
}

impl<'a> Extents<'a> {
    /// Checks stored bytes of a chunk of `plain_len` bytes: extents ascend, are not empty, do not overlap, lie within the chunk, and
    /// exactly their bytes follow. A chunk that is one hole has no stored bytes.
    ///
    /// # Errors
    /// [`DecodeError::Extents`] otherwise.
    pub fn parse(stored: &'a [u8], plain_len: u32) -> Result<Self, DecodeError> {
        if stored.is_empty() {
            return Ok(Extents { table: &[], data: &[] });
        }
        let (head, rest) = stored.split_first_chunk::<HEAD_LEN>().ok_or(DecodeError::Extents)?;
        let count = u32::from_le_bytes(*head) as usize;
        if count == 0 || count > CHUNK_EXTENTS_MAX {
            return Err(DecodeError::Extents);
        }
        let (table, data) = rest.split_at_checked(count * EXTENT_LEN).ok_or(DecodeError::Extents)?;
        let extents = Extents { table, data };
        let mut end = 0;
        let mut total = 0;
        for extent in extents.table() {
            if extent.len == 0 || u64::from(extent.offset) < end {
                return Err(DecodeError::Extents);
            }
            end = extent.end();
            total += u64::from(extent.len);
        }
        if end > u64::from(plain_len) || total != data.len() as u64 {
            return Err(DecodeError::Extents);
        }
        Ok(extents)
    }

    /// The extents in order, each with its bytes.
    pub fn iter(&self) -> impl Iterator<Item = (Extent, &'a [u8])> + use<'a> {
        let mut data = self.data;
        self.table().map(move |extent| {
            let (bytes, rest) = data.split_at(extent.len as usize);
            data = rest;
            (extent, bytes)
        })
    }

    /// Writes the plain bytes: data where there is, zeros elsewhere.
    #[expect(clippy::indexing_slicing, reason = "`parse` saw the extents ascend within the chunk")]
    pub(super) fn fill(&self, plain: &mut [u8]) {
        let mut end = 0;
        for (extent, bytes) in self.iter() {
            let start = extent.offset as usize;
            plain[end..start].fill(0);
            end = start + bytes.len();
            plain[start..end].copy_from_slice(bytes);
        }
        plain[end..].fill(0);
    }

    fn table(&self) -> impl Iterator<Item = Extent> + use<'a> {
        self.table.as_chunks::<EXTENT_LEN>().0.iter().map(|[o0, o1, o2, o3, l0, l1, l2, l3]| Extent {
            offset: u32::from_le_bytes([*o0, *o1, *o2, *o3]),
            len: u32::from_le_bytes([*l0, *l1, *l2, *l3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use xfer_proto::wire::Codec;

    fn extent(offset: u32, len: u32) -> Extent {
        Extent { offset, len }
    }

    fn stored(extents: &[Extent], data: usize) -> Vec<u8> {
        let mut out = (extents.len() as u32).to_le_bytes().to_vec();
        for e in extents {
            out.extend_from_slice(&e.offset.to_le_bytes());
            out.extend_from_slice(&e.len.to_le_bytes());
        }
        out.resize(out.len() + data, 9);
        out
    }

    #[test]
    fn data_between_holes_comes_back() {
        for extents in [
            &[extent(0, 1)][..],
            &[extent(99, 1)],
            &[extent(0, 10), extent(10, 10), extent(50, 5)],
            &[extent(3, 70)],
        ] {
            let mut plain = vec![0; 100];
            for e in extents {
                plain[e.offset as usize..e.end() as usize].fill(e.offset as u8 + 1);
            }
            let mut out = Vec::new();
            assert!(encode_extents(&plain, extents, &mut out));
            let mut back = vec![7; 100];
            assert_eq!(decode(Codec::Extents, &out, &mut back), Ok(()));
            assert_eq!(back, plain);
            let parsed = Extents::parse(&out, 100).expect("own bytes");
            assert!(parsed.iter().map(|(e, _)| e).eq(extents.iter().copied()));
        }
    }

    #[test]
    fn one_hole_has_no_stored_bytes() {
        let mut out = Vec::new();
        assert!(encode_extents(&[0; 16], &[], &mut out));
        assert!(out.is_empty());
        let mut back = [7; 16];
        assert_eq!(decode(Codec::Extents, &out, &mut back), Ok(()));
        assert_eq!(back, [0; 16]);
        assert!(!encode_extents(&[], &[], &mut out));
    }

    #[test]
    fn a_table_that_eats_the_hole_is_not_worth_it() {
        let mut out = Vec::new();
        assert!(encode_extents(&[1; 113], &[extent(0, 100)], &mut out));
        assert_eq!(out.len(), 112);
        out.clear();
        assert!(!encode_extents(&[1; 112], &[extent(0, 100)], &mut out));
        assert!(out.is_empty());
    }

    #[test]
    fn malformed_extents_are_refused() {
        let cases = [
            stored(&[], 0),
            stored(&[extent(0, 0)], 0),
            stored(&[extent(5, 5), extent(9, 1)], 6),
            stored(&[extent(5, 5), extent(0, 1)], 6),
            stored(&[extent(95, 6)], 6),
            stored(&[extent(u32::MAX, u32::MAX)], 6),
            stored(&[extent(0, 5)], 4),
            stored(&[extent(0, 5)], 6),
            vec![1, 0, 0],
            vec![1, 0, 0, 0, 1],
            vec![255; 40],
        ];
        for case in cases {
            assert_eq!(Extents::parse(&case, 100).map(|_| ()), Err(DecodeError::Extents), "{case:?}");
        }
        assert!(Extents::parse(&stored(&[extent(95, 5)], 5), 100).is_ok());
    }
}
