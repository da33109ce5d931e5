//! What a copy would do: each object and where it would go. Nothing is changed on either end.

use super::explain::{self, Compared, Explained};
use super::options::{CopyEvent, CopyOptions};
use super::{Here, Plan, connect};
use crate::client::{Client, Kind, Listed};
use crate::offer;
use crate::pb;
use crate::transfer::{self, LocalSource};
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use xfer_engine::sink::{Ground, SourceInfo, Target};
use xfer_engine::source::Filter;
use xfer_engine::{Class, EntryKind, Error, Side};

/// Tells the mapping of a plan and, when that is asked for, what to expect of it.
///
/// # Errors
/// Those that the copy itself would end with before it moved anything.
pub(super) fn run(
    plan: &Plan,
    options: &CopyOptions,
    tell: &mut dyn FnMut(CopyEvent),
) -> Result<Option<Compared>, Error> {
    let source = if plan.upload { Some(transfer::source(plan, options)?) } else { None };
    let client = connect(plan, options)?;
    let mut mapped = Mapped { tell, bytes: Some(0) };
    match source {
        Some(_) if plan.here == Here::Stdio => mapped.add(b"-".to_vec(), plan.node.path.clone(), None),
        Some(source) => upload(plan, &client, &source, &mut mapped)?,
        None => download(plan, options, &client, &mut mapped)?,
    }
    let bytes = mapped.bytes;
    if !options.explain {
        return Ok(None);
    }
    let offer = offer::ask(&client, &transfer::transfer_options(options))?;
    let pairs = explain::pairs(&offer.addresses, options)?;
    let explained = Explained::of(plan, options, &client, &pairs, offer.suite)?;
    let compared = bytes.and_then(|bytes| Compared::of(&explained.forecast, bytes));
    tell(CopyEvent::Explained(Box::new(Explained { bytes, ..explained })));
    Ok(compared)
}

/// Objects as they are told, and what they hold.
struct Mapped<'a> {
    tell: &'a mut dyn FnMut(CopyEvent),
    /// `None` when the size of one is not known.
    bytes: Option<u64>,
}

impl Mapped<'_> {
    fn add(&mut self, source: Vec<u8>, destination: Vec<u8>, size: Option<u64>) {
        self.bytes = self.bytes.zip(size).map(|(bytes, size)| bytes.saturating_add(size));
        (self.tell)(CopyEvent::Mapping { source, destination, size: size.unwrap_or(0) });
    }
}

fn upload(plan: &Plan, client: &Client, source: &LocalSource, mapped: &mut Mapped<'_>) -> Result<(), Error> {
    let LocalSource { source, infos } = source;
    let place = Place::on_node(client, &plan.node.path, infos)?;
    let mut first_object = 0;
    loop {
        let listing = source.list(first_object)?;
        first_object += u32::try_from(listing.entries.len()).unwrap_or(u32::MAX);
        for notice in listing.notices {
            (mapped.tell)(CopyEvent::Warning { name: Some(notice.name), text: notice.text });
        }
        for entry in listing.entries {
            let destination = place.of(&entry.name);
            mapped.add(entry.name, destination, Some(entry.size));
        }
        if let Some(error) = listing.errors.into_iter().next() {
            return Err(error);
        }
        if listing.last {
            return Ok(());
        }
    }
}

/// Where names go on a node, as its own resolution would have it.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Below this directory.
    Into(Vec<u8>),
    /// The first component becomes this path.
    Renamed(Vec<u8>),
}

impl Place {
    fn on_node(client: &Client, destination: &[u8], sources: &[pb::SourceInfo]) -> Result<Place, Error> {
        let found = match client.stat(destination, false) {
            Ok(entry) => Some(entry.kind),
            Err(error) if error.class == Class::NoSource => None,
            Err(error) => return Err(error),
        };
        let parent =
            destination.iter().rposition(|b| *b == b'/').map_or(&b""[..], |slash| &destination[..slash]);
        let has_parent =
            found.is_some() || client.stat(parent, false).is_ok_and(|e| e.kind == Kind::Directory);
        let place = Place::decide(destination, found, has_parent, sources)?;
        if let Place::Into(_) = place {
            for source in sources.iter().filter(|source| !source.contents_only) {
                place.check_kinds(client, source)?;
            }
        }
        Ok(place)
    }

