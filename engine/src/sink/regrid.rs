//! What an earlier run journaled in chunks of one size, as chunks of another (DESIGN.md section 5, resume).
//!
//! Chunk sizes are powers of two, so of two grids one always divides the other. Bigger chunks are taken over when all of the smaller ones
//! in them are there: chaining values merge. Of smaller ones no values are known: their bytes are read again, and count if they merge to
//! what was journaled.

use super::journal::{Held, Subject};
use crate::digest::{self, Digest, Tree};
use std::sync::atomic::{AtomicBool, Ordering};
use xfer_io::file::{File, FileError};

/// Whose chunks `held` are, and what they are to become.
pub(super) struct Regrid<'a> {
    pub from: &'a Subject,
    pub to: &'a Subject,
    /// The chunks of `from` that are there, ascending.
    pub held: &'a [Held],
}

impl Regrid<'_> {
    /// The chunks of `to` that are there, ascending; of `file` only what is there is read. `None`: `stop` was set.
    pub(super) fn run(&self, file: &File, stop: &AtomicBool) -> Result<Option<Vec<Held>>, FileError> {
        if self.to.chunk_log2 >= self.from.chunk_log2 {
            return Ok(Some(self.bigger()));
        }
        let mut taken = Vec::new();
        for held in self.held {
            if stop.load(Ordering::Acquire) {
                return Ok(None);
            }
            self.split(file, *held, &mut taken)?;
        }
        Ok(Some(taken))
    }

    #[expect(clippy::indexing_slicing, reason = "a group is not empty")]
    fn bigger(&self) -> Vec<Held> {
        let shift = self.to.chunk_log2 - self.from.chunk_log2;
        let whole = |group: &&[Held]| {
            let first = u64::from(group[0].0 >> shift) << shift;
            group.len() as u64 == (first + (1 << shift)).min(self.from.chunks()) - first
        };
        let groups = self.held.chunk_by(|a, b| a.0 >> shift == b.0 >> shift).filter(whole);
        groups.map(|group| (group[0].0 >> shift, self.value_of(group, self.to))).collect()
    }

    /// Reads a chunk of `from` again and adds the chunks of `to` that it is made of.
    #[expect(
        clippy::indexing_slicing,
        reason = "a part is no longer than the buffer, and nothing was taken away since"
    )]
    fn split(&self, file: &File, (index, value): Held, taken: &mut Vec<Held>) -> Result<(), FileError> {
        let start = u64::from(index) << self.from.chunk_log2;
        let end = (start + (1 << self.from.chunk_log2)).min(self.from.size);
        let before = taken.len();
        let mut buffer = vec![0; 1 << self.to.chunk_log2];
        for at in (start..end).step_by(buffer.len()) {
            let part = &mut buffer[..(end - at).min(1 << self.to.chunk_log2) as usize];
            let value = match self.to.digests {
                true if file.read_at(part, at)? < part.len() => break,
                true if self.to.chunks() == 1 => digest::root(part),
                true => digest::chunk_value(part, at),
                false => [0; 32],
            };
            taken.push(((at >> self.to.chunk_log2) as u32, value));
        }
        if self.value_of(&taken[before..], self.from) != value {
            taken.truncate(before);
        }
        Ok(())
    }

    /// What a chunk of `whole` is worth that is made of all of these.
    fn value_of(&self, parts: &[Held], whole: &Subject) -> Digest {
        if let ([(_, only)], _) | ([(_, only), ..], false) = (parts, self.to.digests) {
            return *only;
        }
        let mut tree = Tree::new();
        parts.iter().for_each(|(_, value)| tree.push(*value));
        let merged = if whole.chunks() == 1 { tree.root() } else { tree.subtree() };
        merged.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use xfer_io::file::Root;

    const SMALL_LOG2: u8 = 16;

    fn subject(size: usize, chunk_log2: u8) -> Subject {
        Subject { name: [1; 32], size: size as u64, mtime: (2, 3), chunk_log2, digests: true }
    }

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i / 7) as u8 ^ (i >> 16) as u8).collect()
    }

    /// All chunks of the content, as they are journaled.
    fn all(bytes: &[u8], chunk_log2: u8) -> Vec<Held> {
        let parts = bytes.chunks(1 << chunk_log2).enumerate();
        let value = |i: usize, part| match bytes.len() > 1 << chunk_log2 {
            true => digest::chunk_value(part, (i as u64) << chunk_log2),
            false => digest::root(part),
        };
        parts.map(|(i, part)| (i as u32, value(i, part))).collect()
    }

    fn file(bytes: &[u8]) -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().expect("directory");
        fs::write(dir.path().join("f"), bytes).expect("written");
        let file = Root::open(dir.path()).expect("root").open_write(b"f").expect("open");
        (dir, file)
    }

    fn run(bytes: &[u8], from: u8, to: u8, held: &[Held]) -> Vec<Held> {
        let (from, to) = (subject(bytes.len(), from), subject(bytes.len(), to));
        let (_dir, file) = file(bytes);
        let regrid = Regrid { from: &from, to: &to, held };
        regrid.run(&file, &AtomicBool::new(false)).expect("read").expect("not stopped")
    }

    #[test]
    fn all_of_one_grid_is_all_of_any_other() {
        let chunk = 1 << SMALL_LOG2;
        for len in [1, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * chunk + 9, 8 * chunk, 8 * chunk + 1] {
            let bytes = content(len);
            for (from, to) in [(16, 17), (16, 18), (16, 19), (17, 16), (18, 16), (19, 16), (19, 17)] {
                assert_eq!(
                    run(&bytes, from, to, &all(&bytes, from)),
                    all(&bytes, to),
                    "{len}: {from} to {to}"
                );
            }
        }
    }

    #[test]
    fn a_bigger_chunk_needs_all_of_its_parts() {
        let bytes = content((9 << SMALL_LOG2) + 1);
        let small = all(&bytes, SMALL_LOG2);
        for missing in 0..small.len() {
            let mut held = small.clone();
            held.remove(missing);
            let mut expected = all(&bytes, 18);
            expected.remove(missing / 4);
            assert_eq!(run(&bytes, 16, 18, &held), expected, "without {missing}");
        }
        assert_eq!(run(&bytes, 16, 18, &[]), []);
    }

    #[test]
    fn smaller_chunks_count_only_if_they_are_what_was_journaled() {
        let bytes = content((9 << SMALL_LOG2) + 1);
        let big = all(&bytes, 18);
        let small = all(&bytes, 16);
        assert_eq!(run(&bytes, 18, 16, &big[1..2]), small[4..8]);
        assert_eq!(run(&bytes, 18, 16, &big[2..]), small[8..]);
        let mut changed = bytes.clone();
        changed[5 << SMALL_LOG2] ^= 1;
        assert_eq!(run(&changed, 18, 16, &big), [&small[..4], &small[8..]].concat());
    }

    #[test]
    fn without_digests_nothing_is_read() {
        let bytes = content(5 << SMALL_LOG2);
        let with = |log2| Subject { digests: false, ..subject(bytes.len(), log2) };
        let (_dir, file) = file(b"");
        for (from, to, held, taken) in
            [(16, 17, vec![0, 1, 2, 4], vec![0, 2]), (17, 16, vec![0, 2], vec![0, 1, 4])]
        {
            let held: Vec<Held> = held.into_iter().map(|i| (i, [0; 32])).collect();
            let regrid = Regrid { from: &with(from), to: &with(to), held: &held };
            let found = regrid.run(&file, &AtomicBool::new(false)).expect("read").expect("not stopped");
            assert_eq!(found.iter().map(|(i, _)| *i).collect::<Vec<_>>(), taken);
        }
    }

    #[test]
    fn who_stops_takes_nothing() {
        let bytes = content(4 << SMALL_LOG2);
        let (from, to) = (subject(bytes.len(), 17), subject(bytes.len(), 16));
        let (_dir, file) = file(&bytes);
        let held = all(&bytes, 17);
        let regrid = Regrid { from: &from, to: &to, held: &held };
        assert_eq!(regrid.run(&file, &AtomicBool::new(true)).expect("read"), None);
    }
}
