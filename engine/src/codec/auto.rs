//! When compressing pays: policy of [`super::Compression::Auto`].
//!
//! In: how long compressing chunks took and what it saved, measured by the caller; the current sending rate. Out: the codec to try on
//! the next chunk. Knows no clock.

use crate::limits::{AUTO_HOPELESS_CHUNKS, AUTO_PERIOD_CHUNKS, AUTO_PROBE_CHUNKS};
use std::time::Duration;
use xfer_proto::wire::Codec;

/// What compressing one chunk cost and brought.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// [`Codec::Lz4`] or [`Codec::Zstd`].
    pub codec: Codec,
    /// Bytes before.
    pub plain: u32,
    /// Bytes after; `plain` when it did not shrink.
    pub stored: u32,
    /// How long it took.
    pub took: Duration,
}

/// Sums of a codec's samples since the last probe began.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    plain: u64,
    saved: u64,
    took_ns: u64,
}

impl Cost {
    /// Nanoseconds gained per GB of plain bytes: what sending the saved bytes would take at `rate` bytes a second less what
    /// compressing takes. `None` when nothing is known.
    fn gain(&self, rate: u64) -> Option<i128> {
        if self.plain == 0 || rate == 0 {
            return None;
        }
        let sending_ns = i128::from(self.saved) * 1_000_000_000 / i128::from(rate);
        Some((sending_ns - i128::from(self.took_ns)) * 1_000_000_000 / i128::from(self.plain))
    }
}

/// Compresses only while that is faster than sending what it saves. Tries LZ4 and Zstandard in turn on the first 16 chunks (fewer when
/// nothing shrinks), then follows the sending rate with the costs measured, and tries again every 256 chunks.
#[derive(Clone, Debug, Default)]
pub struct Auto {
    /// Chunks asked about since the last probe began.
    chunks: u32,
    /// Samples of this probe and how many of them shrank.
    samples: u32,
    shrank: u32,
    costs: [Cost; 2],
}

const CODECS: [Codec; 2] = [Codec::Lz4, Codec::Zstd];

impl Auto {
    /// A policy that has seen nothing.
    pub fn new() -> Self {
        Auto::default()
    }

    /// The codec to try on the next chunk. `rate` is what the connection sends now, in bytes a second; 0: not known, which counts as
    /// fast once the probe is over.
    #[expect(clippy::indexing_slicing, reason = "a remainder is below the length")]
    pub fn choose(&mut self, rate: u64) -> Option<Codec> {
        if self.chunks == AUTO_PERIOD_CHUNKS {
            *self = Auto::default();
        }
        let turn = self.chunks;
        self.chunks += 1;
        if turn < AUTO_PROBE_CHUNKS && !self.is_hopeless() {
            return Some(CODECS[turn as usize % CODECS.len()]);
        }
        let gains = CODECS.into_iter().zip(&self.costs).filter_map(|(c, cost)| Some((c, cost.gain(rate)?)));
        gains.filter(|(_, gain)| *gain > 0).max_by_key(|(_, gain)| *gain).map(|(codec, _)| codec)
    }

    /// Tells what the codec that was chosen did.
    #[expect(clippy::indexing_slicing, reason = "there is a cost for each codec")]
    pub fn record(&mut self, sample: Sample) {
        let Some(i) = CODECS.iter().position(|c| *c == sample.codec) else { return };
        let saved = sample.plain.saturating_sub(sample.stored);
        let cost = &mut self.costs[i];
        cost.plain += u64::from(sample.plain);
        cost.saved += u64::from(saved);
        cost.took_ns += u64::try_from(sample.took.as_nanos()).unwrap_or(u64::MAX / (1 << 16));
        self.samples += 1;
        self.shrank += u32::from(saved > sample.plain / 32);
    }

    fn is_hopeless(&self) -> bool {
        self.samples >= AUTO_HOPELESS_CHUNKS && self.shrank == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u32 = 1 << 20;
    const SLOW: u64 = 10_000_000;
    const FAST: u64 = 4_000_000_000;

    /// LZ4 halves at 0.6 GB/s, Zstandard leaves a third at 0.5 GB/s.
    fn compressible(codec: Codec) -> Sample {
        let (stored, us) = if codec == Codec::Lz4 { (CHUNK / 2, 1_750) } else { (CHUNK / 3, 2_100) };
        Sample { codec, plain: CHUNK, stored, took: Duration::from_micros(us) }
    }

    fn incompressible(codec: Codec) -> Sample {
        Sample { codec, plain: CHUNK, stored: CHUNK, took: Duration::from_micros(90) }
    }

    fn run(auto: &mut Auto, chunks: u32, rate: u64, sample: fn(Codec) -> Sample) -> Vec<Option<Codec>> {
        (0..chunks)
            .map(|_| {
                let codec = auto.choose(rate);
                codec.into_iter().for_each(|c| auto.record(sample(c)));
                codec
            })
            .collect()
    }

    fn compressed(chosen: &[Option<Codec>]) -> usize {
        chosen.iter().flatten().count()
    }

    #[test]
    fn a_slow_path_gets_the_smallest_chunks() {
        let chosen = run(&mut Auto::new(), 256, SLOW, compressible);
        assert_eq!(chosen[..2], [Some(Codec::Lz4), Some(Codec::Zstd)]);
        assert!(chosen[16..].iter().all(|c| *c == Some(Codec::Zstd)));
    }

    #[test]
    fn a_fast_path_gets_plain_chunks_after_sixteen() {
        let chosen = run(&mut Auto::new(), 256, FAST, compressible);
        assert_eq!(compressed(&chosen[..16]), 16);
        assert_eq!(compressed(&chosen[16..]), 0);
    }

    #[test]
    fn a_rate_that_is_not_known_gets_plain_chunks() {
        let chosen = run(&mut Auto::new(), 256, 0, compressible);
        assert_eq!(compressed(&chosen), 16);
    }

    #[test]
    fn what_does_not_shrink_costs_four_tries_of_256() {
        let mut auto = Auto::new();
        for _ in 0..3 {
            let chosen = run(&mut auto, 256, SLOW, incompressible);
            assert_eq!((compressed(&chosen), compressed(&chosen[..4])), (4, 4));
        }
    }

    #[test]
    fn the_rate_decides_anew_with_each_chunk() {
        let mut auto = Auto::new();
        run(&mut auto, 16, FAST, compressible);
        assert_eq!(auto.choose(FAST), None);
        assert_eq!(auto.choose(SLOW), Some(Codec::Zstd));
        assert_eq!(auto.choose(FAST), None);
    }

    #[test]
    fn it_tries_again_after_256_chunks() {
        let mut auto = Auto::new();
        run(&mut auto, 256, SLOW, incompressible);
        let chosen = run(&mut auto, 20, SLOW, compressible);
        assert_eq!(compressed(&chosen), 20);
    }

    #[test]
    fn breaking_even_is_not_faster() {
        let mut auto = Auto::new();
        let even =
            |codec| Sample { codec, plain: CHUNK, stored: CHUNK / 2, took: Duration::from_nanos(524_288) };
        run(&mut auto, 16, 1_000_000_000, even);
        assert_eq!(auto.choose(1_000_000_000), None);
        assert!(auto.choose(999_000_000).is_some());
    }
}
