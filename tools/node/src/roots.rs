//! What a node serves: one unnamed directory, several named ones, or none, and the way from a remote path into them.

use crate::limits::PATH_LEN_MAX;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use xfer_engine::io::file::Root;
use xfer_engine::{Class, Error};

/// What to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// One, without a name.
    One(PathBuf),
    /// Each under its name.
    Named(BTreeMap<String, PathBuf>),
    /// None: the node serves memory to benchmarks.
    Bench,
}

impl Roots {
    /// Reads the values of `--root`: one `DIR`, or `NAME=DIR` each. A directory with `=` is written `./a=b`.
    ///
    /// # Errors
    /// `Usage`: none, a mix, several unnamed ones, a repeated or malformed name.
    pub fn parse(values: &[OsString]) -> Result<Roots, Error> {
        let mut named = BTreeMap::new();
        let mut unnamed = Vec::new();
        for value in values {
            match split_name(value.as_bytes())? {
                Some((name, directory)) => {
                    let directory = PathBuf::from(OsString::from_vec(directory.to_vec()));
                    if named.insert(name.clone(), directory).is_some() {
                        return Err(Error::new(Class::Usage, format!("the root {name} is named twice")));
                    }
                }
                None => unnamed.push(PathBuf::from(value)),
            }
        }
        match (unnamed.len(), named.len()) {
            (0, 0) => Err(Error::new(Class::Usage, "a node needs a root to serve")),
            (0, _) => Ok(Roots::Named(named)),
            (1, 0) => Ok(Roots::One(unnamed.remove(0))),
            (_, 0) => Err(Error::new(Class::Usage, "several roots need names: NAME=DIR")),
            _ => Err(Error::new(Class::Usage, "either one root without a name, or all with names")),
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "`end` and `equals` are places in it")]
fn split_name(value: &[u8]) -> Result<Option<(String, &[u8])>, Error> {
    let end = value.iter().position(|b| *b == b'/').unwrap_or(value.len());
    let Some(equals) = value[..end].iter().position(|b| *b == b'=') else { return Ok(None) };
    let (name, directory) = (&value[..equals], &value[equals + 1..]);
    let valid = !name.is_empty()
        && name != b"."
        && name != b".."
        && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !valid || directory.is_empty() {
        return Err(Error::new(Class::Usage, "a named root is NAME=DIR, NAME of letters, digits, . _ and -")
            .object(value)
            .because("a directory whose name has = is written ./a=b"));
    }
    Ok(Some((String::from_utf8_lossy(name).into_owned(), directory)))
}

/// A remote path, checked: components joined by single slashes, none of them `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemotePath {
    /// The components, joined; empty for the root.
    pub(crate) name: Vec<u8>,
    /// It ended in `/`, so it means a directory.
    pub(crate) slash: bool,
    /// It ended in the component `.`, so it means the contents.
    pub(crate) contents: bool,
}

impl RemotePath {
    /// Checks a path from a client.
    ///
    /// # Errors
    /// `Refused` for `..` and NUL, `Usage` when it is too long.
    pub(crate) fn parse(path: &[u8]) -> Result<Self, Error> {
        let refused = |why: &str| Err(Error::new(Class::Refused, why).object(path));
        if path.len() > PATH_LEN_MAX {
            return Err(Error::new(Class::Usage, "a path is longer than 4,095 bytes"));
        }
        if path.contains(&0) {
            return refused("a path must not contain NUL:");
        }
        let mut name = Vec::with_capacity(path.len());
        for component in path.split(|b| *b == b'/') {
            match component {
                b".." => return refused("a remote path must not contain `..`:"),
                b"" | b"." => {}
                _ => {
                    if !name.is_empty() {
                        name.push(b'/');
                    }
                    name.extend_from_slice(component);
                }
            }
        }
        let last = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        Ok(RemotePath { name, slash: path.ends_with(b"/"), contents: last == b"." })
    }

    /// The last component; empty for the root.
    pub(crate) fn base(&self) -> &[u8] {
        self.name.rsplit(|b| *b == b'/').next().unwrap_or_default()
    }

    /// The path relative to a root, as it was meant: with its slash or its `.`.
    pub(crate) fn spelled(&self, within: &[u8]) -> Vec<u8> {
        let mut bytes = within.to_vec();
        let tail: &[u8] = match (self.contents, self.slash, within.is_empty()) {
            (true, _, true) => b".",
            (true, _, false) => b"/.",
            (false, true, false) => b"/",
            (false, _, _) => b"",
        };
        bytes.extend_from_slice(tail);
        bytes
    }
}

/// An open directory that is served.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// Its name; empty for the only one.
    pub(crate) name: String,
    /// It, open.
    pub(crate) root: Root,
}

/// Where a remote path leads.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// To the level of the roots' names.
    Names,
    /// Into a root, to this name beneath it (empty: the root itself).
    Within(&'a Served, Vec<u8>),
}

/// The directories of a node, open.
#[derive(Debug)]
pub(crate) struct OpenRoots {
    served: Vec<Served>,
    named: bool,
}

