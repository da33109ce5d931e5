//! Arbitrary values of everything that is on the wire, within what PROTOCOL.md allows.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use xfer_proto::limits;
use xfer_proto::wire::{
    Accept, Attribute, Chunk, CloseCode, Codec, Complete, ConnectionId, Decision, Decisions, Done,
    DoneStatus, Durability, Entry, EntryKind, ErrorBody, Header, Inline, Kind, Message, Open, Page, PathId,
    Role, Run, TransferId,
};

pub(crate) fn header() -> impl Strategy<Value = Header> {
    let kind = prop::sample::select(vec![
        Kind::Data,
        Kind::Control,
        Kind::Hello,
        Kind::Reply,
        Kind::Cookie,
        Kind::Versions,
    ]);
    let first = (kind, 0..8u8, any::<bool>(), 0..8u8, any::<u16>());
    (first, any::<u32>(), any::<u64>(), any::<u32>(), any::<u32>(), 0..1u64 << 48, any::<u16>()).prop_map(
        |((kind, version, ask, attempt, path), connection, number, transfer, stamp, offset, length)| Header {
            kind,
            version,
            ask,
            attempt,
            path: PathId(path),
            connection: ConnectionId(connection),
            number,
            transfer: TransferId(transfer),
            stamp,
            offset,
            length,
        },
    )
}

pub(crate) fn close_code() -> impl Strategy<Value = CloseCode> {
    prop_oneof![
        Just(CloseCode::Done),
        Just(CloseCode::Cancelled),
        Just(CloseCode::Protocol),
        Just(CloseCode::AckUnsent),
        Just(CloseCode::Flow),
        Just(CloseCode::Name),
        Just(CloseCode::AeadLimit),
        Just(CloseCode::Idle),
        Just(CloseCode::Shutdown),
        Just(CloseCode::Internal),
        (10..=u16::MAX).prop_map(CloseCode::Other),
    ]
}

pub(crate) fn text(len_max: usize) -> impl Strategy<Value = String> {
    any::<String>().prop_map(move |mut text| {
        let mut end = text.len().min(len_max);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    })
}

fn error() -> impl Strategy<Value = ErrorBody> {
    let head = (any::<u8>(), 1..=2u8, any::<u16>(), option::of(0..u64::MAX));
    (head, vec(any::<u8>(), 0..40), text(1_024)).prop_map(|((class, side, errno, offset), name, text)| {
        ErrorBody { class, side, errno, offset, name, text }
    })
}

/// Components of few letters, so that neighbours share prefixes.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![8 => Just(b'a'), 4 => Just(b'b'), 1 => (1..=u8::MAX).prop_filter("slash", |b| *b != b'/')];
    let component = vec(byte, 1..6).prop_filter("dots", |c| c[..] != *b"." && c[..] != *b"..");
    vec(component, 1..5).prop_map(|components| components.join(&b'/'))
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let bytes = || vec(any::<u8>(), 0..40);
    prop_oneof![
        any::<(u32, u32)>().prop_map(|(uid, gid)| Attribute::Owner { uid, gid }),
        (vec(1..=u8::MAX, 0..20), bytes()).prop_map(|(name, value)| Attribute::Xattr { name, value }),
        bytes().prop_map(Attribute::AclAccess),
        bytes().prop_map(Attribute::AclDefault),
        any::<u32>().prop_map(Attribute::HardLink),
        any::<[u8; 32]>().prop_map(Attribute::Digest),
        any::<u64>().prop_map(Attribute::Data),
    ]
}

