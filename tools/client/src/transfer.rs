//! This machine's end of a copy: the source or sink that the engine is given, and the request that tells the node its own.

use crate::cache::FileCache;
use crate::copy::{Cipher, Compare, CopyOptions, Here, Overwrite, Plan};
use crate::limits::INLINE_LEN_MAX;
use crate::pb;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use xfer_engine::codec::Compression;
use xfer_engine::sink::{FileSink, Ground, Sink, SinkSpec, SourceInfo, StreamSink, Target};
use xfer_engine::source::{
    DigestCache, FileSource, Filter, Location, Preserve, Rule, Source, SourceItem, SourceSpec,
};
use xfer_engine::{Class, CongestionControl, Durability, EntryKind, Error, Side, Suite, TransferConfig};

/// What standard input is called where a name is needed.
const STDIN_NAME: &[u8] = b"stdin";

/// What is sent from here.
pub(crate) struct LocalSource {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) infos: Vec<pb::SourceInfo>,
}

/// What is received here.
pub(crate) struct LocalSink {
    pub(crate) sink: Arc<dyn Sink>,
    /// The first component of names is replaced.
    pub(crate) renamed: bool,
}

fn failed(what: &str, path: &Path, cause: &std::io::Error) -> Error {
    let class = match cause.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Class::NoSource,
        _ => cause.raw_os_error().map_or(Class::Other, Class::of_errno),
    };
    let mut error = Error::new(class, what).object(path.as_os_str().as_bytes()).because(cause);
    error.errno = cause.raw_os_error();
    error
}

/// Whether one regular file alone was named.
pub(crate) fn is_one_file(infos: &[pb::SourceInfo]) -> bool {
    matches!(infos, [one] if one.kind() != pb::Kind::Directory)
}

/// A named local source: where, its name in the manifest, what it is.
struct Named {
    path: PathBuf,
    info: pb::SourceInfo,
}

fn named(path: &Path, recursive: bool) -> Result<Named, Error> {
    let bytes = path.as_os_str().as_bytes();
    let last = bytes.rsplit(|b| *b == b'/').find(|component| !component.is_empty()).unwrap_or_default();
    let ends_in_slash = bytes.ends_with(b"/");
    let contents_only = matches!(last, b"" | b"." | b"..") && !bytes.is_empty();
    let as_symlink = recursive && !ends_in_slash && !contents_only;
    let metadata = if as_symlink { path.symlink_metadata() } else { path.metadata() };
    let metadata = metadata.map_err(|e| failed("stat", path, &e).on(Side::Source))?;
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => pb::Kind::Directory,
        kind if kind.is_symlink() => pb::Kind::Symlink,
        kind if kind.is_file() => pb::Kind::File,
        _ => pb::Kind::Other,
    };
    if kind == pb::Kind::Directory && !recursive {
        return Err(Error::new(Class::Usage, "a directory is copied only with -r:")
            .on(Side::Source)
            .object(bytes));
    }
    let path = std::path::absolute(path).map_err(|e| failed("locate", path, &e).on(Side::Source))?;
    let name = if contents_only { Vec::new() } else { last.to_vec() };
    Ok(Named { path, info: pb::SourceInfo { name, kind: kind.into(), contents_only } })
}

/// The source of an upload.
///
/// # Errors
/// `NoSource` when none of the named sources is there, `Usage` for a directory without `recursive`.
pub(crate) fn source(plan: &Plan, options: &CopyOptions) -> Result<LocalSource, Error> {
    let (items, infos) = match &plan.here {
        Here::Stdio => stdin(&plan.node.path),
        Here::Paths(paths) => items(paths, options)?,
    };
    let spec = SourceSpec {
        items,
        recursive: options.recursive,
        filter: filter(options)?,
        preserve: options.preserve,
        compression: options.compression,
        digests: options.digests,
        inline_max: INLINE_LEN_MAX,
        list_digests: options.compare == Compare::Digest,
        want_digests: options.digests,
        cache: cache(options),
    };
    Ok(LocalSource { source: Arc::new(FileSource::new(spec)?), infos })
}

fn cache(options: &CopyOptions) -> Option<Arc<dyn DigestCache>> {
    let cache = if options.digests { FileCache::from_environment() } else { None };
    cache.map(|cache| Arc::new(cache) as Arc<dyn DigestCache>)
}

