//! One message of each type, and the bodies that have shapes: pages, decisions, chunk entries, DONE.

use crate::json::{Json, hex, list, map};
use xfer_proto::wire::{
    Accept, Attribute, Chunk, Codec, Complete, Decision, Decisions, Done, DoneStatus, Durability, Entry,
    EntryKind, ErrorBody, Inline, Message, Open, Page, Role, Run, TransferId,
};

const TRANSFER: TransferId = TransferId(0x0a0b_0c0d);

/// Checks that the message decodes, then lists its bytes with what they say.
fn vector(name: &str, message: &Message, fields: Json) -> Json {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    assert_eq!(Message::decode(bytes[0], &bytes[Message::HEAD_LEN..]).as_ref(), Ok(message), "{name}");
    map([
        ("message", name.into()),
        ("bytes", hex(bytes)),
        ("transfer", message.transfer().0.into()),
        ("fields", fields),
    ])
}

fn error() -> ErrorBody {
    ErrorBody {
        class: 7,
        side: 2,
        errno: 28,
        offset: Some(1 << 33),
        name: b"dir/\xff\xfename".to_vec(),
        text: "cannot write\nno space left on device".into(),
    }
}

fn bare_error() -> ErrorBody {
    ErrorBody { class: 1, side: 1, errno: 0, offset: None, name: Vec::new(), text: String::new() }
}

fn error_fields(error: &ErrorBody) -> Json {
    map([
        ("class", error.class.into()),
        ("side", error.side.into()),
        ("errno", error.errno.into()),
        ("offset", error.offset.unwrap_or(u64::MAX).into()),
        ("name", hex(&error.name)),
        ("text", error.text.as_str().into()),
    ])
}

fn file(name: &[u8], size: u64) -> Entry {
    Entry {
        kind: EntryKind::File,
        mode: 0o644,
        mtime_s: 1_700_000_000,
        mtime_ns: 123_456_789,
        size,
        open: false,
        name: name.to_vec(),
        target: Vec::new(),
        attributes: Vec::new(),
        inline: None,
    }
}

fn entries() -> Vec<Entry> {
    let directory = |name: &[u8]| Entry { kind: EntryKind::Directory, mode: 0o1777, ..file(name, 0) };
    let attributes = vec![
        Attribute::Owner { uid: 1_000, gid: 100 },
        Attribute::Xattr { name: b"user.note".to_vec(), value: b"a\0b".to_vec() },
        Attribute::AclAccess(vec![2, 0, 0, 0]),
        Attribute::AclDefault(vec![]),
        Attribute::HardLink(3),
        Attribute::Digest([0xd6; 32]),
        Attribute::Data(1 << 20),
    ];
    vec![
        directory(b"."),
        Entry { mtime_s: -5, ..directory(b"source") },
        file(b"source/lib.rs", 0),
        Entry { attributes, ..file(b"source/library", 1 << 40) },
        Entry { kind: EntryKind::Symlink, target: b"../lib".to_vec(), ..file(b"source/link", 0) },
        Entry {
            inline: Some(Inline { content: b"small".to_vec(), digest: [0xd1; 32] }),
            ..file(b"source/small", 5)
        },
        Entry { open: true, ..file(b"zz\xff", 0) },
    ]
}

fn entry_fields(entry: &Entry) -> Json {
    let inline = entry.inline.iter();
    map([
        ("kind", (entry.kind as u8 + 1).into()),
        ("inline", entry.inline.is_some().into()),
        ("open", entry.open.into()),
        ("mode", entry.mode.into()),
        ("mtime_s", entry.mtime_s.into()),
        ("mtime_ns", entry.mtime_ns.into()),
        ("size", entry.size.into()),
        ("name", hex(&entry.name)),
        ("target", hex(&entry.target)),
        ("attributes", list(entry.attributes.iter().map(attribute_fields))),
        ("content", list(inline.clone().map(|i| hex(&i.content)))),
        ("digest", list(inline.map(|i| hex(i.digest)))),
    ])
}

fn attribute_fields(attribute: &Attribute) -> Json {
    match attribute {
        Attribute::Owner { uid, gid } => {
            map([("type", 1.into()), ("uid", (*uid).into()), ("gid", (*gid).into())])
        }
        Attribute::Xattr { name, value } => {
            map([("type", 2.into()), ("name", hex(name)), ("value", hex(value))])
        }
        Attribute::AclAccess(bytes) => map([("type", 3.into()), ("acl", hex(bytes))]),
        Attribute::AclDefault(bytes) => map([("type", 4.into()), ("acl", hex(bytes))]),
        Attribute::HardLink(object) => map([("type", 5.into()), ("object", (*object).into())]),
        Attribute::Digest(root) => map([("type", 6.into()), ("root", hex(root))]),
        Attribute::Data(bytes) => map([("type", 7.into()), ("bytes", (*bytes).into())]),
    }
}

fn pages() -> Vec<Json> {
    let page = |number, last, entries: Vec<Entry>| {
        let fields = map([
            ("page", u32::into(number)),
            ("first_object", 5.into()),
            ("last", bool::into(last)),
            ("entries", list(entries.iter().map(entry_fields))),
        ]);
        let page = Page { transfer: TRANSFER, number, first_object: 5, last, entries };
        vector("PAGE", &Message::Page(page), fields)
    };
    vec![page(0, true, entries()), page(3, false, Vec::new())]
}

