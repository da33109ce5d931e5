//! Frames to be sent, and who holds each: nobody, the burst, or the kernel (stages 4 and 5).
//!
//! A frame is free again when its last holder let go: the burst when all of it was sent or given up, the kernel when it
//! is done with each message that it sends without copying. Only a free frame is ever lent for writing.

use crate::error::IoError;
use crate::limits::{FRAME_BYTES, SEND_FRAMES_HELD};
use crate::memory::OwnBytes;

/// The frames of one queue.
pub(super) struct Frames {
    bytes: OwnBytes,
    /// Free frames; the one used last, which is still in the cache, is on top.
    free: Vec<u8>,
    holders: [u8; SEND_FRAMES_HELD],
}

impl Frames {
    pub(super) fn new() -> Result<Self, IoError> {
        Ok(Frames {
            bytes: OwnBytes::new(SEND_FRAMES_HELD * FRAME_BYTES)?,
            free: (0..SEND_FRAMES_HELD as u8).rev().collect(),
            holders: [0; SEND_FRAMES_HELD],
        })
    }

    /// How many nobody holds.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// The frame that [`Self::take`] will give, to be filled.
    pub(super) fn next(&mut self) -> Option<&mut [u8]> {
        let frame = *self.free.last()?;
        self.bytes.lend(place(frame));
        Some(self.bytes(frame, 0, FRAME_BYTES))
    }

    /// Takes the next frame; the caller is its one holder. Panics when none is free.
    pub(super) fn take(&mut self) -> u8 {
        let frame = self.free.pop().expect("a frame was committed that was not reserved");
        assert_eq!(self.holders[usize::from(frame)], 0, "a free frame is held");
        self.holders[usize::from(frame)] = 1;
        self.bytes.lend(place(frame));
        frame
    }

    /// One more holder of a frame that is held.
    pub(super) fn hold(&mut self, frame: u8) {
        let holders = &mut self.holders[usize::from(frame)];
        assert!(*holders > 0, "a free frame is sent");
        *holders += 1;
    }

    /// One holder less.
    pub(super) fn release(&mut self, frame: u8) {
        let holders = &mut self.holders[usize::from(frame)];
        assert!(*holders > 0, "a frame is released twice");
        *holders -= 1;
        if *holders == 0 {
            self.bytes.rest(place(frame));
            self.free.push(frame);
        }
    }

    /// `len` bytes of a frame from `offset`.
    pub(super) fn bytes(&mut self, frame: u8, offset: usize, len: usize) -> &mut [u8] {
        let start = usize::from(frame) * FRAME_BYTES + offset;
        &mut self.bytes[start..start + len]
    }
}

/// Where a frame lies.
fn place(frame: u8) -> std::ops::Range<usize> {
    let start = usize::from(frame) * FRAME_BYTES;
    start..start + FRAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_used_last_is_the_next() {
        let mut frames = Frames::new().unwrap();
        let first = frames.take();
        let second = frames.take();
        assert_ne!(first, second);
        frames.release(first);
        assert_eq!(frames.take(), first);
    }

    #[test]
    fn a_frame_is_free_when_its_last_holder_lets_go() {
        let mut frames = Frames::new().unwrap();
        let held = frames.take();
        frames.hold(held);
        frames.release(held);
        for _ in 1..SEND_FRAMES_HELD {
            assert_ne!(frames.take(), held);
        }
        assert!(frames.next().is_none());
        frames.release(held);
        assert_eq!(frames.next().unwrap().len(), FRAME_BYTES);
        assert_eq!(frames.take(), held);
    }

    #[test]
    #[should_panic(expected = "released twice")]
    fn releasing_twice_is_a_bug() {
        let mut frames = Frames::new().unwrap();
        let frame = frames.take();
        frames.release(frame);
        frames.release(frame);
    }
}