/// The filters of the options.
///
/// # Errors
/// `Usage`, naming the glob that is none.
pub(crate) fn filter(options: &CopyOptions) -> Result<Filter, Error> {
    let rule = |include| if include { Rule::Include } else { Rule::Exclude };
    Filter::new(options.filters.iter().map(|f| (rule(f.include), f.glob.as_str())))
}

fn stdin(destination: &[u8]) -> (Vec<SourceItem>, Vec<pb::SourceInfo>) {
    let last = destination.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let name = if matches!(last, b"" | b".") { STDIN_NAME } else { last };
    let item = SourceItem {
        location: Location::Stream(Mutex::new(Box::new(std::io::stdin()))),
        name: name.to_vec(),
        shown: b"-".to_vec(),
    };
    (
        vec![item],
        vec![pb::SourceInfo { name: name.to_vec(), kind: pb::Kind::File.into(), contents_only: false }],
    )
}

type Items = (Vec<SourceItem>, Vec<pb::SourceInfo>);

fn items(paths: &[PathBuf], options: &CopyOptions) -> Result<Items, Error> {
    if !options.files_from.is_empty() {
        return listed(paths, options);
    }
    let (mut items, mut infos, mut missing) = (Vec::new(), Vec::new(), None);
    for path in paths {
        let shown = path.as_os_str().as_bytes().to_vec();
        match named(path, options.recursive) {
            Ok(Named { path, info }) => {
                let name = if info.contents_only { b".".to_vec() } else { info.name.clone() };
                items.push(SourceItem { location: Location::Path(path), name, shown });
                infos.push(info);
            }
            // One of several fails alone, when the source meets it.
            Err(error) if error.class == Class::NoSource && paths.len() > 1 => {
                let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
                if name.is_empty() {
                    return Err(error);
                }
                let absolute = std::path::absolute(path).map_err(|e| failed("locate", path, &e))?;
                infos.push(pb::SourceInfo {
                    name: name.clone(),
                    kind: pb::Kind::File.into(),
                    contents_only: false,
                });
                items.push(SourceItem { location: Location::Path(absolute), name, shown });
                missing = Some(missing.unwrap_or((0, error))).map(|(count, first)| (count + 1, first));
            }
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some((count, first)) if count == paths.len() => Err(first),
        _ => Ok((items, infos)),
    }
}

/// The members of one directory that a list names.
fn listed(paths: &[PathBuf], options: &CopyOptions) -> Result<Items, Error> {
    let [directory] = paths else {
        return Err(Error::new(Class::Usage, "--files-from needs one source that the files are in"));
    };
    let at = std::path::absolute(directory).map_err(|e| failed("locate", directory, &e).on(Side::Source))?;
    if !at.is_dir() {
        return Err(Error::new(Class::Usage, "--files-from needs a directory that the files are in, not")
            .object(directory.as_os_str().as_bytes()));
    }
    let mut items = Vec::with_capacity(options.files_from.len());
    for member in &options.files_from {
        let name = member_name(member)?;
        let shown = directory.join(OsStr::from_bytes(&name)).into_os_string().as_bytes().to_vec();
        items.push(SourceItem { location: Location::Path(at.join(OsStr::from_bytes(&name))), name, shown });
    }
    let info = pb::SourceInfo { name: Vec::new(), kind: pb::Kind::Directory.into(), contents_only: true };
    Ok((items, vec![info]))
}

fn member_name(member: &[u8]) -> Result<Vec<u8>, Error> {
    let components: Vec<&[u8]> = member.split(|b| *b == b'/').filter(|c| !matches!(*c, b"" | b".")).collect();
    if components.is_empty() || components.contains(&&b".."[..]) {
        return Err(Error::new(Class::Usage, "--files-from names something that is not in the source:")
            .object(member));
    }
    Ok(components.join(&b'/'))
}

/// The sink of a download of what the node answered with.
///
/// # Errors
/// Those of [`Target::resolve`]; `Usage` for anything but a file to standard output.
pub(crate) fn sink(
    plan: &Plan,
    options: &CopyOptions,
    sources: &[pb::SourceInfo],
) -> Result<LocalSink, Error> {
    match &plan.here {
        Here::Stdio if is_one_file(sources) => {
            let sink = Arc::new(StreamSink::new(Box::new(std::io::stdout()), options.digests));
            Ok(LocalSink { sink, renamed: false })
        }
        Here::Stdio => Err(Error::new(Class::Usage, "only one file goes to standard output")),
        Here::Paths(paths) => file_sink(plan, options, sources, &paths[0]),
    }
}

fn file_sink(
    plan: &Plan,
    options: &CopyOptions,
    sources: &[pb::SourceInfo],
    destination: &Path,
) -> Result<LocalSink, Error> {
    let sources: Vec<SourceInfo> = sources.iter().map(source_info).collect();
    let destination = destination.as_os_str().as_bytes();
    let target = Target::resolve(Ground::Local, destination, &sources, options.recursive)?;
    let renamed = !target.place(b".").is_empty() && sources.iter().all(|source| !source.contents_only);
    let mut spec = SinkSpec::new(target, config(options).chunk_log2);
    spec.digests = options.digests;
    spec.want_digests = options.digests;
    spec.compare = options.compare;
    spec.overwrite = options.overwrite;
    spec.durability = options.durability;
    spec.digest_cache = cache(options);
    spec.preserve = options.preserve;
    spec.holder = format!("pid {} from {}", std::process::id(), plan.node.node);
    Ok(LocalSink { sink: Arc::new(FileSink::new(spec)), renamed })
}

fn random_name() -> Result<String, Error> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Error::new(Class::Other, "the system gives no random bytes"))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// A named source of the node, for where it goes.
pub(crate) fn source_info(source: &pb::SourceInfo) -> SourceInfo {
    let kind = match source.kind() {
        pb::Kind::Directory => EntryKind::Directory,
        pb::Kind::Symlink => EntryKind::Symlink,
        pb::Kind::File | pb::Kind::Other | pb::Kind::Unspecified => EntryKind::File,
    };
    SourceInfo { basename: source.name.clone(), kind, contents_only: source.contents_only }
}

