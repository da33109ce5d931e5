//! Ranges of files: read and answered within a call, or made the source of a download.
//!
//! A file is opened beneath its root, as for a whole download. What it is is noted before the first byte is read and compared after the
//! last, so that no range mixes two states of it.

use crate::limits::{INLINE_LEN_MAX, READ_CALL_LEN_MAX, READ_PART_LEN, READ_RANGES_MAX};
use crate::pb;
use crate::policy::Terms;
use crate::roots::{OpenRoots, Place, RemotePath};
use crate::{status, tree};
use std::ops::Range;
use std::sync::Arc;
use xfer_engine::codec::Compression;
use xfer_engine::io::file::{File, Stat, Timestamp};
use xfer_engine::source::{LiveContent, LiveObject, LiveSource, Source};
use xfer_engine::{Class, Error, Side};

/// What came of a call.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    /// Ranges that were read.
    pub(crate) ranges: u64,
    /// Ranges that failed.
    pub(crate) failed: u64,
    /// Content bytes.
    pub(crate) bytes: u64,
    /// That of the only range.
    pub(crate) digest: Option<[u8; 32]>,
    /// Why the first of those that failed did.
    pub(crate) error: Option<Error>,
}

/// Checks what a call asks for, without looking at files.
///
/// # Errors
/// `Usage` for too many ranges.
pub(crate) fn check(request: &pb::ReadRequest) -> Result<(), Error> {
    if request.ranges.len() > READ_RANGES_MAX {
        let most = format!("a call reads {READ_RANGES_MAX} ranges at most");
        return Err(Error::new(Class::Usage, most).on(Side::Source));
    }
    Ok(())
}

/// Reads all ranges of a call; `tell` hears each part, and says whether anybody listens still.
pub(crate) fn answer(
    roots: &OpenRoots,
    ranges: &[pb::FileRange],
    tell: &mut dyn FnMut(pb::ReadResponse) -> bool,
) -> Answered {
    let mut answered = Answered::default();
    for (number, asked) in (0..).zip(ranges) {
        let left = READ_CALL_LEN_MAX.saturating_sub(answered.bytes);
        let mut part = |content, end| tell(pb::ReadResponse { range: number, content, end });
        let read = Opened::of(roots, &asked.path).and_then(|opened| {
            let range = opened.within(asked.offset, asked.length);
            if range.end - range.start > left {
                return Err(too_long(&asked.path));
            }
            opened.read(range, &mut |content| part(content, None))
        });
        let end = match read {
            Ok(Some(read)) => {
                answered.ranges += 1;
                answered.bytes += read.bytes;
                answered.digest = (ranges.len() == 1).then_some(read.digest);
                pb::RangeEnd {
                    digest: read.digest.to_vec(),
                    size: read.size,
                    mtime_ns: read.mtime_ns,
                    error: None,
                }
            }
            Ok(None) => break,
            Err(error) => {
                let info = status::info(&error);
                answered.failed += 1;
                answered.error.get_or_insert(error);
                pb::RangeEnd { error: Some(info), ..pb::RangeEnd::default() }
            }
        };
        if !part(Vec::new(), Some(end)) {
            break;
        }
    }
    answered
}

fn too_long(path: &[u8]) -> Error {
    let most = format!("a call reads {} MiB at most; copy more by a download:", READ_CALL_LEN_MAX >> 20);
    Error::new(Class::Usage, most).on(Side::Source).object(path)
}

fn changed(path: &[u8]) -> Error {
    Error::new(Class::Digest, "the file changed while it was read:").on(Side::Source).object(path)
}

/// A range that was read.
struct Read {
    bytes: u64,
    digest: [u8; 32],
    size: u64,
    mtime_ns: i64,
}

/// A file that ranges are read of.
struct Opened<'a> {
    /// As it was asked for.
    path: &'a [u8],
    /// Its last component.
    base: Vec<u8>,
    file: File,
    stat: Stat,
}

impl<'a> Opened<'a> {
    fn of(roots: &OpenRoots, spelled: &'a [u8]) -> Result<Self, Error> {
        Opened::find(roots, spelled).map_err(|error| error.on(Side::Source))
    }

    fn find(roots: &OpenRoots, spelled: &'a [u8]) -> Result<Self, Error> {
        let path = RemotePath::parse(spelled)?;
        if tree::is_hidden(&path.name) {
            return Err(Error::new(Class::NoSource, "partial files are not served:").object(spelled));
        }
        if path.slash || path.contents {
            return Err(Error::new(Class::Usage, "ranges are of files:").object(spelled));
        }
        let (served, name) = match roots.place(&path)? {
            Place::Within(served, name) => (served, name),
            Place::Names => {
                return Err(Error::new(Class::Usage, "ranges are of files, not of the node's roots"));
            }
        };
        let told = |e| tree::error(&e, spelled);
        let file = served.root.open_read(&name).map_err(told)?;
        let stat = file.stat().map_err(told)?;
        Ok(Opened { path: spelled, base: path.base().to_vec(), file, stat })
    }

