//! The open object: bytes that come as they come, read once and in order.

use super::encode::Encoder;
use super::open::lock;
use super::{ChunkPlan, Encoding};
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use xfer_proto::space::Piece;

/// Stands for a size that is not known yet.
const NOT_ENDED: u64 = u64::MAX;

/// A stream that hands its bytes out by offset, each once.
pub(super) struct Stream {
    inner: Mutex<Inner>,
    turn: Condvar,
    size: AtomicU64,
}

struct Inner {
    reader: Box<dyn Read + Send>,
    next: u64,
    /// A byte read ahead to find out whether there is one.
    peeked: Option<u8>,
    broken: bool,
}

/// Why no bytes come.
#[derive(Debug)]
pub(super) enum StreamError {
    /// The bytes at this offset were handed out before, or reading failed before.
    Gone,
    /// Reading failed.
    Failed(io::Error),
}

/// What a chunk of a stream came to.
pub(super) enum StreamChunk {
    /// The stream ended before it.
    End,
    /// Its bytes: as many as there were.
    Bytes(ChunkPlan, Encoding),
    /// Zeros instead of its bytes.
    Lost(StreamError, Encoding),
}

impl Stream {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Stream {
            inner: Mutex::new(Inner { reader, next: 0, peeked: None, broken: false }),
            turn: Condvar::new(),
            size: AtomicU64::new(NOT_ENDED),
        }
    }

    /// How long the stream was, once its end was read.
    pub(super) fn size(&self) -> Option<u64> {
        Some(self.size.load(Ordering::Acquire)).filter(|size| *size != NOT_ENDED)
    }

    /// Reads and encodes a chunk of one piece, this stream's. Its plain bytes come at the start of `buffer`.
    pub(super) fn read(&self, plan: &ChunkPlan, encoder: &Encoder, buffer: &mut [u8]) -> StreamChunk {
        let piece = plan.pieces[0];
        let plain = &mut buffer[..plan.plain_len as usize];
        match self.take(piece.object_offset, plain) {
            Ok(0) => StreamChunk::End,
            Ok(count) => {
                let len = count as u32;
                let object_size = self.size().unwrap_or(piece.object_size);
                let pieces = vec![Piece { len, object_size, ..piece }];
                let plan = ChunkPlan { chunk: plan.chunk, plain_len: len, pieces };
                let encoding = encoder.encode(&plan, None, 0, buffer);
                StreamChunk::Bytes(plan, encoding)
            }
            Err(error) => {
                plain.fill(0);
                StreamChunk::Lost(error, encoder.encode(plan, None, 0, buffer))
            }
        }
    }

    /// Fills `out` with the bytes at `offset`; fewer at the end, none behind it. Waits until all before them were taken. Knows
    /// whether the stream ended there when it returns.
    fn take(&self, offset: u64, out: &mut [u8]) -> Result<usize, StreamError> {
        let mut inner = lock(&self.inner);
        while inner.next < offset && self.size().is_none() && !inner.broken {
            inner = self.turn.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if self.size().is_some_and(|size| offset >= size) {
            return Ok(0);
        }
        if inner.broken || inner.next != offset {
            return Err(StreamError::Gone);
        }
        let filled = inner.fill(out);
        match filled {
            Ok(count) => {
                inner.next += count as u64;
                if inner.peeked.is_none() {
                    self.size.store(inner.next, Ordering::Release);
                }
            }
            Err(_) => inner.broken = true,
        }
        drop(inner);
        self.turn.notify_all();
        filled.map_err(StreamError::Failed)
    }
}

impl Inner {
    fn fill(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        if let (Some(byte), Some(first)) = (self.peeked, out.first_mut()) {
            *first = byte;
            self.peeked = None;
            filled = 1;
        }
        filled += read_full(&mut self.reader, &mut out[filled..])?;
        if filled == out.len() {
            let mut byte = [0];
            self.peeked = (read_full(&mut self.reader, &mut byte)? == 1).then_some(byte[0]);
        }
        Ok(filled)
    }
}

fn read_full(reader: &mut dyn Read, out: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match reader.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    fn stream(bytes: &'static [u8]) -> Stream {
        Stream::new(Box::new(bytes))
    }

    #[test]
    fn the_end_is_known_with_the_last_byte() {
        for (bytes, parts) in [(&b""[..], vec![0]), (b"abcd", vec![4]), (b"abcde", vec![4, 1])] {
            let stream = stream(bytes);
            let mut offset = 0;
            for (i, len) in parts.iter().enumerate() {
                assert_eq!(stream.size(), None);
                let mut out = [0; 4];
                assert_eq!(stream.take(offset, &mut out).expect("reads"), *len);
                assert_eq!(out[..*len], bytes[4 * i..4 * i + len]);
                offset += *len as u64;
            }
            assert_eq!(stream.size(), Some(bytes.len() as u64));
            assert_eq!(stream.take(100, &mut [0; 4]).expect("behind the end"), 0);
        }
    }

    #[test]
    fn bytes_come_once() {
        let stream = stream(b"abcdefgh");
        assert!(stream.take(0, &mut [0; 4]).is_ok());
        assert!(matches!(stream.take(0, &mut [0; 4]), Err(StreamError::Gone)));
    }

    #[test]
    fn whoever_comes_early_waits() {
        // Who is first is the scheduler's choice, so it gets to choose often.
        for _ in 0..200 {
            let stream = stream(b"abcdefghi");
            let start = Barrier::new(2);
            std::thread::scope(|scope| {
                let late = scope.spawn(|| {
                    let mut out = [0; 4];
                    start.wait();
                    (stream.take(4, &mut out).expect("reads"), out)
                });
                let mut out = [0; 4];
                start.wait();
                assert_eq!(stream.take(0, &mut out).expect("reads"), 4);
                assert_eq!(&out, b"abcd");
                assert_eq!(late.join().expect("no panic"), (4, *b"efgh"));
            });
        }
    }

    #[test]
    fn a_failure_frees_those_who_wait() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
        }
        let stream = Stream::new(Box::new(Broken));
        std::thread::scope(|scope| {
            let late = scope.spawn(|| stream.take(4, &mut [0; 4]));
            assert!(matches!(stream.take(0, &mut [0; 4]), Err(StreamError::Failed(_))));
            assert!(matches!(late.join().expect("no panic"), Err(StreamError::Gone)));
        });
    }
}
