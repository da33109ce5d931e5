//! Ranges that come with the answer of one control call: part by part, each range verified when its last one is here.

use super::{FileRange, ReadRange};
use crate::client::Client;
use crate::pb;
use crate::status;
use tonic::{Code, Status};
use xfer_engine::{Class, Error, Side};

/// Why a call as a whole came to nothing.
pub(super) enum Failed {
    /// The node has no place for it now.
    Crowded(Error),
    /// Another cause.
    Other(Error),
}

/// Asks for ranges with one call, and tells of each as it ends: its number and what came of it. Those that were not told failed by what
/// is returned.
///
/// # Errors
/// The call's own.
pub(super) async fn read(
    client: &Client,
    ranges: &[FileRange],
    told: &mut (dyn FnMut(usize, Result<ReadRange, Error>) + Send),
) -> Result<(), Failed> {
    let failed = |status: Status| {
        let error = status::error(&status, client.node());
        match status.code() {
            Code::ResourceExhausted => Failed::Crowded(error),
            Code::Unimplemented => Failed::Other(older(client.node())),
            _ => Failed::Other(error),
        }
    };
    let request = pb::ReadRequest { ranges: ranges.iter().map(FileRange::to_message).collect() };
    let mut parts = client.files().read(client.short(request)).await.map_err(failed)?.into_inner();
    let mut gathering = Gathering::new(ranges, client.node());
    while let Some(part) = parts.message().await.map_err(failed)? {
        if let Some((range, read)) = gathering.part(part).map_err(Failed::Other)? {
            told(range, read);
        }
    }
    gathering.finish().map_err(Failed::Other)
}

/// A node that knows no ranges.
pub(super) fn older(node: &str) -> Error {
    Error::new(Class::Refused, "the node is older than this: it reads no ranges").on(Side::Source).node(node)
}

/// The number of a range, and what came of it.
type Ended = (usize, Result<ReadRange, Error>);

/// Puts the parts of an answer together. What a node says that no range can be is an error, and no more is kept than was asked for.
pub(crate) struct Gathering<'a> {
    ranges: &'a [FileRange],
    node: &'a str,
    /// The range whose parts come.
    at: usize,
    content: Vec<u8>,
    hasher: blake3::Hasher,
}

impl<'a> Gathering<'a> {
    /// Nothing of `ranges` is here.
    pub(crate) fn new(ranges: &'a [FileRange], node: &'a str) -> Self {
        Gathering { ranges, node, at: 0, content: Vec::new(), hasher: blake3::Hasher::new() }
    }

    /// Takes the next part. The number of a range that ended with it, and what came of it.
    ///
    /// # Errors
    /// `Other`: the part is none of an answer to what was asked.
    pub(crate) fn part(&mut self, part: pb::ReadResponse) -> Result<Option<Ended>, Error> {
        let Some(range) = self.ranges.get(self.at).filter(|_| part.range as usize == self.at) else {
            return Err(self.broken("a part of a range that was not to come next"));
        };
        let len = (self.content.len() as u64).saturating_add(part.content.len() as u64);
        if len > range.len {
            return Err(self.broken("more of a range than was asked for"));
        }
        self.hasher.update(&part.content);
        // The first part is often all.
        match self.content.is_empty() {
            true => self.content = part.content,
            false => self.content.extend_from_slice(&part.content),
        }
        let Some(end) = part.end else { return Ok(None) };
        let (content, digest) = (std::mem::take(&mut self.content), *self.hasher.finalize().as_bytes());
        self.hasher.reset();
        let number = self.at;
        self.at += 1;
        if let Some(error) = &end.error {
            return Ok(Some((number, Err(status::from_info(error).node(self.node)))));
        }
        if end.digest != digest {
            let wrong = Error::new(Class::Digest, "what arrived is not what the node read:");
            return Ok(Some((number, Err(wrong.on(Side::Source).node(self.node).object(&range.path[..])))));
        }
        if content.len() as u64 != range.len_within(end.size) {
            return Err(self.broken("another range than was asked for"));
        }
        Ok(Some((number, Ok(ReadRange { content, digest, file_size: end.size, mtime_ns: end.mtime_ns }))))
    }

    /// Nothing follows.
    ///
    /// # Errors
    /// `Temporary`: not all of it came.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.at == self.ranges.len() {
            return Ok(());
        }
        Err(Error::new(Class::Temporary, "the node's answer ended early").on(Side::Source).node(self.node))
    }

    fn broken(&self, what: &str) -> Error {
        Error::new(Class::Other, "the node does not answer what was asked:").node(self.node).because(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(len: u64) -> FileRange {
        FileRange { path: b"f".to_vec(), offset: 2, len }
    }

    fn part(range: u32, content: &[u8], end: Option<pb::RangeEnd>) -> pb::ReadResponse {
        pb::ReadResponse { range, content: content.to_vec(), end }
    }

    fn end(content: &[u8], size: u64) -> Option<pb::RangeEnd> {
        let digest = blake3::hash(content).as_bytes().to_vec();
        Some(pb::RangeEnd { digest, size, mtime_ns: 7, error: None })
    }

    #[test]
    fn parts_become_ranges_in_order() {
        let ranges = [asked(4), asked(1), asked(9)];
        let mut gathering = Gathering::new(&ranges, "n");
        assert!(gathering.part(part(0, b"ab", None)).unwrap().is_none());
        let (number, read) = gathering.part(part(0, b"cd", end(b"abcd", 6))).unwrap().unwrap();
        let read = read.unwrap();
        assert_eq!((number, &read.content[..], read.file_size, read.mtime_ns), (0, &b"abcd"[..], 6, 7));
        let info = pb::ErrorInfo { exit_code: 4, ..Default::default() };
        let failed = pb::RangeEnd { error: Some(info), ..Default::default() };
        let (number, read) = gathering.part(part(1, b"x", Some(failed))).unwrap().unwrap();
        assert_eq!((number, read.unwrap_err().class), (1, Class::NoSource));
        // The file ends before the range begins.
        let (number, read) = gathering.part(part(2, b"", end(b"", 2))).unwrap().unwrap();
        assert_eq!((number, read.unwrap().content.len()), (2, 0));
        assert!(gathering.finish().is_ok());
    }

    #[test]
    fn a_wrong_digest_fails_its_range_alone() {
        let ranges = [asked(2), asked(2)];
        let mut gathering = Gathering::new(&ranges, "n");
        let (_, read) = gathering.part(part(0, b"ab", end(b"ax", 4))).unwrap().unwrap();
        assert_eq!(read.unwrap_err().class, Class::Digest);
        let (_, read) = gathering.part(part(1, b"ab", end(b"ab", 4))).unwrap().unwrap();
        assert_eq!(read.unwrap().content, b"ab");
    }

    #[test]
    fn what_was_not_asked_for_is_no_answer() {
        let ranges = [asked(2), asked(2)];
        for wrong in [
            part(1, b"", None),
            part(2, b"", None),
            part(u32::MAX, b"", None),
            part(0, b"abc", None),
            part(0, b"a", end(b"a", 9)),
            part(0, b"ab", end(b"ab", 3)),
            part(0, b"a", end(b"a", 0)),
        ] {
            let mut gathering = Gathering::new(&ranges, "n");
            assert_eq!(gathering.part(wrong.clone()).err().map(|e| e.class), Some(Class::Other), "{wrong:?}");
        }
        let mut gathering = Gathering::new(&ranges, "n");
        gathering.part(part(0, b"ab", end(b"ab", 4))).unwrap();
        assert_eq!(gathering.finish().unwrap_err().class, Class::Temporary);
    }
}
