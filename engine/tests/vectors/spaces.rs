//! Address spaces: pages and decisions, and which bytes of which object they put into which chunk, with the digests
//! that each chunk's entry carries.
//!
//! Byte i of object n is (i + n) mod 251.

use crate::json::{Json, hex, list, map};
use xfer_engine::digest::{Digest, Tree, chunk_value, root};
use xfer_engine::source::ChunkPlan;
use xfer_proto::space::{Piece, Placed, Space};
use xfer_proto::wire::{
    Decision, Decisions, Entry, EntryKind, ErrorBody, Inline, Message, Page, Run, TransferId,
};

const TRANSFER: TransferId = TransferId(1);
const CHUNK_LOG2: u8 = 16;
const CHUNK: u64 = 1 << CHUNK_LOG2;
const QUARTER: u64 = CHUNK / 4;
/// Entries that one DECISION message of a page decides.
const DECIDED_AT_ONCE: usize = 7;

/// `size` bytes of object `object`, from `from` on.
fn content(object: u32, from: u64, size: u64) -> Vec<u8> {
    (from..from + size).map(|i| ((i + u64::from(object)) % 251) as u8).collect()
}

/// A listed object and what the receiver decides.
type Listed = (Entry, Decision);

fn entry(kind: EntryKind, size: u64) -> Entry {
    Entry {
        kind,
        mode: 0o644,
        mtime_s: 0,
        mtime_ns: 0,
        size,
        open: false,
        name: Vec::new(),
        target: Vec::new(),
        attributes: Vec::new(),
        inline: None,
    }
}

fn need(size: u64) -> Listed {
    (entry(EntryKind::File, size), Decision::Need)
}

fn skip(size: u64) -> Listed {
    (entry(EntryKind::File, size), Decision::Skip)
}

fn fail(size: u64) -> Listed {
    let text = "permission denied".to_owned();
    let error = ErrorBody { class: 13, side: 2, errno: 13, offset: None, name: b"f".to_vec(), text };
    (entry(EntryKind::File, size), Decision::Fail(error))
}

fn resume(size: u64, runs: &[(u32, u32)]) -> Listed {
    let runs = runs.iter().map(|&(first, count)| Run { first, count }).collect();
    (entry(EntryKind::File, size), Decision::Resume(runs))
}

fn directory() -> Listed {
    (entry(EntryKind::Directory, 0), Decision::Need)
}

fn symlink() -> Listed {
    (Entry { target: b"target".to_vec(), ..entry(EntryKind::Symlink, 0) }, Decision::Need)
}

fn inline(size: u64) -> Listed {
    let content = content(0, 0, size);
    let inline = Some(Inline { digest: root(&content), content });
    (Entry { inline, ..entry(EntryKind::File, size) }, Decision::Need)
}

fn open() -> Listed {
    (Entry { open: true, ..entry(EntryKind::File, 0) }, Decision::Need)
}

fn hex_of(message: &Message) -> Json {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    assert_eq!(Message::decode(bytes[0], &bytes[Message::HEAD_LEN..]).as_ref(), Ok(message));
    hex(bytes)
}

/// What is laid out, and the messages that said how.
struct LaidOut {
    space: Space,
    placed: Vec<Placed>,
    messages: Vec<Json>,
    /// Runs of chunks that RESUME names.
    resumed: Vec<(u32, u32)>,
}

fn lay_out(pages: Vec<Vec<Listed>>) -> LaidOut {
    let space = Space::new(CHUNK_LOG2);
    let mut laid = LaidOut { space, placed: Vec::new(), messages: Vec::new(), resumed: Vec::new() };
    let last = pages.len() - 1;
    let mut first_object = 0;
    for (number, listed) in pages.into_iter().enumerate() {
        first_object += laid.add_page(number as u32, first_object, number == last, listed);
    }
    laid
}

impl LaidOut {
    /// Returns how many objects the page lists.
    fn add_page(&mut self, number: u32, first_object: u32, last: bool, listed: Vec<Listed>) -> u32 {
        let (mut entries, decisions): (Vec<Entry>, Vec<Decision>) = listed.into_iter().unzip();
        for (object, entry) in (first_object..).zip(&mut entries) {
            entry.name = format!("{object:03}").into_bytes();
        }
        for ((object, entry), decision) in (first_object..).zip(&entries).zip(&decisions) {
            let Some(placed) = self.space.place(object, entry, decision).expect("fits") else { continue };
            self.placed.push(placed);
            if let Decision::Resume(runs) = decision {
                let start = self.space.chunks_of(&placed).start;
                self.resumed.extend(runs.iter().map(|run| (start + run.first, run.count)));
            }
        }
        self.space.end_page();
        let count = entries.len() as u32;
        let page = Page { transfer: TRANSFER, number, first_object, last, entries };
        self.messages.push(hex_of(&Message::Page(page)));
        for (i, part) in decisions.chunks(DECIDED_AT_ONCE).enumerate() {
            let first_entry = (i * DECIDED_AT_ONCE) as u16;
            let decisions = part.to_vec();
            let message = Decisions { transfer: TRANSFER, page: number, first_entry, decisions };
            self.messages.push(hex_of(&Message::Decision(message)));
        }
        count
    }

