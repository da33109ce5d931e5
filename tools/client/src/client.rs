//! One node as a client sees it: listings, digests, and tickets for transfers.
//!
//! Synchronous: the control connection is driven only while a call waits for its answer.

use crate::connect::{self, Connected};
use crate::limits::{CALL_TIMEOUT, CONNECTION_WINDOW, GIVE_BACK_TIMEOUT, MESSAGE_LEN_MAX, STREAM_WINDOW};
use crate::link::Link;
use crate::location::Remote;
use crate::pb::{
    self, file_service_client::FileServiceClient, transfer_service_client::TransferServiceClient,
};
use crate::status;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use xfer_engine::{Class, Error};

/// `SERVING` of grpc.health.v1.
const HEALTH_SERVING: i32 = 1;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

impl From<pb::Kind> for Kind {
    fn from(kind: pb::Kind) -> Self {
        match kind {
            pb::Kind::File => Kind::File,
            pb::Kind::Directory => Kind::Directory,
            pb::Kind::Symlink => Kind::Symlink,
            pb::Kind::Other | pb::Kind::Unspecified => Kind::Other,
        }
    }
}

/// An object on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to what was listed; from the root for [`Client::stat`].
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Bytes of a regular file.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Permissions, 12 bits.
    pub mode: u32,
    /// Where a symlink points.
    pub target: Vec<u8>,
    /// BLAKE3 of a regular file, when asked for or known.
    pub digest: Option<[u8; 32]>,
}

impl From<pb::Entry> for Entry {
    fn from(entry: pb::Entry) -> Self {
        Entry {
            kind: entry.kind().into(),
            path: entry.path,
            size: entry.size,
            mtime_ns: entry.mtime_ns,
            mode: entry.mode,
            target: entry.target,
            digest: entry.digest.try_into().ok(),
        }
    }
}

/// What a listing tells.
#[derive(Clone, Debug)]
pub enum Listed {
    /// An object.
    Entry(Entry),
    /// A directory that the node cannot read.
    Failure(Error),
}

/// The digest of a file on a node, or why there is none.
#[derive(Clone, Debug)]
pub struct Hashed {
    /// As it was asked for.
    pub path: Vec<u8>,
    /// BLAKE3.
    pub digest: Result<[u8; 32], Error>,
}

/// A control connection to one node.
pub struct Client {
    runtime: Runtime,
    channel: Channel,
    token: MetadataValue<Ascii>,
    node: String,
    remote: SocketAddr,
    rtt: Duration,
}