    /// What there is of a range.
    fn within(&self, offset: u64, length: u64) -> Range<u64> {
        let start = offset.min(self.stat.size);
        start..start + length.min(self.stat.size - start)
    }

    /// Reads a range; `None` when nobody listens any more.
    fn read(&self, range: Range<u64>, part: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<Option<Read>, Error> {
        let mut hasher = blake3::Hasher::new();
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(READ_PART_LEN as u64);
            let mut content = vec![0; len as usize];
            let read = self.file.read_at(&mut content, at).map_err(|e| tree::error(&e, self.path))?;
            if read < content.len() {
                return Err(changed(self.path).at(at + read as u64));
            }
            at += len;
            hasher.update(&content);
            if !part(content) {
                return Ok(None);
            }
        }
        self.check_unchanged()?;
        let digest = *hasher.finalize().as_bytes();
        let (size, mtime_ns) = (self.stat.size, ns(self.stat.mtime));
        Ok(Some(Read { bytes: range.end - range.start, digest, size, mtime_ns }))
    }

    fn check_unchanged(&self) -> Result<(), Error> {
        let now = self.file.stat().map_err(|e| tree::error(&e, self.path))?;
        let same = |stat: &Stat| (stat.size, stat.mtime, stat.ctime);
        if same(&now) == same(&self.stat) { Ok(()) } else { Err(changed(self.path)) }
    }
}

/// Nanoseconds since 1970, as far as they fit.
fn ns(time: Timestamp) -> i64 {
    i64::try_from(time.ns()).unwrap_or(if time.seconds < 0 { i64::MIN } else { i64::MAX })
}

