//! A page of the manifest and its entries (PROTOCOL.md#manifest-pages).

use super::cursor::Put;
use super::{Malformed, Reader, TransferId};
use crate::limits;
use alloc::vec::Vec;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum EntryKind {
    File,
    Directory,
    Symlink,
}

/// Content that travels inside its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inline {
    /// The whole content, at most [`limits::INLINE_LEN_MAX`] bytes.
    pub content: Vec<u8>,
    /// Its BLAKE3 root; zeros when the transfer has no digests.
    pub digest: [u8; 32],
}

/// What `--preserve` adds to an entry (PROTOCOL.md#attributes).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's list")]
pub enum Attribute {
    Owner {
        uid: u32,
        gid: u32,
    },
    Xattr {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    AclAccess(Vec<u8>),
    AclDefault(Vec<u8>),
    /// Another name of the object with this number.
    HardLink(u32),
    /// BLAKE3 root of the content, for a receiver that compares by it.
    Digest([u8; 32]),
    /// Bytes of the content that are not holes: what it will take at the receiver.
    Data(u64),
}

/// One object as its sender lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, 12.
    pub mode: u16,
    /// Modification time: seconds since 1970.
    pub mtime_s: i64,
    /// Modification time: nanoseconds of that second.
    pub mtime_ns: u32,
    /// Bytes of a regular file, else 0.
    pub size: u64,
    /// The length is not known yet; END tells it.
    pub open: bool,
    /// Relative name, raw bytes, checked by [`check_name`].
    pub name: Vec<u8>,
    /// Target of a symlink, else empty.
    pub target: Vec<u8>,
    /// What `--preserve` adds.
    pub attributes: Vec<Attribute>,
    /// Content, when it travels here.
    pub inline: Option<Inline>,
}

impl Entry {
    /// Whether content of this object can take address space, given that it is needed.
    pub fn has_content(&self) -> bool {
        self.kind == EntryKind::File && self.inline.is_none() && (self.size > 0 || self.open)
    }
}

/// A run of consecutive objects of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The transfer.
    pub transfer: TransferId,
    /// 0, 1, ...
    pub number: u32,
    /// Object number of the first entry.
    pub first_object: u32,
    /// No page follows.
    pub last: bool,
    /// The objects, at most [`limits::PAGE_ENTRIES_MAX`].
    pub entries: Vec<Entry>,
}

const FLAG_INLINE: u8 = 1;
const FLAG_OPEN: u8 = 2;

/// Refuses a manifest name that no receiver may take (PROTOCOL.md#manifest-pages).
///
/// # Errors
/// Says which rule the name breaks.
pub fn check_name(name: &[u8]) -> Result<(), Malformed> {
    if name.is_empty() || name.len() > limits::NAME_LEN_MAX {
        return Err(Malformed::new("name length"));
    }
    if name.contains(&0) {
        return Err(Malformed::new("name with NUL"));
    }
    for component in name.split(|b| *b == b'/') {
        match component {
            b"" => return Err(Malformed::new("name with empty component")),
            b"." | b".." => return Err(Malformed::new("name with . or ..")),
            long if long.len() > limits::COMPONENT_LEN_MAX => {
                return Err(Malformed::new("name component length"));
            }
            _ => {}
        }
    }
    Ok(())
}

