//! Lists what the user named, in manifest order: depth first, components as bytes, a directory before what is in it. Holds the names of
//! one directory a level, and opens one directory at a time.

use super::attributes::{Attributes, HardLinks};
use super::failure;
use super::filter::Filter;
use super::merge::{Top, merge};
use super::object::{Content, Named, Object};
use super::piece;
use super::place::{self, Anchor, Dir, Found, join};
use super::spec::{Location, Preserve, SourceItem};
use super::stream::Stream;
use super::{Listing, Notice};
use crate::digest;
use crate::error::{Class, Error, Side};
use std::io::Read;
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use xfer_io::file::{File, FileError, Follow, Kind, Root, Stat};
use xfer_proto::limits::{INLINE_LEN_MAX, NAME_LEN_MAX, SPACE_MAX};
use xfer_proto::wire::{Attribute, Entry, EntryKind, Inline, check_name};

/// Directories of partial files, which are no content.
const PARTIAL: &[u8] = b".xfer-partial";
/// Mode bits that are sent: without setuid and setgid.
const MODE_KEPT: u32 = 0o1777;
/// Mode of a stream's file.
const MODE_STREAM: u16 = 0o644;

/// What a walk is told.
pub(super) struct WalkSpec {
    pub(super) recursive: bool,
    pub(super) filter: Filter,
    pub(super) preserve: Preserve,
    pub(super) digests: bool,
    pub(super) inline_max: usize,
}

/// An object that was found.
pub(super) struct Listed {
    pub(super) entry: Entry,
    /// What is needed to read it; directories are not.
    pub(super) object: Option<Object>,
}

/// What one step of a walk came to.
pub(super) enum Step {
    Found(Box<Listed>),
    /// A notice or an error was added to the listing, or nothing.
    Nothing,
    /// There is no more.
    End,
}

/// A directory whose members are being listed.
struct Level {
    dir: Arc<Dir>,
    /// Open while this is the innermost level.
    root: Option<Root>,
    /// Name of the directory in the manifest; empty for contents only.
    prefix: Vec<u8>,
    names: std::vec::IntoIter<Box<[u8]>>,
}

/// The state of a walk.
pub(super) struct Walker {
    spec: WalkSpec,
    tops: std::vec::IntoIter<Top>,
    levels: Vec<Level>,
    links: HardLinks,
    dirs: u64,
    /// One source was named: what it brings is all that there is.
    is_alone: bool,
}

/// A file system object at hand: where, what, and its name in the manifest.
struct Member<'a> {
    root: &'a Root,
    named: Named,
    stat: Stat,
    name: Vec<u8>,
}

impl Walker {
    /// # Errors
    /// `Usage` when two sources bring the same name.
    pub(super) fn new(spec: WalkSpec, items: Vec<SourceItem>) -> Result<Self, Error> {
        let (dirs, is_alone) = (items.len() as u64, items.len() == 1);
        // The digest of a tree is over its files in manifest order, in whichever order they were named.
        let tops = merge(items, &spec)?.into_iter();
        Ok(Walker { spec, tops, levels: Vec::new(), links: HardLinks::default(), dirs, is_alone })
    }

    /// Goes on to the next object, which will have number `object`.
    pub(super) fn step(&mut self, object: u32, out: &mut Listing) -> Step {
        let step = match self.levels.last_mut() {
            Some(level) => match level.names.next() {
                Some(name) => self.member(&name, object, out),
                None => {
                    self.levels.pop();
                    Ok(None)
                }
            },
            None => match self.tops.next() {
                Some(Top::Item(item)) => self.item(item, object, out),
                Some(Top::Members(dir, names)) => {
                    let names = names.into_iter();
                    self.levels.push(Level { dir, root: None, prefix: Vec::new(), names });
                    Ok(None)
                }
                None => return Step::End,
            },
        };
        match step {
            Ok(Some(listed)) => Step::Found(Box::new(listed)),
            Ok(None) => Step::Nothing,
            Err(error) => {
                out.errors.push(error);
                Step::Nothing
            }
        }
    }

    fn next_dir(&mut self) -> u64 {
        self.dirs += 1;
        self.dirs
    }

