//! The node book: names of nodes and their links, kept in `nodes.toml` readable by its owner alone.

use crate::limits::{BOOK_LEN_MAX, NODE_NAME_LEN_MAX};
use crate::link::{Link, SCHEME};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use xfer_engine::{Class, Error};

/// The name of the node that `XFER_LINK` defines.
pub const ENVIRONMENT_NODE: &str = "link";

/// Names that mean something else in a place for nodes.
const RESERVED: [&str; 2] = [ENVIRONMENT_NODE, "all"];

/// Names of nodes and their links.
#[derive(Debug, Default)]
pub struct Book {
    path: Option<PathBuf>,
    nodes: BTreeMap<String, Link>,
    environment: Option<Link>,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(default)]
    nodes: BTreeMap<String, String>,
}

impl Book {
    /// A book without a file.
    pub fn empty() -> Self {
        Book::default()
    }

    /// The book of this user, with the node that `XFER_LINK` defines.
    ///
    /// # Errors
    /// As [`Book::open`]; `Usage` when `XFER_LINK` is no link.
    pub fn from_environment() -> Result<Self, Error> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config =
            absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
        let mut book = match config {
            Some(dir) => Book::open(&dir.join("xfer/nodes.toml"))?,
            None => Book::empty(),
        };
        if let Some(link) = std::env::var_os("XFER_LINK").filter(|link| !link.is_empty()) {
            book.set_environment(&link)?;
        }
        Ok(book)
    }

    /// Reads a book; one that does not exist is empty.
    ///
    /// # Errors
    /// `Denied` when others may read the file, `Usage` when it is malformed; what the kernel says when it cannot be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut book = Book { path: Some(path.to_owned()), ..Book::default() };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(book),
            Err(e) => return Err(failed("open", path, &e)),
        };
        let mode = file.metadata().map_err(|e| failed("stat", path, &e))?.mode();
        if mode & 0o077 != 0 {
            return Err(Error::new(Class::Denied, "others may read the node book, which holds secrets")
                .object(path.as_os_str().as_bytes())
                .because(format!("its mode is {:04o}; chmod 600 it", mode & 0o7777)));
        }
        let mut text = String::new();
        file.take(BOOK_LEN_MAX + 1).read_to_string(&mut text).map_err(|e| failed("read", path, &e))?;
        if text.len() as u64 > BOOK_LEN_MAX {
            return Err(
                Error::new(Class::Usage, "the node book is too long").object(path.as_os_str().as_bytes())
            );
        }
        book.read(&text, path)?;
        Ok(book)
    }

    /// Takes what the text of the book at `path` says.
    pub(crate) fn read(&mut self, text: &str, path: &Path) -> Result<(), Error> {
        let stored: Stored = toml::from_str(text).map_err(|_| {
            Error::new(Class::Usage, "the node book is not TOML with a table [nodes] of names and links")
                .object(path.as_os_str().as_bytes())
        })?;
        for (name, link) in stored.nodes {
            self.nodes.insert(check_name(&name)?, Link::parse(link.as_bytes()).map_err(|e| e.object(name))?);
        }
        Ok(())
    }

    /// Sets the link of the node `link:`.
    ///
    /// # Errors
    /// `Usage` when it is no link.
    pub fn set_environment(&mut self, link: &OsStr) -> Result<(), Error> {
        let link = Link::parse(link.as_bytes()).map_err(|e| e.because("it comes from XFER_LINK"))?;
        self.environment = Some(link);
        Ok(())
    }

    /// The link of a node.
    pub fn get(&self, name: &str) -> Option<&Link> {
        if name == ENVIRONMENT_NODE { self.environment.as_ref() } else { self.nodes.get(name) }
    }

    /// All nodes by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Link)> {
        self.environment
            .iter()
            .map(|link| (ENVIRONMENT_NODE, link))
            .chain(self.nodes.iter().map(|(name, link)| (name.as_str(), link)))
    }

    /// Names a node; returns the link that the name had.
    ///
    /// # Errors
    /// `Usage` when the name is none.
    pub fn insert(&mut self, name: &str, link: Link) -> Result<Option<Link>, Error> {
        Ok(self.nodes.insert(check_name(name)?, link))
    }

    /// Forgets a node.
    ///
    /// # Errors
    /// `NoSource` when there is none of that name.
    pub fn remove(&mut self, name: &str) -> Result<Link, Error> {
        self.nodes
            .remove(name)
            .ok_or_else(|| Error::new(Class::NoSource, format!("there is no node {name:?} in the book")))
    }

    /// Writes the book to its file, whole or not at all.
    ///
    /// # Errors
    /// What the kernel says; `Usage` for a book without a file.
    pub fn save(&self) -> Result<(), Error> {
        let path = self.path.as_deref().ok_or_else(|| {
            Error::new(Class::Usage, "the node book has no place: neither XDG_CONFIG_HOME nor HOME is set")
        })?;
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|e| failed("create", directory, &e))?;
        let stored =
            Stored { nodes: self.nodes.iter().map(|(name, link)| (name.clone(), link.reveal())).collect() };
        let text = toml::to_string(&stored)
            .map_err(|e| Error::new(Class::Other, "the node book cannot be written as TOML").because(e))?;
        let partial = path.with_extension(format!("toml.{}", std::process::id()));
        let written = write_private(&partial, &text).and_then(|()| fs::rename(&partial, path));
        written.map_err(|e| {
            let error = failed("write", path, &e);
            match fs::remove_file(&partial) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    error.because(format!("left {}: {e}", partial.display()))
                }
                _ => error,
            }
        })
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn failed(what: &str, path: &Path, cause: &std::io::Error) -> Error {
    let errno = cause.raw_os_error();
    let mut error = Error::new(errno.map_or(Class::Other, Class::of_errno), what)
        .object(path.as_os_str().as_bytes())
        .because(cause);
    error.errno = errno;
    error
}