impl Page {
    /// Bytes of a page's body before its entries.
    pub const HEAD_LEN: usize = 4 + 4 + 4 + 1 + 2;

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.transfer.0);
        out.put_u32(self.number);
        out.put_u32(self.first_object);
        out.put_u8(u8::from(self.last));
        out.put_u16(self.entries.len() as u16);
        let mut previous: &[u8] = &[];
        for entry in &self.entries {
            entry.encode(previous, out);
            previous = &entry.name;
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let transfer = TransferId(r.u32("page transfer")?);
        let number = r.u32("page number")?;
        let first_object = r.u32("page first object")?;
        let flags = r.u8("page flags")?;
        let count = usize::from(r.u16("page entry count")?);
        if count > limits::PAGE_ENTRIES_MAX || first_object.checked_add(count as u32).is_none() {
            return Err(Malformed::new("page entry count"));
        }
        let last = flags & 1 != 0;
        let mut entries: Vec<Entry> = Vec::new();
        for left in (0..count).rev() {
            let previous = entries.last().map_or(&[][..], |e| &e.name);
            let entry = Entry::decode(r, previous, number == 0 && entries.is_empty())?;
            if entry.open && !(last && left == 0) {
                return Err(Malformed::new("open object that is not last"));
            }
            entries.push(entry);
        }
        Ok(Page { transfer, number, first_object, last, entries })
    }
}

impl Entry {
    /// The most bytes that the entry takes in a page (its name not shortened by a shared prefix).
    #[expect(clippy::arithmetic_side_effects, reason = "the length of what lies in memory")]
    pub fn encoded_len_max(&self) -> usize {
        let inline = self.inline.as_ref().map_or(0, |i| i.content.len() + 32);
        let attributes: usize = self.attributes.iter().map(Attribute::encoded_len).sum();
        1 + 1 + 2 + 12 + 8 + 4 + self.name.len() + 2 + self.target.len() + 2 + attributes + inline
    }

    #[expect(
        clippy::indexing_slicing,
        clippy::expect_used,
        reason = "a prefix of the name, and attributes that were bounded when they were read"
    )]
    fn encode(&self, previous: &[u8], out: &mut Vec<u8>) {
        out.put_u8(match self.kind {
            EntryKind::File => 1,
            EntryKind::Directory => 2,
            EntryKind::Symlink => 3,
        });
        let inline = if self.inline.is_some() { FLAG_INLINE } else { 0 };
        out.put_u8(inline | if self.open { FLAG_OPEN } else { 0 });
        out.put_u16(self.mode);
        out.put_u64(self.mtime_s as u64);
        out.put_u32(self.mtime_ns);
        out.put_u64(self.size);
        let shared = previous.iter().zip(&self.name).take_while(|(a, b)| a == b).count();
        out.put_u16(shared as u16);
        out.put_counted(&self.name[shared..]);
        out.put_counted(&self.target);
        let extras: usize = self.attributes.iter().map(Attribute::encoded_len).sum();
        out.put_u16(u16::try_from(extras).expect("attributes were bounded when they were read"));
        for attribute in &self.attributes {
            attribute.encode(out);
        }
        if let Some(inline) = &self.inline {
            out.extend_from_slice(&inline.content);
            out.extend_from_slice(&inline.digest);
        }
    }

    fn decode(r: &mut Reader<'_>, previous: &[u8], first: bool) -> Result<Self, Malformed> {
        let kind = match r.u8("entry kind")? {
            1 => EntryKind::File,
            2 => EntryKind::Directory,
            3 => EntryKind::Symlink,
            _ => return Err(Malformed::new("entry kind")),
        };
        let flags = r.u8("entry flags")?;
        let mode = r.u16("entry mode")?;
        let mtime_s = r.u64("entry mtime")? as i64;
        let mtime_ns = r.u32("entry mtime")?;
        let size = r.u64("entry size")?;
        if mode > 0o7777 || mtime_ns >= 1_000_000_000 || size > limits::SPACE_MAX {
            return Err(Malformed::new("entry mode, mtime or size"));
        }
        let shared = usize::from(r.u16("entry shared prefix")?);
        let suffix = r.counted(limits::NAME_LEN_MAX, "entry name")?;
        let mut name = previous.get(..shared).ok_or(Malformed::new("entry shared prefix"))?.to_vec();
        name.extend_from_slice(suffix);
        if !(first && kind == EntryKind::Directory && name == b".") {
            check_name(&name)?;
        }
        let target = r.counted(limits::TARGET_LEN_MAX, "entry target")?.to_vec();
        let attributes = Attribute::decode_all(r.counted(limits::EXTRAS_LEN_MAX, "entry extras")?)?;
        let open = flags & FLAG_OPEN != 0;
        let inline = if flags & FLAG_INLINE != 0 { Some(Inline::decode(r, size)?) } else { None };
        if (kind == EntryKind::Symlink) == target.is_empty()
            || (kind != EntryKind::File && (size != 0 || open || inline.is_some()))
            || (open && (inline.is_some() || size != 0))
            || target.contains(&0)
        {
            return Err(Malformed::new("entry of a kind that has no such field"));
        }
        Ok(Entry { kind, mode, mtime_s, mtime_ns, size, open, name, target, attributes, inline })
    }
}