    /// A source and what is under its name there must both be directories, or neither.
    fn check_kinds(&self, client: &Client, source: &pb::SourceInfo) -> Result<(), Error> {
        let there = self.of(&source.name);
        let found = match client.stat(&there, false) {
            Ok(entry) => entry.kind == Kind::Directory,
            Err(error) if error.class == Class::NoSource => return Ok(()),
            Err(error) => return Err(error),
        };
        let text = match (source.kind() == pb::Kind::Directory, found) {
            (true, false) => "not replacing a file by a directory:",
            (false, true) => "not replacing a directory by a file:",
            _ => return Ok(()),
        };
        Err(Error::new(Class::Usage, text).on(Side::Destination).object(there))
    }

    fn decide(
        destination: &[u8],
        found: Option<Kind>,
        has_parent: bool,
        sources: &[pb::SourceInfo],
    ) -> Result<Place, Error> {
        let fail = |class, text: &str| Err(Error::new(class, text).on(Side::Destination).object(destination));
        let bare = destination.strip_suffix(b"/").unwrap_or(destination).to_vec();
        match found {
            Some(Kind::Directory) => Ok(Place::Into(bare)),
            _ if !has_parent => fail(Class::NoDestination, "no parent directory for"),
            None if destination.ends_with(b"/") => fail(Class::NoDestination, "no directory"),
            _ if sources.len() > 1 => fail(Class::Usage, "several sources need a directory, not"),
            Some(_) if sources.iter().any(|s| s.kind() == pb::Kind::Directory) => {
                fail(Class::Usage, "not replacing a file by a directory:")
            }
            _ if sources.iter().any(|s| s.contents_only) => Ok(Place::Into(bare)),
            _ => Ok(Place::Renamed(bare)),
        }
    }

    fn of(&self, name: &[u8]) -> Vec<u8> {
        match self {
            Place::Into(directory) if name == b"." => directory.clone(),
            Place::Into(directory) if directory.is_empty() => name.to_vec(),
            Place::Into(directory) => [directory, &b"/"[..], name].concat(),
            Place::Renamed(path) => {
                let rest = name.iter().position(|b| *b == b'/').map_or(&b""[..], |slash| &name[slash..]);
                [path, rest].concat()
            }
        }
    }
}

/// A source on the node, and its name as destinations know it.
struct RemoteSource<'a> {
    path: &'a [u8],
    info: SourceInfo,
    /// Bytes of a regular file.
    size: u64,
}

fn download(
    plan: &Plan,
    options: &CopyOptions,
    client: &Client,
    mapped: &mut Mapped<'_>,
) -> Result<(), Error> {
    let mut sources = Vec::new();
    for path in &plan.remote_sources {
        sources.push(remote_source(client, path, options)?);
    }
    let infos: Vec<SourceInfo> = sources.iter().map(|source| source.info.clone()).collect();
    let target = match &plan.here {
        Here::Stdio => None,
        Here::Paths(paths) => {
            let destination = paths[0].as_os_str().as_bytes();
            Some(Target::resolve(Ground::Local, destination, &infos, options.recursive)?)
        }
    };
    let filter = transfer::filter(options)?;
    if sources.len() > 1 {
        refuse_same_names(client, &sources, &filter)?;
    }
    let shown = |name: &[u8]| target.as_ref().map_or_else(|| b"-".to_vec(), |target| target.shown(name));
    for RemoteSource { path, info, size } in sources {
        let own = if info.contents_only { b".".to_vec() } else { info.basename.clone() };
        mapped.add(path.to_vec(), shown(&own), Some(size));
        if info.kind != EntryKind::Directory {
            continue;
        }
        let mut left_out: Option<Vec<u8>> = None;
        client.list(path, true, &mut |listed| {
            let entry = match listed {
                Listed::Entry(entry) => entry,
                Listed::Failure(error) => return Err(error),
            };
            let within = |directory: &Vec<u8>| {
                entry.path.starts_with(directory) && entry.path[directory.len()..].starts_with(b"/")
            };
            if left_out.as_ref().is_some_and(within) {
                return Ok(());
            }
            if !filter.takes(&entry.path, entry.kind == Kind::Directory) {
                left_out = Some(entry.path);
                return Ok(());
            }
            let name = if info.contents_only { entry.path.clone() } else { joined(&own, &entry.path) };
            let source = joined(path, &entry.path);
            mapped.add(source, shown(&name), Some(entry.size));
            Ok(())
        })?;
    }
    Ok(())
}

