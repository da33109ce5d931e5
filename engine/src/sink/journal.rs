//! The journal of a partial file: which chunks of it are durable and what they are worth. Pure: bytes to values and back.
//!
//! Append-only. A head names the object as its sender listed it and how it is cut; records follow, each with a check of its own that
//! also depends on the head and on its place. What a crash tears is the end, and reading stops at the first record whose check is wrong:
//! what is before it was written after its data was durable.
//!
//! Head: magic 8, log2 of the chunk size u8, digests u8, zeros 6, size u64, mtime seconds i64, nanoseconds u32, zeros 4, BLAKE3 of the
//! name 32, check 8. Record: kind u8, zero u8, length u16, that many bytes, check 8. Kinds: 1 chunk (u32 index, 32 bytes: its chaining
//! value, zeros without digests), 2 holder (text).

use crate::digest::Digest;
use crate::limits::HOLDER_LEN_MAX;
use xfer_proto::limits::{CHUNK_LOG2_MAX, CHUNK_LOG2_MIN};

const MAGIC: &[u8; 8] = b"xferjnl1";
const CHECK_LEN: usize = 8;
/// Bytes of a head.
pub(super) const HEAD_LEN: usize = 8 + 8 + 8 + 8 + 8 + 32 + CHECK_LEN;
const RECORD_HEAD_LEN: usize = 4;
const CHUNK_LEN: usize = 4 + 32;
const KIND_CHUNK: u8 = 1;
const KIND_HOLDER: u8 = 2;

/// Whose chunks a journal counts. Another version of the source is another subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// BLAKE3 of the target's name in its directory.
    pub name: Digest,
    /// Bytes of the source.
    pub size: u64,
    /// Its mtime: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// log2 of the chunk size.
    pub chunk_log2: u8,
    /// Whether chunks have chaining values.
    pub digests: bool,
}

/// A chunk that is in the partial file: its index in the object and its chaining value.
pub(super) type Held = (u32, Digest);

/// What a journal says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Chunks, in the order they were recorded.
    pub chunks: Vec<Held>,
    /// Who wrote it last.
    pub holder: Option<String>,
    /// Bytes of the journal that are good; the rest is torn.
    pub good_len: u64,
}

impl Subject {
    /// The journal's head.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(HEAD_LEN);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&[self.chunk_log2, u8::from(self.digests), 0, 0, 0, 0, 0, 0]);
        head.extend_from_slice(&self.size.to_le_bytes());
        head.extend_from_slice(&self.mtime.0.to_le_bytes());
        head.extend_from_slice(&self.mtime.1.to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&self.name);
        let check = check(&[&head]);
        head.extend_from_slice(&check);
        head
    }

    /// The subject that a journal's head names.
    #[expect(clippy::indexing_slicing, reason = "the places are constants within the head")]
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<HEAD_LEN>()?;
        let word = |at: usize| head[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let subject = Subject {
            name: head[40..72].try_into().ok()?,
            size: word(16)?,
            mtime: (word(24)? as i64, word(32)? as u32),
            chunk_log2: head[8].min(63),
            digests: head[9] != 0,
        };
        (subject.head() == head).then_some(subject)
    }

    /// Whether `other` is the same version of the same object, however it is cut.
    pub(super) fn is_same_but_for_chunks(&self, other: &Subject) -> bool {
        (CHUNK_LOG2_MIN..=CHUNK_LOG2_MAX).contains(&self.chunk_log2)
            && *self == Subject { chunk_log2: self.chunk_log2, ..*other }
    }

    /// Chunks that the object has.
    pub(super) fn chunks(&self) -> u64 {
        self.size.div_ceil(1 << self.chunk_log2)
    }

    /// The longest journal that this object's transfers write, should every chunk be recorded twice and a thousand runs have begun.
    pub(super) fn journal_len_max(&self) -> u64 {
        let chunk = (RECORD_HEAD_LEN + CHUNK_LEN + CHECK_LEN) as u64;
        let holder = (RECORD_HEAD_LEN + HOLDER_LEN_MAX + CHECK_LEN) as u64;
        HEAD_LEN as u64 + 2 * self.chunks() * chunk + 1_000 * holder
    }
}