impl Client {
    /// Connects to the node of a link, `node` being what messages call it, within `patience`.
    ///
    /// # Errors
    /// `Temporary` when no address answers in time, `Denied` when the certificate is not that of the link. A wrong token shows at the first
    /// call.
    pub fn connect(link: &Link, node: &str, patience: Duration) -> Result<Client, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| {
            Error::new(Class::Fatal, "start the runtime of the control connection").because(e)
        })?;
        let (channel, remote, rtt) = runtime.block_on(open(link, patience)).map_err(|e| e.node(node))?;
        let mut token: MetadataValue<Ascii> = format!("Bearer {}", URL_SAFE_NO_PAD.encode(link.token))
            .parse()
            .map_err(|_| Error::new(Class::Usage, "the token does not fit a header"))?;
        token.set_sensitive(true);
        Ok(Client { runtime, channel, token, node: node.to_owned(), remote, rtt })
    }

    /// Connects to the node of a location.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn of(remote: &Remote, patience: Duration) -> Result<Client, Error> {
        Client::connect(&remote.link, &remote.described(), patience)
    }

    /// What messages call the node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The address that answered first.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// How long that address took to answer: a round trip.
    pub fn rtt(&self) -> Duration {
        self.rtt
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }

    pub(crate) fn short<T>(&self, message: T) -> Request<T> {
        let mut request = self.request(message);
        request.set_timeout(CALL_TIMEOUT);
        request
    }

    /// The way to the node, for stubs.
    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Drives what makes calls to its end. Several threads may do so at once.
    pub(crate) fn drive<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Drives one call to its answer.
    pub(crate) fn call<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        self.runtime.block_on(call).map(Response::into_inner).map_err(|s| self.failed(&s))
    }

    /// Stub of the file service.
    pub(crate) fn files(&self) -> FileServiceClient<Channel> {
        FileServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_LEN_MAX)
    }

    /// Stub of the transfer service.
    pub(crate) fn transfers(&self) -> TransferServiceClient<Channel> {
        TransferServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_LEN_MAX)
    }

    fn failed(&self, status: &Status) -> Error {
        status::error(status, &self.node)
    }

    /// Whether the node says that it serves (gRPC health checking protocol).
    ///
    /// # Errors
    /// Those of the call.
    pub fn is_serving(&self) -> Result<bool, Error> {
        // An empty request means the node as a whole; the answer's only field is what a wrapped number looks like.
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let codec = tonic_prost::ProstCodec::<(), i32>::default();
        self.runtime.block_on(async {
            let mut grpc = tonic::client::Grpc::new(self.channel.clone());
            let ready = |e| Error::new(Class::Temporary, "call the node").because(e);
            grpc.ready().await.map_err(ready)?;
            let answer = grpc.unary(self.short(()), path, codec).await.map_err(|s| self.failed(&s))?;
            Ok(answer.into_inner() == HEALTH_SERVING)
        })
    }

    /// Lists a directory, and what is beneath it when `recursive`; anything else lists itself. `each` is told in order of path
    /// components as bytes.
    ///
    /// # Errors
    /// Those of the call, and those of `each`, which end it.
    pub fn list(
        &self,
        path: &[u8],
        recursive: bool,
        each: &mut dyn FnMut(Listed) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let request = pb::ListRequest { path: path.to_vec(), recursive, ..Default::default() };
        self.runtime.block_on(async {
            let answer = self.files().list(self.request(request)).await;
            let mut batches = answer.map_err(|s| self.failed(&s))?.into_inner();
            while let Some(batch) = batches.message().await.map_err(|s| self.failed(&s))? {
                for entry in batch.entries {
                    each(Listed::Entry(entry.into()))?;
                }
                for failure in batch.failures {
                    each(Listed::Failure(self.list_failure(failure)))?;
                }
            }
            Ok(())
        })
    }

    fn list_failure(&self, failure: pb::ListFailure) -> Error {
        let mut error = Error::new(Class::of_errno(failure.errno), failure.message);
        error.errno = (failure.errno != 0).then_some(failure.errno);
        error.node(self.node.clone()).object(failure.path)
    }

    /// Describes an object; with `digest` a regular file is read for it.
    ///
    /// # Errors
    /// `NoSource` when it is not there, `Refused` for a path with `..`, else those of the call.
    pub fn stat(&self, path: &[u8], digest: bool) -> Result<Entry, Error> {
        let request = pb::StatRequest { path: path.to_vec(), digest };
        // Reading a file takes as long as it takes.
        let request = if digest { self.request(request) } else { self.short(request) };
        let answer = self.runtime.block_on(self.files().stat(request));
        answer.map(|entry| entry.into_inner().into()).map_err(|s| self.failed(&s))
    }

    /// Digests files where they are, in the order given.
    ///
    /// # Errors
    /// Those of the call, and those of `each`, which end it.
    pub fn hash(
        &self,
        paths: &[Vec<u8>],
        each: &mut dyn FnMut(Hashed) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let request = pb::HashRequest { paths: paths.to_vec() };
        self.runtime.block_on(async {
            let answer = self.files().hash(self.request(request)).await;
            let mut answers = answer.map_err(|s| self.failed(&s))?.into_inner();
            while let Some(answer) = answers.message().await.map_err(|s| self.failed(&s))? {
                each(self.hashed(answer))?;
            }
            Ok(())
        })
    }

    fn hashed(&self, answer: pb::HashResponse) -> Hashed {
        let digest = answer.digest.try_into().map_err(|_| {
            let class = u8::try_from(answer.exit_code).map_or(Class::Other, Class::from_exit_code);
            let mut error = Error::new(class, answer.message).node(self.node.clone());
            error.errno = (answer.errno != 0).then_some(answer.errno);
            error
        });
        Hashed { path: answer.path, digest }
    }

    /// Asks for a transfer.
    ///
    /// # Errors
    /// What the node refuses, and those of the call.
    pub fn create_transfer(
        &self,
        request: pb::CreateTransferRequest,
    ) -> Result<pb::CreateTransferResponse, Error> {
        self.call(self.transfers().create_transfer(self.short(request)))
    }

    /// Gives a ticket back that will not be used, so that the node holds nothing for it. Not heard of, it expires by itself.
    pub(crate) fn give_back(&self, name: &str, reason: &str) {
        self.runtime.block_on(self.give_back_later(name, reason));
    }

    /// As [`Self::give_back`], for those who do not block.
    pub(crate) async fn give_back_later(&self, name: &str, reason: &str) {
        let message = pb::CancelTransferRequest { name: name.to_owned(), reason: reason.to_owned() };
        let mut transfers = self.transfers();
        let call = transfers.cancel_transfer(self.short(message));
        match tokio::time::timeout(GIVE_BACK_TIMEOUT, call).await {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => tracing::debug!(%status, "the ticket was not given back"),
            Err(_) => tracing::debug!("the ticket was not given back in time"),
        }
    }

    /// Tells how a transfer of the node goes.
    ///
    /// # Errors
    /// `NoSource` when the node does not know it, else those of the call.
    pub fn transfer(&self, name: &str) -> Result<pb::Transfer, Error> {
        self.call(self.transfers().get_transfer(self.short(pb::GetTransferRequest { name: name.to_owned() })))
    }
}

/// Opens the channel; later, when the connection is lost, it connects anew to any address of the link.
async fn open(link: &Link, patience: Duration) -> Result<(Channel, SocketAddr, Duration), Error> {
    let first = connect::connect(link, patience).await?;
    let (remote, rtt) = (first.remote, first.rtt);
    let first = Arc::new(Mutex::new(Some(first)));
    let link = link.clone();
    let connector = tower::service_fn(move |_| {
        let (first, link) = (first.clone(), link.clone());
        async move {
            let opened = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Connected { stream, .. } = match opened {
                Some(connected) => connected,
                None => connect::connect(&link, patience).await?,
            };
            Ok::<_, Error>(TokioIo::new(stream))
        }
    });
    let channel = Endpoint::from_static("http://node")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect_with_connector(connector)
        .await;
    let channel =
        channel.map_err(|e| Error::new(Class::Temporary, "open the control connection").because(e))?;
    Ok((channel, remote, rtt))
}
