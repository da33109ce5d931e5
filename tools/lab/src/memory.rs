//! Memory that stays with this machine while something is measured.
//!
//! A virtual machine reports free memory to its host in blocks of some 2 MiB, and the host may take it. Who touches it next waits until
//! it is back: 2.5 s a GB were measured, more than a fast copy takes. Memory that is free in small pieces alone is not reported.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};

const PIECE_BYTES: usize = 1 << 20;
/// No free piece is longer: an eighth of the shortest block that is reported.
const APART_BYTES: u64 = 256 << 10;
const PAGE_BYTES: u64 = 4_096;

/// Memory that was touched and is free again in pieces. Dropped, it is given up.
pub struct KeptMemory {
    path: PathBuf,
}

impl KeptMemory {
    /// Touches `bytes` of memory by a file in `dir`, which is on a tmpfs, and frees all but a page in 64.
    ///
    /// # Errors
    /// The file system has no room, or cannot free parts of a file.
    pub fn touch(dir: &Path, bytes: u64) -> io::Result<KeptMemory> {
        let kept = KeptMemory { path: dir.join("kept-memory") };
        let mut file = File::create(&kept.path)?;
        let piece = vec![0; PIECE_BYTES];
        for _ in 0..bytes.div_ceil(PIECE_BYTES as u64) {
            file.write_all(&piece)?;
        }
        let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        for at in (0..bytes).step_by(APART_BYTES as usize) {
            fallocate(&file, how, (at + PAGE_BYTES) as i64, (APART_BYTES - PAGE_BYTES) as i64)?;
        }
        Ok(kept)
    }
}

impl Drop for KeptMemory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            eprintln!("{} stays: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_page_in_64_is_kept_until_the_end() {
        let dir = PathBuf::from(format!("/dev/shm/xfer-lab-memory-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let kept = KeptMemory::touch(&dir, 5 << 20).unwrap();
        let file = dir.join("kept-memory").metadata().unwrap();
        assert_eq!((file.len(), file.blocks() * 512), (5 << 20, (5 << 20) / 64));
        drop(kept);
        fs::remove_dir(&dir).expect("nothing is left in it");
    }
}