/// Two sources may not bring the same name, as the node's own source would have it.
fn refuse_same_names(client: &Client, sources: &[RemoteSource<'_>], filter: &Filter) -> Result<(), Error> {
    let mut names = HashSet::new();
    let mut add = |name: Vec<u8>| {
        let error = Error::new(Class::Usage, "several sources would get the name").on(Side::Source);
        if names.insert(name.clone()) { Ok(()) } else { Err(error.object(name)) }
    };
    for RemoteSource { path, info, .. } in sources {
        if !info.contents_only {
            add(info.basename.clone())?;
            continue;
        }
        client.list(path, false, &mut |listed| match listed {
            Listed::Entry(entry) if filter.takes(&entry.path, entry.kind == Kind::Directory) => {
                add(entry.path)
            }
            Listed::Entry(_) => Ok(()),
            Listed::Failure(error) => Err(error),
        })?;
    }
    Ok(())
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        b"" => name.to_vec(),
        _ => [directory.strip_suffix(b"/").unwrap_or(directory), b"/", name].concat(),
    }
}

fn remote_source<'a>(
    client: &Client,
    path: &'a [u8],
    options: &CopyOptions,
) -> Result<RemoteSource<'a>, Error> {
    let entry = client.stat(path, false).map_err(|e| e.on(Side::Source))?;
    if entry.kind == Kind::Directory && !options.recursive {
        return Err(Error::new(Class::Usage, "a directory is copied only with -r:")
            .on(Side::Source)
            .object(path));
    }
    let kind = match entry.kind {
        Kind::Directory => EntryKind::Directory,
        Kind::Symlink => EntryKind::Symlink,
        Kind::File | Kind::Other => EntryKind::File,
    };
    let basename = entry.path.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec();
    let contents_only = basename.is_empty() || path.ends_with(b"/.") || path == b".";
    let size = if kind == EntryKind::File { entry.size } else { 0 };
    Ok(RemoteSource { path, info: SourceInfo { basename, kind, contents_only }, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, kind: pb::Kind, contents_only: bool) -> pb::SourceInfo {
        pb::SourceInfo { name: name.as_bytes().to_vec(), kind: kind.into(), contents_only }
    }

    #[test]
    fn places_on_a_node() {
        let (file, directory) = (source("f", pb::Kind::File, false), source("d", pb::Kind::Directory, false));
        let contents = source("", pb::Kind::Directory, true);
        let at = |destination: &str, found, sources: &[pb::SourceInfo], name: &str| {
            let place = Place::decide(destination.as_bytes(), found, true, sources).map_err(|e| e.class)?;
            Ok(String::from_utf8(place.of(name.as_bytes())).unwrap())
        };
        let one = std::slice::from_ref;
        assert_eq!(at("D", Some(Kind::Directory), one(&file), "f"), Ok("D/f".to_owned()));
        assert_eq!(at("D/", Some(Kind::Directory), one(&file), "f"), Ok("D/f".to_owned()));
        assert_eq!(at("", Some(Kind::Directory), one(&file), "f"), Ok("f".to_owned()));
        assert_eq!(at("D/x", None, one(&file), "f"), Ok("D/x".to_owned()));
        assert_eq!(at("D/x", Some(Kind::File), one(&file), "f"), Ok("D/x".to_owned()));
        assert_eq!(at("D", None, one(&directory), "d/a"), Ok("D/a".to_owned()));
        assert_eq!(at("D", Some(Kind::Directory), one(&directory), "d/a"), Ok("D/d/a".to_owned()));
        assert_eq!(at("D", None, one(&contents), "a"), Ok("D/a".to_owned()));
        assert_eq!(at("D", None, one(&contents), "."), Ok("D".to_owned()));
        assert_eq!(at("D/", None, one(&file), "f"), Err(Class::NoDestination));
        assert_eq!(at("D", None, &[file.clone(), directory.clone()], "f"), Err(Class::Usage));
        assert_eq!(at("D", Some(Kind::File), one(&directory), "d"), Err(Class::Usage));
        let orphan = Place::decide(b"a/b", None, false, one(&file)).unwrap_err();
        assert_eq!(orphan.class, Class::NoDestination);
    }
}
