//! `node`: names of links in the book.

use crate::json;
use crate::limits::LINK_LEN_MAX;
use crate::output::{self, Stdout};
use serde::Serialize;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use xfer_client::{Book, Class, Error, HostPort, Link};

/// One named link, without its token.
#[derive(Serialize)]
struct NodeLine<'a> {
    name: &'a str,
    addresses: Vec<String>,
}

/// Names a link; one of that name is replaced, which is told.
pub(crate) fn add(name: &str, link: &OsStr) -> Result<u8, Error> {
    let link = read_link(link)?;
    let mut book = Book::from_environment()?;
    let before = book.insert(name, link.clone())?;
    book.save()?;
    if before.is_some_and(|before| before != link) {
        output::tell(&format!("xferctl: the node {name} had another link, which is forgotten"));
    }
    Ok(0)
}

/// The link of an argument: itself, in a file (`@FILE`), or on standard input.
fn read_link(word: &OsStr) -> Result<Link, Error> {
    let bytes = word.as_bytes();
    if bytes == b"-" {
        return parse(&read_all(&mut std::io::stdin(), b"-")?);
    }
    match bytes.strip_prefix(b"@") {
        Some(path) => {
            let mut file = File::open(OsStr::from_bytes(path)).map_err(|e| failed("open", path, &e))?;
            parse(&read_all(&mut file, path)?)
        }
        None => Link::parse(bytes),
    }
}

fn parse(text: &[u8]) -> Result<Link, Error> {
    Link::parse(text.trim_ascii())
}

fn read_all(reader: &mut dyn Read, name: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    reader.take(LINK_LEN_MAX).read_to_end(&mut bytes).map_err(|e| failed("read", name, &e))?;
    Ok(bytes)
}

fn failed(what: &str, name: &[u8], cause: &std::io::Error) -> Error {
    let class = match cause.kind() {
        std::io::ErrorKind::NotFound => Class::NoSource,
        _ => cause.raw_os_error().map_or(Class::Other, Class::of_errno),
    };
    Error::new(class, what).object(name).because(cause)
}

/// Lists names and addresses.
pub(crate) fn list(as_json: bool) -> Result<u8, Error> {
    let book = Book::from_environment()?;
    let mut stdout = Stdout::new();
    let width = book.nodes().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, link) in book.nodes() {
        let addresses: Vec<String> = link.addresses.iter().map(HostPort::to_string).collect();
        if as_json {
            stdout.write(json::line("node", &NodeLine { name, addresses }).as_bytes())?;
        } else {
            stdout.write(format!("{name:width$}  {}\n", addresses.join(",")).as_bytes())?;
        }
    }
    stdout.flush()?;
    Ok(0)
}

/// Forgets names: all of them or, when one is unknown, none.
pub(crate) fn remove(names: &[String]) -> Result<u8, Error> {
    let mut book = Book::from_environment()?;
    for name in names {
        book.remove(name)?;
    }
    book.save()?;
    Ok(0)
}
