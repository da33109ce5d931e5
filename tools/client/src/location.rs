//! Where a copy starts or ends, as it is written on a command line: `path`, `node:path`, a link with a path, or `-`.

use crate::book::Book;
use crate::link::{Link, SCHEME};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use xfer_engine::{Class, Error};

/// Schemes that PRODUCT.md names and this version does not speak.
const OTHER_SCHEMES: [&str; 3] = ["sftp", "http", "https"];

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Standard input or output.
    Stdio,
    /// A path on this machine.
    Local(PathBuf),
    /// A path on a node.
    Remote(Remote),
}

/// A path on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The node.
    pub link: Link,
    /// The node as the user wrote it: its name in the book, or its first address.
    pub node: String,
    /// Raw bytes without leading slashes; empty: the root.
    pub path: Vec<u8>,
}

impl Remote {
    /// The node as messages name it: `n1 (10.0.0.2)`, or its address where that is all there is.
    pub fn described(&self) -> String {
        match self.link.addresses.first() {
            Some(first) if !self.node.contains(&first.host) => format!("{} ({})", self.node, first.host),
            _ => self.node.clone(),
        }
    }
}

impl Location {
    /// Reads a location. A `:` counts only before the first `/`, and names a node of `book`.
    ///
    /// # Errors
    /// `Usage`: a malformed link, or a `:` after what is no node's name.
    pub fn parse(text: &OsStr, book: &Book) -> Result<Location, Error> {
        let bytes = text.as_bytes();
        if bytes == b"-" {
            return Ok(Location::Stdio);
        }
        if bytes.is_empty() {
            return Err(Error::new(Class::Usage, "an empty path names nothing"));
        }
        if bytes.starts_with(SCHEME.as_bytes()) {
            let (link, path) = Link::parse_with_path(bytes)?;
            let node = link.display_name();
            return Ok(Location::Remote(Remote { link, node, path }));
        }
        let end = bytes.iter().position(|b| *b == b'/').unwrap_or(bytes.len());
        let Some(colon) = bytes[..end].iter().position(|b| *b == b':') else {
            return Ok(Location::Local(PathBuf::from(OsStr::from_bytes(bytes))));
        };
        let name = String::from_utf8_lossy(&bytes[..colon]).into_owned();
        if let Some(link) = book.get(&name) {
            let path = &bytes[colon + 1..];
            let slashes = path.iter().take_while(|b| **b == b'/').count();
            return Ok(Location::Remote(Remote {
                link: link.clone(),
                node: name,
                path: path[slashes..].to_vec(),
            }));
        }
        if bytes[colon..].starts_with(b"://") {
            // What follows is not shown: it may be a link with its token.
            let known = OTHER_SCHEMES.contains(&name.as_str());
            let why = if known {
                "is not supported by this version"
            } else {
                "is no scheme; a link begins with xfer://"
            };
            return Err(Error::new(Class::Usage, format!("{name}:// {why}")));
        }
        Err(Error::new(Class::Usage, format!("there is no node {name:?}")).because(format!(
            "`xferctl node ls` lists the known ones; a local file of that name is written ./{}",
            String::from_utf8_lossy(bytes)
        )))
    }

    /// The location with its file name joined, as messages show it.
    pub fn display(&self) -> String {
        match self {
            Location::Stdio => "-".to_owned(),
            Location::Local(path) => path.display().to_string(),
            Location::Remote(remote) => format!("{}:/{}", remote.node, remote.path.escape_ascii()),
        }
    }

    /// The raw bytes of a local path.
    pub fn local_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Location::Local(path) => Some(path.clone().into_os_string().into_vec()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str =
        "xfer://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.__________________________________________8@h:1";

    fn book() -> Book {
        let mut book = Book::empty();
        book.insert("n1", Link::parse(LINK.as_bytes()).unwrap()).unwrap();
        book
    }

    fn parse(text: &[u8]) -> Result<Location, Error> {
        Location::parse(OsStr::from_bytes(text), &book())
    }

    #[test]
    fn a_colon_counts_only_before_the_first_slash() {
        for local in [&b"a"[..], b"./a:b", b"/x/a:b", b"a/b:c", b"./-", b"/", b".", b"\xff", b"./n1:x"] {
            assert_eq!(
                parse(local).unwrap(),
                Location::Local(PathBuf::from(OsStr::from_bytes(local))),
                "{}",
                local.escape_ascii()
            );
        }
        assert_eq!(parse(b"-").unwrap(), Location::Stdio);
    }

    #[test]
    fn nodes_and_links_are_remote() {
        let long = format!("{LINK}//x/y:z");
        let cases: [(&[u8], &str, &[u8]); 7] = [
            (b"n1:", "n1", b""),
            (b"n1:/", "n1", b""),
            (b"n1:/a:b", "n1", b"a:b"),
            (b"n1:a/b/", "n1", b"a/b/"),
            (b"n1:\xff", "n1", b"\xff"),
            (LINK.as_bytes(), "h:1", b""),
            (long.as_bytes(), "h:1", b"x/y:z"),
        ];
        for (text, node, path) in cases {
            let Location::Remote(remote) = parse(text).unwrap() else { panic!("{}", text.escape_ascii()) };
            assert_eq!((remote.node.as_str(), &remote.path[..]), (node, path));
            assert_eq!(remote.described(), if node == "n1" { "n1 (h)" } else { "h:1" });
        }
    }

    #[test]
    fn a_misspelt_link_is_not_shown() {
        let error = parse(LINK.replace("xfer:", "xfr:").as_bytes()).unwrap_err().to_string();
        assert!(error.contains("xfr://") && error.contains("begins with xfer://"), "{error}");
        assert!(!error.contains("AAAA"), "{error}");
    }

    #[test]
    fn an_unknown_node_suggests_the_local_spelling() {
        let error = parse(b"a:b").unwrap_err();
        assert_eq!(error.class, Class::Usage);
        assert!(error.to_string().contains("./a:b"), "{error}");
        for text in [&b":x"[..], b"", b"sftp://h/x", b"xfer://", b"\xff:x", b"[::1]:x"] {
            assert_eq!(parse(text).unwrap_err().class, Class::Usage, "{}", text.escape_ascii());
        }
    }
}