fn decisions() -> Json {
    let runs = vec![Run { first: 0, count: 5 }, Run { first: 7, count: 1 }];
    let decisions =
        vec![Decision::Need, Decision::Skip, Decision::Resume(runs), Decision::Fail(error()), Decision::Need];
    let fields = list(decisions.iter().map(|decision| match decision {
        Decision::Need => map([("action", 0.into())]),
        Decision::Skip => map([("action", 1.into())]),
        Decision::Resume(runs) => {
            map([("action", 2.into()), ("runs", list(runs.iter().map(|r| list([r.first, r.count]))))])
        }
        Decision::Fail(error) => map([("action", 3.into()), ("error", error_fields(error))]),
    }));
    let fields = map([("page", 3.into()), ("first_entry", 17.into()), ("decisions", fields)]);
    let message = Decisions { transfer: TRANSFER, page: 3, first_entry: 17, decisions };
    vector("DECISION", &Message::Decision(message), fields)
}

fn chunks() -> impl Iterator<Item = Json> {
    [Codec::Plain, Codec::Lz4, Codec::Zstd, Codec::Extents].into_iter().enumerate().map(|(i, codec)| {
        let digests: Vec<[u8; 32]> = (0..i).map(|d| [d as u8 + 1; 32]).collect();
        let fields = map([
            ("chunk", 4_000_000_000_u32.into()),
            ("attempt", 9.into()),
            ("codec", (codec as u8).into()),
            ("stored_length", 65_536.into()),
            ("digests", list(digests.iter().map(hex))),
        ]);
        let chunk = Chunk {
            transfer: TRANSFER,
            chunk: 4_000_000_000,
            attempt: 9,
            codec,
            stored_len: 65_536,
            digests,
        };
        vector("CHUNK", &Message::Chunk(chunk), fields)
    })
}

fn done() -> Json {
    let objects =
        vec![(1, DoneStatus::Copied), (2, DoneStatus::Resumed(1 << 35)), (4, DoneStatus::Failed(error()))];
    let fields = list(objects.iter().map(|(object, status)| {
        let object = ("object", Json::from(*object));
        match status {
            DoneStatus::Copied => map([object, ("status", 0.into())]),
            DoneStatus::Resumed(bytes) => map([object, ("status", 1.into()), ("reused", (*bytes).into())]),
            DoneStatus::Failed(error) => map([object, ("status", 2.into()), ("error", error_fields(error))]),
        }
    }));
    vector("DONE", &Message::Done(Done { transfer: TRANSFER, objects }), map([("objects", fields)]))
}

fn opens() -> impl Iterator<Item = Json> {
    [(Role::Sender, 20, true), (Role::Receiver, 16, false)].into_iter().map(|(role, chunk_log2, digests)| {
        let fields = map([
            ("role", (role as u8 + 1).into()),
            ("chunk_log2", u8::into(chunk_log2)),
            ("digest", digests.into()),
        ]);
        vector("OPEN", &Message::Open(Open { transfer: TRANSFER, role, chunk_log2, digests }), fields)
    })
}

fn completes() -> impl Iterator<Item = Json> {
    let all = [(false, Durability::Batch), (true, Durability::None), (false, Durability::File)];
    all.into_iter().map(|(some_failed, durability)| {
        let fields = map([("status", some_failed.into()), ("durability", (durability as u8).into())]);
        vector(
            "COMPLETE",
            &Message::Complete(Complete { transfer: TRANSFER, some_failed, durability }),
            fields,
        )
    })
}

pub(crate) fn all() -> Json {
    let mut all: Vec<Json> = opens().collect();
    let accept = Accept { transfer: TRANSFER, limit: 16 };
    all.push(vector("ACCEPT", &Message::Accept(accept), map([("limit", 16.into())])));
    all.extend(pages());
    all.push(decisions());
    all.extend(chunks());
    all.push(vector(
        "REJECT",
        &Message::Reject { transfer: TRANSFER, chunk: 12, attempt: 255 },
        map([("chunk", 12.into()), ("attempt", 255.into())]),
    ));
    all.push(vector(
        "WITHDRAW",
        &Message::Withdraw { transfer: TRANSFER, object: 6, error: error() },
        map([("object", 6.into()), ("error", error_fields(&error()))]),
    ));
    all.push(done());
    all.extend(completes());
    all.push(vector(
        "CANCEL",
        &Message::Cancel { transfer: TRANSFER, error: bare_error() },
        map([("error", error_fields(&bare_error()))]),
    ));
    all.push(vector(
        "END",
        &Message::End { transfer: TRANSFER, object: 11, size: 1 << 41 },
        map([("object", 11.into()), ("size", (1_u64 << 41).into())]),
    ));
    all.push(vector(
        "LIMIT",
        &Message::Limit { transfer: TRANSFER, now: 6, all: 255 },
        map([("now", 6.into()), ("all", 255.into())]),
    ));
    Json::List(all)
}
