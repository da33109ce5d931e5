//! What is sent and what is counted: the same for both libraries.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// Bytes of one piece; the source is one such piece, over and over, so it stays in the cache.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces handed over in one call.
pub(crate) const PIECES: usize = 8;

/// A source that does not run dry before its time is over.
pub(crate) struct Source {
    piece: Bytes,
    end: Instant,
}

impl Source {
    /// One that lasts `length` from now on.
    pub(crate) fn lasting(length: Duration) -> Self {
        let noise = (0..PIECE_BYTES).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 13) as u8);
        Self { piece: noise.collect(), end: Instant::now() + length }
    }

    /// What comes next; nothing once its time is over. The bytes are shared, not copied.
    pub(crate) fn pieces(&self) -> Option<[Bytes; PIECES]> {
        (Instant::now() < self.end).then(|| std::array::from_fn(|_| self.piece.clone()))
    }
}

/// What the receiver saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) bytes: u64,
    /// From the first content to the last.
    pub(crate) nanos: u64,
}

impl Report {
    /// As it travels back to the sender.
    pub(crate) fn encode(self) -> [u8; 16] {
        let mut text = [0; 16];
        text[..8].copy_from_slice(&self.bytes.to_be_bytes());
        text[8..].copy_from_slice(&self.nanos.to_be_bytes());
        text
    }

    /// Reads what [`Report::encode`] made; none of another length.
    pub(crate) fn decode(text: &[u8]) -> Option<Self> {
        let (bytes, nanos) = text.split_at_checked(8)?;
        let number = |part: &[u8]| part.try_into().ok().map(u64::from_be_bytes);
        Some(Self { bytes: number(bytes)?, nanos: number(nanos)? })
    }
}

/// A sink that counts and forgets.
#[derive(Default)]
pub(crate) struct Sink {
    bytes: u64,
    span: Option<(Instant, Instant)>,
}

impl Sink {
    /// `bytes` more have come.
    pub(crate) fn take(&mut self, bytes: usize) {
        let now = Instant::now();
        self.bytes += bytes as u64;
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
    }

    pub(crate) fn report(&self) -> Report {
        let length = self.span.map_or(Duration::ZERO, |(first, last)| last - first);
        Report { bytes: self.bytes, nanos: u64::try_from(length.as_nanos()).unwrap_or(u64::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_travels() {
        let report = Report { bytes: 1 << 40, nanos: 10_000_000_001 };
        assert_eq!(Report::decode(&report.encode()), Some(report));
        assert_eq!(Report::decode(&report.encode()[..15]), None);
        assert_eq!(Report::decode(&[0; 17]), None);
        assert_eq!(Report::decode(&[]), None);
    }

    #[test]
    fn a_sink_counts_from_its_first_content_to_its_last() {
        let mut sink = Sink::default();
        assert_eq!(sink.report(), Report::default());
        sink.take(5);
        assert_eq!(sink.report(), Report { bytes: 5, nanos: 0 });
        sink.take(7);
        assert_eq!(sink.report().bytes, 12);
    }

    #[test]
    fn a_source_ends_with_its_time() {
        assert!(Source::lasting(Duration::ZERO).pieces().is_none());
        let pieces = Source::lasting(Duration::from_secs(3_600)).pieces().unwrap();
        assert!(
            pieces.iter().all(|piece| piece.len() == PIECE_BYTES && piece.as_ptr() == pieces[0].as_ptr())
        );
    }
}
