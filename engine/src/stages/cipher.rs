//! Stages 4 and 7: content into the frames of trains, and received trains into chunk buffers, a packet at a time.

use super::stopwatch::{Cost, Stopwatch};
use super::{CHUNK, writer};
use crate::api::Suite;
use crate::crypto::{AwsCrypto, AwsKey};
use std::hint::black_box;
use std::time::Duration;
use xfer_io::limits::{FRAME_BYTES, SEND_FRAMES, TRAIN_BYTES_MAX, TRAIN_SEGMENTS_MAX};
use xfer_io::pool::ChunkBuf;
use xfer_proto::crypto::Crypto as _;
use xfer_proto::wire::{HEADER_LEN, TAG_LEN};

/// How content lies in trains.
#[derive(Clone, Copy)]
pub(super) struct Train {
    /// Bytes of content in a packet.
    pub(super) payload: usize,
    /// Bytes of a packet.
    pub(super) packet: usize,
    /// Packets of a train.
    pub(super) packets: usize,
}

impl Train {
    pub(super) fn new(payload: usize, sealed: bool) -> Train {
        let packet = HEADER_LEN + payload + if sealed { TAG_LEN } else { 0 };
        let packets = (TRAIN_BYTES_MAX / packet).clamp(1, TRAIN_SEGMENTS_MAX);
        Train { payload, packet, packets }
    }

    /// Bytes of content.
    pub(super) fn content(&self) -> usize {
        self.payload * self.packets
    }

    /// Bytes in all.
    pub(super) fn len(&self) -> usize {
        self.packet * self.packets
    }
}

/// The key of a suite; `None` where content is sent plain.
fn key(suite: Suite) -> Option<AwsKey> {
    let (suite, key_len) = match suite {
        Suite::Aes128Gcm => (xfer_proto::crypto::Suite::Aes128Gcm, 16),
        Suite::ChaCha20Poly1305 => (xfer_proto::crypto::Suite::ChaCha20Poly1305, 32),
        Suite::Plain => return None,
    };
    Some(AwsCrypto.key(suite, &[7; 32][..key_len], [0; 12]))
}

/// Seals content into frames, one train after the other.
pub(super) struct Sealer {
    key: AwsKey,
    train: Train,
}

impl Sealer {
    pub(super) fn new(suite: Suite, payload: usize) -> Option<Sealer> {
        Some(Sealer { key: key(suite)?, train: Train::new(payload, true) })
    }

    /// Seals `content` again and again, in pieces of `piece` bytes.
    pub(super) fn cost(&self, time: Duration, content: &[u8], piece: usize) -> Cost {
        self.cost_in_turn(time, content.chunks(piece))
    }

    /// Seals the pieces in turn.
    pub(super) fn cost_in_turn<'a>(
        &self,
        time: Duration,
        pieces: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Cost {
        let mut frames = vec![0; SEND_FRAMES * FRAME_BYTES];
        let mut place = Frames::default();
        let mut watch = Stopwatch::start(time);
        for piece in pieces.cycle() {
            if !watch.goes_on() {
                break;
            }
            watch.time(piece.len(), || self.seal(black_box(piece), &mut frames, &mut place));
            black_box(&mut frames);
        }
        watch.cost()
    }

    fn seal(&self, content: &[u8], frames: &mut [u8], place: &mut Frames) {
        let header = [0; HEADER_LEN];
        for train in content.chunks(self.train.content()) {
            let frame = place.next(frames);
            let packets = train.chunks(self.train.payload).zip(frame.chunks_mut(self.train.packet));
            for (plain, packet) in packets {
                let (head, sealed) = packet.split_at_mut(HEADER_LEN);
                head.copy_from_slice(&header);
                let out = &mut sealed[..plain.len() + TAG_LEN];
                AwsCrypto.seal(&self.key, place.packets, &header, plain, out);
                place.packets += 1;
            }
        }
    }
}

/// The frame that comes next, and the number of the next packet.
#[derive(Default)]
struct Frames {
    trains: usize,
    packets: u64,
}

impl Frames {
    fn next<'a>(&mut self, frames: &'a mut [u8]) -> &'a mut [u8] {
        let at = self.trains % SEND_FRAMES * FRAME_BYTES;
        self.trains += 1;
        &mut frames[at..][..FRAME_BYTES]
    }
}

/// Opens received trains into `chunks` in turn; copies them where content is plain.
pub(super) fn opening(suite: Suite, payload: usize, time: Duration, chunks: &[ChunkBuf]) -> Cost {
    let key = key(suite);
    let train = Train::new(payload, key.is_some());
    let header = [0; HEADER_LEN];
    let mut frames = vec![0; SEND_FRAMES * FRAME_BYTES];
    if let Some(key) = &key {
        let plain = vec![0x5a; payload];
        for packet in frames.chunks_mut(FRAME_BYTES).flat_map(|f| f[..train.len()].chunks_mut(train.packet)) {
            AwsCrypto.seal(key, 0, &header, &plain, &mut packet[HEADER_LEN..]);
        }
    }
    let open = |packet: &[u8], out: &mut [u8]| match &key {
        Some(key) => assert!(AwsCrypto.open(key, 0, &header, &packet[HEADER_LEN..], out), "a packet opens"),
        None => out.copy_from_slice(&packet[HEADER_LEN..]),
    };
    let mut watch = Stopwatch::start(time);
    // Whole packets: of a chunk's last bytes nothing arrives.
    let content = CHUNK / payload * payload;
    for chunk in chunks.iter().cycle() {
        if !watch.goes_on() {
            break;
        }
        let mut bytes = writer(chunk);
        watch.time(content, || {
            let packets =
                frames.chunks(FRAME_BYTES).flat_map(|f| f[..train.len()].chunks(train.packet)).cycle();
            bytes.chunks_exact_mut(payload).zip(packets).for_each(|(out, packet)| open(packet, out));
        });
        black_box(&mut bytes[..]);
    }
    watch.cost()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trains_fit_their_frames() {
        for payload in [1, 1_424, 1_440, 8_912, TRAIN_BYTES_MAX - HEADER_LEN - TAG_LEN] {
            let train = Train::new(payload, true);
            assert!(train.len() <= TRAIN_BYTES_MAX && train.packets >= 1, "{payload}");
        }
        assert_eq!(Train::new(1_424, true).packets, 44);
        assert_eq!(Train::new(1, false).packets, TRAIN_SEGMENTS_MAX);
    }

    #[test]
    fn all_content_is_sealed_under_numbers_of_its_own() {
        let sealer = Sealer::new(Suite::Aes128Gcm, 1_000).unwrap();
        let mut frames = vec![0; SEND_FRAMES * FRAME_BYTES];
        let mut place = Frames::default();
        let content: Vec<u8> = (0..150_001).map(|i| i as u8).collect();
        sealer.seal(&content, &mut frames, &mut place);
        assert_eq!((place.trains, place.packets), (3, 151));
        let mut plain = vec![0; 1_000];
        let packet = &frames[FRAME_BYTES..][..sealer.train.packet];
        let number = sealer.train.packets as u64;
        assert!(AwsCrypto.open(&sealer.key, number, &[0; HEADER_LEN], &packet[HEADER_LEN..], &mut plain));
        assert_eq!(plain, content[sealer.train.content()..][..1_000]);
    }
}
