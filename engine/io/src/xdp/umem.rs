//! Memory shared with the kernel, in frames (`XDP_UMEM_REG`), and who has each frame.
//!
//! Whoever holds a [`Frame`] has its bytes. There is one for each frame at first and none is ever copied: giving a frame to the
//! kernel ends it, and only what the kernel gives back makes one again. So a frame that the kernel may touch cannot be named here.
//! The memory is on hugepages where there are some; else on ordinary ones, and it says so.

use std::ops::Range;
use std::ptr::NonNull;

use crate::error::IoError;
use crate::memory::OwnBytes;

/// The right to use one frame. Neither copied nor cloned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame(u32);

/// The memory, without the frames that make it usable.
pub(crate) struct Umem {
    bytes: OwnBytes,
    frame_bytes: usize,
    frames: u32,
    /// Why it is not on hugepages.
    ordinary: Option<String>,
}

impl Umem {
    /// `frames` frames of `frame_bytes`, which is a power of two, and the right to each.
    ///
    /// # Errors
    /// There is not so much memory.
    pub(crate) fn new(frames: u32, frame_bytes: usize, huge: bool) -> Result<(Self, Vec<Frame>), IoError> {
        assert!(frame_bytes.is_power_of_two(), "frames of {frame_bytes} bytes");
        let len = frames as usize * frame_bytes;
        let (bytes, ordinary) = match huge.then(|| OwnBytes::huge(len)) {
            Some(Ok(bytes)) => (bytes, None),
            Some(Err(error)) => (OwnBytes::new(len)?, Some(error.to_string())),
            None => (OwnBytes::new(len)?, Some("not asked for".to_owned())),
        };
        let umem = Umem { bytes, frame_bytes, frames, ordinary };
        Ok((umem, (0..frames).map(Frame).collect()))
    }

    /// Where it begins in this process.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.bytes.start()
    }

    /// Bytes of all frames.
    pub(crate) fn len(&self) -> usize {
        self.frames as usize * self.frame_bytes
    }

    /// Bytes of one frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// Why it is on ordinary pages, if it is.
    pub(crate) fn ordinary(&self) -> Option<&str> {
        self.ordinary.as_deref()
    }

    fn place(&self, frame: &Frame) -> Range<usize> {
        let start = frame.0 as usize * self.frame_bytes;
        start..start + self.frame_bytes
    }

    /// The bytes of a frame.
    pub(crate) fn bytes(&mut self, frame: &mut Frame) -> &mut [u8] {
        let place = self.place(frame);
        self.bytes.part(place)
    }

    /// Where a frame begins, as the kernel counts.
    pub(crate) fn address(&self, frame: &Frame) -> u64 {
        self.place(frame).start as u64
    }

    /// Gives a frame to the kernel: its address is put in a ring next.
    pub(crate) fn give(&self, frame: Frame) -> u64 {
        self.bytes.rest(self.place(&frame));
        self.address(&frame)
    }

    /// Takes back the frame that holds `address`; `None` when no frame does, which the kernel never says.
    ///
    /// # Safety
    /// The address came from a ring by which the kernel gives a frame back, for the first time since it was given.
    pub(crate) unsafe fn take_back(&self, address: u64) -> Option<Frame> {
        let index = u32::try_from(address / self.frame_bytes as u64).ok()?;
        let frame = Frame(index);
        (index < self.frames).then(|| {
            self.bytes.lend(self.place(&frame));
            frame
        })
    }

    /// The offset of an address in its frame.
    pub(crate) fn offset(&self, address: u64) -> usize {
        (address % self.frame_bytes as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_has_its_own_bytes() {
        let (mut umem, mut frames) = Umem::new(3, 2_048, false).unwrap();
        assert_eq!((frames.len(), umem.len()), (3, 6_144));
        for (index, frame) in frames.iter_mut().enumerate() {
            umem.bytes(frame).fill(index as u8);
        }
        for (index, frame) in frames.iter_mut().enumerate() {
            assert_eq!(umem.bytes(frame), [index as u8; 2_048]);
            assert_eq!(umem.address(frame), index as u64 * 2_048);
        }
    }

    #[test]
    fn what_the_kernel_gives_back_is_what_it_got() {
        let (mut umem, mut frames) = Umem::new(2, 2_048, false).unwrap();
        let mut last = frames.pop().unwrap();
        umem.bytes(&mut last)[2_047] = 9;
        let address = umem.give(last);
        // SAFETY: it was just given, and nobody else has it.
        let mut back = unsafe { umem.take_back(address + 300) }.unwrap();
        assert_eq!((umem.offset(address + 300), umem.bytes(&mut back)[2_047]), (300, 9));
    }

    #[test]
    fn an_address_outside_is_no_frame() {
        let (umem, _frames) = Umem::new(2, 2_048, false).unwrap();
        for address in [4_096, u64::MAX] {
            // SAFETY: no frame is made.
            assert_eq!(unsafe { umem.take_back(address) }, None, "{address}");
        }
    }

    #[test]
    fn hugepages_or_a_reason() {
        let (umem, _frames) = Umem::new(1_024, 2_048, true).unwrap();
        assert_ne!(umem.ordinary(), Some("not asked for"));
        let (umem, _frames) = Umem::new(1_024, 2_048, false).unwrap();
        assert_eq!(umem.ordinary(), Some("not asked for"));
    }
}
