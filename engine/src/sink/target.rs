//! Where a transfer's names go: PRODUCT.md's table "Copying, exactly", decided once, before anything is created.
//!
//! In: the destination as the user wrote it and what is to be copied. Out: an open directory and a rule that maps manifest
//! names into it. Sources, globbing and links are others' business.

use super::fault::{fault, refusal};
use crate::error::{Class, Error, Side, errno_text};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use xfer_io::file::{FileError, Follow, Kind, Root};
use xfer_proto::wire::EntryKind;

/// Whose directory a destination is looked up in.
#[derive(Clone, Copy, Debug)]
pub enum Ground<'a> {
    /// The user's own file system: `..` and symlinks lead where they always lead.
    Local,
    /// Beneath a served root: leading slashes are dropped, `..` is refused, no symlink is written through.
    Served(&'a Root),
}

/// One thing that the user named to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceInfo {
    /// Its name in the manifest: the last component of what was named.
    pub basename: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// It was written `SRC/.`: its contents are meant.
    pub contents_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Map {
    /// Names stay as they are.
    Into,
    /// The first component becomes this.
    Rename(Vec<u8>),
    /// All names go below this one, which the entry `.` creates.
    Under(Vec<u8>),
}

/// Where manifest names go. The directory that all of it is relative to is open: renaming it changes nothing.
#[derive(Clone, Debug)]
pub struct Target {
    base: Root,
    map: Map,
    shown: Vec<u8>,
}

/// What the destination is now.
enum Found {
    Directory(Root),
    /// Not a directory; its parent and its name there.
    File(Root, Vec<u8>),
    Absent(Root, Vec<u8>),
    NoParent,
}

impl Target {
    /// All names as they are into an open directory.
    pub fn into_directory(base: Root) -> Self {
        Target { base, map: Map::Into, shown: Vec::new() }
    }

    /// Finds what `destination` means for `sources`. Creates nothing.
    ///
    /// # Errors
    /// `Usage` where sources and destination do not fit each other, `NoDestination` where a directory is missing, `Refused` for `..`
    /// and symlinks beneath a served root.
    pub fn resolve(
        ground: Ground<'_>,
        destination: &[u8],
        sources: &[SourceInfo],
        recursive: bool,
    ) -> Result<Self, Error> {
        if destination.contains(&0) {
            return Err(refusal(Class::Usage, destination, "destination with NUL"));
        }
        check_sources(sources, recursive)?;
        let slash = means_directory(destination);
        let found = match ground {
            Ground::Local => find_local(destination)?,
            Ground::Served(root) => find_served(root, destination)?,
        };
        match found {
            Found::Directory(base) => {
                for source in sources.iter().filter(|s| !s.contents_only) {
                    check_kinds(&base, source, destination)?;
                }
                Ok(Target { base, map: Map::Into, shown: as_prefix(destination) })
            }
            Found::File(..) if slash => Err(refusal(Class::Usage, destination, "not a directory:")),
            Found::File(base, last) => one_to_name(base, last, destination, sources, true),
            _ if sources.len() > 1 && !slash => Err(several(destination)),
            Found::Absent(base, last) if !slash => one_to_name(base, last, destination, sources, false),
            Found::Absent(..) => Err(missing("no directory", destination)),
            Found::NoParent => Err(missing("no parent directory for", destination)),
        }
    }

    /// Where the object with this manifest name goes, relative to [`Target::base`]; empty: the base itself.
    #[expect(clippy::indexing_slicing, reason = "`slash` is a place in it")]
    pub fn place(&self, name: &[u8]) -> Vec<u8> {
        match (&self.map, name) {
            (Map::Into, b".") => Vec::new(),
            (Map::Into, name) => name.to_vec(),
            (Map::Under(below), b".") => below.clone(),
            (Map::Under(below), name) => [below, &b"/"[..], name].concat(),
            (Map::Rename(first), name) => {
                let rest = name.iter().position(|b| *b == b'/').map_or(&[][..], |slash| &name[slash..]);
                [first, rest].concat()
            }
        }
    }

    /// Where the object goes, as the user would write it (`--dry-run`).
    pub fn shown(&self, name: &[u8]) -> Vec<u8> {
        [&self.shown[..], &self.place(name)].concat()
    }

    /// The directory that places are relative to, as the user would write it.
    pub(super) fn shown_base(&self) -> Vec<u8> {
        if self.shown.is_empty() { b".".to_vec() } else { self.shown.clone() }
    }

    /// The directory that places are relative to.
    pub fn base(&self) -> &Root {
        &self.base
    }
}

fn check_sources(sources: &[SourceInfo], recursive: bool) -> Result<(), Error> {
    let mut names = HashSet::new();
    if sources.is_empty() {
        return Err(Error::new(Class::Usage, "nothing to copy"));
    }
    for source in sources {
        if source.kind == EntryKind::Directory && !recursive {
            return Err(Error::new(Class::Usage, "a directory is copied only with -r:")
                .object(source.basename.clone())
                .on(Side::Source));
        }
        if !source.contents_only && !names.insert(&source.basename) {
            return Err(Error::new(Class::Usage, "several sources would get the name")
                .object(source.basename.clone())
                .on(Side::Source));
        }
    }
    Ok(())
}

