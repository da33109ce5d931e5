//! Stage 1: an object's bytes into a chunk buffer, holes left out.

use crate::codec::Extent;
use crate::limits::EXTENTS_COUNTED_MAX;
use std::ops::Range;
use xfer_io::file::{File, FileError};
use xfer_proto::space::Piece;

/// Why a piece could not be read as listed.
pub(super) enum Unread {
    /// The system refused.
    Failed(FileError),
    /// The file ends before the piece does.
    Short,
}

impl From<FileError> for Unread {
    fn from(error: FileError) -> Self {
        Unread::Failed(error)
    }
}

/// Where a chunk's bytes are data, gathered from its pieces.
#[derive(Default)]
pub(super) struct DataMap {
    extents: Vec<Extent>,
    has_holes: bool,
}

impl DataMap {
    /// The data extents, when there are holes besides them. A piece that failed counts as far as it was read: the rest is zeros.
    pub(super) fn extents(&self) -> Option<&[Extent]> {
        self.has_holes.then_some(&self.extents)
    }

    fn add(&mut self, offset: u32, len: u32) {
        match self.extents.last_mut() {
            Some(last) if last.end() == u64::from(offset) => last.len += len,
            _ if len > 0 => self.extents.push(Extent { offset, len }),
            _ => {}
        }
    }
}

/// Data ranges of a file within `range`.
pub(super) fn data_in(file: &File, range: Range<u64>) -> Result<Vec<Range<u64>>, FileError> {
    let mut found = Vec::new();
    for extent in file.extents(range.start) {
        let extent = extent?;
        let part = extent.start.max(range.start)..extent.end.min(range.end);
        if extent.start >= range.end {
            break;
        }
        if !part.is_empty() {
            found.push(part);
        }
        if extent.end >= range.end {
            break;
        }
    }
    Ok(found)
}

/// Bytes of data in a file of `size` bytes. Of one in very many extents the part behind the first ones counts as data.
pub(super) fn data_bytes(file: &File, size: u64) -> Result<u64, FileError> {
    let (mut bytes, mut end) = (0, 0);
    for extent in file.extents(0).take(EXTENTS_COUNTED_MAX) {
        let extent = extent?;
        end = extent.end.min(size);
        bytes += end.saturating_sub(extent.start);
    }
    let is_more = file.extents(end).next().transpose()?.is_some_and(|extent| extent.start < size);
    Ok(if is_more { bytes + (size - end) } else { bytes })
}

/// Fills `out`, the piece's part of its chunk.
pub(super) fn read(file: &File, piece: &Piece, out: &mut [u8], map: &mut DataMap) -> Result<(), Unread> {
    full(file, out, piece.object_offset)?;
    map.add(piece.chunk_offset, piece.len);
    Ok(())
}

/// As [`read`], reading only `data`, which are the file's data ranges there.
pub(super) fn read_data(
    file: &File,
    piece: &Piece,
    data: &[Range<u64>],
    out: &mut [u8],
    map: &mut DataMap,
) -> Result<(), Unread> {
    let mut end = 0;
    for range in data {
        let start = (range.start - piece.object_offset) as usize;
        let stop = (range.end - piece.object_offset) as usize;
        map.has_holes |= start > end;
        out[end..start].fill(0);
        full(file, &mut out[start..stop], range.start)?;
        map.add(piece.chunk_offset + start as u32, (stop - start) as u32);
        end = stop;
    }
    map.has_holes |= end < out.len();
    out[end..].fill(0);
    Ok(())
}

fn full(file: &File, out: &mut [u8], offset: u64) -> Result<(), Unread> {
    if file.read_at(out, offset)? == out.len() { Ok(()) } else { Err(Unread::Short) }
}
