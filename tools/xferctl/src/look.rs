//! `ls` and `stat`: what is on a node.

use crate::args::{ListArgs, StatArgs};
use crate::complain;
use crate::json::{self, Failure, Path};
use crate::names;
use crate::output::Stdout;
use jiff::Timestamp;
use serde::Serialize;
use std::ffi::OsStr;
use xfer_client::limits::CONNECT_TIMEOUT;
use xfer_client::{Book, Class, Client, Entry, Error, Kind, Listed, Location, Remote};

/// One object as JSON.
#[derive(Serialize)]
struct EntryLine {
    #[serde(flatten)]
    path: Path,
    kind: &'static str,
    size: u64,
    mtime_ns: i64,
    mode: String,
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

impl EntryLine {
    fn new(entry: &Entry) -> Self {
        let target = (entry.kind == Kind::Symlink).then(|| json::name(&entry.target));
        let (target, target_b64) = target.map_or((None, None), |(text, b64)| (Some(text), b64));
        EntryLine {
            path: Path::new(&entry.path),
            kind: kind(entry.kind),
            size: entry.size,
            mtime_ns: entry.mtime_ns,
            mode: format!("{:04o}", entry.mode),
            target,
            target_b64,
            digest: entry.digest.map(|digest| names::hex(&digest)),
        }
    }
}

#[derive(Serialize)]
struct ErrorLine {
    error: Failure,
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "dir",
        Kind::Symlink => "symlink",
        Kind::Other => "other",
    }
}

/// Reads a location on a node.
pub(crate) fn remote(text: &OsStr, book: &Book) -> Result<Remote, Error> {
    match Location::parse(text, book)? {
        Location::Remote(remote) => Ok(remote),
        other => Err(Error::new(Class::Usage, format!("{} is not on a node", other.display()))
            .because("write NODE:PATH or LINK/PATH")),
    }
}

/// Several locations, one after the other: the first failure decides, but all are tried.
struct Several {
    stdout: Stdout,
    json: bool,
    succeeded: bool,
    failed: Option<Class>,
}

impl Several {
    fn new(json: bool) -> Self {
        Several { stdout: Stdout::new(), json, succeeded: false, failed: None }
    }

    /// Takes what became of one of them; only a lost stdout ends it all.
    fn take(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Ok(()) => self.succeeded = true,
            Err(error) if crate::output::is_closed_pipe(&error) => return Err(error),
            Err(error) => self.failure(&error)?,
        }
        Ok(())
    }

    fn failure(&mut self, error: &Error) -> Result<(), Error> {
        complain::complain(error);
        self.failed.get_or_insert(error.class);
        if self.json && error.class != Class::Usage {
            json::print(&mut self.stdout, "error", &ErrorLine { error: Failure::new(error) })?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<u8, Error> {
        self.stdout.flush()?;
        Ok(match self.failed {
            None => 0,
            Some(_) if self.succeeded => Class::Partial.exit_code(),
            Some(class) => class.exit_code(),
        })
    }
}

/// `ls`.
pub(crate) fn list(args: &ListArgs) -> Result<u8, Error> {
    let book = Book::from_environment()?;
    let remotes = args.locations.iter().map(|text| remote(text, &book)).collect::<Result<Vec<_>, _>>()?;
    let mut several = Several::new(args.json);
    for remote in &remotes {
        if remotes.len() > 1 && !args.json {
            let location = Location::Remote(remote.clone()).display();
            several.stdout.write(format!("{location}:\n").as_bytes())?;
        }
        let listed = list_one(args, remote, &mut several);
        several.take(listed)?;
    }
    several.end()
}

fn list_one(args: &ListArgs, remote: &Remote, several: &mut Several) -> Result<(), Error> {
    let client = Client::of(remote, CONNECT_TIMEOUT)?;
    client.list(&remote.path, args.recursive, &mut |listed| match listed {
        Listed::Entry(entry) if args.json => {
            several.stdout.write(json::line("entry", &EntryLine::new(&entry)).as_bytes())
        }
        Listed::Entry(entry) => several.stdout.write(&row(&entry, args.long)),
        Listed::Failure(error) => several.failure(&error),
    })
}

/// One object for people; with `long` with mode, size and time before the name.
fn row(entry: &Entry, long: bool) -> Vec<u8> {
    let mut row = if long {
        format!("{} {:>14} {}  ", mode(entry), entry.size, time(entry.mtime_ns)).into_bytes()
    } else {
        Vec::new()
    };
    row.extend_from_slice(names::show(&entry.path).as_bytes());
    match entry.kind {
        Kind::Directory => row.push(b'/'),
        Kind::Symlink if long => {
            row.extend_from_slice(format!(" -> {}", names::show(&entry.target)).as_bytes())
        }
        _ => {}
    }
    row.push(b'\n');
    row
}

/// Kind and permissions as `ls -l` shows them.
fn mode(entry: &Entry) -> String {
    let mut text = String::with_capacity(10);
    text.push(match entry.kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Other => '?',
    });
    for (bit, letter) in (0..9).rev().zip("rwxrwxrwx".chars()) {
        text.push(if entry.mode >> bit & 1 == 1 { letter } else { '-' });
    }
    text
}

