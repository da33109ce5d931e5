//! The file service: lists, describes and hashes what is beneath the roots.

use crate::audit::{Asked, Audit};
use crate::limits::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BATCHES_AHEAD, HASH_PATHS_MAX};
use crate::listen::Peer;
use crate::pb::{self, file_service_server::FileService};
use crate::roots::{self, OpenRoots, RemotePath};
use crate::spawn::Counted;
use crate::tree::{self, Told};
use crate::{ranges, spawn, status};
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use xfer_engine::{Class, Error};

/// The service.
pub(crate) struct Files {
    pub(crate) roots: Arc<OpenRoots>,
    pub(crate) audit: Arc<Audit>,
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl FileService for Files {
    type ListStream = Answers<pb::ListResponse>;
    type HashStream = Answers<pb::HashResponse>;
    type ReadStream = Answers<pb::ReadResponse>;

    async fn list(&self, request: Request<pb::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let (roots, counted, request) = (self.roots.clone(), Counted::of(&request), request.into_inner());
        let (sender, receiver) = tokio::sync::mpsc::channel(BATCHES_AHEAD);
        counted.answering(move || {
            let mut pages = Pages::new(sender, request.page_size);
            match list(&roots, &request, &mut pages) {
                Ok(()) => pages.finish(),
                Err(error) => pages.fail(&error),
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn stat(&self, request: Request<pb::StatRequest>) -> Result<Response<pb::Entry>, Status> {
        let (roots, counted, request) = (self.roots.clone(), Counted::of(&request), request.into_inner());
        counted.blocking(move || stat(&roots, &request)).await.map(Response::new)
    }

    async fn hash(&self, request: Request<pb::HashRequest>) -> Result<Response<Self::HashStream>, Status> {
        let (roots, counted, paths) = (self.roots.clone(), Counted::of(&request), request.into_inner().paths);
        if paths.len() > HASH_PATHS_MAX {
            return Err(status::of(&Error::new(Class::Usage, "too many paths in one call")));
        }
        let (sender, receiver) = tokio::sync::mpsc::channel(BATCHES_AHEAD);
        counted.answering(move || {
            for path in paths {
                if !spawn::tell(&sender, Ok(hash(&roots, path))) {
                    break;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn read(&self, request: Request<pb::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let (roots, audit, peer) = (self.roots.clone(), self.audit.clone(), Peer::of(&request));
        let (counted, request) = (Counted::of(&request), request.into_inner());
        ranges::check(&request).map_err(|error| status::of(&error))?;
        let (sender, receiver) = tokio::sync::mpsc::channel(BATCHES_AHEAD);
        counted.answering(move || {
            let mut tell = |part| spawn::tell(&sender, Ok(part));
            let answered = ranges::answer(&roots, &request.ranges, &mut tell);
            let names: Vec<_> = request.ranges.into_iter().map(|range| range.path).collect();
            audit.read(&Asked { peer, upload: false, bench: false, names: &names }, &answered);
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

fn hidden(path: &[u8]) -> Error {
    Error::new(Class::NoSource, "partial files are not served:").object(path)
}

fn stat(roots: &OpenRoots, request: &pb::StatRequest) -> Result<pb::Entry, Error> {
    let path = RemotePath::parse(&request.path)?;
    if tree::is_hidden(&path.name) {
        return Err(hidden(&request.path));
    }
    match roots.place(&path)? {
        roots::Place::Names => Ok(level_of_names()),
        roots::Place::Within(served, name) => {
            let told = |e| tree::error(&e, &request.path);
            let mut entry = tree::entry(&served.root, &name, path.name.clone()).map_err(told)?;
            if request.digest && entry.kind() == pb::Kind::File {
                entry.digest = tree::hash(&served.root, &name).map_err(told)?.0.to_vec();
            }
            Ok(entry)
        }
    }
}

fn level_of_names() -> pb::Entry {
    pb::Entry { kind: pb::Kind::Directory.into(), mode: 0o555, ..pb::Entry::default() }
}

fn hash(roots: &OpenRoots, path: Vec<u8>) -> pb::HashResponse {
    let hashed = || {
        let checked = RemotePath::parse(&path)?;
        if tree::is_hidden(&checked.name) {
            return Err(hidden(&path));
        }
        match roots.place(&checked)? {
            roots::Place::Names => {
                Err(Error::new(Class::Usage, "only a file has a digest, not the names of roots"))
            }
            roots::Place::Within(served, name) => {
                tree::hash(&served.root, &name).map_err(|e| tree::error(&e, &path))
            }
        }
    };
    match hashed() {
        Ok((digest, size)) => {
            pb::HashResponse { path, digest: digest.to_vec(), size, ..pb::HashResponse::default() }
        }
        Err(error) => pb::HashResponse {
            path,
            exit_code: error.class.exit_code().into(),
            errno: error.errno.unwrap_or(0),
            message: error.to_string(),
            ..pb::HashResponse::default()
        },
    }
}

fn list(roots: &OpenRoots, request: &pb::ListRequest, pages: &mut Pages) -> Result<(), Error> {
    let path = RemotePath::parse(&request.path)?;
    if tree::is_hidden(&path.name) {
        return Err(hidden(&request.path));
    }
    // Only compared with, never opened, so it needs no check.
    let after = &request.page_token;
    match roots.place(&path)? {
        roots::Place::Names => list_names(roots, request.recursive, after, pages),
        roots::Place::Within(served, name) => {
            let told = |e| tree::error(&e, &request.path);
            let stat = served.root.stat_followed(&name);
            if stat.as_ref().is_ok_and(|stat| stat.kind == xfer_engine::io::file::Kind::Dir) {
                let mut tell = |told| pages.push(told);
                return tree::list(&served.root, &name, request.recursive, after, &mut tell).map_err(told);
            }
            let entry = tree::entry(&served.root, &name, path.base().to_vec()).map_err(told)?;
            if path.slash {
                return Err(Error::new(Class::Usage, "not a directory:").object(&request.path[..]));
            }
            if after.is_empty() {
                pages.add(entry);
            }
            Ok(())
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "`slash` is a place in it")]
fn list_names(roots: &OpenRoots, recursive: bool, after: &[u8], pages: &mut Pages) -> Result<(), Error> {
    for served in roots.served() {
        let name = served.name.as_bytes();
        let (first, rest) = match after.iter().position(|b| *b == b'/') {
            Some(slash) => (&after[..slash], &after[slash + 1..]),
            None => (after, &[][..]),
        };
        if name < first || (name == first && !recursive && !after.is_empty()) {
            continue;
        }
        let told = |e| tree::error(&e, name);
        if name != first {
            let entry = tree::entry(&served.root, b"", name.to_vec()).map_err(told)?;
            if pages.push(Told::Entry(entry)).is_break() {
                return Ok(());
            }
        }
        if recursive {
            let mut ended = false;
            let mut tell = |told| {
                let flow = pages.push(under(name, told));
                ended = flow.is_break();
                flow
            };
            let after = if name == first { rest } else { &[] };
            tree::list(&served.root, b"", true, after, &mut tell).map_err(told)?;
            if ended {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn under(name: &[u8], told: Told) -> Told {
    match told {
        Told::Entry(entry) => Told::Entry(pb::Entry { path: tree::joined(name, &entry.path), ..entry }),
        Told::Failure(path, error) => Told::Failure(tree::joined(name, &path), error),
    }
}

/// Collects entries into batches, and ends at the page's size.
struct Pages {
    sender: Sender<Result<pb::ListResponse, Status>>,
    batch: pb::ListResponse,
    batch_bytes: usize,
    /// Entries that the page still takes; `None`: any number.
    left: Option<u32>,
}

impl Pages {
    fn new(sender: Sender<Result<pb::ListResponse, Status>>, page_size: u32) -> Self {
        let left = (page_size > 0).then_some(page_size);
        Pages { sender, batch: pb::ListResponse::default(), batch_bytes: 0, left }
    }

    fn push(&mut self, told: Told) -> ControlFlow<()> {
        match told {
            Told::Entry(entry) => {
                self.add(entry);
                if self.left == Some(0) {
                    return ControlFlow::Break(());
                }
            }
            Told::Failure(path, error) => {
                self.batch_bytes += path.len();
                let (errno, message) = (error.errno, error.to_string());
                self.batch.failures.push(pb::ListFailure { path, errno, message });
            }
        }
        let full = self.batch.entries.len() + self.batch.failures.len() >= BATCH_ENTRIES_MAX
            || self.batch_bytes >= BATCH_BYTES_MAX;
        if full { self.flush() } else { ControlFlow::Continue(()) }
    }

    fn add(&mut self, entry: pb::Entry) {
        self.left = self.left.map(|left| left - 1);
        self.batch_bytes += entry.path.len() + entry.target.len();
        if self.left == Some(0) {
            self.batch.next_page_token = entry.path.clone();
        }
        self.batch.entries.push(entry);
    }

    fn flush(&mut self) -> ControlFlow<()> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if spawn::tell(&self.sender, Ok(batch)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn finish(mut self) {
        let rest = !self.batch.entries.is_empty() || !self.batch.failures.is_empty();
        if rest && self.flush().is_break() {
            tracing::debug!("the client of a listing went away");
        }
    }

    fn fail(mut self, error: &Error) {
        if self.flush().is_continue() && !spawn::tell(&self.sender, Err(status::of(error))) {
            tracing::debug!(%error, "the client of a failed listing went away");
        }
    }
}