/// Records of chunks and holder, to be appended at `at`, the journal's good length.
#[expect(clippy::indexing_slicing, reason = "the length was cut at a character")]
pub(super) fn records(subject: &Subject, at: u64, holder: Option<&str>, chunks: &[Held]) -> Vec<u8> {
    let mut out = Vec::with_capacity(chunks.len() * (RECORD_HEAD_LEN + CHUNK_LEN + CHECK_LEN));
    let head = subject.head();
    if let Some(holder) = holder {
        let mut len = holder.len().min(HOLDER_LEN_MAX);
        while !holder.is_char_boundary(len) {
            len -= 1;
        }
        put(&mut out, &head, at, KIND_HOLDER, &[&holder.as_bytes()[..len]]);
    }
    for (index, value) in chunks {
        put(&mut out, &head, at, KIND_CHUNK, &[&index.to_le_bytes(), value]);
    }
    out
}

#[expect(clippy::indexing_slicing, reason = "`start` was the length before")]
fn put(out: &mut Vec<u8>, head: &[u8], at: u64, kind: u8, body: &[&[u8]]) {
    let start = out.len();
    let len: usize = body.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&[kind, 0]);
    out.extend_from_slice(&(len as u16).to_le_bytes());
    body.iter().for_each(|part| out.extend_from_slice(part));
    let check = record_check(head, at + start as u64, &out[start..]);
    out.extend_from_slice(&check);
}

/// Reads a journal. `None` when its head is not this subject's: nothing in it counts.
pub(super) fn parse(subject: &Subject, bytes: &[u8]) -> Option<Contents> {
    let head = subject.head();
    let mut rest = bytes.strip_prefix(&head[..])?;
    let mut contents = Contents::default();
    while let Some((kind, body, behind)) = next(&head, (bytes.len() - rest.len()) as u64, rest) {
        match kind {
            KIND_CHUNK => contents.chunks.extend(chunk(subject, body)),
            KIND_HOLDER => contents.holder = Some(String::from_utf8_lossy(body).into_owned()),
            _ => {}
        }
        rest = behind;
    }
    contents.good_len = (bytes.len() - rest.len()) as u64;
    Some(contents)
}

/// The next record's kind and body, and what follows it; `None` at the end and where the journal is torn.
#[expect(clippy::indexing_slicing, reason = "the record was split off with its head")]
fn next<'a>(head: &[u8], at: u64, bytes: &'a [u8]) -> Option<(u8, &'a [u8], &'a [u8])> {
    let [kind, _, l0, l1] = *bytes.first_chunk::<RECORD_HEAD_LEN>()?;
    let end = RECORD_HEAD_LEN + usize::from(u16::from_le_bytes([l0, l1]));
    let (record, rest) = bytes.split_at_checked(end)?;
    let (found, rest) = rest.split_first_chunk::<CHECK_LEN>()?;
    (*found == record_check(head, at, record)).then(|| (kind, &record[RECORD_HEAD_LEN..], rest))
}

fn chunk(subject: &Subject, body: &[u8]) -> Option<Held> {
    let (index, value) = body.split_first_chunk::<4>()?;
    let index = u32::from_le_bytes(*index);
    (u64::from(index) < subject.chunks()).then_some((index, value.try_into().ok()?))
}

#[expect(clippy::indexing_slicing, reason = "a head has its length")]
fn record_check(head: &[u8], at: u64, record: &[u8]) -> [u8; CHECK_LEN] {
    check(&[&head[HEAD_LEN - CHECK_LEN..], &at.to_le_bytes(), record])
}