impl Inline {
    fn decode(r: &mut Reader<'_>, size: u64) -> Result<Self, Malformed> {
        if size > limits::INLINE_LEN_MAX as u64 {
            return Err(Malformed::new("inline size"));
        }
        let content = r.bytes(size as usize, "inline content")?.to_vec();
        Ok(Inline { content, digest: r.array("inline digest")? })
    }
}

impl Attribute {
    #[expect(clippy::arithmetic_side_effects, reason = "the length of what lies in memory")]
    fn encoded_len(&self) -> usize {
        3 + match self {
            Attribute::Owner { .. } => 8,
            Attribute::Xattr { name, value } => name.len() + 1 + value.len(),
            Attribute::AclAccess(bytes) | Attribute::AclDefault(bytes) => bytes.len(),
            Attribute::HardLink(_) => 4,
            Attribute::Digest(_) => 32,
            Attribute::Data(_) => 8,
        }
    }

    #[expect(clippy::arithmetic_side_effects, reason = "bounded when it was read")]
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Attribute::Owner { uid, gid } => {
                out.put_u8(1);
                out.put_u16(8);
                out.put_u32(*uid);
                out.put_u32(*gid);
            }
            Attribute::Xattr { name, value } => {
                out.put_u8(2);
                out.put_u16((name.len() + 1 + value.len()) as u16);
                out.extend_from_slice(name);
                out.put_u8(0);
                out.extend_from_slice(value);
            }
            Attribute::AclAccess(bytes) => {
                out.put_u8(3);
                out.put_counted(bytes);
            }
            Attribute::AclDefault(bytes) => {
                out.put_u8(4);
                out.put_counted(bytes);
            }
            Attribute::HardLink(object) => {
                out.put_u8(5);
                out.put_u16(4);
                out.put_u32(*object);
            }
            Attribute::Digest(root) => {
                out.put_u8(6);
                out.put_counted(root);
            }
            Attribute::Data(bytes) => {
                out.put_u8(7);
                out.put_u16(8);
                out.put_u64(*bytes);
            }
        }
    }

    fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, Malformed> {
        let mut r = Reader::new(bytes);
        let mut all = Vec::new();
        while !r.is_empty() {
            let kind = r.u8("attribute type")?;
            let mut body = Reader::new(r.counted(limits::EXTRAS_LEN_MAX, "attribute")?);
            match kind {
                1 => all.push(Attribute::Owner { uid: body.u32("owner")?, gid: body.u32("owner")? }),
                2 => {
                    let body = body.rest();
                    let mut halves = body.splitn(2, |b| *b == 0);
                    let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
                        return Err(Malformed::new("xattr"));
                    };
                    all.push(Attribute::Xattr { name: name.to_vec(), value: value.to_vec() });
                }
                3 => all.push(Attribute::AclAccess(body.rest().to_vec())),
                4 => all.push(Attribute::AclDefault(body.rest().to_vec())),
                5 => all.push(Attribute::HardLink(body.u32("hard link")?)),
                6 => all.push(Attribute::Digest(body.array("digest attribute")?)),
                7 => all.push(Attribute::Data(body.u64("data attribute")?)),
                _ => {
                    body.rest();
                }
            }
            body.finish("attribute")?;
        }
        Ok(all)
    }
}