    /// The open object, which is the last, has `size` bytes.
    fn end(&mut self, size: u64) {
        let placed = self.placed.last_mut().expect("the open object");
        let object = placed.object;
        self.space.end_open(object, size).expect("it is open");
        placed.size = size;
        self.messages.push(hex_of(&Message::End { transfer: TRANSFER, object, size }));
    }

    fn vector(self, what: &str) -> Json {
        let chunks: Vec<Json> =
            (0..self.space.chunks()).filter_map(|chunk| chunk_fields(&self.space, chunk)).collect();
        let objects = self.placed.iter().map(|placed| {
            let whole = root(&content(placed.object, 0, placed.size));
            map([
                ("object", placed.object.into()),
                ("offset", placed.start.into()),
                ("size", placed.size.into()),
                ("root", hex(whole)),
            ])
        });
        map([
            ("what", what.into()),
            ("chunk_log2", CHUNK_LOG2.into()),
            ("messages", Json::List(self.messages)),
            ("chunk_count", self.space.chunks().into()),
            ("resumed", list(self.resumed.iter().map(|&(first, count)| list([first, count])))),
            ("objects", list(objects)),
            ("chunks", Json::List(chunks)),
        ])
    }
}

/// What a chunk holds; nothing for one that holds nothing.
fn chunk_fields(space: &Space, chunk: u32) -> Option<Json> {
    let pieces: Vec<Piece> = space.pieces(chunk).collect();
    if pieces.is_empty() {
        return None;
    }
    let plan = ChunkPlan { chunk, plain_len: space.plain_len(chunk), pieces };
    let mut plain = vec![0; plan.plain_len as usize];
    for piece in &plan.pieces {
        let bytes = content(piece.object, piece.object_offset, piece.len.into());
        plain[piece.chunk_offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    let pieces = plan.pieces.iter().map(|piece| {
        list([
            Json::from(piece.object),
            piece.object_offset.into(),
            piece.chunk_offset.into(),
            piece.len.into(),
        ])
    });
    let digests = plan.pieces.iter().map(|piece| {
        let bytes = &plain[piece.chunk_offset as usize..][..piece.len as usize];
        hex(if plan.is_subtree() { chunk_value(bytes, piece.object_offset) } else { root(bytes) })
    });
    Some(map([
        ("chunk", chunk.into()),
        ("plain_length", plan.plain_len.into()),
        ("plain_root", hex(root(&plain))),
        ("pieces", list(pieces)),
        ("digests", list(digests)),
    ]))
}

/// Sizes around each border: of the grid, of a quarter of a chunk, of a chunk.
fn borders() -> Vec<Listed> {
    let (q, c) = (QUARTER, CHUNK);
    let sizes = [1, 15, 16, 17, 0, q - 1, q, q + 1, 1, c - 1, c, c + 1, 2 * c, 5, q, q, q, q, q, 3 * c + 5];
    sizes.map(need).into()
}

fn mixed() -> Vec<Vec<Listed>> {
    let first = vec![
        directory(),
        need(100),
        skip(200),
        inline(40),
        need(300),
        symlink(),
        fail(CHUNK),
        resume(5 * CHUNK + 9, &[(0, 2), (3, 1)]),
        skip(2 * CHUNK),
        need(7),
        resume(12, &[]),
    ];
    let second = vec![skip(1), need(2), resume(CHUNK - 1, &[(0, 1)]), need(3)];
    vec![first, vec![directory(), skip(9)], second, Vec::new()]
}

pub(crate) fn all() -> Json {
    let mut all = vec![
        lay_out(vec![borders()]).vector("sizes around every border"),
        lay_out(mixed()).vector("skipped, failed, resumed and inline objects in four pages"),
    ];
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let mut laid = lay_out(vec![vec![need(50), open()]]);
        laid.end(size);
        all.push(laid.vector(&format!("an open object that ends after {size} bytes")));
    }
    Json::List(all)
}

/// Objects of many chunks: the chaining values and the root that they merge to.
pub(crate) fn roots() -> Json {
    let of = |chunk_log2: u8, size: u64| {
        let bytes = content(0, 0, size);
        let chunk = 1_u64 << chunk_log2;
        let mut tree = Tree::new();
        let values: Vec<Digest> =
            bytes.chunks(chunk as usize).zip(0..).map(|(part, i)| chunk_value(part, i * chunk)).collect();
        values.iter().for_each(|value| tree.push(*value));
        let merged = tree.root().expect("more than one chunk");
        assert_eq!(merged, root(&bytes));
        map([
            ("chunk_log2", chunk_log2.into()),
            ("size", size.into()),
            ("chaining_values", list(values.iter().map(hex))),
            ("root", hex(merged)),
        ])
    };
    let c = CHUNK;
    let sizes =
        [c + 1, c + 1_024, c + 1_025, 2 * c, 2 * c + 1, 3 * c, 5 * c - 1, 7 * c + 16, 8 * c, 9 * c + 1];
    let mut all: Vec<Json> = sizes.into_iter().map(|size| of(CHUNK_LOG2, size)).collect();
    all.push(of(18, 5 * c));
    Json::List(all)
}