fn check(parts: &[&[u8]]) -> [u8; CHECK_LEN] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_LEN]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject { name: [5; 32], size: 10 << 16, mtime: (-7, 9), chunk_log2: 16, digests: true }
    }

    fn journal(chunks: &[Held]) -> Vec<u8> {
        let mut bytes = subject().head();
        bytes.extend(records(&subject(), bytes.len() as u64, Some("pid 7"), &[]));
        for held in chunks {
            bytes.extend(records(&subject(), bytes.len() as u64, None, &[*held]));
        }
        bytes
    }

    #[test]
    fn what_is_recorded_is_read() {
        for count in [0, 1, 2, 10] {
            let chunks: Vec<Held> = (0..count).map(|i| (i, [i as u8; 32])).collect();
            let bytes = journal(&chunks);
            let read = parse(&subject(), &bytes).expect("own head");
            assert_eq!(read.chunks, chunks);
            assert_eq!(read.holder.as_deref(), Some("pid 7"));
            assert_eq!(read.good_len, bytes.len() as u64);
        }
    }

    #[test]
    fn a_journal_torn_at_any_byte_keeps_what_is_before() {
        let bytes = journal(&[(1, [1; 32]), (3, [3; 32])]);
        let whole = parse(&subject(), &bytes).expect("own head");
        let last = bytes.len() - (RECORD_HEAD_LEN + CHUNK_LEN + CHECK_LEN);
        for cut in last..bytes.len() {
            for torn in [bytes[..cut].to_vec(), [&bytes[..cut], &vec![0; bytes.len() - cut]].concat()] {
                let read = parse(&subject(), &torn).expect("the head is whole");
                if torn == bytes {
                    assert_eq!(read, whole, "the byte that was cut was a zero");
                    continue;
                }
                assert_eq!(read.chunks, [(1, [1; 32])], "cut at {cut}");
                assert_eq!(read.good_len, last as u64);
            }
        }
        for cut in 0..HEAD_LEN {
            assert_eq!(parse(&subject(), &bytes[..cut]), None);
        }
    }

    #[test]
    fn any_flipped_bit_ends_the_journal_there() {
        let bytes = journal(&[(0, [1; 32]), (1, [2; 32])]);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let read = parse(&subject(), &flipped);
            assert!(read.is_none_or(|r| r.good_len <= at as u64), "byte {at}");
        }
    }

    #[test]
    fn records_do_not_count_at_another_place_or_for_another_subject() {
        let other = Subject { size: 9 << 16, ..subject() };
        let mut bytes = subject().head();
        bytes.extend(records(&other, bytes.len() as u64, None, &[(0, [1; 32])]));
        assert_eq!(parse(&subject(), &bytes).map(|r| r.chunks), Some(Vec::new()));
        let mut bytes = subject().head();
        bytes.extend(records(&subject(), bytes.len() as u64 + 1, None, &[(0, [1; 32])]));
        assert_eq!(parse(&subject(), &bytes).map(|r| r.chunks), Some(Vec::new()));
        for other in [
            Subject { name: [6; 32], ..subject() },
            Subject { mtime: (-7, 8), ..subject() },
            Subject { chunk_log2: 17, ..subject() },
            Subject { digests: false, ..subject() },
        ] {
            assert_eq!(parse(&other, &journal(&[])), None);
        }
    }

    #[test]
    fn a_chunk_that_the_object_does_not_have_is_left_out() {
        let bytes = journal(&[(9, [1; 32]), (10, [2; 32])]);
        assert_eq!(parse(&subject(), &bytes).map(|r| r.chunks), Some(vec![(9, [1; 32])]));
    }

    #[test]
    fn a_head_tells_its_subject() {
        assert_eq!(Subject::read(&journal(&[(0, [1; 32])])), Some(subject()));
        let mut bytes = subject().head();
        bytes[17] ^= 1;
        assert_eq!(Subject::read(&bytes), None);
        assert_eq!(Subject::read(&bytes[1..]), None);
    }

    #[test]
    fn a_long_holder_is_cut_between_characters() {
        let long = "é".repeat(HOLDER_LEN_MAX);
        let mut bytes = subject().head();
        bytes.extend(records(&subject(), bytes.len() as u64, Some(&long), &[]));
        let holder = parse(&subject(), &bytes).and_then(|r| r.holder).expect("holder");
        assert!(holder.len() <= HOLDER_LEN_MAX && long.starts_with(&holder));
    }
}