/// `2026-01-02T03:04:05Z`.
fn time(ns: i64) -> String {
    let time = Timestamp::from_nanosecond(ns.into());
    time.map_or_else(|_| ns.to_string(), |time| format!("{time:.0}"))
}

/// `stat`.
pub(crate) fn stat(args: &StatArgs) -> Result<u8, Error> {
    let book = Book::from_environment()?;
    let remotes = args.locations.iter().map(|text| remote(text, &book)).collect::<Result<Vec<_>, _>>()?;
    let mut several = Several::new(args.json);
    for remote in &remotes {
        let described = Client::of(remote, CONNECT_TIMEOUT)
            .and_then(|client| client.stat(&remote.path, args.digest))
            .and_then(|entry| {
                let text = if args.json {
                    json::line("entry", &EntryLine::new(&entry))
                } else {
                    card(&entry, remote)
                };
                several.stdout.write(text.as_bytes())
            });
        several.take(described)?;
    }
    several.end()
}

/// One object for people, a property a line.
fn card(entry: &Entry, remote: &Remote) -> String {
    let mut text = format!("path      {}\n", Location::Remote(remote.clone()).display());
    text += &format!("kind      {}\nsize      {}\n", kind(entry.kind), entry.size);
    let ns = Timestamp::from_nanosecond(entry.mtime_ns.into());
    text += &format!("modified  {}\n", ns.map_or_else(|_| entry.mtime_ns.to_string(), |t| t.to_string()));
    text += &format!("mode      {:04o} {}\n", entry.mode, mode(entry));
    if entry.kind == Kind::Symlink {
        text += &format!("target    {}\n", names::show(&entry.target));
    }
    if let Some(digest) = entry.digest {
        text += &format!("digest    {}\n", names::hex(&digest));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, path: &[u8]) -> Entry {
        let target = if kind == Kind::Symlink { b"t\xff".to_vec() } else { Vec::new() };
        Entry { path: path.to_vec(), kind, size: 7, mtime_ns: 1, mode: 0o2754, target, digest: None }
    }

    #[test]
    fn rows_are_like_those_of_ls() {
        let text = |kind, long| String::from_utf8(row(&entry(kind, b"a\n"), long)).unwrap();
        assert_eq!(text(Kind::File, false), "a\\n\n");
        assert_eq!(text(Kind::Directory, false), "a\\n/\n");
        assert_eq!(text(Kind::File, true), "-rwxr-xr--              7 1970-01-01T00:00:00Z  a\\n\n");
        assert!(text(Kind::Symlink, true).ends_with("a\\n -> t\\xff\n"));
    }

    #[test]
    fn json_has_all_fields() {
        let text = |kind| serde_json::to_string(&EntryLine::new(&entry(kind, b"\xff"))).unwrap();
        assert_eq!(
            text(Kind::File),
            r#"{"path":"\\xff","path_b64":"/w==","kind":"file","size":7,"mtime_ns":1,"mode":"2754","target":null}"#
        );
        assert!(text(Kind::Symlink).ends_with(r#""target":"t\\xff","target_b64":"dP8="}"#));
    }
}
