//! Headers and messages to bytes and back.

use std::hint::black_box;

use xfer_proto::wire::{
    Chunk, Codec, ConnectionId, Entry, EntryKind, Header, Kind, Message, Page, PathId, TransferId,
};

/// Headers of a run.
pub(crate) const HEADERS: u64 = 1_024;
/// Messages of a run.
pub(crate) const MESSAGES: u64 = 64;
/// Entries of the page.
pub(crate) const ENTRIES: u64 = 1_000;
/// Bytes of a message's type and length.
const MESSAGE_HEAD: usize = 4;

/// DATA headers written and read.
pub(crate) fn headers() -> Box<dyn FnMut()> {
    let mut header = Header::new(Kind::Data);
    header.connection = ConnectionId(7);
    header.path = PathId(1);
    header.length = 1_424;
    Box::new(move || {
        for _ in 0..HEADERS {
            header.number += 1;
            header.offset += 1_424;
            let bytes = black_box(&header).encode();
            let back = Header::decode(black_box(&bytes)).expect("it was just written");
            assert!(back.number == header.number);
        }
    })
}

/// Entries of chunks with four digests each.
pub(crate) fn chunk_messages() -> Box<dyn FnMut()> {
    let mut stream = Vec::with_capacity(64 << 10);
    Box::new(move || {
        stream.clear();
        for chunk in 0..MESSAGES as u32 {
            let digests = vec![[chunk as u8; 32]; 4];
            let (transfer, codec) = (TransferId(1), Codec::Plain);
            let entry = Chunk { transfer, chunk, attempt: 0, codec, stored_len: 1 << 20, digests };
            Message::Chunk(entry).encode(&mut stream);
        }
        assert!(messages(&stream) == MESSAGES);
    })
}

/// A page of files in one folder.
pub(crate) fn page() -> Box<dyn FnMut()> {
    let entry = |i: u64| Entry {
        kind: EntryKind::File,
        mode: 0o644,
        mtime_s: 1_700_000_000,
        mtime_ns: i as u32,
        size: 10_000 + i,
        open: false,
        name: format!("folder/of/some/depth/file-{i:06}.bin").into_bytes(),
        target: Vec::new(),
        attributes: Vec::new(),
        inline: None,
    };
    let entries = (0..ENTRIES).map(entry).collect();
    let page =
        Message::Page(Page { transfer: TransferId(1), number: 0, first_object: 0, last: true, entries });
    let mut stream = Vec::with_capacity(128 << 10);
    Box::new(move || {
        stream.clear();
        page.encode(&mut stream);
        assert!(messages(&stream) == 1);
    })
}

/// Decodes all messages of a stream and says how many.
fn messages(mut stream: &[u8]) -> u64 {
    let mut count = 0;
    while let Some((number, len)) = Message::head(black_box(stream)).expect("it was just written") {
        let (body, rest) = stream[MESSAGE_HEAD..].split_at(len);
        black_box(Message::decode(number, body).expect("it was just written"));
        stream = rest;
        count += 1;
    }
    count
}
