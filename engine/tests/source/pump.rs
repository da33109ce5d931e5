//! Drives a source as a connection would and takes what it reads as a sink would: lists, decides, reads every chunk, decodes it, checks
//! its digests, ends every object.

use std::collections::BTreeMap;
use xfer_engine::Error;
use xfer_engine::codec::{self, Compression};
use xfer_engine::digest::{self, Digest, OrderedTree};
use xfer_engine::source::{ChunkPlan, Encoding, Filter, Notice, Preserve, Source, SourceItem, SourceSpec};
use xfer_proto::limits::PAGE_ENTRIES_MAX;
use xfer_proto::space::Space;
use xfer_proto::wire::{Codec, Decision, Entry, Message, Page, TransferId};

pub(crate) const CHUNK_LOG2: u8 = 16;
pub(crate) const CHUNK: usize = 1 << CHUNK_LOG2;

/// What came over.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) entries: Vec<Entry>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) errors: Vec<Error>,
    /// Content by object, as decoded.
    pub(crate) content: BTreeMap<u32, Vec<u8>>,
    /// Roots by object, as merged from the chunks' digests.
    pub(crate) merged: BTreeMap<u32, Digest>,
    pub(crate) withdrawn: Vec<(u32, Error)>,
    /// What the end of each object said.
    pub(crate) ends: BTreeMap<u32, Result<Option<Digest>, Error>>,
    pub(crate) codecs: Vec<Codec>,
    pub(crate) stored_bytes: u64,
    pub(crate) pages: usize,
}

impl Received {
    pub(crate) fn names(&self) -> Vec<&[u8]> {
        self.entries.iter().map(|e| &e.name[..]).collect()
    }

    pub(crate) fn number(&self, name: &[u8]) -> u32 {
        self.entries.iter().position(|e| e.name == name).expect("listed") as u32
    }

    pub(crate) fn bytes(&self, name: &[u8]) -> &[u8] {
        self.content.get(&self.number(name)).map_or(&[], |bytes| bytes)
    }

    pub(crate) fn end(&self, name: &[u8]) -> &Result<Option<Digest>, Error> {
        &self.ends[&self.number(name)]
    }
}

/// A specification of `items` with everything else at its plainest, digests wanted.
pub(crate) fn spec(items: Vec<SourceItem>) -> SourceSpec {
    SourceSpec {
        items,
        recursive: true,
        filter: Filter::default(),
        preserve: Preserve::default(),
        compression: Compression::None,
        digests: true,
        inline_max: 0,
        list_digests: false,
        want_digests: true,
        cache: None,
    }
}

/// Lists all pages and checks each against the limits of the wire.
pub(crate) fn list(source: &dyn Source, out: &mut Received) -> Vec<Page> {
    let mut pages = Vec::new();
    loop {
        let first_object = out.entries.len() as u32;
        let listing = source.list(first_object).expect("lists");
        assert!(listing.entries.len() <= PAGE_ENTRIES_MAX);
        let number = pages.len() as u32;
        let page = Page {
            transfer: TransferId(1),
            number,
            first_object,
            last: listing.last,
            entries: listing.entries,
        };
        let mut bytes = Vec::new();
        Message::Page(page.clone()).encode(&mut bytes);
        out.entries.extend_from_slice(&page.entries);
        out.notices.extend(listing.notices);
        out.errors.extend(listing.errors);
        pages.push(page);
        if listing.last {
            out.pages = pages.len();
            return pages;
        }
    }
}

/// Moves everything that `decide` wants.
pub(crate) fn pump(source: &dyn Source, decide: impl Fn(&Entry) -> Decision) -> Received {
    pump_with(source, decide, || ())
}

/// As [`pump`]; `between` runs after the listing and before the first read.
pub(crate) fn pump_with(
    source: &dyn Source,
    decide: impl Fn(&Entry) -> Decision,
    between: impl Fn(),
) -> Received {
    let mut out = Received::default();
    let pages = list(source, &mut out);
    let mut space = Space::new(CHUNK_LOG2);
    let mut held = Vec::new();
    for page in &pages {
        let decisions: Vec<Decision> = page.entries.iter().map(&decide).collect();
        for (i, (entry, decision)) in page.entries.iter().zip(&decisions).enumerate() {
            let placed = space.place(page.first_object + i as u32, entry, decision).expect("fits");
            if let (Some(placed), Decision::Resume(runs)) = (placed, decision) {
                let first = space.chunks_of(&placed).start;
                held.extend(runs.iter().flat_map(|r| first + r.first..first + r.first + r.count));
            }
        }
        space.end_page();
        source.decided(page.first_object, &decisions);
    }
    between();
    let mut trees: BTreeMap<u32, OrderedTree> = BTreeMap::new();
    let mut chunk = 0;
    while space.plain_len(chunk) > 0 {
        if !held.contains(&chunk) {
            read(source, &mut space, chunk, &mut out, &mut trees);
        }
        chunk += 1;
    }
    for (object, tree) in trees {
        let size = out.content[&object].len();
        if let Some(root) = tree.root(size.div_ceil(CHUNK) as u64) {
            out.merged.insert(object, root);
        }
    }
    for object in 0..out.entries.len() as u32 {
        out.ends.insert(object, source.end(object));
    }
    out
}

fn read(
    source: &dyn Source,
    space: &mut Space,
    chunk: u32,
    out: &mut Received,
    trees: &mut BTreeMap<u32, OrderedTree>,
) {
    let plan_of = |space: &Space| ChunkPlan {
        chunk,
        plain_len: space.plain_len(chunk),
        pieces: space.pieces(chunk).collect(),
    };
    let mut buffer = vec![0xa5; CHUNK];
    let read = source.read(&plan_of(space), 0, &mut buffer).expect("reads");
    out.withdrawn.extend(read.withdrawn);
    let object = space.pieces(chunk).next().expect("a chunk holds something").object;
    if let Some(size) = source.open_size(object) {
        // Tells it again for chunks behind the end, which changes nothing.
        if space.end_open(object, size).is_ok() && size <= u64::from(chunk) * CHUNK as u64 {
            out.content.entry(object).or_default();
            return;
        }
    }
    let plan = plan_of(space);
    let Encoding { codec, stored_len, digests } = read.encoding;
    out.codecs.push(codec);
    out.stored_bytes += u64::from(stored_len);
    let mut plain = vec![0x5a; plan.plain_len as usize];
    codec::decode(codec, &buffer[..stored_len as usize], &mut plain).expect("decodes");
    for (i, piece) in plan.pieces.iter().enumerate() {
        let bytes = &plain[piece.chunk_offset as usize..][..piece.len as usize];
        if plan.is_subtree() && !digests.is_empty() {
            assert_eq!(digests[0], digest::chunk_value(bytes, piece.object_offset));
            let index = piece.object_offset / CHUNK as u64;
            trees.entry(piece.object).or_default().push(index, digests[0]).expect("in order");
        } else if !digests.is_empty() {
            assert_eq!(digests[i], digest::root(bytes));
            out.merged.insert(piece.object, digests[i]);
        }
        let content = out.content.entry(piece.object).or_default();
        content.resize(content.len().max(piece.object_offset as usize), 0xee);
        content.extend_from_slice(bytes);
    }
}