fn check_name(name: &str) -> Result<String, Error> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let valid = !name.is_empty()
        && name.len() <= NODE_NAME_LEN_MAX
        && name.bytes().all(plain)
        && !name.starts_with(['-', '.'])
        && !RESERVED.contains(&name);
    if valid {
        return Ok(name.to_owned());
    }
    // A link in the place of a name is not shown: it holds a token.
    let shown = if name.contains(SCHEME) { "a link".to_owned() } else { format!("{name:?}") };
    Err(Error::new(Class::Usage, format!("{shown} cannot name a node")).because(format!(
        "a name has letters, digits, . _ and -, begins with none of . and -, has at most {NODE_NAME_LEN_MAX} bytes, and is neither {} nor {}",
        RESERVED[0], RESERVED[1]
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const LINK: &str =
        "xfer://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.__________________________________________8@h:1";

    fn link() -> Link {
        Link::parse(LINK.as_bytes()).unwrap()
    }

    #[test]
    fn a_link_in_the_place_of_a_name_is_not_shown() {
        let error = Book::empty().insert(LINK, link()).unwrap_err().to_string();
        assert!(error.contains("cannot name a node") && !error.contains("AAAA"), "{error}");
    }

    #[test]
    fn survives_saving_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("xfer/nodes.toml");
        let mut book = Book::open(&path).unwrap();
        assert_eq!(book.nodes().count(), 0);
        assert_eq!(book.insert("n1", link()).unwrap(), None);
        assert_eq!(book.insert("n1", link()).unwrap(), Some(link()));
        book.save().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let mut book = Book::open(&path).unwrap();
        assert_eq!(book.get("n1"), Some(&link()));
        assert_eq!(book.remove("n1").unwrap(), link());
        assert_eq!(book.remove("n1").unwrap_err().class, Class::NoSource);
        book.save().unwrap();
        assert!(Book::open(&path).unwrap().get("n1").is_none());
        assert_eq!(fs::read_dir(dir.path().join("xfer")).unwrap().count(), 1);
    }

    #[test]
    fn a_book_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nodes.toml");
        fs::write(&path, "[nodes]\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(Book::open(&path).unwrap_err().class, Class::Denied);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Book::open(&path).is_ok());
        fs::write(&path, "[nodes]\nx = \"nonsense\"\n").unwrap();
        assert_eq!(Book::open(&path).unwrap_err().class, Class::Usage);
    }

    #[test]
    fn names() {
        let mut book = Book::empty();
        for name in ["a", "n-1", "host.example", "_x", &"x".repeat(NODE_NAME_LEN_MAX)] {
            assert!(book.insert(name, link()).is_ok(), "{name}");
        }
        for name in [
            "",
            "-a",
            ".a",
            "a:b",
            "a/b",
            "a b",
            "link",
            "all",
            "n[1-2]",
            "ä",
            &"x".repeat(NODE_NAME_LEN_MAX + 1),
        ] {
            assert_eq!(book.insert(name, link()).unwrap_err().class, Class::Usage, "{name}");
        }
    }

    #[test]
    fn the_environment_defines_one_node() {
        let mut book = Book::empty();
        assert!(book.get("link").is_none());
        book.set_environment(OsStr::new(LINK)).unwrap();
        assert_eq!(book.get("link"), Some(&link()));
        assert_eq!(book.nodes().map(|(name, _)| name).collect::<Vec<_>>(), ["link"]);
        assert_eq!(book.set_environment(OsStr::new("x")).unwrap_err().class, Class::Usage);
    }
}
