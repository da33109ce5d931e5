//! The opened payload of a CONTROL packet: its frames one after another.

use xfer_proto::limits;
use xfer_proto::wire::{Ack, Frame, Frames, Window, Writer};

/// Frames come back from their own bytes, all bytes belong to some frame, and what ACK and WINDOW name is in order.
pub(crate) fn run(input: &[u8]) {
    let mut taken = 0;
    for frame in Frames::new(input) {
        let Ok(frame) = frame else { return };
        let len = frame.encoded_len();
        let mut out = vec![0xee; len];
        let mut w = Writer::new(&mut out);
        frame.encode(&mut w);
        assert_eq!(w.space(), 0, "{frame:?} is as long as it says");
        assert_eq!(out, &input[taken..taken + len], "{frame:?}");
        taken += len;
        match frame {
            Frame::Ack(ack) => check_ack(&ack),
            Frame::Window(window) => check_window(&window),
            Frame::Close { text, .. } => assert!(text.len() <= limits::CLOSE_TEXT_LEN_MAX),
            Frame::Stream { offset, bytes } => assert!(offset.checked_add(bytes.len() as u64).is_some()),
            _ => {}
        }
    }
    assert_eq!(taken, input.len());
}

/// Ranges descend with gaps between them, and stay at 0 or above.
fn check_ack(ack: &Ack<'_>) {
    let mut below = ack.largest.checked_add(2).expect("numbers end far below 2^64");
    let mut count = 0;
    for range in ack.ranges() {
        assert!(range.start() <= range.end(), "{range:?}");
        assert!(*range.end() + 1 < below, "{range:?} touches the one before it");
        below = *range.start();
        count += 1;
    }
    assert!((1..=limits::ACK_RANGES_MAX).contains(&count));
}

fn check_window(window: &Window<'_>) {
    assert!(window.base <= window.limit && window.limit - window.base <= limits::WINDOW_CHUNKS_MAX);
    assert!(window.accepted.len() <= limits::WINDOW_WORDS_MAX);
    (0..window.accepted.len()).for_each(|i| _ = window.accepted.word(i));
}