/// The source of a download of `range`, what is sent of the file, and what it is called.
///
/// # Errors
/// `Usage` for anything but one file, whole or with filters; those of opening it.
pub(crate) fn source(
    roots: &OpenRoots,
    download: &pb::Download,
    range: &pb::ByteRange,
    compression: Compression,
    terms: &Terms,
) -> Result<(Arc<dyn Source>, pb::SourceInfo, pb::SentRange), Error> {
    let usage = |why: &str| Err(Error::new(Class::Usage, why).on(Side::Source));
    let [spelled] = &download.sources[..] else { return usage("a range is of one file") };
    if !download.filters.is_empty() || !download.only.is_empty() {
        return usage("a range is of one file, which nothing is left out of");
    }
    let opened = Opened::of(roots, spelled)?;
    let within = opened.within(range.offset, range.length);
    let length = within.end - within.start;
    let told = pb::SentRange { length, size: opened.stat.size, mtime_ns: ns(opened.stat.mtime) };
    let info =
        pb::SourceInfo { name: opened.base.clone(), kind: pb::Kind::File.into(), contents_only: false };
    let digests = terms.config.digests;
    let content = if length <= INLINE_LEN_MAX as u64 {
        let mut small = Vec::new();
        opened.read(within, &mut |part| {
            small = part;
            true
        })?;
        LiveContent::Small(small)
    } else {
        LiveContent::File(opened.file.into(), within.start, length)
    };
    let source = LiveSource::new(1, compression, digests);
    let refused = |_| Error::new(Class::Other, "the source of a range takes no object").on(Side::Source);
    source.push(LiveObject::new(&opened.base, content, digests)?).map_err(refused)?;
    source.finish();
    Ok((Arc::new(source), info, told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roots::Roots;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn roots() -> (tempfile::TempDir, OpenRoots) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("d/.xfer-partial")).unwrap();
        fs::write(root.join("f"), content()).unwrap();
        fs::write(root.join("d/.xfer-partial/p"), "x").unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("../f", root.join("d/in")).unwrap();
        let roots = OpenRoots::open(&Roots::One(root)).unwrap();
        (dir, roots)
    }

    /// Two parts and a bit.
    fn content() -> Vec<u8> {
        (0..2 * READ_PART_LEN + 9).map(|at| (at % 251) as u8).collect()
    }

    fn range(path: &[u8], offset: u64, length: u64) -> pb::FileRange {
        pb::FileRange { path: path.to_vec(), offset, length }
    }

    /// Content and end of a range.
    type Told = (Vec<u8>, Option<pb::RangeEnd>);

    fn read(roots: &OpenRoots, ranges: &[pb::FileRange]) -> (Answered, Vec<Told>) {
        let mut read = vec![(Vec::new(), None); ranges.len()];
        let answered = answer(roots, ranges, &mut |part| {
            let (content, end) = &mut read[part.range as usize];
            assert!(part.content.len() <= READ_PART_LEN && end.is_none());
            content.extend(part.content);
            *end = part.end;
            true
        });
        (answered, read)
    }

    #[test]
    fn ranges_are_cut_where_the_file_ends() {
        let (_dir, roots) = roots();
        let (whole, size) = (content(), content().len() as u64);
        let part = READ_PART_LEN as u64;
        let asked = [
            (0, 0),
            (0, 1),
            (part - 1, 2),
            (1, part),
            (0, part + 1),
            (0, size),
            (0, size + 1),
            (size - 1, 1),
            (size - 1, u64::MAX),
            (size, 1),
            (size + 1, 1),
            (u64::MAX, u64::MAX),
        ];
        for (offset, length) in asked {
            let (answered, mut read) = read(&roots, &[range(b"d/in", offset, length)]);
            let (content, end) = read.remove(0);
            let from = offset.min(size) as usize;
            let expected = &whole[from..from + (length.min(size - from as u64)) as usize];
            assert!(content == expected, "{offset} {length}");
            let digest = xfer_engine::digest::root(expected);
            let end = end.unwrap();
            assert_eq!((&end.digest[..], end.size, end.error), (&digest[..], size, None));
            assert_eq!((answered.bytes, answered.digest), (expected.len() as u64, Some(digest)));
        }
    }

    #[test]
    fn one_that_fails_leaves_the_others() {
        let (_dir, roots) = roots();
        let wrong: [(&[u8], Class); 11] = [
            (b"no", Class::NoSource),
            (b"out", Class::Refused),
            (b"..", Class::Refused),
            (b"d/../f", Class::Refused),
            (b"f\0", Class::Refused),
            (b"d/.xfer-partial/p", Class::NoSource),
            (b"f/", Class::Usage),
            (b"f/.", Class::Usage),
            (b"f/f", Class::NoSource),
            (b"d", Class::Other),
            (b"", Class::Other),
        ];
        let asked: Vec<_> =
            wrong.iter().flat_map(|(path, _)| [range(path, 0, 9), range(b"f", 1, 2)]).collect();
        let (answered, read) = read(&roots, &asked);
        assert_eq!((answered.failed, answered.ranges, answered.bytes), (11, 11, 22));
        for (pair, (path, class)) in read.chunks(2).zip(wrong) {
            let error = pair[0].1.as_ref().unwrap().error.as_ref().unwrap();
            let told = Class::from_exit_code(error.exit_code as u8);
            assert!(told == class || class == Class::Other, "{}: {error:?}", path.escape_ascii());
            let directory = [&b"d"[..], b""].contains(&path);
            assert_eq!(error.errno == 21, directory, "{}: {error:?}", path.escape_ascii());
            assert!(pair[0].0.is_empty());
            assert_eq!(pair[1].0, [1, 2]);
        }
    }

    #[test]
    fn a_call_reads_so_much_and_no_more() {
        let (dir, roots) = roots();
        fs::File::create(dir.path().join("root/long")).unwrap().set_len(READ_CALL_LEN_MAX + 1).unwrap();
        for (lengths, fails) in [
            (&[READ_CALL_LEN_MAX, 0][..], &[false, false][..]),
            (&[READ_CALL_LEN_MAX, 1], &[false, true]),
            (&[u64::MAX, 1], &[true, false]),
        ] {
            let asked: Vec<_> = lengths.iter().map(|length| range(b"long", 0, *length)).collect();
            let (_, read) = read(&roots, &asked);
            let failed: Vec<_> = read.iter().map(|(_, end)| end.as_ref().unwrap().error.is_some()).collect();
            assert_eq!(failed, fails, "{lengths:?}");
        }
        let ranges = vec![range(b"f", 0, 1); READ_RANGES_MAX];
        let more = [&ranges[..], &ranges[..1]].concat();
        assert!(check(&pb::ReadRequest { ranges }).is_ok());
        assert_eq!(check(&pb::ReadRequest { ranges: more }).unwrap_err().class, Class::Usage);
    }

    #[test]
    fn a_file_that_changes_is_no_range() {
        let (dir, roots) = roots();
        let path = dir.path().join("root/f");
        for cut in [true, false] {
            fs::write(&path, content()).unwrap();
            let mut parts = 0;
            let answered = answer(&roots, &[range(b"f", 0, u64::MAX)], &mut |part| {
                parts += 1;
                if parts == 1 && cut {
                    fs::File::options()
                        .write(true)
                        .open(&path)
                        .unwrap()
                        .set_len(READ_PART_LEN as u64)
                        .unwrap();
                } else if parts == 1 {
                    let file = fs::File::options().write(true).open(&path).unwrap();
                    file.set_modified(std::time::UNIX_EPOCH).unwrap();
                }
                assert!(part.end.is_none_or(|end| end.error.is_some()));
                true
            });
            assert_eq!(answered.error.unwrap().class, Class::Digest, "{cut}");
        }
    }

    #[test]
    fn a_client_that_left_is_read_for_no_more() {
        let (_dir, roots) = roots();
        let mut parts = 0;
        let mut tell = |_| {
            parts += 1;
            false
        };
        answer(&roots, &[range(b"f", 0, u64::MAX), range(b"f", 0, 1)], &mut tell);
        assert_eq!(parts, 1);
    }
}
