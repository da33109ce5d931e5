//! What the fuzz targets ask of this crate: calls from their bytes on, through tonic's decoders to the handlers of a node whose engine is
//! gone, so that all but the transfer itself happens.

#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "of no program: a fuzz target's own part, which reports by panics"
)]

use crate::audit::Audit;
use crate::bench::Bench;
use crate::clients::Caps;
use crate::files::Files;
use crate::identity::Identity;
use crate::limits::{REQUEST_LEN_MAX, TRANSFERS_MAX};
use crate::pb::bench_service_server::BenchServiceServer;
use crate::pb::file_service_server::FileServiceServer;
use crate::pb::transfer_service_server::TransferServiceServer;
use crate::policy::Policy;
use crate::registry::Registry;
use crate::roots::{OpenRoots, RemotePath, Roots};
use crate::tickets::{Shared, Tickets};
use std::convert::Infallible;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll};
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{Body as HttpBody, Bytes, Service};
use tonic::service::Routes;
use xfer_engine::Error;

/// Every method of the node's services; `cargo xtask tidy` compares them with the protobuf files.
pub const METHODS: [&str; 11] = [
    "/xfer.v1.FileService/List",
    "/xfer.v1.FileService/Stat",
    "/xfer.v1.FileService/Hash",
    "/xfer.v1.TransferService/CreateTransfer",
    "/xfer.v1.TransferService/GetTransfer",
    "/xfer.v1.TransferService/ListTransfers",
    "/xfer.v1.TransferService/WatchTransfer",
    "/xfer.v1.TransferService/CancelTransfer",
    "/xfer.v1.BenchService/CreateBench",
    "/xfer.v1.BenchService/GetBench",
    "/xfer.v1.FileService/Read",
];

/// Frames of one answer that are waited for.
const FRAMES_MAX: usize = 100_000;

/// A node's services, without its sockets and its engine.
pub struct Services {
    runtime: Runtime,
    roots: Arc<OpenRoots>,
}

impl Services {
    /// Services over one root.
    ///
    /// # Errors
    /// As [`Node::start`](crate::Node::start).
    pub fn new(root: &Path) -> Result<Self, Error> {
        let broken = |e| Error::new(xfer_engine::Class::Fatal, "start a runtime").because(e);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
        Ok(Services { runtime, roots: Arc::new(OpenRoots::open(&Roots::One(root.to_owned()))?) })
    }

    /// Calls methods of a fresh node one after another, each by its index in [`METHODS`] and the bytes of its HTTP body, and takes the
    /// answers to their ends.
    ///
    /// # Panics
    /// An answer does not end, or a bound of the registry is broken.
    pub fn call<'a>(&self, calls: impl IntoIterator<Item = (u8, &'a [u8])>) {
        let policy = Policy { read_only: false, allow_plain: true, allow_unverified: false };
        let (roots, registry) = (self.roots.clone(), Registry::new("r".to_owned(), Caps::default()));
        let audit = Audit::open(None, String::new()).expect("nothing is opened");
        let shared =
            Arc::new(Shared { roots, policy, registry, audit: Arc::new(audit), engine: RwLock::new(None) });
        let files = FileServiceServer::new(Files { roots: self.roots.clone(), audit: shared.audit.clone() });
        let bench = BenchServiceServer::new(Bench::new(shared.clone(), true));
        let tickets = TransferServiceServer::new(Tickets { shared: shared.clone() });
        let mut routes = Routes::new(files.max_decoding_message_size(REQUEST_LEN_MAX))
            .add_service(tickets.max_decoding_message_size(REQUEST_LEN_MAX))
            .add_service(bench.max_decoding_message_size(REQUEST_LEN_MAX));
        self.runtime.block_on(async {
            for (method, body) in calls {
                let path = METHODS[usize::from(method) % METHODS.len()];
                let body = Body::new(Whole(Some(Bytes::copy_from_slice(body))));
                let request =
                    Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
                let request = request.body(body).expect("a request");
                let Ok(answer) = routes.call(request).await;
                drain(answer).await;
            }
        });
        assert!(shared.registry.newest(u64::MAX, usize::MAX).len() <= TRANSFERS_MAX);
        assert!(shared.registry.running().is_empty(), "a transfer runs without an engine");
    }
}

async fn drain(answer: Response<Body>) {
    let mut body = pin!(answer.into_body());
    for _ in 0..FRAMES_MAX {
        match std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
    panic!("an answer does not end");
}

/// A body that comes whole.
struct Whole(Option<Bytes>);

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

/// Takes `bytes` as a path from a client.
///
/// # Panics
/// What is let through leads out of a root.
pub fn remote_path(bytes: &[u8]) {
    let Ok(path) = RemotePath::parse(bytes) else { return };
    assert!(!path.name.starts_with(b"/") && !path.name.ends_with(b"/") && !path.name.contains(&0));
    if path.name.is_empty() {
        return;
    }
    assert!(path.name.split(|b| *b == b'/').all(|c| !matches!(c, b"" | b"." | b"..")));
    let again = RemotePath::parse(&path.spelled(&path.name));
    assert_eq!(again.ok(), Some(path));
}

/// Takes `bytes` as the file that keeps a node's identity.
///
/// # Panics
/// What decodes does not come back.
pub fn identity(bytes: &[u8]) {
    let Some(identity) = std::str::from_utf8(bytes).ok().and_then(Identity::decode) else { return };
    let again = Identity::decode(&identity.encode()).expect("its own text");
    assert_eq!((again.token(), again.link(&[])), (identity.token(), identity.link(&[])));
}
