//! The node's end of a transfer: the sink or the source that the engine is given, made from a checked request.

use crate::limits::INLINE_LEN_MAX;
use crate::pb;
use crate::policy::Terms;
use crate::roots::{OpenRoots, Place, RemotePath, Served};
use crate::{ranges, tree};
use std::net::SocketAddr;
use std::sync::Arc;
use xfer_engine::codec::Compression;
use xfer_engine::io::file::Kind;
use xfer_engine::sink::{Compare, FileSink, Ground, Overwrite, Sink, SinkSpec, SourceInfo, Target};
use xfer_engine::source::{FileSource, Filter, Location, Preserve, Rule, Source, SourceItem, SourceSpec};
use xfer_engine::{Class, Durability, EntryKind, Error, Side};

/// Where an upload goes.
pub(crate) struct UploadEnd {
    pub(crate) sink: Arc<dyn Sink>,
    /// What it writes, beneath the root.
    pub(crate) places: Vec<Vec<u8>>,
    /// The first component of names is replaced.
    pub(crate) renamed: bool,
}

/// The sink for an upload to `destination` beneath a root.
///
/// # Errors
/// Those of [`Target::resolve`].
pub(crate) fn sink(
    served: &Served,
    destination: &[u8],
    upload: &pb::Upload,
    terms: &Terms,
    peer: SocketAddr,
) -> Result<UploadEnd, Error> {
    let sources: Vec<SourceInfo> = upload.sources.iter().map(source_info).collect();
    let target = Target::resolve(Ground::Served(&served.root), destination, &sources, terms.recursive)?;
    let mut places = Vec::new();
    for source in &sources {
        let name: &[u8] = if source.contents_only { b"." } else { &source.basename };
        places.push(RemotePath::parse(&target.shown(name))?.name);
    }
    let renamed = !target.place(b".").is_empty() && sources.iter().all(|source| !source.contents_only);
    let receive = upload.receive.unwrap_or_default();
    let mut spec = SinkSpec::new(target, terms.config.chunk_log2);
    spec.digests = terms.config.digests;
    spec.compare = compare(receive.compare());
    spec.overwrite = overwrite(receive.overwrite());
    spec.durability = durability(receive.durability());
    spec.preserve = preserve(terms);
    spec.want_digests = terms.want_digests;
    spec.holder = format!("pid {} for {peer}", std::process::id());
    Ok(UploadEnd { sink: Arc::new(FileSink::new(spec)), places, renamed })
}

fn preserve(terms: &Terms) -> Preserve {
    let pb::Preserve { owner, xattr, acl, links } = terms.preserve;
    Preserve { owner, xattr, acl, links }
}

fn source_info(source: &pb::SourceInfo) -> SourceInfo {
    SourceInfo {
        basename: source.name.clone(),
        kind: entry_kind(source.kind()),
        contents_only: source.contents_only,
    }
}

/// Whether a single file was named.
pub(crate) fn is_one_file(infos: &[pb::SourceInfo]) -> bool {
    matches!(infos, [one] if one.kind() != pb::Kind::Directory)
}

/// What is neither file nor directory is left out by the source; where it would go is settled as for a file.
fn entry_kind(kind: pb::Kind) -> EntryKind {
    match kind {
        pb::Kind::Directory => EntryKind::Directory,
        pb::Kind::Symlink => EntryKind::Symlink,
        pb::Kind::File | pb::Kind::Other | pb::Kind::Unspecified => EntryKind::File,
    }
}

fn compare(compare: pb::Compare) -> Compare {
    match compare {
        pb::Compare::Exists => Compare::Exists,
        pb::Compare::Size => Compare::Size,
        pb::Compare::Mtime | pb::Compare::Unspecified => Compare::Mtime,
        pb::Compare::Digest => Compare::Digest,
    }
}

fn overwrite(overwrite: pb::Overwrite) -> Overwrite {
    match overwrite {
        pb::Overwrite::Always | pb::Overwrite::Unspecified => Overwrite::Always,
        pb::Overwrite::Older => Overwrite::Older,
        pb::Overwrite::Never => Overwrite::Never,
    }
}

fn durability(durability: pb::Durability) -> Durability {
    match durability {
        pb::Durability::None => Durability::None,
        pb::Durability::Batch | pb::Durability::Unspecified => Durability::Batch,
        pb::Durability::File => Durability::File,
    }
}

/// The source of a download, what each named source is, and what is sent of it where that is a range.
type DownloadEnd = (Arc<dyn Source>, Vec<pb::SourceInfo>, Option<pb::SentRange>);

