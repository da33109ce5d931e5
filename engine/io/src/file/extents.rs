//! Where a file has data and where holes, by `SEEK_DATA` and `SEEK_HOLE` (lseek(2)).

use std::ops::Range;

use super::error::FileError;
use super::handle::File;

/// Data ranges of a file, in ascending order and not touching. A file system that knows no holes has one range. The
/// file may change meanwhile: ranges then describe some state between.
pub struct Extents<'f> {
    file: &'f File,
    next: Option<u64>,
}

impl<'f> Extents<'f> {
    pub(super) fn new(file: &'f File, start: u64) -> Self {
        Extents { file, next: Some(start) }
    }

    fn find(&mut self, from: u64) -> Result<Option<Range<u64>>, FileError> {
        let Some(start) = self.file.seek(from, libc::SEEK_DATA)? else { return Ok(None) };
        // A file cut between the two calls has no hole to find: it ends where it now ends.
        let Some(end) = self.file.seek(start, libc::SEEK_HOLE)? else { return Ok(None) };
        self.next = Some(end);
        Ok(Some(start..end))
    }
}

impl Iterator for Extents<'_> {
    type Item = Result<Range<u64>, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.next.take()?;
        self.find(from).transpose()
    }
}