/// The engine's settings at this end.
pub(crate) fn config(options: &CopyOptions) -> TransferConfig {
    TransferConfig {
        chunk_log2: options.chunk_log2.unwrap_or(TransferConfig::default().chunk_log2),
        digests: options.digests,
        congestion: options.congestion,
        rate_max: options.rate,
    }
}

/// What the node is asked for.
///
/// # Errors
/// `Other` without random bytes.
pub(crate) fn create_request(
    plan: &Plan,
    options: &CopyOptions,
    source: Option<&LocalSource>,
    replaces: &str,
) -> Result<pb::CreateTransferRequest, Error> {
    let what = match source {
        Some(source) => pb::create_transfer_request::What::Upload(pb::Upload {
            destination: plan.node.path.clone(),
            sources: source.infos.clone(),
            receive: Some(receive_options(options)),
        }),
        None => pb::create_transfer_request::What::Download(pb::Download {
            sources: plan.remote_sources.clone(),
            filters: options
                .filters
                .iter()
                .map(|f| pb::Filter { include: f.include, glob: f.glob.clone() })
                .collect(),
            only: options.files_from.clone(),
            compression: compression(options.compression).into(),
            range: None,
        }),
    };
    Ok(pb::CreateTransferRequest {
        request_id: random_name()?,
        what: Some(what),
        options: Some(transfer_options(options)),
        replaces: replaces.to_owned(),
        versions: vec![1],
    })
}

/// What holds for either direction.
pub(crate) fn transfer_options(options: &CopyOptions) -> pb::TransferOptions {
    let Preserve { owner, xattr, acl, links } = options.preserve;
    let congestion = match options.congestion {
        CongestionControl::Bbr => pb::Congestion::Bbr,
        CongestionControl::Cubic => pb::Congestion::Cubic,
        CongestionControl::Ledbat => pb::Congestion::Ledbat,
        CongestionControl::Fixed => pb::Congestion::Fixed,
    };
    let suite = match (options.cipher, best_suite()) {
        (Cipher::None, _) => pb::Suite::Plain,
        (Cipher::Auto, Suite::ChaCha20Poly1305) => pb::Suite::Chacha20Poly1305,
        (Cipher::Auto, _) => pb::Suite::Aes128Gcm,
    };
    pb::TransferOptions {
        recursive: options.recursive,
        suite: suite.into(),
        digests: options.digests,
        chunk_log2: options.chunk_log2.map_or(0, u32::from),
        preserve: Some(pb::Preserve { owner, xattr, acl, links }),
        congestion: congestion.into(),
        rate_max: options.rate.unwrap_or(0),
        digest_skipped: false,
        list_digests: options.compare == Compare::Digest,
    }
}

