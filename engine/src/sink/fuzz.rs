//! What the fuzz targets ask of the journal's decoder: any bytes, and journals that were written and then damaged.

#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "of no program: a fuzz target's own part, which reports by panics"
)]

use super::journal::{Contents, HEAD_LEN, Held, Subject, parse, records};
use xfer_proto::limits::{CHUNK_LOG2_MAX, CHUNK_LOG2_MIN};

/// Records of one journal.
const RECORDS_MAX: usize = 32;

/// Reads `input` as a journal; then writes one by its bytes, damages it by them, and reads that.
///
/// # Panics
/// A journal tells what was not recorded, or forgets what was recorded before the damage.
pub fn journal(input: &[u8]) {
    if let Some(subject) = Subject::read(input) {
        let contents = parse(&subject, input).expect("the head is this subject's");
        check(&subject, &contents, input.len());
    }
    let Some((head, mut rest)) = input.split_first_chunk::<16>() else { return };
    let subject = subject(head);
    let mut bytes = subject.head();
    let mut written: Vec<(u64, Held)> = Vec::new();
    while let Some((&[kind, index, value], behind)) = rest.split_first_chunk::<3>()
        && kind < 240
        && written.len() < RECORDS_MAX
    {
        rest = behind;
        let at = bytes.len() as u64;
        if kind < 16 {
            let holder = "h".repeat(usize::from(index) + usize::from(value));
            bytes.extend(records(&subject, at, Some(&holder), &[]));
        } else {
            let held = (u32::from(index) << (kind & 3), [value; 32]);
            bytes.extend(records(&subject, at, None, &[held]));
            written.push((bytes.len() as u64, held));
        }
    }
    let damaged_at = damage(&mut bytes, rest);
    let read = parse(&subject, &bytes);
    assert!(read.is_some() || damaged_at < HEAD_LEN as u64, "a whole head is not known");
    let Some(contents) = read else { return };
    check(&subject, &contents, bytes.len());
    let known = |(_, (index, _)): &&(u64, Held)| u64::from(*index) < subject.chunks();
    let before = written.iter().filter(known).filter(|(end, _)| *end <= damaged_at).map(|(_, held)| *held);
    assert!(before.eq(contents.chunks.iter().copied()), "what was recorded before byte {damaged_at}");
}

fn subject(head: &[u8; 16]) -> Subject {
    let [log2, digests, size @ .., seconds, name] = *head;
    let mut wide = [0; 16];
    wide[..12].copy_from_slice(&size);
    Subject {
        name: [name; 32],
        size: u128::from_le_bytes(wide) as u64 >> (log2 & 63),
        mtime: (i64::from(seconds) - 7, 9),
        chunk_log2: CHUNK_LOG2_MIN + log2 % (CHUNK_LOG2_MAX - CHUNK_LOG2_MIN + 1),
        digests: digests & 1 != 0,
    }
}

/// Cuts the journal, and changes some of its bytes; says up to where it is what was written.
fn damage(bytes: &mut Vec<u8>, how: &[u8]) -> u64 {
    let written = bytes.clone();
    for change in how.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
        if change[2] == 0 {
            bytes.truncate(at.max(1));
        } else {
            bytes[at] ^= change[2];
        }
    }
    bytes.iter().zip(&written).take_while(|(now, then)| now == then).count() as u64
}

fn check(subject: &Subject, contents: &Contents, len: usize) {
    assert!(contents.good_len >= HEAD_LEN as u64 && contents.good_len <= len as u64);
    assert!(contents.chunks.iter().all(|(index, _)| u64::from(*index) < subject.chunks()));
    assert!(contents.chunks.len() * 32 <= len);
}
