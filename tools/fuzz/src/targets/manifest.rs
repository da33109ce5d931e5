//! Pages of a manifest and what a receiver decides about them: the address space that both ends lay out from the two, against a second
//! layout that is made from the words of PROTOCOL.md alone.

#[path = "../../../../engine/proto/tests/sim/layout.rs"]
mod layout;

use crate::ENDED_EARLY;
use arbitrary::{Result, Unstructured};
use layout::Layout;
use xfer_proto::limits;
use xfer_proto::space::Space;
use xfer_proto::wire::{Decision, Entry, EntryKind, Inline, Run};

/// Objects of one input.
const OBJECTS_MAX: u32 = 64;
/// Chunks of an object that are looked at.
const CHUNKS_SEEN: u32 = 8;

pub(crate) fn run(input: &[u8]) {
    lay_out(&mut Unstructured::new(input)).unwrap_or(ENDED_EARLY);
}

fn lay_out(u: &mut Unstructured<'_>) -> Result<()> {
    let chunk_log2 = u.int_in_range(limits::CHUNK_LOG2_MIN..=limits::CHUNK_LOG2_MAX)?;
    let (mut space, mut layout) = (Space::new(chunk_log2), Layout::new(chunk_log2));
    let mut open = None;
    for object in 0..OBJECTS_MAX {
        if u.is_empty() {
            break;
        }
        let entry = entry(u)?;
        let decision = decision(u, &entry, chunk_log2)?;
        let Ok(placed) = space.place(object, &entry, &decision) else { return Ok(()) };
        if let Some(placed) = placed {
            assert_eq!(placed.start, layout.place((!entry.open).then_some(entry.size)), "{entry:?}");
            assert!(placed.start + placed.size <= limits::SPACE_MAX);
            if !placed.open {
                check_chunks(&space, &placed, chunk_log2);
            }
            open = placed.open.then_some(object).or(open);
        }
        if let Some(object) = open {
            let size = u.arbitrary::<u64>()? >> u.int_in_range(0..=63)?;
            if space.end_open(object, size).is_err() {
                return Ok(());
            }
            break;
        }
        if u.arbitrary::<u8>()? < 32 {
            space.end_page();
            assert_eq!(u64::from(space.chunks()), layout.end_page());
        }
        if u.arbitrary::<u8>()? < 16 {
            space.retire(u.int_in_range(0..=space.chunks())?);
        }
    }
    Ok(())
}

/// The pieces of an object's first and last chunks: on the grid, within the chunk, in order, and of this object where they should be.
fn check_chunks(space: &Space, placed: &xfer_proto::space::Placed, chunk_log2: u8) {
    let chunks = space.chunks_of(placed);
    assert!(chunks.start < chunks.end);
    for chunk in chunks.clone().take(CHUNKS_SEEN as usize).chain([chunks.end - 1]) {
        let (mut end, mut found) = (0, false);
        for piece in space.pieces(chunk) {
            assert!(piece.chunk_offset >= end && piece.len > 0, "{piece:?}");
            assert!(u64::from(piece.chunk_offset).is_multiple_of(limits::GRID));
            end = piece.chunk_offset + piece.len;
            found |= piece.object == placed.object;
        }
        assert!(found && u64::from(end) <= 1 << chunk_log2);
        assert_eq!(space.plain_len(chunk), end);
    }
}

fn entry(u: &mut Unstructured<'_>) -> Result<Entry> {
    let kind = *u.choose(&[EntryKind::File, EntryKind::File, EntryKind::File, EntryKind::Directory])?;
    let file = kind == EntryKind::File;
    let open = file && u.arbitrary::<u8>()? == 0;
    let size = (u.arbitrary::<u64>()? >> u.int_in_range(16..=63)?).min(limits::SPACE_MAX);
    let inline = file && !open && size <= limits::INLINE_LEN_MAX as u64 && u.arbitrary::<u8>()? < 16;
    Ok(Entry {
        kind,
        mode: 0o644,
        mtime_s: 0,
        mtime_ns: 0,
        size: if file && !open { size } else { 0 },
        open,
        name: b"a".to_vec(),
        target: Vec::new(),
        attributes: Vec::new(),
        inline: inline.then(|| Inline { content: vec![0; size as usize], digest: [0; 32] }),
    })
}

fn decision(u: &mut Unstructured<'_>, entry: &Entry, chunk_log2: u8) -> Result<Decision> {
    Ok(match u.arbitrary::<u8>()? {
        0..16 => Decision::Skip,
        16..48 if entry.size > 1 << chunk_log2 => {
            let run = Run { first: u.arbitrary::<u16>()?.into(), count: u.arbitrary::<u16>()?.max(1).into() };
            Decision::Resume(vec![run])
        }
        _ => Decision::Need,
    })
}