/// The source for a download, and what each named source is.
///
/// # Errors
/// `NoSource` when one is missing, `Usage` for a directory without `recursive`, `Refused` for `..` and ways out of the root.
pub(crate) fn source(
    roots: &OpenRoots,
    download: &pb::Download,
    terms: &Terms,
) -> Result<DownloadEnd, Error> {
    if let Some(range) = &download.range {
        let compression = compression(download.compression());
        let (source, info, told) = ranges::source(roots, download, range, compression, terms)?;
        return Ok((source, vec![info], Some(told)));
    }
    let mut items = Vec::new();
    let mut infos = Vec::new();
    let mut found = 0;
    for (i, spelled) in download.sources.iter().enumerate() {
        let (served, name, info) = match named(roots, spelled, terms) {
            Ok(one) => one,
            // One that is missing among others fails alone: the source finds that out when it lists.
            Err(error) if error.class == Class::NoSource && (found > 0 || i + 1 < download.sources.len()) => {
                missing(roots, spelled, &mut items, &mut infos)?;
                continue;
            }
            Err(error) => return Err(error.on(Side::Source)),
        };
        found += 1;
        let root = Arc::new(served.root.clone());
        if download.only.is_empty() {
            let shown = spelled.clone();
            let name_in_manifest = if info.contents_only { b".".to_vec() } else { info.name.clone() };
            items.push(SourceItem { location: Location::Beneath(root, name), name: name_in_manifest, shown });
            infos.push(info);
        } else {
            only(&download.only, &root, &name, spelled, &mut items)?;
            infos.push(pb::SourceInfo { contents_only: true, ..info });
        }
    }
    let rules = download.filters.iter().map(|filter| {
        let rule = if filter.include { Rule::Include } else { Rule::Exclude };
        (rule, filter.glob.as_str())
    });
    let spec = SourceSpec {
        items,
        recursive: terms.recursive,
        filter: Filter::new(rules)?,
        preserve: preserve(terms),
        compression: compression(download.compression()),
        digests: terms.config.digests,
        inline_max: INLINE_LEN_MAX,
        list_digests: terms.list_digests,
        want_digests: terms.want_digests,
        cache: None,
    };
    Ok((Arc::new(FileSource::new(spec)?), infos, None))
}

fn compression(compression: pb::Compression) -> Compression {
    match compression {
        pb::Compression::None | pb::Compression::Unspecified => Compression::None,
        pb::Compression::Lz4 => Compression::Lz4,
        pb::Compression::Zstd => Compression::Zstd,
        pb::Compression::Auto => Compression::Auto,
    }
}

/// Finds a named source: its root, its name beneath it, and what it is.
fn named<'a>(
    roots: &'a OpenRoots,
    spelled: &[u8],
    terms: &Terms,
) -> Result<(&'a Served, Vec<u8>, pb::SourceInfo), Error> {
    let path = RemotePath::parse(spelled)?;
    if tree::is_hidden(&path.name) {
        return Err(Error::new(Class::NoSource, "partial files are not served:").object(spelled));
    }
    let (served, name) = match roots.place(&path)? {
        Place::Within(served, name) => (served, name),
        Place::Names => return Err(Error::new(Class::Usage, "name one of the node's roots to copy from")),
    };
    let as_symlink = terms.recursive && !path.slash && !path.contents && !name.is_empty();
    let stat = if as_symlink { served.root.stat(&name) } else { served.root.stat_followed(&name) };
    let stat = stat.map_err(|e| tree::error(&e, spelled))?;
    let is_directory = stat.kind == Kind::Dir;
    if is_directory && !terms.recursive {
        return Err(Error::new(Class::Usage, "a directory is copied only with -r:").object(spelled));
    }
    if (path.slash || path.contents) && !is_directory {
        return Err(Error::new(Class::Usage, "not a directory:").object(spelled));
    }
    // The unnamed root has no name to be copied under.
    let contents_only = path.contents || path.base().is_empty();
    let info =
        pb::SourceInfo { name: path.base().to_vec(), kind: tree::kind(stat.kind).into(), contents_only };
    Ok((served, name, info))
}

/// Lists a source that is missing like the others, so that its failure is told as a file's.
fn missing(
    roots: &OpenRoots,
    spelled: &[u8],
    items: &mut Vec<SourceItem>,
    infos: &mut Vec<pb::SourceInfo>,
) -> Result<(), Error> {
    let path = RemotePath::parse(spelled)?;
    if let Place::Within(served, name) = roots.place(&path)? {
        let base = path.base().to_vec();
        let location = Location::Beneath(Arc::new(served.root.clone()), name);
        items.push(SourceItem { location, name: base.clone(), shown: spelled.to_vec() });
        infos.push(pb::SourceInfo { name: base, kind: tree::kind(Kind::File).into(), contents_only: false });
    }
    Ok(())
}

/// Sources for a list of files within one directory.
fn only(
    list: &[Vec<u8>],
    root: &Arc<xfer_engine::io::file::Root>,
    directory: &[u8],
    spelled: &[u8],
    items: &mut Vec<SourceItem>,
) -> Result<(), Error> {
    for member in list {
        let path = RemotePath::parse(member)?;
        if path.name.is_empty() || tree::is_hidden(&path.name) {
            return Err(Error::new(Class::Usage, "a list of files names something else:").object(&member[..]));
        }
        items.push(SourceItem {
            location: Location::Beneath(root.clone(), tree::joined(directory, &path.name)),
            shown: tree::joined(spelled, &path.name),
            name: path.name,
        });
    }
    Ok(())
}