fn receive_options(options: &CopyOptions) -> pb::ReceiveOptions {
    let compare = match options.compare {
        Compare::Exists => pb::Compare::Exists,
        Compare::Size => pb::Compare::Size,
        Compare::Mtime => pb::Compare::Mtime,
        Compare::Digest => pb::Compare::Digest,
    };
    let overwrite = match options.overwrite {
        Overwrite::Always => pb::Overwrite::Always,
        Overwrite::Older => pb::Overwrite::Older,
        Overwrite::Never => pb::Overwrite::Never,
    };
    let durability = match options.durability {
        Durability::None => pb::Durability::None,
        Durability::Batch => pb::Durability::Batch,
        Durability::File => pb::Durability::File,
    };
    pb::ReceiveOptions { compare: compare.into(), overwrite: overwrite.into(), durability: durability.into() }
}

fn compression(compression: Compression) -> pb::Compression {
    match compression {
        Compression::None => pb::Compression::None,
        Compression::Lz4 => pb::Compression::Lz4,
        Compression::Zstd => pb::Compression::Zstd,
        Compression::Auto => pb::Compression::Auto,
    }
}

/// The ciphers that are fastest here.
pub fn best_suite() -> Suite {
    if has_aes() { Suite::Aes128Gcm } else { Suite::ChaCha20Poly1305 }
}

/// Whether this CPU has AES instructions.
#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

/// Whether this CPU has AES instructions.
#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

/// Whether this CPU has AES instructions: none that are known of.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn told(path: &Path, recursive: bool) -> Result<(String, pb::Kind, bool), Class> {
        let named = named(path, recursive).map_err(|e| e.class)?;
        let name = String::from_utf8(named.info.name.clone()).unwrap();
        assert!(named.path.is_absolute());
        Ok((name, named.info.kind(), named.info.contents_only))
    }

    #[test]
    fn names_and_kinds_of_sources() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("f"), "x").unwrap();
        std::os::unix::fs::symlink("d", at("s")).unwrap();
        assert_eq!(told(&at("f"), false), Ok(("f".to_owned(), pb::Kind::File, false)));
        assert_eq!(told(&at("d"), true), Ok(("d".to_owned(), pb::Kind::Directory, false)));
        assert_eq!(told(&at("d/"), true), Ok(("d".to_owned(), pb::Kind::Directory, false)));
        assert_eq!(told(&at("d/."), true), Ok((String::new(), pb::Kind::Directory, true)));
        assert_eq!(told(&at("d/.."), true), Ok((String::new(), pb::Kind::Directory, true)));
        assert_eq!(told(Path::new("."), true), Ok((String::new(), pb::Kind::Directory, true)));
        assert_eq!(told(Path::new("/"), true), Ok((String::new(), pb::Kind::Directory, true)));
        assert_eq!(told(&at("s"), true), Ok(("s".to_owned(), pb::Kind::Symlink, false)));
        assert_eq!(told(&at("s/"), true), Ok(("s".to_owned(), pb::Kind::Directory, false)));
        assert_eq!(told(&at("s"), false), Err(Class::Usage));
        assert_eq!(told(&at("d"), false), Err(Class::Usage));
        assert_eq!(told(&at("no"), false), Err(Class::NoSource));
        assert_eq!(told(&at("f/"), false), Err(Class::NoSource));
    }

    #[test]
    fn one_of_several_may_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (there, gone) = (dir.path().join("f"), dir.path().join("no"));
        fs::write(&there, "x").unwrap();
        let options = CopyOptions::default();
        assert_eq!(items(&[there, gone.clone()], &options).unwrap().1.len(), 2);
        assert_eq!(items(std::slice::from_ref(&gone), &options).err().unwrap().class, Class::NoSource);
        assert_eq!(items(&[gone.clone(), gone], &options).err().unwrap().class, Class::NoSource);
    }

    #[test]
    fn lists_of_files_stay_inside() {
        assert_eq!(member_name(b"/a//./b").unwrap(), b"a/b");
        for wrong in [&b""[..], b"/", b".", b"a/../b", b".."] {
            assert_eq!(member_name(wrong).unwrap_err().class, Class::Usage, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn stdin_takes_the_name_of_its_destination() {
        let name = |destination: &[u8]| stdin(destination).1.remove(0).name;
        assert_eq!(name(b"d/x"), b"x");
        assert_eq!(name(b"d/"), STDIN_NAME);
        assert_eq!(name(b""), STDIN_NAME);
    }
}
