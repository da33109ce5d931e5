//! Stages 1 and 9: a file into chunk buffers, and chunk buffers into a new file, a chunk at a time.

use super::stopwatch::{Cost, Stopwatch};
use super::{CHUNK, reader, writer};
use crate::error::{Class, Error};
use std::path::Path;
use std::time::Duration;
use xfer_io::file::{File, FileError, Root};
use xfer_io::pool::ChunkBuf;

/// A file that is filled to be read, and one that is written; both are gone when this is dropped.
pub struct Scratch {
    root: Root,
    names: [Vec<u8>; 2],
    read: File,
    written: File,
    bytes: u64,
}

impl Scratch {
    /// Makes the files in `directory`, each of `bytes` bytes, rounded up to a chunk. They are read and written whole, as often as there is
    /// time for, once at least, and written once more before that counts: a virtual machine may have given free memory back to its host,
    /// and the first to touch it again pays for that.
    ///
    /// # Errors
    /// What the file system says.
    pub fn new(directory: &Path, bytes: u64) -> Result<Scratch, Error> {
        let bytes = bytes.next_multiple_of(CHUNK as u64).max(CHUNK as u64);
        let root = Root::open(directory).map_err(|error| failed(&error))?;
        let random = crate::worker::random();
        let token: String = random[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let names = ["read", "write"].map(|what| format!(".xfer-stages-{what}-{token}").into_bytes());
        let read = root.create(&names[0], 0o600).map_err(|error| failed(&error))?;
        let written = match root.create(&names[1], 0o600) {
            Ok(file) => file,
            Err(error) => {
                root.remove_file(&names[0]).map_err(|error| failed(&error))?;
                return Err(failed(&error));
            }
        };
        let scratch = Scratch { root, names, read, written, bytes };
        let content = vec![0x5a; CHUNK];
        for at in (0..bytes).step_by(CHUNK) {
            scratch.read.write_at(&content, at).map_err(|error| failed(&error))?;
        }
        Ok(scratch)
    }

    pub(super) fn read(&mut self, time: Duration, chunks: &[ChunkBuf]) -> Result<Cost, Error> {
        let mut watch = Stopwatch::start(time);
        for (at, chunk) in self.offsets().zip(chunks.iter().cycle()) {
            if at == 0 && !watch.goes_on() {
                break;
            }
            let mut bytes = writer(chunk);
            watch.time(CHUNK, || self.read.read_at(&mut bytes, at)).map_err(|error| failed(&error))?;
        }
        Ok(watch.cost())
    }

    pub(super) fn write(&mut self, time: Duration, chunks: &[ChunkBuf]) -> Result<Cost, Error> {
        self.write_for(Duration::ZERO, chunks)?;
        self.write_for(time, chunks)
    }

    fn write_for(&mut self, time: Duration, chunks: &[ChunkBuf]) -> Result<Cost, Error> {
        let mut watch = Stopwatch::start(time);
        for (at, chunk) in self.offsets().zip(chunks.iter().cycle()) {
            if at == 0 {
                if !watch.goes_on() {
                    break;
                }
                // As a partial file begins: empty, and as long as it will be.
                let renewed = self.written.truncate(0).and_then(|()| self.written.truncate(self.bytes));
                renewed.map_err(|error| failed(&error))?;
            }
            let bytes = reader(chunk);
            watch.time(CHUNK, || self.written.write_at(&bytes, at)).map_err(|error| failed(&error))?;
        }
        Ok(watch.cost())
    }

    /// Where chunks begin, again and again.
    fn offsets(&self) -> impl Iterator<Item = u64> + use<> {
        (0..self.bytes).step_by(CHUNK).cycle()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(error) = self.root.remove_file(name) {
                tracing::warn!(%error, "a file of a measurement stays");
            }
        }
    }
}

fn failed(error: &FileError) -> Error {
    let mut failed = Error::new(Class::of_errno(error.errno), "measure storage").because(error);
    failed.errno = Some(error.errno);
    failed
}