    fn item(&mut self, item: SourceItem, object: u32, out: &mut Listing) -> Result<Option<Listed>, Error> {
        let SourceItem { location, name, shown } = item;
        let follow = !self.spec.recursive || name == b".";
        match place::find(&location, follow, &shown)? {
            Found::Stream => match location {
                Location::Stream(reader) => {
                    let reader = reader.into_inner().unwrap_or_else(PoisonError::into_inner);
                    let dir = Arc::new(Dir::new(0, Anchor::Path("/".into()), &shown));
                    let named =
                        Named { dir, name: Box::default(), followed: false, alias: Some(shown.into()) };
                    Ok(Some(stream(reader, name, named)))
                }
                Location::Path(_) | Location::Beneath(..) => Ok(None),
            },
            Found::Directory(_) if !self.spec.recursive => Err(failure::directory(&shown)),
            Found::Directory(anchor) => self.anchor(anchor, name, &shown, object, out),
            Found::Leaf { anchor, name: file, followed } => {
                let dir = Arc::new(Dir::new(self.next_dir(), anchor, b""));
                let root = dir.open().map_err(|error| failure::named(&error, &shown))?;
                let stat = if followed { root.stat_followed(&file) } else { root.stat(&file) };
                let stat = stat.map_err(|error| failure::named(&error, &shown))?;
                let alias = Some(shown.into());
                let named = Named { dir, name: file.into(), followed, alias };
                self.leaf(Member { root: &root, named, stat, name }, object, out)
            }
        }
    }

    /// A directory that the user named: it is listed itself, unless only its contents are meant and others come into the destination too,
    /// which is no copy of it then.
    fn anchor(
        &mut self,
        anchor: Anchor,
        name: Vec<u8>,
        shown: &[u8],
        object: u32,
        out: &mut Listing,
    ) -> Result<Option<Listed>, Error> {
        let dir = Arc::new(Dir::new(self.next_dir(), anchor, shown));
        let root = dir.open().map_err(|error| failure::named(&error, shown))?;
        let stat = root.stat(b"").map_err(|error| failure::named(&error, shown))?;
        let contents_only = name == b".";
        let prefix = if contents_only { Vec::new() } else { name.clone() };
        let listed = if contents_only && !self.is_alone {
            None
        } else {
            if !contents_only {
                self.check(&name, shown)?;
            }
            let named = Named { dir: Arc::clone(&dir), name: Box::default(), followed: false, alias: None };
            Some(self.directory(Member { root: &root, named, stat, name }, object, out))
        };
        self.enter(dir, root, prefix, out);
        Ok(listed)
    }

    fn member(&mut self, name: &[u8], object: u32, out: &mut Listing) -> Result<Option<Listed>, Error> {
        let level = self.levels.last_mut().expect("a member is of the innermost level");
        let dir = Arc::clone(&level.dir);
        let shown = || join(&dir.shown, name);
        let root = match level.root.take() {
            Some(root) => root,
            None => dir.open().map_err(|error| failure::failed(&error, &shown()))?,
        };
        let full = join(&level.prefix, name);
        let stat = match root.stat(name) {
            Ok(stat) => stat,
            Err(error) => {
                level.root = Some(root);
                return Err(failure::failed(&error, &shown()));
            }
        };
        let is_directory = stat.kind == Kind::Dir;
        if is_hidden(name, is_directory) || !self.spec.filter.takes(&dir.relative(name), is_directory) {
            self.keep(root);
            return Ok(None);
        }
        let named = Named { dir: Arc::clone(&dir), name: name.into(), followed: false, alias: None };
        let member = Member { root: &root, named, stat, name: full };
        if is_directory {
            self.subdirectory(member, object, out)
        } else {
            let listed = self.leaf(member, object, out);
            self.keep(root);
            listed
        }
    }

    /// Keeps the innermost directory open.
    fn keep(&mut self, root: Root) {
        if let Some(level) = self.levels.last_mut() {
            level.root = Some(root);
        }
    }

