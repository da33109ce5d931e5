//! What is copied: noise that nothing can compress, alone or as a tree of files; and whether a copy is equal to it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure, Outcome};
use crate::limits::PIECE_BYTES;

/// Files in one directory of a tree.
const FILES_A_DIRECTORY: usize = 100;
/// Sizes of a tree's files lie evenly between these: 12.1 KB at the mean, 121 MB for 10,000 files.
const SMALL_BYTES: std::ops::RangeInclusive<u64> = 200..=24_000;

/// A stream of noise: xorshift64*, the same for the same seed.
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn fill(&mut self, piece: &mut [u8]) {
        for word in piece.chunks_mut(8) {
            let noise = self.next().to_le_bytes();
            word.copy_from_slice(&noise[..word.len()]);
        }
    }
}

/// Writes a file of `bytes` bytes of noise.
pub(crate) fn write_file(path: &Path, bytes: u64, seed: u64) -> Outcome {
    let what = || format!("write {}", path.display());
    let mut noise = Noise::new(seed);
    let mut file = File::create(path).doing(what())?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        noise.fill(&mut piece[..length]);
        file.write_all(&piece[..length]).doing(what())?;
        left -= length as u64;
    }
    Ok(())
}

/// Sizes of the files of a tree.
#[derive(Clone, Copy)]
pub(crate) enum Sizes {
    /// 200 to 24,000 bytes.
    Mixed,
    /// All alike.
    Equal(u64),
}

/// Makes the directory `dir` with `count` files of noise in directories of a hundred; gives their bytes.
pub(crate) fn write_tree(dir: &Path, count: usize, sizes: Sizes) -> Outcome<u64> {
    let mut noise = Noise::new(count as u64);
    let mut total = 0;
    for index in 0..count {
        let folder = dir.join(format!("d{:04}", index / FILES_A_DIRECTORY));
        if index % FILES_A_DIRECTORY == 0 {
            fs::create_dir_all(&folder).doing(format_args!("make {}", folder.display()))?;
        }
        let bytes = match sizes {
            Sizes::Equal(bytes) => bytes,
            Sizes::Mixed => {
                SMALL_BYTES.start() + noise.next() % (SMALL_BYTES.end() - SMALL_BYTES.start() + 1)
            }
        };
        let path = folder.join(format!("f{index:06}"));
        let mut content = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        noise.fill(&mut content);
        fs::write(&path, content).doing(format_args!("write {}", path.display()))?;
        total += bytes;
    }
    Ok(total)
}

/// The files below `dir`, by their names beneath it, sorted.
pub(crate) fn files(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).doing(format_args!("list {}", folder.display()))? {
            let entry = entry.doing(format_args!("list {}", folder.display()))?;
            let kind = entry.file_type().doing(format_args!("look at {}", entry.path().display()))?;
            if kind.is_dir() {
                open.push(entry.path());
            } else {
                let below = entry.path().strip_prefix(dir).doing("name a file")?.to_path_buf();
                found.push(below);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Fails where `copy` is not equal to `source`: another size or byte, a file too few or too many.
pub(crate) fn check_same(source: &Path, copy: &Path) -> Outcome {
    if !source.is_dir() {
        return check_same_file(source, copy);
    }
    let (wanted, found) = (files(source)?, files(copy)?);
    if wanted != found {
        let stray = wanted.iter().find(|name| found.binary_search(name).is_err());
        let stray = stray.or_else(|| found.iter().find(|name| wanted.binary_search(name).is_err()));
        let name = stray.map_or_else(String::new, |name| name.display().to_string());
        return Err(Failure::new(format!(
            "the copy has {} files of {}; not in both: {name}",
            found.len(),
            wanted.len()
        )));
    }
    wanted.iter().try_for_each(|name| check_same_file(&source.join(name), &copy.join(name)))
}

fn check_same_file(source: &Path, copy: &Path) -> Outcome {
    let open = |path: &Path| {
        let file = File::open(path).doing(format_args!("open {}", path.display()))?;
        let length = file.metadata().doing(format_args!("look at {}", path.display()))?.len();
        Ok((file, length))
    };
    let ((mut first, wanted), (mut second, found)) = (open(source)?, open(copy)?);
    if wanted != found {
        return Err(Failure::new(format!("{} has {found} bytes of {wanted}", copy.display())));
    }
    let length = PIECE_BYTES.min(usize::try_from(wanted).unwrap_or(PIECE_BYTES));
    let (mut left, mut right) = (vec![0; length], vec![0; length]);
    let mut at = 0;
    while at < wanted {
        let length = length.min(usize::try_from(wanted - at).unwrap_or(length));
        first.read_exact(&mut left[..length]).doing(format_args!("read {}", source.display()))?;
        second.read_exact(&mut right[..length]).doing(format_args!("read {}", copy.display()))?;
        if left[..length] != right[..length] {
            return Err(Failure::new(format!("{} differs within {length} bytes from {at}", copy.display())));
        }
        at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_equal_to_its_last_byte() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1] {
            let (one, other) = (dir.path().join("one"), dir.path().join("other"));
            write_file(&one, bytes as u64, 7).unwrap();
            fs::copy(&one, &other).unwrap();
            check_same(&one, &other).unwrap();
            let mut content = fs::read(&one).unwrap();
            assert_eq!(content.len(), bytes);
            if let Some(last) = content.last_mut() {
                *last ^= 1;
                fs::write(&other, content).unwrap();
                assert!(check_same(&one, &other).is_err(), "{bytes}");
            }
            fs::write(&other, vec![0; bytes + 1]).unwrap();
            assert!(check_same(&one, &other).is_err(), "{bytes}");
        }
    }

    #[test]
    fn a_tree_is_equal_file_by_file() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        let bytes = write_tree(&one, FILES_A_DIRECTORY + 1, Sizes::Mixed).unwrap();
        assert_eq!(write_tree(&other, FILES_A_DIRECTORY + 1, Sizes::Mixed).unwrap(), bytes);
        check_same(&one, &other).unwrap();
        let names = files(&one).unwrap();
        assert_eq!(names.len(), FILES_A_DIRECTORY + 1);
        fs::write(other.join("more"), "").unwrap();
        assert!(check_same(&one, &other).unwrap_err().to_string().ends_with("not in both: more"));
        fs::remove_file(other.join("more")).unwrap();
        fs::remove_file(other.join(&names[3])).unwrap();
        assert!(check_same(&one, &other).is_err());
    }
}
