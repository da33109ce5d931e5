//! The journal of a partial file: records to bytes and back.

use std::hint::black_box;

use crate::journal::{Subject, parse, records};

/// Records of a run: a file of 1 GiB.
pub(crate) const RECORDS: u64 = 1_024;

const SUBJECT: Subject =
    Subject { name: [3; 32], size: RECORDS << 20, mtime: (1_700_000_000, 5), chunk_log2: 20, digests: true };

/// Records written.
pub(crate) fn write() -> Box<dyn FnMut()> {
    let chunks: Vec<_> = (0..RECORDS as u32).map(|chunk| (chunk, [chunk as u8; 32])).collect();
    let at = SUBJECT.head().len() as u64;
    Box::new(move || {
        black_box(records(&SUBJECT, at, None, black_box(&chunks)));
    })
}

/// A journal read, its checks made.
pub(crate) fn read() -> Box<dyn FnMut()> {
    let chunks: Vec<_> = (0..RECORDS as u32).map(|chunk| (chunk, [chunk as u8; 32])).collect();
    let mut journal = SUBJECT.head();
    journal.extend(records(&SUBJECT, journal.len() as u64, None, &chunks));
    Box::new(move || {
        let contents = parse(&SUBJECT, black_box(&journal)).expect("it is this subject's");
        assert!(contents.chunks.len() as u64 == RECORDS);
    })
}
