//! A reader of journals that shares nothing with the one in the engine: it says what a killed transfer left behind.
//!
//! The format is that of `engine/src/sink/journal.rs`: a head of 80 bytes, then records of kind u8, zero u8, length u16, body, check 8.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const HEAD_LEN: usize = 80;
const CHECK_LEN: usize = 8;
const KIND_CHUNK: u8 = 1;

/// Content bytes that a journal counts as there.
pub(crate) fn journaled(bytes: &[u8]) -> u64 {
    let Some(head) = bytes.first_chunk::<HEAD_LEN>() else { return 0 };
    if &head[..8] != b"xferjnl1" || check(&[&head[..HEAD_LEN - CHECK_LEN]]) != head[HEAD_LEN - CHECK_LEN..] {
        return 0;
    }
    let chunk = 1_u64 << head[8];
    let size = u64::from_le_bytes(head[16..24].try_into().expect("8 bytes"));
    let mut chunks = BTreeSet::new();
    let mut at = HEAD_LEN;
    while let Some((kind, body, end)) = record(head, bytes, at) {
        if kind == KIND_CHUNK {
            chunks.insert(u32::from_le_bytes(body[..4].try_into().expect("4 bytes")));
        }
        at = end;
    }
    chunks.into_iter().map(|index| chunk.min(size - u64::from(index) * chunk)).sum()
}

/// The record at `at`, and where the next one begins.
fn record<'a>(head: &[u8; HEAD_LEN], bytes: &'a [u8], at: usize) -> Option<(u8, &'a [u8], usize)> {
    let [kind, _, l0, l1] = *bytes.get(at..)?.first_chunk::<4>()?;
    let end = at + 4 + usize::from(u16::from_le_bytes([l0, l1]));
    let found = bytes.get(end..end + CHECK_LEN)?;
    let place = (at as u64).to_le_bytes();
    let good = check(&[&head[HEAD_LEN - CHECK_LEN..], &place, &bytes[at..end]]) == found;
    good.then(|| (kind, &bytes[at + 4..end], end + CHECK_LEN))
}

fn check(parts: &[&[u8]]) -> [u8; CHECK_LEN] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes().first_chunk().expect("32 bytes")
}

/// What a killed transfer left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// Bytes of files that have their name.
    pub(crate) named: u64,
    /// Bytes that journals of files without one count.
    pub(crate) journaled: u64,
    /// Journals of files that have their name already.
    pub(crate) journals_without_file: u64,
}

/// Looks at a destination. Files vanish while a transfer ends: those are not there.
pub(crate) fn left(root: &Path) -> Left {
    let mut left = Left::default();
    let Ok(entries) = fs::read_dir(root) else { return left };
    let in_partials = root.file_name().is_some_and(|name| name == ".xfer-partial");
    for entry in entries.map_while(Result::ok) {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                let inside = self::left(&path);
                left.named += inside.named;
                left.journaled += inside.journaled;
                left.journals_without_file += inside.journals_without_file;
            }
            Ok(kind) if kind.is_file() && !in_partials => {
                left.named += entry.metadata().map_or(0, |m| m.len())
            }
            Ok(_) if path.extension().is_some_and(|e| e == "journal") => {
                let bytes = fs::read(&path).unwrap_or_default();
                if path.with_extension("part").exists() {
                    left.journaled += journaled(&bytes);
                } else {
                    left.journals_without_file += 1;
                }
            }
            _ => {}
        }
    }
    left
}