    fn subdirectory(
        &mut self,
        member: Member<'_>,
        object: u32,
        out: &mut Listing,
    ) -> Result<Option<Listed>, Error> {
        let shown = member.named.shown();
        self.check(&member.name, &shown)?;
        let child = Arc::new(member.named.dir.child(self.next_dir(), &member.named.name));
        let entered = member.root.enter(&member.named.name, Follow::Never);
        let prefix = member.name.clone();
        let listed = self.directory(member, object, out);
        match entered {
            Ok(root) => self.enter(child, root, prefix, out),
            Err(error) => out.errors.push(failure::failed(&error, &shown)),
        }
        Ok(Some(listed))
    }

    /// Lists the members of a directory next.
    fn enter(&mut self, dir: Arc<Dir>, root: Root, prefix: Vec<u8>, out: &mut Listing) {
        match sorted_names(&root) {
            Ok(names) => {
                let names = names.into_iter();
                self.levels.push(Level { dir, root: Some(root), prefix, names });
            }
            Err(error) => out.errors.push(failure::failed(&error, &dir.shown)),
        }
    }

    fn check(&self, name: &[u8], shown: &[u8]) -> Result<(), Error> {
        let errno = if name.len() > NAME_LEN_MAX { libc::ENAMETOOLONG } else { libc::EINVAL };
        check_name(name).map_err(|broken| failure::system("list", errno, shown).because(broken))
    }

    fn directory(&mut self, member: Member<'_>, object: u32, out: &mut Listing) -> Listed {
        let here = if member.named.name.is_empty() { &b""[..] } else { &member.named.name };
        let open = || member.root.open_dir(here, Follow::Never);
        let mut entry = entry(EntryKind::Directory, &member);
        entry.attributes = self.attributes(&member, object, open, out);
        Listed { entry, object: None }
    }

    /// Anything but a directory.
    fn leaf(&mut self, member: Member<'_>, object: u32, out: &mut Listing) -> Result<Option<Listed>, Error> {
        let shown = member.named.shown();
        self.check(&member.name, &shown)?;
        match member.stat.kind {
            Kind::File if member.stat.size > SPACE_MAX => Err(failure::system("list", libc::EFBIG, &shown)),
            Kind::File => Ok(Some(self.file(member, object, out))),
            Kind::Symlink => self.symlink(member, object, out).map(Some),
            Kind::Dir => Err(failure::directory(&shown)),
            Kind::Other => {
                let text = "skipped: it is a FIFO, socket or device".to_owned();
                out.notices.push(Notice { name: member.name, text });
                Ok(None)
            }
        }
    }

    fn symlink(&mut self, member: Member<'_>, object: u32, out: &mut Listing) -> Result<Listed, Error> {
        let target = member.root.read_symlink(&member.named.name);
        let target = target.map_err(|error| failure::failed(&error, &member.named.shown()))?;
        let mut entry = entry(EntryKind::Symlink, &member);
        let open = || member.root.open_read(&member.named.name);
        entry.attributes = self.attributes(&member, object, open, out);
        let content = Content::Known(digest::root(&target));
        entry.target = target;
        Ok(Listed { entry, object: Some(Object::new(member.named, content)) })
    }

    fn file(&mut self, member: Member<'_>, object: u32, out: &mut Listing) -> Listed {
        let mut entry = entry(EntryKind::File, &member);
        entry.size = member.stat.size;
        entry.inline = self.inline(&member);
        let open = || member.root.open_read(&member.named.name);
        entry.attributes = self.attributes(&member, object, open, out);
        let content = match &entry.inline {
            Some(inline) => Content::Known(digest::root(&inline.content)),
            None => Content::File { identity: (&member.stat).into(), sparse: is_sparse(&member.stat) },
        };
        Listed { entry, object: Some(Object::new(member.named, content)) }
    }

    /// The content of a file small enough to travel in the manifest. One that cannot be read now, or changes, is listed without; reading
    /// its chunk will say why.
    fn inline(&self, member: &Member<'_>) -> Option<Inline> {
        let size = usize::try_from(member.stat.size).ok()?;
        if size == 0 || size > self.spec.inline_max {
            return None;
        }
        let file = member.root.open_read(&member.named.name).ok()?;
        let mut content = vec![0; size];
        let read = file.read_at(&mut content, 0).ok()?;
        if read < size || file.stat().ok()? != member.stat {
            return None;
        }
        let digest = if self.spec.digests { digest::root(&content) } else { [0; 32] };
        Some(Inline { content, digest })
    }

