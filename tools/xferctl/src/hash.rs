//! `hash`: digests as `b3sum` prints them, of files here, of standard input, and of files on nodes, where those are.

use crate::args::HashArgs;
use crate::complain;
use crate::limits::HASH_PATHS_PER_CALL;
use crate::names;
use crate::output::Stdout;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use xfer_client::limits::CONNECT_TIMEOUT;
use xfer_client::{Book, Class, Client, Error, Location, Remote, hash};

/// Prints a line for each file, in the order given.
pub(crate) fn run(args: &HashArgs) -> Result<u8, Error> {
    let book = Book::from_environment()?;
    let locations =
        args.files.iter().map(|text| Location::parse(text, &book)).collect::<Result<Vec<_>, _>>()?;
    let mut lines = Lines { stdout: Stdout::new(), succeeded: false, failed: None };
    let mut next = 0;
    while next < locations.len() {
        let taken = match &locations[next] {
            Location::Remote(first) => {
                let group = one_node(first, &locations[next..]);
                lines.remote(first, &group, &args.files[next..])?;
                group.len()
            }
            Location::Local(path) => {
                lines.take(args.files[next].as_bytes(), local(path))?;
                1
            }
            Location::Stdio => {
                lines.take(b"-", hash::read(&mut std::io::stdin()).map_err(|e| e.object("-")))?;
                1
            }
        };
        next += taken;
    }
    lines.end()
}

/// The paths of the first locations that are all on the node of `first`.
fn one_node(first: &Remote, locations: &[Location]) -> Vec<Vec<u8>> {
    let path = |location: &Location| match location {
        Location::Remote(remote) if remote.link == first.link => Some(remote.path.clone()),
        _ => None,
    };
    locations.iter().map_while(path).take(HASH_PATHS_PER_CALL).collect()
}

fn local(path: &Path) -> Result<[u8; 32], Error> {
    let name = path.as_os_str().as_bytes();
    let open = || -> std::io::Result<File> {
        let file = File::open(path)?;
        // Reading a directory would say so less clearly.
        if file.metadata()?.is_dir() { Err(std::io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
    };
    let mut file = open().map_err(|e| {
        let class = match e.kind() {
            std::io::ErrorKind::NotFound => Class::NoSource,
            _ => e.raw_os_error().map_or(Class::Other, Class::of_errno),
        };
        Error::new(class, "open").object(name).because(e)
    })?;
    hash::read(&mut file).map_err(|e| e.object(name))
}

/// What is printed, and whether all of it could be.
struct Lines {
    stdout: Stdout,
    succeeded: bool,
    failed: Option<Class>,
}

impl Lines {
    fn take(&mut self, name: &[u8], digest: Result<[u8; 32], Error>) -> Result<(), Error> {
        match digest {
            Ok(digest) => {
                self.succeeded = true;
                self.stdout.write(&names::b3sum_line(&digest, name))
            }
            Err(error) => {
                complain::complain(&error);
                self.failed.get_or_insert(error.class);
                Ok(())
            }
        }
    }

    /// Digests of files on one node; `words` are the names as they were given.
    fn remote(&mut self, node: &Remote, paths: &[Vec<u8>], words: &[OsString]) -> Result<(), Error> {
        let mut shown = words.iter().zip(paths).map(|(word, path)| name_of(word, node, path));
        let mut lost = None;
        let asked = Client::of(node, CONNECT_TIMEOUT).and_then(|client| {
            client.hash(paths, &mut |hashed| {
                let name = shown.next().unwrap_or_else(|| hashed.path.clone());
                // The node's message names the file.
                self.take(&name, hashed.digest).inspect_err(|e| lost = Some(e.clone()))
            })
        });
        match (asked, lost) {
            (_, Some(error)) => Err(error),
            (Err(error), None) => self.take(&[], Err(error)),
            (Ok(()), None) => Ok(()),
        }
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

/// The name that is printed: what was given, but never a token.
fn name_of(word: &OsStr, node: &Remote, path: &[u8]) -> Vec<u8> {
    if word.as_bytes().starts_with(xfer_client::link::SCHEME.as_bytes()) {
        let mut name = format!("{}:/", node.node).into_bytes();
        name.extend_from_slice(path);
        return name;
    }
    word.as_bytes().to_vec()
}