impl OpenRoots {
    /// Opens the directories.
    ///
    /// # Errors
    /// `NoSource` when one is missing, else by what the kernel says.
    pub(crate) fn open(roots: &Roots) -> Result<Self, Error> {
        let open = |name: &str, directory: &Path| -> Result<Served, Error> {
            let fail = |errno: i32, cause: &dyn std::fmt::Display| {
                let class = if is_missing(errno) { Class::NoSource } else { Class::of_errno(errno) };
                let mut error = Error::new(class, "open root").object(directory.as_os_str().as_bytes());
                error.errno = Some(errno);
                error.because(cause)
            };
            let root = Root::open(directory).map_err(|e| fail(e.errno, &e))?;
            Ok(Served { name: name.to_owned(), root })
        };
        match roots {
            Roots::One(directory) => Ok(OpenRoots { served: vec![open("", directory)?], named: false }),
            Roots::Named(named) => {
                let served =
                    named.iter().map(|(name, directory)| open(name, directory)).collect::<Result<_, _>>()?;
                Ok(OpenRoots { served, named: true })
            }
            Roots::Bench => Ok(OpenRoots { served: Vec::new(), named: true }),
        }
    }

    /// The roots, by name.
    pub(crate) fn served(&self) -> &[Served] {
        &self.served
    }

    /// Leads a checked path to its root.
    ///
    /// # Errors
    /// `NoSource` when no root has the name.
    #[expect(
        clippy::indexing_slicing,
        reason = "a node serves a root at least, and `slash` is a place in the name"
    )]
    pub(crate) fn place(&self, path: &RemotePath) -> Result<Place<'_>, Error> {
        if !self.named {
            return Ok(Place::Within(&self.served[0], path.name.clone()));
        }
        if path.name.is_empty() {
            return Ok(Place::Names);
        }
        let (first, rest) = match path.name.iter().position(|b| *b == b'/') {
            Some(slash) => (&path.name[..slash], &path.name[slash + 1..]),
            None => (&path.name[..], &[][..]),
        };
        let served = self.served.iter().find(|served| served.name.as_bytes() == first);
        served
            .map(|served| Place::Within(served, rest.to_vec()))
            .ok_or_else(|| Error::new(Class::NoSource, "the node serves no root named").object(first))
    }
}

fn is_missing(errno: i32) -> bool {
    matches!(std::io::Error::from_raw_os_error(errno).kind(), std::io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Result<Roots, Error> {
        Roots::parse(&values.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn one_unnamed_or_several_named() {
        assert_eq!(parse(&["/srv"]).unwrap(), Roots::One("/srv".into()));
        assert_eq!(parse(&["./a=b"]).unwrap(), Roots::One("./a=b".into()));
        let Roots::Named(named) = parse(&["b=/y=z", "a.-_1=x"]).unwrap() else { panic!() };
        assert_eq!(named["b"], PathBuf::from("/y=z"));
        assert_eq!(named["a.-_1"], PathBuf::from("x"));
        for wrong in [
            &[][..],
            &["/a", "/b"],
            &["a=/x", "/b"],
            &["a=/x", "a=/y"],
            &["=x"],
            &["a b=x"],
            &["a="],
            &["..=x"],
        ] {
            assert_eq!(parse(wrong).unwrap_err().class, Class::Usage, "{wrong:?}");
        }
    }

    #[test]
    fn remote_paths() {
        let cases: [(&[u8], &[u8], bool, bool); 9] = [
            (b"", b"", false, false),
            (b"/", b"", true, false),
            (b"///a//b", b"a/b", false, false),
            (b"a/", b"a", true, false),
            (b"a/.", b"a", false, true),
            (b".", b"", false, true),
            (b"./a/./b/", b"a/b", true, false),
            (b"a:b\xff", b"a:b\xff", false, false),
            (b"...", b"...", false, false),
        ];
        for (path, name, slash, contents) in cases {
            let expected = RemotePath { name: name.to_vec(), slash, contents };
            assert_eq!(RemotePath::parse(path).unwrap(), expected, "{}", path.escape_ascii());
        }
        for path in [&b".."[..], b"/..", b"a/..", b"a/../b", b"../a", b"a\0b"] {
            assert_eq!(RemotePath::parse(path).unwrap_err().class, Class::Refused, "{}", path.escape_ascii());
        }
        assert!(RemotePath::parse(&[b'a'; PATH_LEN_MAX]).is_ok());
        assert_eq!(RemotePath::parse(&[b'a'; PATH_LEN_MAX + 1]).unwrap_err().class, Class::Usage);
    }

    #[test]
    fn spelling_survives() {
        for path in [&b"a/b"[..], b"a/b/", b"a/b/."] {
            let parsed = RemotePath::parse(path).unwrap();
            assert_eq!(parsed.spelled(b"a/b"), path);
        }
        assert_eq!(RemotePath::parse(b"n/.").unwrap().spelled(b""), b".");
        assert_eq!(RemotePath::parse(b"n/").unwrap().spelled(b""), b"");
    }

    #[test]
    fn places() {
        let dir = tempfile::tempdir().unwrap();
        let at = |roots: &OpenRoots, path: &[u8]| match roots.place(&RemotePath::parse(path).unwrap()) {
            Ok(Place::Names) => "names".to_owned(),
            Ok(Place::Within(served, rest)) => format!("{}|{}", served.name, rest.escape_ascii()),
            Err(error) => format!("{:?}", error.class),
        };
        let one = OpenRoots::open(&Roots::One(dir.path().into())).unwrap();
        assert_eq!(at(&one, b""), "|");
        assert_eq!(at(&one, b"/a/b/"), "|a/b");
        let named = Roots::Named([("x".to_owned(), dir.path().to_owned())].into());
        let named = OpenRoots::open(&named).unwrap();
        assert_eq!(at(&named, b"/"), "names");
        assert_eq!(at(&named, b"x"), "x|");
        assert_eq!(at(&named, b"/x//a/b"), "x|a/b");
        assert_eq!(at(&named, b"y/a"), "NoSource");
        let missing = Roots::One(dir.path().join("missing"));
        assert_eq!(OpenRoots::open(&missing).unwrap_err().class, Class::NoSource);
    }
}
