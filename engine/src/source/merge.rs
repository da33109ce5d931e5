//! What several named sources come to in one destination: the names that they bring to it, in order, none twice.
//!
//! Directories whose contents alone are meant (`SRC/.`) are listed here, one level deep, so that their members stand in order between
//! those of others, and so that two sources with the same name are refused before anything moves.

use super::failure;
use super::place::{self, Dir, Found, join};
use super::spec::{Location, SourceItem};
use super::walk::{WalkSpec, is_hidden, sorted_names};
use crate::error::{Class, Error, Side};
use std::cmp::Ordering;
use std::sync::Arc;
use xfer_io::file::Kind;

/// Where a walk begins.
pub(super) enum Top {
    /// A source as it was named.
    Item(SourceItem),
    /// Members of a directory whose contents alone are meant.
    Members(Arc<Dir>, Vec<Box<[u8]>>),
}

/// A name that a source brings, before neighbours of one directory are joined.
enum One {
    Item(SourceItem),
    Member(Arc<Dir>, Box<[u8]>),
}

impl One {
    fn name(&self) -> &[u8] {
        match self {
            One::Item(item) => &item.name,
            One::Member(_, name) => name,
        }
    }

    fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.name().split(|b| *b == b'/')
    }

    fn order(&self, other: &One) -> Ordering {
        self.components().cmp(other.components())
    }

    /// Whether this is `other` again, or lies in it: a list of files may name a directory and what is in it.
    fn repeats(&self, other: &One) -> bool {
        let (One::Item(one), One::Item(before)) = (self, other) else { return false };
        is_within(&one.name, &before.name)
            && match (&one.location, &before.location) {
                (Location::Path(one), Location::Path(before)) => one.starts_with(before),
                (Location::Beneath(root, one), Location::Beneath(other, before)) => {
                    Arc::ptr_eq(root, other) && is_within(one, before)
                }
                _ => false,
            }
    }

    /// Whether it is sent at all.
    fn is_taken(&self, spec: &WalkSpec) -> Result<bool, Error> {
        let One::Member(dir, name) = self else { return Ok(true) };
        let stat = dir.open().and_then(|root| root.stat(name));
        let stat = stat.map_err(|error| failure::failed(&error, &join(&dir.shown, name)))?;
        let is_directory = stat.kind == Kind::Dir;
        Ok(!is_hidden(name, is_directory) && spec.filter.takes(&dir.relative(name), is_directory))
    }
}

/// Whether a path is another or lies in it.
fn is_within(path: &[u8], other: &[u8]) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Puts what was named in order. A single source stays as it is; a stream stays last.
///
/// # Errors
/// `Usage` when two sources bring the same name.
pub(super) fn merge(mut items: Vec<SourceItem>, spec: &WalkSpec) -> Result<Vec<Top>, Error> {
    if items.len() < 2 {
        return Ok(items.into_iter().map(Top::Item).collect());
    }
    let stream = items.pop_if(|item| matches!(item.location, Location::Stream(_)));
    let mut all = Vec::with_capacity(items.len());
    for (id, item) in (1..).zip(items) {
        match members(&item, id) {
            Some(members) => all.extend(members),
            None => all.push(One::Item(item)),
        }
    }
    all.sort_by(One::order);
    let mut tops = Vec::new();
    for one in without_repetition(all, spec)? {
        match (one, tops.last_mut()) {
            (One::Member(dir, name), Some(Top::Members(last, names))) if Arc::ptr_eq(&dir, last) => {
                names.push(name);
            }
            (One::Member(dir, name), _) => tops.push(Top::Members(dir, vec![name])),
            (One::Item(item), _) => tops.push(Top::Item(item)),
        }
    }
    tops.extend(stream.map(Top::Item));
    Ok(tops)
}

/// The members of a directory whose contents alone are meant. One that cannot be listed is left to the walk, which says why.
fn members(item: &SourceItem, id: u64) -> Option<Vec<One>> {
    if item.name != b"." {
        return None;
    }
    let Found::Directory(anchor) = place::find(&item.location, true, &item.shown).ok()? else { return None };
    let dir = Dir::new(id, anchor, &item.shown);
    let names = sorted_names(&dir.open().ok()?).ok()?;
    let dir = Arc::new(dir);
    Some(names.into_iter().map(|name| One::Member(Arc::clone(&dir), name)).collect())
}

fn without_repetition(all: Vec<One>, spec: &WalkSpec) -> Result<Vec<One>, Error> {
    let mut kept: Vec<One> = Vec::with_capacity(all.len());
    for one in all {
        let Some(last) = kept.last() else {
            kept.push(one);
            continue;
        };
        if one.repeats(last) {
            continue;
        }
        if one.name() != last.name() {
            kept.push(one);
            continue;
        }
        match (last.is_taken(spec)?, one.is_taken(spec)?) {
            (true, true) => {
                let error = Error::new(Class::Usage, "several sources would get the name");
                return Err(error.object(one.name()).on(Side::Source));
            }
            (false, _) => *kept.last_mut().expect("there is a last one") = one,
            (true, false) => {}
        }
    }
    Ok(kept)
}