    fn attributes(
        &mut self,
        member: &Member<'_>,
        object: u32,
        open: impl FnOnce() -> Result<File, FileError>,
        out: &mut Listing,
    ) -> Vec<Attribute> {
        let mut notice = |text: String| out.notices.push(Notice { name: member.name.clone(), text });
        let mut attributes =
            Attributes::read(self.spec.preserve, &member.stat, open).unwrap_or_else(|error| {
                notice(format!("attributes are not kept: {error}"));
                Attributes::default()
            });
        if self.spec.preserve.links
            && let Some(first) = self.links.first_name(&member.stat, object)
        {
            attributes.add(4, Attribute::HardLink(first));
        }
        if let Some(bytes) = data_bytes(member) {
            attributes.add(8, Attribute::Data(bytes));
        }
        if attributes.too_many {
            notice("some attributes are not kept: they are too big".to_owned());
        }
        attributes.list
    }
}

/// Whether a member is no content: a directory of partial files.
pub(super) fn is_hidden(name: &[u8], is_directory: bool) -> bool {
    is_directory && name == PARTIAL
}

/// Whether a file takes fewer blocks than its size: it has holes, or its file system compresses.
const fn is_sparse(stat: &Stat) -> bool {
    stat.blocks.saturating_mul(512) < stat.size
}

/// Bytes of data of a file with holes that is too big to travel in the manifest. One that cannot be read now is listed without; reading
/// its chunks will say why.
fn data_bytes(member: &Member<'_>) -> Option<u64> {
    let Stat { kind, size, .. } = member.stat;
    if kind != Kind::File || size <= INLINE_LEN_MAX as u64 || !is_sparse(&member.stat) {
        return None;
    }
    let file = member.root.open_read(&member.named.name).ok()?;
    piece::data_bytes(&file, size).ok().filter(|bytes| *bytes < size)
}

/// The names in a directory, in order of bytes.
pub(super) fn sorted_names(root: &Root) -> Result<Vec<Box<[u8]>>, FileError> {
    let mut names = Vec::new();
    for entry in root.list(b"", Follow::Never)? {
        names.push(entry?.name.into_boxed_slice());
    }
    names.sort_unstable();
    Ok(names)
}

fn entry(kind: EntryKind, member: &Member<'_>) -> Entry {
    Entry {
        kind,
        mode: (member.stat.mode & MODE_KEPT) as u16,
        mtime_s: member.stat.mtime.seconds,
        mtime_ns: member.stat.mtime.nanoseconds,
        size: 0,
        open: false,
        name: member.name.clone(),
        target: Vec::new(),
        attributes: Vec::new(),
        inline: None,
    }
}

fn stream(reader: Box<dyn Read + Send>, name: Vec<u8>, named: Named) -> Listed {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let entry = Entry {
        kind: EntryKind::File,
        mode: MODE_STREAM,
        mtime_s: now.as_secs() as i64,
        mtime_ns: now.subsec_nanos(),
        size: 0,
        open: true,
        name,
        target: Vec::new(),
        attributes: Vec::new(),
        inline: None,
    };
    Listed { entry, object: Some(Object::new(named, Content::Stream(Arc::new(Stream::new(reader))))) }
}

/// Refuses what makes no sense before anything moves: named directories where none are walked, sources behind a stream.
pub(super) fn refuse(items: &[SourceItem], recursive: bool) -> Result<(), Error> {
    let last = items.len().saturating_sub(1);
    for (i, item) in items.iter().enumerate() {
        if matches!(item.location, Location::Stream(_)) {
            if i < last {
                let error = Error::new(Class::Usage, "a stream is the last source:").on(Side::Source);
                return Err(error.object(&item.shown[..]));
            }
        } else if !recursive && let Ok(Found::Directory(_)) = place::find(&item.location, true, &item.shown) {
            return Err(failure::directory(&item.shown));
        }
    }
    Ok(())
}