/// A source and what is under its name in the destination directory must both be directories, or neither.
fn check_kinds(base: &Root, source: &SourceInfo, destination: &[u8]) -> Result<(), Error> {
    let is_directory = source.kind == EntryKind::Directory;
    let full = || [&as_prefix(destination), &source.basename[..]].concat();
    match base.stat(&source.basename) {
        Ok(stat) if (stat.kind == Kind::Dir) == is_directory => Ok(()),
        Ok(stat) if stat.kind == Kind::Symlink && is_directory => {
            Err(refusal(Class::Refused, &full(), "not writing through the symlink"))
        }
        Ok(_) if is_directory => Err(refusal(Class::Usage, &full(), "not replacing a file by a directory:")),
        Ok(_) => Err(refusal(Class::Usage, &full(), "not replacing a directory by a file:")),
        Err(error) if error.errno == libc::ENOENT => Ok(()),
        Err(error) => Err(fault(&full(), &error)),
    }
}

fn one_to_name(
    base: Root,
    last: Vec<u8>,
    destination: &[u8],
    sources: &[SourceInfo],
    exists: bool,
) -> Result<Target, Error> {
    let [source] = sources else { return Err(several(destination)) };
    if exists && source.kind == EntryKind::Directory {
        return Err(refusal(Class::Usage, destination, "not replacing a file by a directory:"));
    }
    let shown = destination.strip_suffix(&last[..]).unwrap_or(destination).to_vec();
    let map = if source.contents_only { Map::Under(last) } else { Map::Rename(last) };
    Ok(Target { base, map, shown })
}

fn several(destination: &[u8]) -> Error {
    refusal(Class::Usage, destination, "several sources need a directory, not")
}

fn missing(message: &str, destination: &[u8]) -> Error {
    refusal(Class::NoDestination, destination, message)
}

/// Whether the way it is written allows nothing but a directory.
fn means_directory(destination: &[u8]) -> bool {
    matches!(destination.rsplit(|b| *b == b'/').next(), None | Some(b"" | b"." | b".."))
}

fn as_prefix(destination: &[u8]) -> Vec<u8> {
    let mut prefix = destination.to_vec();
    if !prefix.is_empty() && !prefix.ends_with(b"/") {
        prefix.push(b'/');
    }
    prefix
}

fn find_served(root: &Root, destination: &[u8]) -> Result<Found, Error> {
    let components: Vec<&[u8]> =
        destination.split(|b| *b == b'/').filter(|c| !matches!(*c, b"" | b".")).collect();
    if components.contains(&&b".."[..]) {
        return Err(refusal(Class::Refused, destination, "`..` leads out of what is served:"));
    }
    let Some((last, parents)) = components.split_last() else { return Ok(Found::Directory(root.clone())) };
    let parent = match root.enter(&parents.join(&b'/'), Follow::Never) {
        Err(error) if matches!(error.errno, libc::ENOENT | libc::ENOTDIR) => return Ok(Found::NoParent),
        entered => entered.map_err(|error| fault(destination, &error))?,
    };
    let found = match parent.stat(last) {
        Err(error) if error.errno == libc::ENOENT => return Ok(Found::Absent(parent, last.to_vec())),
        stat => stat.map_err(|error| fault(destination, &error))?,
    };
    let leads_to_directory = |error: FileError| fault(destination, &error);
    match found.kind {
        Kind::Dir => parent.enter(last, Follow::Never).map(Found::Directory).map_err(leads_to_directory),
        Kind::Symlink
            if means_directory(destination)
                || parent.stat_followed(last).is_ok_and(|s| s.kind == Kind::Dir) =>
        {
            Err(refusal(Class::Refused, destination, "not writing through the symlink"))
        }
        _ => Ok(Found::File(parent, last.to_vec())),
    }
}

#[expect(clippy::indexing_slicing, reason = "`last` and `slash` are places in it")]
fn find_local(destination: &[u8]) -> Result<Found, Error> {
    let written = if destination.is_empty() { b"." } else { destination };
    let end = written.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
    // Without its trailing slashes, so that a file named with one is found to be a file.
    let bare = if end == 0 { &b"/"[..] } else { &written[..end] };
    let path = Path::new(OsStr::from_bytes(bare));
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            return Root::open(path).map(Found::Directory).map_err(|error| fault(destination, &error));
        }
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(stat_failed(destination, &error));
        }
        _ => {}
    }
    if means_directory(bare) {
        return Ok(Found::NoParent);
    }
    let (parent, last) = match bare.iter().rposition(|b| *b == b'/') {
        Some(0) => (&b"/"[..], &bare[1..]),
        Some(slash) => (&bare[..slash], &bare[slash + 1..]),
        None => (&b"."[..], bare),
    };
    let parent = match Root::open(Path::new(OsStr::from_bytes(parent))) {
        Err(error) if matches!(error.errno, libc::ENOENT | libc::ENOTDIR) => return Ok(Found::NoParent),
        opened => opened.map_err(|error| fault(destination, &error))?,
    };
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(Found::File(parent, last.to_vec())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Absent(parent, last.to_vec())),
        Err(error) => Err(stat_failed(destination, &error)),
    }
}

fn stat_failed(destination: &[u8], error: &io::Error) -> Error {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    let told = Error::new(Class::of_errno(errno), "stat").on(Side::Destination).object(destination);
    Error { errno: Some(errno), ..told.because(errno_text(errno)) }
}

#[cfg(test)]
mod tests;