fn content() -> impl Strategy<Value = (u64, bool, Option<Inline>)> {
    prop_oneof![
        (0..=1u64 << 48).prop_map(|size| (size, false, None)),
        (vec(any::<u8>(), 0..=1_024), any::<[u8; 32]>()).prop_map(|(content, digest)| (
            content.len() as u64,
            false,
            Some(Inline { content, digest })
        )),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![Just(EntryKind::File), Just(EntryKind::Directory), Just(EntryKind::Symlink)];
    let times = (0..=0o7777u16, any::<i64>(), 0..1_000_000_000u32);
    let target = vec(1..=u8::MAX, 1..40);
    (kind, times, content(), name(), target, vec(attribute(), 0..4)).prop_map(
        |(kind, (mode, mtime_s, mtime_ns), (size, open, inline), name, target, attributes)| {
            let file = kind == EntryKind::File;
            Entry {
                kind,
                mode,
                mtime_s,
                mtime_ns,
                size: if file { size } else { 0 },
                open,
                name,
                target: if kind == EntryKind::Symlink { target } else { Vec::new() },
                attributes,
                inline: inline.filter(|_| file),
            }
        },
    )
}

pub(crate) fn page() -> impl Strategy<Value = Page> {
    (any::<u32>(), any::<u32>(), 0..1u32 << 30, any::<bool>(), any::<bool>(), vec(entry(), 0..20)).prop_map(
        |(transfer, number, first_object, last, open, mut entries)| {
            if let Some(end) = entries.last_mut().filter(|end| last && open && end.kind == EntryKind::File) {
                *end = Entry { open: true, size: 0, inline: None, ..end.clone() };
            }
            Page { transfer: TransferId(transfer), number, first_object, last, entries }
        },
    )
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    vec((1..1_000u32, 1..1_000u32), 0..20).prop_map(|steps| {
        let mut end = 0;
        let run = |(gap, count)| {
            let first = end + gap - u32::from(end == 0);
            end = first + count;
            Run { first, count }
        };
        steps.into_iter().map(run).collect()
    })
}

fn decisions() -> impl Strategy<Value = Decisions> {
    let decision = prop_oneof![
        Just(Decision::Need),
        Just(Decision::Skip),
        runs().prop_map(Decision::Resume),
        error().prop_map(Decision::Fail),
    ];
    (any::<u32>(), any::<u32>(), any::<u16>(), vec(decision, 0..20)).prop_map(
        |(transfer, page, first_entry, decisions)| Decisions {
            transfer: TransferId(transfer),
            page,
            first_entry,
            decisions,
        },
    )
}

fn chunk() -> impl Strategy<Value = Chunk> {
    let codec = prop_oneof![Just(Codec::Plain), Just(Codec::Lz4), Just(Codec::Zstd), Just(Codec::Extents)];
    (any::<u32>(), any::<u32>(), any::<u8>(), codec, any::<u32>(), vec(any::<[u8; 32]>(), 0..20)).prop_map(
        |(transfer, chunk, attempt, codec, stored_len, digests)| Chunk {
            transfer: TransferId(transfer),
            chunk,
            attempt,
            codec,
            stored_len,
            digests,
        },
    )
}

fn done() -> impl Strategy<Value = Done> {
    let status = prop_oneof![
        Just(DoneStatus::Copied),
        any::<u64>().prop_map(DoneStatus::Resumed),
        error().prop_map(DoneStatus::Failed),
    ];
    (any::<u32>(), vec((any::<u32>(), status), 0..20))
        .prop_map(|(transfer, objects)| Done { transfer: TransferId(transfer), objects })
}

fn open() -> impl Strategy<Value = Open> {
    let role = prop_oneof![Just(Role::Sender), Just(Role::Receiver)];
    (any::<u32>(), role, 16..=26u8, any::<bool>()).prop_map(|(transfer, role, chunk_log2, digests)| Open {
        transfer: TransferId(transfer),
        role,
        chunk_log2,
        digests,
    })
}

fn complete() -> impl Strategy<Value = Complete> {
    let durability = prop_oneof![Just(Durability::None), Just(Durability::Batch), Just(Durability::File)];
    (any::<u32>(), any::<bool>(), durability).prop_map(|(transfer, some_failed, durability)| Complete {
        transfer: TransferId(transfer),
        some_failed,
        durability,
    })
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    let transfer = || any::<u32>().prop_map(TransferId);
    prop_oneof![
        open().prop_map(Message::Open),
        (transfer(), 0..=limits::WINDOW_CHUNKS_MAX)
            .prop_map(|(transfer, limit)| Message::Accept(Accept { transfer, limit })),
        page().prop_map(Message::Page),
        decisions().prop_map(Message::Decision),
        chunk().prop_map(Message::Chunk),
        (transfer(), any::<u32>(), any::<u8>()).prop_map(|(transfer, chunk, attempt)| Message::Reject {
            transfer,
            chunk,
            attempt
        }),
        (transfer(), any::<u32>(), error()).prop_map(|(transfer, object, error)| Message::Withdraw {
            transfer,
            object,
            error
        }),
        done().prop_map(Message::Done),
        complete().prop_map(Message::Complete),
        (transfer(), error()).prop_map(|(transfer, error)| Message::Cancel { transfer, error }),
        (transfer(), any::<u32>(), any::<u64>()).prop_map(|(transfer, object, size)| Message::End {
            transfer,
            object,
            size
        }),
        (transfer(), any::<u8>(), any::<u8>()).prop_map(|(transfer, now, all)| Message::Limit {
            transfer,
            now,
            all
        }),
    ]
}

/// Acknowledged ranges, newest first, with gaps between them.
pub(crate) fn ack_ranges() -> impl Strategy<Value = Vec<std::ops::RangeInclusive<u64>>> {
    let step = (1..1_000u64, 1..1_000u64);
    (200_000..1u64 << 62, vec(step, 1..80)).prop_map(|(largest, steps)| {
        let mut end = largest;
        let range = |(len, gap)| {
            let range = end + 1 - len..=end;
            end = range.start() - gap - 1;
            range
        };
        steps.into_iter().map(range).collect()
    })
}
